package demopki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

var (
	oidOCSPBasic   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidOCSPNonce   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidOCSPNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	oidNobodyKnows = asn1.ObjectIdentifier{2, 999, 2}
	derNull        = []byte{5, 0}
	hashesByOID    = map[string]crypto.Hash{"1.3.14.3.2.26": crypto.SHA1, "2.16.840.1.101.3.4.2.1": crypto.SHA256}
)

// The structures of RFC 6960, as far as a responder needs them.
type (
	certID struct {
		Algorithm pkix.AlgorithmIdentifier
		NameHash  []byte
		KeyHash   []byte
		Serial    *big.Int
	}
	ocspRequest struct {
		TBS struct {
			Version    int           `asn1:"explicit,tag:0,default:0,optional"`
			Requestor  asn1.RawValue `asn1:"explicit,tag:1,optional"`
			List       []struct{ ID certID }
			Extensions []pkix.Extension `asn1:"explicit,tag:2,optional"`
		}
	}
	singleResponse struct {
		ID         certID
		Status     asn1.RawValue
		ThisUpdate time.Time        `asn1:"generalized"`
		NextUpdate time.Time        `asn1:"generalized,explicit,tag:0,optional"`
		Extensions []pkix.Extension `asn1:"explicit,tag:1,optional,omitempty"`
	}
	responseData struct {
		Responder  asn1.RawValue
		ProducedAt time.Time `asn1:"generalized"`
		Responses  []singleResponse
		Extensions []pkix.Extension `asn1:"explicit,tag:1,optional,omitempty"`
	}
	basicResponse struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
		Certs     []asn1.RawValue `asn1:"explicit,tag:0,optional"`
	}
	responseBytes struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	}
	ocspResponse struct {
		Status asn1.Enumerated
		Bytes  responseBytes `asn1:"explicit,tag:0,optional"`
	}
	revokedInfo struct {
		At     time.Time       `asn1:"generalized"`
		Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"`
	}
)

// respond answers an OCSPRequest for one certificate of the root or of the signing CA.
func (s *Server) respond(query []byte, mode Mode) ([]byte, error) {
	var req ocspRequest
	if rest, err := asn1.Unmarshal(query, &req); err != nil || len(rest) > 0 || len(req.TBS.List) != 1 {
		return asn1.Marshal(struct{ Status asn1.Enumerated }{1}) // malformedRequest
	}
	if mode == TryLater {
		return asn1.Marshal(struct{ Status asn1.Enumerated }{3})
	}
	id := req.TBS.List[0].ID
	issuer := s.pki.meant(id)
	if issuer == nil {
		return asn1.Marshal(struct{ Status asn1.Enumerated }{6}) // unauthorized
	}
	one, err := s.single(id, mode)
	if err != nil {
		return nil, err
	}
	now := s.clock().UTC().Truncate(time.Second)
	data := responseData{ProducedAt: now, Responses: []singleResponse{one}}
	if mode == Old || mode == Stale || mode == Future {
		data.ProducedAt = one.ThisUpdate
	}
	for _, e := range req.TBS.Extensions {
		if e.Id.Equal(oidOCSPNonce) {
			if mode == WrongNonceOCSP {
				e.Value[len(e.Value)-1] ^= 1
			}
			data.Extensions = append(data.Extensions, pkix.Extension{Id: e.Id, Value: e.Value})
		}
	}
	signer, err := s.responder(issuer, now, mode)
	if err != nil {
		return nil, err
	}
	return sealResponse(data, signer, mode)
}

// single is the answer about one certificate.
func (s *Server) single(id certID, mode Mode) (singleResponse, error) {
	now := s.clock().UTC().Truncate(time.Second)
	one := singleResponse{ID: id, ThisUpdate: now, NextUpdate: now.Add(24 * time.Hour), Status: asn1.RawValue{Class: 2, Tag: 0}}
	if r := s.revocationOf(id.Serial); r != nil {
		inner, err := asn1.Marshal(revokedInfo{r.at.UTC().Truncate(time.Second), asn1.Enumerated(r.reason)})
		if err != nil {
			return one, err
		}
		inner[0] = 0xa1 // [1] IMPLICIT
		one.Status = asn1.RawValue{FullBytes: inner}
	}
	switch mode {
	case Unknown:
		one.Status.Tag = 2
	case Stale:
		one.ThisUpdate, one.NextUpdate = now.Add(-48*time.Hour), now.Add(-24*time.Hour)
	case Old:
		one.ThisUpdate = now.Add(-24 * time.Hour)
	case Future:
		one.ThisUpdate, one.NextUpdate = now.Add(24*time.Hour), now.Add(48*time.Hour)
	case WrongSerial:
		one.ID.Serial = new(big.Int).Add(id.Serial, big.NewInt(1))
	case WrongIssuer:
		one.ID.KeyHash = bytes.Repeat([]byte{7}, len(id.KeyHash))
	case CriticalExt:
		one.Extensions = []pkix.Extension{{Id: oidNobodyKnows, Critical: true, Value: derNull}}
	}
	return one, nil
}

