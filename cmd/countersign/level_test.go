package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

// scriptPKI makes a directory with the keys and certificates of a PKI and serves on
// loopback, until the script ends, what proves them; its time-stamping authority is $TSA.
// A mode says how its issuers fail: "dead", they do not answer, "old" or "revoked".
func scriptPKI(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: pki DIR [MODE]")
	}
	mux := http.NewServeMux()
	url, stop, err := serveLoopback("127.0.0.1:0", mux)
	ts.Check(err)
	ts.Defer(stop)
	pki, err := demopki.Make(demopki.Options{Now: time.Now(), Organisation: "Acme", URL: url})
	ts.Check(err)
	server := pki.Server(time.Now)
	mux.Handle("/tsa", server)
	mode := demopki.Honest
	if len(args) == 2 {
		mode = demopki.Mode(args[1])
	}
	server.SetMode(demopki.OCSP, mode)
	server.SetMode(demopki.CRL, mode)
	if mode != "dead" {
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

// scriptLocked adds an empty signature field that locks all fields, as form designers do.
func scriptLocked(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, neg, args, 3, "locked IN OUT NAME")
	var r0 bytes.Buffer
	base := ts.ReadFile(args[0])
	_, _, err := signing.Prepare(&r0, io.NewSectionReader(strings.NewReader(base), 0, int64(len(base))), []pades.FieldSpec{{Name: args[2]}})
	ts.Check(err)
	f, err := pdf.Open(bytes.NewReader(r0.Bytes()), int64(r0.Len()))
	ts.Check(err)
	fields, err := f.SignatureFields()
	ts.Check(err)
	u := f.NewUpdate()
	u.Set(fields[0].Object.Ref, fields[0].Object.Value.With(pdf.Change{Key: "Lock", Raw: []byte("<< /Type /SigFieldLock /Action /All >>")}))
	inc, err := u.Finish()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), append(r0.Bytes(), inc...), 0o600))
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
}

// TestWarn: a timestamp that has run out is worth a warning, a signature's certificate not.
func TestWarn(t *testing.T) {
	ended := []*x509.Certificate{{NotAfter: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)}}
	holds := []*x509.Certificate{{NotAfter: time.Date(9000, 1, 2, 3, 4, 5, 0, time.UTC)}}
	for _, c := range []struct {
		last revocation.Subject
		want string
	}{
		{revocation.Subject{What: "the timestamp", Certs: ended, TimeStamping: true}, "warning: the certificate of the timestamp ended on 2020-01-02"},
		{revocation.Subject{What: "the timestamp", Certs: holds, TimeStamping: true}, ""},
		{revocation.Subject{What: "the signature", Certs: ended}, ""},
	} {
		var out bytes.Buffer
		extending{terminal: terminal{err: &out}}.warn(c.last)
		if !strings.HasPrefix(out.String(), c.want) || (c.want == "") != (out.Len() == 0) {
			t.Errorf("%s: %q", c.last.What, out.String())
		}
	}
}

// TestLargerToken: a token that needs more room than those before is not thrown away.
func TestLargerToken(t *testing.T) {
	mux := http.NewServeMux()
	url, stop, err := serveLoopback("127.0.0.1:0", mux)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	pki, err := demopki.Make(demopki.Options{Now: time.Now(), Organisation: "Acme", URL: url})
	if err != nil {
		t.Fatal(err)
	}
	tsa := pki.TSA(time.Now)
	mux.Handle("/tsa", tsa)
	dir := t.TempDir()
	in, signed, out := filepath.Join(dir, "in.pdf"), filepath.Join(dir, "signed.pdf"), filepath.Join(dir, "out.pdf")
	if err := os.WriteFile(in, samplePDF("Sample"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if code := run([]string{"sign", "--demo", "--level", "B-B", in, signed}, &said, &said); code != exitYes {
		t.Fatal(said.String())
	}
	p, err := evidenceFlags{TSA: []string{url + "/tsa"}}.newProver("B-T")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	tsa.SetMode(demopki.LargeToken)
	e, err := p.extend(t.Context(), "B-T", signed, out, revocation.Data{})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.token.DER) < 8<<10 || tsa.Served() != 3 {
		t.Errorf("a token of %d bytes after %d requests", len(e.token.DER), tsa.Served())
	}
	if err := verdict(out, 1, ""); err != nil {
		t.Error(err)
	}
}

// TestAuthorityIsProven: what proves an authority is in the increment with its timestamp, though
// nobody knew before who would stamp.
func TestAuthorityIsProven(t *testing.T) {
	mux := http.NewServeMux()
	url, stop, err := serveLoopback("127.0.0.1:0", mux)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	pki, err := demopki.Make(demopki.Options{Now: time.Now(), Organisation: "Acme", URL: url})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/", pki.Server(time.Now))
	dir := t.TempDir()
	in, signed, out := filepath.Join(dir, "in.pdf"), filepath.Join(dir, "signed.pdf"), filepath.Join(dir, "out.pdf")
	if err := os.WriteFile(in, samplePDF("Sample"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if code := run([]string{"sign", "--demo", "--level", "B-B", in, signed}, &said, &said); code != exitYes {
		t.Fatal(said.String())
	}
	p, err := evidenceFlags{TSA: []string{url + "/tsa"}, AllowPrivate: []string{"127.0.0.1"}}.newProver("B-LTA")
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.extend(t.Context(), "B-LTA", signed, out, revocation.Data{})
	if err != nil || e.x.Added.Certs != 3 || e.x.Added.OCSPs != 1 {
		t.Errorf("added %+v, %v", e.x.Added, err)
	}
	if err := verdict(out, 1, ""); err != nil {
		t.Error(err)
	}
}
