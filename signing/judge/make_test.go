//go:build judge

package judge

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
	"fmt"
	"io"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/evidence"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

// A world has a clock, authorities and keys.
type world struct {
	clock  func() time.Time
	pki    *demopki.PKI
	tsa    string // URL
	client *evidence.Client
	keys   map[string]*softKey
}

// newWorld makes authorities that are as old as the world.
func newWorld(t testing.TB, clock func() time.Time) *world {
	t.Helper()
	w := &world{clock: clock, keys: map[string]*softKey{}}
	var err error
	w.pki, err = demopki.New(clock(), "Judged")
	check(t, err)
	server := httptest.NewServer(w.pki.TSA(clock))
	t.Cleanup(server.Close)
	w.tsa = server.URL
	w.client, err = evidence.New(evidence.Options{TSAs: []evidence.TSA{{URL: server.URL}}, Now: clock})
	check(t, err)
	return w
}

func (w *world) root() *x509.Certificate {
	chain := w.pki.Root.Chain()
	return chain[len(chain)-1]
}

// A softKey is a key in memory with a certificate below the root.
type softKey struct {
	crypto.Signer
	chain []*x509.Certificate
}

func (k *softKey) Chain() []*x509.Certificate { return k.chain }

func (k *softKey) Sign(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.Signer.Sign(rand.Reader, digest, opts)
}

func (k *softKey) pkcs8(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k.Signer)
	check(t, err)
	return der
}

// key makes a key of a kind, once.
func (w *world) key(t testing.TB, kind string) *softKey {
	t.Helper()
	if k := w.keys[kind]; k != nil {
		return k
	}
	signer := newSigner(t, kind)
	issuer := w.pki.Root.Chain()[0]
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	check(t, err)
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Judged " + kind, Country: []string{"EU"}},
		NotBefore: w.clock().Add(-time.Hour), NotAfter: w.clock().AddDate(2, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, signer.Public(), issuingKey{w.pki.Root})
	check(t, err)
	certificate, err := x509.ParseCertificate(der)
	check(t, err)
	k := &softKey{signer, []*x509.Certificate{certificate, issuer}}
	w.keys[kind] = k
	return k
}

// issuingKey lends a signing.Key to crypto/x509.
type issuingKey struct{ signing.Key }

func (k issuingKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.Key.Sign(context.Background(), digest, opts)
}

func newSigner(t testing.TB, kind string) (k crypto.Signer) {
	t.Helper()
	var err error
	switch kind {
	case "RSA-2048":
		k, err = rsa.GenerateKey(rand.Reader, 2048)
	case "RSA-3072", "RSA-3072 PSS":
		k, err = rsa.GenerateKey(rand.Reader, 3072)
	case "P-256":
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		k, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "Ed25519":
		_, k, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("no key of kind %q", kind)
	}
	check(t, err)
	return k
}

// prepare makes R0.
func prepare(base []byte, specs ...pades.FieldSpec) ([]byte, []string, error) {
	var out bytes.Buffer
	_, names, err := signing.Prepare(&out, io.NewSectionReader(bytes.NewReader(base), 0, int64(len(base))), specs)
	return out.Bytes(), names, err
}

// sign makes one signature, at B-B, or at B-T for all other levels.
func (w *world) sign(base []byte, key signing.Key, p signing.Params, level string) ([]byte, error) {
	p.SigningTime, p.Chain = w.clock(), key.Chain()
	if level != "B-B" {
		p.TokenRoom = w.client.TokenRoom()
	}
	in, err := signing.NewIntent(bytes.NewReader(base), int64(len(base)), p)
	if err != nil {
		return nil, err
	}
	ticket, err := signing.NewTicket(in)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	proof := signing.Proof{}
	if proof.Signature, err = ticket.Sign(ctx, key); err != nil {
		return nil, err
	}
	if level != "B-B" {
		token, err := w.client.Timestamp(ctx, proof.Signature, crypto.SHA256)
		if err != nil {
			return nil, err
		}
		proof.Token = token.DER
	}
	var out bytes.Buffer
	res, err := signing.Finish(&out, bytes.NewReader(base), in, proof)
	if err != nil {
		return nil, err
	}
	if err := signing.Check(bytes.NewReader(out.Bytes()), res.Size, in); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(out.Bytes(), base) {
		return nil, fmt.Errorf("the signed file does not begin with what was signed")
	}
	return out.Bytes(), nil
}

