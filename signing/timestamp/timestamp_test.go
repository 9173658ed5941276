package timestamp

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/signing/cms"
	"countersign/signing/demopki"
)

var (
	now    = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	newPKI = sync.OnceValues(func() (*demopki.PKI, error) { return demopki.New(now, "Example") })
)

func demo(t testing.TB) *demopki.PKI {
	t.Helper()
	pki, err := newPKI()
	if err != nil {
		t.Fatal(err)
	}
	return pki
}

func request(t testing.TB, message string) Request {
	t.Helper()
	nonce, err := NewNonce(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := crypto.SHA256.New()
	h.Write([]byte(message))
	return Request{Hash: crypto.SHA256, Digest: h.Sum(nil), Nonce: nonce}
}

// answer lets the demo TSA answer, without a network.
func answer(t testing.TB, pki *demopki.PKI, req Request, mode demopki.Mode) []byte {
	t.Helper()
	query, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	tsa := pki.TSA(func() time.Time { return now })
	tsa.SetMode(mode)
	r := httptest.NewRequest("POST", "/", bytes.NewReader(query))
	r.Header.Set("Content-Type", "application/timestamp-query")
	w := httptest.NewRecorder()
	tsa.ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("demo TSA: %d %s", w.Code, w.Body)
	}
	return w.Body.Bytes()
}

func TestGoodResponse(t *testing.T) {
	pki := demo(t)
	req := request(t, "hello")
	req.Policy = demopki.Policy
	token, err := CheckResponse(answer(t, pki, req, demopki.Honest), req, pki.Roots())
	if err != nil {
		t.Fatal(err)
	}
	if !token.Time.Equal(now) || token.Accuracy != time.Second || !token.Policy.Equal(demopki.Policy) || token.Weak != nil ||
		token.Nonce.Cmp(req.Nonce) != 0 || token.Serial.Sign() <= 0 || len(token.Certs) != 2 ||
		!token.Signer.Equal(pki.Timestamps.Chain()[0]) {
		t.Errorf("token %+v", token)
	}
	if err := token.Covers([]byte("hello")); err != nil {
		t.Error(err)
	}
	if err := token.Covers([]byte("hullo")); !errors.Is(err, ErrMismatch) {
		t.Errorf("another message: %v", err)
	}
	again, err := ParseToken(token.DER)
	if err != nil || !again.Time.Equal(now) {
		t.Errorf("the token alone: %v", err)
	}
	if err := again.VerifyChain(x509.NewCertPool()); !errors.Is(err, ErrCertificate) {
		t.Errorf("without a root: %v", err)
	}
}

func TestBadResponses(t *testing.T) {
	pki := demo(t)
	for mode, want := range map[demopki.Mode]error{
		demopki.Garbage:        cms.ErrEncoding,
		demopki.Huge:           cms.ErrSize,
		demopki.WrongNonce:     ErrMismatch,
		demopki.NoNonce:        ErrMismatch,
		demopki.WrongImprint:   ErrMismatch,
		demopki.NoCertificate:  cms.ErrInvalid,
		demopki.ExpiredCert:    ErrCertificate,
		demopki.WrongEKU:       ErrCertificate,
		demopki.NotCriticalEKU: ErrCertificate,
		demopki.OtherRoot:      ErrCertificate,
		demopki.BadSignature:   cms.ErrInvalid,
	} {
		req := request(t, "hello")
		if _, err := CheckResponse(answer(t, pki, req, mode), req, pki.Roots()); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", mode, err, want)
		}
	}
	req := request(t, "hello")
	good := answer(t, pki, req, demopki.Honest)
	req.Policy = asn1.ObjectIdentifier{2, 999, 1}
	if _, err := CheckResponse(good, req, nil); !errors.Is(err, ErrMismatch) {
		t.Errorf("another policy: %v", err)
	}
	for n := range good {
		if _, err := CheckResponse(good[:n], req, nil); err == nil {
			t.Fatalf("accepted the first %d of %d bytes", n, len(good))
		}
	}
}

