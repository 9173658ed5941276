package cms

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

func TestGuard(t *testing.T) {
	nested := func(open string, levels int) []byte { return []byte(strings.Repeat(open, levels)) }
	closed := func(levels int) []byte {
		return append(nested("\x30\x80", levels), make([]byte, 2*levels)...)
	}
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"8 MB nested":            {nested("\x30\x80", 4<<20), ErrSize},
		"256 KiB nested":         {nested("\x30\x80", 128<<10), ErrDepth},
		"64 levels":              {closed(64), nil},
		"65 levels":              {closed(65), ErrDepth},
		"flat":                   {slices.Concat([]byte{0x30, 0x83, 3, 0xff, 0xf0}, bytes.Repeat([]byte{0x30, 0}, 0x1fff8)), nil},
		"flat indefinite":        {slices.Concat([]byte{0x30, 0x80}, bytes.Repeat([]byte{0x30, 0x80, 0, 0}, 0xfff0), []byte{0, 0}), nil},
		"too large":              {make([]byte, MaxSize+1), ErrSize},
		"empty":                  {nil, ErrEncoding},
		"one byte":               {[]byte{0x30}, ErrEncoding},
		"trailing":               {[]byte{5, 0, 0}, ErrEncoding},
		"end of contents":        {[]byte{0, 0}, ErrEncoding},
		"unclosed":               {[]byte{0x30, 0x80, 5, 0}, ErrEncoding},
		"child too long":         {[]byte{0x30, 2, 4, 1}, ErrEncoding},
		"primitive indefinite":   {[]byte{4, 0x80, 0, 0}, ErrEncoding},
		"length of five octets":  {[]byte{4, 0x85, 0, 0, 0, 0, 0}, ErrEncoding},
		"length 2^32-1":          {[]byte{4, 0x84, 0xff, 0xff, 0xff, 0xff}, ErrEncoding},
		"reserved length":        {[]byte{4, 0xff}, ErrEncoding},
		"truncated length":       {[]byte{4, 0x82, 1}, ErrEncoding},
		"high tag":               {[]byte{0x1f, 0x81, 0x01, 0}, nil},
		"endless tag":            {bytes.Repeat([]byte{0x9f}, 100), ErrEncoding},
		"tag without length":     {[]byte{0x1f, 0x01}, ErrEncoding},
		"EOC inside definite":    {[]byte{0x30, 2, 0, 0}, ErrEncoding},
		"indefinite in definite": {[]byte{0x30, 4, 0x30, 0x80, 0, 0}, nil},
		"EOC past the parent":    {[]byte{0x30, 3, 0x30, 0x80, 0, 0}, ErrEncoding},
	} {
		start := time.Now()
		err := Guard(c.in)
		if c.want == nil && err != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if _, err := Parse(c.in); err == nil {
			t.Errorf("%s: parsed as CMS", name)
		}
	}
}

func TestTruncatedIsRefusedEverywhere(t *testing.T) {
	der := sign(t, who(t, "P-256"), variant{token: derOctets(50)})
	for n := range der {
		if err := Guard(der[:n]); !errors.Is(err, ErrEncoding) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(der), err)
		}
	}
}

func TestTrim(t *testing.T) {
	der := sign(t, who(t, "P-256"), variant{})
	padded := append(bytes.Clone(der), make([]byte, 400<<10)...)
	got, err := Trim(padded)
	if err != nil || !bytes.Equal(got, der) {
		t.Errorf("%d bytes of %d, %v", len(got), len(der), err)
	}
	padded[len(padded)-1] = 1
	if _, err := Trim(padded); !errors.Is(err, ErrEncoding) {
		t.Errorf("a byte after the padding: %v", err)
	}
	if _, err := Trim(nil); !errors.Is(err, ErrEncoding) {
		t.Errorf("nothing: %v", err)
	}
}

// toBER writes every constructed element of DER with indefinite length.
func toBER(t *testing.T, der []byte) []byte {
	t.Helper()
	var out []byte
	for pos := 0; pos < len(der); {
		h, err := readHeader(der, pos, len(der))
		if err != nil {
			t.Fatal(err)
		}
		if h.tag&constructed == 0 {
			out = append(out, der[pos:h.end]...)
		} else {
			out = slices.Concat(out, []byte{h.tag, 0x80}, toBER(t, der[h.body:h.end]), []byte{0, 0})
		}
		pos = h.end
	}
	return out
}

