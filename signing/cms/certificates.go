package cms

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ParseCertificates returns the certificates of a SignedData that signs nothing, a
// "certs-only" bundle (RFC 5652 clause 5.1, as RFC 5280 clause 4.2.2.1 has it for caIssuers), BER
// or DER. What crypto/x509 cannot read is left out.
func ParseCertificates(der []byte) ([]*x509.Certificate, error) {
	der, err := toDER(der)
	if err != nil {
		return nil, fmt.Errorf("parse certificate bundle: %w", err)
	}
	s := cryptobyte.String(der)
	var info, content, sd, algorithms, encap, certificates cryptobyte.String
	var oid asn1.ObjectIdentifier
	var version int
	if !s.ReadASN1(&info, casn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidSignedData) ||
		!info.ReadASN1(&content, explicit(0)) || !content.ReadASN1(&sd, casn1.SEQUENCE) ||
		!sd.ReadASN1Integer(&version) || !sd.ReadASN1(&algorithms, casn1.SET) || !sd.ReadASN1(&encap, casn1.SEQUENCE) ||
		!sd.ReadOptionalASN1(&certificates, nil, explicit(0)) {
		return nil, fmt.Errorf("parse certificate bundle: %w", malformed("signed data"))
	}
	var p Parsed
	if err := p.certificates(certificates); err != nil {
		return nil, fmt.Errorf("parse certificate bundle: %w", err)
	}
	return p.Certificates, nil
}
