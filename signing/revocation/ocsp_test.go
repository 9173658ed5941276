package revocation

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

func isOlder(err error) bool {
	var older *OlderError
	return errors.As(err, &older)
}

func TestOCSPRules(t *testing.T) {
	ca := newHolder(t, "CA", nil, nil)
	leaf := newHolder(t, "leaf", ca, nil)
	usage := func(change func(*x509.Certificate)) *holder {
		return newHolder(t, "responder", ca, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			if change != nil {
				change(c)
			}
		})
	}
	responder := usage(nil)
	noCheck := usage(func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: oidNoCheck, Value: []byte{5, 0}}}
	})
	after := leaf.cert.NotAfter.Add(day)
	good := response{cert: leaf, issuer: ca, this: now, next: now.Add(day)}
	with := func(change func(*response)) response {
		r := good
		change(&r)
		return r
	}
	use := Use{Cert: leaf.cert, Issuer: ca.cert, At: now, Now: now.Add(time.Minute)}
	used := func(change func(*Use)) Use {
		u := use
		change(&u)
		return u
	}
	nonce := func(b ...byte) []pkix.Extension {
		return []pkix.Extension{{Id: oidNonce, Value: append([]byte{4, byte(len(b))}, b...)}}
	}
	for _, c := range []struct {
		name string
		r    response
		u    Use
		want error // nil: accepted; errOlder: an OlderError
	}{
		{"by the issuer", good, use, nil},
		{"SHA-1 names", with(func(r *response) { r.hash = crypto.SHA1 }), use, nil},
		{"SHA-384 names", with(func(r *response) { r.hash = crypto.SHA384 }), use, nil},
		{"responder named by key", with(func(r *response) { r.byKey = true }), use, nil},
		{"by a delegate", with(func(r *response) { r.signer = responder }), use, nil},
		{"by a delegate named by key", with(func(r *response) { r.signer, r.byKey = responder, true }), use, nil},
		{"by a delegate without checks", with(func(r *response) { r.signer = noCheck }), use, nil},
		{"by the certificate itself", with(func(r *response) { r.signer = leaf }), use, ErrInvalid},
		{"by any purpose", with(func(r *response) {
			r.signer = usage(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} })
		}), use, ErrInvalid},
		{"by a key for encryption", with(func(r *response) {
			r.signer = usage(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })
		}), use, ErrInvalid},
		{"by a delegate with an unknown critical extension", with(func(r *response) {
			r.signer = usage(func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 999, 1}, Critical: true, Value: []byte{5, 0}}}
			})
		}), use, ErrInvalid},
		{"by a delegate of later", with(func(r *response) {
			r.signer = usage(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) })
		}), use, ErrInvalid},
		{"by a namesake of the CA", with(func(r *response) { r.signer = newHolder(t, "CA", nil, nil) }), use, ErrInvalid},
		{"about another number", with(func(r *response) { r.cert = responder }), use, ErrScope},
		{"about another CA", with(func(r *response) { r.issuer, r.signer = newHolder(t, "CA", nil, nil), ca }), use, ErrScope},
		{"two answers", with(func(r *response) { r.twice = true }), use, ErrInvalid},
		{"status unknown", with(func(r *response) { r.status = 2 }), use, ErrUnknown},
		{"another type", with(func(r *response) { r.kind = asn1.ObjectIdentifier{2, 999, 3} }), use, ErrInvalid},
		{"critical extension", with(func(r *response) {
			r.extra = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 999, 1}, Critical: true}}
		}), use, ErrInvalid},
		{"extension that is not critical", with(func(r *response) {
			r.extra = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 999, 1}}}
		}), use, nil},
		{"critical extension of the answer", with(func(r *response) {
			r.single = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 999, 1}, Critical: true}}
		}), use, ErrInvalid},
		{"an extension twice", with(func(r *response) { r.extra = append(nonce(1), nonce(1)...) }), use, ErrInvalid},
		{"our nonce", with(func(r *response) { r.extra = nonce(1, 2) }), used(func(u *Use) { u.Nonce = []byte{1, 2} }), nil},
		{"no nonce", good, used(func(u *Use) { u.Nonce = []byte{1, 2} }), nil},
		{"another nonce", with(func(r *response) { r.extra = nonce(1, 3) }), used(func(u *Use) { u.Nonce = []byte{1, 2} }), ErrInvalid},

		{"a second before the use", with(func(r *response) { r.this = now.Add(-time.Second) }), use, errOlder},
		{"a second before the use, of a CA", with(func(r *response) { r.this = now.Add(-time.Second) }), used(func(u *Use) { u.Lax = true }), nil},
		{"ran out before the use, of a CA", with(func(r *response) { r.this, r.next = now.Add(-day), now.Add(-time.Second) }), used(func(u *Use) { u.Lax, u.Stored = true, true }), errOlder},
		{"before the use and without end, of a CA", with(func(r *response) { r.this, r.next = now.Add(-time.Second), time.Time{} }), used(func(u *Use) { u.Lax = true }), errOlder},
		{"without nextUpdate", with(func(r *response) { r.next = time.Time{} }), use, nil},
		{"ran out", good, used(func(u *Use) { u.Now = now.Add(2 * day) }), ErrStale},
		{"ran out since it was stored", good, used(func(u *Use) { u.Now, u.Stored = now.Add(2*day), true }), nil},
		{"from the future", with(func(r *response) { r.this = now.Add(time.Hour) }), use, ErrStale},
		{"a little ahead", with(func(r *response) { r.this = now.Add(Tolerance) }), use, nil},
		{"produced in the future", with(func(r *response) { r.produced = now.Add(time.Hour) }), use, ErrStale},
		{"produced before it was known", with(func(r *response) { r.produced = now.Add(-time.Hour) }), use, ErrInvalid},
		{"ends before it begins", with(func(r *response) { r.next = now.Add(-time.Minute) }), use, ErrInvalid},
		{"after the end of the certificate", with(func(r *response) { r.this, r.next = after, after.Add(day) }), used(func(u *Use) { u.Now = after }), ErrEnded},
		{"after the end, with an archive", with(func(r *response) {
			r.this, r.next = after, after.Add(day)
			r.single = []pkix.Extension{{Id: oidCutoff, Value: generalized(t, leaf.cert.NotAfter)}}
		}), used(func(u *Use) { u.Now = after }), nil},
		{"after the end, with an archive that is too short", with(func(r *response) {
			r.this, r.next = after, after.Add(day)
			r.single = []pkix.Extension{{Id: oidCutoff, Value: generalized(t, leaf.cert.NotAfter.Add(time.Second))}}
		}), used(func(u *Use) { u.Now = after }), ErrEnded},
	} {
		a, err := CheckOCSP(c.r.der(t), c.u)
		switch {
		case c.want == nil && err != nil, c.want == errOlder && !isOlder(err), c.want != nil && c.want != errOlder && !errors.Is(err, c.want):
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		case err == nil && (!a.ThisUpdate.Equal(c.r.this) || !a.NextUpdate.Equal(c.r.next)):
			t.Errorf("%s: %+v", c.name, a)
		case err == nil && c.r.signer != nil && (a.Responder == nil || !a.Responder.Equal(c.r.signer.cert) || a.NoCheck != (c.r.signer == noCheck)):
			t.Errorf("%s: %+v", c.name, a)
		}
	}
}

