package cms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"testing"
	"time"
)

func TestVerifySignature(t *testing.T) {
	rsaKey, err1 := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, err2 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, edKey, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	message := []byte("what was signed")
	algorithm := func(pub crypto.PublicKey, h crypto.Hash, pss bool) []byte {
		var d der
		d.signatureAlgorithm(pub, h, pss)
		return d
	}
	for _, c := range []struct {
		name string
		key  crypto.Signer
		hash crypto.Hash
		opts crypto.SignerOpts
		pss  bool
		want error
	}{
		{"RSA", rsaKey, crypto.SHA256, crypto.SHA256, false, nil},
		{"RSA-PSS", rsaKey, crypto.SHA384, &rsa.PSSOptions{Hash: crypto.SHA384, SaltLength: 48}, true, nil},
		{"ECDSA", ecKey, crypto.SHA384, crypto.SHA384, false, nil},
		{"Ed25519", edKey, crypto.SHA512, crypto.Hash(0), false, nil},
		{"SHA-1", ecKey, crypto.SHA1, crypto.SHA1, false, ErrWeak},
	} {
		digest := sum(c.hash, message)
		if c.opts.HashFunc() == 0 {
			digest = message
		}
		signature, err := c.key.Sign(rand.Reader, digest, c.opts)
		if err != nil {
			t.Fatal(err)
		}
		alg := algorithm(c.key.Public(), c.hash, c.pss)
		if err := VerifySignature(c.key.Public(), alg, message, signature); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if c.want != nil {
			continue
		}
		if err := VerifySignature(c.key.Public(), alg, []byte("something else"), signature); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s over something else: %v", c.name, err)
		}
	}
	for name, alg := range map[string][]byte{
		"of another kind of key": algorithm(ecKey.Public(), crypto.SHA256, false),
		"without a hash":         {0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1},
		"empty":                  {},
	} {
		if VerifySignature(rsaKey.Public(), alg, message, make([]byte, 256)) == nil {
			t.Errorf("algorithm %s: accepted", name)
		}
	}
}

// A key of a million bits, as fits into a certificate, costs nothing.
func TestHugeKey(t *testing.T) {
	n := new(big.Int).Lsh(big.NewInt(1), 1_000_000)
	pub := &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 1<<31 - 1}
	var d der
	d.signatureAlgorithm(pub, crypto.SHA256, false)
	start := time.Now()
	if err := VerifySignature(pub, d, nil, make([]byte, pub.Size())); !errors.Is(err, ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}
