package demopki

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

var (
	oidDeltaCRL       = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIssuingPoint   = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidExpiredOnCRL   = asn1.ObjectIdentifier{2, 5, 29, 60}
	indirectScope     = []byte{0x30, 3, 0x84, 1, 0xff}
	attributeScope    = []byte{0x30, 3, 0x85, 1, 0xff}
	elsewhereURL      = "http://elsewhere.example/other.crl"
	lifeOfList        = 7 * 24 * time.Hour
	keyCompromiseCode = 1
)

// CRLs returns the DER revocation lists of the root and of the signing CA. They
// list nothing, are dated now and last a week.
func (p *PKI) CRLs(now time.Time) ([][]byte, error) {
	var out [][]byte
	s := p.Server(func() time.Time { return now })
	for _, issuer := range []*Identity{p.Root, p.CA} {
		der, err := s.list(issuer, Honest)
		if err != nil {
			return nil, err
		}
		out = append(out, der)
	}
	return out, nil
}

// list makes the revocation list of a CA. It keeps what has ended (expiredCertsOnCRL).
func (s *Server) list(issuer *Identity, mode Mode) ([]byte, error) {
	now := s.clock().UTC().Truncate(time.Second)
	t := &x509.RevocationList{Number: big.NewInt(now.Unix()), ThisUpdate: now, NextUpdate: now.Add(lifeOfList)}
	keeps, err := asn1.MarshalWithParams(issuer.certificate().NotBefore.UTC(), "generalized")
	if err != nil {
		return nil, fmt.Errorf("demo CRL: %w", err)
	}
	extra := func(oid asn1.ObjectIdentifier, critical bool, value []byte) {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oid, Critical: critical, Value: value})
	}
	extra(oidExpiredOnCRL, false, keeps)
	t.RevokedCertificateEntries = s.entries(mode)
	switch mode {
	case Stale:
		t.ThisUpdate, t.NextUpdate = now.Add(-2*lifeOfList), now.Add(-lifeOfList)
	case Old:
		t.ThisUpdate = now.Add(-24 * time.Hour)
	case Future:
		t.ThisUpdate = now.Add(24 * time.Hour)
	case CriticalExt:
		extra(oidNobodyKnows, true, derNull)
	case Delta:
		extra(oidDeltaCRL, true, []byte{2, 1, 1})
	case Indirect:
		extra(oidIssuingPoint, true, indirectScope)
	case OtherScope:
		extra(oidIssuingPoint, true, attributeScope)
	case OtherPoint:
		point, err := pointScope(elsewhereURL)
		if err != nil {
			return nil, err
		}
		extra(oidIssuingPoint, true, point)
	case WrongIssuer:
		if issuer == s.pki.CA {
			issuer = s.pki.Root
		} else {
			issuer = s.pki.CA
		}
	case Namesake:
		twin, err := s.pki.twin(now)
		if err != nil {
			return nil, err
		}
		if issuer == s.pki.CA {
			issuer = twin.CA
		} else {
			issuer = twin.Root
		}
	}
	der, err := x509.CreateRevocationList(rand.Reader, t, issuer.certificate(), issuer.key)
	if err != nil {
		return nil, fmt.Errorf("demo CRL of %s: %w", issuer.certificate().Subject.CommonName, err)
	}
	if mode == BadSignature {
		der[len(der)-1] ^= 1
	}
	return der, nil
}

// entries are the certificates revoked so far, of both CAs: their numbers are random. In mode
// Revoked everything is.
func (s *Server) entries(mode Mode) []x509.RevocationListEntry {
	var out []x509.RevocationListEntry
	if mode == Revoked {
		for _, id := range []*Identity{s.pki.Seal, s.pki.CA, s.pki.Timestamps} {
			out = append(out, x509.RevocationListEntry{
				SerialNumber: id.certificate().SerialNumber, RevocationTime: s.clock().Add(-time.Hour), ReasonCode: keyCompromiseCode,
			})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for number, r := range s.revoked {
		n, _ := new(big.Int).SetString(number, 10)
		out = append(out, x509.RevocationListEntry{SerialNumber: n, RevocationTime: r.at, ReasonCode: r.reason})
	}
	return out
}

// pointScope is an IssuingDistributionPoint with one URL.
func pointScope(url string) ([]byte, error) {
	name := asn1.RawValue{Class: 2, Tag: 6, Bytes: []byte(url)}
	full, err := asn1.MarshalWithParams([]asn1.RawValue{name}, "tag:0")
	if err != nil {
		return nil, fmt.Errorf("demo CRL: %w", err)
	}
	return asn1.Marshal(struct{ Point asn1.RawValue }{asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: full}})
}
