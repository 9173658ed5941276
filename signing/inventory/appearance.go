package inventory

import (
	"bytes"
	"encoding/hex"
	"strings"

	"countersign/signing/pdf"
)

// maxAppearance bounds the appearance streams that are read.
const maxAppearance = 64 << 10

// operators reads a content stream and calls visit with each operator and the
// strings before it (7.8.2). It reports whether all of it was understood.
func operators(b []byte, visit func(op string, strs []string)) bool {
	var strs []string
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '(':
			s, n, ok := literal(b[i:])
			if !ok {
				return false
			}
			strs, i = append(strs, s), i+n
		case c == '<' && i+1 < len(b) && b[i+1] != '<':
			s, n, ok := hexadecimal(b[i:])
			if !ok {
				return false
			}
			strs, i = append(strs, s), i+n
		case c == '%':
			for i < len(b) && b[i] != '\n' && b[i] != '\r' {
				i++
			}
		case isWord(c):
			from := i
			for i < len(b) && (isWord(b[i]) || b[i] >= '0' && b[i] <= '9') {
				i++
			}
			op := string(b[from:i])
			if op == "BI" {
				return false // an image in the text
			}
			visit(op, strs)
			strs = nil
		case c == '/':
			for i++; i < len(b) && strings.IndexByte("\x00\t\n\f\r ()<>[]{}/%", b[i]) < 0; {
				i++
			}
		default:
			i++
		}
	}
	return true
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '*' || c == '\'' || c == '"'
}

// literal reads a literal string and returns how many bytes it takes.
func literal(b []byte) (s string, n int, ok bool) {
	depth := 0
	var out []byte
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '(':
			if depth++; depth > 1 {
				out = append(out, c)
			}
		case ')':
			if depth--; depth == 0 {
				return string(out), i + 1, true
			}
			out = append(out, c)
		case '\\':
			if i++; i < len(b) {
				if b[i] >= '0' && b[i] <= '9' || b[i] == '\r' || b[i] == '\n' {
					return "", 0, false
				}
				out = append(out, b[i])
			}
		default:
			out = append(out, c)
		}
	}
	return "", 0, false
}

// hexadecimal reads a hexadecimal string of plain ASCII. Others are glyph numbers, most
// of the time.
func hexadecimal(b []byte) (s string, n int, ok bool) {
	end := bytes.IndexByte(b, '>')
	if end < 0 {
		return "", 0, false
	}
	digits := bytes.Join(bytes.Fields(b[1:end]), nil)
	if len(digits)%2 == 1 {
		digits = append(digits, '0')
	}
	text := make([]byte, len(digits)/2)
	if _, err := hex.Decode(text, digits); err != nil || !ascii(string(text)) {
		return "", 0, false
	}
	return string(text), end + 1, true
}

// draws reports whether an appearance shows anything, as far as can be told.
func (w *walker) draws(ap pdf.Object) bool {
	data, err := w.f.StreamData(ap, maxAppearance)
	if err != nil {
		return true
	}
	shows := false
	operators(data, func(op string, _ []string) {
		switch op {
		case "Tj", "TJ", "'", "\"", "Do", "sh", "S", "s", "f", "F", "f*", "B", "B*", "b", "b*", "BI":
			shows = true
		}
	})
	return shows
}

// shownText returns the text that an appearance shows, without white space. It is
// sure only of plain ASCII in literal strings.
func (w *walker) shownText(ap pdf.Object) (text string, sure bool) {
	data, err := w.f.StreamData(ap, maxAppearance)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	understood := operators(data, func(op string, strs []string) {
		switch op {
		case "Tj", "TJ", "'", "\"":
			for _, s := range strs {
				b.WriteString(s)
			}
		case "Do":
			b.WriteByte(0xff)
		}
	})
	text = squeeze(b.String())
	return text, understood && ascii(text)
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// squeeze takes white space out, which lines are broken at.
func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }

func contains(long, short string) bool {
	return strings.Contains(long, short) || !ascii(long) || !ascii(short)
}
