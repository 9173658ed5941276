package signing_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/signing"
)

var (
	_ signing.Key = (*softKey)(nil)

	// now is the time of all tests.
	now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
)

// A softKey is a key in memory with a certificate issued by a test root.
type softKey struct {
	crypto.Signer
	chain []*x509.Certificate
	calls int
}

func (k *softKey) Chain() []*x509.Certificate { return k.chain }

func (k *softKey) Sign(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.calls++
	return k.Signer.Sign(rand.Reader, digest, opts)
}

// newKeys makes a root and one key per kind: p256, p384, rsa, ed25519.
func newKeys(t testing.TB, kinds ...string) []*softKey {
	t.Helper()
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root"},
		NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, rootKey.Public(), rootKey)
	check(t, err)
	root, err := x509.ParseCertificate(der)
	check(t, err)
	var keys []*softKey
	for i, kind := range kinds {
		k := newSigner(t, kind)
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i) + 2), Subject: pkix.Name{CommonName: "Test " + kind},
			NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(2, 0, 0),
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, k.Public(), rootKey)
		check(t, err)
		cert, err := x509.ParseCertificate(der)
		check(t, err)
		keys = append(keys, &softKey{Signer: k, chain: []*x509.Certificate{cert, root}})
	}
	return keys
}

func newSigner(t testing.TB, kind string) (k crypto.Signer) {
	var err error
	switch kind {
	case "p384":
		k, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "rsa":
		k, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, k, err = ed25519.GenerateKey(rand.Reader)
	default:
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	check(t, err)
	return k
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tool runs an outside judge and returns its exit code and what it printed.
func tool(t testing.TB, args ...string) (int, string) {
	t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		t.Fatalf("%s is not installed: run make deps", args[0])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// qpdf returns the exit code of qpdf --check: 0 clean, 3 warnings, 2 errors.
func qpdf(t testing.TB, pdf []byte) (int, string) {
	t.Helper()
	return tool(t, "qpdf", "--check", save(t, pdf))
}

// pdfsig counts the signatures that poppler finds valid. It exits 0 on a
// mismatch, so its text counts.
func pdfsig(t testing.TB, pdf []byte) (valid int, text string) {
	t.Helper()
	_, text = tool(t, "pdfsig", "-nocert", save(t, pdf))
	return strings.Count(text, "Signature Validation: Signature is Valid."), text
}

func save(t testing.TB, pdf []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pdf")
	check(t, os.WriteFile(path, pdf, 0o600))
	return path
}

// A wrongSigner has the public key of one key and signs with another.
type wrongSigner struct{ own, used crypto.Signer }

func (w wrongSigner) Public() crypto.PublicKey { return w.own.Public() }

func (w wrongSigner) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return w.used.Sign(r, digest, opts)
}
