package stamp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"countersign/signing/pdf"
)

// A Text shows lines of text, set as large as its box allows and broken where they are
// too long.
type Text struct {
	Title string // set larger than the rest; left out if empty
	Lines []string
	Font  *Font // nil: Go Regular
}

// ErrSmall: the text does not fit into its box at a size that can be read.
var ErrSmall = errors.New("the rectangle is too small for what the stamp must show; make it larger")

// A CharacterError says which characters a stamp cannot show.
type CharacterError struct {
	Font    string
	Missing []rune // the font has no glyph for them
	Complex []rune // they belong to a script that needs shaping or runs from right to left
}

// Error returns one sentence for the person who asked for the stamp.
func (e *CharacterError) Error() string {
	var why []string
	if len(e.Missing) > 0 {
		why = append(why, fmt.Sprintf("the font %s does not have %s", e.Font, list(e.Missing)))
	}
	if len(e.Complex) > 0 {
		why = append(why, list(e.Complex)+" belong to a script that cannot be set yet")
	}
	return fmt.Sprintf("the stamp cannot be drawn: %s; use a font that has the characters, or other text", strings.Join(why, ", and "))
}

func list(runes []rune) string {
	var out []string
	for _, r := range runes {
		out = append(out, fmt.Sprintf("%q (%U)", r, r))
	}
	return strings.Join(out, ", ")
}

const (
	maxSize   = 12.0 // points
	minSize   = 4.0
	sizeStep  = 0.5
	leading   = 1.2  // from base line to base line, in sizes
	titleSize = 1.25 // in sizes of the other lines
	maxText   = 2000 // characters
)

// A paragraph is one line as it was given, cleaned.
type paragraph struct {
	text  []rune
	scale float64
}

// paragraphs cleans the text and checks that the font can set it.
func (t Text) paragraphs(f *Font) ([]paragraph, error) {
	var out []paragraph
	bad := &CharacterError{Font: f.name}
	total := 0
	for i, s := range append([]string{t.Title}, t.Lines...) {
		p := paragraph{text: clean(s), scale: 1}
		if i == 0 {
			p.scale = titleSize
		}
		if total += len(p.text); total > maxText {
			return nil, fmt.Errorf("a stamp of more than %d characters: %w", maxText, ErrSmall)
		}
		for _, r := range p.text {
			if complexScript(r) {
				bad.Complex = note(bad.Complex, r)
			} else if _, ok := f.runes[r]; !ok {
				bad.Missing = note(bad.Missing, r)
			}
		}
		if len(p.text) > 0 {
			out = append(out, p)
		}
	}
	if len(bad.Missing)+len(bad.Complex) > 0 {
		return nil, bad
	}
	if len(out) == 0 {
		return nil, errors.New("a stamp without any text")
	}
	return out, nil
}

// note keeps the first few characters that make trouble, each once.
func note(runes []rune, r rune) []rune {
	if len(runes) >= 10 || slices.Contains(runes, r) {
		return runes
	}
	return append(runes, r)
}

// clean composes characters, turns white space and control characters into single
// spaces, and drops what is never seen (bidirectional controls, joiners).
func clean(s string) []rune {
	var out []rune
	for _, r := range norm.NFC.String(s) {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			if len(out) > 0 && out[len(out)-1] != ' ' {
				out = append(out, ' ')
			}
		case !unicode.Is(unicode.Cf, r):
			out = append(out, r)
		}
	}
	if n := len(out); n > 0 && out[n-1] == ' ' {
		out = out[:n-1]
	}
	return out
}

// shaped are scripts in which a glyph depends on its neighbours or on the direction.
var shaped = []*unicode.RangeTable{
	unicode.Arabic, unicode.Hebrew, unicode.Syriac, unicode.Thaana, unicode.Nko, unicode.Mongolian, unicode.Adlam,
	unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya, unicode.Tamil, unicode.Telugu,
	unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Thai, unicode.Lao, unicode.Tibetan, unicode.Myanmar,
	unicode.Khmer, unicode.Javanese, unicode.Balinese,
	unicode.M, // marks that did not compose
}

func complexScript(r rune) bool { return r > 0x2ff && unicode.In(r, shaped...) }

// A row is what stands on one base line.
type row struct {
	text []rune
	size float64
}

