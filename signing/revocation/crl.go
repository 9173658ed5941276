package revocation

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"time"

	"countersign/signing/cms"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// MaxCRL is the size of the largest revocation list that is read, in bytes.
const MaxCRL = 64 << 20

var (
	oidKeyID       = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidCRLNumber   = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidDelta       = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidScope       = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidPoints      = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidCertIssuer  = asn1.ObjectIdentifier{2, 5, 29, 29}
	oidExpiredOnIt = asn1.ObjectIdentifier{2, 5, 29, 60}
)

// A list is a CertificateList as read (RFC 5280 clause 5.1), without its entries.
type list struct {
	signed
	issuer     []byte // DER Name
	this, next time.Time
	entries    cryptobyte.String
	keyID      []byte // of the authority key identifier; nil if none
	keeps      time.Time
	scope      scope
}

// A scope is the issuingDistributionPoint (clause 5.2.5).
type scope struct {
	users, cas, attributes, indirect, reasons bool

	named bool     // a distribution point is given …
	names [][]byte // … by these names, each a GeneralName in DER
}

// CheckCRL returns what a revocation list proves about a use, or why it proves nothing:
// see the errors of this package. The list must be complete and direct: delta lists,
// indirect lists and lists for some reasons only are refused with [ErrScope]. It is read
// in one pass, in memory that does not grow with the list.
func CheckCRL(der []byte, u Use) (Answer, error) {
	if err := u.check(); err != nil {
		return Answer{}, err
	}
	l, err := readList(der)
	if err == nil {
		err = l.check(u)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("revocation list: %w", err)
	}
	return Answer{ThisUpdate: l.this, NextUpdate: l.next}, nil
}

func (l *list) check(u Use) error {
	if !bytes.Equal(l.issuer, u.Issuer.RawSubject) {
		return fmt.Errorf("it is not of %q: %w", u.Issuer.Subject, ErrScope)
	}
	if len(l.keyID) > 0 && len(u.Issuer.SubjectKeyId) > 0 && !bytes.Equal(l.keyID, u.Issuer.SubjectKeyId) {
		return fmt.Errorf("signed with another key of %q: %w", u.Issuer.Subject, ErrScope)
	}
	if u.Issuer.KeyUsage != 0 && u.Issuer.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return fmt.Errorf("the key usage of %q does not allow revocation lists: %w", u.Issuer.Subject, ErrInvalid)
	}
	if err := cms.VerifySignature(u.Issuer.PublicKey, l.algorithm, l.tbs, l.signature); err != nil {
		return fmt.Errorf("signature of %q: %w: %w", u.Issuer.Subject, ErrInvalid, err)
	}
	if err := l.scope.check(u.Cert); err != nil {
		return err
	}
	revoked, err := l.find(u.Cert.SerialNumber)
	if err != nil {
		return err
	}
	return u.judge(status{this: l.this, next: l.next, keeps: l.keeps, revoked: revoked})
}

// check compares the scope with the certificate (clause 6.3.3, steps b and c).
func (s scope) check(c *x509.Certificate) error {
	no := func(what string) error { return fmt.Errorf("%s: %w", what, ErrScope) }
	ca := c.BasicConstraintsValid && c.IsCA
	switch {
	case s.indirect:
		return no("an indirect list")
	case s.reasons:
		return no("only for some reasons of revocation")
	case s.attributes:
		return no("only for attribute certificates")
	case s.users && ca:
		return no("only for certificates of end users, and this one is a CA's")
	case s.cas && !ca:
		return no("only for certificates of CAs, and this one is not")
	case s.named && !slices.ContainsFunc(pointNames(c), s.has):
		return no("for another distribution point than those that the certificate names")
	}
	return nil
}

