package rules

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
)

func world() World {
	return World{
		Organisation: "Acme Ltd", Domains: []string{"acme.example"},
		Mailboxes: []Mailbox{{"sign", "sign@acme.example"}, {"hr", "hr-sign@acme.example"}},
		Keys:      []string{"seal", "signing_ca"}, TSA: []string{"https://tsa.example"},
		Limits: Limits{PDF: 10e6, Documents: 3},
	}
}

func person(s string) Person {
	var p Person
	if err := p.UnmarshalText([]byte(s)); err != nil {
		panic(err) // a mistake in the test itself
	}
	return p
}

func list(ss ...string) People {
	var p People
	for _, s := range ss {
		p.List = append(p.List, person(s))
	}
	return p
}

func addr(s string) mailflow.Address { return mailflow.Address(person(s).Address) }

func line(role mailflow.Role, s string) mailflow.Line {
	return mailflow.Line{Role: role, Address: addr(s)}
}

// draft is a good draft by ann to sign@.
func draft() Facts {
	return Facts{
		Mailbox: "sign", Address: "sign@acme.example", From: addr("Ann <ann@acme.example>"), Level: mailflow.LevelSubmission,
		Subject: "Contract 12", Documents: []mailflow.Document{{Name: "a.pdf", Size: 1000}},
	}
}

