package revocation

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Tolerance is how far the clock of a responder may be ahead of ours, and how long after
// its nextUpdate an answer is still taken.
const Tolerance = 5 * time.Minute

// Why an answer proves nothing. Every error of this package wraps one of these, or is an
// [*OlderError] or a [*RevokedError].
var (
	ErrInvalid = errors.New("not a sound answer")                   // malformed, or not signed by whoever may
	ErrScope   = errors.New("says nothing about this certificate")  // about another one, or of a kind that is not used
	ErrUnknown = errors.New("the responder does not know or tell")  // status unknown, or an error status
	ErrStale   = errors.New("not of this time")                     // its nextUpdate is over, or it is from the future
	ErrEnded   = errors.New("from after the certificate's own end") // and its issuer does not say that it keeps what has ended
	ErrRevoked = errors.New("the certificate is revoked")
)

// An OlderError is a sound answer from before the time of use. A newer one is needed.
type OlderError struct {
	ThisUpdate, NextUpdate time.Time // NextUpdate is zero if the answer names none
	At                     time.Time // the use
}

func (e *OlderError) Error() string {
	return fmt.Sprintf("dated %s, before the use at %s: a newer answer is needed", stamp(e.ThisUpdate), stamp(e.At))
}

// A RevokedError says that a certificate was, or may have been, revoked when it was used.
// It is an [ErrRevoked].
type RevokedError struct {
	Serial *big.Int
	Name   string    // subject of the certificate
	At     time.Time // of the revocation
	Reason int       // CRLReason (RFC 5280 clause 5.3.1)
	Use    time.Time
	// Invalid is the invalidityDate (clause 5.3.2), zero if the issuer tells none.
	Invalid time.Time
}

func (e *RevokedError) Error() string {
	return fmt.Sprintf("the certificate of %q (serial number %x) was revoked at %s, reason %s; it was used at %s",
		e.Name, e.Serial, stamp(e.At), ReasonName(e.Reason), stamp(e.Use))
}

// Is makes it an [ErrRevoked].
func (e *RevokedError) Is(target error) bool { return target == ErrRevoked }

// A Use is a certificate that was used, and what an answer about it must prove.
type Use struct {
	Cert, Issuer *x509.Certificate
	// At is the proven time of the use.
	At time.Time
	// Now is when the answer is judged. An answer that has run out by then is stale,
	// unless it was stored, that is gathered in its time.
	Now    time.Time
	Stored bool
	// Lax takes an answer from before the use if it had not run out by then, as an
	// offline root gives. Only for a CA: see docs/decisions/009-revocation.md.
	Lax bool
	// Nonce is what was sent to the OCSP responder. Another one in the answer is refused;
	// none is taken, as most responders answer from stock.
	Nonce []byte
}

// An Answer is an OCSP response or a revocation list that proves a [Use] good.
type Answer struct {
	ThisUpdate, NextUpdate time.Time // NextUpdate is zero if an OCSP response has none
	ProducedAt             time.Time // OCSP only
	// Responder is the delegate that signed an OCSP response, nil if the issuer did. Its
	// own state must be proven too, at ProducedAt, unless NoCheck (RFC 6960 clause
	// 4.2.2.2.1).
	Responder *x509.Certificate
	NoCheck   bool
}

// A status is what an answer says about one certificate.
type status struct {
	this, next time.Time
	// keeps is from when on the issuer tells about certificates that have ended
	// (archiveCutoff, expiredCertsOnCRL); zero: it does not.
	keeps   time.Time
	revoked *RevokedError
}

