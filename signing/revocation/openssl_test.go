package revocation

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A caDir is a CA kept by openssl ca: the outside counterpart that makes answers for us.
type caDir struct {
	t   *testing.T
	dir string
}

const caConfig = `
[ca]
default_ca = own
[own]
dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = %[1]s
default_days = 30
default_crl_days = 7
policy = any
unique_subject = no
copy_extensions = none
[own_v2]
authorityKeyIdentifier = keyid
[any]
commonName = supplied
[ca_ext]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[leaf_ext]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
crlDistributionPoints = URI:http://ca.example/ca.crl
[ocsp_ext]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = OCSPSigning
[scoped]
authorityKeyIdentifier = keyid
issuingDistributionPoint = critical,@idp
[idp]
fullname = URI:http://ca.example/ca.crl
onlyuser = TRUE
[req]
distinguished_name = dn
[dn]
`

// newCADir makes a CA with the certificates good, bad (revoked for being superseded) and ocsp.
// algorithm is that of openssl genpkey, for the keys that sign answers.
func newCADir(t *testing.T, digest string, algorithm ...string) *caDir {
	t.Helper()
	d := &caDir{t, t.TempDir()}
	for name, content := range map[string]string{"index.txt": "", "serial": "1000\n", "crlnumber": "01\n", "ca.cnf": fmt.Sprintf(caConfig, digest)} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	genkey := func(name string, algorithm ...string) {
		d.run(append([]string{"genpkey", "-out", name + ".key", "-algorithm"}, algorithm...)...)
	}
	genkey("ca", algorithm...)
	d.run("req", "-x509", "-config", "ca.cnf", "-extensions", "ca_ext", "-key", "ca.key", "-out", "ca.pem", "-subj", "/CN=Outside CA", "-days", "30")
	for name, ext := range map[string]string{"good": "leaf_ext", "bad": "leaf_ext", "ocsp": "ocsp_ext"} {
		if name == "ocsp" {
			genkey(name, algorithm...)
		} else {
			genkey(name, "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
		}
		d.run("req", "-new", "-config", "ca.cnf", "-key", name+".key", "-out", name+".csr", "-subj", "/CN="+name)
		d.run("ca", "-batch", "-config", "ca.cnf", "-extensions", ext, "-in", name+".csr", "-out", name+".pem", "-notext")
	}
	d.run("ca", "-config", "ca.cnf", "-revoke", "bad.pem", "-crl_reason", "superseded")
	return d
}

func (d *caDir) run(args ...string) {
	d.t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		d.t.Fatal("openssl is missing: run make deps")
	}
	cmd := exec.CommandContext(d.t.Context(), "openssl", args...)
	cmd.Dir = d.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (d *caDir) read(name string) []byte {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		d.t.Fatal(err)
	}
	if block, _ := pem.Decode(b); block != nil {
		return block.Bytes
	}
	return b
}

