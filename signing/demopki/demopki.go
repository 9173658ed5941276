// Package demopki is a certificate authority for the demo and for tests: a root, an
// organisation's seal, a signing CA for one-use signer certificates, a time-stamping
// authority, OCSP responders and revocation lists, all of which can be told to fail or
// to lie.
//
// Every subject says DEMO. The keys lie unencrypted in files; nobody should
// ever trust the root.
package demopki

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"slices"
	"sync"
	"time"
)

// Options say what PKI to make.
type Options struct {
	Now          time.Time // certificates are valid from an hour before
	Organisation string
	// URL is where a [Server] of this PKI can be reached, like http://127.0.0.1:8081. The
	// certificates then name its responder, lists and issuers. Empty: they name none.
	URL       string
	Algorithm Algorithm // of the seal's key
	CA        Algorithm // of the root's, the signing CA's and the TSA's keys
}

// PKI holds all keys and certificates.
type PKI struct {
	Root       *Identity // 30 years
	Seal       *Identity // the organisation's seal, 2 years
	CA         *Identity // issues one-use signer certificates, 25 years, path length 0
	Timestamps *Identity // the TSA's first, 5 years; see TSA

	url string

	mu      sync.Mutex
	renewed []*Identity // the TSA's later ones
}

// An Identity is a key with its certificate chain, root last. It has the methods of
// signing.Key.
type Identity struct {
	key   crypto.Signer
	chain []*x509.Certificate
}

// Public returns the public key.
func (i *Identity) Public() crypto.PublicKey { return i.key.Public() }

// Chain returns the identity's own certificate first and the root last.
func (i *Identity) Chain() []*x509.Certificate { return slices.Clone(i.chain) }

// Sign signs a digest as crypto.Signer does.
func (i *Identity) Sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("demo key: %w", err)
	}
	h := opts.HashFunc()
	if (h == 0) != signsMessages(i.key) || h != 0 && (!h.Available() || len(digest) != h.Size()) {
		return nil, fmt.Errorf("demo key: digest of %d bytes does not fit hash %v", len(digest), h)
	}
	return i.key.Sign(rand.Reader, digest, opts)
}

func (i *Identity) certificate() *x509.Certificate { return i.chain[0] }

var (
	oidExtKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidTimeStamping    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	oidDocumentSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36}
)

const year = 365 * 24 * time.Hour

// New makes a whole demo PKI for an organisation, without URLs in its certificates.
func New(now time.Time, organisation string) (*PKI, error) {
	return Make(Options{Now: now, Organisation: organisation})
}

// Make makes a whole demo PKI.
func Make(o Options) (*PKI, error) {
	p := &PKI{url: o.URL}
	var err error
	name := func(role string) pkix.Name {
		return pkix.Name{Organization: []string{"DEMO " + o.Organisation}, CommonName: "DEMO " + o.Organisation + " " + role}
	}
	ca := x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	root := &x509.Certificate{Subject: name("root, do not trust"), KeyUsage: ca, IsCA: true, MaxPathLen: 1}
	if p.Root, err = issue(order{template: root, valid: span{o.Now, 30 * year}, algorithm: o.CA}); err != nil {
		return nil, err
	}
	seal := sealTemplate(name("seal"))
	if p.Seal, err = p.issue(order{seal, p.Root, span{o.Now, 2 * year}, o.Algorithm}); err != nil {
		return nil, err
	}
	signers := &x509.Certificate{Subject: name("signing CA"), KeyUsage: ca, IsCA: true, MaxPathLenZero: true}
	if p.CA, err = p.issue(order{signers, p.Root, span{o.Now, 25 * year}, o.CA}); err != nil {
		return nil, err
	}
	if p.Timestamps, err = p.issueTSA(order{&x509.Certificate{Subject: name("timestamps")}, p.Root, span{o.Now, 5 * year}, o.CA}); err != nil {
		return nil, err
	}
	return p, nil
}

