//go:build !race

package signing_test

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/cms"
	"countersign/signing/pdf"
)

// What one hostile file may cost.
const (
	hostileMB  = 200
	hostileCPU = 5 * time.Second
)

// hostile are files that try to make the reader loop, overflow or run out of memory, each
// with whether it may be signed all the same. Those named .der are read as CMS.
var hostile = map[string]struct {
	write func(b *bulk)
	fine  bool
}{
	"nested.der":      {write: func(b *bulk) { b.printf("%s", strings.Repeat("\x30\x80", 4<<20)) }},
	"nested long.der": {write: func(b *bulk) { b.printf("%s", strings.Repeat("\x30\x84\x00\x7f\xff\xff", 1<<20)) }},
	"xref bomb":       {write: func(b *bulk) { xrefBomb(b, "[1 1 1]", 8_000_000, 1<<20) }},
	"wide xref bomb":  {write: func(b *bulk) { xrefBomb(b, "[8 8 8]", 8_388_607, 1<<20) }},
	"zero width":      {write: func(b *bulk) { xrefBomb(b, "[0 0 0]", 8_388_607, 1<<10) }},
	"huge width":      {write: func(b *bulk) { xrefBomb(b, "[1 999999999999 1]", 9, 1<<10) }},
	"huge size":       {write: func(b *bulk) { oneTrailer(b, "/Size 99999999999 /Root 1 0 R") }},
	"size below zero": {write: func(b *bulk) { oneTrailer(b, "/Size -1 /Root 1 0 R") }},
	"no numbers left": {write: func(b *bulk) { oneTrailer(b, "/Size 8388608 /Root 1 0 R") }},
	"prev loop":       {write: func(b *bulk) { oneTrailer(b, "/Size 4 /Root 1 0 R /Prev %[1]d") }},
	"prev itself":     {write: func(b *bulk) { oneTrailer(b, "/Size 4 /Root 1 0 R /Prev %[1]d /XRefStm %[1]d") }},
	"twin keys":       {write: func(b *bulk) { oneTrailer(b, "/Size 4 /Root 1 0 R /Root 2 0 R") }},
	"many keys":       {write: func(b *bulk) { oneTrailer(b, "/Size 4 /Root 1 0 R "+numbered("/K%d %[1]d ", 300_000)) }},
	"3,000 revisions": {write: func(b *bulk) { revisions(b, 3000, "") }},
	"2,000 revisions": {write: func(b *bulk) { revisions(b, 2000, "") }, fine: true},
	"heavy trailers":  {write: func(b *bulk) { revisions(b, 12, "/A ["+strings.Repeat("1 ", 350_000)+"]") }, fine: true},
	"page loop":       {write: func(b *bulk) { tree(b, "<< /Type /Pages /Kids [3 0 R] >>", "<< /Type /Pages /Kids [2 0 R] >>") }},
	"page twice":      {write: func(b *bulk) { tree(b, "<< /Type /Pages /Kids [3 0 R 3 0 R] >>", onePage) }},
	"wide tree":       {write: func(b *bulk) { tree(b, "<< /Type /Pages /Kids ["+strings.Repeat("3 0 R ", 1_000_000)+"] >>", onePage) }},
	"deep tree":       {write: deepTree},
	"field loop":      {write: func(b *bulk) { formOf(b, "<< /T (a) /Kids [5 0 R] >>", "<< /T (b) /Kids [4 0 R] >>") }},
	"field itself":    {write: func(b *bulk) { formOf(b, "<< /T (a) /Kids [4 0 R] >>") }},
	"long names":      {write: longNames},
	"nested arrays":   {write: func(b *bulk) { formOf(b, strings.Repeat("[", 4<<20)) }},
	"nested dicts":    {write: func(b *bulk) { formOf(b, strings.Repeat("<</A", 2<<20)) }},
	"many values":     {write: func(b *bulk) { formOf(b, "<< /T (a) /FT /Tx /A ["+strings.Repeat("1 ", 4<<20)+"] >>") }},
	"endless string":  {write: func(b *bulk) { formOf(b, "("+strings.Repeat("(", 8<<20)) }},
	"length loop":     {write: func(b *bulk) { formOf(b, "<< /Length 4 0 R >>\nstream\nx\nendstream") }},
	"packed bomb":     {write: func(b *bulk) { packedBomb(b, 1, 64<<20) }},
	"many bombs":      {write: func(b *bulk) { packedBomb(b, 40, 15<<20) }},
	"strings overlap": {write: overlap},
}

const onePage = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"

func numbered(format string, count int) string {
	var s strings.Builder
	for i := range count {
		fmt.Fprintf(&s, format, i)
	}
	return s.String()
}

