package evidence

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"countersign/signing/certpath"
	"countersign/signing/cms"
	"countersign/signing/revocation"
)

// A proof is what shows one certificate to be good.
type proof struct {
	ocsp, crl []byte // one of them
	answer    revocation.Answer
	also      *proof // a list that is at hand beside the OCSP response
	older     *proof // a stored one that has run out, and is wanted still
}

func (p proof) addTo(d *revocation.Data) {
	if p.ocsp != nil {
		d.Add(revocation.Data{OCSPs: [][]byte{p.ocsp}})
	}
	if p.crl != nil {
		d.Add(revocation.Data{CRLs: [][]byte{p.crl}})
	}
	if r := p.answer.Responder; r != nil {
		d.Add(revocation.Data{Certs: [][]byte{r.Raw}})
	}
	for _, more := range []*proof{p.also, p.older} {
		if more != nil {
			more.addTo(d)
		}
	}
}

// prove gathers for every certificate of a path but the anchor, the signer's own first: a
// validator of later years goes from the anchor down and from the youngest answer back
// (EN 319 102-1 clause 5.6.2.2), so that of a CA must not be older than that of what it issued.
func (f *Fetcher) prove(ctx context.Context, s revocation.Subject, p certpath.Path, known revocation.Data) (revocation.Data, error) {
	var out revocation.Data
	for _, c := range p.Certs {
		out.Add(revocation.Data{Certs: [][]byte{c.Raw}})
	}
	for i := range len(p.Certs) - 1 {
		use := revocation.Use{Cert: p.Certs[i], Issuer: p.Certs[i+1], At: s.At}
		if err := f.proveOne(ctx, use, i > 0, known, &out); err != nil {
			return out, f.explain(err, s, p.Certs[i])
		}
	}
	return out, nil
}

// proveOne adds the proof of one certificate, and of the responder that gave it. lax
// takes an older answer if there is no newer one.
func (f *Fetcher) proveOne(ctx context.Context, use revocation.Use, lax bool, known revocation.Data, out *revocation.Data) error {
	for depth := 0; ; depth++ {
		p, err := f.find(ctx, use, known)
		if older, ok := errors.AsType[*olderError](err); ok && lax && older.best != nil {
			p, err = *older.best, nil
		}
		if err != nil {
			return err
		}
		p.addTo(out)
		r := p.answer.Responder
		if r == nil || p.answer.NoCheck || revocation.Exempt(r) {
			return nil
		}
		if depth == 2 {
			return fmt.Errorf("the responder %q is vouched for by responders without end", r.Subject)
		}
		use, lax = revocation.Use{Cert: r, Issuer: use.Issuer, At: p.answer.ProducedAt}, true
	}
}

// An olderError collects what was found that is too old, and the best of it that would do
// for a CA.
type olderError struct {
	best   *proof
	asked  bool      // somebody was asked just now and had nothing newer
	newest time.Time // thisUpdate of the newest
	next   time.Time // the earliest nextUpdate; zero if unknown
	errs   []error
}

func (e *olderError) Error() string { return errors.Join(e.errs...).Error() }

func (e *olderError) Unwrap() []error { return e.errs }

// A finder tries answers about one use, from the nearest place to the farthest.
type finder struct {
	f     *Fetcher
	use   revocation.Use
	older olderError
	bad   []error
}

// find returns the first good answer: from what is stored, from a local source, from the
// cache, from the network; OCSP first. A stored answer that has run out, though its
// certificate has not, is good enough and yet joined by a newer one if that is to be had: a
// validator that trusts no old answer about a certificate in force (pyHanko) wants one. A
// certificate about which nobody tells, by its own words, needs none, and gets one if a
// local source has it, if need be a second later.
func (f *Fetcher) find(ctx context.Context, use revocation.Use, known revocation.Data) (proof, error) {
	use.Now = f.opts.Now()
	n := &finder{f: f, use: use}
	use.Stored = true
	old, err := n.both(known, use)
	if err != nil || old != nil && !n.ranOut(old) {
		return deref(old), err
	}
	p, err := n.elsewhere(ctx)
	switch {
	case old != nil && (p == nil || err != nil):
		return *old, nil
	case p != nil || err != nil:
		q := deref(p)
		q.older = old
		return q, err
	case revocation.Exempt(use.Cert) && !n.older.asked:
		return proof{}, nil
	}
	return proof{}, n.failure()
}

// ranOut: the answer is too old to tell of now, at which the certificate still holds.
func (n *finder) ranOut(p *proof) bool {
	next := p.answer.NextUpdate
	return !next.IsZero() && next.Before(n.use.Now) && n.use.Now.Before(n.use.Cert.NotAfter)
}

// elsewhere asks the local sources, then cache and network.
func (n *finder) elsewhere(ctx context.Context) (*proof, error) {
	for _, source := range n.f.opts.Sources {
		data, err := source(ctx, n.use.Cert, n.use.Issuer, n.use.At)
		if err != nil {
			n.bad = append(n.bad, fmt.Errorf("local source: %w", err))
			continue
		}
		if p, err := n.both(data, n.use); p != nil || err != nil {
			return p, err
		}
	}
	if revocation.Exempt(n.use.Cert) {
		return nil, nil //nolint:nilnil // it needs none
	}
	return n.network(ctx)
}

