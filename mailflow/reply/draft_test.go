package reply

import (
	"slices"
	"testing"

	"countersign/mailflow"
)

func line1(role mailflow.Role, name, addr string) mailflow.Line {
	return mailflow.Line{Role: role, Address: mailflow.Address{Name: name, Addr: addr}}
}

func TestLines(t *testing.T) {
	ann := line1(mailflow.RoleSigner, "Ann Signer", "ann@corp.test")
	bob := line1(mailflow.RoleApprover, "", "bob@corp.test")
	for _, c := range []struct {
		name     string
		in       Input
		want     []mailflow.Line
		problems int
	}{
		{"plain", Input{Text: "Signer: Ann Signer <ann@corp.test>\n\napprover: bob@corp.test\n\nHello,\nplease sign.\n"}, []mailflow.Line{ann, bob}, 0},
		{"quoted name", Input{Text: "Signer: \"Ann Signer\" <ann@CORP.test>,\n"}, []mailflow.Line{ann}, 0},
		{"comma in the name", Input{Text: "Signer: Signer, Ann <ann@corp.test>"}, []mailflow.Line{line1(mailflow.RoleSigner, "Signer, Ann", "ann@corp.test")}, 0},
		{"wrapped", Input{Text: "Signer: Ann\n <ann@corp.test>\nApprover: bob@corp.test"}, []mailflow.Line{line1(mailflow.RoleSigner, "Ann", "ann@corp.test"), bob}, 0},
		{"Outlook links", Input{Text: "Approver: bob@corp.test<mailto:bob@corp.test>\n"}, []mailflow.Line{bob}, 0},
		{"full-width colon", Input{Text: "Viewer： eve@corp.test"}, []mailflow.Line{line1(mailflow.RoleViewer, "", "eve@corp.test")}, 0},
		{"bullets", Input{Text: "- Signer: Ann Signer <ann@corp.test>\n* Approver: bob@corp.test"}, []mailflow.Line{ann, bob}, 0},
		{"HTML only", Input{HTML: "<div>Signer: Ann Signer &lt;<a href='mailto:ann@corp.test'>ann@corp.test</a>&gt;</div><div>Approver: bob@corp.test</div><p>Hello</p>"}, []mailflow.Line{ann, bob}, 0},
		{"both", Input{Text: "Approver: bob@corp.test\n", HTML: "<p>Approver: bob@corp.test</p>"}, []mailflow.Line{bob}, 0},
		{"none", Input{Text: "Hello,\nplease sign.\n"}, nil, 0},
		{"a word", Input{Text: "Hello,\nthe signer: Ann\nSigner: Ann, you know her\n"}, nil, 0},
		{"quoted", Input{Text: "Hello\n> Signer: ann@corp.test\n"}, nil, 0},
		{"not at the top", Input{Text: "Hello,\nSigner: ann@corp.test\n"}, nil, 1},
		{"no address", Input{Text: "Signer: Ann\n"}, nil, 1},
		{"bad address", Input{Text: "Signer: Ann <ann@@corp>\n"}, nil, 1},
		{"two addresses", Input{Text: "Signer: ann@corp.test, bob@corp.test\n"}, nil, 1},
		{"plural", Input{Text: "Signers: ann@corp.test\n"}, nil, 1},
		{"no colon", Input{Text: "Signer ann@corp.test\n"}, nil, 1},
		{"differ", Input{Text: "Approver: bob@corp.test\n", HTML: "<p>Approver: eve@corp.test</p>"}, []mailflow.Line{bob}, 1},
		{"struck", Input{HTML: "<p><s>Approver: bob@corp.test</s></p>"}, nil, 1},
	} {
		got, problems := Lines(c.in)
		if !slices.Equal(got, c.want) || len(problems) != c.problems {
			t.Errorf("%s: %+v, problems %v", c.name, got, problems)
		}
		for _, p := range problems {
			if p.Kind != mailflow.ProblemBadLine || len(p.Args) != 2 || p.Args[1] == "" {
				t.Errorf("%s: problem %+v", c.name, p)
			}
		}
	}
}
