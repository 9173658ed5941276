package demopki

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"sync"
	"time"

	"github.com/digitorus/timestamp"
)

// A Mode is how a server behaves.
type Mode string

// Ways of a TSA to fail and to lie; a client must refuse each one but Honest.
const (
	Honest         Mode = ""
	Down           Mode = "down"            // HTTP 503
	Slow           Mode = "slow"            // answers only when the client gives up
	Rejects        Mode = "rejects"         // PKIStatus rejection, timeNotAvailable
	Garbage        Mode = "garbage"         // bytes that are no response
	Huge           Mode = "huge"            // more than any client should read
	WrongType      Mode = "wrong-type"      // a sound response as text/html
	WrongNonce     Mode = "wrong-nonce"     // an old answer
	NoNonce        Mode = "no-nonce"        // a nonce that was sent is not returned
	WrongImprint   Mode = "wrong-imprint"   // a token for something else
	NoCertificate  Mode = "no-certificate"  // although certReq was set
	ExpiredCert    Mode = "expired-cert"    // the certificate ended before the token's time
	WrongEKU       Mode = "wrong-eku"       // timeStamping is not the only usage
	NotCriticalEKU Mode = "noncritical-eku" // the usage is not critical
	OtherRoot      Mode = "other-root"      // a certificate of somebody else's PKI
	BadSignature   Mode = "bad-signature"   // one bit of the signature is wrong
	WrongTime      Mode = "wrong-time"      // the clock is an hour ahead
	HugeToken      Mode = "huge-token"      // sound, but with a certificate of 80 KiB
)

// LargeToken is no lie: a certificate of 12 KiB, more than most tokens have.
const LargeToken Mode = "large-token"

// Policy is the policy identifier in all tokens. It lies under the arc for
// examples (ITU-T X.660, joint-iso-itu-t example 2.999).
var Policy = asn1.ObjectIdentifier{2, 999, 3161}

var oidClientAuth = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}

// A TSA is an RFC 3161 authority over HTTP (clause 3.4).
type TSA struct {
	pki   *PKI
	clock func() time.Time

	mu     sync.Mutex
	mode   Mode
	served int
}

// TSA returns the handler of a time-stamping authority whose tokens carry the
// time of clock.
func (p *PKI) TSA(clock func() time.Time) *TSA { return &TSA{pki: p, clock: clock} }

// SetMode changes the behaviour from the next request on.
func (t *TSA) SetMode(m Mode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mode = m
}

// Served is the number of requests that arrived.
func (t *TSA) Served() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.served
}

// ServeHTTP answers one request.
func (t *TSA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	mode := t.mode
	t.served++
	t.mu.Unlock()

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/timestamp-query" {
		http.Error(w, "POST an application/timestamp-query of at most 64 KiB", http.StatusBadRequest)
		return
	}
	kind := "application/timestamp-reply"
	switch mode {
	case Down:
		http.Error(w, "switched off", http.StatusServiceUnavailable)
		return
	case Slow:
		<-r.Context().Done()
		return
	case WrongType:
		kind = "text/html"
	}
	resp, err := t.respond(body, mode)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(resp) // the client may have gone
}

// respond makes a TimeStampResp.
func (t *TSA) respond(query []byte, mode Mode) ([]byte, error) {
	switch mode {
	case Garbage:
		return []byte("\x30\x82this is not a timestamp response"), nil
	case Huge:
		return make([]byte, 4<<20), nil
	case Rejects:
		return timestamp.CreateErrorResponse(timestamp.Rejection, timestamp.TimeNotAvailable)
	}
	req, err := timestamp.ParseRequest(query)
	if err != nil {
		return timestamp.CreateErrorResponse(timestamp.Rejection, timestamp.BadDataFormat)
	}
	if req.TSAPolicyOID != nil && !req.TSAPolicyOID.Equal(Policy) {
		return timestamp.CreateErrorResponse(timestamp.Rejection, timestamp.UnacceptedPolicy)
	}
	now := t.clock()
	if mode == WrongTime {
		now = now.Add(time.Hour)
	}
	signer, err := t.signer(now, mode)
	if err != nil {
		return nil, err
	}
	answer := timestamp.Timestamp{
		HashAlgorithm: req.HashAlgorithm, HashedMessage: req.HashedMessage, Nonce: req.Nonce,
		Time: now.UTC().Truncate(time.Second), Accuracy: time.Second, Policy: Policy,
		Certificates: signer.chain[1:], AddTSACertificate: req.Certificates && mode != NoCertificate,
	}
	switch mode {
	case WrongNonce:
		if req.Nonce != nil {
			answer.Nonce = new(big.Int).Add(req.Nonce, big.NewInt(1))
		}
	case NoNonce:
		answer.Nonce = nil
	case WrongImprint:
		answer.HashedMessage[0] ^= 1
	}
	resp, err := answer.CreateResponseWithOpts(signer.certificate(), signer.key, crypto.SHA256)
	if err == nil {
		resp, err = dated(resp, now, signer)
	}
	if err == nil && mode == BadSignature {
		resp[len(resp)-1] ^= 1 // the last bytes are the signature value
	}
	return resp, err
}

// signer returns the identity that mode signs with.
func (t *TSA) signer(now time.Time, mode Mode) (*Identity, error) {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "DEMO timestamps, " + string(mode)}}
	o := order{template: template, issuer: t.pki.Root, valid: span{now, year}}
	switch mode {
	case ExpiredCert:
		o.valid = span{now.Add(-48 * time.Hour), 24 * time.Hour}
		return t.pki.issueTSA(o)
	case WrongEKU:
		return t.pki.issueTSA(o, oidClientAuth)
	case NotCriticalEKU:
		template.KeyUsage = x509.KeyUsageDigitalSignature
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping} // crypto/x509 never marks it critical
		return t.pki.issue(o)
	case LargeToken, HugeToken: // an extension that says nothing
		size := 12 << 10
		if mode == HugeToken {
			size = 80 << 10
		}
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 999, 1}, Value: make([]byte, size)}}
		return t.pki.issueTSA(o)
	case OtherRoot:
		other, err := New(now, "stranger")
		if err != nil {
			return nil, err
		}
		return other.Timestamps, nil
	}
	return t.pki.timestamps(now)
}
