package ca

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/cms"
	"countersign/signing/demopki"
	"countersign/signing/keys/keytest"
)

var (
	now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	ann = Subject{Name: "Ann Müller", Address: "ann@example.org", Organisation: "Example GmbH", RequestID: "r-17"}
)

var newPKI = sync.OnceValues(func() (*demopki.PKI, error) { return demopki.New(now, "Example") })

func newCA(t *testing.T, change func(*Options)) (*CA, *demopki.PKI) {
	t.Helper()
	pki, err := newPKI()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Key: pki.CA}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c, pki
}

func issue(t *testing.T, c *CA) *OneUse {
	t.Helper()
	k, err := c.Issue(t.Context(), ann, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestOneUseKeyPassesTheSuite(t *testing.T) {
	c, _ := newCA(t, nil)
	keytest.Run(t, keytest.Subject{Open: func(t *testing.T) signing.Key { return issue(t, c) }, Used: ErrUsed})
}

func TestProfile(t *testing.T) {
	c, pki := newCA(t, nil)
	leaf := issue(t, c).Chain()[0]
	check := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("%s is not as the profile says", what)
		}
	}
	check("subject", leaf.Subject.CommonName == ann.Name && leaf.Subject.SerialNumber == "r-17" && slices.Equal(leaf.Subject.Organization, []string{"Example GmbH"}))
	check("rfc822Name", slices.Equal(leaf.EmailAddresses, []string{"ann@example.org"}) && len(leaf.DNSNames) == 0)
	check("validity", leaf.NotBefore.Equal(now.Add(-10*time.Minute)) && leaf.NotAfter.Equal(now.Add(24*time.Hour)))
	check("key usage", leaf.KeyUsage == x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment)
	check("extended key usage", slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}) &&
		len(leaf.UnknownExtKeyUsage) == 1 && leaf.UnknownExtKeyUsage[0].Equal(oidDocumentSigning))
	check("basic constraints", leaf.BasicConstraintsValid && !leaf.IsCA)
	check("key identifiers", len(leaf.SubjectKeyId) == 20 && bytes.Equal(leaf.AuthorityKeyId, pki.CA.Chain()[0].SubjectKeyId))
	check("serial number", leaf.SerialNumber.Sign() > 0 && leaf.SerialNumber.BitLen() <= 128 && leaf.SerialNumber.BitLen() > 64)
	check("short-term mark", hasExtension(leaf, oidShortTerm) && !hasExtension(leaf, asn1.ObjectIdentifier{2, 5, 29, 56}))
	other := issue(t, c).Chain()[0]
	check("a second serial number", other.SerialNumber.Cmp(leaf.SerialNumber) != 0)
	check("a second key", !bytes.Equal(other.RawSubjectPublicKeyInfo, leaf.RawSubjectPublicKeyInfo))
}

func hasExtension(c *x509.Certificate, oid []int) bool {
	for _, e := range c.Extensions {
		if slices.Equal(e.Id, oid) {
			return !e.Critical
		}
	}
	return false
}

func TestRevocationURLsReplaceTheShortTermMark(t *testing.T) {
	policy, err := x509.ParseOID("2.999.1")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := newCA(t, func(o *Options) {
		o.CRLURLs, o.OCSPURLs = []string{"http://ca.example/crl"}, []string{"http://ca.example/ocsp"}
		o.Policies = []x509.OID{policy}
	})
	leaf := issue(t, c).Chain()[0]
	if hasExtension(leaf, oidShortTerm) {
		t.Error("says that there is no revocation information, and where it is")
	}
	if !slices.Equal(leaf.CRLDistributionPoints, []string{"http://ca.example/crl"}) || !slices.Equal(leaf.OCSPServer, []string{"http://ca.example/ocsp"}) {
		t.Errorf("URLs %v %v", leaf.CRLDistributionPoints, leaf.OCSPServer)
	}
	if len(leaf.Policies) != 1 || !leaf.Policies[0].Equal(policy) {
		t.Errorf("policies %v", leaf.Policies)
	}
}

