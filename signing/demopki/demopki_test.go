package demopki

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/keys/keytest"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func TestEveryCertificateSaysDemoAndChains(t *testing.T) {
	p, err := New(now, "Example University")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []*Identity{p.Root, p.Seal, p.CA, p.Timestamps} {
		c := id.certificate()
		if !strings.Contains(c.Subject.CommonName, "DEMO") {
			t.Errorf("subject %q does not say DEMO", c.Subject)
		}
		_, err := c.Verify(x509.VerifyOptions{
			Roots: p.Roots(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		if err != nil {
			t.Errorf("%s: %v", c.Subject.CommonName, err)
		}
	}
}

func TestWriteThenLoadGivesTheSamePKI(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Load of an empty directory: %v, want fs.ErrNotExist", err)
	}
	p, err := New(now, "Example University")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	q, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range p.files() {
		if got := *q.files()[name]; !samePublicKey(got.Public(), (*id).Public()) || len(got.chain) != len((*id).chain) || !got.certificate().Equal((*id).certificate()) {
			t.Errorf("%s: another identity came back", name)
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v; want 0600", name, info.Mode(), err)
		}
	}
}

func TestLoadRefusesABrokenKey(t *testing.T) {
	dir := t.TempDir()
	p, err := New(now, "Example")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, SealFile), []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), SealFile) {
		t.Errorf("Load: %v, want an error that names %s", err, SealFile)
	}
}

func TestIdentitiesPassTheKeySuite(t *testing.T) {
	p, err := New(now, "Example")
	if err != nil {
		t.Fatal(err)
	}
	keytest.Run(t, keytest.Subject{Open: func(*testing.T) signing.Key { return p.Seal }})
}
