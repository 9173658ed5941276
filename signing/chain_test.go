package signing_test

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"countersign/signing"
	"countersign/signing/cms"
	"countersign/signing/pades"
	"countersign/signing/pdf"
)

// sealLock locks all fields but the other new ones.
var sealLock = &pades.FieldLock{Lock: pdf.Lock{Action: pdf.LockExclude}, New: true}

var wanted = []pades.FieldSpec{{Name: "Seal", Lock: sealLock}, {Name: "Signature1"}, {Name: "Signature2"}}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// sign runs one signature from intent to checked result, with the intent stored
// as JSON in between, as the daemon does.
func sign(t testing.TB, base []byte, key *softKey, p signing.Params) ([]byte, error) {
	t.Helper()
	p.Chain, p.SigningTime = key.chain, now
	made, err := signing.NewIntent(bytes.NewReader(base), int64(len(base)), p)
	if err != nil {
		return nil, err
	}
	stored, err := json.Marshal(made)
	check(t, err)
	var in signing.Intent
	check(t, json.Unmarshal(stored, &in))
	ticket, err := signing.NewTicket(in)
	check(t, err)
	sig, err := ticket.Sign(t.Context(), key)
	check(t, err)
	var out bytes.Buffer
	res, err := signing.Finish(&out, bytes.NewReader(base), in, signing.Proof{Signature: sig})
	check(t, err)
	if int64(out.Len()) != res.Size {
		t.Fatalf("Finish wrote %d bytes and says %d", out.Len(), res.Size)
	}
	check(t, signing.Check(bytes.NewReader(out.Bytes()), res.Size, in))
	return out.Bytes(), nil
}

// signChain prepares a file and lets a seal (certifying, where allowed) and two signers sign.
func signChain(t testing.TB, base []byte, keys []*softKey, certification int) ([]byte, error) {
	t.Helper()
	var buf bytes.Buffer
	_, names, err := signing.Prepare(&buf, section(base), wanted)
	if err != nil {
		return nil, err
	}
	cur := buf.Bytes()
	if !bytes.HasPrefix(cur, base) {
		t.Fatal("R0 does not begin with the draft")
	}
	for i, name := range names {
		p := signing.Params{Field: name, Name: "Zoë (Test)", Reason: "Agreed"}
		if i == 0 {
			p.Certification = certification
		}
		next, err := sign(t, cur, keys[i%len(keys)], p)
		if err != nil {
			return nil, err
		}
		if !bytes.HasPrefix(next, cur) {
			t.Fatalf("signing %q changed bytes that were there before", name)
		}
		cur = next
	}
	return cur, nil
}

// rewritten lets qpdf write the sample in another form.
func rewritten(t testing.TB, base []byte, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.pdf")
	code, text := tool(t, append([]string{"qpdf", "--static-id", save(t, base), out}, args...)...)
	if code != 0 {
		t.Fatalf("qpdf %v: %s", args, text)
	}
	b, err := os.ReadFile(out)
	check(t, err)
	return b
}

// updated replaces and adds objects of a file.
func updated(t testing.TB, base []byte, change func(*pdf.File, *pdf.Update)) []byte {
	t.Helper()
	f, err := pdf.Open(bytes.NewReader(base), int64(len(base)))
	check(t, err)
	u := f.NewUpdate()
	change(f, u)
	inc, err := u.Finish()
	check(t, err)
	return append(bytes.Clone(base), inc...)
}

func firstPage(t testing.TB, f *pdf.File) pdf.Object {
	t.Helper()
	page, err := f.FirstPage()
	check(t, err)
	return page
}

