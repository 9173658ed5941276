package reply

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/mailflow"
	"countersign/mailflow/message"
)

// mails returns own replies, and all mails below the folder CORPUS.
func mails(t *testing.T) map[string][]byte {
	ms := map[string][]byte{
		"own/top":     []byte("From: a@b.test\r\n\r\nThank you, I will look at it.\r\n\r\nOn 22 Nov 2026 12:15, sign@mail.test wrote:\r\n> Old text stands here\r\n> in two lines\r\n"),
		"own/outlook": []byte("From: a@b.test\r\n\r\nLater.\r\n\r\n-----Original Message-----\r\nFrom: sign@mail.test\r\nSent: 22 Nov 2026 12:15\r\nTo: a@b.test\r\n\r\nOld text\r\n"),
	}
	dir := os.Getenv("CORPUS")
	if dir == "" {
		return ms
	}
	err := filepath.WalkDir(filepath.Join(dir, "mail"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".eml") {
			return err
		}
		ms[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

// obeyed reports whether a command would be executed.
func obeyed(c mailflow.Command) bool {
	return c != mailflow.CommandUnclear && c != mailflow.CommandRemark
}

func TestCorpus(t *testing.T) {
	counts := map[mailflow.Command]int{}
	planted, variants := map[mailflow.Command]int{}, 0
	for path, raw := range mails(t) {
		m, err := message.Parse(bytes.NewReader(raw), int64(len(raw)), message.Limits{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		in := From(m)
		in.CodeDigits = 6
		in.From.Addr = "sign@mail.test"
		a := Read(in)
		counts[a.Command]++
		if !obeyed(a.Command) {
			t.Logf("%s: %s (%s): %q", path, a.Command, a.Cause, a.Typed)
		}
		if obeyed(a.Command) {
			if _, ok := CommandInAnyLine(a.Word); !ok || !strings.HasPrefix(strings.TrimSpace(in.Text), a.Word) {
				t.Errorf("%s: obeys %q without that it was typed", path, a.Word)
			}
		}
		in.HTML = ""
		lines := splitText(in.Text)
		newReader(in).classify(lines)
		first := -1
		for i, l := range lines {
			if (l.class == quote || l.class == separator) && first < 0 {
				first = i
			}
		}
		if first < 0 {
			continue
		}
		raws := strings.Split(in.Text, "\n")
		in.Text = "APPROVE\n\n" + strings.Join(raws[first:], "\n")
		got := Read(in)
		planted[got.Command]++
		if got.Command != mailflow.CommandApprove && got.Command != mailflow.CommandRemark && got.Command != mailflow.CommandUnclear {
			t.Errorf("%s: a planted APPROVE gives %s", path, got.Command)
		}
		if got.Command != mailflow.CommandApprove {
			t.Logf("%s: a planted APPROVE gives %s (%s): %q", path, got.Command, got.Cause, got.Typed)
		}
		for i := first; i < len(raws); i++ {
			for _, p := range []string{"> APPROVE", "APPROVE"} {
				tail := append(append([]string{}, raws[first:i+1]...), p)
				in.Text = strings.Join(append(tail, raws[i+1:]...), "\n")
				variants++
				if a := Read(in); obeyed(a.Command) {
					t.Errorf("%s: %q planted below line %d is obeyed", path, p, i)
				}
			}
		}
	}
	t.Logf("unmodified: %v; APPROVE above the quote: %v; planted in quotes: %d, obeyed 0", counts, planted, variants)
}
