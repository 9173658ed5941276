package evidence

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/signing/certpath"
	"countersign/signing/demopki"
	"countersign/signing/keys/ca"
	"countersign/signing/revocation"
)

// A timestamp's authority is proven like a signer, from what its token carries.
func TestGatherForATimestamp(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	client := newClient(t, TSA{URL: h.pki.URL() + "/tsa", Roots: h.pki.Roots()})
	token, err := client.Timestamp(t.Context(), []byte("signature"), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	s := revocation.Subject{What: "the timestamp", Certs: append([]*x509.Certificate{token.Signer}, token.Certs...), At: token.Time, TimeStamping: true}
	data, err := h.fetcher(t, nil).Gather(t.Context(), []revocation.Subject{s, {What: "the seal", Certs: h.pki.Seal.Chain(), At: now}}, revocation.Data{})
	if err != nil || len(data.OCSPs) != 2 || len(data.Certs) != 4 { // TSA, seal, root, responder
		t.Errorf("%d certificates, %d OCSP responses, %v", len(data.Certs), len(data.OCSPs), err)
	}
	s.TimeStamping = false
	if _, err := h.fetcher(t, nil).Gather(t.Context(), []revocation.Subject{s}, revocation.Data{}); !errors.Is(err, certpath.ErrUsage) {
		t.Errorf("an authority as signer: %v", err)
	}
}

// One-use certificates are exempt by their own words; what their CA tells is taken along if
// it is a local source, at once and when it is stored, and obeyed.
func TestTheOwnSigningCAAsSource(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	authority, err := ca.New(ca.Options{Key: h.pki.CA})
	if err != nil {
		t.Fatal(err)
	}
	key, err := authority.Issue(t.Context(), ca.Subject{Name: "Ann", Address: "ann@example.org", RequestID: "r-1"}, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	gather := func(f *Fetcher, known revocation.Data) (revocation.Data, error) {
		return f.Gather(t.Context(), subject(now, key.Chain()...), known)
	}
	alone := h.fetcher(t, nil)
	data, err := gather(alone, revocation.Data{})
	if err != nil || len(data.OCSPs) != 1 || len(data.CRLs) != 0 {
		t.Errorf("without a source: %d OCSP responses, %d lists, %v", len(data.OCSPs), len(data.CRLs), err)
	}
	tell := authority.Prove
	f := h.fetcher(t, func(o *FetcherOptions) {
		o.Sources = []Source{func(ctx context.Context, c, _ *x509.Certificate, _ time.Time) (revocation.Data, error) {
			if !authority.Issued(c) {
				return revocation.Data{}, nil
			}
			return tell(ctx, c, h.now())
		}}
	})
	data, err = gather(f, revocation.Data{})
	if err != nil || len(data.OCSPs) != 2 || len(data.CRLs) != 1 {
		t.Errorf("with a source: %d OCSP responses, %d lists, %v", len(data.OCSPs), len(data.CRLs), err)
	}
	data, err = gather(alone, data)
	if err != nil || len(data.OCSPs) != 2 || len(data.CRLs) != 1 {
		t.Errorf("stored: %d OCSP responses, %d lists, %v", len(data.OCSPs), len(data.CRLs), err)
	}
	// What it tells is dated in whole seconds; a timestamp later in that second has to wait.
	early := subject(now.Add(300*time.Millisecond), key.Chain()...)
	_, err = f.Gather(t.Context(), early, revocation.Data{})
	if wait, ok := errors.AsType[*NotYetError](err); !ok || wait.RetryAt.After(now.Add(3*time.Second)) {
		t.Errorf("told before the use: %v", err)
	}
	h.server.Revoke(key.Chain()[0], now, 0)
	tell = func(context.Context, *x509.Certificate, time.Time) (revocation.Data, error) {
		query, err := revocation.RequestOCSP(key.Chain()[0], key.Chain()[1], nil)
		if err != nil {
			return revocation.Data{}, err
		}
		der, err := alone.get(t.Context(), queryOf(h.pki.URL()+"/ocsp", query))
		return revocation.Data{OCSPs: [][]byte{der}}, err
	}
	if _, err := gather(f, revocation.Data{}); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked: %v", err)
	}
}

// A responder that does not say that nobody needs to check it is checked.
func TestTheRespondersOwnState(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	leaf := h.signer(t)
	h.server.SetMode(demopki.OCSP, demopki.Checked)
	data, err := h.fetcher(t, nil).Gather(t.Context(), subject(now, leaf), revocation.Data{})
	if err != nil || len(data.OCSPs) != 2 || len(data.CRLs) != 2 {
		t.Fatalf("%d OCSP responses, %d lists, %v", len(data.OCSPs), len(data.CRLs), err)
	}
	h.server.SetMode(demopki.CRL, demopki.Down)
	if _, err := h.fetcher(t, nil).Gather(t.Context(), subject(now, leaf), revocation.Data{}); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("without the list that tells of the responder: %v", err)
	}
}

