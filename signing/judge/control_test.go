//go:build judge

package judge

import (
	"bytes"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/keys/ca"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

// refusedBy lists the judges that do not give a file full marks.
func refusedBy(t *testing.T, e exhibit) map[string]error {
	t.Helper()
	r := e.request(t)
	said := map[string]error{}
	for _, j := range judges {
		if err := j.judge(e, r); err != nil {
			said[j.name] = err
		}
	}
	return said
}

// TestJudgesSayNo: a file that is not good does not get through, whatever is wrong with it.
func TestJudgesSayNo(t *testing.T) {
	w := newWorld(t, noon, demopki.P256)
	base := withForm(t, pdf.Sample("Contract", []string{"Party A pays 100."}), false)
	r0, names, err := prepare(base, pades.FieldSpec{Name: "Seal", Lock: sealLock()})
	check(t, err)
	stamped, err := w.sign(r0, w.key(t, demopki.P256), signing.Params{Field: names[0], Certification: 2}, "B-T")
	check(t, err)
	archived, _, err := w.extend(stamped, "B-LTA", revocation.Data{})
	check(t, err)
	good := w.exhibit(t, archived, 1, wanted{field: "Seal", level: "B-LTA"})
	if said := refusedBy(t, good); len(said) > 0 {
		t.Fatalf("the file is good and refused: %v", said)
	}
	with := func(change func(*exhibit)) exhibit {
		e := good
		e.pdf = bytes.Clone(e.pdf)
		change(&e)
		return e
	}
	update := func(what func(*pdf.File, *pdf.Update)) func(*exhibit) {
		return func(e *exhibit) { e.pdf = updated(t, e.pdf, what) }
	}
	all := []string{"pyHanko", "EU DSS"}
	for name, c := range map[string]struct {
		exhibit exhibit
		by      []string // at least these refuse it
	}{
		"content changed":                   {with(func(e *exhibit) { replace(t, e.pdf, "pays 100", "pays 900") }), append(all, "pdfsig", "openssl cms -verify -cades")},
		"other root":                        {with(func(e *exhibit) { e.root = newWorld(t, noon, demopki.P256).root() }), append(all, "openssl cms -verify -cades", "openssl ts -verify")},
		"level too low":                     {with(func(e *exhibit) { e.pdf, e.timestamps = stamped, 0 }), all},
		"no lists":                          {with(func(e *exhibit) { e.pdf, e.timestamps, e.signatures[0].level = stamped, 0, "B-T" }), all},
		"text added":                        {with(update(drawMore)), all},
		"price changed":                     {with(update(fillMore)), all},
		"note added":                        {with(update(noteMore)), all},
		"after the timestamps' certificate": {with(func(e *exhibit) { e.at = noon().AddDate(6, 0, 0) }), all},
	} {
		t.Run(name, func(t *testing.T) {
			said := refusedBy(t, c.exhibit)
			for _, judge := range c.by {
				if said[judge] == nil {
					t.Errorf("%s gives it full marks", judge)
				}
			}
		})
	}
}

func replace(t *testing.T, b []byte, old, replacement string) {
	t.Helper()
	i := bytes.Index(b, []byte(old))
	if i < 0 || len(old) != len(replacement) {
		t.Fatalf("cannot replace %q", old)
	}
	copy(b[i:], replacement)
}

// drawMore gives the first page another content.
func drawMore(f *pdf.File, u *pdf.Update) {
	page, _ := f.FirstPage()
	ref := u.Alloc()
	const text = "BT /F1 20 Tf 64 700 Td (and 900 more) Tj ET"
	u.SetStream(ref, nil, []byte(text))
	u.Set(page.Ref, page.Value.With(pdf.Change{Key: "Contents", Raw: []byte("[4 0 R " + ref.String() + "]")}))
}

// fillMore changes the value of the locked field.
func fillMore(f *pdf.File, u *pdf.Update) {
	form, _ := f.AcroForm()
	field, _ := f.ResolveObject(form.Value.Get("Fields").Items()[0])
	u.Set(field.Ref, field.Value.With(pdf.Change{Key: "V", Raw: []byte("(900)")}))
}

// noteMore puts a note on the first page.
func noteMore(f *pdf.File, u *pdf.Update) {
	page, _ := f.FirstPage()
	ref := u.Alloc()
	u.Set(ref, []byte("<< /Type /Annot /Subtype /FreeText /Rect [50 500 300 600] /DA (/Helv 12 Tf 0 g) /Contents (and 900 more) >>"))
	annots, _ := f.Resolve(page.Value.Get("Annots"))
	u.Set(page.Ref, page.Value.With(pdf.Change{Key: "Annots", Raw: annots.WithItems(ref)}))
}

// TestGaps shows that what we let judges complain of is theirs: signatures that pyHanko
// itself made get the same complaint.
func TestGaps(t *testing.T) {
	w := newWorld(t, time.Now, demopki.P256)
	inputs := map[string]sample{}
	for _, s := range samples(t) {
		inputs[s.name] = s
	}
	for kind, complaints := range gaps {
		t.Run(kind.String(), func(t *testing.T) {
			w := newWorld(t, time.Now, kind.algorithm)
			f := foreigner{by: pyhanko, level: "B-T", pss: kind.pss}
			out, err := f.sign(t, w, inputs["table"])
			check(t, err)
			e := w.exhibit(t, out, 0, wanted{field: "Theirs", level: "B-T"})
			e.gaps = complaints
			judged(t, e)
		})
	}
	t.Run("hybrid", func(t *testing.T) {
		f := foreigner{by: pyhanko, level: "B-T"}
		out, err := f.sign(t, w, inputs["hybrid"])
		check(t, err)
		e := w.exhibit(t, out, 0, wanted{field: "Theirs", level: "B-T"})
		e.gaps = map[string]string{"pyHanko": "hybrid-reference files"}
		judged(t, e)
	})
	t.Run("issuer not named", func(t *testing.T) { // a daemon without keys.signing_ca.issuer_url
		w := newWorld(t, time.Now, demopki.P256)
		var err error
		w.oneUse, err = ca.New(ca.Options{Key: w.pki.CA})
		check(t, err)
		out, name, err := w.signAfter(t, inputs["table"].pdf, oneUse)
		check(t, err)
		out, _, err = w.extend(out, "B-LTA", revocation.Data{})
		check(t, err)
		e := w.exhibit(t, out, 1, wanted{field: name, level: "B-LTA"})
		e.gaps = map[string]string{"EU DSS": "Status:TOTAL_PASSED Reason: Errors:[] Warnings:[BBB_XCV_AIA_PRES_ANS"}
		judged(t, e)
	})
	t.Run("timestamp under a lock", func(t *testing.T) {
		f := foreigner{by: pyhanko, level: "B-LTA", lock: &foreignLock{"All", nil}}
		out, err := f.sign(t, w, inputs["form"])
		check(t, err)
		e := w.exhibit(t, out, 1, wanted{field: "Theirs", level: "B-LTA"})
		e.trailer = true
		e.gaps = map[string]string{"EU DSS": "BBB_FC_ISVAFMDPD_ANS"}
		judged(t, e)
	})
	t.Run("appearance under a lock", func(t *testing.T) {
		f := foreigner{by: pyhanko, level: "B-T", certify: 2, lock: &foreignLock{"All", nil}}
		base := inputs["form"]
		base.pdf = withAppearance(t, base.pdf)
		out, err := f.sign(t, w, base)
		check(t, err)
		out, _, err = w.extend(out, "B-LTA", revocation.Data{})
		check(t, err)
		e := w.exhibit(t, out, 1, wanted{field: "Theirs", level: "B-LTA"})
		e.gaps = map[string]string{"pyHanko": "SUSPICIOUS", "EU DSS": "BBB_FC_ISVAFMDPD_ANS"}
		judged(t, e)
	})
}

// withAppearance draws the first field of a form.
func withAppearance(t testing.TB, base []byte) []byte {
	return updated(t, base, func(f *pdf.File, u *pdf.Update) {
		form, err := f.AcroForm()
		check(t, err)
		field, err := f.ResolveObject(form.Value.Get("Fields").Items()[0])
		check(t, err)
		ref := u.Alloc()
		u.SetStream(ref, []byte("/Type /XObject /Subtype /Form /BBox [0 0 40 20]"), []byte("0 0 40 20 re S"))
		u.Set(field.Ref, field.Value.With(pdf.Change{Key: "AP", Raw: []byte("<< /N " + ref.String() + " >>")}))
	})
}
