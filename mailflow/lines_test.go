package mailflow

import (
	"fmt"
	"strings"
	"testing"
)

// parseLines reads "s:bob a:lena" as a signer and an approver.
func parseLines(s string) []Line {
	var lines []Line
	for f := range strings.FieldsSeq(s) {
		role, name, _ := strings.Cut(f, ":")
		lines = append(lines, Line{
			Role:    map[string]Role{"s": RoleSigner, "a": RoleApprover, "v": RoleViewer}[role],
			Address: Address{Addr: name + "@x.example"},
		})
	}
	return lines
}

func writeLines(lines []Line) string {
	var words []string
	for _, l := range lines {
		name, _, _ := strings.Cut(l.Address.Addr, "@")
		words = append(words, string(l.Role[:1])+":"+name)
	}
	return strings.Join(words, " ")
}

func TestMergeLines(t *testing.T) {
	notIn := Problem{Kind: ProblemNotInList, Args: []string{"signer", "mal@x.example", "@partner.example"}}
	closed := Problem{Kind: ProblemRoleClosed, Args: []string{"Viewer: v", "viewer"}}
	for _, tc := range []struct {
		name, old string
		problems  []Problem
		more      string
		want      string
	}{
		{"nothing new", "s:bob a:lena", nil, "", "s:bob a:lena"},
		{"one more", "s:bob", nil, "s:carol", "s:bob s:carol"},
		{"another role", "s:bob", nil, "a:lena", "s:bob a:lena"},
		{"all anew, in another order", "s:bob s:carol", nil, "s:carol s:bob", "s:carol s:bob"},
		{"named again", "s:bob", nil, "s:bob s:carol", "s:bob s:carol"},
		{"not allowed, replaced", "s:bob s:mal", []Problem{notIn}, "s:bill", "s:bob s:bill"},
		{"not allowed, the rest restated", "s:bob s:mal", []Problem{notIn}, "s:bob", "s:bob"},
		{"not allowed, nobody named: still open", "s:bob s:mal", []Problem{notIn}, "", "s:bob s:mal"},
		{"a role that the rule fills", "s:bob v:eve", []Problem{closed}, "", "s:bob"},
		{"named twice", "s:bob s:bob", []Problem{{Kind: ProblemTwice, Args: []string{"signer", "bob@x.example"}}}, "", "s:bob"},
		{"the sender as approver", "a:ann a:lena", []Problem{{Kind: ProblemOwnApproval, Args: []string{"ann@x.example"}}}, "", "a:lena"},
		{"one of ours", "s:sign s:bob", []Problem{{Kind: ProblemSelfAddressed, Args: []string{"sign@x.example"}}}, "", "s:bob"},
		{"not mailable", "s:bob", []Problem{{Kind: ProblemBadLine, Args: []string{"Signer: <bob@x.example>"}}}, "s:bill", "s:bill"},
	} {
		if got := writeLines(MergeLines(parseLines(tc.old), tc.problems, parseLines(tc.more))); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestUnmended(t *testing.T) {
	bad := []Problem{{Kind: ProblemNoPDF}, {Kind: ProblemBadLine, Args: []string{"Signer: nobody"}}}
	if got := Unmended(bad, nil); len(got) != 1 || got[0].Kind != ProblemBadLine {
		t.Errorf("left open: %v", got)
	}
	if got := fmt.Sprint(Unmended(bad, parseLines("s:bob"))); got != "[]" {
		t.Errorf("left open: %v", got)
	}
}
