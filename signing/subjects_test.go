package signing_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

// told writes subjects as text.
func told(subjects []revocation.Subject) string {
	var lines []string
	for _, s := range subjects {
		at := "now"
		if !s.At.IsZero() {
			at = s.At.UTC().Format("15:04:05")
		}
		lines = append(lines, s.What+" "+at+" "+s.Certs[0].Subject.CommonName)
		if s.TimeStamping != strings.HasSuffix(s.Certs[0].Subject.CommonName, "timestamps") {
			lines = append(lines, "of the wrong kind")
		}
	}
	return strings.Join(lines, "\n")
}

// TestSubjects: every signature and timestamp needs evidence, at the time that is proven.
func TestSubjects(t *testing.T) {
	n := newNotary(t)
	bt, in, proof := n.sign(pdf.Sample("x", nil), signing.Params{}, nil)
	own := `the signature in field "Signature" 05:06:07 DEMO Test seal
the timestamp of the signature in field "Signature" 05:06:07 DEMO Test timestamps`
	of, err := signing.SubjectsOf(in, proof)
	check(t, err)
	if told(of) != own {
		t.Errorf("of the intent:\n%s", told(of))
	}
	data := n.evidence(now)
	lta, _ := n.extend(bt, now.Add(time.Hour), data, 8192)
	// A second signature, without a timestamp of its own.
	key := newKeys(t, "p256")[0]
	var r0 bytes.Buffer
	_, names, err := signing.Prepare(&r0, section(lta), []pades.FieldSpec{{Name: "Plain"}})
	check(t, err)
	plain, err := sign(t, r0.Bytes(), key, signing.Params{Field: names[0]})
	check(t, err)
	want := own + "\n" + `the document timestamp in field "DocTimeStamp" 06:06:07 DEMO Test timestamps` + "\n" +
		`the signature in field "Plain" now Test p256`
	subjects, known, err := signing.Subjects(bytes.NewReader(plain), int64(len(plain)))
	check(t, err)
	if told(subjects) != want {
		t.Errorf("with a plain signature:\n%s", told(subjects))
	}
	if !reflect.DeepEqual(known, data) {
		t.Errorf("known: %d certificates, %d lists", len(known.Certs), len(known.CRLs))
	}
	all, _ := n.extend(plain, now.Add(2*time.Hour), revocation.Data{}, 8192)
	want = strings.Replace(want, "now", "07:06:07", 1) + "\n" + `the document timestamp in field "DocTimeStamp_2" 07:06:07 DEMO Test timestamps`
	subjects, _, err = signing.Subjects(bytes.NewReader(all), int64(len(all)))
	check(t, err)
	if told(subjects) != want {
		t.Errorf("all stamped:\n%s", told(subjects))
	}
}

// TestExtendAlgorithms: signatures of every algorithm become B-LTA.
func TestExtendAlgorithms(t *testing.T) {
	n := newNotary(t)
	keys := newKeys(t, "p256", "p384", "p521", "rsa", "ed25519")
	data := n.evidence(now)
	for i, key := range append(keys, keys[3]) {
		pss := i == len(keys)
		name := strings.TrimPrefix(key.chain[0].Subject.CommonName, "Test ")
		if pss {
			name += " PSS"
		}
		t.Run(name, func(t *testing.T) {
			n := notary{n.PKI, t}
			out, err := sign(t, prepared(t), key, signing.Params{Field: "Seal", Certification: 2, PSS: pss})
			check(t, err)
			lta, _ := n.extend(out, now, data, 8192)
			if code, text := qpdf(t, lta); code != 0 {
				t.Errorf("qpdf --check: %s", text)
			}
			if bad := n.opensslTS(out, lta); bad != "" {
				t.Error(bad)
			}
			if name == "ed25519" { // neither judge knows it; see TestEd25519
				return
			}
			if valid, text := pdfsig(t, lta); valid != 1 {
				t.Errorf("pdfsig: %s", text)
			}
			if n, bad := openssl(t, prepared(t), out, key.root()); n != 1 || bad != "" {
				t.Errorf("openssl: %d signatures: %s", n, bad)
			}
		})
	}
	p := signing.Params{Field: "Seal", Chain: keys[0].chain, SigningTime: now, PSS: true}
	base := prepared(t)
	if _, err := signing.NewIntent(bytes.NewReader(base), int64(len(base)), p); err == nil || !strings.Contains(err.Error(), "no RSA key") {
		t.Errorf("PSS with a key that is none of RSA: %v", err)
	}
}

