package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/cms"
	"countersign/signing/pdf"
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
	calls atomic.Int32
}

func (k *softKey) Chain() []*x509.Certificate { return k.chain }

func (k *softKey) Sign(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.calls.Add(1)
	return k.Signer.Sign(rand.Reader, digest, opts)
}

// newKeys makes a root and one key per kind: p256, p384, p521, rsa, ed25519.
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
	case "p521":
		k, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
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

// tool runs an outside judge and returns its exit code and what it printed. The code
// is negative if it took more than 20 s or 2 GB, or crashed.
func tool(t testing.TB, args ...string) (int, string) {
	t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		t.Fatalf("%s is not installed: run make deps", args[0])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	const limited = `ulimit -v 2000000; exec "$0" "$@"`
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", limited, path}, args[1:]...)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// qpdf returns the exit code of qpdf --check: 0 clean, 3 warnings, 2 errors.
func qpdf(t testing.TB, pdf []byte) (int, string) {
	t.Helper()
	return qpdfFile(t, save(t, pdf))
}

func qpdfFile(t testing.TB, path string) (int, string) {
	t.Helper()
	return tool(t, "qpdf", "--check", path)
}

// pdfsig counts the signatures that poppler finds valid, -1 if it gives no verdict. It
// exits 0 on a mismatch, so its text counts.
func pdfsig(t testing.TB, pdf []byte) (valid int, text string) {
	t.Helper()
	return pdfsigFile(t, save(t, pdf))
}

func pdfsigFile(t testing.TB, path string) (valid int, text string) {
	t.Helper()
	code, text := tool(t, "pdfsig", "-nocert", path)
	if code < 0 {
		return -1, text
	}
	return strings.Count(text, "Signature Validation: Signature is Valid."), text
}

// openssl lets OpenSSL verify, at the time of the tests and with root as the only
// trusted certificate, every signature that out has and base has not, over what its
// byte range covers. It returns how many there are, and what OpenSSL finds wrong.
func openssl(t testing.TB, base, out []byte, root *x509.Certificate) (count int, bad string) {
	t.Helper()
	before := map[string]bool{}
	for _, fd := range fieldsOf(t, base) {
		before[fd.Name] = fd.Signed
	}
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, b, 0o600))
		return path
	}
	ca := file("root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))
	for _, fd := range fieldsOf(t, out) {
		if !fd.Signed || before[fd.Name] {
			continue
		}
		count++
		padded, err := hex.DecodeString(string(fd.ContentsHex))
		check(t, err)
		der, err := cms.Trim(padded)
		check(t, err)
		r := fd.ByteRange
		covered := slices.Concat(out[r[0]:r[0]+r[1]], out[r[2]:r[2]+r[3]])
		code, text := tool(t, "openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", file("sig.der", der),
			"-content", file("covered", covered), "-CAfile", ca, "-no-CApath", "-purpose", "any",
			"-attime", strconv.FormatInt(now.Unix(), 10), "-out", os.DevNull)
		if code != 0 || !strings.Contains(text, "CAdES Verification successful") {
			bad += fmt.Sprintf("openssl, field %q: exit code %d, %s", fd.Name, code, text)
		}
	}
	return count, bad
}

func fieldsOf(t testing.TB, b []byte) []pdf.Field {
	t.Helper()
	f, err := pdf.Open(bytes.NewReader(b), int64(len(b)))
	check(t, err)
	fields, err := f.SignatureFields()
	check(t, err)
	return fields
}

// judged asks all judges about a file made from an unsigned, clean base with count
// signatures of keys below root.
func judged(t testing.TB, base, out []byte, count int, root *x509.Certificate) {
	t.Helper()
	if code, text := qpdf(t, out); code != 0 {
		t.Errorf("qpdf --check: %s", text)
	}
	if valid, text := pdfsig(t, out); valid != count || strings.Count(text, "Total document signed") != 1 {
		t.Errorf("pdfsig: %d valid, want %d: %s", valid, count, text)
	}
	if n, bad := openssl(t, base, out, root); n != count || bad != "" {
		t.Errorf("openssl: %d signatures, want %d: %s", n, count, bad)
	}
}

// root returns the certificate that ends the chain of a key.
func (k *softKey) root() *x509.Certificate { return k.chain[len(k.chain)-1] }

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
