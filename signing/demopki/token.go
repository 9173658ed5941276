package demopki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"
)

var derSigningTime = []byte{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 5} // 1.2.840.113549.1.9.5

// The structures of RFC 3161 and RFC 5652 around the signed attributes of a token.
type (
	stampResponse struct {
		Status asn1.RawValue
		Token  stampToken
	}
	stampToken struct {
		Type    asn1.ObjectIdentifier
		Content stampContent `asn1:"explicit,tag:0"`
	}
	stampContent struct {
		Version      int
		Digests      asn1.RawValue
		Encapsulated asn1.RawValue
		Certificates asn1.RawValue `asn1:"optional,tag:0"`
		Signers      []stampSigner `asn1:"set"`
	}
	stampSigner struct {
		Version            int
		SID, Digest        asn1.RawValue
		Attrs              asn1.RawValue `asn1:"tag:0"`
		SignatureAlgorithm asn1.RawValue
		Signature          []byte
	}
)

// dated gives a TimeStampResp the signing time of our clock. The library takes the
// machine's, and validators hold a token for broken whose certificate does not hold at
// its signing time (EU DSS by way of Bouncy Castle).
func dated(resp []byte, at time.Time, signer *Identity) ([]byte, error) {
	var r stampResponse
	if _, err := asn1.Unmarshal(resp, &r); err != nil {
		return nil, fmt.Errorf("demo timestamp: %w", err)
	}
	if len(r.Token.Content.Signers) != 1 {
		return nil, errors.New("demo timestamp: not one signer")
	}
	s := &r.Token.Content.Signers[0]
	attrs := bytes.Clone(s.Attrs.FullBytes)
	utc := append(bytes.Clone(derSigningTime), 0x31, 15, asn1.TagUTCTime, 13)
	_, after, ok := bytes.Cut(attrs, utc)
	if !ok {
		return nil, errors.New("demo timestamp: no signing time")
	}
	copy(after, at.UTC().Format("060102150405Z"))
	message := bytes.Clone(attrs)
	message[0] = 0x31 // signed as SET OF (RFC 5652, clause 5.4)
	h := crypto.SHA256.New()
	h.Write(message)
	signature, err := signer.key.Sign(rand.Reader, h.Sum(nil), crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("demo timestamp: %w", err)
	}
	s.Attrs, s.Signature = asn1.RawValue{FullBytes: attrs}, signature
	return asn1.Marshal(r)
}
