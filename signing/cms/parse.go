package cms

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Parsed is a SignedData as read, with the fields of its first signer. Nothing
// in it is verified; all slices are read-only views of the input, or of its
// DER form if the input was BER.
type Parsed struct {
	ContentType  asn1.ObjectIdentifier // of the encapsulated content
	Content      []byte                // nil if detached
	Certificates []*x509.Certificate   // those that could be parsed
	CRLs         [][]byte              // DER CertificateLists and other revocation choices

	Signers       int               // how many signer infos there are
	Signer        *x509.Certificate // the one the signer info names; nil if not embedded
	Hash          crypto.Hash       // digest algorithm of the signer info
	Attrs         []byte            // signed attributes as a DER SET OF, as signed; nil if there are none
	Signature     []byte
	SignedAttrs   []Attribute
	UnsignedAttrs []Attribute
	MessageDigest []byte    // value of the first message-digest attribute, or nil
	SigningTime   time.Time // claimed by the signer; zero if absent, as in PAdES
	Token         []byte    // first signature-time-stamp token, or nil

	algorithm  algorithm
	candidates []*x509.Certificate // that fit the signer identifier
}

// An Attribute is one CMS attribute; Type is nil if the identifier has an arc
// too large for asn1.ObjectIdentifier.
type Attribute struct {
	Type   asn1.ObjectIdentifier
	Values [][]byte // DER of each value
}

// Parse reads a ContentInfo with SignedData (RFC 5652 clauses 3 and 5), BER or
// DER, after [Guard]. It is lenient about what it reads and judges nothing:
// that is the work of [Verify].
func Parse(der []byte) (Parsed, error) {
	der, err := toDER(der)
	if err != nil {
		return Parsed{}, fmt.Errorf("parse CMS: %w", err)
	}
	var p Parsed
	if err := p.contentInfo(der); err != nil {
		return Parsed{}, fmt.Errorf("parse CMS: %w", err)
	}
	return p, nil
}

func malformed(what string) error { return fmt.Errorf("%s: %w", what, ErrEncoding) }

func (p *Parsed) contentInfo(der cryptobyte.String) error {
	var info, content, sd cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !der.ReadASN1(&info, casn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&oid) {
		return malformed("content info")
	}
	if !oid.Equal(oidSignedData) {
		return fmt.Errorf("content type %v is not signed-data: %w", oid, ErrUnsupported)
	}
	if !info.ReadASN1(&content, explicit(0)) || !content.ReadASN1(&sd, casn1.SEQUENCE) || !info.Empty() || !content.Empty() {
		return malformed("content info")
	}
	return p.signedData(sd)
}

func (p *Parsed) signedData(sd cryptobyte.String) error {
	var version int
	var algorithms, encap, certificates, crls, signers cryptobyte.String
	if !sd.ReadASN1Integer(&version) || !sd.ReadASN1(&algorithms, casn1.SET) || !sd.ReadASN1(&encap, casn1.SEQUENCE) {
		return malformed("signed data")
	}
	if err := p.encapsulated(encap); err != nil {
		return err
	}
	if !sd.ReadOptionalASN1(&certificates, nil, explicit(0)) || !sd.ReadOptionalASN1(&crls, nil, explicit(1)) ||
		!sd.ReadASN1(&signers, casn1.SET) || !sd.Empty() {
		return malformed("signed data")
	}
	if err := p.certificates(certificates); err != nil {
		return err
	}
	var err error
	if p.CRLs, err = elements(crls); err != nil {
		return err
	}
	infos, err := elements(signers)
	if err != nil || len(infos) == 0 {
		return malformed("signer infos")
	}
	p.Signers = len(infos)
	return p.signerInfo(infos[0])
}

func (p *Parsed) encapsulated(encap cryptobyte.String) error {
	if !encap.ReadASN1ObjectIdentifier(&p.ContentType) {
		return malformed("encapsulated content")
	}
	if encap.Empty() {
		return nil
	}
	var content, octets cryptobyte.String
	if !encap.ReadASN1(&content, explicit(0)) || !encap.Empty() ||
		!content.ReadASN1(&octets, casn1.OCTET_STRING) || !content.Empty() {
		return malformed("encapsulated content")
	}
	p.Content = append([]byte{}, octets...) // not nil, even if empty
	return nil
}

// certificates keeps what crypto/x509 can read and drops the rest: one odd
// certificate in the bag says nothing about the signature.
func (p *Parsed) certificates(set cryptobyte.String) error {
	all, err := elements(set)
	if err != nil {
		return err
	}
	for _, der := range all {
		if c, err := x509.ParseCertificate(der); err == nil {
			p.Certificates = append(p.Certificates, c)
		}
	}
	return nil
}