// A cached answer serves uses that are not after it, and no others.
func TestCache(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	leaf, f := h.signer(t), h.fetcher(t, nil)
	gather := func(at time.Time, asked int) {
		t.Helper()
		before := h.server.Served(demopki.OCSP)
		if _, err := f.Gather(t.Context(), subject(at, leaf), revocation.Data{}); err != nil {
			t.Error(err)
		}
		if got := h.server.Served(demopki.OCSP) - before; got != asked {
			t.Errorf("asked %d times, want %d", got, asked)
		}
	}
	gather(now, 2)
	gather(now, 0)
	h.set(now.Add(time.Minute))
	gather(now, 0)
	gather(now.Add(time.Second), 2)
	h.set(now.Add(23 * time.Hour))
	gather(now, 0)
	// The answers have run out, the certificate has ended: the list keeps it.
	h.set(now.Add(26 * time.Hour))
	data, err := f.Gather(t.Context(), subject(now, leaf), revocation.Data{})
	if err != nil || len(data.CRLs) != 1 || len(data.OCSPs) != 1 {
		t.Errorf("%d lists, %d OCSP responses, %v", len(data.CRLs), len(data.OCSPs), err)
	}
	h.server.SetMode(demopki.CRL, demopki.Down)
	if _, err := h.fetcher(t, nil).Gather(t.Context(), subject(now, leaf), revocation.Data{}); !errors.Is(err, revocation.ErrEnded) {
		t.Errorf("without the list: %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(100)
	for i := range 20 {
		c.put(entry{key: string(rune('a' + i)), der: make([]byte, 29), fetched: now, until: now.Add(time.Hour)})
	}
	if c.size != 90 || len(c.entries) != 3 || c.order.Len() != 3 {
		t.Errorf("%d bytes in %d entries", c.size, len(c.entries))
	}
	c.put(entry{key: "large", der: make([]byte, 200), fetched: now, until: now.Add(time.Hour)})
	if _, ok := c.get("large", now); ok || c.size != 90 {
		t.Error("more is kept than there is room for")
	}
	if _, ok := c.get("t", now); !ok {
		t.Error("the last one is gone")
	}
	if _, ok := c.get("t", now.Add(2*time.Hour)); ok || c.size != 60 {
		t.Error("kept longer than it holds")
	}
}

// Many callers at once: each answer is fetched once.
func TestManyAtOnce(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	leaf, f := h.signer(t), h.fetcher(t, nil)
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			if _, err := f.Gather(t.Context(), subject(now, leaf), revocation.Data{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// A caller may come just between an answer and its place in the cache.
	if n := h.server.Served(demopki.OCSP); n > 8 {
		t.Errorf("asked %d times", n)
	}
}

// A caller that gives up does not take the answer from the others.
func TestGivingUp(t *testing.T) {
	c := newCache(100)
	start, finish := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-start
		cancel()
	}()
	fetch := func(ctx context.Context) ([]byte, error) {
		close(start)
		<-finish
		return []byte("answer"), ctx.Err()
	}
	if _, err := c.once(ctx, "key", fetch); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(finish)
	if der, err := c.once(t.Context(), "key", func(context.Context) ([]byte, error) { return []byte("answer"), nil }); err != nil || string(der) != "answer" {
		t.Errorf("%q, %v", der, err)
	}
}

// Issuers come in DER, PEM and PKCS #7 (made by OpenSSL), from a server of any content type.
func TestIssuersInEveryForm(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	dir := t.TempDir()
	root := h.pki.Root.Chain()[0].Raw
	pemRoot := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
	write(t, dir, "root.pem", pemRoot)
	openssl(t, dir, "crl2pkcs7", "-nocrl", "-certfile", "root.pem", "-outform", "DER", "-out", "root.p7c")
	bundle, err := os.ReadFile(filepath.Join(dir, "root.p7c"))
	if err != nil {
		t.Fatal(err)
	}
	f := h.fetcher(t, nil)
	for name, c := range map[string]struct {
		body []byte
		want int
	}{"DER": {root, 1}, "PEM": {append(pemRoot, pemRoot...), 2}, "PKCS7": {bundle, 1}, "nothing": {nil, 0}, "text": {[]byte("not here"), 0}} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(c.body) }))
		certs, err := f.fetchCerts(t.Context(), srv.URL+"/"+name)
		srv.Close()
		if len(certs) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%s: %d certificates, %v", name, len(certs), err)
		}
	}
}

