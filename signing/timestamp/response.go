package timestamp

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"countersign/signing/cms"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrMismatch: a sound token, but not for this request.
var ErrMismatch = errors.New("the token does not answer the request")

// A StatusError is a TSA that says no (RFC 3161 clause 2.4.2).
type StatusError struct {
	Status  int    // PKIStatus: 2 rejection, 3 waiting, 4 and 5 revocation
	Failure int    // number of the PKIFailureInfo bit, -1 if none was given
	Text    string // what the TSA wrote, printable characters only
}

var failures = map[int]string{
	0: "algorithm not supported", 2: "bad request", 5: "bad data format", 14: "time source not available",
	15: "policy not supported", 16: "extension not supported", 17: "additional information not available", 25: "system failure",
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("the authority refused with status %d", e.Status)
	if e.Failure >= 0 {
		s += fmt.Sprintf(", failure %d (%s)", e.Failure, failures[e.Failure])
	}
	if e.Text != "" {
		s += fmt.Sprintf(", saying %q", e.Text)
	}
	return s
}

// CheckResponse reads a TimeStampResp and returns its token if it is granted
// and answers req: same digest and hash, same nonce, the policy asked for, a
// signature by an algorithm still considered safe, and, where roots is not nil,
// a certificate that chains to one of them at the time of the token. Errors
// wrap [*StatusError], [ErrMismatch], [ErrCertificate] or an error of package cms.
func CheckResponse(der []byte, req Request, roots *x509.CertPool) (Token, error) {
	if err := req.check(); err != nil {
		return Token{}, err
	}
	raw, err := readResponse(der)
	if err != nil {
		return Token{}, fmt.Errorf("timestamp response: %w", err)
	}
	t, err := ParseToken(raw)
	if err != nil {
		return Token{}, err
	}
	if err := t.answers(req); err != nil {
		return Token{}, fmt.Errorf("timestamp response: %w", err)
	}
	if t.Weak != nil {
		return Token{}, fmt.Errorf("timestamp response: %w", t.Weak)
	}
	if roots != nil {
		if err := t.VerifyChain(roots); err != nil {
			return Token{}, err
		}
	}
	return t, nil
}

func (t Token) answers(req Request) error {
	switch {
	case t.Hash != req.Hash || !bytes.Equal(t.Digest, req.Digest):
		return fmt.Errorf("stamped another digest than the one sent: %w", ErrMismatch)
	case t.Nonce == nil || t.Nonce.Cmp(req.Nonce) != 0:
		return fmt.Errorf("another nonce than the one sent, perhaps an old answer: %w", ErrMismatch)
	case req.Policy != nil && !t.Policy.Equal(req.Policy):
		return fmt.Errorf("issued under policy %v, %v was asked for: %w", t.Policy, req.Policy, ErrMismatch)
	}
	return nil
}

// readResponse returns the DER of the token inside a TimeStampResp.
func readResponse(der []byte) ([]byte, error) {
	if err := cms.Guard(der); err != nil {
		return nil, err
	}
	var resp, info, token cryptobyte.String
	status := StatusError{Failure: -1}
	s := cryptobyte.String(der)
	if !s.ReadASN1(&resp, casn1.SEQUENCE) || !resp.ReadASN1(&info, casn1.SEQUENCE) || !info.ReadASN1Integer(&status.Status) {
		return nil, malformed("PKIStatusInfo")
	}
	if status.Status != 0 && status.Status != 1 { // granted, granted with modifications
		if err := status.read(info); err != nil {
			return nil, err
		}
		return nil, &status
	}
	if !resp.ReadASN1Element(&token, casn1.SEQUENCE) || !resp.Empty() {
		return nil, malformed("granted, but without a token")
	}
	return token, nil
}

// read takes statusString and failInfo, both optional.
func (e *StatusError) read(info cryptobyte.String) error {
	var texts, text cryptobyte.String
	if !info.ReadOptionalASN1(&texts, nil, casn1.SEQUENCE) {
		return malformed("statusString")
	}
	var words []string
	for !texts.Empty() {
		if !texts.ReadASN1(&text, casn1.UTF8String) {
			return malformed("statusString")
		}
		words = append(words, string(text))
	}
	e.Text = printable(strings.Join(words, "; "))
	if info.Empty() {
		return nil
	}
	var bits asn1.BitString
	if !info.ReadASN1BitString(&bits) {
		return malformed("failInfo")
	}
	for i := range bits.BitLength {
		if bits.At(i) != 0 {
			e.Failure = i
			break
		}
	}
	return nil
}

// printable makes foreign text safe for a log line: at most 200 characters.
func printable(s string) string {
	n := 0
	return strings.Map(func(r rune) rune {
		if n++; n > 200 || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

func malformed(what string) error { return fmt.Errorf("%s: %w", what, cms.ErrEncoding) }