func deref(p *proof) proof {
	if p == nil {
		return proof{}
	}
	return *p
}

// failure says why nothing was good enough.
func (n *finder) failure() error {
	if len(n.older.errs) > 0 {
		n.older.asked = n.older.asked || len(n.bad) == 0
		n.older.errs = append(n.older.errs, n.bad...)
		return &n.older
	}
	if len(n.bad) == 0 {
		return errors.New("it names no OCSP responder or revocation list that can be fetched over http, and none is at hand")
	}
	return errors.Join(n.bad...)
}

// both takes an OCSP response and a list, if both are at hand: whoever put them there did so
// as some validators heed only the one or the other, as keys/ca tells.
func (n *finder) both(data revocation.Data, use revocation.Use) (*proof, error) {
	p, err := n.among(data, use)
	if p == nil || p.ocsp == nil || err != nil {
		return p, err
	}
	p.also, err = n.among(revocation.Data{CRLs: data.CRLs}, use)
	return p, err
}

// among tries data at hand. Only bad news comes back as an error.
func (n *finder) among(data revocation.Data, use revocation.Use) (*proof, error) {
	for _, der := range data.OCSPs {
		if p, err := n.try(proof{ocsp: der}, use); p != nil || errors.Is(err, ErrRevoked) {
			return p, err
		}
	}
	for _, der := range data.CRLs {
		if p, err := n.try(proof{crl: der}, use); p != nil || errors.Is(err, ErrRevoked) {
			return p, err
		}
	}
	return nil, nil //nolint:nilnil // nothing found is no error
}

// try checks one answer.
func (n *finder) try(p proof, use revocation.Use) (*proof, error) {
	check := func(u revocation.Use) (err error) {
		if p.ocsp != nil {
			p.answer, err = revocation.CheckOCSP(p.ocsp, u)
		} else {
			p.answer, err = revocation.CheckCRL(p.crl, u)
		}
		return err
	}
	err := check(use)
	if err == nil {
		return &p, nil
	}
	older, ok := errors.AsType[*revocation.OlderError](err)
	if !ok {
		return nil, err
	}
	n.older.errs = append(n.older.errs, err)
	n.older.asked = n.older.asked || !use.Stored
	if older.ThisUpdate.After(n.older.newest) {
		n.older.newest = older.ThisUpdate
	}
	if next := older.NextUpdate; !next.IsZero() && (n.older.next.IsZero() || next.Before(n.older.next)) {
		n.older.next = next
	}
	use.Lax = true
	if check(use) == nil && (n.older.best == nil || p.answer.ThisUpdate.After(n.older.best.answer.ThisUpdate)) {
		best := p
		n.older.best = &best
	}
	return nil, err
}

// network asks the responders, then the list servers, that the certificate names.
func (n *finder) network(ctx context.Context) (*proof, error) {
	c := n.use.Cert
	for _, u := range fetchables(c.OCSPServer) {
		p, err := n.ocsp(ctx, u)
		if p != nil || errors.Is(err, ErrRevoked) {
			return p, err
		}
		n.note("OCSP responder", u, err)
	}
	for _, u := range fetchables(c.CRLDistributionPoints) {
		p, err := n.crl(ctx, u)
		if p != nil || errors.Is(err, ErrRevoked) {
			return p, err
		}
		n.note("revocation list", u, err)
	}
	return nil, nil //nolint:nilnil // failure tells
}

// note keeps an error that is not an OlderError, which try has kept.
func (n *finder) note(what, u string, err error) {
	if _, ok := errors.AsType[*revocation.OlderError](err); !ok {
		n.bad = append(n.bad, fmt.Errorf("%s %s: %w", what, redacted(u), err))
	}
}

func (n *finder) ocsp(ctx context.Context, u string) (*proof, error) {
	query, err := n.request()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(query)
	return n.ask(ctx, request{
		key:   "ocsp " + u + " " + string(sum[:]),
		query: queryOf(u, query), timeout: n.f.opts.Timeout,
		proof: func(der []byte) proof { return proof{ocsp: der} },
	})
}

// request builds the OCSP request. It has no nonce: the answer must be from after the use
// anyway, responders that answer from stock ignore it, and without it callers can share
// an answer.
func (n *finder) request() ([]byte, error) {
	return revocation.RequestOCSP(n.use.Cert, n.use.Issuer, nil)
}

func queryOf(u string, body []byte) query {
	return query{url: u, body: body, kind: "application/ocsp-request", max: revocation.MaxOCSP}
}

func (n *finder) crl(ctx context.Context, u string) (*proof, error) {
	return n.ask(ctx, request{
		key:   "crl " + u,
		query: query{url: u, max: n.f.opts.MaxCRL}, timeout: 6 * n.f.opts.Timeout,
		proof: func(der []byte) proof { return proof{crl: der} },
	})
}

// A request is an answer wanted from cache or network.
type request struct {
	key     string
	query   query
	timeout time.Duration
	proof   func(der []byte) proof
}

