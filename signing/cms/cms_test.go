package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digitorus/pkcs7"
)

var (
	now     = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	content = []byte("the two byte ranges of a document")
)

// A person is a key with its certificate and the root that issued it.
type person struct {
	key   crypto.Signer
	chain []*x509.Certificate
}

func certify(key crypto.Signer, serial int64, issuer *person) (*person, error) {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprintf("signer %d", serial)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), BasicConstraintsValid: true,
		SubjectKeyId: []byte{byte(serial)},
		KeyUsage:     x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
	}
	p := &person{key: key}
	if issuer == nil {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage, c.Subject.CommonName = true, x509.KeyUsageCertSign, nil, "root"
		issuer = &person{key, []*x509.Certificate{c}}
	} else {
		p.chain = issuer.chain
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer.chain[0], key.Public(), issuer.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	p.chain = append([]*x509.Certificate{cert}, p.chain...)
	return p, err
}

// people are made once: a root with serial number 1, and one signer per kind.
var people = sync.OnceValues(func() (map[string]*person, error) {
	out := map[string]*person{}
	keys := []struct {
		name string
		make func() (crypto.Signer, error)
	}{
		{"root", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
		{"P-256", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
		{"P-384", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) }},
		{"P-521", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P521(), rand.Reader) }},
		{"RSA", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }},
		{"Ed25519", func() (crypto.Signer, error) { _, key, err := ed25519.GenerateKey(rand.Reader); return key, err }},
	}
	for i, k := range keys {
		key, err := k.make()
		if err != nil {
			return nil, err
		}
		if out[k.name], err = certify(key, int64(i+1), out["root"]); err != nil {
			return nil, err
		}
	}
	return out, nil
})

func who(t testing.TB, name string) *person {
	t.Helper()
	all, err := people()
	if err != nil {
		t.Fatal(err)
	}
	return all[name]
}

// A variant changes the parts between the steps.
type variant struct {
	hash  crypto.Hash // zero: HashFor
	pss   bool
	attrs func([]byte) []byte // before the signature
	data  func(*SignedData)   // before Assemble
	token []byte
}

func sign(t testing.TB, p *person, v variant) []byte {
	t.Helper()
	h := v.hash
	if h == 0 {
		var err error
		if h, err = HashFor(p.key.Public()); err != nil {
			t.Fatal(err)
		}
	}
	d := SignedData{Hash: h, Chain: p.chain, PSS: v.pss, Token: v.token}
	var err error
	if d.Attrs, err = SignedAttributes(AttrParams{Digest: sum(h, content), Hash: h, Chain: p.chain}); err != nil {
		t.Fatal(err)
	}
	if v.attrs != nil {
		d.Attrs = v.attrs(d.Attrs)
	}
	message, opts, err := ToSign(d)
	if err != nil {
		t.Fatal(err)
	}
	if d.Signature, err = p.key.Sign(rand.Reader, message, opts); err != nil {
		t.Fatal(err)
	}
	if v.data != nil {
		v.data(&d)
	}
	der, err := Assemble(d)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func verifies(der []byte) error {
	p, err := Parse(der)
	if err != nil {
		return err
	}
	return Verify(p, sum(p.Hash, content))
}

type signature struct {
	name, who string
	v         variant
}

func signatures() []signature {
	out := []signature{{"Ed25519", "Ed25519", variant{}}}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		for _, k := range []string{"P-256", "P-384", "P-521", "RSA"} {
			out = append(out, signature{k + " " + h.String(), k, variant{hash: h}})
		}
		out = append(out, signature{"RSA-PSS " + h.String(), "RSA", variant{hash: h, pss: true}})
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for _, s := range signatures() {
		p := who(t, s.who)
		token := derOctets(300)
		s.v.token = token
		der := sign(t, p, s.v)
		got, err := Parse(der)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if err := Verify(got, sum(got.Hash, content)); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if err := Verify(got, sum(got.Hash, []byte("another document"))); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: another content verifies: %v", s.name, err)
		}
		if !got.Signer.Equal(p.chain[0]) || got.Signers != 1 || len(got.Certificates) != 2 || got.Content != nil ||
			!bytes.Equal(got.Token, token) || !got.SigningTime.IsZero() || len(got.SignedAttrs) != 3 {
			t.Errorf("%s: read back as %+v", s.name, got)
		}
		if _, strict, err := walk(der); !strict || err != nil {
			t.Errorf("%s: not DER", s.name)
		}
		room, err := Room(p.chain, len(token))
		if err != nil || len(der) > room || len(der) < room-250 {
			t.Errorf("%s: %d bytes, room for %d, %v", s.name, len(der), room, err)
		}
	}
}

