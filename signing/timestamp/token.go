package timestamp

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"countersign/signing/cms"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrCertificate: the signer of the token may not issue timestamps, or is not
// trusted.
var ErrCertificate = errors.New("not an acceptable timestamping certificate")

var oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}

// A Token is a TimeStampToken whose signature holds (RFC 3161 clause 2.4.2).
type Token struct {
	DER      []byte // the token itself, to be embedded as it is
	Time     time.Time
	Accuracy time.Duration // zero if the TSA states none
	Serial   *big.Int
	Policy   asn1.ObjectIdentifier
	Hash     crypto.Hash
	Digest   []byte // Hash of what was stamped
	Nonce    *big.Int
	Signer   *x509.Certificate
	Certs    []*x509.Certificate // all certificates in the token, the signer's too
	Weak     error               // not nil: all holds, but by an algorithm no longer safe
}

// ParseToken reads a TimeStampToken from a document or a response and checks
// everything that it says about itself; see the package comment. It does not
// know what the token should have stamped ([Token.Covers]) nor whom to trust
// ([Token.VerifyChain]).
func ParseToken(der []byte) (Token, error) {
	wrap := func(err error) (Token, error) { return Token{}, fmt.Errorf("timestamp token: %w", err) }
	p, err := cms.Parse(der)
	if err != nil {
		return wrap(err)
	}
	t := Token{DER: der, Signer: p.Signer, Certs: p.Certificates}
	err = cms.VerifyEncapsulated(p, cms.OIDTSTInfo)
	switch {
	case errors.Is(err, cms.ErrNoSigningCertificate):
		return wrap(err)
	case errors.Is(err, cms.ErrWeak):
		t.Weak = err
	case err != nil:
		return wrap(err)
	}
	if err := t.readInfo(p.Content); err != nil {
		return wrap(err)
	}
	if err := checkCertificate(t.Signer, t.Time); err != nil {
		return wrap(err)
	}
	return t, nil
}

// Covers checks that the token stamps these bytes: for a signature-time-stamp
// the signature value, for a document timestamp the byte ranges.
func (t Token) Covers(message []byte) error {
	if !t.Hash.Available() {
		return fmt.Errorf("timestamp token: hash %v: %w", t.Hash, cms.ErrUnsupported)
	}
	h := t.Hash.New()
	h.Write(message)
	if !bytes.Equal(h.Sum(nil), t.Digest) {
		return fmt.Errorf("timestamp token: the digest is that of something else: %w", ErrMismatch)
	}
	return nil
}

// VerifyChain checks that the signer chains to one of roots at the time of the
// token, with the certificates in the token as intermediates.
func (t Token) VerifyChain(roots *x509.CertPool) error {
	if t.Signer == nil || roots == nil { // nil roots would mean those of the machine
		return fmt.Errorf("timestamp token: no signer or no roots given: %w", ErrCertificate)
	}
	intermediates := x509.NewCertPool()
	for _, c := range t.Certs {
		if cms.CheckKeySize(c.PublicKey) == nil {
			intermediates.AddCert(c)
		}
	}
	_, err := t.Signer.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: t.Time,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
	})
	if err != nil {
		return fmt.Errorf("timestamp token: %w: %w", ErrCertificate, err)
	}
	return nil
}

// checkCertificate checks validity at the time of the token and the key usages
// of RFC 3161 clause 2.3: timeStamping must be critical and the only one.
func checkCertificate(c *x509.Certificate, at time.Time) error {
	bad := func(what string) error {
		return fmt.Errorf("signed by %q: %s: %w", c.Subject.CommonName, what, ErrCertificate)
	}
	if at.Before(c.NotBefore) || at.After(c.NotAfter) {
		return bad(fmt.Sprintf("not valid at %s", at.UTC().Format(time.RFC3339)))
	}
	critical := false
	for _, e := range c.Extensions {
		critical = critical || e.Id.Equal(oidExtKeyUsage) && e.Critical
	}
	if !critical {
		return bad("extended key usage is not critical")
	}
	if len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping || len(c.UnknownExtKeyUsage) > 0 {
		return bad("extended key usage is not timeStamping alone")
	}
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return bad("key usage does not allow signatures")
	}
	return nil
}