func TestStatusErrors(t *testing.T) {
	pki := demo(t)
	req := request(t, "hello")
	for _, c := range []struct {
		in      []byte
		status  int
		failure int
		text    string
	}{
		{answer(t, pki, req, demopki.Rejects), 2, 14, ""},
		{[]byte("\x30\x05\x30\x03\x02\x01\x03"), 3, -1, ""},
		{[]byte("\x30\x12\x30\x10\x02\x01\x02\x30\x07\x0c\x05no\x1b\nw\x03\x02\x05\x20"), 2, 2, "now"},
	} {
		_, err := CheckResponse(c.in, req, nil)
		status, ok := errors.AsType[*StatusError](err)
		if !ok || status.Status != c.status || status.Failure != c.failure || status.Text != c.text {
			t.Errorf("%x: %v", c.in, err)
		}
	}
	if _, err := CheckResponse([]byte("\x30\x05\x30\x03\x02\x01\x00"), req, nil); !errors.Is(err, cms.ErrEncoding) {
		t.Errorf("granted without a token: %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	good := request(t, "hello")
	for name, change := range map[string]func(*Request){
		"no nonce":     func(r *Request) { r.Nonce = nil },
		"short digest": func(r *Request) { r.Digest = r.Digest[1:] },
		"SHA-1":        func(r *Request) { r.Hash, r.Digest = crypto.SHA1, r.Digest[:20] },
	} {
		r := good
		change(&r)
		if _, err := r.Marshal(); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := CheckResponse(nil, r, nil); err == nil {
			t.Errorf("%s: response accepted", name)
		}
	}
	if _, err := NewNonce(strings.NewReader("1234567")); err == nil {
		t.Error("a nonce from too little randomness")
	}
	nonce, err := NewNonce(strings.NewReader("\xff\x00\x00\x00\x00\x00\x00\x01"))
	if err != nil || nonce.Cmp(new(big.Int).SetUint64(0xff00000000000001)) != 0 {
		t.Errorf("nonce %v, %v", nonce, err)
	}
}

func TestGeneralizedTime(t *testing.T) {
	for in, want := range map[string]time.Time{
		"20261123090000Z":     now,
		"20261123090000.5Z":   now.Add(time.Second / 2),
		"20261123090000.123Z": now.Add(123 * time.Millisecond),
		"20261123090000":      {},
		"20261123090000,5Z":   {},
		"20261123090000+0100": {},
		"20261323090000Z":     {},
		"":                    {},
	} {
		if got, err := parseTime(in); !got.Equal(want) || want.IsZero() != (err != nil) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

const tsaConfig = `
[tsa]
default_tsa = one
[one]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
certs = tsa.pem
signer_key = tsa.pem
signer_digest = sha256
default_policy = 2.999.1
digests = sha256
accuracy = secs:2, millisecs:500, microsecs:100
clock_precision_digits = 3
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = `

// A token made by OpenSSL, another implementation: fractions of a second, all
// parts of the accuracy, ordering, tsa, and both forms of signing-certificate.
func TestOpenSSLTokens(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is missing: run make deps")
	}
	pki, err := demopki.New(time.Now(), "Example") // OpenSSL stamps with its own clock
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := pki.Write(dir); err != nil {
		t.Fatal(err)
	}
	req := request(t, "hello")
	query, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []string{"sha1", "sha256", "sha512"} {
		for name, data := range map[string][]byte{"conf": []byte(tsaConfig + algorithm + "\n"), "serial": []byte("0A\n"), "query": query} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), "openssl", "ts", "-reply", "-config", "conf", "-queryfile", "query", "-out", "reply")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl ts -reply: %v\n%s", err, out)
		}
		reply, err := os.ReadFile(filepath.Join(dir, "reply"))
		if err != nil {
			t.Fatal(err)
		}
		token, err := CheckResponse(reply, req, pki.Roots())
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		if token.Accuracy != 2500100*time.Microsecond || token.Serial.Int64() != 11 || !token.Policy.Equal(asn1.ObjectIdentifier{2, 999, 1}) {
			t.Errorf("%s: accuracy %v, serial %v, policy %v", algorithm, token.Accuracy, token.Serial, token.Policy)
		}
	}
}

func FuzzCheckResponse(f *testing.F) {
	pki := demo(f)
	req := request(f, "hello")
	for _, mode := range []demopki.Mode{demopki.Honest, demopki.Rejects, demopki.WrongNonce, demopki.NoCertificate} {
		f.Add(answer(f, pki, req, mode))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		token, err := CheckResponse(in, req, pki.Roots())
		if err == nil && (!bytes.Equal(token.Digest, req.Digest) || !token.Time.Equal(now)) {
			t.Errorf("accepted a token of %v", token.Time)
		}
		if token, err := ParseToken(in); err == nil && token.Signer == nil {
			t.Error("a token without a signer")
		}
	})
}

func FuzzReadInfo(f *testing.F) {
	pki := demo(f)
	req := request(f, "hello")
	token, err := CheckResponse(answer(f, pki, req, demopki.Honest), req, pki.Roots())
	if err != nil {
		f.Fatal(err)
	}
	p, err := cms.Parse(token.DER)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Content)
	f.Fuzz(func(t *testing.T, in []byte) {
		var token Token
		if err := token.readInfo(in); err == nil && (token.Accuracy < 0 || len(token.Digest) != token.Hash.Size()) {
			t.Errorf("read %+v", token)
		}
	})
}
