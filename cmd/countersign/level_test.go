package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"countersign/signing/demopki"
)

// scriptPKI makes a directory with the keys and certificates of a PKI and serves on
// loopback, until the script ends, what proves them; its time-stamping authority is $TSA.
// "pki DIR dead" makes certificates whose issuers do not answer any more.
func scriptPKI(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: pki DIR [dead]")
	}
	mux := http.NewServeMux()
	url, stop, err := serveLoopback("127.0.0.1:0", mux)
	ts.Check(err)
	ts.Defer(stop)
	pki, err := demopki.Make(demopki.Options{Now: time.Now(), Organisation: "Acme", URL: url})
	ts.Check(err)
	server := pki.Server(time.Now)
	mux.Handle("/tsa", server)
	if len(args) == 1 {
		mux.Handle("/", server)
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(pki.Write(dir))
	var chain []byte
	for _, c := range pki.Seal.Chain() {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	ts.Check(os.WriteFile(filepath.Join(dir, "chain.pem"), chain, 0o600))
	ts.Setenv("TSA", url+"/tsa")
	ts.Setenv("KEY", "file:"+filepath.Join(dir, demopki.SealFile)+"?chain="+filepath.Join(dir, "chain.pem"))
}

func TestLevelOf(t *testing.T) {
	with := evidenceFlags{TSA: []string{"http://tsa.example/"}}
	for _, c := range []struct {
		flags       evidenceFlags
		asked, want string
		demo        bool
	}{
		{evidenceFlags{}, "", "B-B", false},
		{evidenceFlags{}, "", "B-LTA", true},
		{with, "", "B-LTA", false},
		{with, "B-T", "B-T", false},
		{evidenceFlags{}, "B-LT", "", false},
		{evidenceFlags{}, "B-B", "B-B", false},
		{with, "LTA", "", false},
	} {
		got, err := c.flags.levelOf(c.asked, c.demo)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v, %q: got %q, %v, want %q", c.flags, c.asked, got, err, c.want)
		}
	}
}

func TestTrustFiles(t *testing.T) {
	pki, err := demopki.New(time.Now(), "Test")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := pki.Write(dir); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, demopki.RootFile)
	got, err := evidenceFlags{Trust: []string{root, root}}.roots()
	if err != nil || len(got) != 2 || !got[0].Equal(pki.Root.Chain()[0]) {
		t.Errorf("%d certificates, %v", len(got), err)
	}
	bad := filepath.Join(dir, "bad.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
	if err := os.WriteFile(bad, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{bad, filepath.Join(dir, "nosuch.pem")} {
		if _, err := (evidenceFlags{Trust: []string{path}}).roots(); err == nil {
			t.Errorf("%s: accepted", path)
		}
	}
	var _ []*x509.Certificate = got
}
