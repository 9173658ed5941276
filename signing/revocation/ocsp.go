package revocation

import (
	"bytes"
	"crypto"
	"crypto/sha1" // names issuers in requests, RFC 6960 clause 4.1.1; collisions gain nothing
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"countersign/signing/cms"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// MaxOCSP is the size of the largest OCSP response that is read, in bytes.
const MaxOCSP = 64 << 10

const maxSingles = 64 // answers in one response

var (
	oidBasic       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidNonce       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidCRLRef      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 3}
	oidNoCheck     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	oidCutoff      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 6}
	oidExtended    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 9}
	oidSHA1        = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidReason      = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidInvalidity  = asn1.ObjectIdentifier{2, 5, 29, 24}
	responseErrors = map[int]string{1: "malformedRequest", 2: "internalError", 3: "tryLater", 5: "sigRequired", 6: "unauthorized"}
)

// An ocspResponse is a BasicOCSPResponse as read (RFC 6960 clause 4.2.1).
type ocspResponse struct {
	signed
	name, keyHash []byte // ResponderID: one of them
	produced      time.Time
	singles       []single
	nonce         []byte
	certs         []*x509.Certificate
}

// A single is a SingleResponse.
type single struct {
	hash              crypto.Hash
	nameHash, keyHash []byte
	serial            *big.Int
	unknown           bool
	status
}

// CheckOCSP returns what an OCSP response proves about a use, or why it proves nothing:
// see the errors of this package. It checks everything that RFC 6960 clauses 3.2 and
// 4.2.2 ask of a client; the answer must be from after the use, see [Use].
func CheckOCSP(der []byte, u Use) (Answer, error) {
	if err := u.check(); err != nil {
		return Answer{}, err
	}
	r, err := readOCSP(der)
	if err != nil {
		return Answer{}, fmt.Errorf("OCSP response: %w", err)
	}
	a, err := r.check(u)
	if err != nil {
		return Answer{}, fmt.Errorf("OCSP response: %w", err)
	}
	return a, nil
}

func (r *ocspResponse) check(u Use) (Answer, error) {
	s, err := r.about(u)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{ThisUpdate: s.this, NextUpdate: s.next, ProducedAt: r.produced}
	if a.Responder, err = r.responder(u.Issuer); err != nil {
		return Answer{}, err
	}
	a.NoCheck = a.Responder != nil && hasExtension(a.Responder, oidNoCheck)
	switch {
	case u.Nonce != nil && r.nonce != nil && !bytes.Equal(u.Nonce, r.nonce):
		return Answer{}, fmt.Errorf("another nonce than the one sent, perhaps an old answer: %w", ErrInvalid)
	case r.produced.After(u.Now.Add(Tolerance)):
		return Answer{}, fmt.Errorf("produced at %s, now is %s; check both clocks: %w", stamp(r.produced), stamp(u.Now), ErrStale)
	case s.this.After(r.produced.Add(Tolerance)):
		return Answer{}, fmt.Errorf("produced at %s with news from %s: %w", stamp(r.produced), stamp(s.this), ErrInvalid)
	case s.unknown:
		return Answer{}, fmt.Errorf("status unknown for serial number %x: %w", u.Cert.SerialNumber, ErrUnknown)
	}
	return a, u.judge(s.status)
}

// about finds the one answer about the certificate. Issuer name, issuer key and serial
// number must all agree.
func (r *ocspResponse) about(u Use) (*single, error) {
	point, err := publicKeyBits(u.Issuer)
	if err != nil {
		return nil, err
	}
	var found *single
	for i := range r.singles {
		s := &r.singles[i]
		if s.serial.Cmp(u.Cert.SerialNumber) != 0 || !bytes.Equal(s.nameHash, digest(s.hash, u.Cert.RawIssuer)) ||
			!bytes.Equal(s.keyHash, digest(s.hash, point)) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("two answers about one certificate: %w", ErrInvalid)
		}
		found = s
	}
	if found == nil {
		return nil, fmt.Errorf("it is not about serial number %x of %q: %w", u.Cert.SerialNumber, u.Issuer.Subject, ErrScope)
	}
	return found, nil
}

