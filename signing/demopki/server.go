package demopki

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Paths of a [Server].
const (
	pathTSA    = "/tsa"
	pathOCSP   = "/ocsp"
	pathCRL    = "/crl/"
	pathIssuer = "/ca/"
)

// Ways of responders and of list and certificate servers to fail and to lie, beside
// [Down], [Slow], [Garbage] and [Huge]. A client must refuse each one.
const (
	Stale            Mode = "stale"             // nextUpdate is over
	Future           Mode = "future"            // thisUpdate is tomorrow
	Old              Mode = "old"               // from a day ago, and still not run out
	Unknown          Mode = "unknown"           // status unknown
	Revoked          Mode = "revoked"           // whatever is asked for, since an hour
	TryLater         Mode = "try-later"         // an OCSP error status
	WrongSerial      Mode = "wrong-serial"      // an answer about another certificate
	WrongIssuer      Mode = "wrong-issuer"      // about the same number of another CA; a list of another CA
	WrongNonceOCSP   Mode = "wrong-nonce-ocsp"  // an old answer
	NotAResponder    Mode = "not-a-responder"   // signed by an end entity of the CA
	ForeignResponder Mode = "foreign-responder" // by a delegate of another CA
	ExpiredResponder Mode = "expired-responder" // by a delegate that ended yesterday
	Namesake         Mode = "namesake"          // by a CA of the same name with another key
	CriticalExt      Mode = "critical-ext"      // with a critical extension that nobody knows
	Delta            Mode = "delta"             // a delta list
	Indirect         Mode = "indirect"          // an indirect list
	OtherScope       Mode = "other-scope"       // a list for attribute certificates
	OtherPoint       Mode = "other-point"       // a list for another distribution point
	Checked          Mode = "checked"           // no lie: the responder's own certificate must be checked, by the list
	RedirectFile     Mode = "redirect-file"     // to file:///etc/passwd
	RedirectLoopback Mode = "redirect-loopback" // to port 1 of [::1]
	RedirectPrivate  Mode = "redirect-private"  // to 10.0.0.1
	RedirectLoop     Mode = "redirect-loop"     // to itself
)

// Services of a [Server], for [Server.SetMode].
const (
	OCSP   = "ocsp"
	CRL    = "crl"
	Issuer = "ca"
)

// URLs are what a certificate says about the services of its issuer.
type URLs struct{ OCSP, CRL, Issuer []string }

// URLsOf returns the URLs for certificates issued by p.Root or p.CA; none if the PKI was
// made without one.
func (p *PKI) URLsOf(issuer *Identity) URLs {
	if p.url == "" || issuer == nil {
		return URLs{}
	}
	name := "root"
	if issuer == p.CA {
		name = "ca"
	}
	return URLs{
		OCSP: []string{p.url + pathOCSP}, CRL: []string{p.url + pathCRL + name + ".crl"},
		Issuer: []string{p.url + pathIssuer + name + ".crt"},
	}
}

// A Server is an HTTP handler for all services of a PKI:
//
//	/tsa           time-stamping authority (RFC 3161)
//	/ocsp          OCSP responder (RFC 6960), POST and GET, by a delegate of each CA
//	/crl/NAME.crl  revocation lists of root and ca (RFC 5280)
//	/ca/NAME.crt   their certificates (caIssuers)
//
// Answers carry the time of its clock and last a day, lists a week.
type Server struct {
	TSA *TSA

	pki   *PKI
	clock func() time.Time

	mu        sync.Mutex
	modes     map[string]Mode
	served    map[string]int
	revoked   map[string]withdrawal // by serial number
	delegates map[*Identity]*Identity
}

type withdrawal struct {
	at     time.Time
	reason int
}

// Server returns the services of the PKI under a clock.
func (p *PKI) Server(clock func() time.Time) *Server {
	return &Server{
		TSA: p.TSA(clock), pki: p, clock: clock,
		modes: map[string]Mode{}, served: map[string]int{}, revoked: map[string]withdrawal{}, delegates: map[*Identity]*Identity{},
	}
}

// SetMode changes how a service ([OCSP], [CRL] or [Issuer]) behaves from now on.
func (s *Server) SetMode(service string, m Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.modes[service] = m
}

