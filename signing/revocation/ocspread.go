package revocation

import (
	"encoding/asn1"
	"fmt"
	"math/big"

	"countersign/signing/cms"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// readOCSP reads an OCSPResponse (RFC 6960 clause 4.2.1) strictly, and checks nothing yet
// but its form, its status, and that all its critical extensions are known.
func readOCSP(der []byte) (*ocspResponse, error) {
	if len(der) > MaxOCSP {
		return nil, fmt.Errorf("%d bytes, more than %d: %w", len(der), MaxOCSP, ErrInvalid)
	}
	if err := cms.Guard(der); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var outer, wrapped, body, basic cryptobyte.String
	var code int
	var kind asn1.ObjectIdentifier
	s := cryptobyte.String(der)
	if !s.ReadASN1(&outer, casn1.SEQUENCE) || !outer.ReadASN1Enum(&code) || !s.Empty() {
		return nil, malformed("status")
	}
	if code != 0 {
		return nil, fmt.Errorf("error status %d (%s): %w", code, responseErrors[code], ErrUnknown)
	}
	if !outer.ReadASN1(&wrapped, explicit(0)) || !outer.Empty() || !wrapped.ReadASN1(&body, casn1.SEQUENCE) || !wrapped.Empty() ||
		!body.ReadASN1ObjectIdentifier(&kind) || !body.ReadASN1(&basic, casn1.OCTET_STRING) || !body.Empty() {
		return nil, malformed("response bytes")
	}
	if !kind.Equal(oidBasic) {
		return nil, fmt.Errorf("response type %v instead of basic: %w", kind, ErrInvalid)
	}
	return readBasic(basic)
}

func readBasic(basic cryptobyte.String) (*ocspResponse, error) {
	var r ocspResponse
	var body, certs, list cryptobyte.String
	var ok, present bool
	if !basic.ReadASN1(&body, casn1.SEQUENCE) || !basic.Empty() {
		return nil, malformed("basic response")
	}
	if r.signed, ok = readSigned(&body); !ok ||
		!body.ReadOptionalASN1(&certs, &present, explicit(0)) || !body.Empty() ||
		present && (!certs.ReadASN1(&list, casn1.SEQUENCE) || !certs.Empty()) {
		return nil, malformed("basic response")
	}
	var err error
	if r.certs, err = readCertificates(list); err != nil {
		return nil, err
	}
	return &r, r.readData()
}

// readData reads ResponseData.
func (r *ocspResponse) readData() error {
	var data, versioned, list, exts cryptobyte.String
	s := cryptobyte.String(r.tbs)
	version := 0
	var present bool
	if !s.ReadASN1(&data, casn1.SEQUENCE) || !data.ReadOptionalASN1(&versioned, &present, explicit(0)) ||
		present && (!versioned.ReadASN1Integer(&version) || !versioned.Empty()) || version != 0 {
		return malformed("response data")
	}
	if err := r.readResponderID(&data); err != nil {
		return err
	}
	if !data.ReadASN1GeneralizedTime(&r.produced) || !data.ReadASN1(&list, casn1.SEQUENCE) ||
		!data.ReadOptionalASN1(&exts, &present, explicit(1)) || !data.Empty() {
		return malformed("response data")
	}
	for !list.Empty() {
		if len(r.singles) == maxSingles {
			return fmt.Errorf("more than %d answers: %w", maxSingles, ErrInvalid)
		}
		one, err := readSingle(&list)
		if err != nil {
			return err
		}
		r.singles = append(r.singles, one)
	}
	var all cryptobyte.String
	if present && (!exts.ReadASN1(&all, casn1.SEQUENCE) || !exts.Empty()) {
		return malformed("response extensions")
	}
	return extensions(all, func(e extension) error {
		switch {
		case e.oid.Equal(oidNonce):
			var inner cryptobyte.String
			if r.nonce = e.value; e.value.ReadASN1(&inner, casn1.OCTET_STRING) && e.value.Empty() {
				r.nonce = inner // else bare bytes, as responders from before RFC 8954 send
			}
			return nil
		case e.oid.Equal(oidExtended):
			return nil
		}
		return e.unknown()
	})
}

func (r *ocspResponse) readResponderID(data *cryptobyte.String) error {
	var id, inner cryptobyte.String
	switch {
	case data.PeekASN1Tag(explicit(1)):
		if !data.ReadASN1(&id, explicit(1)) || !id.ReadASN1Element(&inner, casn1.SEQUENCE) || !id.Empty() {
			return malformed("responder id")
		}
		r.name = inner
	case data.PeekASN1Tag(explicit(2)):
		if !data.ReadASN1(&id, explicit(2)) || !id.ReadASN1(&inner, casn1.OCTET_STRING) || !id.Empty() || len(inner) == 0 {
			return malformed("responder id")
		}
		r.keyHash = inner
	default:
		return malformed("responder id")
	}
	return nil
}

// readSingle reads a SingleResponse.
func readSingle(list *cryptobyte.String) (single, error) {
	var seq, id, exts, next cryptobyte.String
	var one single
	var present bool
	if !list.ReadASN1(&seq, casn1.SEQUENCE) || !seq.ReadASN1(&id, casn1.SEQUENCE) {
		return one, malformed("single response")
	}
	if err := one.readCertID(id); err != nil {
		return one, err
	}
	if err := one.readStatus(&seq); err != nil {
		return one, err
	}
	if !seq.ReadASN1GeneralizedTime(&one.this) || !seq.ReadOptionalASN1(&next, &present, explicit(0)) ||
		present && (!next.ReadASN1GeneralizedTime(&one.next) || !next.Empty()) {
		return one, malformed("times of the answer")
	}
	if !seq.ReadOptionalASN1(&exts, &present, explicit(1)) || !seq.Empty() {
		return one, malformed("single response")
	}
	var all cryptobyte.String
	if present && (!exts.ReadASN1(&all, casn1.SEQUENCE) || !exts.Empty()) {
		return one, malformed("single extensions")
	}
	return one, extensions(all, one.readExtension)
}

func (one *single) readExtension(e extension) error {
	switch {
	case e.oid.Equal(oidCutoff):
		return e.generalized(&one.keeps)
	case e.oid.Equal(oidInvalidity) && one.revoked != nil: // a CRL entry extension, allowed here by clause 4.4.5
		return e.generalized(&one.revoked.Invalid)
	case e.oid.Equal(oidReason), e.oid.Equal(oidCRLRef):
		return nil
	}
	return e.unknown()
}

func (one *single) readCertID(id cryptobyte.String) error {
	var algorithm, nameHash, keyHash, params cryptobyte.String
	var oid asn1.ObjectIdentifier
	one.serial = new(big.Int)
	if !id.ReadASN1(&algorithm, casn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) ||
		!algorithm.Empty() && (!algorithm.ReadASN1(&params, casn1.NULL) || !algorithm.Empty()) ||
		!id.ReadASN1(&nameHash, casn1.OCTET_STRING) || !id.ReadASN1(&keyHash, casn1.OCTET_STRING) ||
		!id.ReadASN1Integer(one.serial) || !id.Empty() {
		return malformed("certificate id")
	}
	var err error
	if one.hash, err = cms.HashByOID(oid); err != nil {
		return fmt.Errorf("certificate id: %w: %w", ErrInvalid, err)
	}
	one.nameHash, one.keyHash = nameHash, keyHash
	return nil
}

// readStatus reads CertStatus: good, revoked or unknown.
func (one *single) readStatus(seq *cryptobyte.String) error {
	var inner, reason cryptobyte.String
	var present bool
	switch {
	case seq.PeekASN1Tag(implicit(0)):
		if !seq.ReadASN1(&inner, implicit(0)) || !inner.Empty() {
			return malformed("status good")
		}
	case seq.PeekASN1Tag(implicit(2)):
		if one.unknown = true; !seq.ReadASN1(&inner, implicit(2)) || !inner.Empty() {
			return malformed("status unknown")
		}
	case seq.PeekASN1Tag(explicit(1)):
		one.revoked = &RevokedError{}
		if !seq.ReadASN1(&inner, explicit(1)) || !inner.ReadASN1GeneralizedTime(&one.revoked.At) ||
			!inner.ReadOptionalASN1(&reason, &present, explicit(0)) || !inner.Empty() ||
			present && (!reason.ReadASN1Enum(&one.revoked.Reason) || !reason.Empty()) {
			return malformed("status revoked")
		}
	default:
		return malformed("status of the certificate")
	}
	return nil
}
