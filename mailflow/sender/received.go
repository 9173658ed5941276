package sender

import (
	"fmt"
	"net/mail"
	"regexp"
	"strings"
)

// received is what matters of a Received field.
type received struct {
	authenticated bool   // with ESMTPA or ESMTPSA (RFC 3848; RFC 6531 for UTF8SMTP)
	with          string // the protocol
	sender        string // of "(Authenticated sender: X)", or ""
}

// The comments that may stand behind the from domain, in this order, each at most
// once. HELO, the reverse name, a client's certificate and a recipient are the
// sender's to choose; so their text must fit patterns that cannot hold another
// clause.
var fromComments = []*regexp.Regexp{
	// TCP-info: the reverse name and the address that we saw (RFC 5321, 4.4).
	regexp.MustCompile(`^(?:[A-Za-z0-9._-]+ )?\[(?:IPv6:)?[0-9A-Fa-f.:]+\]$`),
	regexp.MustCompile(`^using (?:TLSv[0-9.]+|SSLv[0-9]) with cipher [^()]+ \([0-9]+/[0-9]+ bits\)(?: key-exchange [^()]+(?: \([^()]*\))?)?(?: server-signature [^()]+(?: \([^()]*\))?)?(?: (?:client|server)-(?:signature|digest) [^()]+(?: \([^()]*\))?)*$`),
	regexp.MustCompile(`^(?:No client certificate requested|Client did not present a certificate|Client CN "[^()"]*", Issuer "[^()"]*" \((?:verified OK|not verified)\))$`),
	regexp.MustCompile(`^Authenticated sender: ([^\s()<>"\\,;:]+)$`),
}

// authComment is the index of "Authenticated sender" in fromComments.
const authComment = 3

var (
	heloName  = regexp.MustCompile(`^(?:[A-Za-z0-9._:-]+|\[(?:IPv6:)?[0-9A-Fa-f.:]+\])$`)
	hostName  = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	queueID   = regexp.MustCompile(`^[A-Za-z0-9.+/_-]+$|^<[^<>\s"\\;()]+>$`)
	recipient = regexp.MustCompile(`^<[^<>\s"\\;()]+@[A-Za-z0-9._-]+>$|^[^<>\s"\\;()]+@[A-Za-z0-9._-]+$`)
	envelope  = regexp.MustCompile(`^envelope-from <[^<>\s"\\;()]*>$`)
)

// stampWord is a word outside comments.
func stampWord(c byte) bool { return c > ' ' && c < 0x7f && c != '(' && c != ')' && c != ';' }

// parseReceived reads a Received field by RFC 5321, 4.4, in the layout of Postfix:
//
//	from HELO (name [address]) (using TLS…) (client certificate) (Authenticated sender: X)
//	by host (Postfix) with ESMTPSA id ID for <recipient>; date
//
// Everything must be at its place, or it is an error.
func parseReceived(raw string) (received, error) {
	l := newLexer(raw)
	var r received
	l.space()
	l.clause("from", heloName)
	at := -1 // the last of fromComments that we saw
	for _, c := range l.comments() {
		i, m := matchComment(c)
		switch {
		case i < 0:
			l.fail("a comment behind the from clause is none that is known there")
		case i <= at || (at < 0 && i != 0):
			l.fail("the comments behind the from clause are not in their order")
		case i == authComment:
			r.sender = m
		}
		at = i
	}
	l.clause("by", hostName)
	for _, c := range l.comments() {
		if !hostName.MatchString(c) {
			l.fail("a comment behind the by clause is none that is known there")
		}
	}
	l.protocol(&r)
	l.rest()
	return r, l.err
}

func matchComment(c string) (int, string) {
	for i, re := range fromComments {
		if m := re.FindStringSubmatch(c); m != nil {
			return i, m[len(m)-1]
		}
	}
	return -1, ""
}

// clause reads a keyword and its value.
func (l *lexer) clause(key string, value *regexp.Regexp) string {
	if k := l.word(key, stampWord); l.err == nil && !strings.EqualFold(k, key) {
		l.fail("%q stands where %q must", k, key)
	}
	l.space()
	v := l.word("the value of "+key, stampWord)
	if l.err == nil && !value.MatchString(v) {
		l.fail("the value of %q is not plain", key)
	}
	l.space()
	return v
}

// comments reads the comments that stand here, white space inside made one blank.
func (l *lexer) comments() []string {
	var cs []string
	for l.space(); l.peek() == '('; l.space() {
		c := l.comment()
		if strings.Contains(c, `\`) {
			l.fail("a comment has a quoted pair")
		}
		cs = append(cs, strings.Join(strings.Fields(c), " "))
	}
	return cs
}

// protocol reads the with clause.
func (l *lexer) protocol(r *received) {
	r.with = l.clause("with", hostName)
	switch strings.ToUpper(r.with) {
	case "ESMTPA", "ESMTPSA", "UTF8SMTPA", "UTF8SMTPSA":
		r.authenticated = true
	}
}

// rest reads id, envelope-from, for, and the date.
func (l *lexer) rest() {
	l.clause("id", queueID)
	for _, c := range l.comments() {
		if !envelope.MatchString(c) {
			l.fail("a comment behind the id clause is none that is known there")
		}
	}
	if l.peek() != ';' {
		l.clause("for", recipient)
	}
	if !l.accept(';') {
		l.fail("the date is missing at %d", l.pos)
		return
	}
	date := strings.Join(strings.Fields(l.s[l.pos:]), " ")
	if i := strings.IndexByte(date, '('); i >= 0 && strings.HasSuffix(date, ")") && !strings.ContainsAny(date[i+1:len(date)-1], `()\`) {
		date = strings.TrimSpace(date[:i]) // the zone's name
	}
	if _, err := mail.ParseDate(date); err != nil || strings.ContainsAny(date, "()") {
		l.fail("%s", fmt.Sprintf("the date %q is none", date))
	}
	l.pos = len(l.s)
}
