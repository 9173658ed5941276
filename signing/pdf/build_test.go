package pdf

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"strings"
	"testing"
)

// build writes test files object by object, in any of the forms a PDF can have.
type build struct {
	bytes.Buffer
	at map[int]int
}

func newBuild() *build {
	b := &build{at: map[int]int{}}
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	return b
}

func (b *build) obj(num int, body string) {
	b.at[num] = b.Len()
	fmt.Fprintf(b, "%d 0 obj\n%s\nendobj\n", num, body)
}

func (b *build) stream(num int, dict string, data []byte) {
	b.obj(num, fmt.Sprintf("<< %s /Length %d >>\nstream\n%s\nendstream", dict, len(data), data))
}

// table ends the file with a classic table of the objects 0 to n.
func (b *build) table(n int, trailer, eol string) []byte {
	start := b.Len()
	fmt.Fprintf(b, "xref\n0 %d\n0000000000 65535 f%s", n+1, eol)
	for i := 1; i <= n; i++ {
		if off, ok := b.at[i]; ok {
			fmt.Fprintf(b, "%010d 00000 n%s", off, eol)
		} else {
			fmt.Fprintf(b, "0000000000 65535 f%s", eol)
		}
	}
	return b.end(start, fmt.Sprintf("trailer\n<< /Size %d /Root 1 0 R %s >>\n", n+1, trailer))
}

func (b *build) end(start int, trailer string) []byte {
	fmt.Fprintf(b, "%sstartxref\n%d\n%%%%EOF\n", trailer, start)
	return b.Bytes()
}

// packed puts the objects into object stream num and returns the rows for them.
func (b *build) packed(num int, nums []int, bodies []string) map[int][3]int {
	var index, data bytes.Buffer
	rows := map[int][3]int{}
	for i, n := range nums {
		fmt.Fprintf(&index, "%d %d ", n, data.Len())
		fmt.Fprintf(&data, "%s ", bodies[i])
		rows[n] = [3]int{2, num, i}
	}
	all := append(index.Bytes(), data.Bytes()...)
	b.stream(num, fmt.Sprintf("/Type /ObjStm /N %d /First %d /Filter /FlateDecode", len(nums), index.Len()), deflate(all))
	return rows
}

// xrefStream ends the file with a cross-reference stream with PNG "up" rows.
func (b *build) xrefStream(num int, rows map[int][3]int, trailer string) []byte {
	start := b.writeXRefStream(num, rows, trailer)
	return b.end(start, "")
}

