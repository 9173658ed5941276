// Package file reads signing keys from files: PKCS #12 (RFC 7292), or PEM with
// a key (PKCS #8, PKCS #1 or SEC 1) and certificates in one file or in two.
//
// A file with a key or a password must be readable by its owner alone. What
// Open returns is checked: the key fits its certificate, all certificates of
// the chain are valid now, the chain is in order, and the key is one that may
// sign (RSA from 2048 bits, P-256, P-384, P-521, Ed25519), and has done so once. The key
// stays in memory, where each use compares it with a second copy; a stronger
// protection is what PKCS #11 is for.
package file

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"time"

	"countersign/signing/cms"

	"software.sslmate.com/src/go-pkcs12"
)

// MaxSize is the largest key, chain or password file, in bytes.
const MaxSize = 1 << 20

// What can be wrong with a key file; the text of the error says how to mend it.
var (
	ErrPermissions = errors.New("others may read the file")
	ErrPassword    = errors.New("wrong password")
	ErrMismatch    = errors.New("the key belongs to none of the certificates")
	ErrNotValid    = errors.New("certificate not valid now")
	ErrChanged     = errors.New("the private key in memory has changed since it was opened; restart the program, and check the machine's memory")
)

// Options say where a key is.
type Options struct {
	Path     string    // PKCS #12 or PEM, told apart by content
	Chain    string    // optional: a PEM file with (more) certificates
	Password []byte    // of a PKCS #12 file
	Now      time.Time // at which the certificates must be valid
}

// A Key is a private key in memory with its chain. It has the methods of
// signing.Key and is safe for concurrent use.
type Key struct {
	signer private
	spare  private // an equal copy, which does not sign
	chain  []*x509.Certificate
}

// private is what all private keys of the standard library are.
type private interface {
	crypto.Signer
	Equal(crypto.PrivateKey) bool
}

// SelfChecked says that verifying what Sign returned would tell nothing new
// (signing.SelfChecked). crypto/rsa raises each signature to the public exponent before it
// returns it. An ECDSA signature has a nonce of its own, so a miscalculated one
// does not lead to the key; what would, a key that has changed in memory, Sign notices.
// Ed25519 is deterministic: there a wrong and a right signature of the same message do.
func (k *Key) SelfChecked() bool {
	_, pure := k.Public().(ed25519.PublicKey)
	return !pure
}

// Public returns the public key.
func (k *Key) Public() crypto.PublicKey { return k.signer.Public() }

// Chain returns the certificates, the key's own first, as far up as the files go.
func (k *Key) Chain() []*x509.Certificate { return slices.Clone(k.chain) }

// Sign signs a digest, or for Ed25519 the message with crypto.Hash(0), as
// crypto.Signer does.
func (k *Key) Sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sign with key file: %w", err)
	}
	h := opts.HashFunc()
	if _, pure := k.Public().(ed25519.PublicKey); pure {
		if h != 0 {
			return nil, fmt.Errorf("sign with key file: Ed25519 signs the message itself, not its %v", h)
		}
	} else if !h.Available() || len(digest) != h.Size() {
		return nil, fmt.Errorf("sign with key file: digest of %d bytes does not fit hash %v", len(digest), h)
	}
	if !k.signer.Equal(k.spare) {
		return nil, fmt.Errorf("sign with key file: %w", ErrChanged)
	}
	return k.signer.Sign(rand.Reader, digest, opts)
}

// OpenURI opens file:PATH[?chain=PATH][&password-file=PATH]. secret reads the
// password file; [Secret] is made for it.
func OpenURI(uri *url.URL, secret func(path string) ([]byte, error), now time.Time) (*Key, error) {
	o := Options{Path: uri.Path, Now: now}
	if uri.Opaque != "" { // file:seal.pem, relative
		path, err := url.PathUnescape(uri.Opaque)
		if err != nil {
			return nil, fmt.Errorf("path in file URI: %w", err)
		}
		o.Path = path
	}
	if uri.Host != "" || o.Path == "" {
		return nil, errors.New("write file:/path/to/key.pem, with one slash or three")
	}
	query, err := url.ParseQuery(uri.RawQuery)
	if err != nil {
		return nil, errors.New("the part of the URI after the question mark is malformed")
	}
	for name, values := range query {
		if len(values) != 1 {
			return nil, fmt.Errorf("option %q of the file URI is given %d times", name, len(values))
		}
		switch name {
		case "chain":
			o.Chain = values[0]
		case "password-file":
			if o.Password, err = secret(values[0]); err != nil {
				return nil, fmt.Errorf("password file: %w", err)
			}
		default:
			return nil, fmt.Errorf("unknown option %q of the file URI; known ones are chain and password-file", name)
		}
	}
	return Open(o)
}

// Open reads and checks a key.
func Open(o Options) (*Key, error) {
	raw, err := readPrivate(o.Path)
	if err != nil {
		return nil, err
	}
	m, err := decode(raw, o.Password)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", o.Path, err)
	}
	if o.Chain != "" {
		more, err := readLimited(o.Chain, nil)
		if err != nil {
			return nil, err
		}
		if err := m.addPEM(more); err != nil {
			return nil, fmt.Errorf("chain file %s: %w", o.Chain, err)
		}
	}
	k, err := m.key(o.Now)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", o.Path, err)
	}
	return k, nil
}

// Secret reads a password or PIN from a file that only its owner may read, and
// cuts one line end off.
func Secret(path string) ([]byte, error) {
	raw, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r")), nil
}

