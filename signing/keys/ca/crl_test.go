package ca

import (
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/signing/demopki"
	"countersign/signing/revocation"
)

// The list proves a one-use certificate, also after its end, unless it was voided.
func TestCRLProvesOneUseCertificates(t *testing.T) {
	c, pki := newCA(t, nil)
	good, bad := issue(t, c), issue(t, c)
	if !c.Issued(good.Chain()[0]) || c.Issued(pki.Seal.Chain()[0]) {
		t.Error("Issued does not tell its own certificates from others")
	}
	for _, at := range []time.Time{now.Add(time.Minute), now.Add(100 * 24 * time.Hour)} {
		der, err := c.CRL(t.Context(), at, []Voided{{Serial: bad.Chain()[0].SerialNumber, At: now}})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []*OneUse{good, bad} {
			chain := k.Chain()
			answer, err := revocation.CheckCRL(der, revocation.Use{Cert: chain[0], Issuer: chain[1], At: now, Now: at})
			if k == good && (err != nil || !answer.ThisUpdate.Equal(at)) || k == bad && err == nil {
				t.Errorf("at %v: %+v, %v", at, answer, err)
			}
		}
	}
}

func TestCRLRefuses(t *testing.T) {
	c, pki := newCA(t, nil)
	for name, voided := range map[string]Voided{
		"no number": {At: now}, "a negative number": {Serial: big.NewInt(-1), At: now}, "the future": {Serial: big.NewInt(1), At: now.Add(time.Hour)},
	} {
		if _, err := c.CRL(t.Context(), now, []Voided{voided}); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
	if _, err := c.CRL(t.Context(), pki.CA.Chain()[0].NotAfter.Add(time.Second), nil); err == nil || !strings.Contains(err.Error(), "renew") {
		t.Errorf("after the end of the CA: %v", err)
	}
}

// OpenSSL reads the list, verifies its signature, and checks a chain with it.
func TestOpenSSLAcceptsTheCRL(t *testing.T) {
	c, pki := newCA(t, nil)
	good, bad := issue(t, c), issue(t, c)
	ours, err := c.CRL(t.Context(), now, []Voided{{Serial: bad.Chain()[0].SerialNumber, At: now.Add(-time.Second), Reason: 5}})
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
	for name, block := range map[string][]byte{
		"good.pem": pemOf("CERTIFICATE", good.Chain()[0].Raw), "bad.pem": pemOf("CERTIFICATE", bad.Chain()[0].Raw),
		"issuer.pem": pemOf("CERTIFICATE", pki.CA.Chain()[0].Raw), "ours.pem": pemOf("X509 CRL", ours), "roots.pem": pemOf("X509 CRL", roots[0]),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), block, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "openssl", args...)
		cmd.Dir = dir
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if out := run("crl", "-in", "ours.pem", "-noout", "-text", "-CAfile", "issuer.pem"); !strings.Contains(out, "verify OK") ||
		!strings.Contains(out, "Cessation Of Operation") {
		t.Errorf("openssl crl: %s", out)
	}
	for name, want := range map[string]string{"good.pem": "good.pem: OK", "bad.pem": "certificate revoked"} {
		out := run("verify", "-crl_check_all", "-attime", "1795424400", "-CAfile", demopki.RootFile, "-untrusted", "issuer.pem",
			"-CRLfile", "ours.pem", "-CRLfile", "roots.pem", name)
		if !strings.Contains(out, want) {
			t.Errorf("openssl verify %s: %s", name, out)
		}
	}
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
