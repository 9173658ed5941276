package signing_test

import (
	"bytes"
	"crypto"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/evidence"
)

// stamp gets a token over message from a time-stamping authority whose clock shows at.
func stamp(t testing.TB, pki *demopki.PKI, at time.Time, message []byte) []byte {
	t.Helper()
	clock := func() time.Time { return at }
	server := httptest.NewServer(pki.TSA(clock))
	defer server.Close()
	client, err := evidence.New(evidence.Options{TSAs: []evidence.TSA{{URL: server.URL}}, Now: clock})
	check(t, err)
	token, err := client.Timestamp(t.Context(), message, crypto.SHA256)
	check(t, err)
	return token.DER
}

// TestToken: a timestamp is taken only if it stamps this signature at a time, give or
// take its second of accuracy, at which the certificate holds.
func TestToken(t *testing.T) {
	// The authority is older than all tokens; the certificate holds from now - 1 day
	// to now + 2 years.
	pki, err := demopki.New(now.AddDate(0, 0, -2), "Test")
	check(t, err)
	base := prepared(t)
	key := newKeys(t, "p256")[0]
	in := newIntent(t, base, key, 8192)
	ticket, err := signing.NewTicket(in)
	check(t, err)
	sig, err := ticket.Sign(t.Context(), key)
	check(t, err)
	from, to := key.chain[0].NotBefore, key.chain[0].NotAfter
	for name, c := range map[string]struct {
		token []byte
		good  bool
	}{
		"none":              {nil, true},
		"now":               {stamp(t, pki, now, sig), true},
		"first moment":      {stamp(t, pki, from.Add(time.Second), sig), true},
		"too early":         {stamp(t, pki, from.Add(-time.Second), sig), false},
		"perhaps too early": {stamp(t, pki, from, sig), false},
		"last moment":       {stamp(t, pki, to.Add(-time.Second), sig), true},
		"perhaps too late":  {stamp(t, pki, to, sig), false},
		"too late":          {stamp(t, pki, to.Add(time.Hour), sig), false},
		"of something else": {stamp(t, pki, now, []byte("else")), false},
		"no token":          {[]byte{0x30, 0}, false},
	} {
		var out bytes.Buffer
		res, err := signing.Finish(&out, bytes.NewReader(base), in, signing.Proof{Signature: sig, Token: c.token})
		if !c.good {
			if !errors.Is(err, signing.ErrToken) || out.Len() > 0 {
				t.Errorf("%s: %v, %d bytes written", name, err, out.Len())
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		check(t, signing.Check(bytes.NewReader(out.Bytes()), res.Size, in))
		judged(t, base, out.Bytes(), 1, key.root())
	}
}