func TestBERBecomesTheSameDER(t *testing.T) {
	der := sign(t, who(t, "P-384"), variant{token: derOctets(1000)})
	ber := toBER(t, der)
	got, err := toDER(ber)
	if err != nil || !bytes.Equal(got, der) {
		t.Errorf("BER of %d bytes became %d bytes, want %d: %v", len(ber), len(got), len(der), err)
	}
	if err := verifies(ber); err != nil {
		t.Error(err)
	}
	for in, want := range map[string]string{
		"\x24\x80\x04\x01a\x24\x03\x04\x01b\x00\x00": "\x04\x02ab",
		"\x04\x81\x01a":                    "\x04\x01a",
		"\x30\x82\x00\x03\x04\x01a":        "\x30\x03\x04\x01a",
		"\x3f\x81\x01\x80\x05\x00\x00\x00": "\x3f\x81\x01\x02\x05\x00",
	} {
		if got, err := toDER([]byte(in)); string(got) != want {
			t.Errorf("%x became %x, %v; want %x", in, got, err, want)
		}
	}
	if _, err := toDER([]byte("\x24\x03\x02\x01\x00")); !errors.Is(err, ErrEncoding) {
		t.Errorf("an INTEGER in pieces of an octet string: %v", err)
	}
}

// Each bit of a signature that is flipped breaks it, apart from bits in
// places that nothing binds: the copy of the root that was embedded.
func TestFlippedBitsAreNoticed(t *testing.T) {
	p := who(t, "P-256")
	alone := &person{p.key, p.chain[:1]}
	der := sign(t, alone, variant{})
	for i := range der {
		changed := bytes.Clone(der)
		changed[i] ^= 1 << (i % 8)
		parsed, err := Parse(changed)
		if err != nil || Verify(parsed, sum(crypto.SHA256, content)) != nil {
			continue
		}
		// Left over: version numbers, and the list of digest algorithms that
		// RFC 5652 clause 5.1 makes for one-pass readers.
		if !bytes.Equal(parsed.Attrs, mustParse(t, der).Attrs) || !bytes.Equal(parsed.Signature, mustParse(t, der).Signature) || !parsed.Signer.Equal(alone.chain[0]) {
			t.Errorf("bit flipped in byte %d of %d goes unnoticed", i, len(der))
		}
	}
}

func mustParse(t testing.TB, der []byte) Parsed {
	t.Helper()
	p, err := Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// setOf rebuilds signed attributes from single ones.
func setOf(list ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SET, func(b *cryptobyte.Builder) {
		for _, e := range list {
			b.AddBytes(e)
		}
	})
	return b.BytesOrPanic()
}