func readPrivate(path string) ([]byte, error) {
	return readLimited(path, func(mode os.FileMode) error {
		if extra := mode.Perm() &^ 0o600; extra != 0 {
			return fmt.Errorf("%s has mode %04o: %w; run chmod 600 %s", path, mode.Perm(), ErrPermissions, path)
		}
		return nil
	})
}

// readLimited reads a regular file; check judges the mode of the opened file,
// so it cannot be swapped in between.
func readLimited(path string, check func(os.FileMode) error) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if check != nil {
		if err := check(info.Mode()); err != nil {
			return nil, err
		}
	}
	raw, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err == nil && len(raw) > MaxSize {
		err = fmt.Errorf("%s is larger than %d bytes", path, MaxSize)
	}
	return raw, err
}

// material is what the files hold, before it is judged.
type material struct {
	signers []crypto.Signer
	certs   []*x509.Certificate
}

func decode(raw, password []byte) (*material, error) {
	var m material
	if bytes.Contains(raw, []byte("-----BEGIN ")) {
		return &m, m.addPEM(raw)
	}
	private, certificate, more, err := pkcs12.DecodeChain(raw, string(password))
	if errors.Is(err, pkcs12.ErrIncorrectPassword) {
		return nil, fmt.Errorf("%w; give the right one with password-file=", ErrPassword)
	}
	if err != nil {
		return nil, fmt.Errorf("neither PEM nor PKCS #12: %w", err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", private)
	}
	m.signers = []crypto.Signer{signer}
	m.certs = append([]*x509.Certificate{certificate}, more...)
	return &m, nil
}

func (m *material) addPEM(raw []byte) error {
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return fmt.Errorf("certificate: %w", err)
			}
			m.certs = append(m.certs, c)
			continue
		}
		var private any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			private, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return errEncryptedPEM
			}
			private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return errEncryptedPEM
		default:
			continue // EC PARAMETERS and the like
		}
		if err != nil {
			return fmt.Errorf("private key: %w", err)
		}
		signer, ok := private.(crypto.Signer)
		if !ok {
			return fmt.Errorf("a key of type %T cannot sign", private)
		}
		m.signers = append(m.signers, signer)
	}
	return nil
}

var errEncryptedPEM = errors.New("encrypted PEM keys are not read; make a PKCS #12 file of it: openssl pkcs12 -export -in key.pem -out key.p12")

// key picks the certificate, orders the chain and judges all of it.
func (m *material) key(now time.Time) (*Key, error) {
	if len(m.signers) != 1 {
		return nil, fmt.Errorf("holds %d private keys instead of one", len(m.signers))
	}
	signer, ok := m.signers[0].(private)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot be compared", m.signers[0])
	}
	k := &Key{signer: signer}
	if _, err := cms.HashFor(k.Public()); err != nil {
		return nil, err
	}
	leaf := m.leaf(k.Public())
	if leaf == nil {
		return nil, fmt.Errorf("%w; add the key's certificate in PEM, or name its file with chain=", ErrMismatch)
	}
	k.chain = order(leaf, m.certs)
	for _, c := range k.chain {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return nil, fmt.Errorf("%w: %q is valid from %s to %s, and it is %s", ErrNotValid, c.Subject.CommonName,
				c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
	}
	if err := checkUsage(leaf); err != nil {
		return nil, err
	}
	return k, k.try()
}

// try makes the spare copy and a signature of nothing in particular, and verifies it under the
// certificate: public and private key may have been put together wrongly.
func (k *Key) try() error {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return err
	}
	again, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	k.spare, _ = again.(private)
	h, err := cms.HashFor(k.Public())
	if err != nil {
		return err
	}
	data := cms.SignedData{Hash: h, Chain: k.chain}
	if data.Attrs, err = cms.SignedAttributes(cms.AttrParams{Digest: make([]byte, h.Size()), Hash: h, Chain: k.chain}); err != nil {
		return err
	}
	digest, opts, err := cms.ToSign(data)
	if err != nil {
		return err
	}
	if data.Signature, err = k.Sign(context.Background(), digest, opts); err != nil {
		return err
	}
	if err := data.Verify(); err != nil {
		return fmt.Errorf("%w: the signature made to try it is wrong: %w", ErrMismatch, err)
	}
	return nil
}

// leaf returns the certificate of pub; of several, as after a renewal, the one
// that ends last.
func (m *material) leaf(pub crypto.PublicKey) *x509.Certificate {
	var best *x509.Certificate
	for _, c := range m.certs {
		key, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if ok && key.Equal(pub) && (best == nil || c.NotAfter.After(best.NotAfter)) {
			best = c
		}
	}
	return best
}

// order follows the issuers from leaf. Certificates that do not belong to the
// chain are left out.
func order(leaf *x509.Certificate, all []*x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{leaf}
	for {
		last := chain[len(chain)-1]
		next := slices.IndexFunc(all, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, last.RawIssuer) && !slices.ContainsFunc(chain, c.Equal) && last.CheckSignatureFrom(c) == nil
		})
		if next < 0 {
			return chain
		}
		chain = append(chain, all[next])
	}
}

// checkUsage refuses a certificate whose key usage forbids what the key is for
// (RFC 5280 clause 4.2.1.3).
func checkUsage(c *x509.Certificate) error {
	if c.KeyUsage == 0 {
		return nil
	}
	need := x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	if c.IsCA {
		need = x509.KeyUsageCertSign
	}
	if c.KeyUsage&need == 0 {
		return fmt.Errorf("the key usage of certificate %q forbids signing", c.Subject.CommonName)
	}
	return nil
}
