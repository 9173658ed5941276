package stamp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/image/font/gofont/goregular"
)

// A Font is a TrueType font with glyf outlines (ISO/IEC 14496-22), checked so far that
// every glyph of it can be copied. It is safe for concurrent use.
type Font struct {
	name      string // PostScript name
	unitsPer  int    // units per em
	box       [4]int16
	ascent    int
	descent   int // below the base line: negative
	capHeight int
	head      []byte
	hhea      []byte
	maxp      []byte
	hmtx      []byte
	metrics   int // entries with a width in hmtx
	glyphs    int
	loca      []uint32
	glyf      []byte
	runes     map[rune]uint16
}

// maxFont bounds a font that is parsed; the largest ones for Chinese have 50 MB.
const maxFont = 64 << 20

// errFont is wrapped by every error about the bytes of a font.
var errFont = errors.New("the font cannot be used")

var regular = sync.OnceValues(func() (*Font, error) { return ParseFont(goregular.TTF) })

// ParseFont reads a TrueType font, or the first of a collection. Fonts with CFF outlines
// and fonts that forbid to be embedded are refused.
func ParseFont(b []byte) (*Font, error) {
	if len(b) > maxFont {
		return nil, fmt.Errorf("%w: it has more than %d MB", errFont, maxFont>>20)
	}
	t, err := tables(b)
	if err != nil {
		return nil, err
	}
	f := &Font{head: t["head"], hhea: t["hhea"], maxp: t["maxp"], hmtx: t["hmtx"], glyf: t["glyf"]}
	for _, step := range []func(map[string][]byte) error{f.readMetrics, f.readLoca, f.readPermission, f.readCmap} {
		if err := step(t); err != nil {
			return nil, err
		}
	}
	f.name = postScriptName(t["name"])
	return f, nil
}

func u16(b []byte, at int) int    { return int(binary.BigEndian.Uint16(b[at:])) }
func i16(b []byte, at int) int    { return int(int16(binary.BigEndian.Uint16(b[at:]))) }
func u32(b []byte, at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }

// tables cuts a font into its tables.
func tables(b []byte) (map[string][]byte, error) {
	at := uint32(0)
	if len(b) >= 16 && string(b[:4]) == "ttcf" {
		at = u32(b, 12)
	}
	if uint64(at)+12 > uint64(len(b)) {
		return nil, fmt.Errorf("%w: it is no TrueType font", errFont)
	}
	switch string(b[at : at+4]) {
	case "\x00\x01\x00\x00", "true":
	case "OTTO":
		return nil, fmt.Errorf("%w: it has CFF outlines; give a TrueType font (.ttf)", errFont)
	default:
		return nil, fmt.Errorf("%w: it is no TrueType font", errFont)
	}
	n := u16(b, int(at)+4)
	if uint64(at)+12+16*uint64(n) > uint64(len(b)) {
		return nil, fmt.Errorf("%w: its list of tables is cut off", errFont)
	}
	t := map[string][]byte{}
	for i := range n {
		e := b[int(at)+12+16*i:]
		off, size := uint64(u32(e, 8)), uint64(u32(e, 12))
		if off+size > uint64(len(b)) {
			return nil, fmt.Errorf("%w: its table %q is cut off", errFont, e[:4])
		}
		t[string(e[:4])] = b[off : off+size]
	}
	for name, size := range map[string]int{"head": 54, "hhea": 36, "maxp": 6, "hmtx": 4, "loca": 4, "glyf": 0, "cmap": 4} {
		if t[name] == nil || len(t[name]) < size {
			return nil, fmt.Errorf("%w: it has no usable table %q", errFont, name)
		}
	}
	return t, nil
}

func (f *Font) readMetrics(t map[string][]byte) error {
	f.unitsPer, f.glyphs, f.metrics = u16(f.head, 18), u16(f.maxp, 4), u16(f.hhea, 34)
	if f.unitsPer < 16 || f.unitsPer > 16384 || f.metrics < 1 || f.metrics > f.glyphs || len(f.hmtx) < 4*f.metrics {
		return fmt.Errorf("%w: its metrics are damaged", errFont)
	}
	for i := range f.box {
		f.box[i] = int16(i16(f.head, 36+2*i))
	}
	f.ascent, f.descent = i16(f.hhea, 4), i16(f.hhea, 6)
	f.capHeight = f.ascent
	if os2 := t["OS/2"]; len(os2) >= 90 && u16(os2, 0) >= 2 {
		f.capHeight = i16(os2, 88)
	}
	if f.ascent <= 0 || f.descent > 0 {
		return fmt.Errorf("%w: its ascent is %d, its descent %d", errFont, f.ascent, f.descent)
	}
	return nil
}

// readLoca reads where each glyph starts; there is one entry more than glyphs.
func (f *Font) readLoca(t map[string][]byte) error {
	raw, long := t["loca"], i16(f.head, 50) != 0
	width := 2
	if long {
		width = 4
	}
	if len(raw) < width*(f.glyphs+1) {
		return fmt.Errorf("%w: its table \"loca\" is cut off", errFont)
	}
	f.loca = make([]uint32, f.glyphs+1)
	for i := range f.loca {
		if long {
			f.loca[i] = u32(raw, 4*i)
		} else {
			f.loca[i] = 2 * uint32(u16(raw, 2*i))
		}
		if f.loca[i] > uint32(len(f.glyf)) || i > 0 && f.loca[i] < f.loca[i-1] {
			return fmt.Errorf("%w: its glyph %d lies outside of the font", errFont, i)
		}
	}
	return nil
}

// readPermission refuses fonts whose maker forbids embedding or taking a subset
// (fsType of OS/2: restricted, no subsetting, bitmaps only).
func (f *Font) readPermission(t map[string][]byte) error {
	os2 := t["OS/2"]
	if len(os2) < 10 {
		return nil
	}
	const restricted, usage, noSubset, bitmap = 2, 0xf, 0x100, 0x200
	if kind := u16(os2, 8); kind&usage == restricted || kind&(noSubset|bitmap) != 0 {
		return fmt.Errorf("%w: its maker forbids to embed a part of it; give another font", errFont)
	}
	return nil
}

// postScriptName returns name 6, or a stand-in.
func postScriptName(b []byte) string {
	const fallback = "Stamp"
	if len(b) < 6 {
		return fallback
	}
	for i := range u16(b, 2) {
		e := 6 + 12*i
		if e+12 > len(b) {
			break
		}
		start, size := u16(b, 4)+u16(b, e+10), u16(b, e+8)
		if u16(b, e+6) != 6 || start+size > len(b) {
			continue
		}
		var out []byte
		for _, c := range b[start : start+size] { // UTF-16 of ASCII, or ASCII
			letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
			if letter && len(out) < 60 {
				out = append(out, c)
			}
		}
		if len(out) > 0 {
			return string(out)
		}
	}
	return fallback
}

// advance returns the width of a glyph in font units.
func (f *Font) advance(glyph uint16) int {
	return u16(f.hmtx, 4*min(int(glyph), f.metrics-1))
}

// outline returns the bytes of a glyph; none for a space.
func (f *Font) outline(glyph uint16) []byte {
	return f.glyf[f.loca[glyph]:f.loca[int(glyph)+1]]
}

// perMille turns font units into thousandths of an em.
func (f *Font) perMille(units int) int {
	n := units * 2000 / f.unitsPer
	if n < 0 {
		return (n - 1) / 2
	}
	return (n + 1) / 2
}
