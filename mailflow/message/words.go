package message

import (
	"encoding/base64"
	"strings"
)

// An encodedWord is "=?charset?B?text?=" (RFC 2047, 2), taken apart.
type encodedWord struct {
	charset string
	data    []byte
}

// decodeWords decodes the encoded words of an unfolded header value. Neighbours of
// one character set are put together before they are decoded, as some clients
// split characters between words.
func decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return validUTF8(s)
	}
	var out strings.Builder
	var cur encodedWord // collected, not yet written
	flush := func() {
		if cur.charset != "" {
			text, _ := toUTF8(cur.charset, cur.data)
			out.WriteString(text)
			cur = encodedWord{}
		}
	}
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			i = len(s)
		}
		// Only blanks between two encoded words: they vanish.
		if plain := s[:i]; plain != "" && (cur.charset == "" || strings.Trim(plain, " \t") != "" || i == len(s)) {
			flush()
			out.WriteString(validUTF8(plain))
		}
		s = s[i:]
		if s == "" {
			break
		}
		w, n := parseWord(s)
		switch {
		case n == 0:
			flush()
			out.WriteString("=?")
			s = s[2:]
			continue
		case !strings.EqualFold(w.charset, cur.charset):
			flush()
			cur = w
		default:
			cur.data = append(cur.data, w.data...)
		}
		s = s[n:]
	}
	flush()
	return out.String()
}

// parseWord takes the encoded word at the beginning of s apart and returns its
// length, or 0 if there is none.
func parseWord(s string) (encodedWord, int) {
	charset, rest, ok := strings.Cut(s[2:], "?")
	if !ok || charset == "" || len(charset) > 60 || strings.ContainsAny(charset, " \t=\"") {
		return encodedWord{}, 0
	}
	charset, _, _ = strings.Cut(charset, "*") // RFC 2231, 5: the language
	encoding, rest, ok := strings.Cut(rest, "?")
	if !ok || len(encoding) != 1 {
		return encodedWord{}, 0
	}
	text, after, ok := strings.Cut(rest, "?=")
	if !ok {
		return encodedWord{}, 0
	}
	n := len(s) - len(after)
	switch encoding {
	case "B", "b":
		text = strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
		data, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			return encodedWord{}, 0
		}
		return encodedWord{charset, data}, n
	case "Q", "q":
		return encodedWord{charset, decodeQ(text)}, n
	}
	return encodedWord{}, 0
}

// decodeQ decodes the "Q" encoding (RFC 2047, 4.2).
func decodeQ(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}

// unhex returns the value of a hex digit, or -1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
