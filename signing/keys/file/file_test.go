package file

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/cms"
	"countersign/signing/keys/keytest"

	"software.sslmate.com/src/go-pkcs12"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

var serial atomic.Int64

// A pair is a key and its certificate.
type pair struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func certify(t *testing.T, key crypto.Signer, issuer *pair, change func(*x509.Certificate)) *pair {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: "test leaf"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if issuer == nil {
		c.IsCA, c.KeyUsage, c.Subject.CommonName = true, x509.KeyUsageCertSign, "test root"
	}
	if change != nil {
		change(c)
	}
	if issuer == nil {
		issuer = &pair{key, c}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer.cert, key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{key, cert}
}

func newEC(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newRSA(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyPEM(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func certPEM(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.String()
}

func save(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeySuite(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := certify(t, newEC(t, elliptic.P256()), nil, nil)
	for name, key := range map[string]crypto.Signer{
		"P-256": newEC(t, elliptic.P256()), "P-384": newEC(t, elliptic.P384()), "P-521": newEC(t, elliptic.P521()),
		"RSA": newRSA(t), "Ed25519": edKey,
	} {
		leaf := certify(t, key, root, nil)
		inPEM := Options{Path: save(t, "key.pem", keyPEM(t, key)+certPEM(root.cert, leaf.cert)), Now: now}
		t.Run("PEM "+name, func(t *testing.T) { keytest.Run(t, subject(inPEM)) })
		p12, err := pkcs12.Modern.Encode(key, leaf.cert, []*x509.Certificate{root.cert}, "s3cret")
		if err != nil {
			t.Fatal(err)
		}
		inP12 := Options{Path: save(t, "key.p12", string(p12)), Password: []byte("s3cret"), Now: now}
		t.Run("PKCS12 "+name, func(t *testing.T) { keytest.Run(t, subject(inP12)) })
	}
}

func subject(o Options) keytest.Subject {
	return keytest.Subject{Open: func(t *testing.T) signing.Key {
		k, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}}
}

func TestChainIsOrderedAndForeignCertificatesAreLeftOut(t *testing.T) {
	root := certify(t, newEC(t, elliptic.P256()), nil, nil)
	middle := certify(t, newEC(t, elliptic.P256()), root, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.KeyUsage = "middle", true, x509.KeyUsageCertSign
	})
	leaf := certify(t, newEC(t, elliptic.P256()), middle, nil)
	old := certify(t, leaf.key, middle, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	stranger := certify(t, newEC(t, elliptic.P256()), nil, nil)
	path := save(t, "key.pem", keyPEM(t, leaf.key))
	chain := save(t, "chain.pem", certPEM(stranger.cert, root.cert, old.cert, middle.cert, leaf.cert, root.cert))
	k, err := Open(Options{Path: path, Chain: chain, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	want := []*x509.Certificate{leaf.cert, middle.cert, root.cert}
	if got := k.Chain(); !slices.EqualFunc(got, want, (*x509.Certificate).Equal) {
		t.Errorf("chain of %d certificates in another order", len(got))
	}
}

func TestOldPEMForms(t *testing.T) {
	ecKey := newEC(t, elliptic.P256()).(*ecdsa.PrivateKey)
	ecDER, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	rsaPrivate := newRSA(t).(*rsa.PrivateKey)
	for kind, c := range map[string]struct {
		key crypto.Signer
		der []byte
	}{"EC PRIVATE KEY": {ecKey, ecDER}, "RSA PRIVATE KEY": {rsaPrivate, x509.MarshalPKCS1PrivateKey(rsaPrivate)}} {
		leaf := certify(t, c.key, nil, nil)
		content := string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: c.der})) + certPEM(leaf.cert)
		if _, err := Open(Options{Path: save(t, "key.pem", content), Now: now}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	root := certify(t, newEC(t, elliptic.P256()), nil, nil)
	leaf := certify(t, newEC(t, elliptic.P256()), root, nil)
	good := keyPEM(t, leaf.key) + certPEM(leaf.cert, root.cert)
	forbidden := certify(t, leaf.key, root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })
	p224 := certify(t, newEC(t, elliptic.P224()), nil, nil)
	p12, err := pkcs12.Modern.Encode(leaf.key, leaf.cert, nil, "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		content string
		at      time.Time
		want    error  // or
		says    string // text in the error
	}{
		"expired":           {good, now.Add(day), ErrNotValid, ""},
		"not valid yet":     {good, now.Add(-day), ErrNotValid, ""},
		"other certificate": {keyPEM(t, leaf.key) + certPEM(root.cert), now, ErrMismatch, "chain="},
		"no certificate":    {keyPEM(t, leaf.key), now, ErrMismatch, "chain="},
		"no key":            {certPEM(leaf.cert), now, nil, "0 private keys"},
		"two keys":          {good + keyPEM(t, root.key), now, nil, "2 private keys"},
		"empty":             {"", now, nil, "neither PEM nor PKCS #12"},
		"text":              {"my key", now, nil, "neither PEM nor PKCS #12"},
		"curve":             {keyPEM(t, p224.key) + certPEM(p224.cert), now, cms.ErrUnsupported, ""},
		"key usage":         {keyPEM(t, leaf.key) + certPEM(forbidden.cert), now, nil, "key usage"},
		"wrong password":    {string(p12), now, ErrPassword, "password-file="},
		"broken":            {strings.Replace(good, "\nM", "\nAA", 1), now, nil, "key"},
		"encrypted PEM":     {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", now, nil, "openssl pkcs12"},
	} {
		path := save(t, "key.pem", c.content)
		_, err := Open(Options{Path: path, Password: []byte("wrong"), Now: c.at})
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFilesThatOthersMayReadAreRefused(t *testing.T) {
	leaf := certify(t, newEC(t, elliptic.P256()), nil, nil)
	path := save(t, "key.pem", keyPEM(t, leaf.key)+certPEM(leaf.cert))
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o644: false, 0o700: false, 0o660: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Options{Path: path, Now: now})
		if ok && err != nil || !ok && (!errors.Is(err, ErrPermissions) || !strings.Contains(err.Error(), "chmod 600 "+path)) {
			t.Errorf("key with mode %04o: %v", mode, err)
		}
		if _, err := Secret(path); ok != (err == nil) {
			t.Errorf("secret with mode %04o: %v", mode, err)
		}
	}
	if _, err := Open(Options{Path: t.TempDir(), Now: now}); err == nil {
		t.Error("a directory is opened")
	}
}

func TestOpenURI(t *testing.T) {
	leaf := certify(t, newEC(t, elliptic.P256()), nil, nil)
	p12, err := pkcs12.Modern.Encode(leaf.key, leaf.cert, nil, "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	path, pass := save(t, "key.p12", string(p12)), save(t, "pass", "s3cret\n")
	for uri, says := range map[string]string{
		"file:" + path + "?password-file=" + pass:   "",
		"file://" + path + "?password-file=" + pass: "",
		"file:" + path:                              "wrong password",
		"file:" + path + "?pass=x":                  "unknown option",
		"file:" + path + "?chain=a&chain=b":         "2 times",
		"file:" + path + "?password-file=/no/where": "password file",
		"file://host" + path:                        "one slash or three",
		"file:":                                     "one slash or three",
		"file:nowhere.pem":                          "nowhere.pem",
	} {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		k, err := OpenURI(u, Secret, now)
		if says == "" && (err != nil || len(k.Chain()) != 1) {
			t.Errorf("%s: %v", uri, err)
		}
		if says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", uri, err, says)
		}
	}
}

// TestSelfChecked: a key whose memory changes signs no more, and one whose parts do not
// belong together does not open. Ed25519 keys are for others to verify.
func TestSelfChecked(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, pure, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(n *big.Int) { n.SetBit(n, 7, n.Bit(7)^1) }
	for _, c := range []struct {
		key    crypto.Signer
		want   bool
		damage func()
	}{
		//lint:ignore SA1019 damaging it is the point
		{p256, true, func() { flip(p256.D) }},
		{strong, true, func() { flip(strong.D) }},
		{pure, false, func() { pure[3] ^= 1 }},
	} {
		m := material{signers: []crypto.Signer{c.key}, certs: []*x509.Certificate{certify(t, c.key, nil, nil).cert}}
		k, err := m.key(now)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.SelfChecked(); got != c.want {
			t.Errorf("%T: SelfChecked = %v", c.key, got)
		}
		h, err := cms.HashFor(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		digest, opts := make([]byte, h.Size()), crypto.SignerOpts(h)
		if !c.want {
			opts = crypto.Hash(0)
		}
		if _, err := k.Sign(t.Context(), digest, opts); err != nil {
			t.Errorf("%T: %v", c.key, err)
		}
		c.damage()
		if _, err := k.Sign(t.Context(), digest, opts); !errors.Is(err, ErrChanged) {
			t.Errorf("%T: signed with a damaged key: %v", c.key, err)
		}
	}
	// The public half of another key: the certificate fits, the signature does not.
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mixed := *other
	//lint:ignore SA1019 as above
	mixed.D = p256.D
	m := material{signers: []crypto.Signer{&mixed}, certs: []*x509.Certificate{certify(t, other, nil, nil).cert}}
	if _, err := m.key(now); err == nil {
		t.Error("a key of two halves was opened")
	}
}
