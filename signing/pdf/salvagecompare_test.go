package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestRepairGuess: where the cross-reference table can be read and means another object
// than the last of that number, readers show that one, and a repair would show the other.
func TestRepairGuess(t *testing.T) {
	stale := func(edit func(*build)) []byte { // object 9 is misplaced, and nobody needs it
		b := newBuild()
		plain(b, 1, "", "/Contents 4 0 R")
		b.stream(4, "", []byte("% what readers show"))
		b.obj(9, "null")
		b.at[9]++
		edit(b)
		return b.table(9, "", " \n")
	}
	keep := func(b *build, num int, write func()) {
		at := b.at[num]
		write()
		b.at[num] = at
	}
	twice := stale(func(b *build) { keep(b, 4, func() { b.stream(4, "", []byte("% what the repair shows")) }) })
	freed := stale(func(b *build) {
		b.obj(7, "null")
		delete(b.at, 4)
	})
	catalog := stale(func(b *build) {
		b.obj(5, "<< /Type /Catalog /Pages 6 0 R >>")
		b.obj(6, "<< /Type /Pages /Count 1 /Kids [3 0 R] >>")
	})
	behind := append(bytes.Clone(catalog), "trailer << /Root 5 0 R /Size 7 >>\n"...)
	for name, c := range map[string]struct {
		in   []byte
		want string // empty: it is repaired
	}{
		"defined twice":               {twice, "more than once"},
		"defined twice, junk before":  {append([]byte("junk\n"), twice...), "more than once"},
		"two trailers":                {behind, "two catalogs"},
		"a trailer in a comment":      {append([]byte("junk\n"), append(catalog, "% trailer << /Root 5 0 R >>\n"...)...), ""},
		"freed, but what leads there": {freed, "says that there is none"},
		"nothing to choose":           {stale(func(*build) {}), ""},
	} {
		var out bytes.Buffer
		_, err := Repair(&out, bytes.NewReader(c.in), int64(len(c.in)))
		re, refused := errors.AsType[*RefusedError](err)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want == "" && !strings.Contains(out.String(), "/Root 1 0 R"):
			t.Errorf("%s: another catalog\n%s", name, out.String())
		case c.want != "" && (!refused || re.Reason != ReasonBroken || !strings.Contains(re.Detail, c.want)):
			t.Errorf("%s: %v, want %q\n%s", name, err, c.want, out.String())
		}
	}
}

// TestRepairManyStreams: thousands of streams with wrong lengths, or without an end, do
// not make the work grow with the square of their number.
func TestRepairManyStreams(t *testing.T) {
	var b, refs bytes.Buffer
	b.WriteString("%PDF-1.4\n" + page + stream(4, "1", "q"))
	for num := 10; num < 8000; num++ {
		b.WriteString(stream(num, "7", "q 1 0 0 1 0 0 cm "+strings.Repeat("n ", 100)+"Q"))
		fmt.Fprintf(&refs, "%d 0 R ", num)
	}
	fmt.Fprintf(&b, "5 0 obj\n<< /All [%s] >>\nendobj\ntrailer\n<< /Root 1 0 R /Info 5 0 R /Size 8000 >>\n%%%%EOF\n", refs.String())
	in := b.String()
	if _, _, err := repair(t, []byte(in)); err != nil {
		t.Errorf("wrong lengths: %v", err)
	}
	endless := strings.ReplaceAll(in[:strings.Index(in, "5 0 obj")], "endstream\nendobj\n", "\n") + page + "4 0 obj\nnull\nendobj\n" + end
	if _, _, err := repair(t, []byte(endless)); err != nil {
		t.Errorf("no ends: %v", err)
	}
}
