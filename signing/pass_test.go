package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"countersign/signing"
	"countersign/signing/pades"
	"countersign/signing/pdf"
)

// An output is a file in memory. lie may change what is read from it.
type output struct {
	b   []byte
	lie func(b []byte, at int64)
}

func (o *output) Write(b []byte) (int, error) {
	o.b = append(o.b, b...)
	return len(b), nil
}

func (o *output) ReadAt(b []byte, at int64) (int, error) {
	n, err := bytes.NewReader(o.b).ReadAt(b, at)
	if o.lie != nil {
		o.lie(b[:n], at)
	}
	return n, err
}

// large returns a sample with a stream of so many bytes that do not repeat.
func large(t testing.TB, size int) []byte {
	t.Helper()
	noise := make([]byte, size)
	_, err := rand.NewChaCha8([32]byte{1}).Read(noise)
	check(t, err)
	return updated(t, pdf.Sample("x", []string{"y"}), func(_ *pdf.File, u *pdf.Update) {
		u.Set(u.Alloc(), fmt.Appendf(nil, "<< /Length %d >>\nstream\n%s\nendstream", size, noise))
	})
}

func newPass(t testing.TB, out pades.Output, base []byte) *signing.Pass {
	t.Helper()
	p, err := signing.NewPass(out, section(base))
	check(t, err)
	t.Cleanup(p.Close)
	return p
}

// TestPass: one increment with a new field, on small and large files and with every
// kind of key, judged from outside.
func TestPass(t *testing.T) {
	keys := newKeys(t, "p256", "p384", "rsa")
	bases := samples(t)
	bases["large"] = large(t, 1<<20)
	for name, base := range bases {
		for i, key := range keys {
			t.Run(fmt.Sprintf("%s/%d", name, i), func(t *testing.T) {
				var out output
				res, err := newPass(t, &out, base).Sign(t.Context(), signing.Job{
					Params: signing.Params{NewField: &pades.FieldSpec{Name: "Seal"}, Certification: i + 1, SigningTime: now, PSS: i == 2},
					Key:    key,
				})
				check(t, err)
				if !bytes.HasPrefix(out.b, base) || res.Size != int64(len(out.b)) {
					t.Error("the result does not begin with the base")
				}
				// The other way to prove it, with a pass and a parser of its own.
				check(t, signing.Check(bytes.NewReader(out.b), res.Size, res.Intent))
				judged(t, base, out.b, 1, key.root())
			})
		}
	}
}

// TestPassOfMany: fields, a seal, two signers with other hashes, in one pass.
func TestPassOfMany(t *testing.T) {
	keys := newKeys(t, "p256", "p384", "rsa")
	for name, base := range map[string][]byte{"small": pdf.Sample("x", nil), "large": large(t, 300<<10)} {
		var out output
		p := newPass(t, &out, base)
		_, names, err := p.Prepare(wanted)
		check(t, err)
		for i, field := range names {
			params := signing.Params{Field: field, SigningTime: now}
			if i == 0 {
				params.Certification = 2
			}
			before := bytes.Clone(out.b)
			res, err := p.Sign(t.Context(), signing.Job{Params: params, Key: keys[i]})
			check(t, err)
			if !bytes.HasPrefix(out.b, before) {
				t.Errorf("%s: %q changed what was there", name, field)
			}
			check(t, signing.Check(bytes.NewReader(out.b), res.Size, res.Intent))
		}
		judged(t, base, out.b, len(names), keys[0].root())
	}
}

// TestPassSeesWhatStands: an output that holds anything but what was written is never
// released, whichever byte it is; nor one that is too long, or was not empty.
func TestPassSeesWhatStands(t *testing.T) {
	key := newKeys(t, "p256")[0]
	sign := func(out *output, base []byte) error {
		_, err := newPass(t, out, base).Sign(t.Context(), signing.Job{
			Params: signing.Params{NewField: &pades.FieldSpec{Name: "Seal"}, SigningTime: now}, Key: key,
		})
		return err
	}
	for name, base := range map[string][]byte{"small": pdf.Sample("x", nil), "large": large(t, 300<<10)} {
		var good output
		check(t, sign(&good, base))
		step := max(1, len(good.b)/200)
		for i := 0; i < len(good.b); i += step {
			bad := output{lie: func(b []byte, at int64) {
				if off := int64(i) - at; off >= 0 && off < int64(len(b)) {
					b[off] ^= 1
				}
			}}
			if err := sign(&bad, base); !errors.Is(err, pades.ErrResult) {
				t.Fatalf("%s: a wrong byte at %d of %d: %v", name, i, len(good.b), err)
			}
		}
		if err := sign(&output{b: []byte("%PDF")}, base); err == nil {
			t.Errorf("%s: an output that was not empty was taken", name)
		}
	}
}