// The tricks with attributes that are correctly signed all the same.
func TestAttributeTricksAreRefused(t *testing.T) {
	p, other := who(t, "P-256"), who(t, "P-384")
	split := func(attrs []byte) [][]byte {
		h, err := readHeader(attrs, 0, len(attrs))
		if err != nil {
			t.Fatal(err)
		}
		list, err := elements(attrs[h.body:])
		if err != nil {
			t.Fatal(err)
		}
		return list // content-type, message-digest, signing-certificate-v2 by length
	}
	foreign, err := SignedAttributes(AttrParams{Digest: sum(crypto.SHA256, content), Hash: crypto.SHA256, Chain: other.chain})
	if err != nil {
		t.Fatal(err)
	}
	tstType := attribute(oidContentType, func(d *der) { d.oid(OIDTSTInfo) })
	twoDigests := attribute(oidMessageDigest, func(d *der) {
		d.octets(sum(crypto.SHA256, content))
		d.octets(make([]byte, 32))
	})
	for name, c := range map[string]struct {
		change func(ct, md, ess []byte) []byte
		want   error
	}{
		"as it should be":          {func(ct, md, ess []byte) []byte { return setOf(ct, md, ess) }, nil},
		"no content-type":          {func(_, md, ess []byte) []byte { return setOf(md, ess) }, ErrInvalid},
		"two content-types":        {func(ct, md, ess []byte) []byte { return setOf(ct, ct, md, ess) }, ErrInvalid},
		"content-type of a token":  {func(_, md, ess []byte) []byte { return setOf(tstType, md, ess) }, ErrInvalid},
		"no message-digest":        {func(ct, _, ess []byte) []byte { return setOf(ct, ess) }, ErrInvalid},
		"message-digest twice":     {func(ct, md, ess []byte) []byte { return setOf(ct, md, md, ess) }, ErrInvalid},
		"message-digest, 2 values": {func(ct, _, ess []byte) []byte { return setOf(ct, twoDigests, ess) }, ErrInvalid},
		"no signing-certificate":   {func(ct, md, _ []byte) []byte { return setOf(ct, md) }, ErrNoSigningCertificate},
		"another's certificate":    {func(ct, md, _ []byte) []byte { return setOf(ct, md, split(foreign)[2]) }, ErrInvalid},
		"and another's":            {func(ct, md, ess []byte) []byte { return setOf(ct, md, ess, split(foreign)[2]) }, ErrInvalid},
		"empty":                    {func(_, _, _ []byte) []byte { return setOf() }, ErrInvalid},
	} {
		der := sign(t, p, variant{attrs: func(attrs []byte) []byte {
			l := split(attrs)
			return c.change(l[0], l[1], l[2])
		}})
		err := verifies(der)
		if c.want == nil && err != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestOtherTricksAreRefused(t *testing.T) {
	p, other := who(t, "P-256"), who(t, "P-384")
	good := mustParse(t, sign(t, p, variant{}))
	digest := sum(crypto.SHA256, content)
	for name, change := range map[string]func(*Parsed){
		"two signers":      func(q *Parsed) { q.Signers = 2 },
		"no attributes":    func(q *Parsed) { q.Attrs = nil },
		"own content":      func(q *Parsed) { q.Content = content },
		"no certificate":   func(q *Parsed) { q.Signer = nil },
		"another key":      func(q *Parsed) { q.Signer = other.chain[0] },
		"no signature":     func(q *Parsed) { q.Signature = nil },
		"digest algorithm": func(q *Parsed) { q.Hash = crypto.SHA512 },
	} {
		q := good
		change(&q)
		if err := Verify(q, digest); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Verify(good, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("no digest: %v", err)
	}
	swapped := sign(t, p, variant{data: func(d *SignedData) { d.Chain = other.chain }})
	if err := verifies(swapped); !errors.Is(err, ErrInvalid) {
		t.Errorf("certificate swapped: %v", err)
	}
	if err := VerifyEncapsulated(good, OIDData); !errors.Is(err, ErrInvalid) {
		t.Errorf("detached as encapsulated: %v", err)
	}
}

// A second certificate with the signer's issuer and serial number does not
// hide the right one.
func TestTwinCertificate(t *testing.T) {
	p := who(t, "P-256")
	for range 4 { // the order in the CMS depends on the random key
		twin, err := certify(who(t, "P-384").key, p.chain[0].SerialNumber.Int64(), who(t, "root"))
		if err != nil {
			t.Fatal(err)
		}
		der := sign(t, p, variant{data: func(d *SignedData) {
			d.Chain = append([]*x509.Certificate{p.chain[0], twin.chain[0]}, p.chain[1:]...)
		}})
		if err := verifies(der); err != nil {
			t.Error(err)
		}
	}
}

// CORPUS may name a directory with foreign CMS files (*.p7s, *.der, *.tsr).
// FuzzGuard: what passes is one element to its last byte, nothing less and nothing more, of
// bounded depth; and where it is DER, an independent reader agrees.
func FuzzGuard(f *testing.F) {
	for _, s := range signatures()[:3] {
		f.Add(sign(f, who(f, s.who), s.v))
	}
	f.Add(append(bytes.Repeat([]byte{0x30, 0x80}, MaxDepth), make([]byte, 2*MaxDepth)...))
	f.Add([]byte("\x24\x80\x04\x01a\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if Guard(in) != nil {
			return
		}
		if Guard(append(bytes.Clone(in), 0)) == nil {
			t.Error("a byte too many passes")
		}
		for cut := len(in) - 1; cut >= 0; cut -= 1 + len(in)/64 {
			if Guard(in[:cut]) == nil {
				t.Errorf("the first %d of %d bytes pass", cut, len(in))
			}
		}
		if depth := depthOf(in, 0); depth > MaxDepth {
			t.Errorf("%d levels", depth)
		}
		if _, strict, _ := walk(in); strict && in[0]&0x1f != 0x1f {
			s, out := cryptobyte.String(in), cryptobyte.String(nil)
			if !s.ReadAnyASN1Element(&out, new(casn1.Tag)) || !s.Empty() {
				t.Error("no DER to cryptobyte")
			}
		}
	})
}

// depthOf counts levels by recursion, of what is DER.
func depthOf(der []byte, level int) int {
	deepest := level
	for s := cryptobyte.String(der); !s.Empty(); {
		var inner cryptobyte.String
		var tag casn1.Tag
		if !s.ReadAnyASN1(&inner, &tag) {
			return deepest
		}
		if tag&constructed != 0 {
			deepest = max(deepest, depthOf(inner, level+1))
		}
	}
	return deepest
}

func FuzzParse(f *testing.F) {
	for _, s := range signatures()[:5] {
		f.Add(sign(f, who(f, s.who), s.v))
	}
	f.Add(bytes.Repeat([]byte{0x30, 0x80}, 100))
	f.Add([]byte("\x24\x80\x04\x01a\x00\x00"))
	if dir := os.Getenv("CORPUS"); dir != "" {
		for _, pattern := range []string{"*.p7s", "*.der", "*.tsr"} {
			files, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				f.Fatal(err)
			}
			for _, name := range files {
				data, err := os.ReadFile(name)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		guarded := Guard(in)
		if got, err := Trim(in); err == nil && Guard(got) != nil {
			t.Error("what Trim returns does not pass Guard")
		}
		der, err := toDER(in)
		if guarded == nil && err == nil {
			if again, err := toDER(der); err != nil || !bytes.Equal(again, der) {
				t.Errorf("DER changed when read as BER: %v", err)
			}
		}
		p, err := Parse(in)
		if err != nil {
			return
		}
		if guarded != nil {
			t.Error("parsed what Guard refuses")
		}
		if p.Signers < 1 || Verify(p, []byte("no digest")) == nil {
			t.Error("verifies over anything")
		}
	})
}