func compile(t *testing.T, rs ...Rule) *Set {
	t.Helper()
	s, err := Compile(world(), rs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parties writes a plan's people as "role order address".
func parties(p mailflow.Plan) []string {
	var out []string
	for _, q := range p.Parties {
		out = append(out, string(q.Role)+" "+string(rune('0'+q.Order))+" "+q.Address.Addr)
	}
	return out
}

func problems(p mailflow.Plan) []string {
	var out []string
	for _, q := range p.Problems {
		out = append(out, strings.Join(append([]string{string(q.Kind)}, q.Args...), " | "))
	}
	return out
}

func TestPlan(t *testing.T) {
	lena := list("Lena <lena@acme.example>")
	const signer, viewer = mailflow.RoleSigner, mailflow.RoleViewer
	for name, c := range map[string]struct {
		rule     Rule
		change   func(*Facts)
		parties  []string
		problems []string
	}{
		"nobody": {rule: Rule{}},
		"fixed people": {
			rule:    Rule{Approvers: lena, Signers: list("b@p.example", "c@p.example"), Viewers: []Person{person("v@acme.example")}, Deliver: []Person{person("arch@acme.example"), person("v@acme.example")}},
			parties: []string{"approver 1 lena@acme.example", "signer 1 b@p.example", "signer 2 c@p.example", "viewer 1 v@acme.example", "viewer 1 arch@acme.example"},
		},
		"given order": {
			rule:    Rule{Signers: People{List: []Person{person("b@p.example"), {Address: person("c@p.example").Address, Order: 1}, person("d@p.example")}}},
			parties: []string{"signer 1 b@p.example", "signer 1 c@p.example", "signer 2 d@p.example"},
		},
		"cc": {
			rule: Rule{Approvers: lena, Signers: People{From: FromCc}},
			change: func(f *Facts) {
				f.Cc = []mailflow.Address{addr("Bob <bob@p.example>"), addr("x@ACME.example"), addr("sign+tag@acme.example"), addr("carol@p.example"), addr("BOB@p.example")}
			},
			parties: []string{"approver 1 lena@acme.example", "signer 1 bob@p.example", "signer 2 carol@p.example"},
		},
		"cc without anybody outside": {
			rule:     Rule{Signers: People{From: FromCc}},
			change:   func(f *Facts) { f.Cc = []mailflow.Address{addr("x@acme.example")} },
			problems: []string{"no-signer | cc"},
		},
		"cc does not open lines": {
			rule: Rule{Signers: People{From: FromCc}},
			change: func(f *Facts) {
				f.Cc = []mailflow.Address{addr("bob@p.example")}
				f.Lines = []mailflow.Line{line(signer, "Mal <mal@evil.example>")}
			},
			parties:  []string{"signer 1 bob@p.example"},
			problems: []string{"role-closed | Signer: Mal <mal@evil.example> | signer"},
		},
		"cc with opened lines: lines first, in their order": {
			rule: Rule{Signers: People{From: FromCc}, Open: Open{Signer: []Pattern{"@p.example"}}},
			change: func(f *Facts) {
				f.Cc = []mailflow.Address{addr("a@p.example"), addr("b@p.example")}
				f.Lines = []mailflow.Line{line(signer, "c@p.example"), line(signer, "b@p.example")}
			},
			parties: []string{"signer 1 c@p.example", "signer 2 b@p.example", "signer 3 a@p.example"},
		},
		"draft": {
			rule: Rule{Signers: People{From: FromDraft}},
			change: func(f *Facts) {
				f.Lines = []mailflow.Line{line(signer, "b@p.example"), line(signer, "ann@acme.example")}
			},
			parties: []string{"signer 1 b@p.example", "signer 2 ann@acme.example"},
		},
		"draft names nobody": {rule: Rule{Signers: People{From: FromDraft}}, problems: []string{"no-signer | draft"}},
		"draft names the wrong": {
			rule: Rule{Signers: People{From: FromDraft}, Open: Open{Signer: []Pattern{"@p.example"}}},
			change: func(f *Facts) {
				f.Lines = []mailflow.Line{line(signer, "b@p.example"), line(signer, "m@evil.example"), line(signer, "B@p.example"), line(signer, "sign@acme.example"), line(viewer, "v@acme.example")}
			},
			parties:  []string{"signer 1 b@p.example"},
			problems: []string{"twice | signer | B@p.example", "self-addressed | sign@acme.example", "not-in-list | signer | m@evil.example | @p.example", "role-closed | Viewer: v@acme.example | viewer"},
		},
		"only wrong signers: the mistake is told, not also that there are none": {
			rule:     Rule{Signers: People{From: FromDraft}, Open: Open{Signer: []Pattern{"@p.example"}}},
			change:   func(f *Facts) { f.Lines = []mailflow.Line{line(signer, "m@evil.example")} },
			problems: []string{"not-in-list | signer | m@evil.example | @p.example"},
		},
		"a line cannot name a fixed signer again": {
			rule:     Rule{Signers: list("b@p.example"), Open: Open{Signer: []Pattern{"*"}}},
			change:   func(f *Facts) { f.Lines = []mailflow.Line{line(signer, "b@p.example"), line(signer, "c@p.example")} },
			parties:  []string{"signer 1 b@p.example", "signer 2 c@p.example"},
			problems: []string{"twice | signer | b@p.example"},
		},
		"opened viewers": {
			rule:    Rule{Signers: list("b@p.example"), Open: Open{Viewer: []Pattern{"@acme.example"}}},
			change:  func(f *Facts) { f.Lines = []mailflow.Line{line(viewer, "v@acme.example")} },
			parties: []string{"signer 1 b@p.example", "viewer 1 v@acme.example"},
		},
		"documents": {
			rule: Rule{},
			change: func(f *Facts) {
				f.Documents = []mailflow.Document{{Name: "a", Size: 1}, {Name: "big", Size: 12.3e6}, {Name: "c"}, {Name: "d"}}
				f.LineProblems = []mailflow.Problem{{Kind: mailflow.ProblemBadLine, Args: []string{"Signer: x"}}}
			},
			problems: []string{"bad-line | Signer: x", "too-many | 4 | 3", "too-large | big | 12.3 MB | 10.0 MB"},
		},
		"no document": {rule: Rule{}, change: func(f *Facts) { f.Documents = nil }, problems: []string{"no-pdf"}},
		"no document, and why": {
			rule: Rule{},
			change: func(f *Facts) {
				f.Documents, f.LineProblems = nil, []mailflow.Problem{{Kind: mailflow.ProblemUnreadable}}
			},
			problems: []string{"unreadable-part"},
		},
		"all at once": {
			rule:     Rule{Approvers: People{From: FromDraft}, Signers: People{From: FromDraft}, Open: Open{Approver: []Pattern{"@acme.example"}}},
			change:   func(f *Facts) { f.Documents = nil },
			problems: []string{"no-pdf", "no-approver | @acme.example", "no-signer | draft"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			checkPlan(t, c.rule, c.change, c.parties, c.problems)
		})
	}
}

func checkPlan(t *testing.T, r Rule, change func(*Facts), wantParties, wantProblems []string) {
	t.Helper()
	r.Name = "r"
	f := draft()
	if change != nil {
		change(&f)
	}
	out := compile(t, r).Match(f)
	if out.Rule != "r" || out.Refused != "" {
		t.Fatalf("refused: %+v", out)
	}
	if got := parties(out.Plan); !slices.Equal(got, wantParties) {
		t.Errorf("people\n%q, want\n%q", got, wantParties)
	}
	if got := problems(out.Plan); !slices.Equal(got, wantProblems) {
		t.Errorf("problems\n%q, want\n%q", got, wantProblems)
	}
}

// TestApprovers: a sender can make approval stricter, never weaker.
func TestApprovers(t *testing.T) {
	lena, both := list("lena@acme.example"), list("lena@acme.example", "bob@acme.example")
	standIns := Open{Approver: []Pattern{"cfo@acme.example", "ann@acme.example", "ceo@acme.example"}}
	byLena := func(lines ...mailflow.Line) func(*Facts) {
		return func(f *Facts) { f.From, f.Lines = addr("Lena@acme.example"), lines }
	}
	byAnn := func(lines ...mailflow.Line) func(*Facts) { return func(f *Facts) { f.Lines = lines } }
	approve := func(s string) mailflow.Line { return line(mailflow.RoleApprover, s) }
	for name, c := range map[string]struct {
		rule     Rule
		change   func(*Facts)
		parties  []string
		problems []string
	}{
		"a line adds":                              {Rule{Approvers: lena}, byAnn(approve("x@evil.example")), []string{"approver 1 lena@acme.example", "approver 1 x@evil.example"}, nil},
		"a line adds to a rule without people":     {Rule{}, byAnn(approve("bob@acme.example")), []string{"approver 1 bob@acme.example"}, nil},
		"naming the rule's approver is no mistake": {Rule{Approvers: lena}, byAnn(approve("LENA@acme.example")), []string{"approver 1 lena@acme.example"}, nil},
		"with a list, only from the list": {
			Rule{Approvers: lena, Open: standIns},
			byAnn(approve("x@evil.example")),
			[]string{"approver 1 lena@acme.example"},
			[]string{"not-in-list | approver | x@evil.example | cfo@acme.example, ann@acme.example, ceo@acme.example"},
		},
		"own approval":               {Rule{Approvers: lena, OwnApproval: true}, byLena(), []string{"approver 1 lena@acme.example"}, nil},
		"the only approver sends":    {Rule{Approvers: lena}, byLena(), nil, []string{"own-approval | Lena@acme.example | "}},
		"and names an accomplice":    {Rule{Approvers: lena}, byLena(approve("x@evil.example")), []string{"approver 1 x@evil.example"}, []string{"own-approval | Lena@acme.example | "}},
		"and names a stand-in":       {Rule{Approvers: lena, Open: standIns}, byLena(approve("cfo@acme.example")), []string{"approver 1 cfo@acme.example"}, nil},
		"one of two approvers sends": {Rule{Approvers: both}, byLena(), []string{"approver 1 bob@acme.example"}, nil},
		"the sender names themself": {
			Rule{Approvers: lena, Open: standIns},
			byAnn(approve("ann@acme.example")),
			[]string{"approver 1 lena@acme.example"},
			[]string{"own-approval | ann@acme.example | cfo@acme.example, ann@acme.example, ceo@acme.example"},
		},
		"with a tag":       {Rule{Approvers: lena}, byAnn(approve("ann+2@acme.example")), []string{"approver 1 lena@acme.example"}, []string{"own-approval | ann+2@acme.example | "}},
		"sends with a tag": {Rule{Approvers: lena}, func(f *Facts) { f.From = addr("lena+x@acme.example") }, nil, []string{"own-approval | lena+x@acme.example | "}},
		"the draft names":  {Rule{Approvers: People{From: FromDraft}, Open: standIns}, byAnn(approve("cfo@acme.example")), []string{"approver 1 cfo@acme.example"}, nil},
		"the draft names only the sender": {
			Rule{Approvers: People{From: FromDraft}, Open: standIns},
			byAnn(approve("ann@acme.example")), nil,
			[]string{"own-approval | ann@acme.example | cfo@acme.example, ann@acme.example, ceo@acme.example"},
		},
		"our own address": {Rule{Approvers: lena}, byAnn(approve("hr-sign+x@acme.example")), []string{"approver 1 lena@acme.example"}, []string{"self-addressed | hr-sign+x@acme.example"}},
		"twice":           {Rule{Approvers: lena}, byAnn(approve("b@acme.example"), approve("B@acme.example")), []string{"approver 1 lena@acme.example", "approver 1 b@acme.example"}, []string{"twice | approver | B@acme.example"}},
	} {
		t.Run(name, func(t *testing.T) { checkPlan(t, c.rule, c.change, c.parties, c.problems) })
	}
}

func TestMatch(t *testing.T) {
	lena := list("lena@acme.example")
	s := compile(t,
		Rule{Name: "notice", Match: Match{Tag: "notice"}},
		Rule{Name: "hr", Match: Match{Mailbox: "hr", From: []Pattern{"boss@acme.example"}}, Approvers: lena},
		Rule{Name: "re", Match: Match{Subject: "/^Order [0-9]+$/"}, Approvers: lena},
		Rule{Name: "sub", Match: Match{Subject: "INVOICE"}, Approvers: lena},
		Rule{Name: "strong", Match: Match{Level: []mailflow.Level{mailflow.LevelSMIME}}, Approvers: lena},
		Rule{Name: "last", DraftLevels: []mailflow.Level{mailflow.LevelDKIM, mailflow.LevelSubmission}, Approvers: lena},
	)
	for name, c := range map[string]struct {
		change func(*Facts)
		rule   string
		near   bool
	}{
		"falls to the last":              {func(*Facts) {}, "last", true},
		"tag":                            {func(f *Facts) { f.Tags = []string{"Notice"} }, "notice", false},
		"tag, level too weak":            {func(f *Facts) { f.Tags, f.Level = []string{"notice"}, mailflow.LevelDKIM }, "", true},
		"tag, token only":                {func(f *Facts) { f.Tags, f.Level = []string{"notice"}, mailflow.LevelToken }, "", false},
		"mailbox and sender":             {func(f *Facts) { f.Mailbox, f.From = "hr", addr("Boss@Acme.example") }, "hr", false},
		"mailbox, other sender":          {func(f *Facts) { f.Mailbox = "hr" }, "last", false},
		"regular expression":             {func(f *Facts) { f.Subject = "Order 66" }, "re", false},
		"regular expression, no":         {func(f *Facts) { f.Subject = "My Order 66" }, "last", false},
		"part of a subject":              {func(f *Facts) { f.Subject = "Your Invoice" }, "sub", false},
		"level":                          {func(f *Facts) { f.Level = mailflow.LevelSMIME }, "strong", false},
		"level that nobody wants":        {func(f *Facts) { f.Level = mailflow.LevelResults }, "", true},
		"unproven":                       {func(f *Facts) { f.Level = mailflow.LevelNone }, "", false},
		"no level":                       {func(f *Facts) { f.Level = "" }, "", false},
		"stranger":                       {func(f *Facts) { f.From = addr("x@evil.example") }, "", false},
		"subdomain is another domain":    {func(f *Facts) { f.From = addr("x@sub.acme.example") }, "", false},
		"domain as part of another name": {func(f *Facts) { f.From = addr("x@notacme.example") }, "", false},
		"no sender":                      {func(f *Facts) { f.From = mailflow.Address{} }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := draft()
			c.change(&f)
			out := s.Match(f)
			if out.Rule != c.rule || (out.Refused == "") != (c.rule != "") || c.rule == "" && out.Near != c.near {
				t.Errorf("got %+v", out)
			}
		})
	}
	f := draft()
	f.From = addr("x@evil.example")
	if got := s.Match(f).Refused; strings.Count(got, "; ") != 5 || !strings.Contains(got, "notice: takes drafts from @acme.example, not from x@evil.example") {
		t.Errorf("the explanation is %q", got)
	}
}

func TestNamed(t *testing.T) {
	s := compile(t, Rule{Name: "a", Match: Match{Tag: "x"}}, Rule{Name: "b", Approvers: list("lena@acme.example")})
	if out := s.Named("a", draft()); out.Rule != "a" || out.Plan.Terms.Rule != "a" {
		t.Errorf("the rule that the request began with does not go on: %+v", out)
	}
	weak := draft()
	weak.Level = mailflow.LevelDKIM
	if out := s.Named("a", weak); out.Rule != "" || out.Refused == "" {
		t.Errorf("a weaker answer goes on: %+v", out)
	}
	if out := s.Named("gone", draft()); out.Rule != "" || !strings.Contains(out.Refused, "gone") {
		t.Errorf("a rule that is gone: %+v", out)
	}
}

func TestTerms(t *testing.T) {
	r := Rule{Name: "r", Approvers: list("lena@acme.example"), OwnApproval: true, Reason: "Agreed", Level: "B-B", Code: Code{Digits: 6, Tries: 3, Lifetime: 10 * minute, Count: 2}, Expires: 14 * day}
	s := compile(t, r)
	all := []mailflow.Level{"S", "D", "A", "I"}
	want := mailflow.Terms{
		Rule: "r", RuleHash: s.Hash(), Organisation: "Acme Ltd", AnswerLevels: all, Seal: "seal", Level: "B-B",
		CodeDigits: 6, CodeTries: 3, CodeLife: 10 * time.Minute, Codes: 2, Expires: 14 * 24 * time.Hour, OwnApproval: true, Reason: "Agreed",
		Inspect: Inspect{}.withDefaults().terms(),
	}
	if got := s.Match(draft()).Plan.Terms; !reflect.DeepEqual(got, want) {
		t.Errorf("terms\n%+v, want\n%+v", got, want)
	}
	d := compile(t, Rule{Name: "r"}).Match(draft()).Plan.Terms
	if d.CodeDigits != 8 || d.CodeTries != 5 || d.CodeLife != 30*time.Minute || d.Codes != 3 || d.Expires != 720*time.Hour || d.Level != "B-LTA" || d.OwnApproval {
		t.Errorf("defaults %+v", d)
	}
}

func TestHash(t *testing.T) {
	a := compile(t, Rule{Name: "r"})
	if b := compile(t, Rule{Name: "r", Seal: "seal", Expires: 30 * day}); a.Hash() != b.Hash() {
		t.Error("rules that mean the same have different hashes")
	}
	if b := compile(t, Rule{Name: "r", Expires: 29 * day}); a.Hash() == b.Hash() {
		t.Error("different rules have the same hash")
	}
	if len(a.Hash()) != 64 {
		t.Errorf("hash %q", a.Hash())
	}
}

func TestTSA(t *testing.T) {
	w := world()
	w.TSA = append(w.TSA, "https://other.example")
	s, err := Compile(w, []Rule{{Name: "r"}, {Name: "o", TSA: []string{"https://other.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	for rule, want := range map[string]int{"r": 0, "o": 1} {
		if got := s.Named(rule, draft()).Plan.Terms.TSA; len(got) != want {
			t.Errorf("%s uses %v", rule, got)
		}
	}
}

// TestManyPeople: one mail cannot cause letters without end.
func TestManyPeople(t *testing.T) {
	f := draft()
	for i := range 500 {
		f.Lines = append(f.Lines, line(mailflow.RoleSigner, "x"+strings.Repeat("y", i%60)+string(rune('a'+i/60))+"@p.example"))
	}
	out := compile(t, Rule{Name: "r", Signers: People{From: FromDraft}}).Match(f)
	if len(out.Plan.Parties) > maxParties || len(out.Plan.Problems) != 1 {
		t.Errorf("%d parties, problems %q", len(out.Plan.Parties), problems(out.Plan))
	}
}

// TestCompileRefuses: Compile refuses what the check of the configuration refuses.
func TestCompileRefuses(t *testing.T) {
	for name, r := range map[string]Rule{
		"no name":                 {},
		"weak level, no people":   {Name: "r", DraftLevels: []mailflow.Level{mailflow.LevelDKIM}},
		"open signers, no people": {Name: "r", Open: Open{Signer: []Pattern{"*"}}, DraftLevels: []mailflow.Level{mailflow.LevelResults}},
		"anybody approves":        {Name: "r", Approvers: People{From: FromDraft}, Open: Open{Approver: []Pattern{"*"}}},
		"cc approves":             {Name: "r", Approvers: People{From: FromCc}},
		"token suffices":          {Name: "r", Approvers: list("l@acme.example"), Levels: []mailflow.Level{mailflow.LevelToken}},
		"our own address signs":   {Name: "r", Signers: list("sign@acme.example")},
		"bad expression":          {Name: "r", Match: Match{Subject: "/(/"}},
		"nobody may send":         {Name: "r", Match: Match{From: []Pattern{}}},
		"six tries":               {Name: "r", Code: Code{Tries: 6}},
	} {
		if _, err := Compile(world(), []Rule{r}); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]Duration{
		"30d": 30 * day, "1d12h": 36 * hour, "45m": 45 * minute, "90s": 90 * Duration(time.Second), "1h30m": 90 * minute,
		"": 0, "0": 0, "0d": 0, "-1h": 0, "d": 0, "1d-2h": 0, "99999999999d": 0, "3650d1s": 0, "10": 0, "1w": 0,
	} {
		var d Duration
		err := d.UnmarshalText([]byte(in))
		if (err != nil) != (want == 0) || err == nil && d != want {
			t.Errorf("%q: %v, %v", in, d, err)
		}
		if err == nil {
			var again Duration
			if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
				t.Errorf("%q comes back as %q, %v", in, d.String(), err)
			}
		}
	}
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, addr string
		want          bool
	}{
		{"*", "a@b.example", true},
		{"*", "", false},
		{"@b.example", "A@B.example", true},
		{"@b.example", "a@x.b.example", false},
		{"a@b.example", "A@b.example", true},
		{"a@b.example", "a+x@b.example", false},
		{"@b.example", "b.example", false},
	} {
		var p Pattern
		if err := p.UnmarshalText([]byte(c.pattern)); err != nil {
			t.Errorf("%q: %v", c.pattern, err)
		}
		if got := p.Matches(c.addr); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.addr, got)
		}
	}
	for _, bad := range []string{"", "x", "@", "**", "*@b.example", "a@@b.example", "a b@c.example", "<a@b.example>"} {
		var p Pattern
		if err := p.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken as a pattern", bad)
		}
	}
}

