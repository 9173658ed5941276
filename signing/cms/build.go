package cms

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Content types and attributes (RFC 5652, RFC 5035, RFC 3161, ETSI EN 319 122-1).
var (
	OIDData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	OIDTSTInfo = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}

	oidSignedData           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidContentType          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidSigningCertificate   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}
	oidSignatureTimeStamp   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 14}
	oidSigningCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
)

// AttrParams is what the signed attributes say.
type AttrParams struct {
	Digest []byte              // Hash of the content, that is of the two byte ranges
	Hash   crypto.Hash         // SHA-256, SHA-384 or SHA-512
	Chain  []*x509.Certificate // the signer's certificate first
}

// SignedAttributes returns the DER SET OF that gets signed (RFC 5652 clause
// 5.4): content-type, message-digest and signing-certificate-v2 with the SHA-256
// of the signer's certificate, default algorithm omitted and no issuerSerial
// (RFC 5035 clause 3, EN 319 122-1 clause 5.2.2).
func SignedAttributes(p AttrParams) ([]byte, error) {
	if len(p.Chain) == 0 {
		return nil, errors.New("signed attributes: no certificate of the signer given")
	}
	if _, err := HashOID(p.Hash); err != nil {
		return nil, fmt.Errorf("signed attributes: %w", err)
	}
	if len(p.Digest) != p.Hash.Size() {
		return nil, fmt.Errorf("signed attributes: digest of %d bytes, %v has %d", len(p.Digest), p.Hash, p.Hash.Size())
	}
	if _, ok := p.Chain[0].PublicKey.(ed25519.PublicKey); ok && p.Hash != crypto.SHA512 {
		return nil, fmt.Errorf("signed attributes: Ed25519 needs SHA-512, not %v (RFC 8419 clause 2.3)", p.Hash)
	}
	hash := sha256.Sum256(p.Chain[0].Raw)
	contentType := attribute(oidContentType, func(d *der) { d.oid(OIDData) })
	digest := attribute(oidMessageDigest, func(d *der) { d.octets(p.Digest) })
	certificate := attribute(oidSigningCertificateV2, func(d *der) {
		d.sequence(func() { // SigningCertificateV2, its certs, one ESSCertIDv2
			d.sequence(func() {
				d.sequence(func() { d.octets(hash[:]) })
			})
		})
	})
	out := make(der, 0, len(contentType)+len(digest)+len(certificate)+8)
	out.setOf(casn1.SET, contentType, digest, certificate)
	return out, nil
}

// attribute returns a DER Attribute with one value.
func attribute(oid asn1.ObjectIdentifier, value func(*der)) []byte {
	d := make(der, 0, 128)
	d.sequence(func() {
		d.oid(oid)
		d.element(casn1.SET, func() { value(&d) })
	})
	return d
}

// setOf writes elements in DER order, each once (X.690 clause 11.6).
func (d *der) setOf(tag casn1.Tag, elements ...[]byte) {
	slices.SortFunc(elements, bytes.Compare)
	elements = slices.CompactFunc(elements, bytes.Equal)
	d.element(tag, func() {
		for _, e := range elements {
			d.raw(e)
		}
	})
}

// SignedData is the content of a detached signature.
type SignedData struct {
	Attrs     []byte              // from SignedAttributes, byte for byte as signed
	Signature []byte              // what the key made of ToSign
	Hash      crypto.Hash         // the same as in AttrParams
	Chain     []*x509.Certificate // the signer's certificate first; all are embedded
	PSS       bool                // RSA keys: RSASSA-PSS instead of PKCS #1 v1.5
	Token     []byte              // optional: DER TimeStampToken over Signature
}

// ToSign returns what the signer's key must sign and how: the digest of Attrs
// for RSA and ECDSA, Attrs as they are for Ed25519 (crypto.Signer's contract).
func ToSign(d SignedData) (message []byte, opts crypto.SignerOpts, err error) {
	if err := d.check(); err != nil {
		return nil, nil, fmt.Errorf("bytes to sign: %w", err)
	}
	switch d.Chain[0].PublicKey.(type) {
	case ed25519.PublicKey:
		return d.Attrs, crypto.Hash(0), nil
	case *rsa.PublicKey:
		if d.PSS {
			opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: d.Hash}
			return sum(d.Hash, d.Attrs), opts, nil
		}
	}
	return sum(d.Hash, d.Attrs), d.Hash, nil
}

// Assemble returns the detached SignedData in DER. It does not verify the
// signature: Parse and Verify do, and whoever releases the document must.
func Assemble(d SignedData) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("assemble signature: %w", err)
	}
	if len(d.Signature) == 0 {
		return nil, errors.New("assemble signature: no signature value given")
	}
	if d.Token != nil {
		if err := Guard(d.Token); err != nil {
			return nil, fmt.Errorf("assemble signature: timestamp token: %w", err)
		}
	}
	return assemble(d)
}