func sealTemplate(name pkix.Name) *x509.Certificate {
	return &x509.Certificate{
		Subject:  name,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
		// emailProtection: what common validators ask of a signer of documents.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}, UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidDocumentSigning},
	}
}

// NewSigner issues a certificate to a person by the signing CA, valid for life from an
// hour before now.
func (p *PKI) NewSigner(name string, a Algorithm, now time.Time, life time.Duration) (*Identity, error) {
	return p.issue(order{sealTemplate(pkix.Name{CommonName: "DEMO " + name}), p.CA, span{now, life}, a})
}

// A span of validity begins an hour before from, for clocks that are behind.
type span struct {
	from time.Time
	life time.Duration
}

// An order is a certificate to be issued; without issuer it is a root.
type order struct {
	template  *x509.Certificate
	issuer    *Identity
	valid     span
	algorithm Algorithm
}

// issueTSA issues a certificate with the critical extended key usage that RFC
// 3161 clause 2.3 demands, and with any extra usages a test wants beside it.
func (p *PKI) issueTSA(o order, extra ...asn1.ObjectIdentifier) (*Identity, error) {
	usages, err := asn1.Marshal(append([]asn1.ObjectIdentifier{oidTimeStamping}, extra...))
	if err != nil {
		return nil, fmt.Errorf("demo certificate: %w", err)
	}
	o.template.KeyUsage = x509.KeyUsageDigitalSignature
	o.template.ExtraExtensions = append(o.template.ExtraExtensions, pkix.Extension{Id: oidExtKeyUsage, Critical: true, Value: usages})
	return p.issue(o)
}

// issue issues a certificate that names the services of its issuer.
func (p *PKI) issue(o order) (*Identity, error) {
	u := p.URLsOf(o.issuer)
	o.template.OCSPServer, o.template.CRLDistributionPoints, o.template.IssuingCertificateURL = u.OCSP, u.CRL, u.Issuer
	return issue(o)
}

// issue makes a key and has it certified.
func issue(o order) (*Identity, error) {
	key, err := o.algorithm.generate(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("demo key: %w", err)
	}
	t := o.template
	if t.SerialNumber, err = serial(rand.Reader); err != nil {
		return nil, fmt.Errorf("demo certificate: %w", err)
	}
	t.NotBefore = o.valid.from.Add(-time.Hour)
	t.NotAfter = o.valid.from.Add(o.valid.life)
	t.BasicConstraintsValid = true
	self := &Identity{key: key, chain: []*x509.Certificate{t}}
	issuer := o.issuer
	if issuer == nil {
		issuer = self
	}
	der, err := x509.CreateCertificate(rand.Reader, t, issuer.certificate(), key.Public(), issuer.key)
	if err != nil {
		return nil, fmt.Errorf("demo certificate for %s: %w", t.Subject.CommonName, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("demo certificate for %s: %w", t.Subject.CommonName, err)
	}
	chain := []*x509.Certificate{certificate}
	if issuer != self {
		chain = append(chain, issuer.chain...)
	}
	return &Identity{key: key, chain: chain}, nil
}

func serial(random io.Reader) (*big.Int, error) {
	n, err := rand.Int(random, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}

// URL is where a [Server] of this PKI must be reached; empty if it does not matter.
func (p *PKI) URL() string { return p.url }

// Roots returns a pool with the demo root.
func (p *PKI) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Root.certificate())
	return pool
}

// timestamps returns the TSA's identity at a time. A year before the certificate ends a
// new one is issued, for the same name and with a key of its own, as real authorities do.
func (p *PKI) timestamps(now time.Time) (*Identity, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range append([]*Identity{p.Timestamps}, p.renewed...) {
		if c := id.certificate(); !now.Before(c.NotBefore) && now.Before(c.NotAfter.Add(-year)) {
			return id, nil
		}
	}
	first := p.Timestamps.certificate()
	id, err := p.issueTSA(order{&x509.Certificate{Subject: first.Subject}, p.Root, span{now, 5 * year}, algorithmOf(p.Timestamps.key)})
	if err == nil {
		p.renewed = append(p.renewed, id)
	}
	return id, err
}
