package revocation

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"
)

const pointURL = "http://ca.example/ca.crl"

func TestCRLRules(t *testing.T) {
	ca := newHolder(t, "CA", nil, nil)
	named := func(c *x509.Certificate) { c.CRLDistributionPoints = []string{pointURL} }
	leaf := newHolder(t, "leaf", ca, named)
	sub := newHolder(t, "Sub", ca, func(c *x509.Certificate) { named(c); c.IsCA = true })
	noSign := newHolder(t, "CA", nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign })
	after := leaf.cert.NotAfter.Add(day)
	extra := func(oid asn1.ObjectIdentifier, critical bool, value ...byte) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: oid, Critical: critical, Value: value})
		}
	}
	scope := func(parts ...byte) func(*x509.RevocationList) {
		return extra(oidScope, true, append([]byte{0x30, byte(len(parts))}, parts...)...)
	}
	point := func(url string) []byte {
		n := byte(len(url))
		return append([]byte{0xa0, n + 4, 0xa0, n + 2, 0x86, n}, url...)
	}
	entry := func(serial *big.Int, at time.Time, reason int, exts ...pkix.Extension) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: serial, RevocationTime: at, ReasonCode: reason, ExtraExtensions: exts})
		}
	}
	number := leaf.cert.SerialNumber
	invalid := func(at time.Time) pkix.Extension { return pkix.Extension{Id: oidInvalidity, Value: generalized(t, at)} }
	for _, c := range []struct {
		name   string
		issuer *holder
		cert   *holder
		at     time.Time // thisUpdate
		now    time.Time // zero: at
		change func(*x509.RevocationList)
		want   error
	}{
		{"empty", ca, leaf, now, time.Time{}, nil, nil},
		{"others revoked", ca, leaf, now, time.Time{}, entry(big.NewInt(7), now, 1), nil},
		{"a namesake's", noSign, leaf, now, time.Time{}, nil, ErrScope},
		{"another issuer's", newHolder(t, "Other", nil, nil), leaf, now, time.Time{}, nil, ErrScope},
		{"delta", ca, leaf, now, time.Time{}, extra(oidDelta, true, 2, 1, 1), ErrScope},
		{"indirect", ca, leaf, now, time.Time{}, scope(0x84, 1, 0xff), ErrScope},
		{"some reasons", ca, leaf, now, time.Time{}, scope(0x83, 2, 1, 0x40), ErrScope},
		{"attribute certificates", ca, leaf, now, time.Time{}, scope(0x85, 1, 0xff), ErrScope},
		{"users, about a user", ca, leaf, now, time.Time{}, scope(0x81, 1, 0xff), nil},
		{"users, about a CA", ca, sub, now, time.Time{}, scope(0x81, 1, 0xff), ErrScope},
		{"CAs, about a user", ca, leaf, now, time.Time{}, scope(0x82, 1, 0xff), ErrScope},
		{"CAs, about a CA", ca, sub, now, time.Time{}, scope(0x82, 1, 0xff), nil},
		{"our point", ca, leaf, now, time.Time{}, scope(point(pointURL)...), nil},
		{"another point", ca, leaf, now, time.Time{}, scope(point("http://ca.example/b.crl")...), ErrScope},
		{"a point by a relative name", ca, leaf, now, time.Time{}, scope(0xa0, 2, 0xa1, 0), ErrScope},
		{"a broken scope", ca, leaf, now, time.Time{}, scope(0x81, 1), ErrInvalid},
		{"unknown critical extension", ca, leaf, now, time.Time{}, extra(asn1.ObjectIdentifier{2, 999}, true, 5, 0), ErrInvalid},
		{"unknown extension", ca, leaf, now, time.Time{}, extra(asn1.ObjectIdentifier{2, 999}, false, 5, 0), nil},
		{"critical in another's entry", ca, leaf, now, time.Time{}, entry(big.NewInt(7), now, 0,
			pkix.Extension{Id: asn1.ObjectIdentifier{2, 999}, Critical: true, Value: []byte{5, 0}}), ErrInvalid},
		{"certificate issuer in another's entry", ca, leaf, now, time.Time{}, entry(big.NewInt(7), now, 0,
			pkix.Extension{Id: oidCertIssuer, Critical: true, Value: []byte{0x30, 0}}), ErrScope},

		{"revoked before", ca, leaf, now, time.Time{}, entry(number, now.Add(-time.Hour), 4), ErrRevoked},
		{"revoked at the time of the use", ca, leaf, now, time.Time{}, entry(number, now, 4), ErrRevoked},
		{"revoked after", ca, leaf, now, time.Time{}, entry(number, now.Add(time.Second), 4), nil},
		{"compromised after", ca, leaf, now, time.Time{}, entry(number, now.Add(time.Second), 1), ErrRevoked},
		{"compromised after, known to be sound before", ca, leaf, now, time.Time{}, entry(number, now.Add(time.Minute), 1, invalid(now.Add(time.Second))), nil},
		{"superseded after, invalid before", ca, leaf, now, time.Time{}, entry(number, now.Add(time.Minute), 4, invalid(now.Add(-time.Second))), ErrRevoked},
		{"revoked before, said to be invalid only after", ca, leaf, now, time.Time{}, entry(number, now.Add(-time.Minute), 1, invalid(now.Add(time.Second))), ErrRevoked},
		{"revoked, in a list that is too old", ca, leaf, now.Add(-day), now, entry(number, now.Add(-2*day), 4), ErrRevoked},

		{"older than the use", ca, leaf, now.Add(-time.Second), now, nil, errOlder},
		{"ran out", ca, leaf, now, now.Add(8 * day), nil, ErrStale},
		{"from the future", ca, leaf, now.Add(time.Hour), now, nil, ErrStale},
		{"after the end", ca, leaf, after, time.Time{}, nil, ErrEnded},
		{"after the end, keeping it", ca, leaf, after, time.Time{}, extra(oidExpiredOnIt, false, generalized(t, leaf.cert.NotAfter)...), nil},
		{"after the end, keeping younger ones", ca, leaf, after, time.Time{}, extra(oidExpiredOnIt, false, generalized(t, leaf.cert.NotAfter.Add(day))...), ErrEnded},
	} {
		if c.now.IsZero() {
			c.now = c.at
		}
		_, err := CheckCRL(crl(t, c.issuer, c.at, c.change), Use{Cert: c.cert.cert, Issuer: ca.cert, At: now, Now: c.now})
		if c.want == nil && err != nil || c.want == errOlder && !isOlder(err) || c.want != nil && c.want != errOlder && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestCRLForm(t *testing.T) {
	ca := newHolder(t, "CA", nil, nil)
	leaf := newHolder(t, "leaf", ca, nil)
	use := Use{Cert: leaf.cert, Issuer: ca.cert, At: now, Now: now}
	good := crl(t, ca, now, nil)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	for name, der := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)-1], "more": append(bytes.Clone(good), 0), "bad signature": flipped,
		"nested": bytes.Repeat([]byte{0x30, 0x80}, 4<<20), "a certificate": ca.cert.Raw,
	} {
		if _, err := CheckCRL(der, use); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mute := *ca.cert
	mute.KeyUsage = x509.KeyUsageCertSign
	if _, err := CheckCRL(good, Use{Cert: leaf.cert, Issuer: &mute, At: now, Now: now}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an issuer that may not sign lists: %v", err)
	}
}

