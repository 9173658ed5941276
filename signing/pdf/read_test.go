package pdf

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOpenShapes(t *testing.T) {
	for name, b := range shapes() {
		t.Run(name, func(t *testing.T) {
			f := mustOpen(t, b)
			page, err := f.FirstPage()
			if err != nil || page.Value.Get("Type").Name() != "Page" {
				t.Fatalf("first page: %v, %v", page, err)
			}
			if n, err := f.NumPages(); err != nil || n < 1 {
				t.Errorf("%d pages, %v", n, err)
			}
			if _, err := f.SignatureFields(); err != nil {
				t.Error(err)
			}
			qpdfClean(t, b)
		})
	}
}

func qpdfClean(t *testing.T, b []byte) {
	t.Helper()
	if _, err := exec.LookPath("qpdf"); err != nil {
		t.Fatal("qpdf is not installed: run make deps")
	}
	path := filepath.Join(t.TempDir(), "f.pdf")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "qpdf", "--check", path).CombinedOutput(); err != nil {
		t.Errorf("qpdf --check: %v\n%s", err, out)
	}
}

func TestSample(t *testing.T) {
	lines := strings.Split(strings.Repeat("a line (with parentheses) € “quoted” \\ 漢\n", 90), "\n")
	a, b := Sample("Contract", lines), Sample("Contract", lines)
	if !bytes.Equal(a, b) {
		t.Error("the same input gave different bytes")
	}
	qpdfClean(t, a)
	f := mustOpen(t, a)
	if f.HeaderVersion() != "1.7" || f.Size() != int64(len(a)) || f.MaxObject() != 7 || f.XRefKind() != XRefTable {
		t.Errorf("version %s, size %d, highest object %d", f.HeaderVersion(), f.Size(), f.MaxObject())
	}
	if got := string(winAnsi("€Ÿ•’(é漢")); got != "(\x80\x9f\x95\x92\\(\xe9?)" {
		t.Errorf("WinAnsi: %q", got)
	}
}

func TestHybridFindsHiddenObject(t *testing.T) {
	f := mustOpen(t, hybridFile())
	v, err := f.Resolve(f.Catalog().Value.Get("Hidden"))
	if err != nil || !v.Get("Found").True() {
		t.Errorf("hidden object: %s, %v", v.Raw(), err)
	}
}

