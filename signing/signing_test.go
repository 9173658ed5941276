package signing_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/pades"
	"countersign/signing/pdf"
)

// prepared returns R0 with the wanted fields.
func prepared(t testing.TB) []byte {
	t.Helper()
	var buf bytes.Buffer
	res, names, err := signing.Prepare(&buf, section(pdf.Sample("x", []string{"y"})), wanted)
	check(t, err)
	if res.Size != int64(buf.Len()) || strings.Join(names, " ") != "Seal Signature1 Signature2" {
		t.Fatalf("%v %v", res, names)
	}
	return buf.Bytes()
}

func newIntent(t testing.TB, base []byte, key *softKey, tokenRoom int) signing.Intent {
	t.Helper()
	in, err := signing.NewIntent(bytes.NewReader(base), int64(len(base)), signing.Params{
		Field: "Seal", Certification: 2, SigningTime: now, Chain: key.chain, TokenRoom: tokenRoom,
	})
	check(t, err)
	return in
}

// TestTicketOnce: however many ask at once, the key is asked once.
func TestTicketOnce(t *testing.T) {
	key := newKeys(t, "p256")[0]
	ticket, err := signing.NewTicket(newIntent(t, prepared(t), key, 0))
	check(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	signed, used := 0, 0
	for range 20 {
		wg.Go(func() {
			_, err := ticket.Sign(t.Context(), key)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				signed++
			} else if errors.Is(err, signing.ErrUsed) {
				used++
			}
		})
	}
	wg.Wait()
	if signed != 1 || used != 19 || key.calls.Load() != 1 {
		t.Errorf("%d signatures, %d times used, %d calls of the key", signed, used, key.calls.Load())
	}
}

// TestTicketAfterError: a key that fails may have signed; the ticket is spent.
func TestTicketAfterError(t *testing.T) {
	keys := newKeys(t, "p256", "p256")
	in := newIntent(t, prepared(t), keys[0], 0)
	ticket, err := signing.NewTicket(in)
	check(t, err)
	if _, err := ticket.Sign(t.Context(), keys[1]); err == nil || keys[1].calls.Load() != 0 {
		t.Errorf("a foreign key was asked: %v", err)
	}
	liar := &softKey{Signer: wrongSigner{keys[0].Signer, keys[1].Signer}, chain: keys[0].chain}
	if _, err := ticket.Sign(t.Context(), liar); err == nil || errors.Is(err, signing.ErrUsed) {
		t.Errorf("a bad signature was handed on: %v", err)
	}
	if _, err := ticket.Sign(t.Context(), keys[0]); !errors.Is(err, signing.ErrUsed) {
		t.Errorf("a ticket was used twice: %v", err)
	}
}

// TestTamperedIntent: a stored intent whose parts do not fit gives no ticket.
func TestTamperedIntent(t *testing.T) {
	keys := newKeys(t, "p256", "p256")
	in := newIntent(t, prepared(t), keys[0], 0)
	for name, change := range map[string]func(*signing.Intent){
		"digest":     func(in *signing.Intent) { in.Digest = bytes.Repeat([]byte{7}, 32) },
		"attributes": func(in *signing.Intent) { in.SignedAttrs = append(bytes.Clone(in.SignedAttrs), 0) },
		"chain":      func(in *signing.Intent) { in.Chain = [][]byte{keys[1].chain[0].Raw} },
		"no chain":   func(in *signing.Intent) { in.Chain = nil },
		"no der":     func(in *signing.Intent) { in.Chain = [][]byte{{1, 2}} },
		"hash":       func(in *signing.Intent) { in.Hash = 0 },
	} {
		bad := in
		change(&bad)
		if _, err := signing.NewTicket(bad); err == nil {
			t.Errorf("%s: a ticket was made", name)
		}
		if _, err := signing.Finish(io.Discard, bytes.NewReader(nil), bad, signing.Proof{}); err == nil {
			t.Errorf("%s: a file was finished", name)
		}
	}
	if _, err := signing.NewTicket(signing.Intent{}); err == nil {
		t.Error("an empty intent gave a ticket")
	}
}