// A list with many entries is read without memory for each.
func TestLongCRL(t *testing.T) {
	ca := newHolder(t, "CA", nil, nil)
	leaf := newHolder(t, "leaf", ca, nil)
	der := crl(t, ca, now, func(l *x509.RevocationList) {
		for i := range 30_000 {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: big.NewInt(int64(i) + 1<<40), RevocationTime: now.Add(-day), ReasonCode: i % 6})
		}
	})
	use := Use{Cert: leaf.cert, Issuer: ca.cert, At: now, Now: now}
	allocs := testing.AllocsPerRun(1, func() {
		if _, err := CheckCRL(der, use); err != nil {
			t.Error(err)
		}
	})
	if allocs > 1000 {
		t.Errorf("%.0f allocations for 30,000 entries", allocs)
	}
}

func TestExempt(t *testing.T) {
	ca := newHolder(t, "CA", nil, nil)
	mark := func(oid asn1.ObjectIdentifier, more func(*x509.Certificate)) *x509.Certificate {
		return newHolder(t, "leaf", ca, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: oid, Value: []byte{5, 0}}}
			if more != nil {
				more(c)
			}
		}).cert
	}
	for name, c := range map[string]struct {
		cert *x509.Certificate
		want bool
	}{
		"plain":              {newHolder(t, "leaf", ca, nil).cert, false},
		"noRevAvail":         {mark(oidNoRevAvail, nil), true},
		"short term":         {mark(oidShortTerm, nil), true},
		"a CA":               {mark(oidNoRevAvail, func(c *x509.Certificate) { c.IsCA = true }), false},
		"which names a list": {mark(oidNoRevAvail, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{pointURL} }), false},
		"names a responder":  {mark(oidShortTerm, func(c *x509.Certificate) { c.OCSPServer = []string{pointURL} }), false},
	} {
		if got := Exempt(c.cert); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Nobody accepts what was not signed.
func FuzzCRL(f *testing.F) {
	ca := newHolder(f, "CA", nil, nil)
	leaf := newHolder(f, "leaf", ca, nil)
	var seeds [][]byte
	for _, change := range []func(*x509.RevocationList){nil, func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(5), RevocationTime: now, ReasonCode: 4}}
		l.ExtraExtensions = []pkix.Extension{{Id: oidScope, Critical: true, Value: []byte{0x30, 3, 0x81, 1, 0xff}}}
	}} {
		der := crl(f, ca, now, change)
		f.Add(der)
		l, err := readList(der)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, l.tbs)
	}
	use := Use{Cert: leaf.cert, Issuer: ca.cert, At: now, Now: now}
	f.Fuzz(func(t *testing.T, der []byte) {
		if _, err := CheckCRL(der, use); err != nil {
			return
		}
		l, err := readList(der)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range seeds {
			if bytes.Equal(s, l.tbs) {
				return
			}
		}
		t.Error("accepted what nobody signed")
	})
}