func oneTrailer(b *bulk, trailer string) {
	b.obj("<< /Type /Catalog /Pages 2 0 R >>")
	b.obj("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	b.obj(onePage)
	start := b.at
	b.printf("xref\n0 4\n0000000000 65535 f \n")
	for _, at := range b.offs {
		b.printf("%010d 00000 n \n", at)
	}
	if strings.Contains(trailer, "%[1]d") {
		trailer = fmt.Sprintf(trailer, start)
	}
	b.printf("trailer\n<< %s >>\nstartxref\n%d\n%%%%EOF\n", trailer, start)
}

// tree is a document with these objects from number 2 on, the root of the page tree.
func tree(b *bulk, objects ...string) {
	b.obj("<< /Type /Catalog /Pages 2 0 R >>")
	for _, o := range objects {
		b.obj("%s", o)
	}
	b.table()
}

// formOf is a document with these objects from number 4 on, the only root field.
func formOf(b *bulk, objects ...string) {
	b.obj("<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] >> >>")
	b.obj("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	b.obj(onePage)
	for _, o := range objects {
		b.obj("%s", o)
	}
	b.table()
}

func xrefBomb(b *bulk, widths string, size, unpacked int) {
	start := b.at
	z := deflatedZeros("", unpacked)
	b.printf("1 0 obj\n<< /Type /XRef /W %s /Size %d /Root 1 0 R /Filter /FlateDecode /Length %d >>\nstream\n", widths, size, len(z))
	b.printf("%s\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n", z, start)
}

func revisions(b *bulk, count int, extra string) {
	oneTrailer(b, "/Size 4 /Root 1 0 R "+extra)
	prev := b.offs[2] + int64(len("3 0 obj\n\nendobj\n")+len(onePage))
	for range count - 1 {
		start := b.at
		b.printf("xref\n0 0\ntrailer\n<< /Size 4 /Root 1 0 R /Prev %d %s >>\nstartxref\n%d\n%%%%EOF\n", prev, extra, start)
		prev = start
	}
}

func deepTree(b *bulk) {
	const depth = 5000
	b.obj("<< /Type /Catalog /Pages 2 0 R >>")
	for i := range depth {
		b.obj("<< /Type /Pages /Kids [%d 0 R] >>", i+3)
	}
	b.obj(onePage)
	b.table()
}

// longNames has a field with a long name and very many kids, whose full names begin with it.
func longNames(b *bulk) {
	const kids = 50_000
	b.obj("<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] >> >>")
	b.obj("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	b.obj(onePage)
	b.obj("<< /T (%s) /FT /Tx /Kids [%s] >>", strings.Repeat("n", 1<<20), refs(5, kids))
	for i := range kids {
		b.obj("<< /T (%d) >>", i)
	}
	b.table()
}

// packedBomb has object streams that unpack to very much each, for one page each.
func packedBomb(b *bulk, streams, unpacked int) {
	b.obj("<< /Type /Catalog /Pages 2 0 R >>")
	b.obj("<< /Type /Pages /Count %d /Kids [%s] >>", streams, refs(3+streams, streams))
	rows := []byte{0, 0, 0, 0, 0, 0, 0}
	at := func(kind byte, where int) {
		rows = append(rows, kind, byte(where>>24), byte(where>>16), byte(where>>8), byte(where), 0, 0)
	}
	for i := range streams {
		head := fmt.Sprintf("%d 0 ", 3+streams+i)
		z := deflatedZeros(head+onePage, unpacked)
		b.obj("<< /Type /ObjStm /N 1 /First %d /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream", len(head), len(z), z)
	}
	for _, off := range b.offs {
		at(1, int(off))
	}
	for i := range streams {
		at(2, 3+i)
	}
	start, self := b.at, 3+2*streams
	at(1, int(start))
	b.printf("%d 0 obj\n<< /Type /XRef /W [1 4 2] /Size %d /Root 1 0 R /Length %d >>\nstream\n%s\nendstream\nendobj\n", self, self+1, len(rows), rows)
	b.printf("startxref\n%d\n%%%%EOF\n", start)
}

// deflatedZeros compresses the head and n zeros.
func deflatedZeros(head string, n int) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	io.WriteString(z, head)
	for zeros := make([]byte, 1<<16); n > 0; n -= len(zeros) {
		z.Write(zeros[:min(n, len(zeros))])
	}
	z.Close()
	return out.Bytes()
}

// overlap has objects each of which is a string up to the end of the file.
func overlap(b *bulk) {
	const count = 20_000
	b.obj("<< /Type /Catalog /Pages 2 0 R >>")
	b.obj("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	b.obj(onePage)
	for range count {
		b.offs = append(b.offs, b.at)
		b.printf("%d 0 obj (", len(b.offs))
	}
	b.printf("%s\n", strings.Repeat("x", 4<<20))
	b.table()
}

// TestHostile: each is refused, or signed where that does no harm, within bounds.
func TestHostile(t *testing.T) {
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			file, err := os.Create(path)
			check(t, err)
			b := &bulk{Writer: bufio.NewWriter(file)}
			if !strings.HasSuffix(name, ".der") {
				b.printf("%%PDF-1.7\n%%\xe2\xe3\xcf\xd3\n")
			}
			c.write(b)
			check(t, b.Flush())
			check(t, file.Close())
			got := inChild(t, path, time.Minute)
			want := childRefused
			if c.fine {
				want = childSigned
			}
			if got.code != want {
				t.Errorf("exit code %d, want %d: %.2000s", got.code, want, got.text)
			}
			if got.rss > hostileMB || got.cpu > hostileCPU {
				t.Errorf("it took %d MB and %v", got.rss, got.cpu)
			}
			t.Logf("%d MB, %v: %.200s", got.rss, got.cpu.Round(time.Millisecond), got.text)
		})
	}
}