// TestFinishFailsClosed: nothing but base and signature of the intent is released.
func TestFinishFailsClosed(t *testing.T) {
	keys := newKeys(t, "p256", "p256")
	base := prepared(t)
	in := newIntent(t, base, keys[0], 0)
	ticket, err := signing.NewTicket(in)
	check(t, err)
	sig, err := ticket.Sign(t.Context(), keys[0])
	check(t, err)
	other := bytes.Replace(base, []byte("(y)"), []byte("(z)"), 1)
	if _, err := signing.Finish(io.Discard, bytes.NewReader(other), in, signing.Proof{Signature: sig}); !errors.Is(err, pades.ErrChanged) {
		t.Errorf("another base: %v", err)
	}
	if _, err := signing.Finish(io.Discard, bytes.NewReader(base), in, signing.Proof{Signature: sig[:len(sig)-1]}); err == nil {
		t.Error("a damaged signature was written")
	}
	if _, err := signing.Finish(io.Discard, bytes.NewReader(base[:100]), in, signing.Proof{Signature: sig}); err == nil {
		t.Error("a short base was written")
	}
	var out bytes.Buffer
	res, err := signing.Finish(&out, bytes.NewReader(base), in, signing.Proof{Signature: sig})
	check(t, err)
	good := out.Bytes()
	check(t, signing.Check(bytes.NewReader(good), res.Size, in))
	for i := 0; i < len(good); i += 41 {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if signing.Check(bytes.NewReader(bad), res.Size, in) == nil {
			t.Fatalf("a change of byte %d of %d was not seen", i, len(good))
		}
	}
	if signing.Check(bytes.NewReader(good[:len(good)-1]), res.Size-1, in) == nil {
		t.Error("a missing last byte was not seen")
	}
}

// TestPreparedMistakes: mistakes of the caller are errors, told before a key is asked.
func TestPreparedMistakes(t *testing.T) {
	key := newKeys(t, "p256")[0]
	base := prepared(t)
	for name, p := range map[string]signing.Params{
		"no field":      {Field: "Nobody", SigningTime: now, Chain: key.chain},
		"no chain":      {Field: "Seal", SigningTime: now},
		"expired":       {Field: "Seal", SigningTime: now.Add(5 * 365 * 24 * time.Hour), Chain: key.chain},
		"certification": {Field: "Seal", SigningTime: now, Chain: key.chain, Certification: 4},
		"room":          {Field: "Seal", SigningTime: now, Chain: key.chain, TokenRoom: 1 << 30},
	} {
		if _, err := signing.NewIntent(bytes.NewReader(base), int64(len(base)), p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, name := range []string{"", "a.b", "line\nbreak", strings.Repeat("x", 65), "\xff"} {
		_, _, err := signing.Prepare(io.Discard, section(base), []pades.FieldSpec{{Name: name}})
		if err == nil {
			t.Errorf("field name %q: accepted", name)
		}
	}
	if _, _, err := signing.Prepare(io.Discard, section(base), nil); err == nil {
		t.Error("no fields: accepted")
	}
}

// TestLargeFileIsStreamed: a signature costs the same memory whatever the file's size.
func TestLargeFileIsStreamed(t *testing.T) {
	noise := make([]byte, 24<<20)
	_, err := rand.Read(noise)
	check(t, err)
	base := updated(t, pdf.Sample("x", nil), func(f *pdf.File, u *pdf.Update) {
		u.Set(u.Alloc(), append(append([]byte("<< /Length 25165824 >>\nstream\n"), noise...), "\nendstream"...))
	})
	var buf bytes.Buffer
	buf.Grow(len(base) + 1<<16)
	_, _, err = signing.Prepare(&buf, section(base), wanted)
	check(t, err)
	key := newKeys(t, "p256")[0]
	bytesPerRun := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			in := newIntent(b, buf.Bytes(), key, 8192)
			ticket, err := signing.NewTicket(in)
			check(b, err)
			sig, err := ticket.Sign(t.Context(), key)
			check(b, err)
			_, err = signing.Finish(io.Discard, bytes.NewReader(buf.Bytes()), in, signing.Proof{Signature: sig})
			check(b, err)
		}
	}).AllocedBytesPerOp()
	if bytesPerRun > 4<<20 {
		t.Errorf("signing 24 MB allocates %d KB", bytesPerRun>>10)
	}
}
