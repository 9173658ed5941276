package sender

import (
	"fmt"
	"strings"
)

// A result is one resinfo of an Authentication-Results field (RFC 8601, 2.2).
type result struct {
	method string // in lower case: "dmarc"
	value  string // in lower case: "pass"
	props  []property
}

// A property is "ptype.property=pvalue".
type property struct {
	name  string // in lower case: "header.from"
	value string
}

// results is an Authentication-Results field.
type results struct {
	id   string
	list []result
}

// authservID returns the authserv-id of a field, or "" if even that cannot be read.
func authservID(raw string) string {
	l := newLexer(raw)
	id := l.id()
	if l.err != nil {
		return ""
	}
	return id
}

// id reads [CFWS] authserv-id.
func (l *lexer) id() string {
	l.cfws()
	if l.peek() == '"' {
		return l.quoted()
	}
	return l.word("the authserv-id", token)
}

// parseResults reads a whole field by the grammar of RFC 8601, 2.2. Anything that
// does not fit it is an error: a field that is half understood is not believed.
func parseResults(raw string) (results, error) {
	l := newLexer(raw)
	r := results{id: l.id()}
	l.cfws()
	if c := l.peek(); c >= '0' && c <= '9' {
		if v := l.word("the version", alnum); v != "1" {
			l.fail("version %q is unknown", v)
		}
		l.cfws()
	}
	for !l.done() {
		if !l.accept(';') {
			l.fail("a semicolon is missing at %d", l.pos)
			break
		}
		l.cfws()
		if l.done() && len(r.list) > 0 {
			break // some servers end the field with a semicolon
		}
		res := l.result()
		if res.method == "none" && res.value == "" {
			if len(r.list) > 0 || !l.done() {
				l.fail("none stands beside other results")
			}
			break
		}
		r.list = append(r.list, res)
	}
	if l.err == nil && !l.done() {
		l.err = errTrailing
	}
	return r, l.err
}

// result reads methodspec [reasonspec] 1*propspec, up to the next semicolon.
func (l *lexer) result() result {
	res := result{method: strings.ToLower(l.word("the method", keyword))}
	l.cfws()
	if l.accept('/') {
		l.cfws()
		if v := l.word("the method's version", alnum); v != "1" {
			l.fail("version %q of method %s is unknown", v, res.method)
		}
		l.cfws()
	}
	if l.err == nil && res.method == "none" && l.done() {
		return res
	}
	if !l.accept('=') {
		l.fail("method %s has no result", res.method)
		return res
	}
	l.cfws()
	res.value = strings.ToLower(l.word("the result", keyword))
	for l.cfws(); !l.done() && l.peek() != ';'; l.cfws() {
		res.props = append(res.props, l.property())
	}
	return res
}

// property reads a propspec, or a reasonspec as the property "reason".
func (l *lexer) property() property {
	p := property{name: strings.ToLower(l.word("a property", keyword))}
	l.cfws()
	if p.name != "reason" || l.peek() == '.' {
		if !l.accept('.') {
			l.fail("the property type %s has no property", p.name)
			return p
		}
		l.cfws()
		p.name += "." + strings.ToLower(l.word("a property", keyword))
		l.cfws()
	}
	if !l.accept('=') {
		l.fail("the property %s has no value", p.name)
		return p
	}
	l.cfws()
	p.value = l.pvalue()
	// A value must end where something may follow it.
	if c := l.peek(); !l.done() && c != ';' && c != '(' && !isSpace(c) {
		l.fail("the value of %s does not end at %d", p.name, l.pos)
	}
	return p
}

// pvalue reads a value or a mail address; what is not quoted may also be base64,
// as many servers write it, and "<>" the empty return path.
func (l *lexer) pvalue() string {
	switch l.peek() {
	case '"':
		v := l.quoted()
		if l.peek() == '@' {
			// A quoted local part: kept quoted, so that it equals nothing else.
			v = `"` + v + `"` + l.word("a domain", loose)
		}
		return v
	case '<':
		l.pos++
		v := ""
		if l.peek() != '>' {
			v = l.word("an address", loose)
		}
		if !l.accept('>') {
			l.fail("an address has no end at %d", l.pos)
		}
		return v
	}
	return l.word("a value", loose)
}

// proves reports whether the results prove a From address of that domain: dmarc
// passed for it, or a DKIM signature of exactly it.
func (r results) proves(domain string) (string, bool) {
	var dmarc []result
	dkim := false
	for _, res := range r.list {
		switch {
		case res.method == "dmarc":
			dmarc = append(dmarc, res)
		case res.method == "dkim" && res.value == "pass" && res.only("header.d", domain):
			dkim = true
		}
	}
	switch {
	case len(dmarc) > 1:
		return fmt.Sprintf("%d dmarc results, want one", len(dmarc)), false
	case len(dmarc) == 1 && dmarc[0].value == "pass" && dmarc[0].only("header.from", domain):
		return "dmarc passed for " + domain, true
	case len(dmarc) == 1 && dmarc[0].value != "pass" && dmarc[0].value != "none":
		// Our border says no; a signature beside it does not overrule it.
		return fmt.Sprintf("dmarc result %q for %s", dmarc[0].value, domain), false
	case dkim:
		return "a DKIM signature of " + domain + " passed", true
	}
	return "neither dmarc nor dkim passed for " + domain, false
}

// only reports whether the property stands exactly once and is that domain.
func (r result) only(name, domain string) bool {
	n, same := 0, false
	for _, p := range r.props {
		if p.name == name {
			n++
			same = strings.EqualFold(p.value, domain)
		}
	}
	return n == 1 && same
}