// FuzzMatch: whatever a draft names, the rule's approvers stay, the sender never
// approves, our own addresses never take part, and the outcome is the same twice.
func FuzzMatch(f *testing.F) {
	f.Add("ann@acme.example", "x@evil.example", "bob@p.example", "I", uint8(1))
	f.Add("lena@acme.example", "lena+1@acme.example", "sign@acme.example", "I", uint8(2))
	f.Add("", "@", "a\r\nb@c", "0", uint8(3))
	f.Fuzz(func(t *testing.T, from, who, cc, level string, role uint8) {
		s, err := Compile(world(), []Rule{{
			Name: "r", Match: Match{From: []Pattern{"*"}}, Approvers: list("lena@acme.example", "otto@acme.example"),
			Signers: People{From: FromCc}, Open: Open{Signer: []Pattern{"*"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		d := draft()
		d.From, d.Level = mailflow.Address{Addr: from}, mailflow.Level(level)
		d.Cc = []mailflow.Address{{Addr: cc}, {Addr: who}}
		roles := []mailflow.Role{mailflow.RoleSender, mailflow.RoleApprover, mailflow.RoleSigner, mailflow.RoleViewer}
		d.Lines = []mailflow.Line{{Role: roles[role%4], Address: mailflow.Address{Addr: who}}, {Role: mailflow.RoleApprover, Address: mailflow.Address{Addr: cc}}}
		out := s.Match(d)
		if !reflect.DeepEqual(out, s.Match(d)) {
			t.Error("two outcomes of one draft")
		}
		if out.Refused != "" {
			return
		}
		named := 0
		for _, p := range out.Plan.Parties {
			if p.Role == mailflow.RoleApprover && samePerson(p.Address.Addr, from) || world().own(p.Address.Addr) || usable(p.Address) != nil {
				t.Errorf("%s is %s", p.Address.Addr, p.Role)
			}
			if p.Role == mailflow.RoleApprover && (p.Address.Addr == "lena@acme.example" || p.Address.Addr == "otto@acme.example") {
				named++
			}
		}
		if named == 0 {
			t.Error("no approver of the rule is left")
		}
	})
}