// TestExtendOldKind: adbe.pkcs7.detached, as made by OpenSSL, is extended; kinds that
// cannot be proven are refused by name.
func TestExtendOldKind(t *testing.T) {
	n, key, base := newNotary(t), newKeys(t, "p256")[0], prepared(t)
	f, err := pdf.Open(bytes.NewReader(base), int64(len(base)))
	check(t, err)
	u, err := pades.Begin(pades.SignParams{File: f, Field: "Seal", Hash: crypto.SHA256, Room: 4096, SigningTime: now})
	check(t, err)
	u.Head = bytes.Replace(u.Head, []byte("/ETSI.CAdES.detached"), []byte("/adbe.pkcs7.detached"), 1)
	covered := slices.Concat(base, u.Head[:len(u.Head)-1], u.Tail[1:])
	digest := sha256.Sum256(covered)
	u.Digest = digest[:]
	var out bytes.Buffer
	_, err = u.Write(&out, bytes.NewReader(base), opensslCMS(t, key, covered))
	check(t, err)
	if valid, text := pdfsig(t, out.Bytes()); valid != 1 {
		t.Fatalf("pdfsig: %s", text)
	}
	lta, _ := n.extend(out.Bytes(), now, n.evidence(now), 8192)
	n.judgeExtended(out.Bytes(), lta, 1)
	subjects, _, err := signing.Subjects(bytes.NewReader(lta), int64(len(lta)))
	check(t, err)
	if want := "the signature in field \"Seal\" 05:06:07 Test p256"; !strings.HasPrefix(told(subjects), want) {
		t.Error(told(subjects))
	}
	for _, kind := range []string{"/adbe.pkcs7.sha1    ", "/adbe.x509.rsa_sha1 ", "/Foreign            "} {
		old := bytes.Replace(out.Bytes(), []byte("/adbe.pkcs7.detached"), []byte(kind), 1)
		_, _, err := signing.Subjects(bytes.NewReader(old), int64(len(old)))
		re, refused := errors.AsType[*pdf.RefusedError](err)
		n.extend(old, now, n.evidence(now), 8192) // for the others' sake
		if !refused || !strings.Contains(re.Detail, `"Seal" is of the kind "`+strings.TrimSpace(kind)[1:]+`"`) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	// PAdES without the attribute that binds the certificate is broken PAdES.
	fake := bytes.Replace(out.Bytes(), []byte("/adbe.pkcs7.detached"), []byte("/ETSI.CAdES.detached"), 1)
	if _, _, err := signing.Subjects(bytes.NewReader(fake), int64(len(fake))); err == nil {
		t.Error("PAdES without a signing-certificate attribute was accepted")
	}
}

// opensslCMS lets OpenSSL make a detached PKCS #7 signature.
func opensslCMS(t testing.TB, key *softKey, content []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	der, err := x509.MarshalPKCS8PrivateKey(key.Signer)
	check(t, err)
	pems := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: key.chain[0].Raw}))
	check(t, os.WriteFile(filepath.Join(dir, "key.pem"), pems, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "content"), content, 0o600))
	code, text := tool(t, "openssl", "cms", "-sign", "-binary", "-signer", filepath.Join(dir, "key.pem"), "-md", "sha256",
		"-in", filepath.Join(dir, "content"), "-outform", "DER", "-out", filepath.Join(dir, "sig"))
	if code != 0 {
		t.Fatal(text)
	}
	out, err := os.ReadFile(filepath.Join(dir, "sig"))
	check(t, err)
	return out
}

