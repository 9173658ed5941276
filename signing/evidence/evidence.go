// Package evidence fetches what proves a signature later: a [Client] timestamps from
// RFC 3161 authorities over HTTP (clause 3.4), with fail-over in the configured
// order; a [Fetcher] the certificates of a path, OCSP responses and revocation lists.
//
// Nothing that a server sends is believed: package timestamp checks each token
// against its request, package revocation each answer against the certificate and the time of its
// use, and the next server is asked when one is silent, wrong or lying.
package evidence

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"countersign/signing/timestamp"
)

// Limits and defaults.
const (
	DefaultTimeout = 10 * time.Second
	MaxResponse    = 1 << 20  // bytes of HTTP body
	MinTokenRoom   = 8 << 10  // bytes
	MaxToken       = 64 << 10 // bytes of a token; real ones have 3 to 8 KiB
	MaxDrift       = 5 * time.Minute
	maxRedirects   = 3
)

// Tokens that are sound and yet not taken.
var (
	// ErrClock: the token's time is more than [MaxDrift] from ours.
	ErrClock = errors.New("the time in the token is not the time of this machine")
	// ErrTokenSize: the token is larger than [MaxToken].
	ErrTokenSize = errors.New("the token is too large")
)

// A TSA is one time-stamping authority.
type TSA struct {
	URL     string                // http or https
	Timeout time.Duration         // for one request; zero: DefaultTimeout
	Roots   *x509.CertPool        // nil: any certificate that is good for timestamping
	Policy  asn1.ObjectIdentifier // nil: the authority's default
	// Username and Password are sent by HTTP basic authentication (RFC 7617) if
	// Username is not empty, over https or to this machine only.
	Username, Password string
	// TLSRoots are the authorities trusted for the connection; nil: the system's.
	TLSRoots *x509.CertPool

	http *http.Client
}

// Options configure a Client. Only TSAs is needed.
type Options struct {
	TSAs      []TSA             // asked in this order
	Transport http.RoundTripper // nil: a transport of its own with the usual proxy settings
	Rand      io.Reader         // for nonces and probes; nil: crypto/rand
	Now       func() time.Time  // nil: time.Now
}

// A Client asks time-stamping authorities. It is safe for concurrent use.
type Client struct {
	opts Options

	mu      sync.Mutex
	lastOK  time.Time
	largest int // bytes of the largest token seen
	last    timestamp.Token
	health  []Health    // of each authority
	sized   []time.Time // when each was last asked how large its tokens are; see measure
}