// longer is an output to which somebody else appends.
type longer struct{ output }

func (l *longer) Write(b []byte) (int, error) {
	n, err := l.output.Write(b)
	if bytes.Contains(b, []byte("/ETSI.CAdES.detached")) {
		l.b = append(l.b, '\n')
	}
	return n, err
}

// TestPassFailsClosed: what must not be signed or released is an error, and a key that is
// not the right one is not asked.
func TestPassFailsClosed(t *testing.T) {
	keys := newKeys(t, "p256", "p256")
	params := signing.Params{NewField: &pades.FieldSpec{Name: "Seal"}, SigningTime: now}
	liar := &softKey{Signer: wrongSigner{keys[0].Signer, keys[1].Signer}, chain: keys[0].chain}
	stamp := func(context.Context, []byte) ([]byte, error) { return []byte{0x30, 0}, nil }
	roomy := params
	roomy.TokenRoom = 4096
	foreign := params
	foreign.Chain = keys[1].chain
	both := params
	both.Field = "Seal"
	for name, j := range map[string]signing.Job{
		"bad signature":  {Params: params, Key: liar},
		"foreign chain":  {Params: foreign, Key: keys[0]},
		"no room":        {Params: params, Key: keys[0], Stamp: stamp},
		"no token":       {Params: roomy, Key: keys[0], Stamp: stamp},
		"both fields":    {Params: both, Key: keys[0]},
		"no such field":  {Params: signing.Params{Field: "Nobody", SigningTime: now}, Key: keys[0]},
		"certify by 4":   {Params: signing.Params{NewField: params.NewField, SigningTime: now, Certification: 4}, Key: keys[0]},
		"expired":        {Params: signing.Params{NewField: params.NewField, SigningTime: now.AddDate(9, 0, 0)}, Key: keys[0]},
		"a visible one":  {Params: signing.Params{NewField: &pades.FieldSpec{Name: "V", Place: &pades.Place{Page: 1}}, SigningTime: now}, Key: keys[0]},
		"a locking one":  {Params: signing.Params{NewField: &wanted[0], SigningTime: now}, Key: keys[0]},
		"field for none": {Params: signing.Params{SigningTime: now}, Key: keys[0]},
	} {
		for _, base := range [][]byte{pdf.Sample("x", nil), large(t, 300<<10)} {
			if _, err := newPass(t, &output{}, base).Sign(t.Context(), j); err == nil {
				t.Errorf("%s: a file was released", name)
			}
		}
	}
	if keys[1].calls.Load() != 0 {
		t.Error("a foreign key was asked")
	}
	for _, base := range [][]byte{pdf.Sample("x", nil), large(t, 300<<10)} {
		if _, err := newPass(t, &longer{}, base).Sign(t.Context(), signing.Job{Params: params, Key: keys[0]}); !errors.Is(err, pades.ErrResult) {
			t.Errorf("a result with more behind its end: %v", err)
		}
	}
	if _, err := signing.NewPass(&output{}, io.NewSectionReader(bytes.NewReader(nil), 0, 5)); err == nil {
		t.Error("a base that is shorter than its size was taken")
	}
}

