package ca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
)

var (
	oidCRLPoints         = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidIssuingPoint      = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidExpiredCertsOnCRL = asn1.ObjectIdentifier{2, 5, 29, 60}
	oidSerialNumber      = asn1.ObjectIdentifier{2, 5, 4, 5}
)

// crl issues the revocation list of a certificate's own distribution point in DER. It is
// empty.
func (c *CA) crl(ctx context.Context, a answer) ([]byte, error) {
	extensions := []pkix.Extension{{Id: oidExpiredCertsOnCRL}}
	var err error
	if extensions[0].Value, err = asn1.MarshalWithParams(a.issuer.NotBefore.UTC(), "generalized"); err != nil {
		return nil, fmt.Errorf("revocation list: %w", err)
	}
	if c.ownPoints() {
		point, err := pointName(a.issuer, a.cert.SerialNumber)
		if err != nil {
			return nil, fmt.Errorf("revocation list: %w", err)
		}
		scope, err := asn1.Marshal(struct{ Point asn1.RawValue }{point})
		if err != nil {
			return nil, fmt.Errorf("revocation list: %w", err)
		}
		extensions = append(extensions, pkix.Extension{Id: oidIssuingPoint, Critical: true, Value: scope})
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number:     new(big.Int).SetInt64(a.now.UnixNano()), // grows, also over restarts (RFC 5280 clause 5.2.3)
		ThisUpdate: a.now, NextUpdate: a.next, ExtraExtensions: extensions,
	}, a.issuer, signer{ctx, c.opts.Key})
	if err != nil {
		return nil, fmt.Errorf("revocation list: %w", err)
	}
	return der, nil
}

// ownPoints: certificates name distribution points of their own rather than services.
func (c *CA) ownPoints() bool { return len(c.opts.CRLURLs)+len(c.opts.OCSPURLs) == 0 }

// crlPoints is the extension by which a certificate names its distribution point (RFC 5280
// clause 4.2.1.13).
func crlPoints(issuer *x509.Certificate, serial *big.Int) (pkix.Extension, error) {
	point, err := pointName(issuer, serial)
	if err != nil {
		return pkix.Extension{}, err
	}
	value, err := asn1.Marshal([]struct{ Point asn1.RawValue }{{point}})
	return pkix.Extension{Id: oidCRLPoints, Value: value}, err
}

// pointName is the DistributionPointName of a certificate, in its tag: a name below the
// CA's own, with the certificate's serial number. It is no address, as the list is nowhere
// but in the document.
func pointName(issuer *x509.Certificate, serial *big.Int) (asn1.RawValue, error) {
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(issuer.RawSubject, &name); err != nil {
		return asn1.RawValue{}, fmt.Errorf("subject of the CA: %w", err)
	}
	name = append(name, pkix.RelativeDistinguishedNameSET{{Type: oidSerialNumber, Value: serial.Text(16)}})
	wrapped, err := asn1.Marshal(name)
	if err != nil {
		return asn1.RawValue{}, fmt.Errorf("name of the distribution point: %w", err)
	}
	for _, tag := range []int{4, 0, 0} { // directoryName, fullName, distributionPoint
		wrapped, err = asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: true, Bytes: wrapped})
		if err != nil {
			return asn1.RawValue{}, fmt.Errorf("name of the distribution point: %w", err)
		}
	}
	return asn1.RawValue{FullBytes: wrapped}, nil
}
