package evidence

import (
	"context"
	"crypto"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/signing/cms"
	"countersign/signing/demopki"
	"countersign/signing/timestamp"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

var newPKI = sync.OnceValues(func() (*demopki.PKI, error) { return demopki.New(now, "Example") })

// startTSA starts a demo TSA and returns its URL.
func startTSA(t *testing.T) (*demopki.PKI, *demopki.TSA, string) {
	t.Helper()
	pki, err := newPKI()
	if err != nil {
		t.Fatal(err)
	}
	tsa := pki.TSA(clock)
	server := httptest.NewServer(tsa)
	t.Cleanup(server.Close)
	return pki, tsa, server.URL
}

func newClient(t *testing.T, tsas ...TSA) *Client {
	t.Helper()
	c, err := New(Options{TSAs: tsas, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTimestampFromAnHonestAuthority(t *testing.T) {
	pki, _, url := startTSA(t)
	c := newClient(t, TSA{URL: url, Roots: pki.Roots(), Policy: demopki.Policy})
	if !c.LastOK().IsZero() || c.TokenRoom() != MinTokenRoom {
		t.Errorf("a new client has LastOK %v, TokenRoom %d", c.LastOK(), c.TokenRoom())
	}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		token, err := c.Timestamp(t.Context(), []byte("signature value"), h)
		if err != nil {
			t.Fatalf("%v: %v", h, err)
		}
		if !token.Time.Equal(now) || token.Accuracy != time.Second || !token.Policy.Equal(demopki.Policy) {
			t.Errorf("%v: time %v ± %v, policy %v", h, token.Time, token.Accuracy, token.Policy)
		}
		if err := token.Covers([]byte("signature value")); err != nil {
			t.Errorf("%v: %v", h, err)
		}
	}
	if !c.LastOK().Equal(now) {
		t.Errorf("LastOK = %v, want %v", c.LastOK(), now)
	}
	if err := c.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

// Each way in which an authority fails or lies is refused, and the error says
// where it happened and what.
func TestEveryLieIsRefused(t *testing.T) {
	pki, tsa, url := startTSA(t)
	var status *timestamp.StatusError
	isStatus := func(err error) bool { return errors.As(err, &status) && status.Failure == 14 }
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	says := func(text string) func(error) bool {
		return func(err error) bool { return strings.Contains(err.Error(), text) }
	}
	for mode, want := range map[demopki.Mode]func(error) bool{
		demopki.Down:           says("503"),
		demopki.Slow:           says("no answer within 50ms"),
		demopki.Rejects:        isStatus,
		demopki.Garbage:        is(cms.ErrEncoding),
		demopki.Huge:           says("more than 1048576 bytes"),
		demopki.WrongType:      says("text/html"),
		demopki.WrongNonce:     is(timestamp.ErrMismatch),
		demopki.NoNonce:        is(timestamp.ErrMismatch),
		demopki.WrongImprint:   is(timestamp.ErrMismatch),
		demopki.NoCertificate:  is(cms.ErrInvalid),
		demopki.ExpiredCert:    is(timestamp.ErrCertificate),
		demopki.WrongEKU:       is(timestamp.ErrCertificate),
		demopki.NotCriticalEKU: is(timestamp.ErrCertificate),
		demopki.OtherRoot:      is(timestamp.ErrCertificate),
		demopki.BadSignature:   is(cms.ErrInvalid),
		demopki.WrongTime:      is(ErrClock),
		demopki.HugeToken:      is(ErrTokenSize),
	} {
		timeout := DefaultTimeout
		if mode == demopki.Slow {
			timeout = 50 * time.Millisecond
		}
		c := newClient(t, TSA{URL: url, Roots: pki.Roots(), Timeout: timeout})
		tsa.SetMode(mode)
		_, err := c.Timestamp(t.Context(), []byte("signature value"), crypto.SHA256)
		if err == nil {
			t.Errorf("%s: accepted", mode)
			continue
		}
		if !want(err) || !strings.Contains(err.Error(), url) {
			t.Errorf("%s: %v", mode, err)
		}
		if !c.LastOK().IsZero() {
			t.Errorf("%s: LastOK moved", mode)
		}
	}
}

// The clock may be off by five minutes, either way, and no more.
func TestDrift(t *testing.T) {
	pki, err := newPKI()
	if err != nil {
		t.Fatal(err)
	}
	for drift, good := range map[time.Duration]bool{
		MaxDrift: true, -MaxDrift: true, MaxDrift + time.Second: false, -MaxDrift - time.Second: false,
	} {
		server := httptest.NewServer(pki.TSA(func() time.Time { return now.Add(drift) }))
		err := newClient(t, TSA{URL: server.URL}).Probe(t.Context())
		server.Close()
		if good && err != nil || !good && !errors.Is(err, ErrClock) {
			t.Errorf("off by %v: %v", drift, err)
		}
	}
}

// However large the tokens, the room asked for is one that a CMS can have.
func TestTokenRoomIsBounded(t *testing.T) {
	c := newClient(t, TSA{URL: "http://127.0.0.1:1/"})
	for size, want := range map[int]int{100: MinTokenRoom, 6000: 9000, MaxToken - 1: MaxToken} {
		c.largest = 0
		c.note(0, timestamp.Token{DER: make([]byte, size)}, nil)
		if got := c.TokenRoom(); got != want {
			t.Errorf("largest token %d bytes: room %d, want %d", size, got, want)
		}
	}
	pki, err := newPKI()
	if err != nil {
		t.Fatal(err)
	}
	if room, err := cms.Room(pki.Seal.Chain(), MaxToken); err != nil || room > cms.MaxSize {
		t.Errorf("room %d, %v", room, err)
	}
}

func TestWrongPolicyIsRefused(t *testing.T) {
	_, _, url := startTSA(t)
	c := newClient(t, TSA{URL: url, Policy: []int{2, 999, 1}})
	var status *timestamp.StatusError
	if _, err := c.Timestamp(t.Context(), []byte("x"), crypto.SHA256); !errors.As(err, &status) || status.Failure != 15 {
		t.Errorf("error %v, want a rejection for the policy", err)
	}
}

func TestFailOverInOrder(t *testing.T) {
	pki, first, url1 := startTSA(t)
	_, second, url2 := startTSA(t)
	c := newClient(t, TSA{URL: url1, Roots: pki.Roots()}, TSA{URL: url2, Roots: pki.Roots()})
	stamp := func() error {
		_, err := c.Timestamp(t.Context(), []byte("signature"), crypto.SHA256)
		return err
	}

	if err := stamp(); err != nil || second.Served() != 0 {
		t.Errorf("with both up: %v, the second was asked %d times", err, second.Served())
	}
	for i, lie := range []demopki.Mode{demopki.WrongNonce, demopki.WrongTime, demopki.HugeToken} {
		first.SetMode(lie)
		if err := stamp(); err != nil || second.Served() != i+1 {
			t.Errorf("with the first lying (%s): %v, the second was asked %d times", lie, err, second.Served())
		}
	}
	if h := c.Health(); len(h) != 2 || h[0].Fails != 3 || h[0].LastOK.IsZero() || !errors.Is(h[0].Err, ErrTokenSize) ||
		h[1].Fails != 0 || !h[1].LastOK.Equal(now) || h[0].URL != url1 {
		t.Errorf("health: %+v", h)
	}
	second.SetMode(demopki.Down)
	err := stamp()
	if err == nil || !strings.Contains(err.Error(), url1) || !strings.Contains(err.Error(), url2) {
		t.Errorf("with both bad: %v, want an error that names both", err)
	}
}

func TestACancelledCallerIsNotFailedOver(t *testing.T) {
	_, first, url1 := startTSA(t)
	_, second, url2 := startTSA(t)
	first.SetMode(demopki.Slow)
	c := newClient(t, TSA{URL: url1}, TSA{URL: url2})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := c.Probe(ctx); !errors.Is(err, context.DeadlineExceeded) || second.Served() != 0 {
		t.Errorf("error %v, the second was asked %d times", err, second.Served())
	}
}

func TestRedirects(t *testing.T) {
	_, tsa, url := startTSA(t)
	for _, c := range []struct {
		name   string
		target string
		status int
		want   string // in the error; empty: followed
	}{
		{"permanent, POST kept", url, http.StatusPermanentRedirect, ""},
		{"to a GET", url, http.StatusFound, "change to GET"},
		{"to another scheme", strings.Replace(url, "http:", "https:", 1), http.StatusTemporaryRedirect, "from http to https"},
		{"to a file", "file:///etc/passwd", http.StatusTemporaryRedirect, "from http to file"},
	} {
		server := httptest.NewServer(http.RedirectHandler(c.target, c.status))
		before := tsa.Served()
		err := newClient(t, TSA{URL: server.URL}).Probe(t.Context())
		server.Close()
		switch {
		case c.want == "" && (err != nil || tsa.Served() != before+1):
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	var loop *httptest.Server
	loop = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, loop.URL, http.StatusPermanentRedirect)
	}))
	defer loop.Close()
	if err := newClient(t, TSA{URL: loop.URL}).Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("redirect loop: %v", err)
	}
}

func TestBadOptionsAreToldAtOnce(t *testing.T) {
	_, err := New(Options{TSAs: []TSA{{URL: "ftp://x/"}, {URL: "http://ok.example/"}, {URL: "://"}, {URL: "https://y/", Timeout: -1}}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"authority 1:", "authority 3:", "authority 4:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %s", err, want)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no authority at all is accepted")
	}
}

func TestPasswordsInURLsStayOutOfErrors(t *testing.T) {
	_, tsa, url := startTSA(t)
	tsa.SetMode(demopki.Down)
	c := newClient(t, TSA{URL: strings.Replace(url, "http://", "http://user:hunter2@", 1)})
	if err := c.Probe(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error: %v", err)
	}
}

// OpenSSL is the outside judge: it accepts the token over the same data, and
// our request is one that it reads.
func TestOpenSSLAcceptsToken(t *testing.T) {
	pki, _, url := startTSA(t)
	c := newClient(t, TSA{URL: url, Roots: pki.Roots()})
	data := []byte("signature value")
	token, err := c.Timestamp(t.Context(), data, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := pki.Write(dir); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "token.der", token.DER)
	write(t, dir, "data", data)
	out := openssl(t, dir, "ts", "-verify", "-in", "token.der", "-token_in", "-data", "data",
		"-CAfile", demopki.RootFile, "-attime", "1795424400")
	if !strings.Contains(out, "Verification: OK") {
		t.Errorf("openssl ts -verify: %s", out)
	}
	nonce, err := timestamp.NewNonce(strings.NewReader("12345678"))
	if err != nil {
		t.Fatal(err)
	}
	query, err := timestamp.Request{Hash: crypto.SHA256, Digest: token.Digest, Nonce: nonce}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "query.der", query)
	out = openssl(t, dir, "ts", "-query", "-in", "query.der", "-text")
	for _, want := range []string{"Hash Algorithm: sha256", "Nonce: 0x3132333435363738", "Certificate required: yes"} {
		if !strings.Contains(out, want) {
			t.Errorf("openssl ts -query misses %q: %s", want, out)
		}
	}
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func openssl(t *testing.T, dir string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is missing: run make deps")
	}
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
