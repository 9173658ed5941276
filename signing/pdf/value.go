package pdf

import (
	"bytes"
	"fmt"
	"iter"
	"strconv"
	"unicode/utf16"
)

// A Kind is the type of a [Value].
type Kind uint8

// The kinds of values (7.3). Absent is the kind of the zero Value: what
// [Value.Get] returns for a key that is not there.
const (
	Absent Kind = iota
	Null
	Bool
	Int
	Real
	String
	Name
	Array
	Dict
	Reference
)

var kindNames = [...]string{
	"nothing", "null", "a boolean", "an integer", "a real number", "a string",
	"a name", "an array", "a dictionary", "a reference",
}

// String returns the kind in words, with its article.
func (k Kind) String() string { return kindNames[k] }

// A Ref names an indirect object (7.3.10).
type Ref struct {
	Num uint32
	Gen uint16
}

// String returns the reference as it is written in a file: "12 0 R".
func (r Ref) String() string { return fmt.Sprintf("%d %d R", r.Num, r.Gen) }

// A Value is one PDF value with the exact bytes it has in the file. Values are
// read-only; their bytes are shared with the buffer they were read from.
type Value struct {
	kind Kind
	long bool // an array whose items are not held
	gen  uint16
	pos  uint32 // offset of raw within the object's buffer
	num  int64  // integer, truth value or object number
	raw  []byte
	list []Value // items; of a dictionary: key, value, key, value …
}

// Kind returns the type of the value.
func (v Value) Kind() Kind { return v.kind }

// Raw returns the exact bytes of the value; do not change them.
func (v Value) Raw() []byte { return v.raw }

// IsNull reports whether the value is null or absent, which mean the same (7.3.9).
func (v Value) IsNull() bool { return v.kind <= Null }

// Int returns an integer and whether the value is one.
func (v Value) Int() (int64, bool) { return v.num, v.kind == Int }

// True reports whether the value is the boolean true.
func (v Value) True() bool { return v.kind == Bool && v.num == 1 }

// Ref returns the object referred to and whether the value is a reference.
func (v Value) Ref() (Ref, bool) {
	if v.kind != Reference {
		return Ref{}, false
	}
	return Ref{uint32(v.num), v.gen}, true
}

// Name returns a name without its slash, escapes decoded (7.3.5), and "" for
// every other kind.
func (v Value) Name() string {
	if v.kind != Name {
		return ""
	}
	return decodeName(v.raw)
}

// Items returns the items of an array, nil for every other kind.
func (v Value) Items() []Value {
	if v.kind != Array {
		return nil
	}
	if v.long { // read before, so there is no error
		p := newParser(v.raw, true)
		p.whole = true
		again, _ := p.value(0)
		for i := range again.list {
			again.list[i] = again.list[i].shifted(v.pos)
		}
		return again.list
	}
	return v.list
}

// parts returns the items of an array and the keys and values of a dictionary.
func (v Value) parts() []Value {
	if v.long {
		return v.Items()
	}
	return v.list
}

// shifted returns v with all offsets in its object larger by n.
func (v Value) shifted(n uint32) Value {
	v.pos += n
	for i := range v.list {
		v.list[i] = v.list[i].shifted(n)
	}
	return v
}

// Entries yields keys (as name values) and values of a dictionary in file order.
func (v Value) Entries() iter.Seq2[Value, Value] {
	return func(yield func(Value, Value) bool) {
		if v.kind != Dict {
			return
		}
		for i := 0; i+1 < len(v.list); i += 2 {
			if !yield(v.list[i], v.list[i+1]) {
				return
			}
		}
	}
}

// Get returns the value of a dictionary's key, or the zero Value.
func (v Value) Get(key string) Value {
	for k, val := range v.Entries() {
		if k.is(key) {
			return val
		}
	}
	return Value{}
}

// is compares a name without decoding it where there is nothing to decode.
func (v Value) is(name string) bool {
	if bytes.IndexByte(v.raw, '#') < 0 {
		return string(v.raw[1:]) == name
	}
	return decodeName(v.raw) == name
}

// sameName compares two names.
func (v Value) sameName(w Value) bool {
	if bytes.IndexByte(v.raw, '#') < 0 && bytes.IndexByte(w.raw, '#') < 0 {
		return bytes.Equal(v.raw, w.raw)
	}
	return decodeName(v.raw) == decodeName(w.raw)
}

// kept returns o so that it can be kept: it does not hold on to a buffer that it shares
// with others, unless that is in memory anyway.
func (f *File) kept(o Object) Object {
	if o.base >= 0 && f.inMemory(o.base) {
		return o
	}
	return o.compact()
}

// compact returns a copy of o that keeps nothing in memory but its own bytes.
func (o Object) compact() Object {
	if o.rebuilt {
		return o
	}
	from := o.Value.pos
	if o.base >= 0 {
		o.base += int64(from)
	}
	o.Value = o.Value.moved(bytes.Clone(o.Value.raw), from)
	return o
}

// moved returns v over buf, a copy of what its buffer has from that offset on.
func (v Value) moved(buf []byte, from uint32) Value {
	v.pos -= from
	v.raw = buf[v.pos:][:len(v.raw):len(v.raw)]
	if v.list != nil {
		list := make([]Value, len(v.list))
		for i, it := range v.list {
			list[i] = it.moved(buf, from)
		}
		v.list = list
	}
	return v
}

// A Change gives a dictionary key a new raw value; nil takes the key out.
type Change struct {
	Key string
	Raw []byte
}

