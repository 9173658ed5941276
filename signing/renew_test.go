package signing_test

import (
	"bytes"
	"encoding/pem"
	"net/http"
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

// TestRenewals: a file is extended every four years, long after its signer's certificate
// ended. What the file has is enough to prove the old; only the last timestamp's authority
// is asked about.
func TestRenewals(t *testing.T) {
	at := now
	clock := func() time.Time { return at }
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	pki, err := demopki.Make(demopki.Options{Now: at, Organisation: "Test", URL: server.URL})
	check(t, err)
	services := pki.Server(clock)
	mux.Handle("/", services)
	fetcher, err := evidence.NewFetcher(evidence.FetcherOptions{Roots: pki.Root.Chain(), Allow: []string{"127.0.0.1"}, Now: clock})
	check(t, err)
	n := notary{pki, t}
	if dir := os.Getenv("KEEP"); dir != "" {
		root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pki.Root.Chain()[0].Raw})
		check(t, os.WriteFile(filepath.Join(dir, t.Name()+".pem"), root, 0o600))
	}
	file, in, proof := n.sign(pdf.Sample("x", nil), signing.Params{Certification: 2}, nil)
	subjects, err := signing.SubjectsOf(in, proof)
	check(t, err)
	data, err := fetcher.Gather(t.Context(), subjects, revocation.Data{})
	check(t, err)
	file, x := n.extend(file, at, data, 8192)
	if want := (pades.Counts{Certs: len(data.Certs), OCSPs: len(data.OCSPs), CRLs: len(data.CRLs)}); x.Added != want {
		t.Errorf("added %+v, want %+v", x.Added, want)
	}
	for range 3 {
		at = at.AddDate(4, 0, 0)
		asked := services.Served(demopki.OCSP)
		subjects, known, err := signing.Subjects(bytes.NewReader(file), int64(len(file)))
		check(t, err)
		data, err := fetcher.Gather(t.Context(), subjects, known)
		check(t, err)
		next, x := n.extend(file, at, data, 8192)
		if x.Added.OCSPs+x.Added.CRLs < 1 || x.Added.OCSPs > 2 || services.Served(demopki.OCSP) > asked+2 {
			t.Errorf("%s: added %+v, with %d questions", at.Format(time.DateOnly), x.Added, services.Served(demopki.OCSP)-asked)
		}
		if !x.NotBefore.Equal(at.AddDate(-4, 0, 0)) {
			t.Errorf("not before %v", x.NotBefore)
		}
		if code, text := qpdf(t, next); code != 0 {
			t.Errorf("qpdf --check: %s", text)
		}
		file = next
	}
	if valid, text := pdfsig(t, file); valid != 1 {
		t.Errorf("pdfsig: %s", text)
	}
	keep(t, "12 years", file)
}
