package stamp

import (
	"fmt"
	"unicode/utf8"
)

// maxMapped bounds the work on a table whose groups overlap.
const maxMapped = 1 << 20

// readCmap reads the best Unicode table: format 12, else format 4.
func (f *Font) readCmap(t map[string][]byte) error {
	b := t["cmap"]
	var best []byte
	for i := range u16(b, 2) {
		e := 4 + 8*i
		if e+8 > len(b) {
			break
		}
		platform, encoding, at := u16(b, e), u16(b, e+2), uint64(u32(b, e+4))
		if platform != 0 && (platform != 3 || encoding != 1 && encoding != 10) || at+8 > uint64(len(b)) {
			continue
		}
		if sub := b[at:]; u16(sub, 0) == 12 || u16(sub, 0) == 4 && best == nil {
			best = sub
		}
	}
	f.runes = map[rune]uint16{}
	switch {
	case best == nil:
		return fmt.Errorf("%w: it has no table for Unicode", errFont)
	case u16(best, 0) == 12:
		f.readFormat12(best)
	default:
		f.readFormat4(best)
	}
	if len(f.runes) == 0 {
		return fmt.Errorf("%w: its table for Unicode is empty", errFont)
	}
	return nil
}

func (f *Font) mapRune(r rune, glyph int) {
	if glyph > 0 && glyph < f.glyphs && utf8.ValidRune(r) {
		f.runes[r] = uint16(glyph)
	}
}

// readFormat12 reads groups of characters; a group beyond Unicode or the glyphs ends there.
func (f *Font) readFormat12(b []byte) {
	if len(b) < 16 {
		return
	}
	budget := maxMapped
	for i := range u32(b, 12) {
		at := 16 + 12*uint64(i)
		if at+12 > uint64(len(b)) {
			return
		}
		first, last, glyph := u32(b, int(at)), u32(b, int(at)+4), u32(b, int(at)+8)
		for c := first; c <= last && c <= utf8.MaxRune && uint64(glyph)+uint64(c-first) < uint64(f.glyphs); c++ {
			if budget--; budget < 0 {
				return
			}
			f.mapRune(rune(c), int(glyph+(c-first)))
		}
	}
}

// readFormat4 reads segments of characters of the first plane.
func (f *Font) readFormat4(b []byte) {
	if len(b) < 16 {
		return
	}
	n := u16(b, 6) / 2
	if 16+8*n > len(b) {
		return
	}
	budget := maxMapped
	ends, starts, deltas, offsets := 14, 16+2*n, 16+4*n, 16+6*n
	for i := range n {
		first, last := u16(b, starts+2*i), u16(b, ends+2*i)
		delta, offset := u16(b, deltas+2*i), u16(b, offsets+2*i)
		for c := first; c <= last && c < 0xffff; c++ {
			if budget--; budget < 0 {
				return
			}
			glyph := c
			if offset != 0 {
				at := offsets + 2*i + offset + 2*(c-first)
				if at+2 > len(b) {
					break
				}
				if glyph = u16(b, at); glyph == 0 {
					continue
				}
			}
			f.mapRune(rune(c), (glyph+delta)&0xffff)
		}
	}
}
