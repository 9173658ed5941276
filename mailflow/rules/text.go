package rules

import (
	"errors"
	"fmt"
	"net/mail"
	"strconv"
	"strings"
	"time"
	"unicode"

	"countersign/mailflow"
)

// A Duration is a span of time, written with d, h, m and s: "30d", "1d12h", "45m".
type Duration time.Duration

const (
	minute = Duration(time.Minute)
	hour   = Duration(time.Hour)
	day    = 24 * hour
)

// UnmarshalText reads a duration; it must be longer than 0 and at most ten years.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	var total time.Duration
	if days, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 12)
		if err != nil {
			return fmt.Errorf("%q is not a duration; write for example 30d, 12h or 45m", s)
		}
		total, s = time.Duration(n)*time.Duration(day), rest
	}
	if s != "" {
		t, err := time.ParseDuration(s)
		if err != nil || t < 0 {
			return fmt.Errorf("%q is not a duration; write for example 30d, 12h or 45m", b)
		}
		total += t
	}
	if total <= 0 || total > 3650*time.Duration(day) {
		return fmt.Errorf("%q must be longer than 0 and at most 3650d", b)
	}
	*d = Duration(total)
	return nil
}

// String writes a duration as it is written in the configuration.
func (d Duration) String() string {
	days := d / day
	rest := time.Duration(d % day)
	var b strings.Builder
	if days > 0 {
		b.WriteString(strconv.Itoa(int(days)) + "d")
	}
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := rest / u.unit; n > 0 {
			b.WriteString(strconv.Itoa(int(n)) + u.name)
			rest %= u.unit
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// The values of [People.From].
const (
	FromCc    = "cc"
	FromDraft = "draft"
)

// People are those in a role: a fixed list, or where they come from.
type People struct {
	From string // "", FromCc or FromDraft
	List []Person
}

func (p People) none() bool { return p.From == "" && len(p.List) == 0 }

// UnmarshalText takes the words "cc" and "draft".
func (p *People) UnmarshalText(b []byte) error {
	switch s := string(b); s {
	case FromCc, FromDraft:
		p.From = s
		return nil
	default:
		return fmt.Errorf("%q is neither a list nor one of the words cc and draft; write for example [\"Ann Able <ann@acme.example>\"]", s)
	}
}

// Elements returns where the items of a list go.
func (p *People) Elements() any { return &p.List }

// A Person is one fixed party of a rule: "Name <addr>", or the mapping
// {address: "Name <addr>", order: 2}.
type Person struct {
	Address Address `yaml:"address" need:"give for example \"Ann Able <ann@acme.example>\"" doc:"Name and address."`
	// Order is 0 if the rule does not give it.
	Order int `yaml:"order" min:"1" max:"99" doc:"Place in the signing order; equal numbers are asked together."`
}

// UnmarshalText takes the short form.
func (p *Person) UnmarshalText(b []byte) error { return p.Address.UnmarshalText(b) }

// An Address is a [mailflow.Address] that reads itself from text.
type Address mailflow.Address

// UnmarshalText takes "ann@acme.example" and "Ann Able <ann@acme.example>".
func (a *Address) UnmarshalText(b []byte) error {
	m, err := mail.ParseAddress(string(b))
	if err != nil {
		return fmt.Errorf("%q is not an address; write for example \"Ann Able <ann@acme.example>\"", b)
	}
	got := mailflow.Address{Name: m.Name, Addr: m.Address}
	if err := usable(got); err != nil {
		return fmt.Errorf("%q: %w", b, err)
	}
	*a = Address(got)
	return nil
}

// usable reports why mail cannot be sent to an address: the local part must be
// ASCII (SMTPUTF8, RFC 6531, is not spoken by many relays), the domain in its ASCII
// form, and nothing may hide in the name.
func usable(a mailflow.Address) error {
	local, domain, ok := cutAddr(a.Addr)
	if !ok || local == "" || domain == "" || strings.Contains(local, "@") || len(a.Addr) > 254 {
		return errors.New("not a mail address")
	}
	for _, r := range a.Addr {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`<>()[],;:\"`, r) {
			return fmt.Errorf("the character %q is not supported in addresses", r)
		}
	}
	if strings.ContainsFunc(a.Name, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
		return errors.New("the name holds control characters")
	}
	return nil
}

// cutAddr splits an addr-spec at its last @.
func cutAddr(addr string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(addr, '@')
	if i < 0 {
		return "", "", false
	}
	return addr[:i], addr[i+1:], true
}

// A Pattern stands for addresses: one ("ann@acme.example"), all of a domain
// ("@acme.example", without its subdomains), or all ("*").
type Pattern string

// UnmarshalText reads a pattern.
func (p *Pattern) UnmarshalText(b []byte) error {
	s := string(b)
	if s == "*" {
		*p = "*"
		return nil
	}
	full := s
	if strings.HasPrefix(s, "@") {
		full = "x" + s
	}
	if usable(mailflow.Address{Addr: full}) != nil || strings.Contains(s, "*") {
		return fmt.Errorf("%q is no address pattern; write ann@acme.example, \"@acme.example\" or \"*\"", s)
	}
	*p = Pattern(s)
	return nil
}

// Matches reports whether the pattern stands for the address.
func (p Pattern) Matches(addr string) bool {
	switch {
	case p == "*":
		return addr != ""
	case strings.HasPrefix(string(p), "@"):
		_, domain, ok := cutAddr(addr)
		return ok && strings.EqualFold(domain, string(p[1:]))
	}
	return mailflow.SameAddr(string(p), addr)
}

func anyMatches(ps []Pattern, addr string) bool {
	for _, p := range ps {
		if p.Matches(addr) {
			return true
		}
	}
	return false
}

// listed writes patterns for people.
func listed(ps []Pattern) string {
	var out []string
	for _, p := range ps {
		out = append(out, string(p))
	}
	return strings.Join(out, ", ")
}

// samePerson reports whether two addresses may be one person's: equal, once what
// stands behind a plus sign is left away. It serves only to refuse: ann+x@ may not
// approve for ann@.
func samePerson(a, b string) bool { return mailflow.SameAddr(withoutTag(a), withoutTag(b)) }

func withoutTag(addr string) string {
	local, domain, ok := cutAddr(addr)
	if !ok {
		return addr
	}
	local, _, _ = strings.Cut(local, "+")
	return local + "@" + domain
}