// judge applies the rules of time (RFC 6960 clause 4.2.2.1, RFC 5280 clause 6.3.3, ETSI
// EN 319 102-1 clauses 5.2.5 and 5.6.2.2) and of revocation after the use.
func (u Use) judge(s status) error {
	switch {
	case s.this.After(u.Now.Add(Tolerance)):
		return fmt.Errorf("dated %s, now is %s; check both clocks: %w", stamp(s.this), stamp(u.Now), ErrStale)
	case !s.next.IsZero() && s.next.Before(s.this):
		return fmt.Errorf("ends %s before it begins %s: %w", stamp(s.next), stamp(s.this), ErrInvalid)
	case !u.Stored && !s.next.IsZero() && u.Now.After(s.next.Add(Tolerance)):
		return fmt.Errorf("ran out at %s: %w", stamp(s.next), ErrStale)
	}
	if s.revoked != nil { // whatever its date, bad news is believed
		if err := u.revoked(s.revoked); err != nil {
			return err
		}
	}
	until := s.this
	if u.Lax && !s.next.IsZero() {
		until = s.next
	}
	if until.Before(u.At) {
		return &OlderError{ThisUpdate: s.this, NextUpdate: s.next, At: u.At}
	}
	if end := u.Cert.NotAfter; s.this.After(end) && (s.keeps.IsZero() || s.keeps.After(end)) {
		return fmt.Errorf("dated %s, and the certificate of %q ended %s: %w", stamp(s.this), u.Cert.Subject, stamp(end), ErrEnded)
	}
	return nil
}

// revoked decides on a certificate that was revoked at some time. A use that is proven to
// lie before is good (EN 319 102-1 clause 5.6.2.3). But where the key may have been in
// other hands, that may have been so for a while before anybody noticed: then only
// an invalidityDate after the use tells that it was not.
func (u Use) revoked(r *RevokedError) error {
	r.Serial, r.Name, r.Use = u.Cert.SerialNumber, u.Cert.Subject.String(), u.At
	from := r.At
	if !r.Invalid.IsZero() && (r.Invalid.Before(from) || compromised(r.Reason)) {
		from = r.Invalid
	} else if compromised(r.Reason) {
		return r
	}
	if u.At.Before(from) && u.At.Before(r.At) {
		return nil
	}
	return r
}

func compromised(reason int) bool { return reason == 1 || reason == 2 || reason == 10 }

// ReasonName is the name of a CRLReason.
func ReasonName(reason int) string {
	names := map[int]string{
		0: "unspecified", 1: "keyCompromise", 2: "cACompromise", 3: "affiliationChanged", 4: "superseded",
		5: "cessationOfOperation", 6: "certificateHold", 8: "removeFromCRL", 9: "privilegeWithdrawn", 10: "aACompromise",
	}
	if name, ok := names[reason]; ok {
		return name
	}
	return fmt.Sprintf("number %d", reason)
}

var (
	oidNoRevAvail = asn1.ObjectIdentifier{2, 5, 29, 56}
	oidShortTerm  = asn1.ObjectIdentifier{0, 4, 0, 194121, 2, 1}
)

// Exempt says whether nobody tells about the revocation of a certificate, by its own words: it
// has noRevAvail (RFC 9608) or is of validity-assured short term (ETSI EN 319 412-1
// clause 5.2.2), is no CA, and names neither responder nor list.
func Exempt(c *x509.Certificate) bool {
	if c.IsCA || len(c.OCSPServer) > 0 || len(c.CRLDistributionPoints) > 0 {
		return false
	}
	for _, e := range c.Extensions {
		if e.Id.Equal(oidNoRevAvail) || e.Id.Equal(oidShortTerm) {
			return true
		}
	}
	return false
}

func (u Use) check() error {
	if u.Cert == nil || u.Issuer == nil || u.At.IsZero() || u.Now.IsZero() {
		return errors.New("revocation: certificate, issuer, time of use and of judging are needed")
	}
	if !bytes.Equal(u.Cert.RawIssuer, u.Issuer.RawSubject) {
		return fmt.Errorf("revocation: the certificate of %q was not issued by %q", u.Cert.Subject, u.Issuer.Subject)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func malformed(what string) error { return fmt.Errorf("%s: malformed: %w", what, ErrInvalid) }
