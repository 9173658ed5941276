package pdf

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
)

// Sample returns a small PDF for demonstrations: one A4 page in Helvetica with a
// title and lines of text, which are set closer the more there are. The same
// input gives the same bytes. Characters outside of Windows-1252 become "?".
func Sample(title string, lines []string) []byte {
	leading := 18.0
	if room := 680.0; float64(len(lines))*leading > room {
		leading = room / float64(len(lines))
	}
	var page bytes.Buffer
	fmt.Fprintf(&page, "BT /F2 20 Tf 64 770 Td %s Tj ET\n", winAnsi(title))
	fmt.Fprintf(&page, "BT /F1 %.1f Tf %.1f TL 64 730 Td\n", min(11, leading*0.8), leading)
	for _, l := range lines {
		fmt.Fprintf(&page, "%s Tj T*\n", winAnsi(l))
	}
	page.WriteString("ET\n")
	const font = "<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>"
	return assemble([]string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R " +
			"/Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", page.Len(), page.Bytes()),
		fmt.Sprintf(font, "Helvetica"),
		fmt.Sprintf(font, "Helvetica-Bold"),
		fmt.Sprintf("<< /Title %s >>", TextString(title)),
	})
}

// assemble writes objects 1, 2, 3 … with a cross-reference table. The first is the
// catalog, the last the document information.
func assemble(objects []string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	at := make([]int, len(objects))
	for i, o := range objects {
		at[i] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	id := sha256.Sum256(b.Bytes())
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, off := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", off)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R /ID [<%X> <%X>] >>\nstartxref\n%d\n%%%%EOF\n",
		len(objects)+1, len(objects), id[:16], id[:16], start)
	return b.Bytes()
}

// windows1252 holds the characters at 0x80 to 0x9F; a space where there is none.
const windows1252 = "€ ‚ƒ„…†‡ˆ‰Š‹Œ Ž  ‘’“”•–—˜™š›œ žŸ"

// winAnsi writes s as a literal string in WinAnsiEncoding (Annex D.2).
func winAnsi(s string) []byte {
	out := []byte{'('}
	high := []rune(windows1252)
	for _, r := range s {
		c := byte('?')
		switch {
		case r >= 0x20 && r <= 0x7e, r >= 0xa0 && r <= 0xff:
			c = byte(r)
		case r > 0xff && strings.ContainsRune(windows1252, r):
			for i, h := range high {
				if h == r {
					c = byte(0x80 + i)
				}
			}
		}
		if c == '(' || c == ')' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return append(out, ')')
}