// New checks the options; it tells all wrong URLs at once and sends nothing.
func New(o Options) (*Client, error) {
	if len(o.TSAs) == 0 {
		return nil, errors.New("timestamps: no authority configured; give at least one URL")
	}
	var errs []error
	for i, t := range o.TSAs {
		u, err := url.Parse(t.URL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			errs = append(errs, fmt.Errorf("timestamp authority %d: give an http or https URL, for example http://tsa.example.org/tsr", i+1))
		}
		if err == nil && t.Username != "" && u.Scheme != "https" && !loopback(u.Hostname()) {
			errs = append(errs, fmt.Errorf("timestamp authority %d: a password would cross the network in the clear; use https", i+1))
		}
		if t.Timeout < 0 {
			errs = append(errs, fmt.Errorf("timestamp authority %d: negative timeout %v", i+1, t.Timeout))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	o.TSAs = slices.Clone(o.TSAs)
	for i := range o.TSAs {
		o.TSAs[i].http = &http.Client{Transport: o.transport(o.TSAs[i].TLSRoots), CheckRedirect: checkRedirect}
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Client{opts: o}
	for _, t := range o.TSAs {
		c.health = append(c.health, Health{URL: redacted(t.URL)})
	}
	c.sized = make([]time.Time, len(o.TSAs))
	return c, nil
}

// transport gives each authority its own connections, with its own trust.
func (o Options) transport(roots *x509.CertPool) http.RoundTripper {
	if o.Transport != nil {
		return o.Transport
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return t
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkRedirect keeps a redirect on the same scheme (no silent downgrade) and
// refuses the ones that turn the POST into a GET.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case req.URL.Scheme != first.URL.Scheme:
		return fmt.Errorf("redirected from %s to %s; configure that URL instead", first.URL.Scheme, req.URL.Scheme)
	case req.Method != http.MethodPost:
		return fmt.Errorf("redirected with a change to %s; configure the new URL %s instead", req.Method, req.URL.Redacted())
	}
	return nil
}

// Timestamp stamps signature, hashed with h: the token belongs into the
// signature-time-stamp attribute.
func (c *Client) Timestamp(ctx context.Context, signature []byte, h crypto.Hash) (timestamp.Token, error) {
	if !h.Available() {
		return timestamp.Token{}, fmt.Errorf("timestamp: hash %v is not available", h)
	}
	w := h.New()
	w.Write(signature)
	return c.TimestampDigest(ctx, w.Sum(nil), h)
}

// TimestampDigest stamps a digest made with h, as a document timestamp needs.
// The authorities are asked in order until one gives a token that passes
// timestamp.CheckResponse and is plausible in time ([ErrClock]) and size
// ([ErrTokenSize]); the error names each one and what happened.
func (c *Client) TimestampDigest(ctx context.Context, digest []byte, h crypto.Hash) (timestamp.Token, error) {
	var errs []error
	for i, tsa := range c.opts.TSAs {
		t, err := c.ask(ctx, tsa, timestamp.Request{Hash: h, Digest: digest, Policy: tsa.Policy})
		if err != nil && ctx.Err() != nil {
			errs = append(errs, fmt.Errorf("timestamp from %s: %w", redacted(tsa.URL), err))
			break // the caller gave up, no authority is to blame
		}
		c.note(i, t, err)
		if err == nil {
			return t, nil
		}
		errs = append(errs, fmt.Errorf("timestamp from %s: %w", redacted(tsa.URL), err))
	}
	return timestamp.Token{}, errors.Join(errs...)
}

func (c *Client) ask(ctx context.Context, tsa TSA, req timestamp.Request) (timestamp.Token, error) {
	var err error
	if req.Nonce, err = timestamp.NewNonce(c.opts.Rand); err != nil {
		return timestamp.Token{}, err
	}
	query, err := req.Marshal()
	if err != nil {
		return timestamp.Token{}, err
	}
	timeout := tsa.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v", timeout))
	defer cancel()
	body, err := tsa.post(ctx, query)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return timestamp.Token{}, err
	}
	t, err := timestamp.CheckResponse(body, req, tsa.Roots)
	if err == nil {
		err = c.plausible(t)
	}
	if err != nil {
		return timestamp.Token{}, err
	}
	return t, nil
}

// plausible refuses tokens that no authority in order issues. A wrong time would
// void the signature: it may lie outside the validity of the certificate.
func (c *Client) plausible(t timestamp.Token) error {
	if len(t.DER) > MaxToken {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTokenSize, len(t.DER), MaxToken)
	}
	now := c.opts.Now()
	if t.Time.Sub(now).Abs() > MaxDrift || t.Accuracy > MaxDrift {
		return fmt.Errorf("%w: %s, to within %v, against %s, more than %v apart; check both clocks", ErrClock,
			t.Time.UTC().Format(time.RFC3339), t.Accuracy, now.UTC().Format(time.RFC3339), MaxDrift)
	}
	return nil
}

// post sends the query and returns the body of a proper answer.
func (t *TSA) post(ctx context.Context, query []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/timestamp-query")
	req.Header.Set("Accept", "application/timestamp-reply")
	if t.Username != "" {
		req.SetBasicAuth(t.Username, t.Password)
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %s", resp.Status)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "application/timestamp-reply" {
		return nil, fmt.Errorf("answer of type %q instead of application/timestamp-reply; check the URL", kind)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(body) > MaxResponse {
		return nil, fmt.Errorf("answer of more than %d bytes", MaxResponse)
	}
	return body, nil
}

// LastOK is when an authority last gave a good token; zero if none did yet. A
// one-use key is made only if this is less than a minute ago: see [Client.Probe].
func (c *Client) LastOK() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastOK
}

// TokenRoom is the number of bytes to reserve for a token: one and a half times
// the largest one seen, at least [MinTokenRoom] and at most [MaxToken].
func (c *Client) TokenRoom() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(max(MinTokenRoom, c.largest*3/2), MaxToken)
}

// Probe asks for a real timestamp over a random digest, so that LastOK and
// TokenRoom are right before something is signed. Authorities that have not stamped yet are
// asked, too: room for a signature cannot be made any more when one of them steps in.
func (c *Client) Probe(ctx context.Context) error {
	digest := make([]byte, crypto.SHA256.Size())
	if _, err := io.ReadFull(c.opts.Rand, digest); err != nil {
		return fmt.Errorf("timestamp probe: %w", err)
	}
	if _, err := c.TimestampDigest(ctx, digest, crypto.SHA256); err != nil {
		return fmt.Errorf("timestamp probe: %w", err)
	}
	c.measure(ctx, digest)
	return nil
}

// How long Probe waits for those that only stand by, and when one that failed is asked again.
const (
	measureTimeout = 3 * time.Second
	measureAgain   = time.Hour
)

// measure learns how large the tokens are of those authorities that never stamped. What goes
// wrong is told by Health alone.
func (c *Client) measure(ctx context.Context, digest []byte) {
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, i := range c.unmeasured() {
		wg.Go(func() {
			tsa := c.opts.TSAs[i]
			t, err := c.ask(ctx, tsa, timestamp.Request{Hash: crypto.SHA256, Digest: digest, Policy: tsa.Policy})
			c.mu.Lock()
			defer c.mu.Unlock()
			c.noteHealth(i, err)
			c.largest = max(c.largest, len(t.DER))
		})
	}
}

// unmeasured lists the authorities to measure, each of which is then taken to be asked now.
func (c *Client) unmeasured() (list []int) {
	now := c.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.opts.TSAs {
		if c.health[i].LastOK.IsZero() && now.Sub(c.sized[i]) >= measureAgain {
			c.sized[i] = now
			list = append(list, i)
		}
	}
	return list
}

func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(unreadable URL)"
	}
	return u.Redacted()
}
