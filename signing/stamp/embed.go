package stamp

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"fmt"
	"unicode/utf16"

	"countersign/signing/pdf"
)

// embed adds the subset to an update as a composite font (9.7): Type 0 with a
// CIDFontType2, Identity-H, widths, and a map back to Unicode so that the text
// can be copied and searched.
func (s *subset) embed(u *pdf.Update) (pdf.Ref, error) {
	program, err := s.program()
	if err != nil {
		return pdf.Ref{}, err
	}
	count := u16(program[tableAt(program, "maxp"):], 4)
	file, set, unicode := u.Alloc(), u.Alloc(), u.Alloc()
	if err := flate(u, file, program, fmt.Sprintf(" /Length1 %d", len(program))); err != nil {
		return pdf.Ref{}, err
	}
	if err := flate(u, set, cidSet(count), ""); err != nil {
		return pdf.Ref{}, err
	}
	if err := flate(u, unicode, s.toUnicode(), ""); err != nil {
		return pdf.Ref{}, err
	}
	name := tag(program) + "+" + s.font.name
	descriptor, cid, font := u.Alloc(), u.Alloc(), u.Alloc()
	u.Set(descriptor, s.descriptor(name, file, set))
	u.Set(cid, fmt.Appendf(nil, "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /%s "+
		"/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> "+
		"/FontDescriptor %s /CIDToGIDMap /Identity /W [0 [%s]] >>", name, descriptor, s.widths()))
	u.Set(font, fmt.Appendf(nil, "<< /Type /Font /Subtype /Type0 /BaseFont /%s /Encoding /Identity-H "+
		"/DescendantFonts [%s] /ToUnicode %s >>", name, cid, unicode))
	return font, nil
}

// tableAt returns the offset of a table of a font that sfnt made.
func tableAt(program []byte, tag string) uint32 {
	for i := range u16(program, 4) {
		if e := program[12+16*i:]; string(e[:4]) == tag {
			return u32(e, 8)
		}
	}
	return 0
}

func flate(u *pdf.Update, ref pdf.Ref, data []byte, entries string) error {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	u.SetStream(ref, []byte("/Filter /FlateDecode"+entries), b.Bytes())
	return nil
}

// tag returns the six letters that mark a subset (9.9.2).
func tag(program []byte) string {
	sum := sha256.Sum256(program)
	out := sum[:6]
	for i := range out {
		out[i] = 'A' + out[i]%26
	}
	return string(out)
}

// cidSet says which glyphs the subset has: all (Table 122; PDF/A-1 demands it).
func cidSet(count int) []byte {
	out := make([]byte, (count+7)/8)
	for i := range count {
		out[i/8] |= 0x80 >> (i % 8)
	}
	return out
}

// descriptor writes the font descriptor (9.8).
func (s *subset) descriptor(name string, file, set pdf.Ref) []byte {
	f := s.font
	m := func(units int) int { return f.perMille(units) }
	return fmt.Appendf(nil, "<< /Type /FontDescriptor /FontName /%s /Flags 4 /FontBBox [%d %d %d %d] /ItalicAngle 0 "+
		"/Ascent %d /Descent %d /CapHeight %d /StemV 80 /FontFile2 %s /CIDSet %s >>",
		name, m(int(f.box[0])), m(int(f.box[1])), m(int(f.box[2])), m(int(f.box[3])),
		m(f.ascent), m(f.descent), m(f.capHeight), file, set)
}

func (s *subset) widths() []byte {
	var out []byte
	for i, g := range s.glyphs {
		if i > 0 {
			out = append(out, ' ')
		}
		out = fmt.Append(out, s.font.perMille(s.font.advance(g)))
	}
	return out
}

// toUnicode writes the CMap from glyph numbers to text (9.10.3).
func (s *subset) toUnicode() []byte {
	b := []byte("/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n" +
		"/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n" +
		"/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n" +
		"1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n")
	const most = 100 // lines in one block
	for from := 0; from < len(s.runes); from += most {
		block := s.runes[from:min(from+most, len(s.runes))]
		b = fmt.Appendf(b, "%d beginbfchar\n", len(block))
		for i, r := range block {
			b = fmt.Appendf(b, "<%04X> <", from+i+1)
			for _, c := range utf16.Encode([]rune{r}) {
				b = fmt.Appendf(b, "%04X", c)
			}
			b = append(b, ">\n"...)
		}
		b = append(b, "endbfchar\n"...)
	}
	return append(b, "endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"...)
}
