package stamp

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A subset is the part of a font that a text needs. Its glyphs are numbered anew:
// 0 is .notdef, then one for each character in the order of first use, then the parts
// of composite glyphs.
type subset struct {
	font   *Font
	runes  []rune   // of the glyphs from 1 on
	glyphs []uint16 // number in the font, by number in the subset
	number map[rune]uint16
}

func newSubset(f *Font) *subset {
	return &subset{font: f, glyphs: []uint16{0}, number: map[rune]uint16{}}
}

// use returns the number of a character, which the font must have.
func (s *subset) use(r rune) uint16 {
	n, ok := s.number[r]
	if !ok {
		n = uint16(len(s.glyphs))
		s.number[r] = n
		s.runes = append(s.runes, r)
		s.glyphs = append(s.glyphs, s.font.runes[r])
	}
	return n
}

const (
	wordArgs     = 0x0001 // flags of a part of a composite glyph
	oneScale     = 0x0008
	moreParts    = 0x0020
	twoScales    = 0x0040
	twoByTwo     = 0x0080
	instructions = 0x0100
)

// program writes the subset as a font (ISO 32000-2, 9.9.2), without hinting.
func (s *subset) program() ([]byte, error) {
	all := slices.Clone(s.glyphs)
	parts := map[uint16]uint16{} // number in the font → in the subset
	for i, g := range all {
		if _, ok := parts[g]; !ok {
			parts[g] = uint16(i)
		}
	}
	var glyf []byte
	loca := []byte{0, 0, 0, 0}
	for i := 0; i < len(all) && i <= 0xffff; i++ { // grows while composites are met
		out, err := s.font.glyph(all[i], func(part uint16) uint16 {
			n, ok := parts[part]
			if !ok {
				n = uint16(len(all))
				parts[part] = n
				all = append(all, part)
			}
			return n
		})
		if err != nil {
			return nil, err
		}
		glyf = append(glyf, out...)
		glyf = append(glyf, make([]byte, -len(glyf)&3)...)
		loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf)))
	}
	if len(all) > 0xffff {
		return nil, fmt.Errorf("%w: too many parts of glyphs", errFont)
	}
	return s.assemble(all, glyf, loca), nil
}

// assemble writes the tables that a PDF reader needs.
func (s *subset) assemble(all []uint16, glyf, loca []byte) []byte {
	f := s.font
	var hmtx []byte
	for _, g := range all {
		hmtx = binary.BigEndian.AppendUint16(hmtx, uint16(f.advance(g)))
		hmtx = binary.BigEndian.AppendUint16(hmtx, uint16(f.bearing(g)))
	}
	head, hhea, maxp := slices.Clone(f.head[:54]), slices.Clone(f.hhea[:36]), slices.Clone(f.maxp)
	binary.BigEndian.PutUint32(head[8:], 0)
	binary.BigEndian.PutUint16(head[50:], 1) // offsets of four bytes
	binary.BigEndian.PutUint16(hhea[34:], uint16(len(all)))
	binary.BigEndian.PutUint16(maxp[4:], uint16(len(all)))
	if len(maxp) >= 28 {
		clear(maxp[26:28]) // no instructions
	}
	out := sfnt([]table{{"glyf", glyf}, {"head", head}, {"hhea", hhea}, {"hmtx", hmtx}, {"loca", loca}, {"maxp", maxp}})
	for i := range 6 { // the sum over all bytes is fixed by a number in head
		if e := out[12+16*i:]; string(e[:4]) == "head" {
			binary.BigEndian.PutUint32(out[u32(e, 8)+8:], 0xb1b0afba-checksum(out))
		}
	}
	return out
}

type table struct {
	tag  string
	data []byte
}

