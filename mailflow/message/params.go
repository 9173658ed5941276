package message

import (
	"sort"
	"strconv"
	"strings"
)

// A params is a structured value with parameters: Content-Type (RFC 2045, 5.1) or
// Content-Disposition (RFC 2183, 2), with RFC 2231 put together and decoded.
type params struct {
	value  string // lower case
	params map[string]string
	twice  string // a parameter that stands twice; the first counts
}

// parseParams reads an unfolded field as far as it can be read.
func parseParams(s string) params {
	in := paramScanner{s: s}
	p := params{value: strings.ToLower(in.until(";"))}
	raw := map[string]string{}
	for in.s != "" && len(raw) < 100 {
		name := strings.ToLower(in.until("=;"))
		if !strings.HasPrefix(in.s, "=") {
			in.skip(";")
			continue
		}
		in.s = in.s[1:]
		value := in.param()
		in.skip(";")
		if _, ok := raw[name]; ok {
			p.twice = name
			continue
		}
		raw[name] = value
	}
	p.params = join2231(raw)
	return p
}

// A paramScanner reads the pieces of a structured value.
type paramScanner struct{ s string }

// until returns the text before any of the stop characters, without comments
// (RFC 822) and blanks around it.
func (in *paramScanner) until(stops string) string {
	var out strings.Builder
	depth := 0
	i := 0
loop:
	for ; i < len(in.s); i++ {
		c := in.s[i]
		switch {
		case c == '\\' && depth > 0:
			i++
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
		case strings.IndexByte(stops, c) >= 0:
			break loop
		default:
			out.WriteByte(c)
		}
	}
	in.s = in.s[min(i, len(in.s)):]
	return strings.TrimSpace(out.String())
}

// skip goes on behind the next stop character.
func (in *paramScanner) skip(stops string) {
	in.until(stops)
	if in.s != "" {
		in.s = in.s[1:]
	}
}

// param reads a value: a quoted string, or all up to the next semicolon, as some
// clients leave the quotes away from names with blanks.
func (in *paramScanner) param() string {
	in.s = strings.TrimLeft(in.s, " \t")
	if !strings.HasPrefix(in.s, `"`) {
		i := strings.IndexByte(in.s, ';')
		if i < 0 {
			i = len(in.s)
		}
		v := in.s[:i]
		in.s = in.s[i:]
		if j := strings.Index(v, " ("); j >= 0 {
			v = v[:j] // a comment
		}
		return strings.TrimSpace(v)
	}
	var out strings.Builder
	for i := 1; i < len(in.s); i++ {
		switch c := in.s[i]; {
		case c == '"':
			in.s = in.s[i+1:]
			return out.String()
		// A backslash before a letter is a path of Windows, not a quoted pair.
		case c == '\\' && i+1 < len(in.s) && (in.s[i+1] == '"' || in.s[i+1] == '\\'):
			i++
			out.WriteByte(in.s[i])
		default:
			out.WriteByte(c)
		}
	}
	in.s = ""
	return out.String()
}

// join2231 puts continued parameters together and decodes them (RFC 2231, 3, 4).
// Such a value goes before a plain one of the same name.
func join2231(raw map[string]string) map[string]string {
	type piece struct {
		n       int
		encoded bool
		text    string
	}
	out := make(map[string]string, len(raw))
	pieces := map[string][]piece{}
	for name, v := range raw {
		base, rest, ok := strings.Cut(name, "*")
		if !ok {
			if _, done := pieces[name]; !done {
				out[name] = v
			}
			continue
		}
		rest, encoded := strings.CutSuffix("*"+rest, "*")
		n := 0
		if num := strings.TrimPrefix(rest, "*"); num != "" {
			var err error
			if n, err = strconv.Atoi(num); err != nil || n < 0 {
				continue
			}
		}
		pieces[base] = append(pieces[base], piece{n, encoded, v})
	}
	for base, ps := range pieces {
		sort.Slice(ps, func(i, j int) bool { return ps[i].n < ps[j].n })
		charset := ""
		var data []byte
		for i, p := range ps {
			if p.n != i {
				break // a gap: the rest cannot be trusted
			}
			text := p.text
			if i == 0 && p.encoded {
				if parts := strings.SplitN(text, "'", 3); len(parts) == 3 {
					charset, text = parts[0], parts[2]
				}
			}
			if p.encoded {
				data = append(data, percent(text)...)
			} else {
				data = append(data, text...)
			}
		}
		if text, _ := toUTF8(charset, data); text != "" {
			out[base] = text
		}
	}
	return out
}

// percent decodes %XX.
func percent(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0 {
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return out
}
