package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

var (
	oidOCSPBasic     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidArchiveCutoff = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 6}
	oidSHA1          = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidRSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidECDSA256      = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECDSA384      = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidEd25519       = asn1.ObjectIdentifier{1, 3, 101, 112}
)

// The structures of RFC 6960 clause 4.2.1.
type (
	certID struct {
		Algorithm         pkix.AlgorithmIdentifier
		NameHash, KeyHash []byte
		Serial            *big.Int
	}
	singleResponse struct {
		ID         certID
		Status     asn1.RawValue
		ThisUpdate time.Time        `asn1:"generalized"`
		NextUpdate time.Time        `asn1:"generalized,explicit,tag:0"`
		Extensions []pkix.Extension `asn1:"explicit,tag:1"`
	}
	responseData struct {
		Responder  asn1.RawValue
		ProducedAt time.Time `asn1:"generalized"`
		Responses  []singleResponse
	}
	basicResponse struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
		Certs     []asn1.RawValue `asn1:"explicit,tag:0"`
	}
	responseBytes struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	}
	ocspResponse struct {
		Status asn1.Enumerated
		Bytes  responseBytes `asn1:"explicit,tag:0"`
	}
)

// ocsp issues an OCSP response in DER that a certificate is good, signed by the CA itself
// (RFC 6960 clause 4.2.2.2).
func (c *CA) ocsp(ctx context.Context, a answer) ([]byte, error) {
	wrap := func(err error) error { return fmt.Errorf("OCSP response: %w", err) }
	id, err := certIDOf(a)
	if err != nil {
		return nil, wrap(err)
	}
	cutoff, err := asn1.MarshalWithParams(a.issuer.NotBefore.UTC(), "generalized")
	if err != nil {
		return nil, wrap(err)
	}
	tbs, err := asn1.Marshal(responseData{
		Responder:  asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: a.issuer.RawSubject},
		ProducedAt: a.now,
		Responses: []singleResponse{{
			ID: id, Status: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0}, // good
			ThisUpdate: a.now, NextUpdate: a.next,
			Extensions: []pkix.Extension{{Id: oidArchiveCutoff, Value: cutoff}},
		}},
	})
	if err != nil {
		return nil, wrap(err)
	}
	basic, err := c.seal(ctx, tbs)
	if err != nil {
		return nil, wrap(err)
	}
	der, err := asn1.Marshal(ocspResponse{Bytes: responseBytes{oidOCSPBasic, basic}})
	if err != nil {
		return nil, wrap(err)
	}
	return der, nil
}

// certIDOf hashes by SHA-1, which all validators know (RFC 5019 clause 2.1.1); nothing
// hangs on its strength, as the response is signed.
func certIDOf(a answer) (certID, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(a.issuer.RawSubjectPublicKeyInfo, &info); err != nil {
		return certID{}, err
	}
	name, key := sha1.Sum(a.issuer.RawSubject), sha1.Sum(info.Key.Bytes)
	return certID{pkix.AlgorithmIdentifier{Algorithm: oidSHA1, Parameters: asn1.NullRawValue}, name[:], key[:], a.cert.SerialNumber}, nil
}

// seal signs response data and returns the BasicOCSPResponse.
func (c *CA) seal(ctx context.Context, tbs []byte) ([]byte, error) {
	algorithm, h, err := algorithmOf(c.opts.Key.Public())
	if err != nil {
		return nil, err
	}
	message := tbs
	if h != 0 {
		w := h.New()
		w.Write(tbs)
		message = w.Sum(nil)
	}
	signature, err := c.opts.Key.Sign(ctx, message, h)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(basicResponse{
		Data: asn1.RawValue{FullBytes: tbs}, Algorithm: algorithm,
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
		Certs:     []asn1.RawValue{{FullBytes: c.opts.Key.Chain()[0].Raw}},
	})
}

// algorithmOf returns how a key signs: with the AlgorithmIdentifier of RFC 4055, RFC 5758
// or RFC 8410. The hash is 0 for keys that sign messages.
func algorithmOf(public crypto.PublicKey) (pkix.AlgorithmIdentifier, crypto.Hash, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return pkix.AlgorithmIdentifier{Algorithm: oidRSAWithSHA256, Parameters: asn1.NullRawValue}, crypto.SHA256, nil
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize > 256 {
			return pkix.AlgorithmIdentifier{Algorithm: oidECDSA384}, crypto.SHA384, nil
		}
		return pkix.AlgorithmIdentifier{Algorithm: oidECDSA256}, crypto.SHA256, nil
	case ed25519.PublicKey:
		return pkix.AlgorithmIdentifier{Algorithm: oidEd25519}, 0, nil
	}
	return pkix.AlgorithmIdentifier{}, 0, errors.New("the CA's key is neither RSA nor ECDSA nor Ed25519")
}
