package evidence

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"countersign/signing/demopki"
	"countersign/signing/revocation"
)

// A house is a demo PKI with its servers, under a clock that can be set.
type house struct {
	pki    *demopki.PKI
	server *demopki.Server
	time   atomic.Pointer[time.Time]
}

func (h *house) now() time.Time { return *h.time.Load() }

func (h *house) set(at time.Time) { h.time.Store(&at) }

func newHouse(t *testing.T, o demopki.Options) *house {
	t.Helper()
	h := &house{}
	h.set(now)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.server.ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	o.Now, o.Organisation, o.URL = now, "Example", front.URL
	var err error
	if h.pki, err = demopki.Make(o); err != nil {
		t.Fatal(err)
	}
	h.server = h.pki.Server(h.now)
	return h
}

func (h *house) fetcher(t *testing.T, change func(*FetcherOptions)) *Fetcher {
	t.Helper()
	o := FetcherOptions{Roots: h.pki.Root.Chain(), Allow: []string{"127.0.0.1"}, Now: h.now, Timeout: 5 * time.Second}
	if change != nil {
		change(&o)
	}
	f, err := NewFetcher(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// signer issues a signer's certificate under the signing CA.
func (h *house) signer(t *testing.T) *x509.Certificate {
	t.Helper()
	id, err := h.pki.NewSigner("Ann", demopki.P256, now, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return id.Chain()[0]
}

func subject(at time.Time, certs ...*x509.Certificate) []revocation.Subject {
	return []revocation.Subject{{What: "the signature", Certs: certs, At: at}}
}

// From the signer's certificate alone: issuers by AIA, an OCSP answer for each
// certificate but the root's.
func TestGatherFromTheCertificateAlone(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	leaf := h.signer(t)
	data, err := h.fetcher(t, nil).Gather(t.Context(), subject(now, leaf), revocation.Data{})
	if err != nil {
		t.Fatal(err)
	}
	// Signer, CA, root, and the two responders.
	if len(data.Certs) != 5 || len(data.OCSPs) != 2 || len(data.CRLs) != 0 {
		t.Errorf("%d certificates, %d OCSP responses, %d lists", len(data.Certs), len(data.OCSPs), len(data.CRLs))
	}
	if h.server.Served(demopki.CRL) != 0 {
		t.Error("lists were fetched although OCSP was good")
	}
	// What is known is used, and nobody asked again.
	before := h.server.Served(demopki.OCSP)
	h.server.SetMode(demopki.OCSP, demopki.Down)
	h.server.SetMode(demopki.Issuer, demopki.Down)
	again, err := h.fetcher(t, nil).Gather(t.Context(), subject(now, leaf), data)
	if err != nil || len(again.OCSPs) != 2 || h.server.Served(demopki.OCSP) != before {
		t.Errorf("with all known: %v, %d responses, asked %d times", err, len(again.OCSPs), h.server.Served(demopki.OCSP)-before)
	}
}

func TestListsWhenTheResponderIsDown(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	h.server.SetMode(demopki.OCSP, demopki.Down)
	data, err := h.fetcher(t, nil).Gather(t.Context(), subject(now, h.signer(t)), revocation.Data{})
	if err != nil {
		t.Fatal(err)
	}
	if len(data.Certs) != 3 || len(data.OCSPs) != 0 || len(data.CRLs) != 2 {
		t.Errorf("%d certificates, %d OCSP responses, %d lists", len(data.Certs), len(data.OCSPs), len(data.CRLs))
	}
}

// Each way in which the servers fail or lie is refused, and the error says why.
func TestEveryLieAboutRevocationIsRefused(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	leaf := h.signer(t)
	forOCSP := map[demopki.Mode]string{
		demopki.Down: "503", demopki.Garbage: "not a sound answer", demopki.Huge: "more than 65536 bytes", demopki.Slow: "no answer within",
		demopki.Stale: "ran out", demopki.Future: "check both clocks", demopki.Unknown: "status unknown", demopki.TryLater: "tryLater",
		demopki.WrongSerial: "not about serial", demopki.WrongIssuer: "not about serial", demopki.NotAResponder: "not OCSPSigning",
		demopki.ForeignResponder: "was not issued by", demopki.ExpiredResponder: "holds from", demopki.Namesake: "not a sound answer",
		demopki.CriticalExt: "critical extension", demopki.BadSignature: "signature",
		demopki.RedirectFile: "from http to file", demopki.RedirectLoopback: "not a public address",
		demopki.RedirectPrivate: "not a public address", demopki.RedirectLoop: "redirects",
	}
	forCRL := map[demopki.Mode]string{
		demopki.Down: "503", demopki.Garbage: "malformed", demopki.Huge: "more than 1048576 bytes", demopki.Slow: "no answer within",
		demopki.Stale: "ran out", demopki.Future: "check both clocks", demopki.WrongIssuer: "it is not of", demopki.Namesake: "another key",
		demopki.CriticalExt: "critical extension", demopki.BadSignature: "signature", demopki.Delta: "delta", demopki.Indirect: "indirect",
		demopki.OtherScope: "attribute certificates", demopki.OtherPoint: "another distribution point",
		demopki.RedirectFile: "from http to file", demopki.RedirectLoopback: "not a public address",
		demopki.RedirectPrivate: "not a public address", demopki.RedirectLoop: "redirects",
	}
	for service, modes := range map[string]map[demopki.Mode]string{demopki.OCSP: forOCSP, demopki.CRL: forCRL} {
		h.server.SetMode(demopki.OCSP, demopki.Down)
		h.server.SetMode(demopki.CRL, demopki.Down)
		for mode, want := range modes {
			h.server.SetMode(service, mode)
			f := h.fetcher(t, func(o *FetcherOptions) {
				o.MaxCRL = 1 << 20
				if mode == demopki.Slow {
					o.Timeout = 30 * time.Millisecond
				}
			})
			_, err := f.Gather(t.Context(), subject(now, leaf), revocation.Data{})
			if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrRevoked) {
				t.Errorf("%s %s: %v, want %q", service, mode, err, want)
			}
		}
	}
}

func TestRevokedIsToldAtOnce(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	leaf := h.signer(t)
	for name, c := range map[string]struct {
		at     time.Time
		reason int
		good   bool
	}{
		"before the use":                   {now.Add(-time.Second), 4, false},
		"at the time of the use":           {now, 0, false},
		"after the use":                    {now.Add(time.Second), 4, true},
		"after the use, key compromise":    {now.Add(time.Second), 1, false},
		"put on hold before the use":       {now.Add(-time.Minute), 6, false},
		"never issued (RFC 6960 4.4.8)":    {time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), 6, false},
		"cessation, a while after the use": {now.Add(time.Minute), 5, true},
	} {
		h.server.Revoke(leaf, c.at, c.reason)
		for _, service := range []string{demopki.OCSP, demopki.CRL} {
			h.server.SetMode(demopki.OCSP, demopki.Down)
			h.server.SetMode(demopki.CRL, demopki.Down)
			h.server.SetMode(service, demopki.Honest)
			_, err := h.fetcher(t, nil).Gather(t.Context(), subject(now, leaf), revocation.Data{})
			if c.good && err != nil || !c.good && !errors.Is(err, ErrRevoked) {
				t.Errorf("%s, by %s: %v", name, service, err)
			}
			told, ok := errors.AsType[*revocation.RevokedError](err)
			if !c.good && (!ok || !told.At.Equal(c.at) || told.Reason != c.reason || !strings.Contains(told.Name, "Ann")) {
				t.Errorf("%s, by %s: %+v", name, service, told)
			}
		}
	}
}

func TestRevokedSeal(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	for _, service := range []string{demopki.OCSP, demopki.CRL} {
		h.server.SetMode(demopki.OCSP, demopki.Down)
		h.server.SetMode(demopki.CRL, demopki.Down)
		h.server.SetMode(service, demopki.Revoked)
		if _, err := h.fetcher(t, nil).Gather(t.Context(), subject(now, h.pki.Seal.Chain()...), revocation.Data{}); !errors.Is(err, ErrRevoked) {
			t.Errorf("by %s: %v", service, err)
		}
	}
}

// An answer from before the use is not enough, and the error says when to come again.
func TestNotYet(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	leaf := h.signer(t)
	for _, service := range []string{demopki.OCSP, demopki.CRL} {
		h.set(now)
		h.server.SetMode(demopki.OCSP, demopki.Down)
		h.server.SetMode(demopki.CRL, demopki.Down)
		h.server.SetMode(service, demopki.Old)
		f := h.fetcher(t, nil)
		_, err := f.Gather(t.Context(), subject(now, leaf), revocation.Data{})
		wait, ok := errors.AsType[*NotYetError](err)
		if !ok || wait.RetryAt.Before(now.Add(refetch)) || wait.RetryAt.After(now.Add(retryLater)) {
			t.Errorf("%s: %v", service, err)
			continue
		}
		// Asked again at once, it does not bother the server.
		served := h.server.Served(service)
		if _, err := f.Gather(t.Context(), subject(now, leaf), revocation.Data{}); !errors.As(err, &wait) || h.server.Served(service) != served {
			t.Errorf("%s: asked %d times more, %v", service, h.server.Served(service)-served, err)
		}
		h.set(wait.RetryAt)
		h.server.SetMode(service, demopki.Honest)
		if _, err := f.Gather(t.Context(), subject(now, leaf), revocation.Data{}); err != nil {
			t.Errorf("%s, when it was time: %v", service, err)
		}
	}
}

// The answer of the same second as the use is older than it if the use has a fraction.
func TestNotYetWithinASecond(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	f, leaf, at := h.fetcher(t, nil), h.signer(t), now.Add(500*time.Millisecond)
	h.set(at)
	_, err := f.Gather(t.Context(), subject(at, leaf), revocation.Data{})
	wait, ok := errors.AsType[*NotYetError](err)
	if !ok || wait.RetryAt.After(at.Add(3*time.Second)) {
		t.Fatalf("%v", err)
	}
	h.set(wait.RetryAt)
	if _, err := f.Gather(t.Context(), subject(at, leaf), revocation.Data{}); err != nil {
		t.Error(err)
	}
}

// A CA's answer from before the use is taken if there is no newer one, as offline roots
// publish lists twice a year.
func TestALaxRootListWillDo(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	leaf, err := h.pki.NewSigner("Ann", demopki.P256, now, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := h.pki.CRLs(now.Add(-24 * time.Hour)) // valid for a week
	if err != nil {
		t.Fatal(err)
	}
	h.server.SetMode(demopki.OCSP, demopki.Down)
	h.server.SetMode(demopki.CRL, demopki.Down)
	f := h.fetcher(t, func(o *FetcherOptions) {
		o.Sources = []Source{func(_ context.Context, c, _ *x509.Certificate, at time.Time) (revocation.Data, error) {
			if !c.IsCA {
				fresh, err := h.pki.CRLs(at)
				return revocation.Data{CRLs: fresh[1:]}, err
			}
			return revocation.Data{CRLs: lists[:1]}, nil
		}}
	})
	data, err := f.Gather(t.Context(), subject(now, leaf.Chain()...), revocation.Data{})
	if err != nil || len(data.CRLs) != 2 {
		t.Errorf("%d lists, %v", len(data.CRLs), err)
	}
}

func TestAddressesThatMayNotBeAsked(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	f := h.fetcher(t, func(o *FetcherOptions) { o.Allow = nil })
	_, err := f.Gather(t.Context(), subject(now, h.signer(t)), revocation.Data{})
	if !errors.Is(err, ErrForbidden) || h.server.Served(demopki.Issuer) != 0 {
		t.Errorf("%v; the server was asked %d times", err, h.server.Served(demopki.Issuer))
	}
}