// readList reads a CertificateList but for its entries, which [list.find] reads.
func readList(der []byte) (*list, error) {
	if len(der) > MaxCRL {
		return nil, fmt.Errorf("%d bytes, more than %d: %w", len(der), MaxCRL, ErrInvalid)
	}
	var l list
	var outer, tbs, algorithm, issuer, exts, all cryptobyte.String
	var ok, present bool
	s := cryptobyte.String(der)
	if !s.ReadASN1(&outer, casn1.SEQUENCE) || !s.Empty() {
		return nil, malformed("list")
	}
	if l.signed, ok = readSigned(&outer); !ok || !outer.Empty() {
		return nil, malformed("list")
	}
	version := 0
	whole := cryptobyte.String(l.tbs)
	if !whole.ReadASN1(&tbs, casn1.SEQUENCE) ||
		tbs.PeekASN1Tag(casn1.INTEGER) && (!tbs.ReadASN1Integer(&version) || version != 1) || // v2, or v1 by its absence
		!tbs.ReadASN1Element(&algorithm, casn1.SEQUENCE) || !bytes.Equal(algorithm, l.algorithm) || // clause 5.1.2.2
		!tbs.ReadASN1Element(&issuer, casn1.SEQUENCE) {
		return nil, malformed("head of the list")
	}
	if l.issuer = issuer; !readTime(&tbs, &l.this) || !readTime(&tbs, &l.next) { // clause 5.1.2.5: nextUpdate must be there
		return nil, malformed("thisUpdate and nextUpdate")
	}
	if tbs.PeekASN1Tag(casn1.SEQUENCE) && !tbs.ReadASN1(&l.entries, casn1.SEQUENCE) {
		return nil, malformed("entries")
	}
	if !tbs.ReadOptionalASN1(&exts, &present, explicit(0)) || !tbs.Empty() ||
		present && (version == 0 || !exts.ReadASN1(&all, casn1.SEQUENCE) || !exts.Empty()) {
		return nil, malformed("list extensions")
	}
	return &l, extensions(all, l.readExtension)
}

func (l *list) readExtension(e extension) error {
	switch {
	case e.oid.Equal(oidKeyID):
		var seq, id cryptobyte.String
		var present bool
		if !e.value.ReadASN1(&seq, casn1.SEQUENCE) || !e.value.Empty() || !seq.ReadOptionalASN1(&id, &present, implicit(0)) {
			return malformed("authority key identifier")
		}
		l.keyID = id
		return nil
	case e.oid.Equal(oidCRLNumber):
		number := new(big.Int)
		if !e.value.ReadASN1Integer(number) || !e.value.Empty() || number.Sign() < 0 {
			return malformed("list number")
		}
		return nil
	case e.oid.Equal(oidDelta):
		return fmt.Errorf("a delta list: %w", ErrScope)
	case e.oid.Equal(oidScope):
		return l.scope.read(e.value)
	case e.oid.Equal(oidExpiredOnIt):
		return e.generalized(&l.keeps)
	}
	return e.unknown()
}

// read takes an IssuingDistributionPoint.
func (s *scope) read(value cryptobyte.String) error {
	var seq, point, reasons cryptobyte.String
	if !value.ReadASN1(&seq, casn1.SEQUENCE) || !value.Empty() ||
		!seq.ReadOptionalASN1(&point, &s.named, explicit(0)) ||
		!readFlag(&seq, 1, &s.users) || !readFlag(&seq, 2, &s.cas) ||
		!seq.ReadOptionalASN1(&reasons, &s.reasons, implicit(3)) ||
		!readFlag(&seq, 4, &s.indirect) || !readFlag(&seq, 5, &s.attributes) || !seq.Empty() {
		return malformed("issuing distribution point")
	}
	if !s.named {
		return nil
	}
	var names cryptobyte.String
	if !point.PeekASN1Tag(explicit(0)) { // nameRelativeToCRLIssuer: matches nothing that we could fetch
		return nil
	}
	if !point.ReadASN1(&names, explicit(0)) || !point.Empty() {
		return malformed("name of the distribution point")
	}
	for !names.Empty() {
		var name cryptobyte.String
		if !names.ReadAnyASN1Element(&name, new(casn1.Tag)) {
			return malformed("name of the distribution point")
		}
		if len(s.names) < 16 {
			s.names = append(s.names, name)
		}
	}
	return nil
}

