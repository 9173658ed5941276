// Package ca is a signing CA: it gives each signer a key that signs once and a
// certificate that lasts a day.
//
// The profile of the certificates (RFC 5280, ETSI EN 319 412-2 where it
// applies to a name that is stated):
//
//	subject            CN = the name as stated by the signer, O if given,
//	                   serialNumber = the request's id
//	subjectAltName     rfc822Name = the address, verified by the mailed code
//	serial number      128 random bits
//	validity           from 10 minutes before to 24 hours after the issue
//	public key         P-256
//	basicConstraints   critical, CA false
//	keyUsage           critical, digitalSignature + nonRepudiation
//	extKeyUsage        id-kp-documentSigning (RFC 9336), emailProtection
//	key identifiers    of subject and issuer
//	revocation         the URLs in Options; without any, validity-assured short
//	                   term (EN 319 412-1 clause 5.2.2) and a distribution point of
//	                   its own, see [CA.Prove]
//
// noRevAvail (RFC 9608) is not stated: it is for certificates of which the CA tells
// nothing, and validators of archived documents want to be told however short the term was.
//
// What such a certificate proves: whoever could read mail at the address agreed
// in this request and stated this name. It does not prove the name.
package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"countersign/signing"
)

// Validity of a signer certificate.
const (
	Lifetime = 24 * time.Hour
	backdate = 10 * time.Minute // for verifiers whose clock is behind
)

// ErrUsed is the answer of a one-use key to all but the first signature.
var ErrUsed = errors.New("the one-use key has signed already or was discarded")

var (
	oidDocumentSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36}
	oidShortTerm       = asn1.ObjectIdentifier{0, 4, 0, 194121, 2, 1}
	derNull            = []byte{5, 0}
)

// Options configure a CA. Only Key is needed.
type Options struct {
	Key        signing.Key // the CA's own, for example in an HSM
	Policies   []x509.OID  // certificate policies to state
	CRLURLs    []string    // CRL distribution points
	OCSPURLs   []string    // responders
	IssuerURLs []string    // where the CA's own certificate is
}

// A CA issues one-use keys. It is safe for concurrent use.
type CA struct{ opts Options }

// New checks that the key's certificate may issue certificates.
func New(o Options) (*CA, error) {
	chain := o.Key.Chain()
	if len(chain) == 0 {
		return nil, errors.New("signing CA: the key has no certificate")
	}
	c := chain[0]
	if !c.BasicConstraintsValid || !c.IsCA {
		return nil, fmt.Errorf("signing CA: %q is not a CA certificate (basicConstraints)", c.Subject.CommonName)
	}
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("signing CA: the key usage of %q does not include keyCertSign", c.Subject.CommonName)
	}
	return &CA{opts: o}, nil
}

// A Subject is a signer.
type Subject struct {
	Name         string // as stated and confirmed by the signer
	Address      string // as verified by the mailed code
	Organisation string // optional
	RequestID    string // letters, digits and hyphens
}

