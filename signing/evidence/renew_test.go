package evidence

import (
	"crypto"
	"net/http/httptest"
	"testing"
	"time"

	"countersign/signing/demopki"
	"countersign/signing/revocation"
)

// TestStoredAndNewer: a stored answer that has run out is kept and a newer one joins it,
// as long as the certificate is in force and there is one; else the stored one must do.
func TestStoredAndNewer(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	id, err := h.pki.NewSigner("Ann", demopki.P256, now, 60*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, at time.Time, known revocation.Data, responses int) revocation.Data {
		t.Helper()
		h.set(at)
		data, err := h.fetcher(t, nil).Gather(t.Context(), subject(now, id.Chain()...), known)
		if err != nil || len(data.OCSPs) != responses {
			t.Errorf("%s: %d responses, want %d; %v", what, len(data.OCSPs), responses, err)
		}
		return data
	}
	stored := want("at once", now, revocation.Data{}, 2) // for signer and CA
	want("an hour later", now.Add(time.Hour), stored, 2)
	want("40 days later", now.Add(40*24*time.Hour), stored, 4)
	want("after its end", now.Add(70*24*time.Hour), stored, 3) // the CA's goes on
	h.server.SetMode(demopki.OCSP, demopki.Down)
	h.server.SetMode(demopki.CRL, demopki.Down)
	want("nobody answers", now.Add(40*24*time.Hour), stored, 2)
}

// TestAuthority: the authority that stamped last can be proven before it stamps again.
func TestAuthority(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	front := httptest.NewServer(h.pki.TSA(h.now))
	t.Cleanup(front.Close)
	c, err := New(Options{TSAs: []TSA{{URL: front.URL}}, Now: h.now})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Authority(); ok {
		t.Error("there is an authority before one was asked")
	}
	if err := c.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, ok := c.Authority()
	if !ok || !a.TimeStamping || !a.Certs[0].Equal(h.pki.Timestamps.Chain()[0]) || !a.At.Equal(now) {
		t.Fatalf("authority %+v, %v", a, ok)
	}
	data, err := h.fetcher(t, nil).Gather(t.Context(), []revocation.Subject{a}, revocation.Data{})
	if err != nil || len(data.OCSPs) != 1 {
		t.Errorf("%d responses, %v", len(data.OCSPs), err)
	}
}

// TestCurrentNoMore: about a timestamp whose certificate has ended nobody answers any more; what
// was stored in its time must do, and does not while somebody can be asked.
func TestCurrentNoMore(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	h.server.SetMode(demopki.CRL, demopki.Down)
	authority := subject(now, h.pki.Timestamps.Chain()...)
	authority[0].TimeStamping, authority[0].Current = true, true
	stored, err := h.fetcher(t, nil).Gather(t.Context(), authority, revocation.Data{})
	if err != nil {
		t.Fatal(err)
	}
	h.server.SetMode(demopki.OCSP, demopki.Down)
	end := h.pki.Timestamps.Chain()[0].NotAfter
	h.set(end.Add(-24 * time.Hour))
	if _, err := h.fetcher(t, nil).Gather(t.Context(), authority, stored); err == nil {
		t.Error("the day before its end an old answer was taken for a current one")
	}
	h.set(end.Add(24 * time.Hour))
	data, err := h.fetcher(t, nil).Gather(t.Context(), authority, stored)
	if err != nil || len(data.OCSPs) == 0 {
		t.Errorf("after its end: %d responses, %v", len(data.OCSPs), err)
	}
	if _, err := h.fetcher(t, nil).Gather(t.Context(), authority, revocation.Data{}); err == nil {
		t.Error("proven by nothing")
	}
	h.server.SetMode(demopki.OCSP, demopki.Honest)
	if _, err := h.fetcher(t, nil).Gather(t.Context(), authority, stored); err != nil {
		t.Errorf("responders that tell nothing about what has ended: %v", err)
	}
}

// TestRoomForThoseStandingBy: the room for a token is enough for that of any authority that may
// step in, though the first one stamps; and who is asked how large its tokens are is not the
// one whose certificate is to be proven.
func TestRoomForThoseStandingBy(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	other, err := demopki.Make(demopki.Options{Now: now, Organisation: "Other"})
	if err != nil {
		t.Fatal(err)
	}
	first, second, third := h.pki.TSA(h.now), other.TSA(h.now), other.TSA(h.now)
	second.SetMode(demopki.LargeToken)
	third.SetMode(demopki.Down)
	var o Options
	for _, tsa := range []*demopki.TSA{first, second, third} {
		front := httptest.NewServer(tsa)
		t.Cleanup(front.Close)
		o.TSAs = append(o.TSAs, TSA{URL: front.URL})
	}
	o.Now = h.now
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := c.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if a, _ := c.Authority(); !a.Certs[0].Equal(h.pki.Timestamps.Chain()[0]) {
		t.Errorf("the authority is %q", a.Certs[0].Subject)
	}
	room := c.TokenRoom()
	first.SetMode(demopki.Down)
	token, err := c.Timestamp(t.Context(), []byte("signature"), crypto.SHA256)
	if err != nil || len(token.DER) > room || len(token.DER) < 10<<10 {
		t.Errorf("a token of %d bytes, room for %d; %v", len(token.DER), room, err)
	}
	if first.Served() != 4 || second.Served() != 2 || third.Served() != 1 {
		t.Errorf("they were asked %d, %d and %d times", first.Served(), second.Served(), third.Served())
	}
}