// meant returns the CA that a CertID names.
func (p *PKI) meant(id certID) *Identity {
	h, ok := hashesByOID[id.Algorithm.Algorithm.String()]
	if !ok {
		return nil
	}
	for _, ca := range []*Identity{p.Root, p.CA} {
		var info struct {
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}
		if _, err := asn1.Unmarshal(ca.certificate().RawSubjectPublicKeyInfo, &info); err != nil {
			return nil
		}
		w := h.New()
		w.Write(info.Key.Bytes)
		if bytes.Equal(w.Sum(nil), id.KeyHash) {
			return ca
		}
	}
	return nil
}

// responder returns who signs the answers about certificates of a CA: a delegate, renewed
// in time, that nobody needs to check (RFC 6960 clause 4.2.2.2.1).
func (s *Server) responder(issuer *Identity, now time.Time, mode Mode) (*Identity, error) {
	template := &x509.Certificate{
		Subject:         pkix.Name{CommonName: issuer.certificate().Subject.CommonName + ", OCSP responder"},
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{{Id: oidOCSPNoCheck, Value: derNull}},
	}
	o := order{template, issuer, span{now, 90 * 24 * time.Hour}, algorithmOf(issuer.key)}
	switch mode {
	case NotAResponder:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		return issue(o)
	case ForeignResponder, Namesake:
		other, err := s.pki.twin(now)
		if err != nil {
			return nil, err
		}
		if o.issuer = other.Root; issuer == s.pki.CA {
			o.issuer = other.CA
		}
		if mode == Namesake {
			return o.issuer, nil
		}
		return issue(o)
	case Checked:
		template.ExtraExtensions = nil
		template.CRLDistributionPoints = s.pki.URLsOf(issuer).CRL
		return issue(o)
	case ExpiredResponder:
		o.valid = span{now.Add(-90 * 24 * time.Hour), 89 * 24 * time.Hour}
		return issue(o)
	case Old, Stale, Future:
		o.valid = span{now.Add(-60 * 24 * time.Hour), 90 * 24 * time.Hour}
		return issue(o)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.delegates[issuer]; d != nil && now.After(d.certificate().NotBefore) && now.Before(d.certificate().NotAfter.Add(-24*time.Hour)) {
		return d, nil
	}
	d, err := issue(o)
	if err == nil {
		s.delegates[issuer] = d
	}
	return d, err
}

// twin is another PKI whose CAs have the same names, and other keys.
func (p *PKI) twin(now time.Time) (*PKI, error) {
	t := &PKI{}
	var err error
	for _, one := range []struct {
		like *Identity
		to   **Identity
	}{{p.Root, &t.Root}, {p.CA, &t.CA}} {
		c := one.like.certificate()
		*one.to, err = issue(order{
			template: &x509.Certificate{Subject: c.Subject, KeyUsage: c.KeyUsage, IsCA: true},
			issuer:   t.Root, valid: span{now, year},
		})
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// sealResponse signs the data and wraps it.
func sealResponse(data responseData, signer *Identity, mode Mode) ([]byte, error) {
	c := signer.certificate()
	data.Responder = asn1.RawValue{Class: 2, Tag: 1, IsCompound: true, Bytes: c.RawSubject}
	tbs, err := asn1.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("demo OCSP: %w", err)
	}
	algorithm, signature, err := signer.signBytes(tbs)
	if err != nil {
		return nil, fmt.Errorf("demo OCSP: %w", err)
	}
	if mode == BadSignature {
		signature[len(signature)-1] ^= 1
	}
	basic, err := asn1.Marshal(basicResponse{
		Data: asn1.RawValue{FullBytes: tbs}, Algorithm: algorithm,
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
		Certs:     []asn1.RawValue{{FullBytes: c.Raw}},
	})
	if err != nil {
		return nil, fmt.Errorf("demo OCSP: %w", err)
	}
	return asn1.Marshal(ocspResponse{Bytes: responseBytes{Type: oidOCSPBasic, Response: basic}})
}
