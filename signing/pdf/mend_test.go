package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// faults are unsigned files with a fault on which readers agree and which an increment
// mends, by name.
func faults() map[string][]byte {
	good := Sample("x", nil)
	cut := func(tail string) []byte {
		return append(bytes.TrimSuffix(bytes.Clone(good), []byte("%%EOF\n")), tail...)
	}
	out := map[string][]byte{
		"one percent":  cut("%EOF\n"),
		"three":        cut("%%%EOF"),
		"no end mark":  cut(""),
		"number twice": bytes.Replace(good, []byte("\n%%EOF"), append(good[bytes.LastIndex(good, []byte("startxref"))+9:len(good)-6], "%%EOF"...), 1),
		"no type":      bytes.Replace(good, []byte("/Type /Catalog"), []byte("/Tupe /Catalog"), 1),
		"hybrid":       hybridFile(),
	}
	for name, form := range map[string]string{
		"direct field":   "<< /Fields [<< /T (a) /FT /Tx >> 5 0 R] >>",
		"twins":          "<< /Fields [5 0 R 6 0 R 7 0 R] >>",
		"widget at root": "<< /Fields [8 0 R 5 0 R] >>",
	} {
		b := newBuild()
		plain(b, 1, "/AcroForm "+form, "")
		b.obj(5, "<< /T (x) /FT /Tx /V (1) >>")
		b.obj(6, "<< /T (x_2) /FT /Tx >>")
		b.obj(7, "<< /T (x) /FT /Tx /V (2) >>")
		b.obj(8, "<< /Subtype /Widget >>")
		out[name] = b.table(8, "", " \n")
	}
	// The first table is in pieces, and there is an object stream, with wrong indices.
	b := newBuild()
	rows := b.packed(5, []int{1, 2, 3, 7}, []string{
		"<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>", "(s)",
	})
	rows[1], rows[2] = rows[2], rows[1]
	out["wrong indices"] = b.xrefStream(6, rows, "")
	out["freed"] = revised("4 1\n0000000000 00000 f \n", 5)
	out["size goes down"] = revised("", 2)
	out["reused"] = revisedTwice()
	b = newBuild()
	n := plain(b, 1, "", "")
	start := b.writeXRefStream(n+1, nil, "")
	table := b.Len()
	out["two kinds"] = bytes.Clone(b.end(table, fmt.Sprintf("xref\n0 0\ntrailer\n<< /Size %d /Root 1 0 R /Prev %d >>\n", n+2, start)))
	return out
}

// revised is a file with a second revision that has only a table.
func revised(entries string, size int) []byte {
	b := newBuild()
	n := plain(b, 1, "", "")
	b.obj(n+1, "(unused)")
	first := b.Len()
	b.table(n+1, "", " \n")
	start := b.Len()
	return b.end(start, fmt.Sprintf("xref\n%strailer\n<< /Size %d /Root 1 0 R /Prev %d >>\n", entries, size, first))
}

// revisedTwice frees an object and then uses its number again, with the same generation.
func revisedTwice() []byte {
	base := revised("4 1\n0000000000 00001 f \n", 5)
	prev := bytes.LastIndex(base, []byte("\nxref")) + 1
	obj := "4 0 obj\n(again)\nendobj\n"
	return fmt.Appendf(bytes.Clone(base), "%sxref\n4 1\n%010d 00000 n \ntrailer\n<< /Size 5 /Root 1 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n",
		obj, len(base), prev, len(base)+len(obj))
}

// TestMended: after one increment nothing of the fault is left in what readers follow,
// a further increment continues the chain, and qpdf agrees.
func TestMended(t *testing.T) {
	for name, b := range faults() {
		t.Run(name, func(t *testing.T) {
			f := mustOpen(t, b)
			if err := f.CheckStructure(); err != nil {
				t.Fatal(err)
			}
			pages, _ := f.NumPages()
			if f.irregular+f.faulty+f.odd == "" && name != "widget at root" {
				t.Error("no fault was found")
			}
			for range 2 {
				u := mustOpen(t, b)
				if err := u.CheckStructure(); err != nil {
					t.Fatal(err)
				}
				inc, _, err := extendForm(u)
				if err != nil {
					t.Fatal(err)
				}
				b = append(bytes.Clone(b), inc...)
				g := mustOpen(t, b)
				if err := g.CheckStructure(); err != nil || g.irregular+g.faulty+g.odd != "" {
					t.Errorf("still: %s%s%s %v", g.irregular, g.faulty, g.odd, err)
				}
				if n, err := g.NumPages(); err != nil || n != pages {
					t.Errorf("%d pages, had %d, %v", n, pages, err)
				}
				qpdfClean(t, b)
			}
			if n := len(mustOpen(t, b).sections); n > 3 {
				t.Errorf("%d sections", n)
			}
		})
	}
}

// extendForm extends a file and makes direct fields objects of their own, as whoever adds
// a field does.
func extendForm(f *File) ([]byte, Ref, error) {
	u := f.NewUpdate()
	ref := u.Alloc()
	u.Set(ref, []byte("<< /Hello (world) >>"))
	changes := []Change{{"New", []byte(ref.String())}}
	form, err := f.AcroForm()
	if err != nil {
		return nil, ref, err
	}
	var list []Ref
	for _, it := range form.Value.Get("Fields").Items() {
		field, ok := it.Ref()
		if !ok {
			field = u.Alloc()
			u.Set(field, it.Raw())
		}
		list = append(list, field)
	}
	if list != nil {
		raw := form.Value.With(Change{"Fields", Value{}.WithItems(list...)})
		changes = append(changes, Change{"AcroForm", raw})
	}
	c := f.Catalog()
	u.Set(c.Ref, c.Value.With(changes...))
	inc, err := u.Finish()
	return inc, ref, err
}

