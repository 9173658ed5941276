package demopki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/keys/keytest"
	"countersign/signing/revocation"
	"countersign/signing/timestamp"
)

// serve starts the services of a new PKI, whose clock the test sets.
func serve(t *testing.T, o Options) (*PKI, *Server, *time.Time) {
	t.Helper()
	var s *Server
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	o.URL, o.Organisation = front.URL, "Example"
	p, err := Make(o)
	if err != nil {
		t.Fatal(err)
	}
	at := o.Now
	s = p.Server(func() time.Time { return at })
	return p, s, &at
}

func openssl(t *testing.T, dir string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is missing: run make deps")
	}
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("openssl %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

func get(t *testing.T, u string) []byte {
	t.Helper()
	resp, err := http.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", u, resp.Status, err)
	}
	return b
}

// OpenSSL is the outside judge: its client believes the responder, and its verifier the
// chain with the lists, for every kind of key.
func TestOpenSSLBelievesTheServices(t *testing.T) {
	for _, o := range []Options{{}, {CA: RSA2048, Algorithm: RSA2048}, {CA: P384, Algorithm: RSA3072}, {CA: Ed25519, Algorithm: Ed25519}} {
		o.Now = time.Now() // openssl ocsp has no other clock
		p, s, _ := serve(t, o)
		signer, err := p.NewSigner("Ann", o.Algorithm, o.Now, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		voided, err := p.NewSigner("Ben", o.Algorithm, o.Now, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		s.Revoke(voided.certificate(), o.Now.Add(-time.Minute), 5)
		dir := t.TempDir()
		write := func(name, kind string, ders ...[]byte) {
			var b bytes.Buffer
			for _, der := range ders {
				b.Write(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
			}
			if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		u := p.URLsOf(p.CA)
		write("root.pem", "CERTIFICATE", p.Root.certificate().Raw)
		write("ca.pem", "CERTIFICATE", get(t, u.Issuer[0]))
		write("lists.pem", "X509 CRL", get(t, u.CRL[0]), get(t, p.URLsOf(p.Root).CRL[0]))
		for name, c := range map[string]struct {
			id           *Identity
			state, chain string
		}{"ann.pem": {signer, "good", "OK"}, "ben.pem": {voided, "revoked", "certificate revoked"}} {
			write(name, "CERTIFICATE", c.id.certificate().Raw)
			out := openssl(t, dir, "ocsp", "-issuer", "ca.pem", "-cert", name, "-url", u.OCSP[0], "-CAfile", "root.pem", "-verify_other", "ca.pem")
			if !strings.Contains(out, "Response verify OK") || !strings.Contains(out, name+": "+c.state) {
				t.Errorf("%+v: openssl ocsp %s: %s", o, name, out)
			}
			out = openssl(t, dir, "verify", "-crl_check_all", "-CAfile", "root.pem", "-untrusted", "ca.pem", "-CRLfile", "lists.pem", name)
			if !strings.Contains(out, c.chain) {
				t.Errorf("%+v: openssl verify %s: %s", o, name, out)
			}
		}
	}
}

// The answer to a GET (RFC 6960 appendix A.1) is the same as to a POST.
func TestOCSPByGET(t *testing.T) {
	p, _, _ := serve(t, Options{Now: now})
	seal, root := p.Seal.certificate(), p.Root.certificate()
	query, err := revocation.RequestOCSP(seal, root, nil)
	if err != nil {
		t.Fatal(err)
	}
	der := get(t, p.URLsOf(p.Root).OCSP[0]+"/"+url.PathEscape(base64.StdEncoding.EncodeToString(query)))
	if _, err := revocation.CheckOCSP(der, revocation.Use{Cert: seal, Issuer: root, At: now, Now: now}); err != nil {
		t.Error(err)
	}
}

func TestNonce(t *testing.T) {
	p, s, _ := serve(t, Options{Now: now})
	use := revocation.Use{Cert: p.Seal.certificate(), Issuer: p.Root.certificate(), At: now, Now: now, Nonce: []byte("sixteen bytes ok")}
	query, err := revocation.RequestOCSP(use.Cert, use.Issuer, use.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[Mode]error{Honest: nil, WrongNonceOCSP: revocation.ErrInvalid} {
		der, err := s.respond(query, mode)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := revocation.CheckOCSP(der, use); !errors.Is(err, want) || !bytes.Contains(der, use.Nonce[:15]) {
			t.Errorf("%q: %v", mode, err)
		}
	}
}

// Over the years the authority renews its certificate, long before it ends; root, CA and
// responders go on.
func TestYearsGoBy(t *testing.T) {
	p, s, at := serve(t, Options{Now: now})
	seen := map[string]bool{}
	for years := range 20 {
		*at = now.Add(time.Duration(years) * year)
		token := stamp(t, p, s)
		if left := token.Signer.NotAfter.Sub(*at); left < year {
			t.Errorf("after %d years: the TSA's certificate ends in %v", years, left)
		}
		if err := token.VerifyChain(p.Roots()); err != nil {
			t.Errorf("after %d years: %v", years, err)
		}
		seen[token.Signer.SerialNumber.String()] = true
		query, err := revocation.RequestOCSP(p.CA.certificate(), p.Root.certificate(), nil)
		if err != nil {
			t.Fatal(err)
		}
		der, err := s.respond(query, Honest)
		if err == nil {
			_, err = revocation.CheckOCSP(der, revocation.Use{Cert: p.CA.certificate(), Issuer: p.Root.certificate(), At: *at, Now: *at})
		}
		if err != nil {
			t.Errorf("after %d years: %v", years, err)
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d certificates of the TSA in 20 years", len(seen))
	}
	*at = now
	if token := stamp(t, p, s); !token.Signer.Equal(p.Timestamps.certificate()) {
		t.Error("back at the beginning, another certificate than the first")
	}
}

func stamp(t *testing.T, p *PKI, s *Server) timestamp.Token {
	t.Helper()
	nonce, err := timestamp.NewNonce(strings.NewReader("12345678"))
	if err != nil {
		t.Fatal(err)
	}
	req := timestamp.Request{Hash: crypto.SHA256, Digest: make([]byte, 32), Nonce: nonce}
	query, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(p.url+pathTSA, "application/timestamp-query", bytes.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	der, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	token, err := timestamp.CheckResponse(der, req, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !token.Time.Equal(s.clock()) {
		t.Errorf("token of %v at %v", token.Time, s.clock())
	}
	return token
}

func TestTheURLIsKeptOnDisk(t *testing.T) {
	p, err := Make(Options{Now: now, Organisation: "Example", URL: "http://pki.example:8081", Algorithm: RSA2048})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	q, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := q.URLsOf(q.CA).CRL[0], "http://pki.example:8081/crl/ca.crl"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if c := q.Seal.certificate(); c.PublicKeyAlgorithm != x509.RSA || c.CRLDistributionPoints[0] != "http://pki.example:8081/crl/root.crl" {
		t.Errorf("seal %v, lists %q", c.PublicKeyAlgorithm, c.CRLDistributionPoints)
	}
}

func TestSealsOfAllAlgorithmsPassTheKeySuite(t *testing.T) {
	for _, a := range []Algorithm{P384, RSA2048, Ed25519} {
		p, err := Make(Options{Now: now, Organisation: "Example", Algorithm: a})
		if err != nil {
			t.Fatal(err)
		}
		keytest.Run(t, keytest.Subject{Open: func(*testing.T) signing.Key { return p.Seal }})
	}
}

func TestUnknownPathsAndAlgorithms(t *testing.T) {
	p, _, _ := serve(t, Options{Now: now})
	for _, path := range []string{"/", "/crl/other.crl", "/ca/other.crt", "/ocsp/!", "/ocsp"} {
		resp, err := http.Get(p.url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound && path != "/ocsp" {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if _, err := Make(Options{Now: now, Algorithm: "DSA"}); err == nil {
		t.Error("a DSA seal was made")
	}
}