// TestRelease: a stored intent is finished and proven in one pass, with the same bytes as in
// two steps.
func TestRelease(t *testing.T) {
	key := newKeys(t, "p384")[0]
	for name, draft := range map[string][]byte{"small": pdf.Sample("x", nil), "large": large(t, 300<<10)} {
		var r0 bytes.Buffer
		prepared, _, err := signing.Prepare(&r0, section(draft), wanted)
		check(t, err)
		in, err := signing.NewIntent(bytes.NewReader(r0.Bytes()), prepared.Size, signing.Params{Field: "Seal", SigningTime: now, Chain: key.chain})
		check(t, err)
		ticket, err := signing.NewTicket(in)
		check(t, err)
		sig, err := ticket.Sign(t.Context(), key)
		check(t, err)
		proof := signing.Proof{Signature: sig}
		var plain bytes.Buffer
		want, err := signing.Finish(&plain, bytes.NewReader(r0.Bytes()), in, proof)
		check(t, err)
		check(t, signing.CheckStored(bytes.NewReader(plain.Bytes()), want.Size, in, want))
		var out output
		got, err := signing.Release(&out, bytes.NewReader(r0.Bytes()), in, proof)
		check(t, err)
		if !bytes.Equal(out.b, plain.Bytes()) || got.SHA256 != want.SHA256 || !bytes.Equal(got.State, want.State) {
			t.Errorf("%s: Release and Finish differ", name)
		}
		other := bytes.Replace(r0.Bytes(), []byte("obj"), []byte("0bj"), 1)
		if _, err := signing.Release(&output{}, bytes.NewReader(other), in, proof); !errors.Is(err, pades.ErrChanged) {
			t.Errorf("%s, another base: %v", name, err)
		}
		if _, err := signing.Release(&output{}, bytes.NewReader(r0.Bytes()), in, signing.Proof{Signature: sig[1:]}); err == nil {
			t.Errorf("%s: a damaged signature was released", name)
		}
		wrong := in
		wrong.Digest = bytes.Repeat([]byte{7}, len(in.Digest))
		if _, err := signing.Release(&output{}, bytes.NewReader(r0.Bytes()), wrong, proof); err == nil {
			t.Errorf("%s: another digest was released", name)
		}
		for i := len(r0.Bytes()); i < plain.Len(); i += 7 {
			bad := bytes.Clone(plain.Bytes())
			bad[i] ^= 1
			inGap := i >= int(in.ByteRange()[1]) && i < int(in.ByteRange()[2])
			if err := signing.CheckStored(bytes.NewReader(bad), want.Size, in, want); err == nil && !inGap {
				t.Errorf("%s: a change at %d of %d was not seen", name, i, plain.Len())
			}
		}
	}
}

// TestIntentWithoutAPass: with the state of the base's hash, an intent is the same, and
// the base is not read; a state of another file is refused.
func TestIntentWithoutAPass(t *testing.T) {
	key := newKeys(t, "p256")[0]
	var r0 bytes.Buffer
	res, _, err := signing.Prepare(&r0, section(large(t, 4<<20)), wanted)
	check(t, err)
	counted := &counter{r: bytes.NewReader(r0.Bytes())}
	p := signing.Params{Field: "Seal", SigningTime: now, Chain: key.chain}
	want, err := signing.NewIntent(counted, res.Size, p)
	check(t, err)
	if counted.n < 4<<20 {
		t.Errorf("%d bytes were read to hash the base", counted.n)
	}
	counted.n, p.Base = 0, &res
	got, err := signing.NewIntent(counted, res.Size, p)
	check(t, err)
	if counted.n > 1<<18 {
		t.Errorf("%d bytes were read although the hash is known", counted.n)
	}
	a, err := json.Marshal(want)
	check(t, err)
	b, err := json.Marshal(got)
	check(t, err)
	if !bytes.Equal(a, b) {
		t.Error("the intents differ")
	}
	other, _, err := signing.Prepare(io.Discard, section(large(t, 1<<20)), wanted)
	check(t, err)
	for name, base := range map[string]signing.Result{
		"another state": {SHA256: res.SHA256, Size: res.Size, State: other.State},
		"no state":      {SHA256: res.SHA256, Size: res.Size, State: []byte("x")},
		"another size":  {SHA256: res.SHA256, Size: res.Size + 1, State: res.State},
		"another file":  other,
	} {
		p.Base = &base
		if _, err := signing.NewIntent(counted, res.Size, p); err == nil {
			t.Errorf("%s: an intent was made", name)
		}
	}
}

type counter struct {
	r io.ReaderAt
	n int
}

