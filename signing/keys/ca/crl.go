package ca

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// ListLifetime is how long a revocation list of the CA holds.
const ListLifetime = 7 * 24 * time.Hour

var oidExpiredCertsOnCRL = asn1.ObjectIdentifier{2, 5, 29, 60}

// A Voided is a signer certificate that must not be believed any more, for example one of
// a lost attempt.
type Voided struct {
	Serial *big.Int
	At     time.Time
	Reason int // CRLReason (RFC 5280 clause 5.3.1); 0: unspecified
}

// CRL issues the CA's revocation list in DER, dated now (whole seconds) and good for
// [ListLifetime]. It lists voided, which must hold all certificates voided since the CA
// began: the list says that it keeps those that have ended (expiredCertsOnCRL, ITU-T
// X.509 clause 9.5.2.8), so it proves one-use certificates also after their day.
func (c *CA) CRL(ctx context.Context, now time.Time, voided []Voided) ([]byte, error) {
	issuer := c.opts.Key.Chain()[0]
	wrap := func(err error) error { return fmt.Errorf("revocation list of %q: %w", issuer.Subject.CommonName, err) }
	now = now.UTC().Truncate(time.Second)
	if now.Before(issuer.NotBefore) || now.After(issuer.NotAfter) {
		return nil, wrap(fmt.Errorf("the CA's own certificate is valid from %s to %s; renew it",
			issuer.NotBefore.UTC().Format(time.RFC3339), issuer.NotAfter.UTC().Format(time.RFC3339)))
	}
	if issuer.KeyUsage&x509.KeyUsageCRLSign == 0 || len(issuer.SubjectKeyId) == 0 {
		return nil, wrap(errors.New("its certificate needs the key usage cRLSign and a subject key identifier"))
	}
	since, err := asn1.MarshalWithParams(issuer.NotBefore.UTC(), "generalized")
	if err != nil {
		return nil, wrap(err)
	}
	list := &x509.RevocationList{
		Number:     new(big.Int).SetInt64(now.UnixNano()), // grows, also over restarts (clause 5.2.3)
		ThisUpdate: now, NextUpdate: now.Add(ListLifetime),
		ExtraExtensions: []pkix.Extension{{Id: oidExpiredCertsOnCRL, Value: since}},
	}
	for _, v := range voided {
		if v.Serial == nil || v.Serial.Sign() <= 0 || v.At.After(now) {
			return nil, wrap(fmt.Errorf("voided certificate %v at %s: give a serial number and a time that is not ahead", v.Serial, v.At))
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: v.Serial, RevocationTime: v.At.UTC(), ReasonCode: v.Reason})
	}
	slices.SortFunc(list.RevokedCertificateEntries, func(a, b x509.RevocationListEntry) int {
		return cmp.Or(a.SerialNumber.Cmp(b.SerialNumber), a.RevocationTime.Compare(b.RevocationTime))
	})
	der, err := x509.CreateRevocationList(rand.Reader, list, issuer, signer{ctx, c.opts.Key})
	if err != nil {
		return nil, wrap(err)
	}
	return der, nil
}

// Issued says whether the CA's key issued a certificate.
func (c *CA) Issued(cert *x509.Certificate) bool {
	return cert.CheckSignatureFrom(c.opts.Key.Chain()[0]) == nil
}