// Verify checks that Signature is one over Attrs by the key of the signer's
// certificate, made as ToSign says. What Attrs say is not looked at.
func (d SignedData) Verify() error {
	if err := d.check(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	var alg der
	alg.signatureAlgorithm(d.Chain[0].PublicKey, d.Hash, d.PSS)
	s, p := cryptobyte.String(alg), Parsed{Hash: d.Hash, Signature: d.Signature}
	var err error
	if p.algorithm, err = readAlgorithm(&s); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return checkSignature(d.Chain[0].PublicKey, &p, d.Attrs)
}

func (d SignedData) check() error {
	if len(d.Chain) == 0 {
		return errors.New("no certificate of the signer given")
	}
	if _, err := HashFor(d.Chain[0].PublicKey); err != nil {
		return err
	}
	if _, err := HashOID(d.Hash); err != nil {
		return err
	}
	if err := Guard(d.Attrs); err != nil {
		return fmt.Errorf("signed attributes: %w", err)
	}
	if d.Attrs[0] != byte(casn1.SET) {
		return fmt.Errorf("signed attributes start with tag %#02x instead of SET: %w", d.Attrs[0], ErrEncoding)
	}
	return nil
}

func assemble(data SignedData) (out []byte, err error) {
	size := 1024 + len(data.Attrs) + len(data.Signature) + len(data.Token)
	certificates := make([][]byte, len(data.Chain))
	for i, c := range data.Chain {
		certificates[i] = c.Raw
		size += len(c.Raw)
	}
	d := make(der, 0, size)
	d.sequence(func() { // ContentInfo
		d.oid(oidSignedData)
		d.element(explicit(0), func() {
			d.sequence(func() { // SignedData
				d.small(1) // RFC 5652 clause 5.1: id-data, issuerAndSerialNumber
				d.element(casn1.SET, func() { err = d.digestAlgorithm(data.Hash) })
				d.sequence(func() { d.oid(OIDData) })
				d.setOf(explicit(0), certificates...)
				d.element(casn1.SET, func() { err = errors.Join(err, d.signerInfo(data)) })
			})
		})
	})
	return d, err
}

func (d *der) signerInfo(data SignedData) (err error) {
	signer := data.Chain[0]
	d.sequence(func() {
		d.small(1)
		d.sequence(func() {
			d.raw(signer.RawIssuer)
			err = d.serial(signer.SerialNumber)
		})
		err = errors.Join(err, d.digestAlgorithm(data.Hash))
		d.raw([]byte{byte(explicit(0))}) // [0] IMPLICIT SET OF: the signed bytes with another tag
		d.raw(data.Attrs[1:])
		d.signatureAlgorithm(signer.PublicKey, data.Hash, data.PSS)
		d.octets(data.Signature)
		if data.Token != nil {
			d.element(explicit(1), func() {
				d.raw(attribute(oidSignatureTimeStamp, func(d *der) { d.raw(data.Token) }))
			})
		}
	})
	return err
}

// Room returns the largest number of bytes that Assemble can produce for this
// chain and a token of tokenSize bytes (0: no token), whatever hash is chosen
// and however long the ECDSA integers come out. For RSA it counts the longer
// algorithm identifier of RSASSA-PSS. What would exceed [MaxSize] is an error.
func Room(chain []*x509.Certificate, tokenSize int) (int, error) {
	if len(chain) == 0 {
		return 0, errors.New("room for a signature: no certificate of the signer given")
	}
	signature, err := maxSignature(chain[0].PublicKey)
	if err != nil {
		return 0, fmt.Errorf("room for a signature: %w", err)
	}
	if tokenSize < 0 || tokenSize > MaxSize {
		return 0, fmt.Errorf("room for a signature: token of %d bytes, at most %d", tokenSize, MaxSize)
	}
	const h = crypto.SHA512 // the longest; all identifiers are of equal length
	d := SignedData{Signature: make([]byte, signature), Hash: h, Chain: chain, PSS: true}
	if d.Attrs, err = SignedAttributes(AttrParams{Digest: make([]byte, h.Size()), Hash: h, Chain: chain}); err != nil {
		return 0, fmt.Errorf("room for a signature: %w", err)
	}
	if tokenSize > 0 {
		d.Token = make([]byte, tokenSize)
	}
	der, err := assemble(d)
	if err == nil && len(der) > MaxSize {
		err = fmt.Errorf("room for a signature: chain and token take %d bytes: %w", len(der), ErrSize)
	}
	return len(der), err
}
