package letter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// marks are stand-ins for secrets while a letter is composed. A mark begins with 32
// hex digits that nobody knows before the letter exists, so that no value from
// outside can hold one; it is plain letters and digits, so that neither HTML nor a
// URL changes it. After rendering, [marks.cut] puts zeros of the secret's width in
// the place of each mark and notes where.
type marks struct{ prefix string }

func newMarks(boundary string) marks {
	sum := sha256.Sum256([]byte("countersign marks " + boundary))
	return marks{hex.EncodeToString(sum[:16])}
}

// mark stands for characters from to from+n of a secret.
func (m marks) mark(k HoleKind, from, n int) string {
	return fmt.Sprintf("%s%c%02d%02d", m.prefix, k[0], from, n)
}

// code stands for a code of so many digits in two groups: "1234 5678".
func (m marks) grouped(digits int) string {
	half := digits / 2
	return m.mark(HoleCode, 0, half) + " " + m.mark(HoleCode, half, digits-half)
}

// cut replaces all marks.
func (m marks) cut(text string) (string, []Hole) {
	var b strings.Builder
	var holes []Hole
	for {
		before, rest, found := strings.Cut(text, m.prefix)
		b.WriteString(before)
		if !found {
			return b.String(), holes
		}
		kind := HoleToken
		if rest[0] == HoleCode[0] {
			kind = HoleCode
		}
		from, _ := strconv.Atoi(rest[1:3])
		n, _ := strconv.Atoi(rest[3:5])
		holes = append(holes, Hole{Offset: b.Len(), Kind: kind, From: from, Len: n})
		b.WriteString(strings.Repeat("0", n))
		text = rest[5:]
	}
}

// quotedPrintable encodes text with "\n" line ends (RFC 2045, 6.7), in lines of at
// most 76 characters ended by CRLF, and moves the holes along: one that a soft line
// break divides becomes two. offset is where the output begins in its piece.
func quotedPrintable(text string, holes []Hole, offset int) ([]byte, []Hole) {
	e := qpEncoder{offset: offset}
	for i := range len(text) {
		if len(holes) > 0 && i >= holes[0].Offset {
			e.inHole(text[i], holes[0], i-holes[0].Offset)
			if i == holes[0].Offset+holes[0].Len-1 {
				holes = holes[1:]
			}
			continue
		}
		c := text[i]
		lineEnd := i+1 == len(text) || text[i+1] == '\n'
		switch {
		case c == '\n':
			e.out = append(e.out, "\r\n"...)
			e.col = 0
		case (c == ' ' || c == '\t') && !lineEnd:
			e.put(string(c))
		case c > ' ' && c < 0x7f && c != '=' && (e.col != 0 || c != 'F' && c != '.'):
			// F and a dot at the beginning of a line are encoded, as some mail
			// systems change "From " and lone dots there.
			e.put(string(c))
		default:
			e.put(fmt.Sprintf("=%02X", c))
		}
	}
	return e.out, e.holes
}

type qpEncoder struct {
	out    []byte
	holes  []Hole
	offset int
	col    int
}

func (e *qpEncoder) put(s string) {
	if e.col+len(s) > 75 {
		e.out = append(e.out, "=\r\n"...)
		e.col = 0
		// What was harmless in the middle of a line may not be at its beginning.
		if s == "F" || s == "." {
			s = fmt.Sprintf("=%02X", s[0])
		}
	}
	e.out = append(e.out, s...)
	e.col += len(s)
}

// inHole writes the stand-in c for the k-th character of hole h.
func (e *qpEncoder) inHole(c byte, h Hole, k int) {
	e.put(string(c))
	at := e.offset + len(e.out) - 1
	if n := len(e.holes); n > 0 && k > 0 {
		if last := &e.holes[n-1]; last.Offset+last.Len == at {
			last.Len++
			return
		}
	}
	e.holes = append(e.holes, Hole{Offset: at, Kind: h.Kind, From: h.From + k, Len: 1})
}
