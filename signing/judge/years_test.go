//go:build judge

package judge

import (
	"context"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

const day = 24 * time.Hour

// A contractCase is a way to sign over years.
type contractCase struct {
	archive bool // a document timestamp after each signature, not only at the end
	later   map[string]string
}

// TestYears: a contract is sealed and signed on one day and by the second signer 40 days
// later, each with a one-use key whose certificate lasts a day. It is at full marks
// when it completes, and after each of two renewals, when every certificate in it but those of
// the authorities has ended, and twelve years later.
//
// Where only the end is archived, pyHanko no longer accepts the first signer once the
// certificate of the first time-stamping authority has ended: it then proves a signature
// by document timestamps alone, and the first of those is younger than the signer's
// certificate. EU DSS goes by the signature timestamp, which the document timestamps prove.
func TestYears(t *testing.T) {
	t.Run("archived at the end", func(t *testing.T) {
		years(t, contractCase{later: map[string]string{"pyHanko": "OUT_OF_BOUNDS_NO_POE"}})
	})
	t.Run("archived at each step", func(t *testing.T) { years(t, contractCase{archive: true}) })
}

func years(t *testing.T, c contractCase) {
	start := time.Date(2014, 1, 15, 9, 0, 0, 0, time.UTC)
	now := start
	w := newWorld(t, func() time.Time { return now }, demopki.P256)
	base := withForm(t, pdf.Sample("Contract", []string{"Party A and Party B agree."}), false)
	cur, names, err := prepare(base, pades.FieldSpec{Name: "Seal", Lock: sealLock()},
		pades.FieldSpec{Name: "Signature1"}, pades.FieldSpec{Name: "Signature2"})
	check(t, err)
	steps := []struct {
		after  time.Duration
		key    func() signing.Key
		params signing.Params
	}{
		{0, func() signing.Key { return w.pki.Seal }, signing.Params{Field: names[0], Certification: 2}},
		{time.Hour, func() signing.Key { return w.issue(t, "Ann Archer") }, signing.Params{
			Field: names[1], Lock: &pdf.Lock{Action: pdf.LockInclude, Fields: names[1:2]},
		}},
		{40 * day, func() signing.Key { return w.issue(t, "Bob Baker") }, signing.Params{
			Field: names[2], Lock: &pdf.Lock{Action: pdf.LockAll},
		}},
	}
	var stored revocation.Data // the evidence of each step, gathered while its certificate holds
	var want []wanted
	timestamps := 0
	for _, s := range steps {
		now = start.Add(s.after)
		var subjects []revocation.Subject
		cur, subjects, err = w.signFor(cur, s.key(), s.params, "B-T")
		check(t, err)
		data, err := w.fetcher.Gather(context.Background(), subjects, revocation.Data{})
		check(t, err)
		stored.Add(data)
		if c.archive || s.params.Field == names[len(names)-1] {
			var added int
			cur, added, err = w.extend(cur, "B-LTA", stored)
			check(t, err)
			timestamps += added
		}
		want = append(want, wanted{field: s.params.Field, level: "B-LTA"})
	}
	judged(t, w.exhibit(t, cur, timestamps, want...))
	for i, at := range []time.Duration{4 * 365 * day, 8 * 365 * day} {
		now = start.Add(at)
		var added int
		cur, added, err = w.extend(cur, "B-LTA", revocation.Data{})
		check(t, err)
		timestamps += added
		e := w.exhibit(t, cur, timestamps, want...)
		if e.aged = i > 0; e.aged {
			e.gaps = c.later
		}
		judged(t, e)
	}
	// Nothing in the file tells of the certificates in force, that of the last time-stamping
	// authority and of the signing CA, since the last timestamp; a validator asks their
	// responder.
	now = start.AddDate(12, 0, 0)
	e := w.exhibit(t, cur, timestamps, want...)
	last, _ := w.client.Authority()
	last.At = now
	inForce := []revocation.Subject{last, {What: "a signer of the day", Certs: w.issue(t, "Cara Cook").Chain(), At: now}}
	today, err := w.fetcher.Gather(context.Background(), inForce, revocation.Data{})
	check(t, err)
	e.ocsps = today.OCSPs
	e.aged, e.gaps = true, c.later
	judged(t, e)
}
