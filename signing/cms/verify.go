package cms

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// What [Verify] finds.
var (
	// ErrInvalid: the signature does not prove the content.
	ErrInvalid = errors.New("invalid signature")
	// ErrNoSigningCertificate: all else holds, but no signing-certificate
	// attribute binds the certificate: plain CMS (adbe.pkcs7.detached), not CAdES.
	ErrNoSigningCertificate = errors.New("no signing-certificate attribute")
	// ErrWeak: all else holds, but SHA-1 or a short RSA key was used.
	ErrWeak = errors.New("algorithm too weak")
)

// Verify checks a detached signature over a content with this digest (made
// with p.Hash): exactly one signer, content-type id-data and message-digest
// present once each and equal to the content's, the signing-certificate
// attributes name the certificate used, the signature is right. It trusts no
// certificate: that is the caller's next step.
//
// [ErrNoSigningCertificate] and [ErrWeak] come only (and possibly joined) if
// everything else is right, so a caller who tolerates them may.
func Verify(p Parsed, digest []byte) error {
	if p.Content != nil {
		return fmt.Errorf("verify: the CMS carries its own content, so it is not detached: %w", ErrInvalid)
	}
	return verify(&p, OIDData, digest)
}

// VerifyEncapsulated does the same for a SignedData that carries content of
// this type, as an RFC 3161 token does.
func VerifyEncapsulated(p Parsed, contentType asn1.ObjectIdentifier) error {
	if p.Content == nil || !p.Hash.Available() {
		return fmt.Errorf("verify: the CMS carries no content: %w", ErrInvalid)
	}
	return verify(&p, contentType, sum(p.Hash, p.Content))
}

func verify(p *Parsed, contentType asn1.ObjectIdentifier, digest []byte) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("verify: "+format+": %w", append(args, ErrInvalid)...)
	}
	if p.Signers != 1 {
		return bad("%d signers instead of one", p.Signers)
	}
	if p.Attrs == nil {
		return bad("no signed attributes")
	}
	if !p.ContentType.Equal(contentType) {
		return bad("content of type %v instead of %v", p.ContentType, contentType)
	}
	v, err := onlyValue(p.SignedAttrs, oidContentType)
	if err != nil {
		return bad("content-type: %v", err)
	}
	var said asn1.ObjectIdentifier
	if !v.ReadASN1ObjectIdentifier(&said) || !said.Equal(contentType) {
		return bad("content-type attribute says %v instead of %v", said, contentType)
	}
	if _, err := onlyValue(p.SignedAttrs, oidMessageDigest); err != nil {
		return bad("message-digest: %v", err)
	}
	if len(digest) == 0 || !bytes.Equal(p.MessageDigest, digest) {
		return bad("the content has another digest than the one signed")
	}
	if p.Signer == nil {
		return bad("the signer's certificate is not embedded")
	}
	if err := checkSignature(p.Signer.PublicKey, p, p.Attrs); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	missing := checkSigningCertificate(p.SignedAttrs, p.Signer)
	if missing != nil && !errors.Is(missing, ErrNoSigningCertificate) {
		return fmt.Errorf("verify: %w", missing)
	}
	return errors.Join(missing, checkStrength(p))
}

// onlyValue returns the value of an attribute that must be there exactly once,
// with exactly one value (RFC 5652 clause 11).
func onlyValue(attrs []Attribute, oid asn1.ObjectIdentifier) (cryptobyte.String, error) {
	n := 0
	var value cryptobyte.String
	for _, a := range attrs {
		if !a.Type.Equal(oid) {
			continue
		}
		n++
		if len(a.Values) != 1 {
			return nil, fmt.Errorf("%d values instead of one", len(a.Values))
		}
		value = a.Values[0]
	}
	if n != 1 {
		return nil, fmt.Errorf("present %d times instead of once", n)
	}
	return value, nil
}

func checkStrength(p *Parsed) error {
	if p.Hash == crypto.SHA1 {
		return fmt.Errorf("signed over SHA-1: %w", ErrWeak)
	}
	if k, ok := p.Signer.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < MinRSABits {
		return fmt.Errorf("RSA key of %d bits: %w", k.N.BitLen(), ErrWeak)
	}
	return nil
}

// checkSigningCertificate compares signing-certificate-v2 (RFC 5035) and the
// older signing-certificate (RFC 2634), whichever are there, with the signer.
func checkSigningCertificate(attrs []Attribute, signer *x509.Certificate) error {
	found := 0
	for _, a := range attrs {
		v1, v2 := a.Type.Equal(oidSigningCertificate), a.Type.Equal(oidSigningCertificateV2)
		if !v1 && !v2 {
			continue
		}
		if len(a.Values) != 1 {
			return fmt.Errorf("signing-certificate attribute with %d values: %w", len(a.Values), ErrInvalid)
		}
		if err := checkESSCertID(a.Values[0], signer, v2); err != nil {
			return err
		}
		found++
	}
	if found == 0 {
		return ErrNoSigningCertificate
	}
	return nil
}

// checkESSCertID reads SigningCertificate or SigningCertificateV2; the first
// entry must be the signer's certificate (RFC 5035 clause 3).
func checkESSCertID(der cryptobyte.String, signer *x509.Certificate, v2 bool) error {
	var attr, certs, id, certHash cryptobyte.String
	if !der.ReadASN1(&attr, casn1.SEQUENCE) || !attr.ReadASN1(&certs, casn1.SEQUENCE) || !certs.ReadASN1(&id, casn1.SEQUENCE) {
		return malformed("signing-certificate attribute")
	}
	h := crypto.SHA1
	if v2 {
		h = crypto.SHA256
		if id.PeekASN1Tag(casn1.SEQUENCE) {
			alg, err := readAlgorithm(&id)
			if err != nil {
				return err
			}
			if h, err = HashByOID(alg.oid); err != nil {
				return fmt.Errorf("signing-certificate attribute: %w", err)
			}
		}
	}
	if !id.ReadASN1(&certHash, casn1.OCTET_STRING) {
		return malformed("signing-certificate attribute")
	}
	if !bytes.Equal(certHash, sum(h, signer.Raw)) {
		return fmt.Errorf("signing-certificate attribute names another certificate: %w", ErrInvalid)
	}
	if id.Empty() {
		return nil
	}
	return checkIssuerSerial(id, signer)
}

// checkIssuerSerial compares the optional IssuerSerial: one directoryName [4]
// among the general names must be the issuer.
func checkIssuerSerial(id cryptobyte.String, signer *x509.Certificate) error {
	var seq, names cryptobyte.String
	serial := new(big.Int)
	if !id.ReadASN1(&seq, casn1.SEQUENCE) || !seq.ReadASN1(&names, casn1.SEQUENCE) || !seq.ReadASN1Integer(serial) {
		return malformed("issuerSerial")
	}
	for !names.Empty() {
		var name cryptobyte.String
		var tag casn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return malformed("issuerSerial")
		}
		if tag == explicit(4) && bytes.Equal(name, signer.RawIssuer) && serial.Cmp(signer.SerialNumber) == 0 {
			return nil
		}
	}
	return fmt.Errorf("signing-certificate attribute names another issuer or serial number: %w", ErrInvalid)
}
