//go:build judge

package judge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

// A foreigner signed before us, with pyHanko or EU DSS.
type foreigner struct {
	name    string
	by      *judgeProcess
	sample  string
	level   string
	certify int
	lock    *foreignLock
	visible bool
	pss     bool       // sign with RSASSA-PSS
	refused pdf.Reason // why we do not sign then; empty: we do
}

var foreigners = []foreigner{
	{name: "approval", sample: "table", level: "B-T"},
	{name: "approval", sample: "xref stream", level: "B-B"},
	{name: "approval", sample: "object streams", level: "B-LTA"},
	{name: "approval", sample: "linearized, object streams", level: "B-T"},
	{name: "approval", sample: "form", level: "B-LTA"},
	{name: "P=1", sample: "table", level: "B-T", certify: 1, refused: pdf.ReasonLocked},
	{name: "P=1", sample: "object streams", level: "B-LTA", certify: 1, refused: pdf.ReasonLocked},
	{name: "P=2", sample: "table", level: "B-LTA", certify: 2},
	{name: "P=2", sample: "object streams", level: "B-T", certify: 2},
	{name: "P=2", sample: "xref stream", level: "B-LTA", certify: 2},
	{name: "P=2", sample: "form", level: "B-B", certify: 2},
	{name: "P=3", sample: "table", level: "B-T", certify: 3},
	{name: "P=3", sample: "form in objects of its own", level: "B-LTA", certify: 3},
}

// Only pyHanko makes FieldMDP, only DSS draws.
var (
	byPyHankoOnly = []foreigner{
		{name: "approval", sample: "AES-256", level: "B-T"},
		{name: "P=2", sample: "AES-128", level: "B-LTA", certify: 2},
		{name: "approval", sample: "RC4-128", level: "B-B"},
		{name: "FieldMDP all", sample: "form", level: "B-T", lock: &foreignLock{"All", nil}, refused: pdf.ReasonLocked},
		{name: "FieldMDP include", sample: "form", level: "B-T", lock: &foreignLock{"Include", []string{"Price"}}},
		{name: "FieldMDP include ours", sample: "form", level: "B-T", lock: &foreignLock{"Include", []string{"Price", "Signature1"}}, refused: pdf.ReasonLocked},
		{name: "FieldMDP exclude", sample: "object streams", level: "B-T", lock: &foreignLock{"Exclude", []string{"Price"}}, refused: pdf.ReasonLocked},
		{name: "FieldMDP exclude ours", sample: "form", level: "B-B", lock: &foreignLock{"Exclude", []string{"Signature1", "DocTimeStamp", "DocTimeStamp_2"}}},
		{name: "P=2, FieldMDP include", sample: "form in objects of its own", level: "B-T", certify: 2, lock: &foreignLock{"Include", []string{"Price"}}},
		{name: "P=2", sample: "hybrid", level: "B-T", certify: 2},
	}
	byDSSOnly = []foreigner{
		{name: "visible", sample: "table", level: "B-T", visible: true},
		{name: "visible, P=2", sample: "rotated", level: "B-LTA", certify: 2, visible: true},
		{name: "visible, P=3", sample: "object streams", level: "B-T", certify: 3, visible: true},
	}
)

// sign lets the foreigner sign a file of the world.
func (f foreigner) sign(t testing.TB, w *world, base sample) ([]byte, error) {
	t.Helper()
	dir := t.TempDir()
	check(t, w.pki.Write(dir))
	r := foreignRequest{
		Op: "sign", In: filepath.Join(dir, "in.pdf"), Out: filepath.Join(dir, "out.pdf"), Key: filepath.Join(dir, demopki.SealFile),
		Field: "Theirs", Certify: f.certify, Lock: f.lock, Level: f.level, TSA: w.tsa, Roots: []string{filepath.Join(dir, demopki.RootFile)},
		CRLs: []string{}, Visible: f.visible, Lenient: base.lenient, PSS: f.pss,
	}
	crls, err := w.pki.CRLs(w.clock())
	check(t, err)
	for i, der := range crls {
		r.CRLs = append(r.CRLs, filepath.Join(dir, fmt.Sprintf("%d.crl", i)))
		check(t, os.WriteFile(r.CRLs[i], der, 0o600))
	}
	check(t, os.WriteFile(r.In, base.pdf, 0o600))
	if err := f.by.ask(r, &struct{}{}); err != nil {
		return nil, err
	}
	return os.ReadFile(r.Out)
}

