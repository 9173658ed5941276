package evidence

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign/signing/demopki"
)

// TestLogin: an authority behind TLS with a private CA and a password.
func TestLogin(t *testing.T) {
	pki, err := demopki.New(time.Now(), "Example")
	if err != nil {
		t.Fatal(err)
	}
	tsa := pki.TSA(time.Now)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "acme" || password != "secret" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		tsa.ServeHTTP(w, r)
	}))
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	for _, tc := range []struct {
		name string
		tsa  TSA
		want string // part of the error
	}{
		{"right", TSA{URL: srv.URL, Username: "acme", Password: "secret", TLSRoots: roots}, ""},
		{"wrong password", TSA{URL: srv.URL, Username: "acme", Password: "x", TLSRoots: roots}, "401"},
		{"unknown CA", TSA{URL: srv.URL, Username: "acme", Password: "secret"}, "certificate"},
	} {
		c, err := New(Options{TSAs: []TSA{tc.tsa}})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Probe(t.Context())
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := New(Options{TSAs: []TSA{{URL: "http://tsa.example.org", Username: "a", Password: "b"}}}); err == nil {
		t.Error("a password over plain http was accepted")
	}
}
