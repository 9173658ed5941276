// Package keytest is the test suite that every signing.Key must pass, whatever
// holds the private key.
package keytest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"countersign/signing"
	"countersign/signing/cms"
)

// A Subject is a kind of key under test.
type Subject struct {
	Open func(t *testing.T) signing.Key // a usable key, a new one if keys are one-use
	Used error                          // for one-use keys: the error of the second signature; else nil
}

// Run runs all tests.
func Run(t *testing.T, s Subject) {
	t.Run("chain", func(t *testing.T) { testChain(t, s.Open(t)) })
	t.Run("signature", func(t *testing.T) { testSignature(t, s) })
	t.Run("refusals", func(t *testing.T) { testRefusals(t, s.Open(t)) })
	t.Run("concurrent", func(t *testing.T) { testConcurrent(t, s) })
}

// testChain: the first certificate has the key, each is signed by the next, and
// the slice is the caller's own.
func testChain(t *testing.T, k signing.Key) {
	chain := k.Chain()
	if len(chain) == 0 {
		t.Fatal("no certificate")
	}
	public, ok := k.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(chain[0].PublicKey) {
		t.Error("the first certificate is for another key")
	}
	for i := range len(chain) - 1 {
		if err := chain[i].CheckSignatureFrom(chain[i+1]); err != nil {
			t.Errorf("certificate %d is not signed by %d: %v", i, i+1, err)
		}
	}
	chain[0] = nil
	if k.Chain()[0] == nil {
		t.Error("Chain hands out its own slice: a caller can change it")
	}
}

// testSignature: a CMS made with the key verifies, with each way to sign.
func testSignature(t *testing.T, s Subject) {
	ways := []bool{false}
	if _, ok := s.Open(t).Public().(*rsa.PublicKey); ok {
		ways = append(ways, true)
	}
	for _, pss := range ways {
		k := s.Open(t)
		if err := signAndVerify(t.Context(), k, pss); err != nil {
			t.Errorf("PSS %v: %v", pss, err)
		}
		err := signAndVerify(t.Context(), k, pss)
		if !errors.Is(err, s.Used) {
			t.Errorf("PSS %v: second signature: %v, want %v", pss, err, s.Used)
		}
	}
}

func signAndVerify(ctx context.Context, k signing.Key, pss bool) error {
	h, err := cms.HashFor(k.Public())
	if err != nil {
		return err
	}
	w := h.New()
	w.Write([]byte("content"))
	digest := w.Sum(nil)
	d := cms.SignedData{Hash: h, Chain: k.Chain(), PSS: pss}
	if d.Attrs, err = cms.SignedAttributes(cms.AttrParams{Digest: digest, Hash: h, Chain: d.Chain}); err != nil {
		return err
	}
	message, opts, err := cms.ToSign(d)
	if err != nil {
		return err
	}
	before := bytes.Clone(message)
	if d.Signature, err = k.Sign(ctx, message, opts); err != nil {
		return err
	}
	if !bytes.Equal(before, message) {
		return errors.New("the key changed the digest it was given")
	}
	der, err := cms.Assemble(d)
	if err != nil {
		return err
	}
	room, err := cms.Room(d.Chain, 0)
	if err != nil || len(der) > room {
		return errors.Join(err, errors.New("the signature is larger than cms.Room says"))
	}
	p, err := cms.Parse(der)
	if err != nil {
		return err
	}
	return cms.Verify(p, digest)
}

// testRefusals: what cannot be meant is refused and does not use the key up.
func testRefusals(t *testing.T, k signing.Key) {
	h, err := cms.HashFor(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	digest := make([]byte, h.Size())
	if _, ok := k.Public().(ed25519.PublicKey); ok {
		if _, err := k.Sign(t.Context(), digest, crypto.SHA512); err == nil {
			t.Error("signed a digest although Ed25519 signs messages")
		}
	} else {
		if _, err := k.Sign(t.Context(), digest[1:], h); err == nil {
			t.Error("signed a digest that is too short")
		}
		for _, unknown := range []crypto.Hash{0, 99} {
			if _, err := k.Sign(t.Context(), digest, unknown); err == nil {
				t.Errorf("signed with hash %d", unknown)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Sign(ctx, digest, h); !errors.Is(err, context.Canceled) {
		t.Errorf("signed for a caller who has gone: %v", err)
	}
	if err := signAndVerify(t.Context(), k, false); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
}

// testConcurrent: all of eight callers succeed, or exactly one if keys are one-use.
func testConcurrent(t *testing.T, s Subject) {
	k := s.Open(t)
	const callers = 8
	var good atomic.Int32
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			err := signAndVerify(t.Context(), k, false)
			if err == nil {
				good.Add(1)
			} else if s.Used == nil || !errors.Is(err, s.Used) {
				t.Errorf("concurrent signature: %v", err)
			}
		})
	}
	wg.Wait()
	want := int32(callers)
	if s.Used != nil {
		want = 1
	}
	if got := good.Load(); got != want {
		t.Errorf("%d signatures of %d callers, want %d", got, callers, want)
	}
}