// refusals are files that must be refused, each with its reason.
func refusals() map[string]struct {
	file []byte
	want Reason
} {
	type c = struct {
		file []byte
		want Reason
	}
	good := Sample("x", nil)
	edit := func(old, with string) []byte { return bytes.Replace(good, []byte(old), []byte(with), 1) }
	doc := func(extra, trailer string, objects ...string) []byte { // objects 10, 11 …
		b := newBuild()
		n := plain(b, 1, extra, "")
		for i, body := range objects {
			n = 10 + i
			b.obj(n, body)
		}
		return b.table(n, trailer, " \n")
	}
	return map[string]c{
		"no pdf":           {[]byte("PK\x03\x04 a word file"), ReasonNotPDF},
		"empty":            {nil, ReasonNotPDF},
		"before header":    {append([]byte("\n"), good...), ReasonJunk},
		"after end":        {append(bytes.Clone(good), "<html>"...), ReasonJunk},
		"object after end": {append(bytes.Clone(good), "% x\n8 0 obj\nnull\nendobj\n"...), ReasonJunk},
		"negative prev":    {doc("", "/Prev -1"), ReasonBroken},
		"kid missing":      {doc("/AcroForm << /Fields [10 0 R] >>", "", "<< /T (a) /Kids [99 0 R] >>"), ReasonBroken},
		"field twice":      {doc("/AcroForm << /Fields [10 0 R 10 0 R] >>", "", "<< /T (a) >>"), ReasonBroken},
		"field no dict":    {doc("/AcroForm << /Fields [10 0 R] >>", "", "[1]"), ReasonBroken},
		"raw xref bomb":    {nested(3, 1<<20), ReasonBroken},
		"packed too many":  {crowded(), ReasonBroken},
		"cut off":          {good[:len(good)-30], ReasonBroken},
		"no root":          {edit("/Root 1 0 R", "/Rood 1 0 R"), ReasonBroken},
		"root is a page":   {edit("/Root 1 0 R", "/Root 3 0 R"), ReasonBroken},
		"object number":    {edit("\n1 0 obj", "\n4 0 obj"), ReasonBroken},
		"duplicate key":    {edit("/Type /Catalog", "/Pages 3 0 R  "), ReasonBroken},
		"page tree loop":   {edit("/Kids [3 0 R]", "/Kids [2 0 R]"), ReasonBroken},
		"page tree string": {edit("/Kids [3 0 R]", "/Kids [(3 R)]"), ReasonBroken},
		"dynamic xfa":      {doc("/NeedsRendering true /AcroForm << /XFA [] >>", ""), ReasonXFA},
		"prev loop":        {prevLoop(), ReasonBroken},
		"deep":             {doc("/A "+strings.Repeat("[", 100)+strings.Repeat("]", 100), ""), ReasonTooLarge},
		"field no name":    {doc("/AcroForm << /Fields [10 0 R] >>", "", "<< /Kids [] >>"), ReasonBroken},
		"field not ref":    {doc("/AcroForm << /Fields [<< /T (a) /FT /Sig >>] >>", ""), ReasonBroken},
		"xref bomb":        {bomb(), ReasonBroken},
		"objstm in itself": {selfStream(), ReasonBroken},
		"reference loop":   {doc("/AcroForm 1 0 R /Fields 9 0 R", ""), ""},
		"index overflow":   {indexOverflow(), ReasonTooLarge},
		"length loop":      {lengthLoop(), ReasonBroken},
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range refusals() {
		t.Run(name, func(t *testing.T) {
			f, err := open(t, c.file)
			if err == nil {
				_, err = f.FirstPage()
			}
			if err == nil {
				_, err = f.SignatureFields()
			}
			re, ok := errors.AsType[*RefusedError](err)
			if c.want == "" {
				if err != nil && !ok {
					t.Errorf("error %v is no refusal", err)
				}
				return
			}
			if !ok || re.Reason != c.want {
				t.Fatalf("got %v, want the reason %s", err, c.want)
			}
			if !strings.Contains(re.Error(), "; ") || strings.Contains(re.Error(), "%!") {
				t.Errorf("the text does not say what to do: %s", re)
			}
		})
	}
}

func prevLoop() []byte {
	b := newBuild()
	n := plain(b, 1, "", "")
	return b.table(n, fmt.Sprintf("/Prev %d", b.Len()), " \n")
}

// bomb is a cross-reference stream of a few kilobytes that unpacks to 8 MB; no more is
// unpacked than its entries take, and they say that there is nothing.
func bomb() []byte {
	b := newBuild()
	plain(b, 1, "", "")
	start := b.Len()
	b.stream(4, "/Type /XRef /W [1 4 2] /Size 5 /Root 1 0 R /Filter /FlateDecode", deflate(make([]byte, 8<<20)))
	return b.end(start, "")
}

// selfStream says that an object stream is packed in itself.
func selfStream() []byte {
	b := newBuild()
	rows := b.packed(5, []int{1}, []string{"<< /Type /Catalog >>"})
	rows[5] = [3]int{2, 5, 0}
	return b.xrefStream(6, rows, "")
}

// lengthLoop keeps the length of an object stream in that object stream.
func lengthLoop() []byte {
	b := newBuild()
	b.obj(5, "<< /Type /ObjStm /N 1 /First 4 /Length 1 0 R >>\nstream\n1 0 7\nendstream")
	return b.xrefStream(6, map[int][3]int{1: {2, 5, 0}}, "")
}

// indexOverflow has a subsection whose bounds add up to less than nothing.
func indexOverflow() []byte {
	b := newBuild()
	n := plain(b, 1, "", "")
	return b.xrefStream(n+1, nil, "/Index [9000000000000000000 9000000000000000000]")
}

func TestHostileIsBounded(t *testing.T) {
	// Many nested strings that overlap: every object would take the rest of the file.
	b := newBuild()
	plain(b, 1, "", "")
	var kids strings.Builder
	for i := 10; i < 3000; i++ {
		fmt.Fprintf(&kids, "%d 0 R ", i)
		b.at[i] = b.Len()
		fmt.Fprintf(b, "%d 0 obj (", i)
	}
	b.WriteString(strings.Repeat("x", 1<<20))
	b.obj(2, "<< /Type /Pages /Kids ["+kids.String()+"] >>")
	f, err := open(t, b.table(3000, "", " \n"))
	if err == nil {
		_, err = f.NumPages()
	}
	if _, ok := errors.AsType[*RefusedError](err); !ok {
		t.Errorf("got %v, want a refusal", err)
	}
}

// nested is a chain of cross-reference streams without a filter, each of which has
// all later ones in its data.
func nested(count, size int) []byte {
	b := newBuild()
	plain(b, 1, "", "")
	head := func(prev, length int) string {
		return fmt.Sprintf("9 0 obj\n<< /Type /XRef /Size 4 /W [1 3 1] /Root 1 0 R /Prev %010d /Length %010d >>\nstream\n", prev, length)
	}
	const tail = "\nendstream\nendobj\n"
	start, step := b.Len(), len(head(0, 0))
	for i := range count {
		from := start + (i+1)*step
		to := start + count*step + size + (count-1-i)*len(tail)
		prev := from
		if i == count-1 {
			prev = 0
		}
		b.WriteString(head(prev, to-from))
	}
	b.WriteString(strings.Repeat("\x00", size) + strings.Repeat(tail, count))
	return b.end(start, "")
}

// crowded has an object stream that claims more objects than its index has room for.
func crowded() []byte {
	b := newBuild()
	b.stream(5, "/Type /ObjStm /N 5000 /First 8000", make([]byte, 9000))
	return b.xrefStream(6, map[int][3]int{1: {2, 5, 0}}, "")
}

// chained is a file of many revisions, each of which frees other object numbers.
func chained(revisions, each int) []byte {
	b := newBuild()
	n := plain(b, 1, "", "")
	start := b.writeXRefStream(n+1, nil, "")
	rows := deflate(make([]byte, each))
	for i := range revisions {
		prev := start
		start = b.Len()
		b.stream(9, fmt.Sprintf("/Type /XRef /Size 8000000 /Index [%d %d] /W [1 0 0] /Root 1 0 R /Prev %d /Filter /FlateDecode",
			10+i*each, each, prev), rows)
	}
	return b.end(start, "")
}

// TestManyRevisions: the work is in the number of objects and not in that times the
// number of revisions, which would be 1.6 billion steps here.
func TestManyRevisions(t *testing.T) {
	f := mustOpen(t, chained(2000, 400))
	if len(f.sections) != 2001 || len(f.index) > 4000 {
		t.Errorf("%d sections, %d segments", len(f.sections), len(f.index))
	}
	began := f.work
	if err := f.CheckStructure(); err != nil {
		t.Fatal(err)
	}
	if f.work-began > 1<<20 {
		t.Errorf("checked with %d KB of reading", (f.work-began)>>10)
	}
}

// TestIndex: the merged index says what asking all sections in turn says.
func TestIndex(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var sections []*section
		for range rnd.IntN(9) {
			s := &section{}
			for at := uint32(rnd.IntN(9)); at < 40; {
				count := 1 + uint32(rnd.IntN(9))
				s.runs = append(s.runs, run{first: at, count: count})
				at += count + uint32(rnd.IntN(12))
			}
			if len(sections) > 0 && rnd.IntN(4) == 0 {
				sections[len(sections)-1].hidden = s
				continue
			}
			sections = append(sections, s)
		}
		holds := func(s *section, num uint32) bool {
			return s != nil && slices.ContainsFunc(s.runs, func(r run) bool { return r.first <= num && num < r.first+r.count })
		}
		index := indexOf(sections)
		for num := range uint32(60) {
			var want, got *section
			if i := slices.IndexFunc(sections, func(s *section) bool { return holds(s, num) || holds(s.hidden, num) }); i >= 0 {
				want = sections[i]
			}
			hits := 0
			for _, seg := range index {
				if seg.first <= num && num < seg.end {
					got = seg.from
					hits++
				}
			}
			if got != want || hits > 1 {
				t.Fatalf("object %d: %d segments, or not the newest section", num, hits)
			}
		}
		if !slices.IsSortedFunc(index, func(a, b segment) int { return cmp.Compare(a.first, b.first) }) {
			t.Fatal("the index is not sorted")
		}
	}
}