// withForm adds a text field named Seal. With indirect, the form, its fields and the
// page's annotations are objects of their own.
func withForm(t testing.TB, base []byte, indirect bool) []byte {
	return updated(t, base, func(f *pdf.File, u *pdf.Update) {
		page, field := firstPage(t, f), u.Alloc()
		u.Set(field, fmt.Appendf(nil, "<< /Type /Annot /Subtype /Widget /FT /Tx /T (Seal) /F 4 /Rect [50 50 90 70] /P %s >>", page.Ref))
		list := []byte("[" + field.String() + "]")
		place := func(b []byte) []byte {
			if !indirect {
				return b
			}
			ref := u.Alloc()
			u.Set(ref, b)
			return []byte(ref.String())
		}
		form := fmt.Appendf(nil, "<< /Fields %s /DA (/Helv 0 Tf 0 g) >>", place(list))
		u.Set(page.Ref, page.Value.With(pdf.Change{Key: "Annots", Raw: place(list)}, pdf.Change{Key: "Rotate", Raw: []byte("90")}))
		u.Set(f.Catalog().Ref, f.Catalog().Value.With(pdf.Change{Key: "AcroForm", Raw: place(form)}))
	})
}

// withFields gives a file a form with this list of fields.
func withFields(t testing.TB, base []byte, list string) []byte {
	return updated(t, base, func(f *pdf.File, u *pdf.Update) {
		form := pdf.Change{Key: "AcroForm", Raw: []byte("<< /Fields " + list + " >>")}
		u.Set(f.Catalog().Ref, f.Catalog().Value.With(form))
	})
}

func samples(t testing.TB) map[string][]byte {
	base := pdf.Sample("Contract", []string{"Party A and Party B agree.", "That is all."})
	three := rewritten(t, base, "--pages", ".", save(t, base), save(t, base), "--")
	return map[string][]byte{
		"sample":             base,
		"no last newline":    bytes.TrimRight(base, "\n"),
		"three pages":        three,
		"objstm":             rewritten(t, three, "--object-streams=generate"),
		"linearized":         rewritten(t, three, "--linearize"),
		"linearized, objstm": rewritten(t, three, "--linearize", "--object-streams=generate"),
		"form":               withForm(t, base, false),
		"indirect form":      withForm(t, base, true),
		"form, objstm":       withForm(t, rewritten(t, three, "--object-streams=generate"), true),
		"comment at the end": append(bytes.Clone(base), "%%EOF\n% made by x\n\x1a"...),
		"missing field":      withFields(t, base, "[20 0 R null 21 0 R]"),
	}
}

// TestChain: R0, a certifying seal and two signers, on every form of file, with
// outside readers as judges.
func TestChain(t *testing.T) {
	keys := newKeys(t, "p256", "p384", "rsa")
	for name, base := range samples(t) {
		t.Run(name, func(t *testing.T) {
			out, err := signChain(t, base, keys, 2)
			check(t, err)
			judged(t, base, out, len(wanted), keys[0].root())
		})
	}
}