// Check says whether a certificate can name the subject: no control or format
// characters (they could turn the text around on screen), no more than the 64
// characters of RFC 5280 appendix A, an address that is one plain ASCII address.
func (s Subject) Check() error {
	if err := checkName("name", s.Name); err != nil {
		return err
	}
	if s.Organisation != "" {
		if err := checkName("organisation", s.Organisation); err != nil {
			return err
		}
	}
	plain := func(r rune) bool {
		return r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if s.RequestID == "" || len(s.RequestID) > 64 || strings.ContainsFunc(s.RequestID, func(r rune) bool { return !plain(r) }) {
		return errors.New("request id: give 1 to 64 letters, digits and hyphens")
	}
	a, err := mail.ParseAddress(s.Address)
	ascii := !strings.ContainsFunc(s.Address, func(r rune) bool { return r <= ' ' || r > '~' })
	if err != nil || a.Address != s.Address || len(s.Address) > 254 || !ascii {
		return errors.New("address: give one plain ASCII address like ann@example.org")
	}
	return nil
}

func checkName(what, s string) error {
	switch {
	case !utf8.ValidString(s):
		return fmt.Errorf("%s: not valid UTF-8", what)
	case s != strings.TrimSpace(s) || s == "":
		return fmt.Errorf("%s: empty, or with space around it", what)
	case utf8.RuneCountInString(s) > 64:
		return fmt.Errorf("%s: longer than 64 characters", what)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		// IsPrint: letters, marks, numbers, punctuation, symbols and the ASCII space.
		return fmt.Errorf("%s: has control, format or other invisible characters", what)
	case !strings.ContainsFunc(s, unicode.IsLetter):
		return fmt.Errorf("%s: has no letter", what)
	}
	return nil
}

// Issue makes a key and a certificate for the subject. Certificate serial and
// key come from random (crypto/ecdsa may take its own randomness instead).
// The CA's certificate must outlast the new one.
func (c *CA) Issue(ctx context.Context, s Subject, now time.Time, random io.Reader) (*OneUse, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("issue signer certificate: %w", err)
	}
	chain := c.opts.Key.Chain()
	issuer := chain[0]
	if now.Before(issuer.NotBefore) || now.Add(Lifetime).After(issuer.NotAfter) {
		return nil, fmt.Errorf("issue signer certificate: the CA's own certificate is valid from %s to %s and must outlast the new one; renew it",
			issuer.NotBefore.UTC().Format(time.RFC3339), issuer.NotAfter.UTC().Format(time.RFC3339))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("issue signer certificate: make key: %w", err)
	}
	template, err := c.template(s, &key.PublicKey, random)
	if err != nil {
		return nil, fmt.Errorf("issue signer certificate: %w", err)
	}
	template.NotBefore = now.Add(-backdate)
	if template.NotBefore.Before(issuer.NotBefore) {
		template.NotBefore = issuer.NotBefore
	}
	template.NotAfter = now.Add(Lifetime)
	der, err := x509.CreateCertificate(random, template, issuer, &key.PublicKey, signer{ctx, c.opts.Key})
	if err != nil {
		return nil, fmt.Errorf("issue signer certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("issue signer certificate: %w", err)
	}
	return &OneUse{public: key.Public(), chain: append([]*x509.Certificate{certificate}, chain...), key: key, random: random}, nil
}

// template fills in all but the validity.
func (c *CA) template(s Subject, public *ecdsa.PublicKey, random io.Reader) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	if _, err := io.ReadFull(random, serial); err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	if new(big.Int).SetBytes(serial).Sign() == 0 {
		return nil, errors.New("serial number: the source of randomness gives zeros only")
	}
	point, err := public.Bytes()
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	id := sha256.Sum256(point)
	t := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: s.Name, SerialNumber: s.RequestID},
		EmailAddresses:        []string{s.Address},
		SubjectKeyId:          id[:20], // RFC 7093 clause 2, method 1
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{oidDocumentSigning},
		Policies:              c.opts.Policies,
		CRLDistributionPoints: c.opts.CRLURLs,
		OCSPServer:            c.opts.OCSPURLs,
		IssuingCertificateURL: c.opts.IssuerURLs,
	}
	if s.Organisation != "" {
		t.Subject.Organization = []string{s.Organisation}
	}
	if c.ownPoints() {
		point, err := crlPoints(c.opts.Key.Chain()[0], t.SerialNumber)
		if err != nil {
			return nil, fmt.Errorf("distribution point: %w", err)
		}
		t.ExtraExtensions = []pkix.Extension{{Id: oidShortTerm, Value: derNull}, point}
	}
	return t, nil
}

// signer lends the CA's key to crypto/x509.
type signer struct {
	ctx context.Context
	key signing.Key
}

func (s signer) Public() crypto.PublicKey { return s.key.Public() }

func (s signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(s.ctx, digest, opts)
}

// A OneUse is a key that signs at most once. It has the methods of signing.Key
// and is safe for concurrent use.
type OneUse struct {
	public crypto.PublicKey
	chain  []*x509.Certificate
	random io.Reader

	mu  sync.Mutex
	key *ecdsa.PrivateKey // nil once it was used
}

// Public returns the public key, also after the use.
func (k *OneUse) Public() crypto.PublicKey { return k.public }

// Chain returns the signer's certificate and those of the CA.
func (k *OneUse) Chain() []*x509.Certificate { return slices.Clone(k.chain) }

// Sign signs the digest the first time, and answers ErrUsed from then on. A
// call with a wrong digest length or an ended ctx is refused and does not count.
func (k *OneUse) Sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sign with one-use key: %w", err)
	}
	if h := opts.HashFunc(); !h.Available() || len(digest) != h.Size() {
		return nil, fmt.Errorf("sign with one-use key: digest of %d bytes does not fit hash %v", len(digest), h)
	}
	key, err := k.take()
	if err != nil {
		return nil, err
	}
	signature, err := key.Sign(k.random, digest, opts)
	if err != nil {
		return nil, fmt.Errorf("sign with one-use key: %w", err)
	}
	return signature, nil
}

// take hands the key out once; it is gone before it signs, so that no error
// can make a second signature possible.
func (k *OneUse) take() (*ecdsa.PrivateKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == nil {
		return nil, fmt.Errorf("sign with one-use key: %w", ErrUsed)
	}
	key := k.key
	k.key = nil
	return key, nil
}

// Discard drops the key without a signature, as for a lost attempt.
func (k *OneUse) Discard() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.key = nil
}