// TestTwins: the first keeps its name, the second gets one that nobody has.
func TestTwins(t *testing.T) {
	b := faults()["twins"]
	inc, _, err := extend(mustOpen(t, b))
	if err != nil {
		t.Fatal(err)
	}
	g := mustOpen(t, append(bytes.Clone(b), inc...))
	for num, want := range map[uint32]string{5: "x", 6: "x_2", 7: "x_3"} {
		o, err := g.Object(Ref{Num: num})
		if err != nil || o.Value.Get("T").Text() != want {
			t.Errorf("field %d: %s, %v", num, o.Value.Raw(), err)
		}
	}
}

// TestNotMended: what cannot be mended without changing the form, or what readers differ on.
func TestNotMended(t *testing.T) {
	good := Sample("x", nil)
	doc := func(form string) []byte {
		b := newBuild()
		plain(b, 1, "/AcroForm "+form, "")
		b.obj(5, "<< /T (x) /Kids [6 0 R] >>")
		b.obj(6, "<< /T (y) /FT /Tx >>")
		b.obj(7, "<< /T (x) /Kids [8 0 R] >>")
		b.obj(8, "<< /T (z) /FT /Tx >>")
		b.obj(9, "<< /T (x) /FT /Sig >>")
		b.obj(10, "<< /T (x) /FT /Tx >>")
		return b.table(10, "", " \n")
	}
	for name, b := range map[string][]byte{
		"two nodes":      doc("<< /Fields [5 0 R 7 0 R] >>"),
		"sig":            doc("<< /Fields [10 0 R 9 0 R] >>"),
		"xfa":            doc("<< /XFA (x) /Fields [5 0 R 10 0 R] >>"),
		"cut in number":  good[:bytes.LastIndex(good, []byte("\n%%EOF"))-1],
		"other number":   bytes.Replace(good, []byte("\n%%EOF"), []byte("\n17\n%%EOF"), 1),
		"word":           bytes.Replace(good, []byte("\n%%EOF"), []byte("\nendobj EOF"), 1),
		"foreign bytes":  append(bytes.Clone(good), "trailer << >>"...),
		"second mention": append(bytes.Clone(good), "startxref\n"...),
	} {
		f, err := open(t, b)
		if err == nil {
			_, err = f.SignatureFields()
		}
		if _, refused := errors.AsType[*RefusedError](err); !refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSignedIsNotMended: nothing may be mended behind a signature; the chain of a
// hybrid file goes on.
func TestSignedIsNotMended(t *testing.T) {
	for name, ok := range map[string]bool{"hybrid": true, "two kinds": true, "no type": false, "19 bytes": false} {
		b := faults()[name]
		if b == nil {
			b = shapes()[name]
		}
		b = signedUp(t, b)
		f := mustOpen(t, b)
		inc, _, err := extend(f)
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && !strings.Contains(string(inc), "/Prev ") {
			t.Errorf("%s: the chain ends", name)
		}
	}
}

// signedUp adds a signature by hand, in an increment that mends nothing.
func signedUp(t *testing.T, b []byte) []byte {
	t.Helper()
	f := mustOpen(t, b)
	head := fmt.Sprintf("%d 0 obj\n<< /Type /Sig /Filter /X /ByteRange [%%010d %%010d %%010d %%010d] /Contents ", f.MaxObject()+1)
	field := fmt.Sprintf("\n%d 0 obj\n<< /FT /Sig /T (s) /V %d 0 R >>\nendobj\n", f.MaxObject()+2, f.MaxObject()+1)
	c := f.Catalog()
	// The catalog keeps its fault: only the form is added to the bytes that it has.
	catalog := strings.Replace(string(c.Value.Raw()), ">>", fmt.Sprintf(" /AcroForm << /Fields [%d 0 R] >> >>", f.MaxObject()+2), 1)
	if f.untyped {
		catalog = strings.Replace(catalog, "/Type /Catalog", "", 1)
	}
	const gap = "<00>"
	at := len(b) + len(fmt.Sprintf(head, 0, 0, 0, 0))
	var rest bytes.Buffer
	rest.WriteString(" >>\nendobj")
	fieldAt := at + len(gap) + rest.Len() + 1
	rest.WriteString(field)
	catalogAt := at + len(gap) + rest.Len()
	fmt.Fprintf(&rest, "%s obj\n%s\nendobj\n", strings.TrimSuffix(c.Ref.String(), " R"), catalog)
	start := at + len(gap) + rest.Len()
	fmt.Fprintf(&rest, "xref\n%d 1\n%010d 00000 n \n%d 2\n%010d 00000 n \n%010d 00000 n \n", c.Ref.Num, catalogAt, f.MaxObject()+1, len(b), fieldAt)
	fmt.Fprintf(&rest, "trailer\n<< /Size %d /Root %s /Prev %d >>\nstartxref\n%d\n%%%%EOF\n", f.MaxObject()+3, c.Ref, f.start, start)
	out := fmt.Appendf(bytes.Clone(b), head, 0, at, at+len(gap), rest.Len())
	return append(append(out, gap...), rest.Bytes()...)
}
