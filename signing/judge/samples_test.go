//go:build judge

package judge

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"testing"

	"countersign/signing/pdf"
)

// A sample is an unsigned file that people might mail in.
type sample struct {
	name    string
	pdf     []byte
	streams bool // its cross-reference is a stream
	lenient bool // pyHanko rejects it as such
}

func samples(t testing.TB) []sample {
	t.Helper()
	base := pdf.Sample("Contract", []string{"Party A and Party B agree.", "That is all."})
	three := rewritten(t, base, "--pages", ".", ".", ".", "--")
	return []sample{
		{name: "table", pdf: base},
		{name: "no newline at the end", pdf: bytes.TrimRight(base, "\n")},
		{name: "xref stream", pdf: streamFile(false), streams: true},
		{name: "object streams", pdf: rewritten(t, three, "--object-streams=generate"), streams: true},
		{name: "hybrid", pdf: streamFile(true), lenient: true},
		{name: "linearized", pdf: rewritten(t, three, "--linearize")},
		{name: "linearized, object streams", pdf: rewritten(t, three, "--linearize", "--object-streams=generate"), streams: true},
		{name: "form", pdf: withForm(t, base, false)},
		{name: "form in objects of its own", pdf: withForm(t, rewritten(t, three, "--object-streams=generate"), true), streams: true},
		{name: "tagged", pdf: tagged(t, base)},
		{name: "rotated", pdf: rewritten(t, three, "--rotate=+90")},
		{name: "PDF 2.0", pdf: rewritten(t, three, "--force-version=2.0")},
		{name: "many revisions", pdf: manyRevisions(t, base)},
		{name: "RC4-40", pdf: rewritten(t, three, "--allow-weak-crypto", "--encrypt", "", "owner", "40", "--")},
		{name: "RC4-128", pdf: rewritten(t, three, "--allow-weak-crypto", "--encrypt", "", "owner", "128", "--use-aes=n", "--")},
		{name: "AES-128", pdf: rewritten(t, three, "--allow-weak-crypto", "--encrypt", "", "owner", "128", "--use-aes=y", "--")},
		{name: "AES-256", pdf: rewritten(t, three, "--encrypt", "", "owner", "256", "--")},
		{
			name: "AES-256, object streams", streams: true,
			pdf: rewritten(t, three, "--object-streams=generate", "--encrypt", "", "owner", "256", "--"),
		},
	}
}

// streamFile is a file whose cross-reference is a stream. With hybrid it is one as
// Microsoft Word makes it: a table, then a table without entries, whose trailer
// names a cross-reference stream for the objects in object streams (ISO 32000-2, 7.5.8.4).
func streamFile(hybrid bool) []byte {
	var b bytes.Buffer
	at := map[int]int{}
	object := func(n int, body string) {
		at[n] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", n, body)
	}
	stream := func(n int, dict string, data []byte) {
		object(n, fmt.Sprintf("<< %s /Length %d >>\nstream\n%s\nendstream", dict, len(data), data))
	}
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	page := []byte("BT /F1 20 Tf 64 700 Td (A contract) Tj ET")
	object(1, "<< /Type /Catalog /Pages 2 0 R >>")
	object(2, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	object(3, "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>")
	stream(4, "", page)
	object(5, "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
	info := "<< /Title (A contract) >>"
	stream(7, "/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode", deflate([]byte("6 0 "+info)))
	start := b.Len()
	var rows []byte
	for n := range 9 {
		row := []byte{1, byte(at[n] >> 8), byte(at[n]), 0}
		switch n {
		case 0:
			row = []byte{0, 0, 0, 255}
		case 6:
			row = []byte{2, 0, 7, 0}
		case 8:
			row = []byte{1, byte(start >> 8), byte(start), 0}
		}
		rows = append(rows, row...)
	}
	const id = "/Root 1 0 R /Info 6 0 R /ID [<0123456789ABCDEF0123456789ABCDEF> <0123456789ABCDEF0123456789ABCDEF>]"
	stream(8, "/Type /XRef /W [1 2 1] /Size 9 /Filter /FlateDecode "+id, deflate(rows))
	if !hybrid {
		fmt.Fprintf(&b, "startxref\n%d\n%%%%EOF\n", start)
		return b.Bytes()
	}
	table := b.Len()
	fmt.Fprintf(&b, "xref\n0 6\n0000000000 65535 f \n")
	for n := 1; n <= 5; n++ {
		fmt.Fprintf(&b, "%010d 00000 n \n", at[n])
	}
	fmt.Fprintf(&b, "trailer\n<< /Size 9 %s /XRefStm %d >>\nstartxref\n%d\n%%%%EOF\n", id, start, table)
	return b.Bytes()
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

func firstPage(t testing.TB, f *pdf.File) pdf.Object {
	t.Helper()
	page, err := f.FirstPage()
	check(t, err)
	return page
}

// withForm adds a filled text field. With indirect, the form, its fields and the page's
// annotations are objects of their own.
func withForm(t testing.TB, base []byte, indirect bool) []byte {
	return updated(t, base, func(f *pdf.File, u *pdf.Update) {
		page, field := firstPage(t, f), u.Alloc()
		u.Set(field, fmt.Appendf(nil, "<< /Type /Annot /Subtype /Widget /FT /Tx /T (Price) /V (12) /DA (/Helv 12 Tf 0 g) /F 4 "+
			"/Rect [50 50 90 70] /P %s >>", page.Ref))
		list := []byte("[" + field.String() + "]")
		place := func(b []byte) []byte {
			if !indirect {
				return b
			}
			ref := u.Alloc()
			u.Set(ref, b)
			return []byte(ref.String())
		}
		font := u.Alloc()
		u.Set(font, []byte("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"))
		form := fmt.Appendf(nil, "<< /Fields %s /DR << /Font << /Helv %s >> >> /DA (/Helv 0 Tf 0 g) >>", place(list), font)
		u.Set(page.Ref, page.Value.With(pdf.Change{Key: "Annots", Raw: place(list)}))
		u.Set(f.Catalog().Ref, f.Catalog().Value.With(pdf.Change{Key: "AcroForm", Raw: place(form)}))
	})
}

// tagged gives a file a structure tree with one paragraph.
func tagged(t testing.TB, base []byte) []byte {
	return updated(t, base, func(f *pdf.File, u *pdf.Update) {
		page, root, element := firstPage(t, f), u.Alloc(), u.Alloc()
		u.Set(root, fmt.Appendf(nil, "<< /Type /StructTreeRoot /K [%s] >>", element))
		u.Set(element, fmt.Appendf(nil, "<< /Type /StructElem /S /P /P %s /Pg %s >>", root, page.Ref))
		u.Set(f.Catalog().Ref, f.Catalog().Value.With(
			pdf.Change{Key: "StructTreeRoot", Raw: []byte(root.String())},
			pdf.Change{Key: "MarkInfo", Raw: []byte("<< /Marked true >>")},
			pdf.Change{Key: "Lang", Raw: []byte("(en)")},
		))
	})
}

// manyRevisions changes the language of a file twenty times.
func manyRevisions(t testing.TB, base []byte) []byte {
	for i := range 20 {
		base = updated(t, base, func(f *pdf.File, u *pdf.Update) {
			lang := pdf.Change{Key: "Lang", Raw: fmt.Appendf(nil, "(en-%d)", i)}
			u.Set(f.Catalog().Ref, f.Catalog().Value.With(lang))
		})
	}
	return base
}
