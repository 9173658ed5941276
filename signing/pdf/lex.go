package pdf

import (
	"errors"
	"slices"
	"strconv"
)

const (
	maxDepth  = 64      // nesting of arrays and dictionaries, and of trees
	maxValues = 400_000 // values in one object
	maxHeld   = 64      // items of an array that are held before anybody asks for them
)

// errShort says that the buffer ends before the value does and that the file goes on.
var errShort = errors.New("buffer too short")

// A parser reads values from a part of a file.
type parser struct {
	buf  []byte
	pos  int
	eof  bool    // the file, too, ends at the end of buf
	left int     // values that may still be made
	open []Value // items of the arrays and dictionaries that are not closed yet
	refs int64   // highest number in a reference so far

	whole   bool // keep all items of the array that is read
	skim    bool // check arrays, but do not keep their items
	skimmed int  // how many were not kept
}

func newParser(buf []byte, eof bool) *parser {
	return &parser{buf: buf, eof: eof, left: maxValues}
}

// classes tells white space from delimiters (7.2.3); all else is regular.
var classes = func() (t [256]uint8) {
	for _, c := range []byte("\x00\t\n\f\r ") {
		t[c] = 1
	}
	for _, c := range []byte("()<>[]{}/%") {
		t[c] = 2
	}
	return t
}()

// hexadecimal has what may stand in a hexadecimal string: digits and white space.
var hexadecimal = func() (t [256]bool) {
	for c := range t {
		_, digit := hexDigit(byte(c))
		t[c] = digit || isSpace(byte(c))
	}
	return t
}()

func isSpace(c byte) bool { return classes[c] == 1 }

func isRegular(c byte) bool { return classes[c] == 0 }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// end is the error for running out of bytes.
func (p *parser) end() error {
	if p.eof {
		return broken("the file ends in the middle of an object")
	}
	return errShort
}

func (p *parser) peek() (byte, error) {
	if p.pos >= len(p.buf) {
		return 0, p.end()
	}
	return p.buf[p.pos], nil
}

// space skips white space only.
func (p *parser) space() {
	for p.pos < len(p.buf) && isSpace(p.buf[p.pos]) {
		p.pos++
	}
}

// skip skips white space and comments.
func (p *parser) skip() {
	for p.space(); p.pos < len(p.buf) && p.buf[p.pos] == '%'; p.space() {
		for p.pos < len(p.buf) && p.buf[p.pos] != '\n' && p.buf[p.pos] != '\r' {
			p.pos++
		}
	}
}

// word reads a run of regular characters, which may be empty.
func (p *parser) word() ([]byte, error) {
	start := p.pos
	for p.pos < len(p.buf) && isRegular(p.buf[p.pos]) {
		p.pos++
	}
	if p.pos == len(p.buf) && !p.eof {
		return nil, errShort
	}
	return p.buf[start:p.pos], nil
}

// keyword skips white space and comments and reads exactly the given word.
func (p *parser) keyword(want string) error {
	p.skip()
	at := p.pos
	w, err := p.word()
	if err != nil {
		return err
	}
	if string(w) != want {
		p.pos = at
		return broken("%q expected, %q found", want, clip(w))
	}
	return nil
}

// clip shortens foreign bytes for an error text.
func clip(b []byte) []byte { return b[:min(len(b), 24)] }

// value reads one value after white space and comments.
func (p *parser) value(depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, refuse(ReasonTooLarge, "values nested more than %d deep", maxDepth)
	}
	if p.left--; p.left < 0 {
		return Value{}, refuse(ReasonTooLarge, "an object of more than %d values", maxValues)
	}
	p.skip()
	c, err := p.peek()
	if err != nil {
		return Value{}, err
	}
	start := p.pos
	v, err := p.dispatch(c, depth)
	if err != nil {
		return Value{}, err
	}
	v.pos = uint32(start)
	v.raw = p.buf[start:p.pos:p.pos]
	return v, nil
}

func (p *parser) dispatch(c byte, depth int) (Value, error) {
	switch {
	case c == '/':
		p.pos++
		_, err := p.word()
		return Value{kind: Name}, err
	case c == '(':
		return Value{kind: String}, p.literal()
	case c == '[':
		return p.array(depth)
	case c == '<':
		if p.pos+1 >= len(p.buf) {
			return Value{}, p.end()
		}
		if p.buf[p.pos+1] == '<' {
			return p.dict(depth)
		}
		return Value{kind: String}, p.hex()
	case isDigit(c) || c == '+' || c == '-' || c == '.':
		return p.number()
	}
	w, err := p.word()
	if err != nil {
		return Value{}, err
	}
	switch string(w) {
	case "true":
		return Value{kind: Bool, num: 1}, nil
	case "false":
		return Value{kind: Bool}, nil
	case "null":
		return Value{kind: Null}, nil
	}
	return Value{}, broken("no value starts with %q", clip(p.buf[p.pos-len(w):]))
}

