package evidence

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"countersign/signing/certpath"
	"countersign/signing/revocation"
)

// Defaults and limits of a [Fetcher].
const (
	DefaultGatherTimeout = 2 * time.Minute
	DefaultMaxCRL        = 32 << 20 // bytes
	DefaultCache         = 64 << 20 // bytes
	maxCertBody          = 256 << 10
	maxIssuerFetches     = 8 // caIssuers URLs asked for one subject
	maxURLsEach          = 4 // responders or lists asked for one certificate
	maxConcurrent        = 8
	// refetch is how long an answer from the network is not asked for again although it
	// is too old, and the least time after which to try again.
	refetch = time.Minute
	// retryLater is the longest wait for a newer list: most issuers publish long before
	// nextUpdate.
	retryLater = time.Hour
)

// ErrRevoked: a certificate was revoked when it was used. The error is a
// *revocation.RevokedError, too, which says whose, when and why.
var ErrRevoked = revocation.ErrRevoked

// A NotYetError says that all is well so far but the newest answers about a certificate
// are older than its use. Nothing can be done but wait for the next ones.
type NotYetError struct {
	RetryAt time.Time
	What    string // subject and certificate
	Err     error  // what was tried
}

func (e *NotYetError) Error() string {
	return fmt.Sprintf("%s: no answer about it from after its use yet, try again at %s: %v", e.What, e.RetryAt.UTC().Format(time.RFC3339), e.Err)
}

// Unwrap returns what was tried.
func (e *NotYetError) Unwrap() error { return e.Err }

// A Source has OCSP responses and revocation lists at hand, for example of a CA in the
// same program. It returns what it has about a certificate, issued as late as possible and
// not before at if it can; nothing if it knows none. It is safe for concurrent use.
type Source func(ctx context.Context, cert, issuer *x509.Certificate, at time.Time) (revocation.Data, error)

// FetcherOptions configure a Fetcher. All may be left out.
type FetcherOptions struct {
	// Roots are the trust anchors: all paths must end at one of them. nil: any
	// self-signed certificate ends a path.
	Roots []*x509.Certificate
	// Allow lists the host names, addresses and networks (CIDR) that may be asked although
	// they are not public.
	Allow   []string
	Sources []Source // asked before the network
	// Dial connects to an address like ca.example:80 instead of the dialer that keeps to
	// Allow: for names that no name server knows. nil: that dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	Now  func() time.Time // nil: time.Now

	Timeout       time.Duration // for one OCSP response or certificate; zero: DefaultTimeout. A list may take six times as long
	GatherTimeout time.Duration // for one call of Gather; zero: DefaultGatherTimeout
	MaxCRL        int64         // bytes; zero: DefaultMaxCRL
	Cache         int64         // bytes; zero: DefaultCache
}

// A Fetcher gathers validation data. It is safe for concurrent use.
type Fetcher struct {
	opts  FetcherOptions
	guard *guard
	http  *http.Client
	cache *cache
	slots chan struct{}
}

