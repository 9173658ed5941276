package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"countersign/signing/revocation"
)

// lateAnswer is how long an answer holds that is given after the certificate's end.
const lateAnswer = time.Hour

// An answer is what the CA tells of a certificate, and until when that holds.
type answer struct {
	cert, issuer *x509.Certificate
	now, next    time.Time // whole seconds, UTC
}

// Prove tells that a certificate of this CA is good, in a revocation list and in an OCSP
// response of now (whole seconds). The CA revokes nothing: a one-use key has signed once
// and is gone when this is asked for, and a signature of a lost attempt is in no document.
//
// Both are about this one certificate and hold until it ends, not longer: a validator of
// later years goes back to the last moment of the youngest answer, and pyHanko wants the
// certificate to have been valid then. A list made later for the next signer of
// a document would so end what proves the one before.
//
// There are both because pyHanko heeds an OCSP response only where the certificate names
// a responder, yet finds no list of a CA below the root once the certificate has ended.
// Both also serve after the certificate's end, as the CA keeps what has ended
// (expiredCertsOnCRL, ITU-T X.509 clause 9.5.2.8; archiveCutoff, RFC 6960 clause 4.4.4).
func (c *CA) Prove(ctx context.Context, cert *x509.Certificate, now time.Time) (revocation.Data, error) {
	issuer := c.opts.Key.Chain()[0]
	wrap := func(err error) error {
		return fmt.Errorf("the signing CA %q proves the certificate of %q: %w", issuer.Subject.CommonName, cert.Subject.CommonName, err)
	}
	a := answer{cert: cert, issuer: issuer, now: now.UTC().Truncate(time.Second), next: cert.NotAfter.UTC()}
	if !a.next.After(a.now) {
		a.next = a.now.Add(lateAnswer)
	}
	switch {
	case !c.Issued(cert):
		return revocation.Data{}, wrap(errors.New("it is from another CA"))
	case a.now.Before(issuer.NotBefore) || a.now.After(issuer.NotAfter):
		return revocation.Data{}, wrap(fmt.Errorf("the CA's own certificate is valid from %s to %s; renew it",
			issuer.NotBefore.UTC().Format(time.RFC3339), issuer.NotAfter.UTC().Format(time.RFC3339)))
	case issuer.KeyUsage&x509.KeyUsageCRLSign == 0 || len(issuer.SubjectKeyId) == 0:
		return revocation.Data{}, wrap(errors.New("the CA's own certificate needs the key usage cRLSign and a subject key identifier"))
	}
	list, err := c.crl(ctx, a)
	if err != nil {
		return revocation.Data{}, wrap(err)
	}
	response, err := c.ocsp(ctx, a)
	if err != nil {
		return revocation.Data{}, wrap(err)
	}
	return revocation.Data{CRLs: [][]byte{list}, OCSPs: [][]byte{response}}, nil
}

// Issued says whether the CA's key issued a certificate.
func (c *CA) Issued(cert *x509.Certificate) bool {
	return cert.CheckSignatureFrom(c.opts.Key.Chain()[0]) == nil
}
