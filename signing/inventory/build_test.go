package inventory

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"maps"
	"slices"
	"testing"

	"countersign/signing/pdf"
)

// A paper is a test document: objects by number. Object 1 is the catalog, 2 the page
// tree, 3 its one page, 4 what it shows, 5 its font; more holds the rest.
type paper struct {
	catalog, page string         // further entries
	more          map[int]string // from 10 on
}

// bytes writes the document with a classic table.
func (p paper) bytes() []byte {
	objects := map[int]string{
		1: "<< /Type /Catalog /Pages 2 0 R " + p.catalog + " >>",
		2: "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> " + p.page + " >>",
		4: stream("", "BT /F1 12 Tf 20 300 Td (Hello) Tj ET"),
		5: "<< /Type /Font /Subtype /TrueType /BaseFont /ABCDEF+Good /FontDescriptor 6 0 R >>",
		6: "<< /Type /FontDescriptor /FontName /ABCDEF+Good /Flags 4 /FontFile2 7 0 R >>",
		7: stream("", "not really a font"),
	}
	maps.Copy(objects, p.more)
	return assemble(objects)
}

func assemble(objects map[int]string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	numbers := slices.Sorted(maps.Keys(objects))
	size := numbers[len(numbers)-1] + 1
	at := make([]int, size)
	for _, n := range numbers {
		at[n] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", n, objects[n])
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", size)
	for _, off := range at[1:] {
		if off == 0 {
			b.WriteString("0000000000 65535 f \n")
		} else {
			fmt.Fprintf(&b, "%010d 00000 n \n", off)
		}
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", size, start)
	return b.Bytes()
}

func stream(dict, data string) string {
	return fmt.Sprintf("<< %s /Length %d >>\nstream\n%s\nendstream", dict, len(data), data)
}

func flate(dict string, data []byte) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	z.Write(data)
	z.Close()
	return stream(dict+" /Filter /FlateDecode", b.String())
}

func take(t testing.TB, b []byte) Report {
	t.Helper()
	f, err := pdf.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	r, err := Take(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