func (s scope) has(name []byte) bool {
	return slices.ContainsFunc(s.names, func(n []byte) bool { return bytes.Equal(n, name) })
}

// pointNames are the full names of a certificate's distribution points (RFC 5280 clause
// 4.2.1.13), each a GeneralName in DER. crypto/x509 knows those that are URLs only.
func pointNames(c *x509.Certificate) (all [][]byte) {
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidPoints) {
			continue
		}
		value := cryptobyte.String(e.Value)
		var points, point, name, names, element cryptobyte.String
		var has bool
		if !value.ReadASN1(&points, casn1.SEQUENCE) {
			return nil
		}
		for points.ReadASN1(&point, casn1.SEQUENCE) {
			if !point.ReadOptionalASN1(&name, &has, explicit(0)) || !has || !name.ReadASN1(&names, explicit(0)) {
				continue
			}
			for names.ReadAnyASN1Element(&element, new(casn1.Tag)) {
				all = append(all, element)
			}
		}
	}
	return all
}

// readFlag reads an implicitly tagged BOOLEAN DEFAULT FALSE.
func readFlag(s *cryptobyte.String, n uint8, to *bool) bool {
	var v cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&v, &present, implicit(n)) || present && len(v) != 1 {
		return false
	}
	*to = present && v[0] != 0
	return true
}

// find reads all entries and returns the one with the serial number, nil if there is
// none. A critical extension that is not known, in any entry, makes the list
// unusable (clause 5.3).
func (l *list) find(serial *big.Int) (*RevokedError, error) {
	want := serial.Bytes()
	var found *RevokedError
	for entries := l.entries; !entries.Empty(); {
		var entry, number, date, exts cryptobyte.String
		if !entries.ReadASN1(&entry, casn1.SEQUENCE) || !entry.ReadASN1(&number, casn1.INTEGER) || !entry.ReadAnyASN1Element(&date, nil) ||
			!entry.Empty() && (!entry.ReadASN1(&exts, casn1.SEQUENCE) || !entry.Empty()) {
			return nil, malformed("entry")
		}
		here := bytes.Equal(bytes.TrimLeft(number, "\x00"), want)
		if !here && harmless(exts) {
			continue
		}
		r := &RevokedError{}
		if !readTime(&date, &r.At) {
			return nil, malformed("revocation date")
		}
		if err := extensions(exts, r.readExtension); err != nil {
			return nil, err
		}
		if here && (found == nil || r.At.Before(found.At)) {
			found = r
		}
	}
	return found, nil
}

// harmless says, without allocating, whether extensions are well-formed and none is
// critical. Nearly all entries of a list are of other certificates, and have but a reason.
func harmless(list cryptobyte.String) bool {
	for !list.Empty() {
		var seq cryptobyte.String
		if !list.ReadASN1(&seq, casn1.SEQUENCE) || !seq.SkipASN1(casn1.OBJECT_IDENTIFIER) ||
			!seq.SkipASN1(casn1.OCTET_STRING) || !seq.Empty() { // a BOOLEAN in between: perhaps critical
			return false
		}
	}
	return true
}

func (e *RevokedError) readExtension(x extension) error {
	switch {
	case x.oid.Equal(oidReason):
		if !x.value.ReadASN1Enum(&e.Reason) || !x.value.Empty() {
			return malformed("reason of revocation")
		}
		return nil
	case x.oid.Equal(oidInvalidity):
		return x.generalized(&e.Invalid)
	case x.oid.Equal(oidCertIssuer):
		return fmt.Errorf("an indirect list: %w", ErrScope)
	}
	return x.unknown()
}
