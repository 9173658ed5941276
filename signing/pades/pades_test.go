package pades

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/signing/pdf"
	"countersign/signing/stamp"
)

func open(t testing.TB, b []byte) *pdf.File {
	t.Helper()
	f, err := pdf.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// document has a form whose parts are written as given; object 3 is the page.
func document(t testing.TB, catalog, annots string, more ...string) []byte {
	t.Helper()
	base := pdf.Sample("x", nil)
	f := open(t, base)
	u := f.NewUpdate()
	page, err := f.FirstPage()
	if err != nil {
		t.Fatal(err)
	}
	u.Set(f.Catalog().Ref, []byte("<< /Type /Catalog /Pages 2 0 R "+catalog+" >>"))
	u.Set(page.Ref, page.Value.With(pdf.Change{Key: "Annots", Raw: []byte(annots)}))
	for _, body := range more {
		u.Set(u.Alloc(), []byte(body))
	}
	inc, err := u.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return append(base, inc...)
}

var written = regexp.MustCompile(`(?m)^(\d+) 0 obj$`)

// touched lists the numbers of the objects in an increment.
func touched(increment []byte) string {
	var nums []string
	for _, m := range written.FindAllSubmatch(increment, -1) {
		nums = append(nums, string(m[1]))
	}
	return strings.Join(nums, " ")
}

// TestPrepareTouchesLittle: only what must change is written again. The documents'
// own objects are 1 to 7, their additions 8 and up.
func TestPrepareTouchesLittle(t *testing.T) {
	for name, c := range map[string]struct {
		base []byte
		want string
	}{
		"no form":              {pdf.Sample("x", nil), "8 9 3 1"},
		"null form":            {document(t, "/AcroForm null", "null"), "8 9 3 1"},
		"form in catalog":      {document(t, "/AcroForm << /Fields [] >>", "[]"), "8 3 1"},
		"form by itself":       {document(t, "/AcroForm 8 0 R", "[]", "<< /Fields [] >>"), "9 8 3"},
		"all by themselves":    {document(t, "/AcroForm 8 0 R", "10 0 R", "<< /Fields 9 0 R /SigFlags 3 >>", "[]", "[]"), "11 9 10"},
		"fields by themselves": {document(t, "/AcroForm << /Fields 8 0 R /SigFlags 3 >>", "9 0 R", "[]", "[]"), "10 8 9"},
		"flags to be set":      {document(t, "/AcroForm << /Fields 8 0 R /SigFlags 1 >>", "9 0 R", "[]", "[]"), "10 8 9 1"},
	} {
		inc, names, err := Prepare(open(t, c.base), []FieldSpec{{Name: "Seal"}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := touched(inc); got != c.want {
			t.Errorf("%s: wrote the objects %s, want %s\n%s", name, got, c.want, inc)
		}
		f := open(t, append(bytes.Clone(c.base), inc...))
		form, err := f.AcroForm()
		if err != nil {
			t.Fatal(err)
		}
		if flags, _ := form.Value.Get("SigFlags").Int(); flags != 3 {
			t.Errorf("%s: SigFlags %d", name, flags)
		}
		fields, err := f.SignatureFields()
		if err != nil || len(fields) != 1 || fields[0].Name != names[0] || fields[0].Signed {
			t.Errorf("%s: fields %v, %v", name, fields, err)
		}
	}
}

func begin(t testing.TB, base []byte, in SignParams) *Unsigned {
	t.Helper()
	in.File, in.Hash, in.SigningTime = open(t, base), crypto.SHA256, time.Unix(1_800_000_000, 0)
	u, err := Begin(in)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func prepared(t testing.TB, base []byte) []byte {
	t.Helper()
	inc, _, err := Prepare(open(t, base), []FieldSpec{{Name: "Seal"}})
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(base), inc...)
}

// TestDigestIsOverTheByteRange computes it the plain way from the finished file.
func TestDigestIsOverTheByteRange(t *testing.T) {
	base := prepared(t, pdf.Sample("x", nil))
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		u, err := Begin(SignParams{File: open(t, base), Field: "Seal", Hash: h, Room: 100, Reason: "(é)"})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		written, err := u.Write(&out, bytes.NewReader(base), []byte("a cms"))
		if err != nil {
			t.Fatal(err)
		}
		size := written.Size()
		if sum := sha256.Sum256(out.Bytes()); size != int64(out.Len()) || written.SHA256() != hex.EncodeToString(sum[:]) {
			t.Errorf("%d bytes written, %d and the SHA-256 %s told", out.Len(), size, written.SHA256())
		}
		b, all := u.ByteRange(), out.Bytes()
		d := h.New()
		d.Write(all[:b[1]])
		d.Write(all[b[2] : b[2]+b[3]])
		if !bytes.Equal(d.Sum(nil), u.Digest) {
			t.Errorf("%v: the digest is not over the byte range", h)
		}
		if b[2]+b[3] != size || all[b[1]] != '<' || all[b[2]-1] != '>' || b[2]-b[1] != 202 {
			t.Errorf("byte range %v of %d bytes", b, size)
		}
		if !bytes.Contains(all, fmt.Appendf(nil, "/ByteRange [0 %d %d %d]", b[1], b[2], b[3])) {
			t.Error("the byte range is not in the file")
		}
		cms, err := u.Check(bytes.NewReader(all), size)
		if err != nil || !bytes.HasPrefix(cms, []byte("a cms\x00")) {
			t.Errorf("check: %q, %v", cms, err)
		}
	}
}

func TestPermsAreAmended(t *testing.T) {
	for name, base := range map[string][]byte{
		"none":     prepared(t, pdf.Sample("x", nil)),
		"direct":   prepared(t, document(t, "/Perms << /Other true >>", "[]")),
		"indirect": prepared(t, document(t, "/Perms 8 0 R", "[]", "<< /Other true >>")),
	} {
		u := begin(t, base, SignParams{Field: "Seal", Certification: 1, Room: 64})
		var out bytes.Buffer
		if _, err := u.Write(&out, bytes.NewReader(base), []byte{1}); err != nil {
			t.Fatal(err)
		}
		f := open(t, out.Bytes())
		perms, err := f.Resolve(f.Catalog().Value.Get("Perms"))
		if err != nil {
			t.Fatal(err)
		}
		fields, err := f.SignatureFields()
		if err != nil {
			t.Fatal(err)
		}
		ref, _ := perms.Get("DocMDP").Ref()
		if ref != fields[0].Signature || fields[0].DocMDP != 1 || name != "none" && !perms.Get("Other").True() {
			t.Errorf("%s: %s", name, perms.Raw())
		}
	}
}

func TestRoom(t *testing.T) {
	base := prepared(t, pdf.Sample("x", nil))
	u := begin(t, base, SignParams{Field: "Seal", Room: 10})
	if _, err := u.Write(io.Discard, bytes.NewReader(base), make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if _, err := u.Write(io.Discard, bytes.NewReader(base), make([]byte, 11)); !errors.Is(err, ErrNoRoom) {
		t.Errorf("got %v, want ErrNoRoom", err)
	}
	if _, err := u.Write(io.Discard, bytes.NewReader(base), nil); err == nil {
		t.Error("an empty CMS was written")
	}
	if _, err := (&Unsigned{}).Check(bytes.NewReader(base), 1); err == nil {
		t.Error("an empty increment was accepted")
	}
}

// TestFieldWithRules: a lock that a field prescribes goes into its signature; a field with
// rules that we cannot obey is refused.
func TestFieldWithRules(t *testing.T) {
	for rule, want := range map[string]string{
		"":                                               "",
		"/Lock null /SV null":                            "",
		"/Lock << /Action /All >>":                       "<< /Type /TransformParams /Action /All /V /1.2 >>",
		"/Lock << /Action /All /P 3 >>":                  "<< /Type /TransformParams /Action /All /V /1.2 >>",
		"/Lock << /Action /All /P 2 >>":                  refused, // the certification would grant more
		"/Lock << /Action /All /P 0 >>":                  refused,
		"/Lock << /Action /All /P /2 >>":                 refused,
		"/Lock << /Action /All /New 1 >>":                refused,
		"/Lock << /Action /Some >>":                      refused,
		"/Lock << /Action /Exclude >>":                   refused,
		"/Lock [/All]":                                   refused,
		"/SV << /Ff 1 >>":                                "",
		"/Lock << /Action /All >> /SV 9 0 R":             refused, // not a seed value dictionary
		"/Lock 9 0 R":                                    `<< /Type /TransformParams /Action /Include /Fields [(a.b) (\(c\)) <FEFF00E9>] /V /1.2 >>`,
		"/Lock << /Action /Include /Fields [(a) 7] >>":   refused,
		"/Lock << /Action /Include /Fields [(\\237)] >>": refused,
		"/Lock << /Action /Include /Fields [" + strings.Repeat("(a)", 1001) + "] >>": refused,
	} {
		base := document(t, "/AcroForm << /Fields [8 0 R] >>", "[8 0 R]",
			"<< /Type /Annot /Subtype /Widget /FT /Sig /T (Theirs) /Rect [0 0 0 0] "+rule+" >>",
			"<< /Type /SigFieldLock /Action /Include /Fields 10 0 R >>", `[(a.b) (\(c\)) (\351)]`)
		u, err := Begin(SignParams{File: open(t, base), Field: "Theirs", Hash: crypto.SHA256, Room: 10, Certification: 3})
		if re, ok := errors.AsType[*pdf.RefusedError](err); want == refused && (!ok || re.Reason != pdf.ReasonUnsupported) {
			t.Errorf("%s: %v", rule, err)
		}
		if want == refused {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		entry := " << /Type /SigRef /TransformMethod /FieldMDP /TransformParams " + want + " /Data 1 0 R >> ]"
		if has := bytes.Contains(u.Head, []byte("FieldMDP")); has != (want != "") || has && !bytes.Contains(u.Head, []byte(entry)) {
			t.Errorf("%s: the signature is %s", rule, u.Head)
		}
	}
}

const refused = "refused"

// TestPrepareLocks: the lock is an object of its own and lists the names of the fields that
// it is for, by the names they got.
func TestPrepareLocks(t *testing.T) {
	base := document(t, "/AcroForm << /Fields [8 0 R] >>", "[8 0 R]",
		"<< /Type /Annot /Subtype /Widget /FT /Tx /T (B) /Rect [0 0 0 0] >>")
	for want, lock := range map[string]FieldLock{
		"/Action /Include /Fields [(A) (B) (B_2) (C)]": {Lock: pdf.Lock{Action: pdf.LockAll}, New: true},
		"/Action /Include /Fields [(A) (B)]":           {Lock: pdf.Lock{Action: pdf.LockExclude}, New: true},
		"/Action /Include /Fields [(A) (B) (C)]":       {Lock: pdf.Lock{Action: pdf.LockExclude, Fields: []string{"x.y", "B_2"}}},
		"/Action /Include /Fields [(x)]":               {Lock: pdf.Lock{Action: pdf.LockInclude, Fields: []string{"x"}}},
	} {
		inc, names, err := Prepare(open(t, base), []FieldSpec{{Name: "A", Lock: &lock}, {Name: "B"}, {Name: "C"}})
		if err != nil || strings.Join(names, " ") != "A B_2 C" {
			t.Errorf("%s: fields %q, %v", want, names, err)
			continue
		}
		if !bytes.Contains(inc, []byte("/P 3 0 R /Lock 10 0 R >>")) ||
			!bytes.Contains(inc, []byte("10 0 obj\n<< /Type /SigFieldLock "+want+" >>\nendobj\n")) {
			t.Errorf("%s: the increment is %s", want, inc)
		}
	}
	for _, bad := range []pdf.Lock{
		{},
		{Action: "None"},
		{Action: pdf.LockAll, Level: 1},
		{Action: pdf.LockInclude, Fields: []string{""}},
		{Action: pdf.LockInclude, Fields: []string{"a\nb"}},
	} {
		if _, _, err := Prepare(open(t, base), []FieldSpec{{Name: "A", Lock: &FieldLock{Lock: bad}}}); err == nil {
			t.Errorf("the lock %v was written", bad)
		}
	}
}

// FuzzPrepare: preparing never changes what was there, and what it makes is readable.
func FuzzPrepare(f *testing.F) {
	f.Add(pdf.Sample("x", nil))
	f.Add(document(f, "/AcroForm 8 0 R", "10 0 R", "<< /Fields 9 0 R /SigFlags 3 >>", "[]", "[]"))
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := pdf.Open(bytes.NewReader(in), int64(len(in)))
		if err != nil {
			return
		}
		lock := &FieldLock{Lock: pdf.Lock{Action: pdf.LockExclude}, New: true}
		inc, names, err := Prepare(file, []FieldSpec{{Name: "Seal", Lock: lock}, {Name: "Signature1"}})
		if err != nil {
			return
		}
		if ok, err := open(t, append(bytes.Clone(in), inc...)).HasField(names[0]); err != nil || !ok {
			t.Errorf("the field is not there: %v", err)
		}
	})
}

// FuzzVisible: whatever a page says of itself, a visible field is refused or signed, and
// nothing that was there changes.
func FuzzVisible(f *testing.F) {
	f.Add(pdf.Sample("x", nil))
	f.Add(document(f, "/AcroForm << /Fields [8 0 R] >>", "[8 0 R]", "<< /FT /Sig /T (Seal) /Rect [10 10 200 90] /F 4 /AP << /N 9 0 R >> "+
		"/Lock << /Action /All /P 2 >> /SV << /Ff 8 /Reasons [()] >> >>", "<< /Type /XObject /BBox [0 60 200 0] /Matrix [0 2 -1 0 7 7] >>"))
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := pdf.Open(bytes.NewReader(in), int64(len(in)))
		if err != nil {
			return
		}
		place := &Place{Page: 1, Area: pdf.Area{X: 10, Y: 10, W: 120, H: 40}}
		if inc, _, err := Prepare(file, []FieldSpec{{Name: "Seal", Place: place}}); err == nil {
			in = append(bytes.Clone(in), inc...)
			file = open(t, in)
		}
		u, err := Begin(SignParams{File: file, Field: "Seal", Hash: crypto.SHA256, Room: 10, Appearance: stamp.Text{Title: "x"}})
		if err != nil {
			return
		}
		var out bytes.Buffer
		if h, err := u.Write(&out, bytes.NewReader(in), []byte("a cms")); err != nil || !bytes.HasPrefix(out.Bytes(), in) {
			t.Fatal(err)
		} else if _, err := u.Check(bytes.NewReader(out.Bytes()), h.Size()); err != nil {
			t.Errorf("what was signed cannot be read back: %v", err)
		}
	})
}