// responder checks the signature, by the issuer itself (nil is returned) or by a delegate:
// a certificate in the response, issued by this very issuer for that purpose (RFC 6960
// clause 4.2.2.2), which was valid when it signed.
func (r *ocspResponse) responder(issuer *x509.Certificate) (*x509.Certificate, error) {
	if r.names(issuer) {
		if err := cms.VerifySignature(issuer.PublicKey, r.algorithm, r.tbs, r.signature); err == nil {
			return nil, nil //nolint:nilnil // nil: nobody but the issuer
		}
	}
	bad := fmt.Errorf("neither signed by %q nor by a delegate of it that the response carries: %w", issuer.Subject, ErrInvalid)
	for _, c := range r.certs {
		if !r.names(c) {
			continue
		}
		if err := cms.VerifySignature(c.PublicKey, r.algorithm, r.tbs, r.signature); err != nil {
			bad = fmt.Errorf("signature of the responder %q: %w: %w", c.Subject, ErrInvalid, err)
			continue
		}
		if err := delegate(c, issuer, r.produced); err != nil {
			bad = fmt.Errorf("signed by %q: %w: %w", c.Subject, ErrInvalid, err)
			continue
		}
		return c, nil
	}
	return nil, bad
}

// names says whether the ResponderID means this certificate.
func (r *ocspResponse) names(c *x509.Certificate) bool {
	if r.name != nil {
		return bytes.Equal(r.name, c.RawSubject)
	}
	point, err := publicKeyBits(c)
	return err == nil && bytes.Equal(r.keyHash, digest(crypto.SHA1, point))
}

func delegate(c, issuer *x509.Certificate, produced time.Time) error {
	if !bytes.Equal(c.RawIssuer, issuer.RawSubject) || issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
		return fmt.Errorf("which was not issued by %q", issuer.Subject)
	}
	may := false
	for _, usage := range c.ExtKeyUsage {
		may = may || usage == x509.ExtKeyUsageOCSPSigning // anyExtendedKeyUsage is not enough
	}
	switch {
	case !may:
		return fmt.Errorf("whose extended key usage is not OCSPSigning")
	case c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0:
		return fmt.Errorf("whose key usage does not allow signatures")
	case produced.Before(c.NotBefore) || produced.After(c.NotAfter):
		return fmt.Errorf("whose certificate holds from %s to %s, not at %s", stamp(c.NotBefore), stamp(c.NotAfter), stamp(produced))
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("which has the critical extension %v, not known here", c.UnhandledCriticalExtensions[0])
	}
	return nil
}

func hasExtension(c *x509.Certificate, oid asn1.ObjectIdentifier) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(oid) {
			return true
		}
	}
	return false
}

// publicKeyBits is what issuer key hashes are made of: the subjectPublicKey without tag,
// length and unused bits.
func publicKeyBits(c *x509.Certificate) ([]byte, error) {
	s := cryptobyte.String(c.RawSubjectPublicKeyInfo)
	var info, algorithm cryptobyte.String
	var bits []byte
	if !s.ReadASN1(&info, casn1.SEQUENCE) || !info.ReadASN1(&algorithm, casn1.SEQUENCE) || !info.ReadASN1BitStringAsBytes(&bits) {
		return nil, malformed("public key of the issuer")
	}
	return bits, nil
}

func digest(h crypto.Hash, b []byte) []byte {
	w := h.New()
	w.Write(b)
	return w.Sum(nil)
}

// RequestOCSP builds an OCSPRequest for one certificate (RFC 6960 clause 4.1), with a
// nonce of 1 to 32 bytes (RFC 8954) or nil. Issuer hashes are SHA-1, the only ones that
// all responders know (RFC 5019 clause 2.1.1).
func RequestOCSP(cert, issuer *x509.Certificate, nonce []byte) ([]byte, error) {
	point, err := publicKeyBits(issuer)
	if err != nil {
		return nil, err
	}
	nameHash, keyHash := sha1.Sum(cert.RawIssuer), sha1.Sum(point)
	var b cryptobyte.Builder
	sequence := func(b *cryptobyte.Builder, f cryptobyte.BuilderContinuation) { b.AddASN1(casn1.SEQUENCE, f) }
	sequence(&b, func(b *cryptobyte.Builder) { // OCSPRequest
		sequence(b, func(b *cryptobyte.Builder) { // TBSRequest
			sequence(b, func(b *cryptobyte.Builder) { // requestList
				sequence(b, func(b *cryptobyte.Builder) { // Request
					sequence(b, func(b *cryptobyte.Builder) { // CertID
						sequence(b, func(b *cryptobyte.Builder) {
							b.AddASN1ObjectIdentifier(oidSHA1)
							b.AddASN1NULL()
						})
						b.AddASN1OctetString(nameHash[:])
						b.AddASN1OctetString(keyHash[:])
						b.AddASN1BigInt(cert.SerialNumber)
					})
				})
			})
			if nonce != nil {
				b.AddASN1(explicit(2), func(b *cryptobyte.Builder) {
					sequence(b, func(b *cryptobyte.Builder) {
						sequence(b, func(b *cryptobyte.Builder) {
							b.AddASN1ObjectIdentifier(oidNonce)
							b.AddASN1(casn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce) })
						})
					})
				})
			}
		})
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("OCSP request: %w", err)
	}
	return der, nil
}