// TestEd25519 is apart: pdfsig does not know that algorithm, and OpenSSL not in a CMS
// (RFC 8419), so OpenSSL judges the bare signature over the signed attributes.
func TestEd25519(t *testing.T) {
	keys, base := newKeys(t, "ed25519"), pdf.Sample("x", nil)
	out, err := signChain(t, base, keys, 0)
	check(t, err)
	if code, text := qpdf(t, out); code != 0 {
		t.Errorf("qpdf --check: %s", text)
	}
	public, err := x509.MarshalPKIXPublicKey(keys[0].Public())
	check(t, err)
	dir := t.TempDir()
	for _, fd := range fieldsOf(t, out) {
		padded, err := hex.DecodeString(string(fd.ContentsHex))
		check(t, err)
		der, err := cms.Trim(padded)
		check(t, err)
		p, err := cms.Parse(der)
		check(t, err)
		for name, b := range map[string][]byte{"key": public, "attrs": p.Attrs, "sig": p.Signature} {
			check(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
		code, text := tool(t, "openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", filepath.Join(dir, "key"),
			"-in", filepath.Join(dir, "attrs"), "-sigfile", filepath.Join(dir, "sig"))
		if code != 0 {
			t.Errorf("openssl, field %q: %s", fd.Name, text)
		}
	}
}

// TestDictionary: the seal's field got a free name, the certification is in the catalog.
func TestDictionary(t *testing.T) {
	keys, base := newKeys(t, "p256"), withForm(t, pdf.Sample("x", nil), true)
	out, err := signChain(t, base, keys, 2)
	check(t, err)
	judged(t, base, out, len(wanted), keys[0].root())
	f, err := pdf.Open(bytes.NewReader(out), int64(len(out)))
	check(t, err)
	fields, err := f.SignatureFields()
	check(t, err)
	var names []string
	for _, fd := range fields {
		names = append(names, fd.Name)
		if fd.SubFilter != "ETSI.CAdES.detached" || !fd.Signed {
			t.Errorf("field %q: %s, signed %v", fd.Name, fd.SubFilter, fd.Signed)
		}
	}
	if got := strings.Join(names, " "); got != "Seal_2 Signature1 Signature2" || fields[0].DocMDP != 2 || fields[1].DocMDP != 0 {
		t.Errorf("fields %s, DocMDP %d", got, fields[0].DocMDP)
	}
	mdp, ok := f.Catalog().Value.Get("Perms").Get("DocMDP").Ref()
	if !ok || mdp != fields[0].Signature {
		t.Error("the catalog does not name the certification")
	}
	if !bytes.Contains(out, []byte("/M (D:20260304050607Z)")) {
		t.Error("the signing time is missing")
	}
}

// TestLocked: what a signature forbids is refused before a key is asked, whatever the form
// of the file.
func TestLocked(t *testing.T) {
	base := pdf.Sample("x", nil)
	t.Run("table", func(t *testing.T) { testLocked(t, base) })
	t.Run("objects in streams", func(t *testing.T) { testLocked(t, rewritten(t, base, "--object-streams=generate")) })
}

func testLocked(t *testing.T, base []byte) {
	keys := newKeys(t, "p256")
	// first signs the field Seal of R0 with lock in its field and in its signature.
	first := func(certification int, field string, own *pdf.Lock) []byte {
		var buf bytes.Buffer
		_, _, err := signing.Prepare(&buf, section(base), wanted[1:])
		check(t, err)
		lock := "null"
		if field != "" {
			lock = "<< /Type /SigFieldLock " + field + " >>"
		}
		r0 := withFieldOf(t, buf.Bytes(), "Sig", "Seal", "/Lock "+lock)
		out, err := sign(t, r0, keys[0], signing.Params{Field: "Seal", Certification: certification, Lock: own})
		check(t, err)
		judged(t, r0, out, 1, keys[0].root())
		return out
	}
	include := func(names ...string) *pdf.Lock { return &pdf.Lock{Action: pdf.LockInclude, Fields: names} }
	other := signing.Params{Field: "Signature1"}
	for name, c := range map[string]struct {
		base []byte
		p    signing.Params
		want pdf.Reason
	}{
		"P=1":                    {first(1, "", nil), other, pdf.ReasonLocked},
		"P=2":                    {first(2, "", nil), other, ""},
		"P=3":                    {first(3, "", nil), other, ""},
		"second certification":   {first(2, "", nil), signing.Params{Field: "Signature1", Certification: 2}, pdf.ReasonLocked},
		"certification too late": {first(0, "", nil), signing.Params{Field: "Signature1", Certification: 2}, pdf.ReasonLocked},
		"signed field":           {first(0, "", nil), signing.Params{Field: "Seal"}, pdf.ReasonLocked},
		"lock all":               {first(0, "/Action /All", nil), other, pdf.ReasonLocked},
		"lock this":              {first(0, "/Action /Include /Fields [(Signature1)]", nil), other, pdf.ReasonLocked},
		"lock other":             {first(0, "/Action /Include /Fields [(Signature2) (Sig)]", nil), other, ""},
		"lock others":            {first(2, "/Action /Exclude /Fields [(Signature1)]", nil), other, ""},
		"lock rest":              {first(2, "/Action /Exclude /Fields [(Signature2)]", nil), other, pdf.ReasonLocked},
		"lock level 1":           {first(0, "/Action /Include /Fields [] /P 1", nil), other, pdf.ReasonLocked},
		"lock level 2":           {first(0, "/Action /Include /Fields [] /P 2", nil), other, ""},
		"own lock all":           {first(2, "", &pdf.Lock{Action: pdf.LockAll}), other, pdf.ReasonLocked},
		"own lock this":          {first(2, "", include("Signature1")), other, pdf.ReasonLocked},
		"own lock itself":        {first(2, "", include("Seal")), other, ""},
		"joined locks":           {first(0, "/Action /Include /Fields [(x)]", include("Signature1")), other, pdf.ReasonLocked},
	} {
		t.Run(name, func(t *testing.T) {
			before := keys[0].calls.Load()
			out, err := sign(t, c.base, keys[0], c.p)
			re, refused := errors.AsType[*pdf.RefusedError](err)
			if c.want == "" && err != nil || c.want != "" && (!refused || re.Reason != c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && keys[0].calls.Load() != before {
				t.Error("the key was asked")
			}
			if err == nil {
				checkSecond(t, c.base, out, keys[0])
			}
			err = prepareMore(c.base)
			if _, refused := errors.AsType[*pdf.RefusedError](err); (name == "P=1" || name == "lock level 1") && !refused {
				t.Errorf("a field was added to a file that may not change: %v", err)
			}
		})
	}
}

// checkSecond asks the judges about a file with one signature before and one of ours.
func checkSecond(t *testing.T, base, out []byte, key *softKey) {
	t.Helper()
	if n, bad := openssl(t, base, out, key.root()); n != 1 || bad != "" {
		t.Errorf("openssl: %d signatures: %s", n, bad)
	}
	if code, text := qpdf(t, out); code != 0 {
		t.Errorf("qpdf --check: %s", text)
	}
	if valid, text := pdfsig(t, out); valid != 2 {
		t.Errorf("pdfsig: %s", text)
	}
}

// TestVisibleAfterSeal: after a certification nothing new is put on a page; without one it may.
func TestVisibleAfterSeal(t *testing.T) {
	key := newKeys(t, "p256")[0]
	place := &pades.Place{Page: 1, Area: pdf.Area{X: 10, Y: 10, W: 100, H: 50}}
	for certification, allowed := range map[int]bool{0: true, 2: false, 3: false} {
		out, err := sign(t, prepared(t), key, signing.Params{Field: "Signature1", Certification: certification})
		check(t, err)
		_, _, err = signing.Prepare(io.Discard, section(out), []pades.FieldSpec{{Name: "New", Place: place}})
		if re, refused := errors.AsType[*pdf.RefusedError](err); refused == allowed || refused && re.Reason != pdf.ReasonLocked {
			t.Errorf("certification %d: %v", certification, err)
		}
		check(t, prepareInvisible(out))
	}
}

func prepareInvisible(base []byte) error {
	_, _, err := signing.Prepare(io.Discard, section(base), []pades.FieldSpec{{Name: "New"}})
	return err
}

func prepareMore(base []byte) error {
	_, _, err := signing.Prepare(io.Discard, section(base), wanted)
	return err
}

// TestDamagedSignature: a file with a signature that does not cover its revision is refused.
func TestDamagedSignature(t *testing.T) {
	out, err := signChain(t, pdf.Sample("x", nil), newKeys(t, "p256"), 2)
	check(t, err)
	shorter := regexp.MustCompile(`/ByteRange \[0 (\d+) (\d+) (\d)`)
	for name, b := range map[string][]byte{
		"range moved": shorter.ReplaceAll(out, []byte("/ByteRange [1 $1 $2 $3")),
		"range short": shorter.ReplaceAll(out, []byte("/ByteRange [0 $1 $2 0")),
		"no numbers":  bytes.ReplaceAll(out, []byte("/ByteRange [0 "), []byte("/ByteRange [/ ")),
		"no contents": bytes.ReplaceAll(out, []byte("/Contents <30"), []byte("/Contentz <30")),
	} {
		if bytes.Equal(b, out) {
			t.Fatalf("%s: nothing was damaged", name)
		}
		re, refused := errors.AsType[*pdf.RefusedError](prepareMore(b))
		if !refused || re.Reason != pdf.ReasonSignature {
			t.Errorf("%s: got %v, want the reason %s", name, re, pdf.ReasonSignature)
		}
	}
}
