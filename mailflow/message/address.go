package message

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"countersign/mailflow"
)

// addressParser is net/mail's, with our character sets.
var addressParser = mail.AddressParser{WordDecoder: &mime.WordDecoder{
	CharsetReader: func(charset string, in io.Reader) (io.Reader, error) {
		b, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		text, _ := toUTF8(charset, b)
		return strings.NewReader(text), nil
	},
}}

// addresses returns the addresses in all fields of that name. A list that cannot
// be read as a whole is read piece by piece.
func (m *Message) addresses(name string) []mailflow.Address {
	var as []mailflow.Address
	for _, f := range m.All(name) {
		v := validUTF8(unfold(f.Raw))
		if len(v) > maxAddresses {
			m.problem("%s: too long to be read", name)
			continue
		}
		list, err := addressParser.ParseList(v)
		if err != nil && v != "" {
			m.problem("%s: %v", name, err)
			list = nil
			for piece := range strings.SplitSeq(v, ",") {
				if a, err := addressParser.Parse(piece); err == nil {
					list = append(list, a)
				}
			}
		}
		for _, a := range list {
			as = append(as, mailflow.Address{Name: cleanName(a.Name), Addr: foldDomain(a.Address)})
		}
	}
	return as
}

// checkFrom tells why the mail does not have exactly one sender.
func (m *Message) checkFrom() error {
	fs := m.All("From")
	if len(fs) != 1 {
		return fmt.Errorf("the mail has %d From fields, want one", len(fs))
	}
	list, err := addressParser.ParseList(validUTF8(unfold(fs[0].Raw)))
	switch {
	case err != nil:
		return fmt.Errorf("the From field cannot be read: %w", err)
	case len(list) != 1 || len(m.From) != 1:
		return fmt.Errorf("the From field has %d addresses, want one", len(list))
	}
	_, err = ParseAddr(list[0].Address)
	return err
}

// cleanName makes a display name fit for one line of text.
func cleanName(s string) string {
	return clean(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s))
}

// foldDomain gives the domain of an addr-spec in lower case and in ASCII (RFC
// 5891); an address whose domain cannot be is left alone.
func foldDomain(addr string) string {
	i := strings.LastIndexByte(addr, '@')
	domain := strings.ToLower(addr[i+1:])
	if !isASCII([]byte(domain)) {
		if a, err := idna.Lookup.ToASCII(domain); err == nil {
			domain = a
		}
	}
	return addr[:i+1] + domain
}

// ParseAddr checks one bare addr-spec and returns it with its domain in lower case
// and ASCII. It accepts what people have: a dot-atom of at most 64 bytes (RFC 5322,
// 3.2.3; RFC 6532 allows letters of other scripts), "@", and a domain name with a
// dot or of one label. Quoted local parts and address literals are refused.
func ParseAddr(s string) (string, error) {
	i := strings.LastIndexByte(s, '@')
	if i < 1 {
		return "", fmt.Errorf("%q is no mail address", cut(s, 100))
	}
	local, domain := s[:i], foldDomain(s)[i+1:]
	if len(local) > 64 || len(domain) > 253 {
		return "", fmt.Errorf("%q is too long for a mail address", cut(s, 100))
	}
	if !dotAtom(local) {
		return "", fmt.Errorf("%q is no mail address that can be used here: the part before the @ may hold letters, digits, dots and simple signs", cut(s, 100))
	}
	for label := range strings.SplitSeq(domain, ".") {
		if !domainLabel(label) {
			return "", fmt.Errorf("%q is no mail address: %q is no domain", cut(s, 100), cut(domain, 100))
		}
	}
	return local + "@" + domain, nil
}

// dotAtom also refuses characters that Unicode holds for variants of others, such
// as the Kelvin sign: case folding would make them a K.
func dotAtom(s string) bool {
	if !utf8.ValidString(s) || !norm.NFKC.IsNormalString(s) || strings.Contains(s, "..") || s[0] == '.' || s[len(s)-1] == '.' {
		return false
	}
	for _, r := range s {
		switch {
		case r >= utf8.RuneSelf:
			if !unicode.In(r, unicode.L, unicode.M, unicode.N) {
				return false
			}
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case !strings.ContainsRune(".!#$%&'*+-/=?^_`{|}~", r):
			return false
		}
	}
	return true
}

func domainLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// ErrNoAddress says that a text holds no mail address.
var ErrNoAddress = errors.New("there is no mail address in it")

// ParseMailbox reads "Name <addr>" or a bare address as people type it: the name
// needs no quotes.
func ParseMailbox(s string) (mailflow.Address, error) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "@") {
		return mailflow.Address{}, fmt.Errorf("%q: %w", cut(s, 100), ErrNoAddress)
	}
	name := ""
	if before, after, ok := strings.Cut(s, "<"); ok {
		rest, ok := strings.CutSuffix(after, ">")
		if !ok {
			return mailflow.Address{}, fmt.Errorf("%q: the address must end in >", cut(s, 100))
		}
		name, s = strings.Trim(strings.TrimSpace(before), `"'`), strings.TrimSpace(rest)
	}
	addr, err := ParseAddr(s)
	if err != nil {
		return mailflow.Address{}, err
	}
	return mailflow.Address{Name: norm.NFC.String(cleanName(name)), Addr: addr}, nil
}

// bareAddr takes one address, with or without angle brackets, from a field that a
// mail server wrote, or returns "".
func bareAddr(v string) string {
	v = strings.TrimSpace(v)
	if i := strings.LastIndexByte(v, '<'); i >= 0 && strings.HasSuffix(v, ">") {
		v = v[i+1 : len(v)-1]
	}
	if a, err := ParseAddr(v); err == nil {
		return a
	}
	return ""
}