var errOlder = errors.New("an OlderError")

func TestOCSPForm(t *testing.T) {
	ca := newHolder(t, "CA", nil, nil)
	leaf := newHolder(t, "leaf", ca, nil)
	use := Use{Cert: leaf.cert, Issuer: ca.cert, At: now, Now: now}
	good := response{cert: leaf, issuer: ca, this: now, next: now.Add(day)}.der(t)
	for name, der := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)-1], "more": append(bytes.Clone(good), 0), "large": make([]byte, MaxOCSP+1),
		"granted without bytes": {0x30, 3, 10, 1, 0}, "nested": bytes.Repeat([]byte{0x30, 0x80}, 30000),
	} {
		if _, err := CheckOCSP(der, use); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for code, name := range map[byte]string{1: "malformedRequest", 3: "tryLater", 6: "unauthorized"} {
		if _, err := CheckOCSP([]byte{0x30, 3, 10, 1, code}, use); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), name) {
			t.Errorf("status %d: %v", code, err)
		}
	}
	if _, err := CheckOCSP(good, Use{Cert: leaf.cert, Issuer: leaf.cert, At: now, Now: now}); err == nil {
		t.Error("an issuer of another name was taken")
	}
	if _, err := CheckOCSP(good, Use{}); err == nil {
		t.Error("a use of nothing was proven")
	}
}

// Another reader understands our requests.
func TestRequestOCSP(t *testing.T) {
	ca := newHolder(t, "CA", nil, nil)
	leaf := newHolder(t, "leaf", ca, nil)
	want, err := ocsp.CreateRequest(leaf.cert, ca.cert, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := RequestOCSP(leaf.cert, ca.cert, nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, %v; x/crypto makes %x", got, err, want)
	}
	if with, err := RequestOCSP(leaf.cert, ca.cert, []byte("0123456789abcdef")); err != nil || !bytes.Contains(with, []byte("0123456789abcdef")) {
		t.Errorf("%x, %v", with, err)
	} else if _, err := ocsp.ParseRequest(with); err != nil {
		t.Error(err)
	}
}

// Nobody accepts what was not signed: whatever is accepted has the signed bytes of a seed.
func FuzzOCSP(f *testing.F) {
	ca := newHolder(f, "CA", nil, nil)
	leaf := newHolder(f, "leaf", ca, nil)
	responder := newHolder(f, "responder", ca, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	})
	var seeds [][]byte
	for _, r := range []response{
		{cert: leaf, issuer: ca, this: now, next: now.Add(day)},
		{cert: leaf, issuer: ca, signer: responder, byKey: true, this: now, extra: []pkix.Extension{{Id: oidNonce, Value: []byte{4, 1, 1}}}},
		{cert: leaf, issuer: ca, this: now, single: []pkix.Extension{{Id: oidCutoff, Value: generalized(f, now)}}},
	} {
		der := r.der(f)
		f.Add(der)
		read, err := readOCSP(der)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, read.tbs)
	}
	use := Use{Cert: leaf.cert, Issuer: ca.cert, At: now, Now: now}
	f.Fuzz(func(t *testing.T, der []byte) {
		if _, err := CheckOCSP(der, use); err != nil {
			return
		}
		r, err := readOCSP(der)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range seeds {
			if bytes.Equal(s, r.tbs) {
				return
			}
		}
		t.Error("accepted what nobody signed")
	})
}