// parseCMS is what the child does with a .der file.
func parseCMS(path string) error {
	der, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := cms.Guard(der); err == nil {
		return errors.New("the guard let it pass")
	}
	if _, err := cms.Parse(der); err == nil {
		return errors.New("it was parsed")
	}
	return &pdf.RefusedError{Reason: pdf.ReasonTooLarge, Detail: "not well-formed"}
}

// Damaged files: how many of one, of how many, and how large they may be.
const (
	cuts, flips = 16, 48
	maxDamaged  = 100
	maxDamage   = 256 << 10
)

// TestDamage: cut off anywhere, and with bits flipped, a file is refused or prepared
// soundly. A child does it, as there is no recovering from some ways to die.
func TestDamage(t *testing.T) {
	var files []string
	all := corpus(t)
	for i, step := 0, max(1, len(all)/maxDamaged); i < len(all); i += step {
		if info, err := os.Stat(all[i]); err == nil && info.Size() <= maxDamage {
			files = append(files, all[i])
		}
	}
	list := filepath.Join(t.TempDir(), "files.list")
	check(t, os.WriteFile(list, []byte(strings.Join(files, "\n")), 0o600))
	got := inChild(t, list, 10*time.Minute)
	if got.code != childSigned || got.rss > hostileMB {
		t.Errorf("exit code %d, %d MB: %.4000s", got.code, got.rss, got.text)
	}
	t.Logf("%d files, %d MB, %v: %s", len(files), got.rss, got.cpu.Round(time.Millisecond), got.text)
}

// damageAll is what the child does with a .list file.
func damageAll(list string) error {
	names, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	done, prepared := 0, 0
	for path := range strings.SplitSeq(string(names), "\n") {
		base, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rnd := rand.New(rand.NewPCG(1, uint64(len(base))))
		for i := range cuts + flips {
			damaged := bytes.Clone(base)
			if i < cuts {
				damaged = damaged[:rnd.IntN(len(base))]
			} else {
				for range 1 + i%3 {
					damaged[rnd.IntN(len(base))] ^= 1 << rnd.IntN(8)
				}
			}
			done++
			switch ok, err := soundly(damaged); {
			case err != nil:
				return fmt.Errorf("%s, damage %d: %w", path, i, err)
			case ok:
				prepared++
			}
		}
	}
	fmt.Printf("of %d damaged files %d were prepared\n", done, prepared)
	return nil
}

// soundly prepares a file and checks what came out: it begins with what went in, and
// has as many pages and one signature field more.
func soundly(in []byte) (prepared bool, err error) {
	var out bytes.Buffer
	_, names, err := signing.Prepare(&out, section(in), wanted[:1])
	if _, refused := errors.AsType[*pdf.RefusedError](err); refused {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("neither prepared nor refused: %w", err)
	}
	if !bytes.HasPrefix(out.Bytes(), in) {
		return false, errors.New("the result does not begin with the input")
	}
	pages, fields, err := shape(in)
	if err != nil {
		return false, err
	}
	pagesNow, fieldsNow, err := shape(out.Bytes())
	if err != nil {
		return false, fmt.Errorf("the result cannot be opened: %w", err)
	}
	if pages != pagesNow || len(fieldsNow) != len(fields)+1 || fieldsNow[len(fields)].Name != names[0] {
		return false, fmt.Errorf("%d pages, had %d; %d fields, had %d", pagesNow, pages, len(fieldsNow), len(fields))
	}
	return true, nil
}

// FuzzWriter: a result starts with its input and opens again, with as many pages and one
// field more, and what was prepared can be signed.
func FuzzWriter(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b)
	}
	key := newKeys(f, "p256")[0]
	f.Fuzz(func(t *testing.T, in []byte) {
		prepared, err := soundly(in)
		if err != nil {
			t.Fatal(err)
		}
		if !prepared {
			return
		}
		var r0 bytes.Buffer
		_, names, err := signing.Prepare(&r0, section(in), wanted[:1])
		check(t, err)
		out, err := sign(t, r0.Bytes(), key, signing.Params{Field: names[0]})
		check(t, err)
		if !bytes.HasPrefix(out, r0.Bytes()) {
			t.Error("the signed file does not begin with what was prepared")
		}
	})
}

func shape(b []byte) (pages int, fields []pdf.Field, err error) {
	f, err := pdf.Open(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))), int64(len(b)))
	if err != nil {
		return 0, nil, err
	}
	if pages, err = f.NumPages(); err != nil {
		return 0, nil, err
	}
	fields, err = f.SignatureFields()
	return pages, fields, err
}
