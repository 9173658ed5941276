package evidence

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// ErrForbidden: an address named by a certificate that may not be asked, because it is
// not public and not configured.
var ErrForbidden = errors.New("not a public address; allow it if it is yours")

const maxURL = 2048 // bytes

// A guard decides which addresses may be asked. The URLs come from certificates, which
// strangers may have made: without it, they would let us knock at doors of our own house.
type guard struct {
	hosts map[string]bool
	nets  []netip.Prefix
}

// newGuard reads the exceptions: host names, addresses or networks in CIDR form.
func newGuard(allow []string) (*guard, error) {
	g := &guard{hosts: map[string]bool{}}
	var errs []error
	for _, a := range allow {
		if p, err := netip.ParsePrefix(a); err == nil {
			g.nets = append(g.nets, p.Masked())
		} else if ip, err := netip.ParseAddr(a); err == nil {
			g.nets = append(g.nets, netip.PrefixFrom(ip, ip.BitLen()))
		} else if a != "" && !strings.ContainsAny(a, "/:@ ") {
			g.hosts[normalHost(a)] = true
		} else {
			errs = append(errs, fmt.Errorf("%q is neither a host name nor an address nor a network like 10.1.0.0/16", a))
		}
	}
	return g, errors.Join(errs...)
}

func normalHost(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// Networks that are not reached over the public internet, beside those that netip knows
// (IANA special-purpose registries, RFC 6890). The last ones carry IPv4 addresses inside.
var special = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10",
	"2002::/16", "64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// allowed says whether an address may be connected to.
func (g *guard) allowed(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap() // ::ffff:10.0.0.1 is 10.0.0.1
	for _, n := range g.nets {
		if n.Contains(ip) {
			return true
		}
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	for _, n := range special {
		if n.Contains(ip) {
			return false
		}
	}
	return true
}

// checkURL refuses what is not plain http or https. Names are judged when they are
// resolved, see dial.
func (g *guard) checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("scheme %q is not fetched, only http and https", u.Scheme)
	case u.Hostname() == "" || u.User != nil || len(u.String()) > maxURL:
		return errors.New("not a plain URL with a host")
	}
	return nil
}

// dial connects to addr. The address is checked after the name was resolved and at the
// very moment of connecting, so no second answer of a name server gets in between.
func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := &net.Dialer{Timeout: 10 * time.Second}
	if !g.hosts[normalHost(host)] {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !g.allowed(at.Addr()) {
				return fmt.Errorf("%s has the address %s: %w", host, address, ErrForbidden)
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, addr)
}

// checkRedirect lets few redirects pass, to the same scheme or from http to https, and
// none that turns a POST into a GET.
func (g *guard) checkRedirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1]
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case req.URL.Scheme != last.URL.Scheme && (last.URL.Scheme != "http" || req.URL.Scheme != "https"):
		return fmt.Errorf("redirected from %s to %s, which is not followed", last.URL.Scheme, req.URL.Scheme)
	case req.Method != last.Method:
		return fmt.Errorf("redirected with a change from %s to %s", last.Method, req.Method)
	}
	return g.checkURL(req.URL)
}

// client makes an HTTP client that goes through the guard. It uses no proxy: a proxy
// would resolve names by itself.
func (g *guard) client(now func() time.Time) *http.Client {
	return &http.Client{CheckRedirect: g.checkRedirect, Transport: &http.Transport{
		DialContext:            g.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, Time: now},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost:        8,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true, // a limit on bytes read is then one on bytes kept
		ForceAttemptHTTP2:      true,
	}}
}

// A query is one HTTP request for evidence.
type query struct {
	url  string
	body []byte // POST if there is one
	kind string // content type of body
	max  int64  // bytes of the answer
}

// get runs a query and returns the body of a good answer.
func (f *Fetcher) get(ctx context.Context, q query) ([]byte, error) {
	u, err := url.Parse(q.url)
	if err == nil {
		err = f.guard.checkURL(u)
	}
	if err != nil {
		return nil, fmt.Errorf("URL %.100q: %w", q.url, err)
	}
	method := http.MethodGet
	if q.body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, q.url, bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	if q.kind != "" {
		req.Header.Set("Content-Type", q.kind)
	}
	resp, err := f.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: HTTP status %s", method, u.Redacted(), resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, q.max+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", method, u.Redacted(), err)
	case int64(len(body)) > q.max:
		return nil, fmt.Errorf("%s %s: answer of more than %d bytes", method, u.Redacted(), q.max)
	}
	return body, nil
}