func (d *caDir) cert(name string) *x509.Certificate {
	d.t.Helper()
	c, err := x509.ParseCertificate(d.read(name + ".pem"))
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// use is one from the moment at which the certificate began.
func (d *caDir) use(name string) Use {
	c := d.cert(name)
	return Use{Cert: c, Issuer: d.cert("ca"), At: c.NotBefore, Now: time.Now()}
}

// What OpenSSL's responder says to our requests, for every kind of key.
func TestOpenSSLResponder(t *testing.T) {
	for name, c := range map[string]struct {
		digest    string
		algorithm []string
		ocsp      []string // further arguments
	}{
		"P-256":    {"sha256", []string{"EC", "-pkeyopt", "ec_paramgen_curve:P-256"}, nil},
		"P-384":    {"sha384", []string{"EC", "-pkeyopt", "ec_paramgen_curve:P-384"}, []string{"-rmd", "sha384"}},
		"RSA-2048": {"sha256", []string{"RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, nil},
		"RSA-PSS":  {"sha256", []string{"RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, []string{"-rmd", "sha256", "-rsigopt", "rsa_padding_mode:pss", "-rsigopt", "rsa_pss_saltlen:32"}},
		"by key":   {"sha256", []string{"EC", "-pkeyopt", "ec_paramgen_curve:P-256"}, []string{"-resp_key_id"}},
	} {
		d := newCADir(t, c.digest, c.algorithm...)
		for _, signer := range []string{"ocsp", "ca"} {
			nonce := []byte("sixteen bytes ok")
			answer := func(who string) ([]byte, Use) {
				u := d.use(who)
				u.Nonce = nonce
				query, err := RequestOCSP(u.Cert, u.Issuer, nonce)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(d.dir, "query.der"), query, 0o600); err != nil {
					t.Fatal(err)
				}
				d.run(append([]string{
					"ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", signer + ".pem", "-rkey", signer + ".key",
					"-ndays", "1", "-reqin", "query.der", "-respout", "answer.der",
				}, c.ocsp...)...)
				u.Now = time.Now()
				return d.read("answer.der"), u
			}
			der, u := answer("good")
			a, err := CheckOCSP(der, u)
			if err != nil || (a.Responder != nil) != (signer == "ocsp") {
				t.Errorf("%s by %s: %+v, %v", name, signer, a, err)
			}
			u.Nonce = []byte("another nonce")
			if _, err := CheckOCSP(der, u); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s by %s, another nonce: %v", name, signer, err)
			}
			der, u = answer("bad")
			u.At = time.Now().Add(time.Second)
			told, ok := errors.AsType[*RevokedError](func() error { _, err := CheckOCSP(der, u); return err }())
			if !ok || told.Reason != 4 {
				t.Errorf("%s by %s, revoked: %+v", name, signer, told)
			}
		}
	}
}

func TestOpenSSLOCSPWithSHA256(t *testing.T) {
	d := newCADir(t, "sha256", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	d.run("ocsp", "-sha256", "-issuer", "ca.pem", "-cert", "good.pem", "-reqout", "query.der", "-no_nonce")
	d.run("ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "ocsp.pem", "-rkey", "ocsp.key", "-reqin", "query.der", "-respout", "answer.der")
	if _, err := CheckOCSP(d.read("answer.der"), d.use("good")); err != nil {
		t.Error(err)
	}
	// An end entity of the CA is no responder.
	d.run("ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "good.pem", "-rkey", "good.key", "-reqin", "query.der", "-respout", "answer.der")
	if _, err := CheckOCSP(d.read("answer.der"), d.use("good")); !errors.Is(err, ErrInvalid) {
		t.Errorf("signed by an end entity: %v", err)
	}
}

// OpenSSL's lists, of version 1 and 2, for every kind of key.
func TestOpenSSLLists(t *testing.T) {
	for name, c := range map[string]struct {
		digest    string
		algorithm []string
		gencrl    []string
	}{
		"v1":       {"sha256", []string{"EC", "-pkeyopt", "ec_paramgen_curve:P-256"}, nil},
		"v2":       {"sha256", []string{"EC", "-pkeyopt", "ec_paramgen_curve:P-256"}, []string{"-crlexts", "own_v2"}},
		"scoped":   {"sha256", []string{"EC", "-pkeyopt", "ec_paramgen_curve:P-256"}, []string{"-crlexts", "scoped"}},
		"RSA-3072": {"sha384", []string{"RSA", "-pkeyopt", "rsa_keygen_bits:3072"}, []string{"-crlexts", "own_v2"}},
		"RSA-PSS":  {"sha256", []string{"RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, []string{"-crlexts", "own_v2", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"}},
		"Ed25519":  {"default", []string{"ED25519"}, []string{"-crlexts", "own_v2"}},
	} {
		d := newCADir(t, c.digest, c.algorithm...)
		d.run(append([]string{"ca", "-config", "ca.cnf", "-gencrl", "-out", "crl.pem"}, c.gencrl...)...)
		if _, err := CheckCRL(d.read("crl.pem"), d.use("good")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		u := d.use("bad")
		u.At = time.Now().Add(time.Second)
		if _, err := CheckCRL(d.read("crl.pem"), u); !errors.Is(err, ErrRevoked) {
			t.Errorf("%s, revoked: %v", name, err)
		}
	}
}