// layout breaks the paragraphs into rows of at most w points that are at most h points
// high together, at the largest size at which they are. Words are cut only where
// no size helps.
func layout(f *Font, ps []paragraph, w, h float64) ([]row, error) {
	for _, cut := range []bool{false, true} {
		for size := maxSize; size >= minSize; size -= sizeStep {
			if rows, ok := layoutAt(f, ps, size, w, cut); ok && height(rows) <= h {
				return rows, nil
			}
		}
	}
	return nil, ErrSmall
}

func height(rows []row) float64 {
	sum := 0.0
	for _, r := range rows {
		sum += r.size * leading
	}
	return sum
}

func layoutAt(f *Font, ps []paragraph, size, w float64, cut bool) ([]row, bool) {
	var rows []row
	for _, p := range ps {
		s := size * p.scale
		lines, ok := f.breakLines(p.text, w/s*float64(f.unitsPer), cut)
		if !ok {
			return nil, false
		}
		for _, l := range lines {
			rows = append(rows, row{l, s})
		}
	}
	return rows, true
}

// breakLines breaks text at spaces, and between ideographs, into lines of at most limit
// units; with cut also elsewhere. It reports whether that was possible.
func (f *Font) breakLines(text []rune, limit float64, cut bool) ([][]rune, bool) {
	var lines [][]rune
	for len(text) > 0 {
		n := f.fits(text, limit)
		if n == len(text) {
			return append(lines, text), true
		}
		at := n
		for at > 0 && !breakable(text, at) {
			at--
		}
		if at == 0 {
			if at = n; !cut || n == 0 {
				return nil, false
			}
		}
		line := text[:at]
		if line[len(line)-1] == ' ' {
			line = line[:len(line)-1]
		}
		lines = append(lines, line)
		if text = text[at:]; text[0] == ' ' {
			text = text[1:]
		}
	}
	return lines, true
}

// fits returns how many characters go into limit units.
func (f *Font) fits(text []rune, limit float64) int {
	sum := 0
	for i, r := range text {
		if sum += f.advance(f.runes[r]); float64(sum) > limit {
			return i
		}
	}
	return len(text)
}

// breakable reports whether a line may end before text[at].
func breakable(text []rune, at int) bool {
	wide := func(r rune) bool {
		return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
	}
	return text[at] == ' ' || text[at-1] == ' ' || wide(text[at-1]) && wide(text[at])
}

// Draw adds the stamp to an update, as a form XObject with a thin frame. It fails
// with a [CharacterError] or [ErrSmall] if the text cannot be set.
func (t Text) Draw(u *pdf.Update, frame pdf.Frame) (pdf.Ref, error) {
	f := t.Font
	if f == nil {
		var err error
		if f, err = regular(); err != nil {
			return pdf.Ref{}, err
		}
	}
	ps, err := t.paragraphs(f)
	if err != nil {
		return pdf.Ref{}, err
	}
	pad := min(4, 0.08*min(frame.W, frame.H))
	rows, err := layout(f, ps, frame.W-2*pad, frame.H-2*pad)
	if err != nil {
		return pdf.Ref{}, err
	}
	s := newSubset(f)
	content := s.content(rows, frame, pad)
	font, err := s.embed(u)
	if err != nil {
		return pdf.Ref{}, err
	}
	form := u.Alloc()
	entries := fmt.Appendf(nil, "/Type /XObject /Subtype /Form %s /Resources << /Font << /F1 %s >> >>", frame.Entries(), font)
	u.SetStream(form, entries, content)
	return form, nil
}

// content writes the operators that draw frame and rows, which stand in the middle of
// the height and at the left.
func (s *subset) content(rows []row, frame pdf.Frame, pad float64) []byte {
	n := pdf.Number
	b := fmt.Appendf(nil, "q\n%sq 0.5 w 0.6 G 0.25 0.25 %s %s re S Q\nBT\n", frame.Prolog(), n(frame.W-0.5), n(frame.H-0.5))
	f := s.font
	y := (frame.H + height(rows)) / 2
	for _, r := range rows {
		em := float64(f.ascent - f.descent) // line up the middle of letters and line
		base := y - r.size*(leading/2+float64(f.ascent)/em-0.5)
		b = fmt.Appendf(b, "/F1 %s Tf 1 0 0 1 %s %s Tm <", n(r.size), n(pad), n(base))
		for _, c := range r.text {
			b = fmt.Appendf(b, "%04X", s.use(c))
		}
		b = append(b, "> Tj\n"...)
		y -= r.size * leading
	}
	return append(b, "ET\nQ"...)
}
