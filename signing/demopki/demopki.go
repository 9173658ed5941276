// Package demopki is a certificate authority and time-stamping authority for
// the demo and for tests: a root, an organisation's seal, a signing CA for
// one-use signer certificates, and a TSA that can be told to fail or to lie.
//
// Every subject says DEMO. The keys lie unencrypted in files; nobody should
// ever trust the root.
package demopki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// PKI holds all keys and certificates.
type PKI struct {
	Root       *Identity // 10 years
	Seal       *Identity // the organisation's seal, 2 years
	CA         *Identity // issues one-use signer certificates, 5 years, path length 0
	Timestamps *Identity // the TSA's, 5 years
}

// An Identity is a P-256 key with its certificate chain, root last. It has the
// methods of signing.Key.
type Identity struct {
	key   *ecdsa.PrivateKey
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
	if h := opts.HashFunc(); !h.Available() || len(digest) != h.Size() {
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

// New makes a whole demo PKI for an organisation, valid from an hour before now.
func New(now time.Time, organisation string) (*PKI, error) {
	var p PKI
	var err error
	name := func(role string) pkix.Name {
		return pkix.Name{Organization: []string{"DEMO " + organisation}, CommonName: "DEMO " + organisation + " " + role}
	}
	ca := x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	root := &x509.Certificate{Subject: name("root, do not trust"), KeyUsage: ca, IsCA: true, MaxPathLen: 1}
	if p.Root, err = issue(root, nil, span{now, 10 * year}); err != nil {
		return nil, err
	}
	seal := &x509.Certificate{
		Subject:  name("seal"),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
		// emailProtection: what common validators ask of a signer of documents.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}, UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidDocumentSigning},
	}
	if p.Seal, err = issue(seal, p.Root, span{now, 2 * year}); err != nil {
		return nil, err
	}
	signers := &x509.Certificate{Subject: name("signing CA"), KeyUsage: ca, IsCA: true, MaxPathLenZero: true}
	if p.CA, err = issue(signers, p.Root, span{now, 5 * year}); err != nil {
		return nil, err
	}
	if p.Timestamps, err = issueTSA(name("timestamps"), p.Root, span{now, 5 * year}); err != nil {
		return nil, err
	}
	return &p, nil
}

// A span of validity begins an hour before from, for clocks that are behind.
type span struct {
	from time.Time
	life time.Duration
}

// issueTSA issues a certificate with the critical extended key usage that RFC
// 3161 clause 2.3 demands, and with any extra usages a test wants beside it.
func issueTSA(name pkix.Name, issuer *Identity, valid span, extra ...asn1.ObjectIdentifier) (*Identity, error) {
	usages, err := asn1.Marshal(append([]asn1.ObjectIdentifier{oidTimeStamping}, extra...))
	if err != nil {
		return nil, fmt.Errorf("demo certificate: %w", err)
	}
	return issue(&x509.Certificate{
		Subject:         name,
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: oidExtKeyUsage, Critical: true, Value: usages}},
	}, issuer, valid)
}

// issue makes a key and has issuer certify it; without issuer it is a root.
func issue(template *x509.Certificate, issuer *Identity, valid span) (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("demo key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, fmt.Errorf("demo certificate: %w", err)
	}
	template.NotBefore = valid.from.Add(-time.Hour)
	template.NotAfter = valid.from.Add(valid.life)
	template.BasicConstraintsValid = true
	self := &Identity{key: key, chain: []*x509.Certificate{template}}
	if issuer == nil {
		issuer = self
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.certificate(), key.Public(), issuer.key)
	if err != nil {
		return nil, fmt.Errorf("demo certificate for %s: %w", template.Subject.CommonName, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("demo certificate for %s: %w", template.Subject.CommonName, err)
	}
	chain := []*x509.Certificate{certificate}
	if issuer != self {
		chain = append(chain, issuer.chain...)
	}
	return &Identity{key: key, chain: chain}, nil
}

// Roots returns a pool with the demo root.
func (p *PKI) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Root.certificate())
	return pool
}

// CRLs returns the DER revocation lists of the root and of the signing CA. They
// list nothing, are dated now and last a week.
func (p *PKI) CRLs(now time.Time) ([][]byte, error) {
	var out [][]byte
	for _, issuer := range []*Identity{p.Root, p.CA} {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number:     big.NewInt(now.Unix()),
			ThisUpdate: now, NextUpdate: now.Add(7 * 24 * time.Hour),
		}, issuer.certificate(), issuer.key)
		if err != nil {
			return nil, fmt.Errorf("demo CRL of %s: %w", issuer.certificate().Subject.CommonName, err)
		}
		out = append(out, der)
	}
	return out, nil
}