func (p *Parsed) signerInfo(der cryptobyte.String) error {
	var info, id, attrs, signature, unsigned cryptobyte.String
	var version int
	var idTag casn1.Tag
	if !der.ReadASN1(&info, casn1.SEQUENCE) || !info.ReadASN1Integer(&version) || !info.ReadAnyASN1(&id, &idTag) {
		return malformed("signer info")
	}
	if err := p.findSigner(id, idTag); err != nil {
		return err
	}
	digest, err := readAlgorithm(&info)
	if err != nil {
		return err
	}
	if p.Hash, err = HashByOID(digest.oid); err != nil {
		return err
	}
	if info.PeekASN1Tag(explicit(0)) {
		if !info.ReadASN1Element(&attrs, explicit(0)) {
			return malformed("signed attributes")
		}
		p.Attrs = bytes.Clone(attrs)
		p.Attrs[0] = byte(casn1.SET) // RFC 5652 clause 5.4: signed under the tag SET OF
	}
	if p.algorithm, err = readAlgorithm(&info); err != nil {
		return err
	}
	if !info.ReadASN1(&signature, casn1.OCTET_STRING) || !info.ReadOptionalASN1(&unsigned, nil, explicit(1)) || !info.Empty() {
		return malformed("signer info")
	}
	p.Signature = signature
	if err := p.attributes(unsigned); err != nil {
		return err
	}
	p.settleSigner()
	return nil
}

// findSigner looks up the certificates that the signer identifier names, by
// issuer and serial number or by subject key identifier (clause 5.3).
func (p *Parsed) findSigner(id cryptobyte.String, tag casn1.Tag) error {
	var match func(*x509.Certificate) bool
	switch tag {
	case casn1.SEQUENCE:
		var issuer cryptobyte.String
		serial := new(big.Int)
		if !id.ReadASN1Element(&issuer, casn1.SEQUENCE) || !id.ReadASN1Integer(serial) || !id.Empty() {
			return malformed("signer identifier")
		}
		match = func(c *x509.Certificate) bool {
			return c.SerialNumber.Cmp(serial) == 0 && bytes.Equal(c.RawIssuer, issuer)
		}
	case casn1.Tag(0).ContextSpecific():
		match = func(c *x509.Certificate) bool { return len(id) > 0 && bytes.Equal(c.SubjectKeyId, id) }
	default:
		return malformed("signer identifier")
	}
	for _, c := range p.Certificates {
		if match(c) {
			p.candidates = append(p.candidates, c)
		}
	}
	if len(p.candidates) > 0 {
		p.Signer = p.candidates[0]
	}
	return nil
}

// settleSigner decides between certificates with the same issuer and serial
// number, which a careless CA or an attacker may have embedded: the one that
// the signing-certificate attribute names by hash is meant.
func (p *Parsed) settleSigner() {
	for _, c := range p.candidates {
		if len(p.candidates) > 1 && checkSigningCertificate(p.SignedAttrs, c) == nil {
			p.Signer = c
		}
	}
}

// attributes fills the attribute lists and the fields taken from them.
func (p *Parsed) attributes(unsigned cryptobyte.String) error {
	var err error
	if p.Attrs != nil {
		set, inner := cryptobyte.String(p.Attrs), cryptobyte.String(nil)
		if !set.ReadASN1(&inner, casn1.SET) {
			return malformed("signed attributes")
		}
		if p.SignedAttrs, err = readAttributes(inner); err != nil {
			return err
		}
	}
	if p.UnsignedAttrs, err = readAttributes(unsigned); err != nil {
		return err
	}
	if v, ok := firstValue(p.SignedAttrs, oidMessageDigest); ok {
		var digest cryptobyte.String
		if !v.ReadASN1(&digest, casn1.OCTET_STRING) || !v.Empty() {
			return malformed("message-digest attribute")
		}
		p.MessageDigest = digest
	}
	if v, ok := firstValue(p.SignedAttrs, oidSigningTime); ok {
		// A claim that nothing depends on: unreadable counts as absent.
		if !v.ReadASN1UTCTime(&p.SigningTime) {
			v.ReadASN1GeneralizedTime(&p.SigningTime)
		}
	}
	if v, ok := firstValue(p.UnsignedAttrs, oidSignatureTimeStamp); ok {
		p.Token = v
	}
	return nil
}

func readAttributes(set cryptobyte.String) ([]Attribute, error) {
	var out []Attribute
	for !set.Empty() {
		var a Attribute
		var seq, oid, values cryptobyte.String
		if !set.ReadASN1(&seq, casn1.SEQUENCE) || !seq.ReadASN1Element(&oid, casn1.OBJECT_IDENTIFIER) ||
			!seq.ReadASN1(&values, casn1.SET) || !seq.Empty() {
			return nil, malformed("attribute")
		}
		if !oid.ReadASN1ObjectIdentifier(&a.Type) {
			a.Type = nil
		}
		var err error
		if a.Values, err = elements(values); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func firstValue(attrs []Attribute, oid asn1.ObjectIdentifier) (cryptobyte.String, bool) {
	for _, a := range attrs {
		if a.Type.Equal(oid) && len(a.Values) > 0 {
			return a.Values[0], true
		}
	}
	return nil, false
}

// elements splits s into its ASN.1 elements, headers included.
func elements(s cryptobyte.String) ([][]byte, error) {
	var out [][]byte
	for !s.Empty() {
		var e cryptobyte.String
		if !s.ReadAnyASN1Element(&e, nil) {
			return nil, malformed("set")
		}
		out = append(out, e)
	}
	return out, nil
}