// TestPadding: white space at the end is passed over, more of it than common readers do.
func TestPadding(t *testing.T) {
	good := Sample("x", nil)
	for n, ok := range map[int]bool{tailBytes - 1: true, 50_000: true, maxPadding + tailBytes: false} {
		_, err := open(t, append(bytes.Clone(good), make([]byte, n)...))
		if _, refused := errors.AsType[*RefusedError](err); ok && err != nil || !ok && !refused {
			t.Errorf("%d zeros: %v", n, err)
		}
	}
}

// TestMissingFields: entries of /Fields that lead nowhere are no fields, and no new
// object gets their number.
func TestMissingFields(t *testing.T) {
	b := newBuild()
	f := mustOpen(t, b.table(plain(b, 1, "/AcroForm << /Fields [9 0 R null] >>", ""), "", " \n"))
	if fields, err := f.SignatureFields(); err != nil || len(fields) != 0 {
		t.Errorf("%d fields, %v", len(fields), err)
	}
	if ref := f.NewUpdate().Alloc(); ref.Num != 10 {
		t.Errorf("new object %d", ref.Num)
	}
}

type failing struct{ bytes.Reader }

func (*failing) ReadAt([]byte, int64) (int, error) { return 0, errors.New("disk on fire") }

func TestReadErrorIsNoRefusal(t *testing.T) {
	_, err := Open(&failing{}, 1000)
	if _, refused := errors.AsType[*RefusedError](err); err == nil || refused {
		t.Errorf("a disk error came back as %v", err)
	}
}

