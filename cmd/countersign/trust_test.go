package main

import (
	"bytes"
	"crypto"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"countersign/configs"
	"countersign/signing/demopki"
	"countersign/signing/timestamp"
)

// TestTrustedAuthorities: an authority whose chain does not end at a trusted root, or that
// stamps under another policy than the one asked for, is passed over for the next one.
func TestTrustedAuthorities(t *testing.T) {
	var urls []string
	var pkis []*demopki.PKI
	for _, name := range []string{"Stranger", "Acme"} {
		pki, err := demopki.New(time.Now(), name)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(pki.TSA(time.Now))
		defer server.Close()
		urls, pkis = append(urls, server.URL), append(pkis, pki)
	}
	dir := t.TempDir()
	if err := pkis[1].Write(dir); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, demopki.RootFile)
	signer := func(der []byte) string {
		token, err := timestamp.ParseToken(der)
		if err != nil {
			t.Fatal(err)
		}
		return token.Signer.Subject.CommonName
	}
	cfg := &configs.Config{TSA: []configs.TSA{{URL: urls[0]}, {URL: urls[1]}}, Evidence: configs.Evidence{Trust: root}}
	s, err := newTimestamper(cfg)
	if err != nil {
		t.Fatal(err)
	}
	der, _, err := s.Timestamp(t.Context(), nil, []byte("signature"))
	if err != nil || signer(der) != pkis[1].Timestamps.Chain()[0].Subject.CommonName {
		t.Errorf("the daemon was stamped by another one; %v", err)
	}
	cfg.TSA[1].Policy = "2.999.77"
	if s, err = newTimestamper(cfg); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Timestamp(t.Context(), nil, []byte("signature")); err == nil {
		t.Error("stamped under another policy")
	}
	cfg.TSA[1].Policy = demopki.Policy.String()
	if s, err = newTimestamper(cfg); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Timestamp(t.Context(), nil, []byte("signature")); err != nil {
		t.Error(err)
	}
	p, err := evidenceFlags{TSA: urls, Trust: []string{root}}.newProver("B-T")
	if err != nil {
		t.Fatal(err)
	}
	token, err := p.client.Timestamp(t.Context(), []byte("signature"), crypto.SHA256)
	if err != nil || !bytes.Equal(token.Signer.Raw, pkis[1].Timestamps.Chain()[0].Raw) {
		t.Errorf("the command line was stamped by another one; %v", err)
	}
}
