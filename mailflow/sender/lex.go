package sender

import (
	"errors"
	"fmt"
	"strings"
)

// A lexer reads the lexical pieces that Received and Authentication-Results share:
// folding white space, comments, quoted strings (RFC 5322, 3.2). It remembers the
// first thing that it did not understand; from then on it yields nothing.
type lexer struct {
	s   string
	pos int
	err error
}

// newLexer takes a raw field body. Folds must be folds: a line break is followed by
// a blank (RFC 5322, 2.2.3).
func newLexer(raw string) *lexer {
	l := &lexer{s: strings.TrimRight(raw, "\r\n \t")}
	for i := 0; i < len(l.s); i++ {
		c := l.s[i]
		switch {
		case c == '\t' || c >= ' ' && c != 0x7f:
		case c == '\r' && i+1 < len(l.s) && l.s[i+1] == '\n':
		case c == '\n' && i+1 < len(l.s) && (l.s[i+1] == ' ' || l.s[i+1] == '\t'):
		default:
			l.fail("a control character at %d", i)
			return l
		}
	}
	return l
}

func (l *lexer) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
	l.pos = len(l.s)
}

func (l *lexer) done() bool { return l.pos >= len(l.s) }

// peek returns the next byte, or 0 at the end.
func (l *lexer) peek() byte {
	if l.done() {
		return 0
	}
	return l.s[l.pos]
}

// accept goes on over one byte.
func (l *lexer) accept(c byte) bool {
	if l.peek() != c || l.done() {
		return false
	}
	l.pos++
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// space skips folding white space and reports whether there was some.
func (l *lexer) space() bool {
	start := l.pos
	for !l.done() && isSpace(l.s[l.pos]) {
		l.pos++
	}
	return l.pos > start
}

// cfws skips white space and comments.
func (l *lexer) cfws() {
	for l.space(); l.peek() == '('; l.space() {
		l.comment()
	}
}

// comment reads one comment and returns what is in it, as it stands there; nested
// comments stay in it with their parentheses.
func (l *lexer) comment() string {
	start, depth := l.pos+1, 0
	for ; !l.done(); l.pos++ {
		switch l.s[l.pos] {
		case '\\':
			l.pos++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				text := l.s[start:l.pos]
				l.pos++
				return text
			}
		}
	}
	l.fail("a comment has no end")
	return ""
}

// quoted reads a quoted string and returns its content.
func (l *lexer) quoted() string {
	var out strings.Builder
	for l.pos++; !l.done(); l.pos++ {
		switch c := l.s[l.pos]; c {
		case '\\':
			l.pos++
			if !l.done() {
				out.WriteByte(l.s[l.pos])
			}
		case '"':
			l.pos++
			return out.String()
		default:
			out.WriteByte(c)
		}
	}
	l.fail("a quoted string has no end")
	return ""
}

// word reads the longest run of bytes that ok allows; an empty one is an error.
func (l *lexer) word(what string, ok func(byte) bool) string {
	start := l.pos
	for !l.done() && ok(l.s[l.pos]) {
		l.pos++
	}
	if l.pos == start {
		l.fail("%s is missing at %d", what, start)
		return ""
	}
	return l.s[start:l.pos]
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// keyword is letters, digits and hyphens (RFC 5321, 4.1.2: Ldh-str).
func keyword(c byte) bool { return alnum(c) || c == '-' }

// token is RFC 2045, 5.1.
func token(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0 }

// loose is what stands unquoted in property values: base64 and mail addresses too.
// None of it separates anything.
func loose(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte(`();"\,<>`, c) < 0 }

var errTrailing = errors.New("there is more text than the syntax allows")