// TestLongArrays: arrays whose items are not held give them when asked, in their places.
func TestLongArrays(t *testing.T) {
	src := "<< /A [" + strings.Repeat("[1] (s) ", 300) + "] /B [[" + strings.Repeat("7 0 R ", 100) + "] 2] >>"
	v, err := newParser([]byte(src), true).value(0)
	if err != nil {
		t.Fatal(err)
	}
	v = Object{Value: v, base: -1}.compact().Value
	a := v.Get("A").Items()
	if len(a) != 600 || a[0].Items()[0].num != 1 || a[599].Text() != "s" {
		t.Fatalf("%d items", len(a))
	}
	for _, it := range append(a, a[0].Items()[0]) {
		if src[it.pos:int(it.pos)+len(it.raw)] != string(it.raw) {
			t.Fatalf("%s is not at %d", it.raw, it.pos)
		}
	}
	if b := v.Get("B").Items(); len(b) != 2 || len(b[0].Items()) != 100 {
		t.Errorf("items of a long array in a short one: %v", b)
	}
}

func TestValues(t *testing.T) {
	const src = `<< /A#42 (a\(b\)\n\101\
c) /H <48 656C6c6> /N -12 /R -.5 /L [1 2 0 R null true] /D << /X /Y >> % comment
/U <FEFF00E9> >>`
	v, err := newParser([]byte(src), true).value(0)
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		string(v.Get("AB").Bytes()): "a(b)\nAc", string(v.Get("H").Bytes()): "Hell`",
		string(v.Get("D").Raw()): "<< /X /Y >>", v.Get("D").Get("X").Name(): "Y", v.Get("U").Text(): "é",
		string(v.Raw()): src, string(v.Get("L").WithItems(Ref{9, 0})): "[1 2 0 R null true 9 0 R]",
		string(v.Get("D").With(Change{"X", []byte("1")}, Change{"Z", []byte("2")})): "<< /X 1 /Z 2 >>",
		string(v.Get("D").With(Change{"X", nil})):                                   "<< >>",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if n, ok := v.Get("N").Int(); !ok || n != -12 || v.Get("R").Kind() != Real {
		t.Error("numbers")
	}
	if got := string(TextString("a(b\\")) + string(TextString("é")); got != `(a\(b\\)<FEFF00E9>` {
		t.Errorf("text strings: %s", got)
	}
	for _, bad := range []string{"<< /A >>", "[1", "(a", "<4g>", "1..2", "--1", ">>", "", "tru", "<< 1 2 >>", "<</A 1/#41 2>>"} {
		if v, err := newParser([]byte(bad), true).value(0); err == nil {
			t.Errorf("%q was read as %s", bad, v.Kind())
		}
	}
}

// TestDanglingReferences: no new object gets a number that a reference names already,
// wherever that is, as it would become what is referred to.
func TestDanglingReferences(t *testing.T) {
	b := newBuild()
	plain(b, 1, "", "/Contents 70 0 R")
	b.obj(4, "[[99 0 R]]")
	table := b.table(4, "/Info 80 0 R", " \n")
	b = newBuild()
	plain(b, 1, "", "")
	rows := b.packed(5, []int{4}, []string{"<< /A [99 0 R] >>"})
	for name, file := range map[string][]byte{"table": table, "packed": b.xrefStream(6, rows, "")} {
		f := mustOpen(t, file)
		if err := f.CheckStructure(); err != nil {
			t.Fatal(err)
		}
		if ref := f.NewUpdate().Alloc(); ref.Num != 100 {
			t.Errorf("%s: new object %d", name, ref.Num)
		}
	}
}

// TestCheckStructure: damage in what signing does not touch is found, too.
func TestCheckStructure(t *testing.T) {
	for name, b := range shapes() {
		if err := mustOpen(t, b).CheckStructure(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := Sample("x", nil)
	loop := newBuild()
	loop.obj(1, "<< /Type /Catalog /Pages 2 0 R >>")
	loop.obj(2, "<< /Type /Pages /Count 2 /Kids [3 0 R 2 0 R] >>")
	loop.obj(3, "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>")
	for name, b := range map[string][]byte{
		"other number": bytes.Replace(good, []byte("\n6 0 obj"), []byte("\n9 0 obj"), 1),
		"commented":    bytes.Replace(good, []byte("\n6 0 obj"), []byte("\n%%% obj"), 1),
		"page loop":    loop.table(3, "", " \n"),
	} {
		if _, refused := errors.AsType[*RefusedError](mustOpen(t, b).CheckStructure()); !refused {
			t.Errorf("%s: accepted", name)
		}
	}
}