// derOctets is an OCTET STRING of about n bytes: DER that is no token.
func derOctets(n int) []byte { return append(appendHeader(nil, []byte{4}, n), make([]byte, n)...) }

func TestRoomIsExactForTheLongestSignature(t *testing.T) {
	for name, longest := range map[string]int{"P-256": 72, "P-384": 104, "P-521": 139, "RSA": 256, "Ed25519": 64} {
		p := who(t, name)
		for _, token := range [][]byte{nil, derOctets(10), derOctets(5000), derOctets(70000)} {
			room, err := Room(p.chain, len(token))
			if err != nil {
				t.Fatal(err)
			}
			der := sign(t, p, variant{hash: crypto.SHA512, pss: true, data: func(d *SignedData) {
				d.Token, d.Signature = token, make([]byte, longest)
			}})
			if len(der) != room {
				t.Errorf("%s with a token of %d bytes: %d bytes, room for %d", name, len(token), len(der), room)
			}
		}
	}
}

// The attributes are a DER SET OF: sorted, and in them no signing-time.
func TestSignedAttributesAreSortedDER(t *testing.T) {
	p := who(t, "P-256")
	attrs, err := SignedAttributes(AttrParams{Digest: sum(crypto.SHA256, content), Hash: crypto.SHA256, Chain: p.chain})
	if err != nil {
		t.Fatal(err)
	}
	h, err := readHeader(attrs, 0, len(attrs))
	if err != nil || h.tag != 0x31 {
		t.Fatalf("tag %#x, %v", h.tag, err)
	}
	list, err := elements(attrs[h.body:])
	if err != nil || len(list) != 3 {
		t.Fatalf("%d attributes, %v", len(list), err)
	}
	for i := range 2 {
		if bytes.Compare(list[i], list[i+1]) >= 0 {
			t.Errorf("attributes %d and %d are not in order", i, i+1)
		}
	}
	oid := []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x05}
	if bytes.Contains(attrs, oid) {
		t.Error("signing-time is among the attributes")
	}
}

func TestBadParametersAreRefused(t *testing.T) {
	p, ed := who(t, "P-256"), who(t, "Ed25519")
	weak := *p.chain[0]
	weak.PublicKey = &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	for name, a := range map[string]AttrParams{
		"no chain":         {sum(crypto.SHA256, content), crypto.SHA256, nil},
		"short digest":     {make([]byte, 31), crypto.SHA256, p.chain},
		"SHA-1":            {make([]byte, 20), crypto.SHA1, p.chain},
		"no hash":          {nil, 0, p.chain},
		"Ed25519, SHA-256": {make([]byte, 32), crypto.SHA256, ed.chain},
	} {
		if _, err := SignedAttributes(a); err == nil {
			t.Errorf("SignedAttributes, %s: accepted", name)
		}
	}
	attrs := []byte{0x31, 0}
	for name, d := range map[string]SignedData{
		"no chain":     {Attrs: attrs, Signature: []byte{1}, Hash: crypto.SHA256},
		"no signature": {Attrs: attrs, Hash: crypto.SHA256, Chain: p.chain},
		"no attrs":     {Signature: []byte{1}, Hash: crypto.SHA256, Chain: p.chain},
		"no SET":       {Attrs: []byte{0x30, 0}, Signature: []byte{1}, Hash: crypto.SHA256, Chain: p.chain},
		"two SETs":     {Attrs: []byte{0x31, 0, 0x31, 0}, Signature: []byte{1}, Hash: crypto.SHA256, Chain: p.chain},
		"bad token":    {Attrs: attrs, Signature: []byte{1}, Hash: crypto.SHA256, Chain: p.chain, Token: []byte{0x30, 9}},
		"RSA-1024":     {Attrs: attrs, Signature: []byte{1}, Hash: crypto.SHA256, Chain: []*x509.Certificate{&weak}},
	} {
		if _, err := Assemble(d); err == nil {
			t.Errorf("Assemble, %s: accepted", name)
		}
	}
	if _, err := Room(nil, 0); err == nil {
		t.Error("Room without a chain")
	}
	if _, err := Room(p.chain, -1); err == nil {
		t.Error("Room with a negative token")
	}
}