func TestIssuersThatCannotBeHad(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	leaf := h.signer(t)
	for mode, want := range map[demopki.Mode]string{
		demopki.Down: "503", demopki.Garbage: "no certificate in", demopki.Huge: "more than 262144 bytes", demopki.RedirectPrivate: "not a public address",
	} {
		h.server.SetMode(demopki.Issuer, mode)
		_, err := h.fetcher(t, nil).Gather(t.Context(), subject(now, leaf), revocation.Data{})
		var missing *certpath.MissingError
		if !errors.As(err, &missing) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the signature") {
			t.Errorf("%s: %v, want %q", mode, err, want)
		}
	}
}

func TestWithoutRoots(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	if _, err := h.fetcher(t, func(o *FetcherOptions) { o.Roots = nil }).Gather(t.Context(), subject(now, h.pki.Seal.Chain()...), revocation.Data{}); err != nil {
		t.Error(err)
	}
	stranger, err := demopki.New(now, "Stranger")
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.fetcher(t, nil).Gather(t.Context(), subject(now, stranger.Seal.Chain()...), revocation.Data{})
	if err == nil || !strings.Contains(err.Error(), "not among the configured roots") {
		t.Errorf("another root: %v", err)
	}
	_, err = h.fetcher(t, func(o *FetcherOptions) { o.Roots = nil }).Gather(t.Context(), subject(now, stranger.Seal.Chain()...), revocation.Data{})
	if err == nil || !strings.Contains(err.Error(), "names no OCSP responder") {
		t.Errorf("a certificate that names nobody: %v", err)
	}
}

func TestTimeForAll(t *testing.T) {
	h := newHouse(t, demopki.Options{})
	h.server.SetMode(demopki.Issuer, demopki.Slow)
	f := h.fetcher(t, func(o *FetcherOptions) { o.GatherTimeout, o.Timeout = 30*time.Millisecond, 200*time.Millisecond })
	if _, err := f.Gather(t.Context(), subject(now, h.signer(t)), revocation.Data{}); err == nil || !strings.Contains(err.Error(), "not complete within 30ms") {
		t.Errorf("%v", err)
	}
}

