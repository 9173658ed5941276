package ca

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/signing/demopki"
	"countersign/signing/revocation"
)

// What the CA tells proves the one certificate, also after its end, and no other.
func TestProveOneUseCertificates(t *testing.T) {
	for _, kind := range []demopki.Algorithm{demopki.P256, demopki.P384, demopki.RSA2048, demopki.Ed25519} {
		t.Run(string(kind), func(t *testing.T) {
			pki, err := demopki.Make(demopki.Options{Now: now, Organisation: "Example", CA: kind})
			if err != nil {
				t.Fatal(err)
			}
			c, err := New(Options{Key: pki.CA})
			if err != nil {
				t.Fatal(err)
			}
			one, other := issue(t, c), issue(t, c)
			if !c.Issued(one.Chain()[0]) || c.Issued(pki.Seal.Chain()[0]) {
				t.Error("Issued does not tell its own certificates from others")
			}
			for _, at := range []time.Time{now.Add(90 * time.Second), now.Add(100 * 24 * time.Hour)} {
				told, err := c.Prove(t.Context(), one.Chain()[0], at)
				if err != nil || len(told.CRLs) != 1 || len(told.OCSPs) != 1 {
					t.Fatalf("%d lists, %d responses, %v", len(told.CRLs), len(told.OCSPs), err)
				}
				for _, k := range []*OneUse{one, other} {
					chain := k.Chain()
					use := revocation.Use{Cert: chain[0], Issuer: chain[1], At: now, Now: at}
					list, errList := revocation.CheckCRL(told.CRLs[0], use)
					response, errResponse := revocation.CheckOCSP(told.OCSPs[0], use)
					if k == other {
						if errList == nil || errResponse == nil {
							t.Errorf("at %v it proves another certificate: %v, %v", at, errList, errResponse)
						}
						continue
					}
					if errList != nil || errResponse != nil || !list.ThisUpdate.Equal(at) || !response.ThisUpdate.Equal(at) {
						t.Errorf("at %v: %+v, %v; %+v, %v", at, list, errList, response, errResponse)
					}
					if end := chain[0].NotAfter; at.Before(end) && !(list.NextUpdate.Equal(end) && response.NextUpdate.Equal(end)) {
						t.Errorf("they hold until %v and %v, the certificate until %v", list.NextUpdate, response.NextUpdate, end)
					}
				}
			}
		})
	}
}

func TestProveRefuses(t *testing.T) {
	c, pki := newCA(t, nil)
	if _, err := c.Prove(t.Context(), pki.Seal.Chain()[0], now); err == nil || !strings.Contains(err.Error(), "another CA") {
		t.Errorf("the certificate of another CA: %v", err)
	}
	if _, err := c.Prove(t.Context(), issue(t, c).Chain()[0], pki.CA.Chain()[0].NotAfter.Add(time.Second)); err == nil || !strings.Contains(err.Error(), "renew") {
		t.Errorf("after the end of the CA: %v", err)
	}
}

// OpenSSL checks a chain with the list, by its distribution point, and the OCSP response.
func TestOpenSSLAcceptsWhatTheCATells(t *testing.T) {
	c, pki := newCA(t, nil)
	one, other := issue(t, c), issue(t, c)
	told, err := c.Prove(t.Context(), one.Chain()[0], now)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := pki.CRLs(now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := pki.Write(dir); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"one.pem": pemOf("CERTIFICATE", one.Chain()[0].Raw), "other.pem": pemOf("CERTIFICATE", other.Chain()[0].Raw),
		"issuer.pem": pemOf("CERTIFICATE", pki.CA.Chain()[0].Raw), "told.pem": pemOf("X509 CRL", told.CRLs[0]),
		"roots.pem": pemOf("X509 CRL", roots[0]), "told.ocsp": told.OCSPs[0],
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "openssl", args...)
		cmd.Dir = dir
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	verify := func(cert string) string {
		return run("verify", "-purpose", "any", "-crl_check_all", "-extended_crl", "-attime", "1795424460", "-CAfile", demopki.RootFile,
			"-untrusted", "issuer.pem", "-CRLfile", "told.pem", "-CRLfile", "roots.pem", cert)
	}
	if out := verify("one.pem"); !strings.Contains(out, "one.pem: OK") {
		t.Errorf("the certificate: %s", out)
	}
	if out := verify("other.pem"); !strings.Contains(out, "scope") {
		t.Errorf("another certificate: %s", out)
	}
	out := run("ocsp", "-respin", "told.ocsp", "-issuer", "issuer.pem", "-cert", "one.pem", "-CAfile", demopki.RootFile,
		"-attime", "1795424460", "-validity_period", "1000000000")
	if !strings.Contains(out, "Response verify OK") || !strings.Contains(out, "one.pem: good") {
		t.Errorf("the response: %s", out)
	}
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