// Revoke marks a certificate as revoked at a time, with a CRLReason.
func (s *Server) Revoke(c *x509.Certificate, at time.Time, reason int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked[c.SerialNumber.String()] = withdrawal{at, reason}
}

// Served is the number of requests for a service that arrived.
func (s *Server) Served(service string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served[service]
}

// revocationOf returns when and why a certificate was revoked, nil if it was not.
func (s *Server) revocationOf(serial *big.Int) *withdrawal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.modes[OCSP] == Revoked || s.modes[CRL] == Revoked {
		return &withdrawal{s.clock().Add(-time.Hour), 1}
	}
	if r, ok := s.revoked[serial.String()]; ok {
		return &r
	}
	return nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == pathTSA:
		s.TSA.ServeHTTP(w, r)
	case path == pathOCSP || strings.HasPrefix(path, pathOCSP+"/"):
		s.serve(w, r, OCSP)
	case strings.HasPrefix(path, pathCRL):
		s.serve(w, r, CRL)
	case strings.HasPrefix(path, pathIssuer):
		s.serve(w, r, Issuer)
	default:
		http.NotFound(w, r)
	}
}

var errNotFound = errors.New("there is nothing here")

func (s *Server) serve(w http.ResponseWriter, r *http.Request, service string) {
	s.mu.Lock()
	mode := s.modes[service]
	s.served[service]++
	s.mu.Unlock()
	if misbehave(w, r, mode) {
		return
	}
	kinds := map[string]string{OCSP: "application/ocsp-response", CRL: "application/pkix-crl", Issuer: "application/pkix-cert"}
	der, err := s.answer(w, r, service, mode)
	switch {
	case errors.Is(err, errNotFound):
		http.NotFound(w, r)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", kinds[service])
		_, _ = w.Write(der) // the client may have gone
	}
}

// misbehave plays the modes that are not about the answer's content.
func misbehave(w http.ResponseWriter, r *http.Request, mode Mode) bool {
	targets := map[Mode]string{
		RedirectFile: "file:///etc/passwd", RedirectLoopback: "http://[::1]:1/x", RedirectPrivate: "http://10.0.0.1/x", RedirectLoop: r.URL.Path,
	}
	switch mode {
	case Down:
		http.Error(w, "switched off", http.StatusServiceUnavailable)
	case Slow:
		_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client has gone
		<-r.Context().Done()
	case Garbage:
		_, _ = w.Write([]byte("\x30\x82this is nothing"))
	case Huge:
		for block := make([]byte, 1<<20); ; { // for ever
			if _, err := w.Write(block); err != nil {
				return true
			}
		}
	case RedirectFile, RedirectLoopback, RedirectPrivate, RedirectLoop:
		http.Redirect(w, r, targets[mode], http.StatusTemporaryRedirect)
	default:
		return false
	}
	return true
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, service string, mode Mode) ([]byte, error) {
	switch service {
	case OCSP:
		query, err := ocspQuery(w, r)
		if err != nil {
			return nil, err
		}
		return s.respond(query, mode)
	case CRL:
		issuer, err := s.pki.named(r.URL.Path, pathCRL, ".crl")
		if err != nil {
			return nil, err
		}
		return s.list(issuer, mode)
	default:
		issuer, err := s.pki.named(r.URL.Path, pathIssuer, ".crt")
		if err != nil {
			return nil, err
		}
		return issuer.certificate().Raw, nil
	}
}

// ocspQuery returns the request, from the body or from the path (RFC 6960 appendix A.1).
func ocspQuery(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Method == http.MethodPost {
		return io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	}
	text, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), pathOCSP+"/"))
	if err != nil {
		return nil, errNotFound
	}
	query, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errNotFound
	}
	return query, nil
}

// named returns the CA that a path means.
func (p *PKI) named(path, prefix, suffix string) (*Identity, error) {
	switch strings.TrimSuffix(strings.TrimPrefix(path, prefix), suffix) {
	case "root":
		return p.Root, nil
	case "ca":
		return p.CA, nil
	}
	return nil, errNotFound
}
