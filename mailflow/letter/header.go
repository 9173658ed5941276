package letter

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"countersign/mailflow"
)

// header builds header fields (RFC 5322, 2.2). What goes in is checked here, whoever
// checked it before: no value can end its line.
type header struct {
	b   strings.Builder
	err error
}

func (h *header) fail(format string, args ...any) {
	if h.err == nil {
		h.err = fmt.Errorf(format, args...)
	}
}

// add writes one field, folded at spaces into lines of at most 76 characters where
// there are spaces.
func (h *header) add(name, value string) {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c >= 0x7f {
			h.fail("header %s: the value holds the byte %#02x", name, c)
			return
		}
	}
	h.b.WriteString(fold(name+": "+value) + "\r\n")
}

// fold breaks a line before spaces. A run of spaces is never broken into a line of
// spaces alone, which RFC 5322, 3.2.2 forbids.
func fold(line string) string {
	var b strings.Builder
	col := 0
	for i, word := range strings.Split(line, " ") {
		switch {
		case i == 0:
			b.WriteString(word)
			col = len(word)
		case i > 1 && word != "" && col+1+len(word) > 76:
			b.WriteString("\r\n " + word)
			col = 1 + len(word)
		default:
			b.WriteString(" " + word)
			col += 1 + len(word)
		}
	}
	return b.String()
}

// address writes an address field.
func (h *header) address(name string, a mailflow.Address) {
	if err := checkAddr(a.Addr); err != nil {
		h.fail("header %s: %w", name, err)
		return
	}
	m := mail.Address{Name: oneLine(a.Name, 100), Address: a.Addr}
	h.add(name, m.String())
}

// checkAddr takes plain addr-specs in ASCII only (RFC 5321, 4.1.2, without quoted
// local parts and address literals; RFC 6531 is not spoken).
func checkAddr(addr string) error {
	local, domain := splitAddr(addr)
	if local == "" || domain == "" || len(addr) > 254 {
		return fmt.Errorf("%q is not a mail address", addr)
	}
	for i := range len(addr) {
		if c := addr[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`<>()[],;:\"`, c) >= 0 {
			return fmt.Errorf("%q is not a plain mail address: it holds the byte %#02x", addr, c)
		}
	}
	if strings.Contains(local, "@") {
		return fmt.Errorf("%q is not a mail address: it holds several @", addr)
	}
	return nil
}

func splitAddr(addr string) (local, domain string) {
	i := strings.LastIndexByte(addr, '@')
	if i < 0 {
		return "", ""
	}
	return addr[:i], addr[i+1:]
}

// messageIDs writes identifiers in angle brackets.
func (h *header) messageIDs(name string, ids ...string) {
	var out []string
	for _, id := range ids {
		if err := checkID(id); err != nil {
			h.fail("header %s: %w", name, err)
			return
		}
		out = append(out, "<"+id+">")
	}
	h.add(name, strings.Join(out, " "))
}

func checkID(id string) error {
	if id == "" || len(id) > 900 {
		return errors.New("a Message-ID is empty or too long")
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || c == '<' || c == '>' {
			return fmt.Errorf("a Message-ID holds the byte %#02x", c)
		}
	}
	return nil
}

// subject writes the subject: the reference stays readable for programs and people,
// the rest is encoded if it has to be (RFC 2047).
func (h *header) subject(ref, text string) {
	if ref != "" {
		ref = "[#" + ref + "] "
	}
	h.add("Subject", ref+encodeWords(text))
}

func encodeWords(text string) string {
	plain := !strings.Contains(text, "=?")
	for word := range strings.SplitSeq(text, " ") {
		plain = plain && len(word) <= 70 && !strings.ContainsFunc(word, func(r rune) bool { return r > 0x7e || r < ' ' })
	}
	if plain {
		return text
	}
	var words []string
	for chunk := text; chunk != ""; {
		head := truncate(chunk, 42) // 56 characters of base64 in a word of at most 75
		words = append(words, "=?utf-8?b?"+base64.StdEncoding.EncodeToString([]byte(head))+"?=")
		chunk = chunk[len(head):]
	}
	return strings.Join(words, " ")
}

// fileName gives the parameters of a field for a file name: in ASCII for old
// programs, and whole (RFC 2231, 4; RFC 6266, appendix D), cut into pieces (RFC
// 2231, 3) so that lines stay short.
func fileName(key, name string) string {
	ascii := strings.Map(func(r rune) rune {
		if r > 0x7e || r < ' ' || r == '"' || r == '\\' || r == '%' {
			return '_'
		}
		return r
	}, name)
	out := fmt.Sprintf(`%s="%s"`, key, ascii)
	if ascii == name && len(ascii) <= 60 {
		return out
	}
	if len(ascii) > 60 { // cut, keeping the end, which says what it is
		out = fmt.Sprintf(`%s="%s..%s"`, key, ascii[:40], ascii[len(ascii)-12:])
	}
	encoded, piece, n := "", "", 0
	flush := func() {
		prefix := ""
		if n == 0 {
			prefix = "UTF-8''"
		}
		encoded += fmt.Sprintf("; %s*%d*=%s%s", key, n, prefix, piece)
		piece = ""
		n++
	}
	for _, r := range name {
		s := percent(string(r), "-._")
		if len(piece)+len(s) > 50 {
			flush()
		}
		piece += s
	}
	flush()
	return out + encoded
}

// percent encodes all bytes but letters, digits and those in keep (RFC 3986, 2.1).
func percent(s, keep string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(keep, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// oneLine makes a single line of at most limit characters out of any text: control
// and invisible format characters go, runs of white space become one space, and what
// is cut off shows as "…". So no value makes a line of its own, or one that reads
// differently from what is stored.
func oneLine(s string, limit int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			space = true
			continue
		case unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r):
			continue
		}
		if space && n > 0 {
			b.WriteByte(' ')
			n++
		}
		space = false
		if n >= limit {
			return strings.TrimRight(b.String(), " ") + "…"
		}
		b.WriteRune(r) // an invalid byte has become U+FFFD
		n++
	}
	return b.String()
}

// truncate cuts text to at most n bytes, at a character.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