func (c *counter) ReadAt(b []byte, at int64) (int, error) {
	n, err := c.r.ReadAt(b, at)
	c.n += n
	return n, err
}

// TestPassExtends: B-LTA in one pass, also on what others have signed.
func TestPassExtends(t *testing.T) {
	n := newNotary(t)
	stampDigest := func(_ context.Context, digest []byte, _ crypto.Hash) ([]byte, error) {
		return n.stampDigest(now, digest), nil
	}
	params := signing.ExtensionParams{Data: n.evidence(now), TokenRoom: 8192}
	signed, _, _ := n.sign(pdf.Sample("x", nil), signing.Params{Certification: 2}, nil)
	for name, c := range map[string]struct {
		base []byte
		want int
	}{"small": {pdf.Sample("x", nil), 1}, "large": {large(t, 300<<10), 1}, "signed": {signed, 2}} {
		var out output
		p := newPass(t, &out, c.base)
		if _, _, err := p.Extend(t.Context(), params, stampDigest); name != "signed" && err == nil {
			t.Fatal("a file without a signature was extended")
		}
		if name != "signed" {
			out = output{}
		}
		_, err := p.Sign(t.Context(), signing.Job{
			Params: signing.Params{NewField: &pades.FieldSpec{Name: "Ours"}, SigningTime: now, TokenRoom: 8192}, Key: n.Seal,
			Stamp: func(_ context.Context, sig []byte) ([]byte, error) { return stamp(t, n.PKI, now, sig), nil },
		})
		check(t, err)
		before := bytes.Clone(out.b)
		wrong := func(context.Context, []byte, crypto.Hash) ([]byte, error) {
			return stamp(t, n.PKI, now, []byte("else")), nil
		}
		if _, _, err := p.Extend(t.Context(), params, wrong); !errors.Is(err, signing.ErrToken) {
			t.Errorf("%s: a token of something else: %v", name, err)
		}
		tight := params
		tight.TokenRoom = 64
		if _, _, err := p.Extend(t.Context(), tight, stampDigest); !errors.Is(err, pades.ErrNoRoom) || !bytes.Equal(out.b, before) {
			t.Errorf("%s: a token that does not fit: %v, and %d bytes written", name, err, len(out.b)-len(before))
		}
		x, res, err := p.Extend(t.Context(), params, stampDigest)
		check(t, err)
		if res.Size != int64(len(out.b)) || !bytes.HasPrefix(out.b, before) {
			t.Errorf("%s: %d bytes told, %d written", name, res.Size, len(out.b))
		}
		check(t, signing.CheckExtension(bytes.NewReader(out.b), res.Size, x))
		n.judgeExtended(before, out.b, c.want)
	}
}

// ownChecked is a key that claims to check itself.
type ownChecked struct{ *softKey }

func (ownChecked) SelfChecked() bool { return true }

// TestSelfChecked: a key that checks itself is believed, but what comes back from a
// store is not, whichever key made it.
func TestSelfChecked(t *testing.T) {
	keys := newKeys(t, "p256", "p256")
	liar := ownChecked{&softKey{Signer: wrongSigner{keys[0].Signer, keys[1].Signer}, chain: keys[0].chain}}
	params := signing.Params{NewField: &pades.FieldSpec{Name: "Seal"}, SigningTime: now, Chain: keys[0].chain}
	base := pdf.Sample("x", nil)
	if _, err := newPass(t, &output{}, base).Sign(t.Context(), signing.Job{Params: params, Key: liar.softKey}); err == nil {
		t.Error("a wrong signature of another key was released")
	}
	in, err := signing.NewIntent(bytes.NewReader(base), int64(len(base)), params)
	check(t, err)
	for _, good := range []bool{true, false} {
		key := signing.Key(liar)
		if good {
			key = ownChecked{keys[0]}
		}
		ticket, err := signing.NewTicket(in)
		check(t, err)
		sig, err := ticket.Sign(t.Context(), key)
		check(t, err)
		_, err = signing.Release(&output{}, bytes.NewReader(base), in, signing.Proof{Signature: sig})
		if (err == nil) != good {
			t.Errorf("good signature: %v, released: %v", good, err)
		}
	}
}