func TestSubjectsThatNoCertificateMayName(t *testing.T) {
	c, _ := newCA(t, nil)
	with := func(change func(*Subject)) Subject { s := ann; change(&s); return s }
	for what, s := range map[string]Subject{
		"no name":           with(func(s *Subject) { s.Name = "" }),
		"space around":      with(func(s *Subject) { s.Name = " Ann" }),
		"right-to-left":     with(func(s *Subject) { s.Name = "Ann \u202etsrif" }),
		"zero width":        with(func(s *Subject) { s.Name = "An\u200bn" }),
		"line break":        with(func(s *Subject) { s.Name = "Ann\nBob" }),
		"line separator":    with(func(s *Subject) { s.Name = "Ann\u2028Bob" }),
		"NUL":               with(func(s *Subject) { s.Name = "Ann\x00" }),
		"bad UTF-8":         with(func(s *Subject) { s.Name = "Ann\xff" }),
		"65 characters":     with(func(s *Subject) { s.Name = strings.Repeat("ü", 65) }),
		"no letter":         with(func(s *Subject) { s.Name = "123 ..." }),
		"organisation":      with(func(s *Subject) { s.Organisation = "Ex\u2066ample" }),
		"no address":        with(func(s *Subject) { s.Address = "" }),
		"two addresses":     with(func(s *Subject) { s.Address = "a@b.example, c@d.example" }),
		"named address":     with(func(s *Subject) { s.Address = "Ann <a@b.example>" }),
		"non-ASCII address": with(func(s *Subject) { s.Address = "änn@example.org" }),
		"quoted space":      with(func(s *Subject) { s.Address = `"a b"@example.org` }),
		"no request":        with(func(s *Subject) { s.RequestID = "" }),
		"request":           with(func(s *Subject) { s.RequestID = "r/17" }),
	} {
		if _, err := c.Issue(t.Context(), s, now, rand.Reader); err == nil {
			t.Errorf("%s: issued", what)
		}
	}
	for _, name := range []string{strings.Repeat("ü", 64), "李小龍", "Anne-Marie O’Neill", "J. R. R."} {
		s := with(func(s *Subject) { s.Name = name })
		k, err := c.Issue(t.Context(), s, now, rand.Reader)
		if err != nil {
			t.Errorf("%q: %v", name, err)
		} else if got := k.Chain()[0].Subject.CommonName; got != name {
			t.Errorf("%q became %q", name, got)
		}
	}
}

func TestTheCAMustOutlastTheCertificate(t *testing.T) {
	c, pki := newCA(t, nil)
	end := pki.CA.Chain()[0].NotAfter
	if _, err := c.Issue(t.Context(), ann, end.Add(-Lifetime), rand.Reader); err != nil {
		t.Errorf("a day before the end: %v", err)
	}
	if _, err := c.Issue(t.Context(), ann, end.Add(-Lifetime+time.Second), rand.Reader); err == nil || !strings.Contains(err.Error(), "renew") {
		t.Errorf("less than a day before the end: %v", err)
	}
	if _, err := New(Options{Key: pki.Seal}); err == nil {
		t.Error("a seal is taken for a CA")
	}
}

func TestRandomnessThatFails(t *testing.T) {
	c, _ := newCA(t, nil)
	if _, err := c.Issue(t.Context(), ann, now, bytes.NewReader(nil)); err == nil {
		t.Error("issued without randomness")
	}
	if _, err := c.Issue(t.Context(), ann, now, bytes.NewReader(make([]byte, 1024))); err == nil {
		t.Error("issued with a serial number of zero")
	}
}

func TestDiscardedKeyDoesNotSign(t *testing.T) {
	c, _ := newCA(t, nil)
	k := issue(t, c)
	k.Discard()
	if _, err := k.Sign(t.Context(), make([]byte, 32), crypto.SHA256); !errors.Is(err, ErrUsed) {
		t.Errorf("error %v, want ErrUsed", err)
	}
}

// OpenSSL verifies a CAdES signature by a one-use key up to the demo root.
func TestOpenSSLAcceptsAOneUseSignature(t *testing.T) {
	c, pki := newCA(t, nil)
	k := issue(t, c)
	content := []byte("a contract")
	h := crypto.SHA256.New()
	h.Write(content)
	d := cms.SignedData{Hash: crypto.SHA256, Chain: k.Chain()}
	var err error
	if d.Attrs, err = cms.SignedAttributes(cms.AttrParams{Digest: h.Sum(nil), Hash: d.Hash, Chain: d.Chain}); err != nil {
		t.Fatal(err)
	}
	message, opts, err := cms.ToSign(d)
	if err != nil {
		t.Fatal(err)
	}
	if d.Signature, err = k.Sign(t.Context(), message, opts); err != nil {
		t.Fatal(err)
	}
	der, err := cms.Assemble(d)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := errors.Join(pki.Write(dir), os.WriteFile(filepath.Join(dir, "content"), content, 0o600),
		os.WriteFile(filepath.Join(dir, "cms.der"), der, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is missing: run make deps")
	}
	cmd := exec.CommandContext(t.Context(), "openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", "cms.der",
		"-content", "content", "-CAfile", demopki.RootFile, "-attime", "1795424400", "-out", os.DevNull)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("openssl cms -verify: %v\n%s", err, out)
	}
}