// TestBrokenIsNotExtended: a signature that does not hold is named, and nothing is added.
func TestBrokenIsNotExtended(t *testing.T) {
	n := newNotary(t)
	bt, _, _ := n.sign(pdf.Sample("x", []string{"y"}), signing.Params{}, nil)
	lta, _ := n.extend(bt, now, n.evidence(now), 8192)
	var r0 bytes.Buffer
	_, _, err := signing.Prepare(&r0, section(pdf.Sample("x", nil)), wanted)
	check(t, err)
	check(t, signing.CheckExtendable(bytes.NewReader(r0.Bytes()), int64(r0.Len())))
	check(t, signing.CheckExtendable(bytes.NewReader(lta), int64(len(lta))))
	for name, c := range map[string]struct {
		base []byte
		want string
	}{
		"text":      {bytes.Replace(bt, []byte("(y)"), []byte("(z)"), 1), `does not hold; ask for the file as it was signed: field "Signature"`},
		"dss":       {bytes.Replace(lta, []byte("/DSS"), []byte("/DSX"), 1), `field "DocTimeStamp"`},
		"certified": {bytes.Replace(bt, []byte("/Type /Catalog"), []byte("/Type /Kat"), 1), ""},
		"unsigned":  {r0.Bytes(), "no signature yet"},
		"swapped":   {swapContents(t, lta), "does not hold"},
	} {
		_, _, err := signing.Subjects(bytes.NewReader(c.base), int64(len(c.base)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		_, err = signing.NewExtension(bytes.NewReader(c.base), int64(len(c.base)), signing.ExtensionParams{TokenRoom: 8192})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: extended: got %v, want %q", name, err, c.want)
		}
		if signing.CheckExtendable(bytes.NewReader(c.base), int64(len(c.base))) == nil && name != "unsigned" {
			t.Errorf("%s: said to be extendable", name)
		}
	}
}

// swapContents puts the token of the signature's timestamp in place of the document's.
func swapContents(t testing.TB, lta []byte) []byte {
	t.Helper()
	out := bytes.Clone(lta)
	for _, fd := range fieldsOf(t, lta) {
		if fd.Kind == pdf.TimestampField {
			at := int(fd.ByteRange[1]) + 1
			copy(out[at:], fieldsOf(t, lta)[0].ContentsHex[:len(fd.ContentsHex)])
		}
	}
	return out
}

// TestFinishExtensionFailsClosed: only the right token on the right base is written, and no
// change of the result is overlooked.
func TestFinishExtensionFailsClosed(t *testing.T) {
	n := newNotary(t)
	base, in, _ := n.sign(pdf.Sample("x", []string{"y"}), signing.Params{Certification: 2}, nil)
	x, err := signing.NewExtension(bytes.NewReader(base), int64(len(base)), signing.ExtensionParams{Data: n.evidence(now), TokenRoom: 8192})
	check(t, err)
	if !x.NotBefore.Equal(now) || x.Added.Certs != 4 || x.Added.CRLs != 2 {
		t.Errorf("not before %v, added %+v", x.NotBefore, x.Added)
	}
	other := sha256.Sum256([]byte("else"))
	good := n.stampDigest(now, x.Digest)
	for name, token := range map[string][]byte{
		"none":          nil,
		"nonsense":      {0x30, 0},
		"of else":       n.stampDigest(now, other[:]),
		"too old":       n.stampDigest(now.Add(-time.Hour), x.Digest),
		"of a document": n.stampDigest(now, in.Digest),
	} {
		var out bytes.Buffer
		if _, err := signing.FinishExtension(&out, bytes.NewReader(base), x, token); !errors.Is(err, signing.ErrToken) || out.Len() > 0 {
			t.Errorf("%s: %v, %d bytes written", name, err, out.Len())
		}
	}
	changed := bytes.Replace(base, []byte("(y)"), []byte("(z)"), 1)
	if _, err := signing.FinishExtension(io.Discard, bytes.NewReader(changed), x, good); !errors.Is(err, pades.ErrChanged) {
		t.Errorf("another base: %v", err)
	}
	tight, err := signing.NewExtension(bytes.NewReader(base), int64(len(base)), signing.ExtensionParams{TokenRoom: 100})
	check(t, err)
	if _, err := signing.FinishExtension(io.Discard, bytes.NewReader(base), tight, n.stampDigest(now, tight.Digest)); !errors.Is(err, pades.ErrNoRoom) {
		t.Errorf("no room: %v", err)
	}
	var buf bytes.Buffer
	_, err = signing.FinishExtension(&buf, bytes.NewReader(base), x, good)
	check(t, err)
	seen(t, buf.Bytes(), x)

	plain, err := signing.NewExtension(bytes.NewReader(base), int64(len(base)), signing.ExtensionParams{Data: n.evidence(now)})
	check(t, err)
	if len(plain.Digest) > 0 || plain.Hash != 0 {
		t.Error("without a timestamp there is something to stamp")
	}
	if _, err := signing.FinishExtension(io.Discard, bytes.NewReader(base), plain, good); !errors.Is(err, signing.ErrToken) {
		t.Errorf("a token for nothing: %v", err)
	}
	buf.Reset()
	_, err = signing.FinishExtension(&buf, bytes.NewReader(base), plain, nil)
	check(t, err)
	n.judgeExtended(base, buf.Bytes(), 1)
	seen(t, buf.Bytes(), plain)
	if _, err := signing.FinishExtension(io.Discard, bytes.NewReader(base), signing.Extension{}, nil); err == nil {
		t.Error("an empty extension was written")
	}
}

// seen fails unless CheckExtension takes the file and sees changes of it. In the token,
// certificates that nothing depends on may change.
func seen(t testing.TB, good []byte, x signing.Extension) {
	t.Helper()
	check(t, signing.CheckExtension(bytes.NewReader(good), int64(len(good)), x))
	gap := x.ByteRange()
	for i := 0; i < len(good); i += 97 {
		if int64(i) > gap[1] && int64(i) < gap[2]-int64(x.GapHex/2) && x.Timestamped() {
			continue
		}
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if signing.CheckExtension(bytes.NewReader(bad), int64(len(bad)), x) == nil {
			t.Fatalf("a change of byte %d of %d was not seen", i, len(good))
		}
	}
	if signing.CheckExtension(bytes.NewReader(good[:len(good)-1]), int64(len(good)-1), x) == nil {
		t.Error("a missing last byte was not seen")
	}
}

// TestNothingToAdd: B-LT twice is once.
func TestNothingToAdd(t *testing.T) {
	n := newNotary(t)
	base, _, _ := n.sign(pdf.Sample("x", nil), signing.Params{}, nil)
	data := n.evidence(now)
	lt, _ := n.extend(base, now, data, 0)
	_, err := signing.NewExtension(bytes.NewReader(lt), int64(len(lt)), signing.ExtensionParams{Data: data})
	if !errors.Is(err, pades.ErrNothingToAdd) {
		t.Errorf("got %v", err)
	}
	_, x := n.extend(lt, now, data, 8192)
	if x.Added != (pades.Counts{}) || bytes.Contains(x.Head, []byte("/DSS")) {
		t.Errorf("validation data was added again: %+v", x.Added)
	}
}

// FuzzExtend: whatever a signed file looks like, it is extended to one that begins with it and
// can be extended again, or it is an error.
func FuzzExtend(f *testing.F) {
	n := newNotary(f)
	bt, _, _ := n.sign(pdf.Sample("x", nil), signing.Params{Certification: 1}, nil)
	lta, _ := n.extend(bt, now, n.evidence(now), 8192)
	f.Add(bt)
	f.Add(lta)
	f.Add(bytes.Replace(lta, []byte("/Certs ["), []byte("/Certs 1"), 1))
	f.Add(bytes.Replace(lta, []byte("/ByteRange [0 "), []byte("/ByteRange [0 1"), 2))
	fresh := revocation.Data{Certs: [][]byte{{1, 2, 3}}}
	f.Fuzz(func(t *testing.T, base []byte) {
		_, _, err := signing.Subjects(bytes.NewReader(base), int64(len(base)))
		x, bad := signing.NewExtension(bytes.NewReader(base), int64(len(base)), signing.ExtensionParams{Data: fresh})
		if err == nil && bad != nil && !errors.Is(bad, pades.ErrNothingToAdd) {
			if _, refused := errors.AsType[*pdf.RefusedError](bad); !refused {
				t.Fatalf("its subjects can be told, and yet: %v", bad)
			}
		}
		if bad != nil {
			return
		}
		var out bytes.Buffer
		_, err = signing.FinishExtension(&out, bytes.NewReader(base), x, nil)
		check(t, err)
		if !bytes.HasPrefix(out.Bytes(), base) {
			t.Error("the file is no prefix of what it was extended to")
		}
		if signing.CheckExtension(bytes.NewReader(out.Bytes()), int64(out.Len()), x) != nil {
			return // not released
		}
		_, err = signing.NewExtension(bytes.NewReader(out.Bytes()), int64(out.Len()), signing.ExtensionParams{TokenRoom: 100})
		check(t, err)
	})
}

// TestLargeFileIsExtendedAsAStream: the memory does not grow with the document.
func TestLargeFileIsExtendedAsAStream(t *testing.T) {
	n := newNotary(t)
	const size = 24 << 20
	base := updated(t, pdf.Sample("x", nil), func(_ *pdf.File, u *pdf.Update) {
		u.SetStream(u.Alloc(), nil, make([]byte, size))
	})
	base, _, _ = n.sign(base, signing.Params{}, nil)
	data := n.evidence(now)
	var token []byte
	bytesPerRun := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, err := signing.Subjects(bytes.NewReader(base), int64(len(base)))
			check(b, err)
			x, err := signing.NewExtension(bytes.NewReader(base), int64(len(base)), signing.ExtensionParams{Data: data, TokenRoom: 8192})
			check(b, err)
			if token == nil {
				token = n.stampDigest(now, x.Digest)
			}
			_, err = signing.FinishExtension(io.Discard, bytes.NewReader(base), x, token)
			check(b, err)
		}
	}).AllocedBytesPerOp()
	if bytesPerRun > 4<<20 {
		t.Errorf("extending %d MB allocates %d KB", size>>20, bytesPerRun>>10)
	}
}
