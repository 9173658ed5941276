package letter

import (
	"bytes"
	"strings"
	"testing"

	"countersign/mailflow"
	"countersign/mailflow/reply"
)

// TestAnswers: what the buttons write is understood, above a quote of the whole
// letter, and a mail that only quotes the letter says nothing.
func TestAnswers(t *testing.T) {
	want := map[string]mailflow.Command{"APPROVE": mailflow.CommandApprove, "REJECT": mailflow.CommandReject, "AGREE": mailflow.CommandAgree, string(theCode): mailflow.CommandCode}
	answers := 0
	for _, k := range cases() {
		p := parse(t, write(t, k))
		read := func(text string) reply.Answer {
			return reply.Read(reply.Input{
				Text: text, Sent: p.text, CodeDigits: 8, WantName: true,
				From: mailflow.Address{Name: "Acme Ltd", Addr: "sign@acme.example"},
			})
		}
		for _, quote := range []string{"> " + strings.ReplaceAll(p.text, "\n", "\n> "), p.text, wrap(p.text, 72)} {
			intro := "\n\nOn 2026-03-02 Acme Ltd <sign@acme.example> wrote:\n"
			if a := read(intro + quote); a.Command != mailflow.CommandUnclear {
				t.Errorf("%s: a mere quote is read as %q", k.name, a.Command)
			}
			for _, body := range checkLinks(t, k.name, p) {
				answers++
				word, rest, _ := strings.Cut(body, "\r\n")
				a := read("\n" + strings.ReplaceAll(body, "\r\n", "\n") + intro + quote)
				if a.Command != want[word] {
					t.Errorf("%s: the answer %q is read as %q: %s", k.name, body, a.Command, a.Problem)
				}
				if name, ok := strings.CutPrefix(rest, "Name: "); ok && a.Name != strings.TrimSpace(name) {
					t.Errorf("%s: the name %q is read as %q", k.name, name, a.Name)
				}
				if a.Command == mailflow.CommandReject && a.Reason != "" {
					t.Errorf("%s: a quote is taken as the reason %q", k.name, a.Reason)
				}
			}
		}
	}
	if answers < 30 {
		t.Errorf("only %d answers were tried", answers)
	}
}

// TestText: the text of a stored letter is that of its parts, without secrets.
func TestText(t *testing.T) {
	for _, k := range cases() {
		recipe, err := Compose(k.letter, k.request, acme(t))
		if err != nil {
			t.Fatal(err)
		}
		text, err := recipe.Text()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.NewReplacer("4815 1623", "0000 0000").Replace(parse(t, write(t, k)).text)
		if norm := strings.ReplaceAll(text, "\r\n", "\n"); strings.TrimSpace(norm) != strings.TrimSpace(want) {
			t.Errorf("%s: the text is\n%s\nwant\n%s", k.name, norm, want)
		}
		if bytes.Contains([]byte(text), []byte(token)) {
			t.Errorf("%s: the text holds the token", k.name)
		}
	}
}
