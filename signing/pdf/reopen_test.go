package pdf

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// view is what must not depend on how a file was opened.
func view(f *File) string {
	var out strings.Builder
	out.WriteString(fmt.Sprintf("%d %d %v %v %v %t %q\n", f.start, f.maxObject, f.odd != "", f.irregular != "", f.faulty != "", f.untyped, f.version))
	for _, s := range f.sections {
		out.WriteString(fmt.Sprintf("section %d %v\n", s.offset, s.kind))
	}
	for _, s := range f.index {
		out.WriteString(fmt.Sprintf("%d to %d in %d\n", s.first, s.end, s.from.offset))
	}
	out.WriteString(fmt.Sprintf("%s\n%s\n", f.Trailer().Raw(), f.Catalog().Value.Raw()))
	fields, err := f.SignatureFields()
	out.WriteString(fmt.Sprintf("%v %t\n", len(fields), err != nil))
	for n := range min(f.maxObject, 40) + 1 {
		o, err := f.Object(Ref{Num: n})
		out.WriteString(fmt.Sprintf("%d %d %s %t\n", n, o.base, o.Value.Raw(), err != nil))
	}
	return out.String()
}

// FuzzReopen: whatever is appended to a file, opening it again finds what opening it does.
func FuzzReopen(f *testing.F) {
	for _, b := range shapes() {
		base, err := open(f, b)
		if err != nil {
			f.Fatal(err)
		}
		inc, _, err := extend(base)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, inc)
		f.Add(b, []byte("\n"))
		f.Add(b, fmt.Appendf(nil, "\nstartxref\n%d\n%%%%EOF\n", base.start))
		f.Add(b, bytes.Replace(inc, []byte("/Prev"), []byte("/Prex"), 1))
		f.Add(b, bytes.Replace(inc, []byte("/Prev"), []byte("/Prev 1 /Prex"), 1))
		f.Add(b, bytes.Replace(inc, []byte("/Catalog"), []byte("/Catalug"), 1))
		for i := 0; i < len(inc); i += 7 {
			bad := bytes.Clone(inc)
			bad[i] ^= 1
			f.Add(b, bad)
		}
		once := append(bytes.Clone(b), inc...)
		if base, err = open(f, once); err != nil {
			f.Fatal(err)
		}
		if inc, _, err = extend(base); err != nil {
			f.Fatal(err)
		}
		f.Add(once, inc)
	}
	f.Fuzz(func(t *testing.T, in, tail []byte) {
		base, err := OpenBytes(in)
		if err != nil {
			return
		}
		before := view(base)
		all := append(bytes.Clone(in), tail...)
		want, err := open(t, all)
		got, err1 := OpenTail(bytes.NewReader(all), int64(len(all)), all[len(in):])
		again, err2 := base.Reopen(all)
		if (err1 == nil) != (err == nil) || (err2 == nil) != (err == nil) {
			t.Fatalf("opened: %v, with its tail: %v, again: %v", err, err1, err2)
		}
		if err != nil {
			return
		}
		if a, b, c := view(want), view(got), view(again); a != b || a != c {
			t.Errorf("opened:\n%s\nwith its tail:\n%s\nagain:\n%s", a, b, c)
		}
		if view(base) != before {
			t.Error("opening the file again changed what it was")
		}
	})
}