func (b *build) writeXRefStream(num int, rows map[int][3]int, trailer string) int {
	start := b.Len()
	prev := make([]byte, 7)
	var data []byte
	for i := 0; i <= num; i++ {
		r, ok := rows[i]
		if off, in := b.at[i]; !ok && in {
			r = [3]int{1, off, 0}
		}
		if i == num {
			r = [3]int{1, start, 0}
		}
		row := []byte{byte(r[0]), byte(r[1] >> 24), byte(r[1] >> 16), byte(r[1] >> 8), byte(r[1]), byte(r[2] >> 8), byte(r[2])}
		data = append(data, 2)
		for j := range row {
			data = append(data, row[j]-prev[j])
		}
		prev = row
	}
	b.stream(num, fmt.Sprintf("/Type /XRef /W [1 4 2] /Size %d /Root 1 0 R /Filter /FlateDecode"+
		" /DecodeParms << /Predictor 12 /Columns 7 >> %s", num+1, trailer), deflate(data))
	return start
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

// The objects of a plain document with n pages; extra goes into the catalog.
func plain(b *build, pages int, extra, pageExtra string) int {
	b.obj(1, "<< /Type /Catalog /Pages 2 0 R "+extra+" >>")
	var kids strings.Builder
	for i := range pages {
		fmt.Fprintf(&kids, "%d 0 R ", 3+i)
		b.obj(3+i, "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Resources << >> "+pageExtra+" >>")
	}
	b.obj(2, fmt.Sprintf("<< /Type /Pages /Count %d /Kids [%s] >>", pages, kids.String()))
	return 2 + pages
}

func open(t testing.TB, b []byte) (*File, error) {
	t.Helper()
	return Open(bytes.NewReader(b), int64(len(b)))
}

func mustOpen(t testing.TB, b []byte) *File {
	t.Helper()
	f, err := open(t, b)
	if err != nil {
		t.Fatalf("%v\n%s", err, clipEnd(b))
	}
	return f
}

func clipEnd(b []byte) []byte { return b[max(0, len(b)-2000):] }

// shapes returns one good file of each form, by name.
func shapes() map[string][]byte {
	out := map[string][]byte{"sample": Sample("A (title)", []string{"one", "two – €"})}
	b := newBuild()
	out["table"] = b.table(plain(b, 3, "", "/Rotate 90"), "", " \n")
	b = newBuild()
	out["crlf"] = b.table(plain(b, 1, "", ""), "", "\r\n")
	b = newBuild()
	out["19 bytes"] = b.table(plain(b, 1, "", ""), "", "\n")
	b = newBuild()
	out["xref stream"] = b.xrefStream(plain(b, 2, "", "")+1, nil, "")
	out["object stream"] = objectStreamFile("")
	out["hybrid"] = hybridFile()
	b = newBuild()
	n := plain(b, 1, "/AcroForm 10 0 R", "/Annots 12 0 R")
	b.obj(10, "<< /Fields 11 0 R /DA (/Helv 0 Tf) /SigFlags 1 >>")
	b.obj(11, "[13 0 R]")
	b.obj(12, "[13 0 R]")
	b.obj(13, "<< /Type /Annot /Subtype /Widget /FT /Tx /T (Seal) /Rect [0 0 9 9] /P 3 0 R >>")
	out["form"] = b.table(n+10, "", " \n")
	b = newBuild()
	out["prev 0"] = b.table(plain(b, 1, "", ""), "/Prev 0", " \n")
	for name, tail := range map[string]string{
		"second end mark": "%%EOF\r\n", "comment": "% made by x\n%", "ctrl-z": "\x1a", "zeros": strings.Repeat("\x00", 500),
	} {
		out[name] = append(bytes.Clone(out["table"]), tail...)
	}
	out["unlisted xref stream"] = unlistedFile()
	return out
}

// objectStreamFile keeps catalog, page tree and page in an object stream.
func objectStreamFile(catalogExtra string) []byte {
	b := newBuild()
	rows := b.packed(5, []int{1, 2, 3}, []string{
		"<< /Type /Catalog /Pages 2 0 R " + catalogExtra + " >>",
		"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Resources << >> >>",
	})
	return b.xrefStream(6, rows, "")
}

// hybridFile is built as Microsoft Word does it: a table, then an empty table
// whose trailer names a cross-reference stream for the objects in streams.
func hybridFile() []byte {
	b := newBuild()
	b.obj(1, "<< /Type /Catalog /Pages 2 0 R /Hidden 7 0 R >>")
	b.obj(2, "<< /Type /Pages /Count 1 /Kids [3 0 R] >>")
	b.obj(3, "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Resources << >> >>")
	rows := b.packed(5, []int{7}, []string{"<< /Found true >>"})
	stm := b.writeXRefStream(8, rows, "")
	first := b.Len()
	b.table(8, "", " \n")
	start := b.Len()
	return b.end(start, fmt.Sprintf("xref\n0 0\ntrailer\n<< /Size 9 /Root 1 0 R /Prev %d /XRefStm %d >>\n", first, stm))
}

// unlistedFile has a cross-reference stream, object 4, that neither lists itself nor
// counts itself in /Size.
func unlistedFile() []byte {
	b := newBuild()
	n := plain(b, 1, "", "")
	start := b.Len()
	rows := make([]byte, 5, 5*(n+1))
	for i := 1; i <= n; i++ {
		rows = append(rows, 1, byte(b.at[i]>>16), byte(b.at[i]>>8), byte(b.at[i]), 0)
	}
	b.stream(n+1, fmt.Sprintf("/Type /XRef /W [1 3 1] /Size %d /Root 1 0 R", n+1), rows)
	return b.end(start, "")
}