// extend adds the evidence for all that is in a file, and for B-LTA a document timestamp.
func (w *world) extend(base []byte, level string) ([]byte, error) {
	ctx, size := context.Background(), int64(len(base))
	subjects, known, err := signing.Subjects(bytes.NewReader(base), size)
	if err != nil {
		return nil, err
	}
	p := signing.ExtensionParams{}
	if p.Data, err = w.gather(ctx, subjects, known); err != nil {
		return nil, err
	}
	if level == "B-LTA" {
		p.TokenRoom = w.client.TokenRoom()
	}
	x, err := signing.NewExtension(bytes.NewReader(base), size, p)
	if err != nil {
		return nil, err
	}
	var token []byte
	if level == "B-LTA" {
		stamp, err := w.client.TimestampDigest(ctx, x.Digest, x.Hash)
		if err != nil {
			return nil, err
		}
		token = stamp.DER
	}
	var out bytes.Buffer
	if _, err := signing.FinishExtension(&out, bytes.NewReader(base), x, token); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(out.Bytes(), base) {
		return nil, fmt.Errorf("the extended file does not begin with what was extended")
	}
	return out.Bytes(), signing.CheckExtension(bytes.NewReader(out.Bytes()), int64(out.Len()), x)
}

// gather returns the certificates of the subjects and the authorities' lists of now.
func (w *world) gather(_ context.Context, subjects []revocation.Subject, known revocation.Data) (revocation.Data, error) {
	crls, err := w.pki.CRLs(w.clock())
	data := revocation.Data{CRLs: crls}
	for _, s := range subjects {
		for _, c := range s.Certs {
			data.Certs = append(data.Certs, c.Raw)
		}
	}
	data.Certs = append(data.Certs, w.root().Raw)
	known.Add(data)
	return known, err
}

// exhibit is a file of this world, judged a minute later. For a signature below B-LT
// the validator gets the revocation lists of now.
func (w *world) exhibit(t testing.TB, b []byte, timestamps int, signatures ...wanted) exhibit {
	t.Helper()
	e := exhibit{pdf: b, at: w.clock().Add(time.Minute), root: w.root(), signatures: signatures, timestamps: timestamps}
	for _, s := range signatures {
		e.trailer = s.level == "B-LT"
		if s.level == "B-B" || s.level == "B-T" {
			var err error
			e.crls, err = w.pki.CRLs(w.clock())
			check(t, err)
		}
	}
	return e
}

// rewritten lets qpdf write a file in another form.
func rewritten(t testing.TB, base []byte, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pdf"), filepath.Join(dir, "out.pdf")
	check(t, os.WriteFile(in, base, 0o600))
	code, text, err := tool(append([]string{"qpdf", "--static-id", in, out}, args...)...)
	check(t, err)
	if code != 0 {
		t.Fatalf("qpdf %v: %s", args, text)
	}
	b, err := os.ReadFile(out)
	check(t, err)
	return b
}

// updated adds and replaces objects in an increment.
func updated(t testing.TB, base []byte, change func(*pdf.File, *pdf.Update)) []byte {
	t.Helper()
	f, err := pdf.Open(bytes.NewReader(base), int64(len(base)))
	check(t, err)
	u := f.NewUpdate()
	change(f, u)
	increment, err := u.Finish()
	check(t, err)
	return append(bytes.Clone(base), increment...)
}