// With returns the bytes of a dictionary with changes: replaced in place,
// appended if the key was not there. All else is copied as it was.
func (v Value) With(changes ...Change) []byte {
	out := make([]byte, 0, len(v.raw)+64)
	out = append(out, "<<"...)
	put := func(key, raw []byte) {
		if raw != nil {
			out = append(append(append(append(out, ' '), key...), ' '), raw...)
		}
	}
	for k, val := range v.Entries() {
		raw := val.raw
		for _, c := range changes {
			if k.is(c.Key) {
				raw = c.Raw
			}
		}
		put(k.raw, raw)
	}
	for _, c := range changes {
		if v.Get(c.Key).kind == Absent {
			put([]byte("/"+c.Key), c.Raw)
		}
	}
	return append(out, " >>"...)
}

// WithItems returns the bytes of an array with references appended.
func (v Value) WithItems(refs ...Ref) []byte {
	out := []byte{'['}
	for i, it := range v.Items() {
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(out, it.raw...)
	}
	for _, r := range refs {
		if len(out) > 1 {
			out = append(out, ' ')
		}
		out = append(out, r.String()...)
	}
	return append(out, ']')
}

// Bytes returns the decoded bytes of a string (7.3.4), nil for other kinds.
func (v Value) Bytes() []byte {
	if v.kind != String || len(v.raw) < 2 {
		return nil
	}
	if v.raw[0] == '<' {
		return decodeHex(v.raw[1 : len(v.raw)-1])
	}
	return decodeLiteral(v.raw[1 : len(v.raw)-1])
}

// Text returns a text string (7.9.2.2) as UTF-8. What PDFDocEncoding leaves open
// is read as Latin-1, so that no two names become the same.
func (v Value) Text() string {
	b := v.Bytes()
	switch {
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		var u []uint16
		for i := 2; i+1 < len(b); i += 2 {
			u = append(u, uint16(b[i])<<8|uint16(b[i+1]))
		}
		return string(utf16.Decode(u))
	case bytes.HasPrefix(b, []byte{0xef, 0xbb, 0xbf}):
		return string(bytes.ToValidUTF8(b[3:], []byte("\ufffd")))
	}
	r := make([]rune, len(b))
	for i, c := range b {
		switch r[i] = rune(c); {
		case c >= 0x18 && c < 0x20:
			r[i] = docEncodingLow[c-0x18]
		case c >= 0x7f && c <= 0xa0:
			r[i] = docEncodingHigh[c-0x7f]
		}
	}
	return string(r)
}

// Where PDFDocEncoding (D.3) is not Latin-1: from 0x18 and from 0x7F on.
var (
	docEncodingLow  = []rune("\u02d8\u02c7\u02c6\u02d9\u02dd\u02db\u02da\u02dc")
	docEncodingHigh = []rune("\u007f\u2022\u2020\u2021\u2026\u2014\u2013\u0192\u2044\u2039\u203a\u2212\u2030\u201e\u201c\u201d\u2018" +
		"\u2019\u201a\u2122\ufb01\ufb02\u0141\u0152\u0160\u0178\u017d\u0131\u0142\u0153\u0161\u017e\u009f\u20ac")
)

// TextString writes s as a text string (7.9.2.2): a literal string for printable
// ASCII, UTF-16BE in hexadecimal for all else.
func TextString(s string) []byte {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		out := []byte{'('}
		for i := range len(s) {
			if c := s[i]; c == '(' || c == ')' || c == '\\' {
				out = append(out, '\\')
			}
			out = append(out, s[i])
		}
		return append(out, ')')
	}
	out := []byte("<FEFF")
	for _, u := range utf16.Encode([]rune(s)) {
		out = fmt.Appendf(out, "%04X", u)
	}
	return append(out, '>')
}

func decodeName(raw []byte) string {
	if bytes.IndexByte(raw, '#') < 0 {
		return string(raw[1:])
	}
	out := make([]byte, 0, len(raw))
	for i := 1; i < len(raw); i++ {
		if raw[i] == '#' && i+2 < len(raw) {
			if n, err := strconv.ParseUint(string(raw[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		out = append(out, raw[i])
	}
	return string(out)
}

func decodeHex(raw []byte) []byte {
	out := make([]byte, 0, len(raw)/2+1)
	half, n := byte(0), 0
	for _, c := range raw {
		d, ok := hexDigit(c)
		if !ok {
			continue // the lexer has let only white space through
		}
		if n++; n%2 == 1 {
			half = d << 4
			continue
		}
		out = append(out, half|d)
	}
	if n%2 == 1 {
		out = append(out, half) // a missing last digit is 0 (7.3.4.3)
	}
	return out
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// decodeLiteral decodes the inside of a literal string (7.3.4.2).
func decodeLiteral(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '\r': // an end of line is one line feed
			if i+1 < len(raw) && raw[i+1] == '\n' {
				i++
			}
			out = append(out, '\n')
		case c == '\\' && i+1 < len(raw):
			var n int
			out, n = escape(out, raw[i+1:])
			i += n
		default:
			out = append(out, c)
		}
	}
	return out
}

// escape appends what the escape after a backslash means and says how many
// bytes it used.
func escape(out, rest []byte) ([]byte, int) {
	const codes, means = "nrtbf", "\n\r\t\b\f"
	c := rest[0]
	if i := bytes.IndexByte([]byte(codes), c); i >= 0 {
		return append(out, means[i]), 1
	}
	switch {
	case c == '\r' && len(rest) > 1 && rest[1] == '\n':
		return out, 2
	case c == '\r' || c == '\n':
		return out, 1
	case c >= '0' && c <= '7':
		n, v := 0, 0
		for n < 3 && n < len(rest) && rest[n] >= '0' && rest[n] <= '7' {
			v = v*8 + int(rest[n]-'0')
			n++
		}
		return append(out, byte(v)), n
	}
	return append(out, c), 1
}