// sfnt joins tables, which must be sorted, to a font file.
func sfnt(ts []table) []byte {
	out := []byte{0, 1, 0, 0}
	power, log := 1, 0
	for power*2 <= len(ts) {
		power, log = power*2, log+1
	}
	for _, n := range []int{len(ts), 16 * power, log, 16 * (len(ts) - power)} {
		out = binary.BigEndian.AppendUint16(out, uint16(n))
	}
	at := len(out) + 16*len(ts)
	for _, t := range ts {
		out = append(out, t.tag...)
		out = binary.BigEndian.AppendUint32(out, checksum(t.data))
		out = binary.BigEndian.AppendUint32(out, uint32(at))
		out = binary.BigEndian.AppendUint32(out, uint32(len(t.data)))
		at += (len(t.data) + 3) &^ 3
	}
	for _, t := range ts {
		out = append(out, t.data...)
		out = append(out, make([]byte, -len(t.data)&3)...)
	}
	return out
}

func checksum(b []byte) (sum uint32) {
	for ; len(b) >= 4; b = b[4:] {
		sum += u32(b, 0)
	}
	var last [4]byte
	copy(last[:], b)
	return sum + u32(last[:], 0)
}

// bearing returns the left side bearing of a glyph.
func (f *Font) bearing(glyph uint16) int {
	at := 4*int(glyph) + 2
	if int(glyph) >= f.metrics {
		at = 4*f.metrics + 2*(int(glyph)-f.metrics)
	}
	if at+2 > len(f.hmtx) {
		return 0
	}
	return i16(f.hmtx, at)
}

// glyph copies an outline without its instructions; renumber is asked for the number of
// each part of a composite glyph.
func (f *Font) glyph(g uint16, renumber func(uint16) uint16) ([]byte, error) {
	b := f.outline(g)
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 10 {
		return nil, fmt.Errorf("%w: its glyph %d is damaged", errFont, g)
	}
	if contours := i16(b, 0); contours >= 0 {
		at := 10 + 2*contours
		if contours == 0 || at+2 > len(b) || at+2+u16(b, at) > len(b) {
			return nil, fmt.Errorf("%w: its glyph %d is damaged", errFont, g)
		}
		rest := b[at+2+u16(b, at):]
		size, ok := pointsSize(rest, u16(b, at-2)+1)
		if !ok {
			return nil, fmt.Errorf("%w: its glyph %d is cut off", errFont, g)
		}
		return slices.Concat(b[:at], []byte{0, 0}, rest[:size]), nil
	}
	out := slices.Clone(b)
	for at := 10; ; {
		if at+4 > len(out) {
			return nil, fmt.Errorf("%w: its glyph %d is damaged", errFont, g)
		}
		flags, part := u16(out, at), u16(out, at+2)
		if part >= f.glyphs {
			return nil, fmt.Errorf("%w: its glyph %d has a part that does not exist", errFont, g)
		}
		binary.BigEndian.PutUint16(out[at:], uint16(flags&^instructions))
		binary.BigEndian.PutUint16(out[at+2:], renumber(uint16(part)))
		at += 4 + argsSize(flags)
		if flags&moreParts == 0 {
			if at > len(out) {
				return nil, fmt.Errorf("%w: its glyph %d is damaged", errFont, g)
			}
			return out[:at], nil
		}
	}
}

// pointsSize returns how many bytes the flags and coordinates of n points take.
func pointsSize(b []byte, n int) (size int, ok bool) {
	const xShort, yShort, repeat, xSame, ySame = 2, 4, 8, 16, 32
	at, coordinates := 0, 0
	for n > 0 {
		if at >= len(b) {
			return 0, false
		}
		flag, times := b[at], 1
		at++
		if flag&repeat != 0 {
			if at >= len(b) {
				return 0, false
			}
			times += int(b[at])
			at++
		}
		times = min(times, n)
		n -= times
		for _, axis := range [][2]byte{{xShort, xSame}, {yShort, ySame}} {
			switch {
			case flag&axis[0] != 0:
				coordinates += times
			case flag&axis[1] == 0:
				coordinates += 2 * times
			}
		}
	}
	return at + coordinates, at+coordinates <= len(b)
}

// argsSize returns how many bytes follow the number of a part.
func argsSize(flags int) int {
	n := 2
	if flags&wordArgs != 0 {
		n = 4
	}
	switch {
	case flags&oneScale != 0:
		return n + 2
	case flags&twoScales != 0:
		return n + 4
	case flags&twoByTwo != 0:
		return n + 8
	}
	return n
}
