package revocation

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

func explicit(n uint8) casn1.Tag { return casn1.Tag(n).Constructed().ContextSpecific() }

func implicit(n uint8) casn1.Tag { return casn1.Tag(n).ContextSpecific() }

// An extension as in RFC 5280 clause 4.1.
type extension struct {
	oid      asn1.ObjectIdentifier
	critical bool
	value    cryptobyte.String
}

// extensions reads a SEQUENCE OF Extension, calling each in turn.
func extensions(list cryptobyte.String, each func(extension) error) error {
	var seen []asn1.ObjectIdentifier
	for !list.Empty() {
		var seq cryptobyte.String
		var e extension
		if !list.ReadASN1(&seq, casn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&e.oid) {
			return malformed("extension")
		}
		if seq.PeekASN1Tag(casn1.BOOLEAN) && !seq.ReadASN1Boolean(&e.critical) ||
			!seq.ReadASN1(&e.value, casn1.OCTET_STRING) || !seq.Empty() {
			return malformed("extension")
		}
		for _, s := range seen { // RFC 5280 clause 4.2: no more than one of a kind
			if s.Equal(e.oid) {
				return fmt.Errorf("extension %v twice: %w", e.oid, ErrInvalid)
			}
		}
		if seen = append(seen, e.oid); len(seen) > maxExtensions {
			return fmt.Errorf("more than %d extensions: %w", maxExtensions, ErrInvalid)
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

const maxExtensions = 32

// unknown refuses an extension that is not known if it is critical.
func (e extension) unknown() error {
	if e.critical {
		return fmt.Errorf("critical extension %v is not known: %w", e.oid, ErrInvalid)
	}
	return nil
}

// generalized reads an extension whose value is a GeneralizedTime.
func (e extension) generalized(t *time.Time) error {
	if !e.value.ReadASN1GeneralizedTime(t) || !e.value.Empty() {
		return malformed(fmt.Sprintf("extension %v", e.oid))
	}
	return nil
}

// readTime reads a Time, UTCTime or GeneralizedTime (RFC 5280 clause 4.1.2.5).
func readTime(s *cryptobyte.String, t *time.Time) bool {
	if s.PeekASN1Tag(casn1.UTCTime) {
		return s.ReadASN1UTCTime(t)
	}
	return s.ReadASN1GeneralizedTime(t)
}

// A signed is tbs, algorithm and signature: the shape of responses and lists.
type signed struct {
	tbs, algorithm, signature []byte // tbs and algorithm with their headers
}

func readSigned(s *cryptobyte.String) (signed, bool) {
	var tbs, algorithm cryptobyte.String
	var out signed
	ok := s.ReadASN1Element(&tbs, casn1.SEQUENCE) && s.ReadASN1Element(&algorithm, casn1.SEQUENCE) &&
		s.ReadASN1BitStringAsBytes(&out.signature)
	out.tbs, out.algorithm = tbs, algorithm
	return out, ok
}

// readCertificates reads a SEQUENCE OF Certificate.
func readCertificates(list cryptobyte.String) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for !list.Empty() {
		var der cryptobyte.String
		if !list.ReadASN1Element(&der, casn1.SEQUENCE) || len(out) == maxCertificates {
			return nil, malformed("certificates of the responder")
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate of the responder: %w: %w", ErrInvalid, err)
		}
		out = append(out, c)
	}
	return out, nil
}

const maxCertificates = 8
