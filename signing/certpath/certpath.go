// Package certpath finds the path from a signer's certificate to a trust anchor and checks
// it at a given time, as RFC 5280 clause 6 says: signatures, names, validity, basic
// constraints and path lengths, key usages, extended key usages, name constraints. It
// asks nobody about revocation.
//
// The candidates come from foreign documents, so the search is bounded in certificates,
// depth and signatures checked, and its result does not depend on their order.
//
// The package gets bytes and times as arguments; it does no I/O and reads no clock.
package certpath

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"countersign/signing/cms"
)

// Limits of the search.
const (
	MaxPool   = 256 // certificates that are looked at
	MaxDepth  = 10  // certificates in a path, the anchor included
	MaxPaths  = 4   // paths returned
	maxChecks = 128 // signatures checked
)

// Why there is no path.
var (
	// ErrUsage: the certificate may not be used for this.
	ErrUsage = errors.New("not a certificate for this purpose")
	// ErrPath: there are paths, and none of them holds.
	ErrPath = errors.New("no path holds")
)

// A MissingError says that the search ended at certificates whose issuers are not known.
type MissingError struct {
	Ends []*x509.Certificate // whose issuers are missing, or that are roots nobody configured
}

func (e *MissingError) Error() string {
	if len(e.Ends) == 0 {
		return "no issuer found"
	}
	c := e.Ends[0]
	if bytes.Equal(c.RawSubject, c.RawIssuer) {
		return fmt.Sprintf("the path ends at %q, which is not among the configured roots; configure it if you trust it", c.Subject)
	}
	return fmt.Sprintf("the certificate of %q, issuer of %q, is missing; give it with the key's chain or as a root", c.Issuer, c.Subject)
}

// A Request says what path is wanted.
type Request struct {
	Leaf  *x509.Certificate
	Pool  []*x509.Certificate // whatever may help, trusted for nothing
	Roots []*x509.Certificate // trust anchors; nil: any self-signed certificate of the pool ends a path
	At    time.Time           // when all certificates of the path must be valid
	// TimeStamping asks for a certificate of a time-stamping authority, else it is
	// one that signs documents.
	TimeStamping bool
}

// A Path begins with the leaf and ends with the anchor. If the leaf is an anchor itself it
// has one certificate.
type Path struct {
	Certs    []*x509.Certificate
	Anchored bool // it ends at one of Request.Roots
}

// Build returns the paths that hold, at most [MaxPaths], the shortest first. The error is a
// [*MissingError] if an issuer is missing, or wraps [ErrUsage] or [ErrPath].
func Build(r Request) ([]Path, error) {
	if r.Leaf == nil {
		return nil, errors.New("certificate path: no certificate")
	}
	if err := checkLeaf(r); err != nil {
		return nil, fmt.Errorf("certificate of %q: %w", r.Leaf.Subject, err)
	}
	s := search{req: r, pool: candidates(r)}
	s.from([]*x509.Certificate{r.Leaf})
	if len(s.found) == 0 {
		if len(s.faults) > 0 {
			return nil, fmt.Errorf("certificate of %q: %w: %w", r.Leaf.Subject, ErrPath, errors.Join(s.faults...))
		}
		return nil, fmt.Errorf("certificate of %q: %w", r.Leaf.Subject, &MissingError{s.ends})
	}
	slices.SortStableFunc(s.found, func(a, b Path) int { return cmp.Compare(len(a.Certs), len(b.Certs)) })
	return s.found[:min(len(s.found), MaxPaths)], nil
}

// candidates joins roots and pool, each certificate once, in an order of their own: roots
// first, then the youngest. Keys made to cost time are left out.
func candidates(r Request) []*x509.Certificate {
	all := slices.Clone(r.Pool)
	slices.SortStableFunc(all, func(a, b *x509.Certificate) int {
		return cmp.Or(b.NotBefore.Compare(a.NotBefore), bytes.Compare(a.Raw, b.Raw))
	})
	all = slices.Concat(r.Roots, all)
	var out []*x509.Certificate
	seen := map[string]bool{}
	for _, c := range all {
		if c != nil && !seen[string(c.Raw)] && len(out) < MaxPool && cms.CheckKeySize(c.PublicKey) == nil {
			seen[string(c.Raw)] = true
			out = append(out, c)
		}
	}
	return out
}

// A search walks from the leaf upwards, depth first.
type search struct {
	req    Request
	pool   []*x509.Certificate
	checks int
	found  []Path
	faults []error
	ends   []*x509.Certificate
}

func (s *search) from(path []*x509.Certificate) {
	last := path[len(path)-1]
	if isRoot := contains(s.req.Roots, last); isRoot || s.req.Roots == nil && selfIssued(last) {
		if isRoot || last.CheckSignature(last.SignatureAlgorithm, last.RawTBSCertificate, last.Signature) == nil {
			s.finish(path, isRoot)
			return
		}
	}
	further := false
	for _, c := range s.pool {
		if len(s.found) >= MaxPaths*2 || len(path) >= MaxDepth || !mayIssue(c, last) || onPath(path, c) {
			continue
		}
		if s.checks++; s.checks > maxChecks {
			return
		}
		if err := last.CheckSignatureFrom(c); err != nil {
			continue // a namesake with another key, or no CA: not its issuer
		}
		further = true
		s.from(append(slices.Clone(path), c))
	}
	if !further && len(s.ends) < MaxPaths*2 && !contains(s.ends, last) {
		s.ends = append(s.ends, last)
	}
}