// readInfo reads TSTInfo (RFC 3161 clause 2.4.2).
func (t *Token) readInfo(der []byte) error {
	if err := cms.Guard(der); err != nil {
		return fmt.Errorf("TSTInfo: %w", err)
	}
	var info, imprint, algorithm, digest, accuracy, gen cryptobyte.String
	var version int
	var hash asn1.ObjectIdentifier
	t.Serial = new(big.Int)
	s := cryptobyte.String(der)
	if !s.ReadASN1(&info, casn1.SEQUENCE) || !info.ReadASN1Integer(&version) || version != 1 ||
		!info.ReadASN1ObjectIdentifier(&t.Policy) ||
		!info.ReadASN1(&imprint, casn1.SEQUENCE) || !imprint.ReadASN1(&algorithm, casn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&hash) || !imprint.ReadASN1(&digest, casn1.OCTET_STRING) || !imprint.Empty() ||
		!info.ReadASN1Integer(t.Serial) || !info.ReadASN1(&gen, casn1.GeneralizedTime) {
		return malformed("TSTInfo")
	}
	var err error
	if t.Hash, err = cms.HashByOID(hash); err != nil {
		return fmt.Errorf("TSTInfo: %w", err)
	}
	if t.Digest = digest; len(digest) != t.Hash.Size() {
		return malformed("TSTInfo: message imprint")
	}
	if t.Time, err = parseTime(string(gen)); err != nil {
		return err
	}
	if !info.ReadOptionalASN1(&accuracy, nil, casn1.SEQUENCE) || !t.readAccuracy(accuracy) {
		return malformed("TSTInfo: accuracy")
	}
	return t.readOptions(info)
}

// readOptions reads what follows the accuracy: ordering, nonce, tsa, extensions.
func (t *Token) readOptions(info cryptobyte.String) error {
	var extensions cryptobyte.String
	if !info.SkipOptionalASN1(casn1.BOOLEAN) {
		return malformed("TSTInfo: ordering")
	}
	if info.PeekASN1Tag(casn1.INTEGER) {
		t.Nonce = new(big.Int)
		if !info.ReadASN1Integer(t.Nonce) {
			return malformed("TSTInfo: nonce")
		}
	}
	if !info.SkipOptionalASN1(casn1.Tag(0).Constructed().ContextSpecific()) ||
		!info.ReadOptionalASN1(&extensions, nil, casn1.Tag(1).Constructed().ContextSpecific()) || !info.Empty() {
		return malformed("TSTInfo")
	}
	for !extensions.Empty() {
		var e cryptobyte.String
		var oid asn1.ObjectIdentifier
		var critical bool
		if !extensions.ReadASN1(&e, casn1.SEQUENCE) || !e.ReadASN1ObjectIdentifier(&oid) {
			return malformed("TSTInfo: extension")
		}
		if e.PeekASN1Tag(casn1.BOOLEAN) && !e.ReadASN1Boolean(&critical) {
			return malformed("TSTInfo: extension")
		}
		if critical {
			return fmt.Errorf("TSTInfo: critical extension %v: %w", oid, cms.ErrUnsupported)
		}
	}
	return nil
}

func (t *Token) readAccuracy(s cryptobyte.String) bool {
	var seconds, part int64
	if s.PeekASN1Tag(casn1.INTEGER) && !s.ReadASN1Integer(&seconds) {
		return false
	}
	if seconds < 0 || seconds > 1<<31 {
		return false
	}
	t.Accuracy = time.Duration(seconds) * time.Second
	for i, unit := range []time.Duration{time.Millisecond, time.Microsecond} {
		tag := casn1.Tag(i).ContextSpecific()
		if !s.PeekASN1Tag(tag) {
			continue
		}
		if !s.ReadASN1Int64WithTag(&part, tag) || part < 0 || part > 999 { // INTEGER (1..999); zero does no harm
			return false
		}
		t.Accuracy += time.Duration(part) * unit
	}
	return s.Empty()
}

// parseTime reads a GeneralizedTime in UTC, with or without a fraction of a
// second (RFC 3161 clause 2.4.2), which cryptobyte does not accept.
func parseTime(s string) (time.Time, error) {
	// time.Parse takes a fraction after the seconds although the layout has none.
	at, err := time.Parse("20060102150405Z", s)
	if err != nil || strings.Contains(s, ",") {
		return time.Time{}, malformed("TSTInfo: genTime")
	}
	return at, nil
}