// NewFetcher checks the options; it sends nothing.
func NewFetcher(o FetcherOptions) (*Fetcher, error) {
	g, err := newGuard(o.Allow)
	if err != nil {
		return nil, fmt.Errorf("evidence: addresses that may be asked: %w", err)
	}
	if o.Timeout < 0 || o.GatherTimeout < 0 || o.MaxCRL < 0 || o.MaxCRL > revocation.MaxCRL || o.Cache < 0 {
		return nil, fmt.Errorf("evidence: limits must not be negative, and that of lists at most %d bytes", revocation.MaxCRL)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Timeout = orDefault(o.Timeout, DefaultTimeout)
	o.GatherTimeout = orDefault(o.GatherTimeout, DefaultGatherTimeout)
	o.MaxCRL = orDefault(o.MaxCRL, DefaultMaxCRL)
	o.Cache = orDefault(o.Cache, DefaultCache)
	client := g.client(o.Now)
	if o.Dial != nil {
		client.Transport.(*http.Transport).DialContext = o.Dial
	}
	return &Fetcher{opts: o, guard: g, http: client, cache: newCache(o.Cache), slots: make(chan struct{}, maxConcurrent)}, nil
}

func orDefault[T int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Gather returns what proves the subjects: for each one its path, the anchor included,
// and for every certificate of it but the anchor a checked OCSP response or revocation
// list, taken from known if that has one that is good enough. Known certificates help to
// find paths.
//
// The error is a [*NotYetError] if answers are older than the use (wait), is
// [ErrRevoked] if a certificate was revoked, and wraps certpath's errors if there is no
// path (tell). All else may go away by trying again.
func (f *Fetcher) Gather(ctx context.Context, subjects []revocation.Subject, known revocation.Data) (revocation.Data, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.opts.GatherTimeout,
		fmt.Errorf("evidence was not complete within %v", f.opts.GatherTimeout))
	defer cancel()
	known = revocation.Data{Certs: slices.Clip(known.Certs), OCSPs: slices.Clip(known.OCSPs), CRLs: slices.Clip(known.CRLs)} // it is added to
	var out revocation.Data
	var errs []error
	var wait *NotYetError
	for _, s := range subjects {
		data, err := f.subject(ctx, s, known)
		var notYet *NotYetError
		switch {
		case errors.As(err, &notYet):
			if wait == nil || notYet.RetryAt.After(wait.RetryAt) {
				wait = notYet
			}
		case err != nil:
			errs = append(errs, fmt.Errorf("evidence for %s: %w", s.What, err))
		default:
			out.Add(data)
			known.Add(data) // what one needs may serve the next
		}
	}
	if len(errs) > 0 {
		return revocation.Data{}, errors.Join(errs...)
	}
	if wait != nil {
		return revocation.Data{}, wait
	}
	return out, nil
}

// subject gathers for one subject, along the first path that can be proven.
func (f *Fetcher) subject(ctx context.Context, s revocation.Subject, known revocation.Data) (revocation.Data, error) {
	if len(s.Certs) == 0 || s.Certs[0] == nil || s.At.IsZero() {
		return revocation.Data{}, errors.New("no certificate, or no time of use")
	}
	stored := known
	if s.Current {
		known = revocation.Data{Certs: known.Certs}
	}
	paths, err := f.paths(ctx, s, known)
	if err != nil {
		return revocation.Data{}, err
	}
	var errs []error
	for _, p := range paths {
		data, err := f.prove(ctx, s, p, known)
		if err != nil && s.Current && !errors.Is(err, ErrRevoked) && f.opts.Now().After(s.Certs[0].NotAfter) {
			// Nobody tells about what has ended: what was stored before must do.
			data, err = f.prove(ctx, s, p, stored)
		}
		if err == nil {
			return data, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return revocation.Data{}, worst(errs)
}

// worst picks the error that tells most: a path that only has to wait before one that
// fails, else the first, which is that of the shortest path.
func worst(errs []error) error {
	for _, err := range errs {
		var wait *NotYetError
		if errors.As(err, &wait) {
			return err
		}
	}
	return errs[0]
}

// paths builds the paths of a subject, fetching issuers that are missing. Those along the certificates
// that came with the subject come first, whatever others are known: the known ones are from
// files, where a crowd of the same name may hide the right one.
func (f *Fetcher) paths(ctx context.Context, s revocation.Subject, known revocation.Data) ([]certpath.Path, error) {
	req := certpath.Request{Leaf: s.Certs[0], Pool: s.Certs[1:], Roots: f.opts.Roots, At: s.At, TimeStamping: s.TimeStamping}
	own, _ := certpath.Build(req)
	for _, der := range known.Certs {
		if c, err := x509.ParseCertificate(der); err == nil && len(req.Pool) < certpath.MaxPool {
			req.Pool = append(req.Pool[:len(req.Pool):len(req.Pool)], c)
		}
	}
	asked := map[string]bool{}
	var failed []error
	for {
		paths, err := certpath.Build(req)
		if len(own) > 0 {
			return firstPaths(own, paths), nil
		}
		var missing *certpath.MissingError
		if !errors.As(err, &missing) {
			return paths, err
		}
		more, errs := f.issuers(ctx, missing.Ends, asked)
		failed = append(failed, errs...)
		if len(more) == 0 {
			return nil, errors.Join(append([]error{err}, failed...)...)
		}
		req.Pool = append(req.Pool[:len(req.Pool):len(req.Pool)], more...)
	}
}

// firstPaths joins paths, each once.
func firstPaths(first, more []certpath.Path) []certpath.Path {
	for _, p := range more {
		same := func(q certpath.Path) bool { return slices.EqualFunc(p.Certs, q.Certs, (*x509.Certificate).Equal) }
		if !slices.ContainsFunc(first, same) {
			first = append(first, p)
		}
	}
	return first
}

// issuers fetches the certificates that the ends of incomplete paths name as those of
// their issuers (RFC 5280 clause 4.2.2.1).
func (f *Fetcher) issuers(ctx context.Context, ends []*x509.Certificate, asked map[string]bool) (found []*x509.Certificate, errs []error) {
	for _, c := range ends {
		for _, u := range c.IssuingCertificateURL {
			if asked[u] || !fetchable(u) {
				continue
			}
			if len(asked) == maxIssuerFetches {
				return found, append(errs, fmt.Errorf("more than %d places to look for issuers", maxIssuerFetches))
			}
			asked[u] = true
			certs, err := f.fetchCerts(ctx, u)
			if err != nil {
				errs = append(errs, fmt.Errorf("issuer of %q: %w", c.Subject, err))
			}
			found = append(found, certs...)
		}
	}
	return found, errs
}