// mayIssue compares names and key identifiers (RFC 5280 clauses 4.1.2.4 and 4.2.1.1).
func mayIssue(issuer, c *x509.Certificate) bool {
	if !bytes.Equal(issuer.RawSubject, c.RawIssuer) {
		return false
	}
	return len(c.AuthorityKeyId) == 0 || len(issuer.SubjectKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, issuer.SubjectKeyId)
}

// onPath says whether a CA, by name and key, is on the path already: cross certificates
// would otherwise lead in circles.
func onPath(path []*x509.Certificate, c *x509.Certificate) bool {
	return slices.ContainsFunc(path, func(p *x509.Certificate) bool {
		return bytes.Equal(p.RawSubject, c.RawSubject) && bytes.Equal(p.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo)
	})
}

// finish has crypto/x509 check the path from end to end.
func (s *search) finish(path []*x509.Certificate, anchored bool) {
	if err := s.check(path); err != nil {
		if len(s.faults) < MaxPaths {
			s.faults = append(s.faults, err)
		}
		return
	}
	s.found = append(s.found, Path{Certs: path, Anchored: anchored})
}

func (s *search) check(path []*x509.Certificate) error {
	if len(path) == 1 { // an anchor that signs: nothing but its time is left to check
		return validAt(path[0], s.req.At)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(path[len(path)-1])
	for _, c := range path[1 : len(path)-1] {
		between.AddCert(c)
	}
	usage := x509.ExtKeyUsageAny
	if s.req.TimeStamping {
		usage = x509.ExtKeyUsageTimeStamping
	}
	_, err := path[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: s.req.At, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return err
	}
	if !s.req.TimeStamping && !usagesNest(path) {
		return errors.New("a CA of the path is restricted to other extended key usages")
	}
	return nil
}

func validAt(c *x509.Certificate, at time.Time) error {
	if at.Before(c.NotBefore) || at.After(c.NotAfter) {
		return fmt.Errorf("%q holds from %s to %s, not at %s", c.Subject, c.NotBefore.UTC().Format(time.RFC3339),
			c.NotAfter.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	}
	return nil
}

var oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}

// checkLeaf checks what the certificate says about its own use.
func checkLeaf(r Request) error {
	c := r.Leaf
	if err := cms.CheckKeySize(c.PublicKey); err != nil {
		return err
	}
	no := func(what string) error { return fmt.Errorf("%s: %w", what, ErrUsage) }
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return no("key usage does not allow signatures")
	}
	usages := usagesOf(c)
	if !r.TimeStamping {
		for _, other := range []string{"timeStamping", "OCSPSigning"} {
			if len(usages) == 1 && usages[other] {
				return no("extended key usage is " + other + " alone")
			}
		}
		return nil
	}
	// RFC 3161 clause 2.3: critical, and the only one.
	critical := slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidExtKeyUsage) && e.Critical })
	switch {
	case !critical:
		return no("extended key usage is not critical")
	case len(usages) != 1 || !usages["timeStamping"]:
		return no("extended key usage is not timeStamping alone")
	}
	return nil
}

// usagesNest says whether some extended key usage of the leaf is allowed by every CA of
// the path that restricts them (the common reading of RFC 5280 clause 4.2.1.12). The
// anchor restricts nothing.
func usagesNest(path []*x509.Certificate) bool {
	allowed := usagesOf(path[0])
	for _, c := range path[1 : len(path)-1] {
		of := usagesOf(c)
		switch {
		case of == nil || of["any"]:
		case allowed == nil || allowed["any"]:
			allowed = of
		default:
			for u := range allowed {
				if !of[u] {
					delete(allowed, u)
				}
			}
			if len(allowed) == 0 {
				return false
			}
		}
	}
	return true
}

// usagesOf returns the extended key usages of a certificate, nil if it has none.
func usagesOf(c *x509.Certificate) map[string]bool {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		return nil
	}
	out := map[string]bool{}
	for _, u := range c.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageAny:
			out["any"] = true
		case x509.ExtKeyUsageTimeStamping:
			out["timeStamping"] = true
		case x509.ExtKeyUsageOCSPSigning:
			out["OCSPSigning"] = true
		default:
			out[fmt.Sprintf("usage %d", u)] = true
		}
	}
	for _, u := range c.UnknownExtKeyUsage {
		out[u.String()] = true
	}
	return out
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

func contains(list []*x509.Certificate, c *x509.Certificate) bool {
	return slices.ContainsFunc(list, func(x *x509.Certificate) bool { return x != nil && x.Equal(c) })
}