// TestForeign: signatures of others have the same full marks after ours, and after the
// extension of the whole; where we must not sign, we say why.
func TestForeign(t *testing.T) {
	w := newWorld(t, time.Now, demopki.P256) // the foreigners have no other clock
	inputs := map[string]sample{}
	for _, s := range samples(t) {
		inputs[s.name] = s
	}
	for _, by := range []*judgeProcess{pyhanko, dss} {
		cases := append(foreigners[:len(foreigners):len(foreigners)], byDSSOnly...)
		if by == pyhanko {
			cases = append(foreigners[:len(foreigners):len(foreigners)], byPyHankoOnly...)
		}
		for _, f := range cases {
			f.by = by
			t.Run(fmt.Sprintf("%s, %s, %s, %s", by.name, f.name, f.sample, f.level), func(t *testing.T) {
				f.judged(t, w, inputs[f.sample])
			})
		}
	}
}

func (f foreigner) judged(t *testing.T, w *world, base sample) {
	theirs, err := f.sign(t, w, base)
	check(t, err)
	timestamps := 0
	if f.level == "B-LTA" {
		timestamps = 1
	}
	first := wanted{field: "Theirs", level: f.level}
	if f.by == dss {
		first.field = "Signature1" // so it calls it
	}
	exhibit := func(b []byte, timestamps int, signatures ...wanted) exhibit {
		e := w.exhibit(t, b, timestamps, signatures...)
		e.lenient = base.lenient || f.by == dss && base.streams
		e.gaps = f.gaps(base, false)
		return e
	}
	e := exhibit(theirs, timestamps, first)
	e.gaps = f.gaps(base, true)
	e.trailer = f.by == pyhanko && f.level == "B-LTA"
	judged(t, e)
	if t.Failed() {
		t.Fatal("the file is not good before we touch it")
	}
	out, name, err := w.signAfter(t, theirs, oneUse)
	if no, ok := errors.AsType[*pdf.RefusedError](err); ok && no.Reason == f.refused && no.Detail != "" {
		return
	}
	check(t, err)
	if f.refused != "" {
		t.Fatalf("signed, want a refusal: %s", f.refused)
	}
	judged(t, exhibit(out, timestamps, first, wanted{field: name, level: "B-T"}))
	out, added, err := w.extend(out, "B-LTA", revocation.Data{})
	check(t, err)
	first.unstamped, first.level = f.level == "B-B", "B-LTA"
	judged(t, exhibit(out, timestamps+added, first, wanted{field: name, level: "B-LTA"}))
}

// gaps: the PDFBox of DSS miscounts where the cross-reference is a stream, which shows
// as long as it wrote the last section, and uses an object number twice in the next revision.
func (f foreigner) gaps(base sample, last bool) map[string]string {
	all := map[string]string{}
	if f.by == dss && base.streams {
		if last {
			all["qpdf --check"] = "reported number of objects"
		}
		if f.level == "B-LTA" {
			all["pyHanko"] = "Update clobbers or reuses"
		}
	}
	return all
}

// signAfter adds our signature to a file, and returns its field's name.
func (w *world) signAfter(t testing.TB, theirs []byte, kind demopki.Algorithm) (out []byte, name string, err error) {
	r0, names, err := prepare(theirs, pades.FieldSpec{Name: "Signature1"})
	if err != nil {
		return nil, "", err
	}
	out, err = w.sign(r0, w.key(t, kind), signing.Params{Field: names[0]}, "B-T")
	return out, names[0], err
}