// ask takes an answer from the cache if that is good enough, or was fetched a moment ago;
// else from the network.
func (n *finder) ask(ctx context.Context, r request) (*proof, error) {
	kept, ok := n.f.cache.get(r.key, n.use.Now)
	if ok {
		p, err := n.try(r.proof(kept.der), n.use)
		if p != nil || errors.Is(err, ErrRevoked) || n.justAsked(kept, err) {
			return p, err
		}
	}
	der, err := n.f.cache.once(ctx, r.key, func(ctx context.Context) ([]byte, error) { return n.f.fetch(ctx, r.query, r.timeout) })
	if err != nil {
		return nil, err
	}
	if der, err = unPEM(der); err != nil {
		return nil, err
	}
	p, err := n.try(r.proof(der), n.use)
	n.keep(r, der, p, err)
	return p, err
}

// justAsked says whether an answer that is too old was fetched a moment ago from a server
// that answers from stock: asking again would bring the same.
func (n *finder) justAsked(kept entry, err error) bool {
	older, ok := errors.AsType[*revocation.OlderError](err)
	return ok && n.use.Now.Sub(kept.fetched) < refetch && kept.fetched.Sub(older.ThisUpdate) > refetch
}

// keep puts a sound answer into the cache, also one that is too old for this use.
func (n *finder) keep(r request, der []byte, p *proof, err error) {
	older, tooOld := errors.AsType[*revocation.OlderError](err)
	var until time.Time
	switch {
	case p != nil:
		until = p.answer.NextUpdate
	case tooOld:
		until = older.NextUpdate
	}
	if until.After(n.use.Now) {
		n.f.cache.put(entry{key: r.key, der: der, fetched: n.use.Now, until: until})
	}
}

// fetch runs one query, when there is room for it.
func (f *Fetcher) fetch(ctx context.Context, q query, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v", timeout))
	defer cancel()
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return f.get(ctx, q)
}

// fetchCerts fetches certificates in DER, in PEM, or in PKCS #7 (RFC 5280 clause 4.2.2.1).
func (f *Fetcher) fetchCerts(ctx context.Context, u string) ([]*x509.Certificate, error) {
	key := "cert " + u
	kept, ok := f.cache.get(key, f.opts.Now())
	if !ok {
		der, err := f.cache.once(ctx, key, func(ctx context.Context) ([]byte, error) {
			return f.fetch(ctx, query{url: u, max: maxCertBody}, f.opts.Timeout)
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", redacted(u), err)
		}
		now := f.opts.Now()
		kept = entry{key: key, der: der, fetched: now, until: now.Add(24 * time.Hour)}
	}
	certs, err := readCerts(kept.der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", redacted(u), err)
	}
	if !ok {
		f.cache.put(kept)
	}
	return certs, nil
}

func readCerts(b []byte) ([]*x509.Certificate, error) {
	if c, err := x509.ParseCertificate(b); err == nil {
		return []*x509.Certificate{c}, nil
	}
	if certs, err := cms.ParseCertificates(b); err == nil && len(certs) > 0 {
		return certs, nil
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(b); block != nil && len(out) < certpath.MaxPool; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in DER, PEM or PKCS #7")
	}
	return out, nil
}

// unPEM takes the PEM off a revocation list; some servers send it so, against RFC 5280
// clause 4.2.1.13.
func unPEM(b []byte) ([]byte, error) {
	if !strings.HasPrefix(string(b[:min(len(b), 16)]), "-----BEGIN ") {
		return b, nil
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("looks like PEM, and is not")
	}
	return block.Bytes, nil
}

func fetchable(u string) bool {
	scheme, _, _ := strings.Cut(u, ":")
	return strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")
}

// fetchables returns the URLs that can be asked; ldap is left out.
func fetchables(urls []string) []string {
	var out []string
	for _, u := range urls {
		if fetchable(u) && len(out) < maxURLsEach {
			out = append(out, u)
		}
	}
	return out
}

// explain says whose certificate it is, and turns answers that are too old into a time to
// try again.
func (f *Fetcher) explain(err error, s revocation.Subject, c *x509.Certificate) error {
	what := fmt.Sprintf("certificate of %q (serial number %x)", c.Subject, c.SerialNumber)
	older, ok := errors.AsType[*olderError](err)
	if !ok || !older.asked {
		return fmt.Errorf("%s: %w", what, err)
	}
	return &NotYetError{RetryAt: older.retry(s.At, f.opts.Now()), What: s.What + ": " + what, Err: err}
}

// retry says when there may be an answer from after the use.
func (e *olderError) retry(at, now time.Time) time.Time {
	if lag := now.Sub(e.newest); lag < refetch {
		// Made on request: by a clock behind that of the use, or in the same second.
		if at.After(now) {
			now = at
		}
		return now.Add(max(lag, 0)).Truncate(time.Second).Add(2 * time.Second)
	}
	retry := now.Add(retryLater)
	if !e.next.IsZero() && e.next.Before(retry) {
		retry = e.next
	}
	if soon := now.Add(refetch); retry.Before(soon) {
		retry = soon
	}
	return retry
}
