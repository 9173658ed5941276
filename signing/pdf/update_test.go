package pdf

import (
	"bytes"
	"testing"
)

// extend replaces the catalog and adds an object.
func extend(f *File) ([]byte, Ref, error) {
	u := f.NewUpdate()
	ref := u.Alloc()
	u.Set(ref, []byte("<< /Hello (world) >>"))
	c := f.Catalog()
	u.Set(c.Ref, c.Value.With(Change{"New", []byte(ref.String())}))
	inc, err := u.Finish()
	return inc, ref, err
}

func TestUpdateShapes(t *testing.T) {
	for name, b := range shapes() {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				f := mustOpen(t, b)
				inc, ref, err := extend(f)
				if err != nil {
					t.Fatal(err)
				}
				if ref.Num <= f.MaxObject() {
					t.Errorf("object number %d is used up to %d", ref.Num, f.MaxObject())
				}
				b = append(bytes.Clone(b), inc...)
				g := mustOpen(t, b)
				if g.XRefKind() != f.XRefKind() && f.odd == "" {
					t.Error("the update has another kind of cross-reference section")
				}
				v, err := g.Resolve(g.Catalog().Value.Get("New"))
				if err != nil || v.Get("Hello").Text() != "world" {
					t.Errorf("new object: %s, %v", v.Raw(), err)
				}
				qpdfClean(t, b)
			}
		})
	}
}

// TestIrregularIsMended: files whose table readers repair get one complete table.
func TestIrregularIsMended(t *testing.T) {
	b := shapes()["19 bytes"]
	f := mustOpen(t, b)
	if f.irregular == "" {
		t.Fatal("19-byte entries were taken for regular ones")
	}
	inc, _, err := extend(f)
	if err != nil {
		t.Fatal(err)
	}
	g := mustOpen(t, append(bytes.Clone(b), inc...))
	if g.irregular != "" || len(g.sections) != 1 {
		t.Errorf("still %q, %d sections", g.irregular, len(g.sections))
	}
	if n, err := g.NumPages(); err != nil || n != 1 {
		t.Errorf("%d pages, %v", n, err)
	}
}

// TestTrailerIsKept: every key of the trailer but those of the section is copied raw.
func TestTrailerIsKept(t *testing.T) {
	b := newBuild()
	base := b.table(plain(b, 1, "", ""), "/ID [<00><01>] /Odd#20Key ( as  it is )", " \n")
	inc, _, err := extend(mustOpen(t, base))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/ID [<00><01>]", "/Odd#20Key ( as  it is )", "/Size 5 ", "/Root 1 0 R"} {
		if !bytes.Contains(inc, []byte(want)) {
			t.Errorf("%q is not in\n%s", want, inc)
		}
	}
}

// A hole is a ReaderAt of any size: head, zeros, tail.
type hole struct {
	head, tail []byte
	size       int64
}

func (h hole) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		at := off + int64(i)
		switch from := h.size - int64(len(h.tail)); {
		case at < int64(len(h.head)):
			p[i] = h.head[at]
		case at >= from && at < h.size:
			p[i] = h.tail[at-from]
		default:
			p[i] = 0
		}
	}
	return len(p), nil
}

// TestHugeFiles: offsets above 4 GiB need wide fields, above 10 GB there is no table.
func TestHugeFiles(t *testing.T) {
	for _, c := range []struct {
		size int64
		kind string
		ok   bool
	}{{5 << 30, "xref stream", true}, {5 << 30, "table", true}, {11 << 30, "xref stream", true}, {11 << 30, "table", false}} {
		head := shapes()[c.kind]
		tail := head[bytes.LastIndex(head, []byte("startxref")):]
		f, err := Open(hole{head, tail, c.size}, c.size)
		if err != nil {
			t.Fatal(err)
		}
		inc, _, err := extend(f)
		if (err == nil) != c.ok {
			t.Errorf("%s of %d bytes: %v", c.kind, c.size, err)
			continue
		}
		if !c.ok {
			continue
		}
		grown := hole{head, append(bytes.Clone(tail), inc...), c.size + int64(len(inc))}
		g, err := Open(grown, grown.size)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := g.Resolve(g.Catalog().Value.Get("New")); err != nil || v.IsNull() {
			t.Errorf("%s of %d bytes: new object %s, %v", c.kind, c.size, v.Raw(), err)
		}
	}
}

func seeds(f *testing.F) {
	for _, b := range shapes() {
		f.Add(b)
	}
	for _, b := range faults() {
		f.Add(b)
	}
	for name, c := range refusals() {
		if name != "xref bomb" {
			f.Add(c.file)
		}
	}
}

// FuzzOpen: no input panics, and all work is bounded.
func FuzzOpen(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := open(t, in)
		if err != nil {
			return
		}
		file.NumPages()
		file.CheckStructure()
		file.CheckSigning("Seal", 2)
		for n := range min(file.MaxObject(), 50) {
			file.Object(Ref{Num: n})
		}
	})
}

// FuzzUpdate: what was appended is found again, and the old objects stay where they were.
func FuzzUpdate(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := open(t, in)
		if err != nil {
			return
		}
		inc, ref, err := extend(file)
		if err != nil {
			return
		}
		out := append(bytes.Clone(in), inc...)
		g, err := open(t, out)
		if err != nil {
			t.Fatalf("the update cannot be opened: %v", err)
		}
		pages, whole := file.NumPages()
		if n, err := g.NumPages(); whole == nil && (err != nil || n != pages) {
			t.Errorf("%d pages, had %d: %v", n, pages, err)
		}
		if v, err := g.Resolve(Value{kind: Reference, num: int64(ref.Num)}); err != nil || v.Get("Hello").Text() != "world" {
			t.Errorf("new object: %s, %v", v.Raw(), err)
		}
		if file.faulty != "" {
			return // other objects changed as well
		}
		for n := uint32(1); n < min(ref.Num, 50); n++ {
			a, err1 := file.Object(Ref{Num: n})
			b, err2 := g.Object(Ref{Num: n})
			if n != file.Catalog().Ref.Num && !file.ownStreams().has(n) && err1 == nil && (err2 != nil || !bytes.Equal(a.Value.Raw(), b.Value.Raw())) {
				t.Errorf("object %d changed: %s, %v", n, b.Value.Raw(), err2)
			}
		}
	})
}