func openssl(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is missing: run make deps")
	}
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// OpenSSL is the outside judge. It knows no Ed25519 in CMS before version 3.2,
// so that one is judged by our verifier alone.
func TestOpenSSLVerifies(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "root.pem", pemOf("CERTIFICATE", who(t, "root").chain[0].Raw))
	write(t, dir, "content", content)
	write(t, dir, "other", []byte("another document"))
	verify := func(file string) (string, error) {
		return openssl(t, dir, "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", "cms.der",
			"-content", file, "-CAfile", "root.pem", "-attime", fmt.Sprint(now.Unix()), "-out", os.DevNull)
	}
	for _, s := range signatures() {
		if s.who == "Ed25519" {
			continue
		}
		write(t, dir, "cms.der", sign(t, who(t, s.who), s.v))
		if out, err := verify("content"); err != nil {
			t.Errorf("%s: %v\n%s", s.name, err, out)
		}
	}
	if out, err := verify("other"); err == nil {
		t.Errorf("OpenSSL verifies another content: %s", out)
	}
}

// digitorus/pkcs7 reads what we write, and verifies it where it can.
func TestPKCS7ReadsIt(t *testing.T) {
	for _, s := range signatures() {
		p7, err := pkcs7.Parse(sign(t, who(t, s.who), s.v))
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if len(p7.Certificates) != 2 || len(p7.Signers) != 1 || len(p7.Signers[0].AuthenticatedAttributes) != 3 {
			t.Errorf("%s: %d certificates, %d signers", s.name, len(p7.Certificates), len(p7.Signers))
		}
		p7.Content = content
		if err := p7.Verify(); err != nil && !s.v.pss { // it has no RSASSA-PSS
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// What OpenSSL writes, in BER and in DER, with content and without, we read and
// verify.
func TestReadsWhatOpenSSLWrites(t *testing.T) {
	dir := t.TempDir()
	p := who(t, "RSA")
	key, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "key.pem", pemOf("PRIVATE KEY", key))
	write(t, dir, "cert.pem", pemOf("CERTIFICATE", p.chain[0].Raw))
	write(t, dir, "content", content)
	for _, c := range []struct {
		flags string
		want  error
	}{
		{"-cades", nil},
		{"-cades -keyid", nil},
		{"-cades -keyopt rsa_padding_mode:pss", nil},
		{"-cades -md sha512 -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:20", nil},
		{"", ErrNoSigningCertificate},
		{"-cades -md sha1", ErrWeak},
		{"-md sha1", ErrWeak},
		{"-noattr", ErrInvalid},
	} {
		forms := []string{"", "-nodetach", "-nodetach -stream"} // -stream writes BER
		if strings.Contains(c.flags, "pss") {
			forms = forms[:2] // OpenSSL 3.0 cannot stream RSASSA-PSS
		}
		for _, form := range forms {
			args := strings.Fields("cms -sign -binary -outform DER -in content -signer cert.pem -inkey key.pem -out cms.der " + form)
			args = append(args, strings.Fields(c.flags)...)
			if out, err := openssl(t, dir, args...); err != nil {
				t.Fatalf("openssl %v: %v\n%s", args, err, out)
			}
			der, err := os.ReadFile(filepath.Join(dir, "cms.der"))
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := Parse(der)
			if err != nil {
				t.Errorf("%s %s: %v", c.flags, form, err)
				continue
			}
			if strings.Contains(form, "nodetach") {
				if !bytes.Equal(parsed.Content, content) {
					t.Errorf("%s %s: content %q", c.flags, form, parsed.Content)
				}
				err = VerifyEncapsulated(parsed, OIDData)
			} else {
				err = Verify(parsed, sum(parsed.Hash, content))
			}
			if c.want == nil && err != nil || !errors.Is(err, c.want) {
				t.Errorf("%s %s: %v, want %v", c.flags, form, err, c.want)
			}
		}
	}
}
