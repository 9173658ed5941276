// Package revocation says what proves that a certificate was good when it signed: its
// path and the OCSP responses and revocation lists along it (RFC 6960, RFC 5280 clause 6.3,
// ETSI EN 319 102-1 clause 5.2.5).
//
// It sees bytes and times only; package evidence fetches.
package revocation

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"
)

// Data is the validation data that goes into a Document Security Store (ETSI EN
// 319 142-1 clause 5.4.2), all in DER: certificates, OCSPResponses and
// CertificateLists, in no order, each once.
type Data struct {
	Certs [][]byte `json:"certs,omitempty"`
	OCSPs [][]byte `json:"ocsps,omitempty"`
	CRLs  [][]byte `json:"crls,omitempty"`
}

// Add adds what is not there yet.
func (d *Data) Add(more Data) {
	d.Certs = addNew(d.Certs, more.Certs)
	d.OCSPs = addNew(d.OCSPs, more.OCSPs)
	d.CRLs = addNew(d.CRLs, more.CRLs)
}

func addNew(have, more [][]byte) [][]byte {
	for _, m := range more {
		if !slices.ContainsFunc(have, func(h []byte) bool { return bytes.Equal(h, m) }) {
			have = append(have, m)
		}
	}
	return have
}

// A Subject is the holder of a certificate that signed something: a signer, or a
// time-stamping authority.
type Subject struct {
	What string // for messages: `the signature in field "Seal"`
	// Certs are the signer's certificate, then whatever else came with the
	// signature, in no particular order.
	Certs []*x509.Certificate
	// At is the proven time of the use: that of the timestamp over the signature, or
	// of the timestamp itself. What shows the signer's own certificate to be good must be
	// dated no earlier.
	At time.Time
	// TimeStamping tells a time-stamping authority from a signer.
	TimeStamping bool
	// Current asks for answers that hold now, not only when they were stored. The timestamp
	// that comes next proves when this one existed, and a validator of later years wants
	// answers that were still fresh then (EN 319 102-1, clause 5.6.2.2).
	Current bool
}
