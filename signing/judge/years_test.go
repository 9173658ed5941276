//go:build judge

package judge

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/keys/ca"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

const day = 24 * time.Hour

// TestYears: a contract is sealed and signed on one day and by the second signer 40 days
// later, each with a one-use key whose certificate lasts a day. It is at full marks
// when it completes, and twelve years later, when every certificate in it but the
// authorities' has ended and the archive timestamp was renewed twice.
func TestYears(t *testing.T) {
	for name, short := range map[string]bool{"certificates with a responder": false, "short-term certificates": true} {
		t.Run(name, func(t *testing.T) { years(t, short) })
	}
}

func years(t *testing.T, short bool) {
	start := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	now := start
	w := newWorld(t, func() time.Time { return now }, demopki.P256)
	base := withForm(t, pdf.Sample("Contract", []string{"Party A and Party B agree."}), false)
	cur, names, err := prepare(base, pades.FieldSpec{Name: "Seal", Lock: sealLock()},
		pades.FieldSpec{Name: "Signature1"}, pades.FieldSpec{Name: "Signature2"})
	check(t, err)
	issue := w.signers(t, short)
	steps := []struct {
		after  time.Duration
		key    func() signing.Key
		params signing.Params
	}{
		{0, func() signing.Key { return w.pki.Seal }, signing.Params{Field: names[0], Certification: 2}},
		{time.Hour, func() signing.Key { return issue(t, "Ann Archer") }, signing.Params{
			Field: names[1], Lock: &pdf.Lock{Action: pdf.LockInclude, Fields: names[1:2]},
		}},
		{40 * day, func() signing.Key { return issue(t, "Bob Baker") }, signing.Params{
			Field: names[2], Lock: &pdf.Lock{Action: pdf.LockAll},
		}},
	}
	var stored revocation.Data // the evidence of each step, gathered while its certificate holds
	var want []wanted
	for _, s := range steps {
		now = start.Add(s.after)
		var subjects []revocation.Subject
		cur, subjects, err = w.signFor(cur, s.key(), s.params, "B-T")
		check(t, err)
		data, err := w.fetcher.Gather(context.Background(), subjects, revocation.Data{})
		check(t, err)
		stored.Add(data)
		want = append(want, wanted{field: s.params.Field, level: "B-LTA"})
	}
	cur, timestamps, err := w.extend(cur, "B-LTA", stored)
	check(t, err)
	judged(t, w.exhibit(t, cur, timestamps, want...))
	for _, at := range []time.Duration{4 * 365 * day, 8 * 365 * day} {
		now = start.Add(at)
		var added int
		cur, added, err = w.extend(cur, "B-LTA", revocation.Data{})
		check(t, err)
		timestamps += added
		judged(t, w.exhibit(t, cur, timestamps, want...))
	}
	now = start.AddDate(12, 0, 0)
	judged(t, w.exhibit(t, cur, timestamps, want...))
}

// signers is the organisation's signing CA. Without URLs in its certificates it says that
// they are too short-lived to be revoked (ETSI EN 319 412-1, clause 5.2.2; RFC 9608);
// its own list is then the source of evidence, as in the daemon.
func (w *world) signers(t *testing.T, short bool) func(t *testing.T, name string) signing.Key {
	t.Helper()
	o := ca.Options{Key: w.pki.CA}
	if !short {
		u := w.pki.URLsOf(w.pki.CA)
		o.CRLURLs, o.OCSPURLs, o.IssuerURLs = u.CRL, u.OCSP, u.Issuer
	}
	authority, err := ca.New(o)
	check(t, err)
	return func(t *testing.T, name string) signing.Key {
		t.Helper()
		key, err := authority.Issue(context.Background(), ca.Subject{Name: name, Address: "signer@example.org", RequestID: "r1"}, w.clock(), rand.Reader)
		check(t, err)
		return key
	}
}