// literal reads a literal string with balanced parentheses (7.3.4.2).
func (p *parser) literal() error {
	for depth := 0; p.pos < len(p.buf); p.pos++ {
		switch p.buf[p.pos] {
		case '\\':
			p.pos++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				p.pos++
				return nil
			}
		}
	}
	return p.end()
}

// hex reads a hexadecimal string (7.3.4.3).
func (p *parser) hex() error {
	p.pos++
	for i, c := range p.buf[p.pos:] {
		if hexadecimal[c] {
			continue
		}
		p.pos += i
		if c == '>' {
			p.pos++
			return nil
		}
		return broken("%q in a hexadecimal string", c)
	}
	p.pos = len(p.buf)
	return p.end()
}

func (p *parser) array(depth int) (Value, error) {
	v := Value{kind: Array}
	first, held := len(p.open), 0
	for p.pos++; ; {
		p.skip()
		c, err := p.peek()
		if err != nil {
			return v, err
		}
		if c == ']' {
			p.pos++
			v.list = p.closed(first)
			return v, nil
		}
		it, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		switch held++; {
		case p.skim:
			p.left++ // nothing is held
			p.skimmed++
		case held <= maxHeld || p.whole && depth == 0:
			p.open = append(p.open, it)
		default: // Items will read it again
			p.open, v.long = p.open[:first], true
		}
	}
}

// closed returns the items that were opened since there were first of them, in a slice of
// just their number.
func (p *parser) closed(first int) []Value {
	if first == len(p.open) {
		return nil
	}
	list := slices.Clone(p.open[first:])
	p.open = p.open[:first]
	return list[:len(list):len(list)]
}

// dict reads a dictionary. A key that occurs twice is refused, because readers
// differ in which of the two they take (7.3.7).
func (p *parser) dict(depth int) (Value, error) {
	v := Value{kind: Dict}
	var seen map[string]bool
	first := len(p.open)
	for p.pos += 2; ; {
		p.skip()
		c, err := p.peek()
		if err != nil {
			return v, err
		}
		if c == '>' {
			if p.pos+1 >= len(p.buf) {
				return v, p.end()
			}
			if p.buf[p.pos+1] != '>' {
				return v, broken("a dictionary ends with a single >")
			}
			p.pos += 2
			v.list = p.closed(first)
			return v, nil
		}
		if c != '/' {
			return v, broken("a dictionary key starts with %q", c)
		}
		key, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		if twice(p.open[first:], key, &seen) {
			return v, broken("a dictionary has the key %q twice", clip([]byte(key.Name())))
		}
		val, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		p.open = append(p.open, key, val)
	}
}

// twice reports whether a dictionary that is being read has the key already. Small ones
// are searched, larger ones keep a map of their keys.
func twice(list []Value, key Value, seen *map[string]bool) bool {
	const small = 32 // keys and values
	if len(list) < small {
		for i := 0; i < len(list); i += 2 {
			if list[i].sameName(key) {
				return true
			}
		}
		return false
	}
	if *seen == nil {
		*seen = make(map[string]bool, len(list))
		for i := 0; i < len(list); i += 2 {
			(*seen)[list[i].Name()] = true
		}
	}
	name := key.Name()
	if (*seen)[name] {
		return true
	}
	(*seen)[name] = true
	return false
}

// number reads an integer, a real number (7.3.3) or a reference.
func (p *parser) number() (Value, error) {
	w, err := p.word()
	if err != nil {
		return Value{}, err
	}
	if n, err := strconv.ParseInt(string(w), 10, 64); err == nil {
		v := Value{kind: Int, num: n}
		if !isDigit(w[0]) {
			return v, nil
		}
		return p.reference(v)
	}
	digits, dots := 0, 0
	for i, c := range w {
		switch {
		case isDigit(c):
			digits++
		case c == '.':
			dots++
		case i == 0 && (c == '+' || c == '-'):
		default:
			dots = 2
		}
	}
	if digits == 0 || dots > 1 {
		return Value{}, broken("%q is not a number", clip(w))
	}
	return Value{kind: Real}, nil
}

// reference looks whether the integer v starts a reference "12 0 R".
func (p *parser) reference(v Value) (Value, error) {
	back := p.pos
	p.skip()
	gen, err := p.word()
	if err != nil {
		return v, err
	}
	g, ok := parseUint(gen, 65535)
	if ok && v.num <= maxObjectNumber {
		p.skip()
		r, err := p.word()
		if err != nil {
			return v, err
		}
		if string(r) == "R" {
			p.refs = max(p.refs, v.num)
			return Value{kind: Reference, num: v.num, gen: uint16(g)}, nil
		}
	}
	p.pos = back
	return v, nil
}

// parseUint reads a non-empty run of digits up to limit.
func parseUint(b []byte, limit int64) (int64, bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil && n <= limit
}
