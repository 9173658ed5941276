package pades

import (
	"bytes"
	"compress/zlib"
	"crypto"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

// signedWith is a document with a signature and with what is given in its catalog.
func signedWith(t testing.TB, catalog string, more ...string) []byte {
	t.Helper()
	base := prepared(t, document(t, catalog, "[]", more...))
	u := begin(t, base, SignParams{Field: "Seal", Room: 64})
	var out bytes.Buffer
	if _, err := u.Write(&out, bytes.NewReader(base), []byte{0x30, 0}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func stream(dict string, data []byte) string {
	return fmt.Sprintf("<< %s /Length %d >>\nstream\n%s\nendstream", dict, len(data), data)
}

func flate(data []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

func extend(t testing.TB, base []byte, d revocation.Data, room int) (*Extension, error) {
	t.Helper()
	f := open(t, base)
	digests, err := HashRanges(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Extend(ExtendParams{File: f, Digests: digests, Data: d, Room: room})
}

func list(values ...string) (out [][]byte) {
	for _, v := range values {
		out = append(out, []byte(v))
	}
	return out
}

// TestDSSForms: a store of any form is kept and gets what it has not yet, and no object is
// written without need. Objects 8 and up are those of the table, the field and the signature.
func TestDSSForms(t *testing.T) {
	data := revocation.Data{Certs: list("root", "ca"), OCSPs: list("good"), CRLs: list("empty", "empty")}
	root := stream("", []byte("root"))
	for name, c := range map[string]struct {
		base  []byte
		want  string // objects written for the data, and with a timestamp
		added Counts
	}{
		"none": {signedWith(t, ""), "11 12 13 14 15 1", Counts{2, 1, 1}},
		"null": {signedWith(t, "/DSS null"), "11 12 13 14 15 1", Counts{2, 1, 1}},
		"direct": {
			signedWith(t, "/DSS << /Certs [8 0 R] /VRI << /AA << >> >> >>", root),
			"12 13 14 1",
			Counts{1, 1, 1},
		},
		"indirect": {
			signedWith(t, "/DSS 9 0 R", root, "<< /Type /DSS /Certs [8 0 R] >>"),
			"13 14 15 9",
			Counts{1, 1, 1},
		},
		"indirect lists": {
			signedWith(t, "/DSS 9 0 R", root, "<< /Certs 10 0 R /OCSPs 11 0 R /CRLs 12 0 R >>", "[8 0 R]", "[]", "[]"),
			"16 10 17 11 18 12",
			Counts{1, 1, 1},
		},
		"packed": {
			signedWith(t, "/DSS << /Certs [8 0 R] >>", stream("/Filter /FlateDecode", flate([]byte("root")))),
			"12 13 14 1",
			Counts{1, 1, 1},
		},
		"all there": {
			signedWith(t, "/DSS << /Certs [8 0 R 9 0 R] /OCSPs [10 0 R] /CRLs [11 0 R 11 0 R] >>",
				root, stream("", []byte("ca")), stream("", []byte("good")), stream("", []byte("empty"))),
			"",
			Counts{},
		},
		"unreadable values": {
			signedWith(t, "/DSS << /Certs [8 0 R 99 0 R 9 0 R null 10 0 R 1] >>", root, "<< >>", stream("/Filter /DCTDecode", []byte("ca"))),
			"103 104 105 1", // above the reference that leads nowhere
			Counts{1, 1, 1},
		},
	} {
		x, err := extend(t, c.base, data, 0)
		if c.want == "" {
			if !errors.Is(err, ErrNothingToAdd) {
				t.Errorf("%s: got %v, want ErrNothingToAdd", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := touched(x.Head); got != c.want || x.Added != c.added {
			t.Errorf("%s: wrote %s, want %s; added %+v, want %+v", name, got, c.want, x.Added, c.added)
		}
		var out bytes.Buffer
		if h, err := x.Write(&out, bytes.NewReader(c.base), nil); err != nil || h.Size() != int64(out.Len()) {
			t.Fatal(err)
		}
		if _, err := x.Check(bytes.NewReader(out.Bytes()), int64(out.Len())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := revocation.Data{Certs: list("root", "ca"), OCSPs: list("good"), CRLs: list("empty")}
		got, err := ReadDSS(open(t, out.Bytes()))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the file has %q, %v", name, got, err)
		}
		if name == "direct" && !bytes.Contains(x.Head, []byte("/VRI << /AA << >> >>")) {
			t.Error("/VRI was lost")
		}
		if _, err := extend(t, out.Bytes(), data, 0); !errors.Is(err, ErrNothingToAdd) {
			t.Errorf("%s: a second time: %v", name, err)
		}
	}
}

// TestDSSRefused: a store that cannot be what it should be is refused, with the reason.
func TestDSSRefused(t *testing.T) {
	bomb := stream("/Filter /FlateDecode", flate(make([]byte, maxValue+1)))
	many := "[" + strings.Repeat("8 0 R ", maxValues+1) + "]"
	for name, c := range map[string]struct {
		base []byte
		want pdf.Reason
	}{
		"no dictionary": {signedWith(t, "/DSS [1]"), pdf.ReasonBroken},
		"no list":       {signedWith(t, "/DSS << /Certs << >> >>"), pdf.ReasonBroken},
		"a stream":      {signedWith(t, "/DSS 8 0 R", stream("", nil)), pdf.ReasonBroken},
		"shared lists":  {signedWith(t, "/DSS << /Certs 8 0 R /CRLs 8 0 R >>", "[]"), pdf.ReasonBroken},
		"too many":      {signedWith(t, "/DSS << /Certs 8 0 R >>", many), pdf.ReasonTooLarge},
		"bomb":          {signedWith(t, "/DSS << /CRLs [8 0 R] >>", bomb), pdf.ReasonTooLarge},
		"unsigned":      {prepared(t, pdf.Sample("x", nil)), pdf.ReasonUnsigned},
	} {
		_, err := extend(t, c.base, revocation.Data{Certs: list("root")}, 100)
		if no, ok := errors.AsType[*pdf.RefusedError](err); !ok || no.Reason != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	if _, err := extend(t, signedWith(t, ""), revocation.Data{Certs: list("")}, 0); err == nil {
		t.Error("an empty certificate was accepted")
	}
	if _, err := extend(t, signedWith(t, ""), revocation.Data{}, maxRoom+1); err == nil {
		t.Error("any room was accepted")
	}
}

// TestTimestampAlone: with nothing new, the increment is a field, its timestamp and the places
// that name the field. The name is free and in no lock's list.
func TestTimestampAlone(t *testing.T) {
	base := signedWith(t, "")
	x, err := extend(t, base, revocation.Data{}, 64)
	if err != nil {
		t.Fatal(err)
	}
	if got := touched(append(bytes.Clone(x.Head), x.Tail...)); got != "11 12 9 3" {
		t.Errorf("wrote the objects %s", got)
	}
	if x.Field != "DocTimeStamp" || x.Hash != crypto.SHA256 || x.Added != (Counts{}) {
		t.Errorf("%+v", x)
	}
	var out bytes.Buffer
	if _, err := x.Write(&out, bytes.NewReader(base), nil); !errors.Is(err, ErrNoRoom) {
		t.Errorf("without a token: %v", err)
	}
	out.Reset()
	if _, err := x.Write(&out, bytes.NewReader(base), []byte("token")); err != nil {
		t.Fatal(err)
	}
	token, err := x.Check(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil || !bytes.HasPrefix(token, []byte("token\x00")) {
		t.Errorf("%q, %v", token, err)
	}
	b := x.ByteRange()
	d, err := HashRanges(open(t, out.Bytes()), []Range{{Field: "x", ByteRange: b, Hash: crypto.SHA256}})
	if err != nil || !bytes.Equal(d.Ranges[0], x.Digest) {
		t.Errorf("the digest is not over the byte range: %v", err)
	}
}

// TestTimestampName: the field gets a name that no lock covers, if there is one.
func TestTimestampName(t *testing.T) {
	for lock, want := range map[string]string{
		"/Action /Include /Fields [(Seal)]":                     "DocTimeStamp",
		"/Action /Include /Fields [(DocTimeStamp)]":             "DocTimeStamp_2",
		"/Action /Exclude /Fields [(DocTimeStamp_3)]":           "DocTimeStamp_3",
		"/Action /Exclude /Fields [(Seal)]":                     "",
		"/Action /All":                                          "",
		"/Action /Include /Fields [(DocTimeStamp) (DocTimeSt)]": "DocTimeStamp_2",
	} {
		base := signedWith(t, "")
		f := open(t, base)
		fields, err := f.SignatureFields()
		if err != nil {
			t.Fatal(err)
		}
		u := f.NewUpdate()
		u.Set(fields[0].Object.Ref, fields[0].Object.Value.With(pdf.Change{Key: "Lock", Raw: []byte("<< " + lock + " >>")}))
		inc, err := u.Finish()
		if err != nil {
			t.Fatal(err)
		}
		base = append(base, inc...)
		x, err := extend(t, base, revocation.Data{}, 64)
		if err != nil {
			t.Fatal(err)
		}
		if want != "" && x.Field != want || want == "" && x.Field != "DocTimeStamp" {
			t.Errorf("%s: field %q, want %q", lock, x.Field, want)
		}
		f = open(t, base)
		digests, err := HashRanges(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Extend(ExtendParams{File: f, Digests: digests, Room: 64, Strict: true})
		if errors.Is(err, ErrLocks) != (want == "") || want != "" && err != nil {
			t.Errorf("%s, strictly: %v", lock, err)
		}
	}
}

// TestHashRanges compares with the plain way, for ranges in any order and of any hash.
func TestHashRanges(t *testing.T) {
	all := pdf.Sample("x", []string{"y"})
	n := int64(len(all))
	ranges := []Range{
		{"last", [4]int64{0, n - 60, n - 50, 50}, crypto.SHA384},
		{"first", [4]int64{0, 100, 110, 90}, crypto.SHA256},
		{"second", [4]int64{0, 200, 202, 98}, crypto.SHA512},
		{"third", [4]int64{0, 400, 404, 96}, crypto.SHA256},
	}
	d, err := HashRanges(open(t, all), ranges)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range ranges {
		h := r.Hash.New()
		h.Write(all[:r.ByteRange[1]])
		h.Write(all[r.ByteRange[2] : r.ByteRange[2]+r.ByteRange[3]])
		if !bytes.Equal(h.Sum(nil), d.Ranges[i]) {
			t.Errorf("%s: wrong digest", r.Field)
		}
	}
	for name, bad := range map[string][4]int64{
		"overlapping": {0, 150, 160, 200}, "outside": {0, 600, 610, n}, "backwards": {0, 620, 610, 5}, "no start": {1, 700, 702, 5},
	} {
		if _, err := HashRanges(open(t, all), append(ranges[1:2:2], Range{name, bad, crypto.SHA256})); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := HashRanges(open(t, all), []Range{{"x", [4]int64{0, 1, 2, 3}, 99}}); err == nil {
		t.Error("an unknown hash was accepted")
	}
}

// FuzzDSS: whatever the store of a file is, reading does not panic, and what was added
// to it can be read from the result, whose beginning is the file.
func FuzzDSS(f *testing.F) {
	f.Add([]byte("<< /Certs [9 0 R] >>"), []byte("<< /Length 4 >>\nstream\nroot\nendstream"))
	f.Add([]byte("<< /Certs 9 0 R /CRLs 9 0 R >>"), []byte("[9 0 R 8 0 R]"))
	f.Add([]byte("<< /Certs 9 0 R /VRI 8 0 R >>"), []byte("[[8 0 R] null (x) 1 0 R 3 0 R]"))
	f.Add([]byte("[/Certs]"), []byte("null"))
	f.Add([]byte("<< /OCSPs [9 0 R 9 0 R] >>"), []byte(stream("/Filter /FlateDecode", flate([]byte("good")))))
	f.Add([]byte("<< /OCSPs [9 0 R] >>"), []byte("<< /Length 9 0 R /Filter [/FlateDecode /FlateDecode] >>\nstream\nx\nendstream"))
	f.Fuzz(func(t *testing.T, store, value []byte) {
		base := document(t, "/DSS 8 0 R", "[]", string(store), string(value))
		file, err := pdf.Open(bytes.NewReader(base), int64(len(base)))
		if err != nil {
			return
		}
		if _, err := ReadDSS(file); err != nil {
			return
		}
		e := newEdit(file)
		data := revocation.Data{Certs: list("root"), CRLs: list("empty")}
		if _, err := e.addDSS(data); err != nil || len(e.catalog) == 0 && len(touchedBy(e)) == 0 {
			return
		}
		inc, err := e.finish()
		if err != nil {
			return
		}
		out := append(bytes.Clone(base), inc...)
		x := Extension{}
		if x.Values, err = keys(data); err != nil {
			t.Fatal(err)
		}
		again, err := pdf.Open(bytes.NewReader(out), int64(len(out)))
		if err != nil {
			t.Fatal(err)
		}
		if err := x.checkStore(again); err != nil {
			t.Errorf("store %q, value %q: %v", store, value, err)
		}
	})
}

// touchedBy says what an edit would write.
func touchedBy(e *edit) string {
	inc, err := e.finish()
	if err != nil {
		return ""
	}
	return touched(inc)
}