func TestAllowedAddresses(t *testing.T) {
	g, err := newGuard([]string{"10.1.0.0/16", "fd00::7", "intern.example."})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2600::1": true, "10.1.2.3": true, "::ffff:10.1.2.3": true, "fd00::7": true,
		"10.2.0.1": false, "127.0.0.1": false, "::1": false, "0.0.0.0": false, "::": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1": false, "fd00::8": false, "100.64.0.1": false, "224.0.0.1": false, "ff02::1": false,
		"255.255.255.255": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b:1::1": false,
		"2002:7f00:1::": false, "2001:0:1::": false, "192.0.2.1": false, "198.18.0.1": false, "240.0.0.1": false, "::ffff:0:127.0.0.1": false,
	} {
		if got := g.allowed(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	for _, bad := range []string{"", "http://x/", "10.1.0.0/99", "a b"} {
		if _, err := NewFetcher(FetcherOptions{Allow: []string{bad}}); err == nil {
			t.Errorf("%q may be asked, it seems", bad)
		}
	}
}

// A name is judged by the address that is connected to, unless it is allowed by name.
func TestNamesAreJudgedByTheirAddress(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("inside")) }))
	defer srv.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "http://"), ":")
	for _, c := range []struct {
		allow []string
		host  string
		good  bool
	}{
		{nil, "localhost", false},
		{nil, "LOCALHOST.", false},
		{nil, "127.0.0.1", false},
		{nil, "2130706433", false}, // 127.0.0.1 as some resolvers write it
		{nil, "[::ffff:127.0.0.1]", false},
		{[]string{"other.example"}, "localhost", false},
		{[]string{"localhost"}, "localhost", true},
		{[]string{"LocalHost."}, "localhost", true},
		{[]string{"localhost"}, "127.0.0.1", false},
		{[]string{"127.0.0.0/8"}, "127.0.0.1", true},
	} {
		f, err := NewFetcher(FetcherOptions{Allow: c.allow})
		if err != nil {
			t.Fatal(err)
		}
		body, err := f.get(t.Context(), query{url: "http://" + c.host + ":" + port + "/", max: 100})
		if c.good != (err == nil && string(body) == "inside") {
			t.Errorf("%s, allowed %q: %q, %v", c.host, c.allow, body, err)
		}
	}
}

// With a dialer of one's own, names need not exist.
func TestDialOfOnesOwn(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Host)) }))
	defer srv.Close()
	f, err := NewFetcher(FetcherOptions{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}})
	if err != nil {
		t.Fatal(err)
	}
	if body, err := f.get(t.Context(), query{url: "http://pki.demo.example/x", max: 100}); err != nil || string(body) != "pki.demo.example" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestWhatIsNotFetched(t *testing.T) {
	f, err := NewFetcher(FetcherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{"ldap://ca.example/cn=x", "file:///etc/passwd", "http://user:secret@ca.example/", "http:///x", "gopher://x/", "http://" + strings.Repeat("x", maxURL), "::"} {
		if _, err := f.get(t.Context(), query{url: u, max: 10}); err == nil || strings.Contains(err.Error(), "dial") {
			t.Errorf("%.40q: %v", u, err)
		}
	}
	if got := fetchables([]string{"ldap://x", "HTTP://a/", "https://b/", "http://c", "http://d", "http://e"}); len(got) != maxURLsEach || got[0] != "HTTP://a/" {
		t.Errorf("%q", got)
	}
	via := func(scheme, method string) *http.Request {
		return &http.Request{Method: method, URL: &url.URL{Scheme: scheme, Host: "ca.example", Path: "/"}}
	}
	for _, c := range []struct {
		from, to, method string
		good             bool
	}{
		{"http", "http", "GET", true},
		{"http", "https", "GET", true},
		{"https", "http", "GET", false},
		{"https", "https", "GET", true},
		{"http", "http", "POST", false},
		{"http", "ftp", "GET", false},
	} {
		if err := f.guard.checkRedirect(via(c.to, "GET"), []*http.Request{via(c.from, c.method)}); (err == nil) != c.good {
			t.Errorf("%s %s to %s: %v", c.method, c.from, c.to, err)
		}
	}
}

func TestSubjectsThatMakeNoSense(t *testing.T) {
	f, err := NewFetcher(FetcherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []revocation.Subject{{What: "x"}, {What: "x", Certs: []*x509.Certificate{nil}, At: now}, {What: "x", Certs: make([]*x509.Certificate, 3)}} {
		if _, err := f.Gather(t.Context(), []revocation.Subject{s}, revocation.Data{}); err == nil {
			t.Error("proven")
		}
	}
	for _, o := range []FetcherOptions{{Timeout: -1}, {MaxCRL: 1 << 40}, {Cache: -1}} {
		if _, err := NewFetcher(o); err == nil {
			t.Errorf("%+v accepted", o)
		}
	}
}
