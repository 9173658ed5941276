package signing

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"countersign/signing/cms"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
	"countersign/signing/timestamp"
)

// ErrBroken: a signature in the file does not hold, so nothing may be added to it.
var ErrBroken = errors.New("a signature in this PDF does not hold; ask for the file as it was signed")

// The kinds of signatures that can be extended (ISO 32000-2, Table 260; EN 319 142-1,
// clause 6.3 and 5.4.3). adbe.pkcs7.detached is what came before PAdES.
const (
	subFilterPAdES    = "ETSI.CAdES.detached"
	subFilterPKCS7    = "adbe.pkcs7.detached"
	subFilterDocStamp = "ETSI.RFC3161"
)

// A signed is one signature or document timestamp of a file. Without both certs and token
// it is of a kind that cannot be extended.
type signed struct {
	field     string
	subFilter string
	end       int64 // of what it covers
	cms       cms.Parsed
	certs     []*x509.Certificate // the signer's first; nil of a document timestamp
	token     *timestamp.Token    // over the signature; of a document timestamp, itself
}

// verified is what verifyAll finds.
type verified struct {
	all     []signed // in the order of what they cover
	digests *pades.Digests
}

// verifyAll reads all signatures of a file and verifies those of a kind that it knows
// against its bytes.
func verifyAll(f *pdf.File) (*verified, error) {
	if err := f.CheckExtending(); err != nil {
		return nil, err
	}
	fields, err := f.SignatureFields()
	if err != nil {
		return nil, err
	}
	v := &verified{}
	var ranges []pades.Range
	for _, fd := range fields {
		if !fd.Signed {
			continue
		}
		s, r, err := readSigned(fd)
		if err != nil {
			return nil, err
		}
		v.all, ranges = append(v.all, s), append(ranges, r)
	}
	if v.digests, err = pades.HashRanges(f, ranges); err != nil {
		return nil, err
	}
	for i := range v.all {
		if err := v.all[i].verify(v.digests.Ranges[i]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(v.all, func(a, b signed) int { return int(min(1, max(-1, a.end-b.end))) })
	return v, nil
}

// readSigned parses the CMS of a field.
func readSigned(fd pdf.Field) (signed, pades.Range, error) {
	s := signed{field: fd.Name, subFilter: fd.SubFilter, end: fd.ByteRange[2] + fd.ByteRange[3]}
	r := pades.Range{Field: fd.Name, ByteRange: fd.ByteRange}
	if s.foreign() {
		r.Hash = crypto.SHA256
		return s, r, nil
	}
	der, err := contents(fd.ContentsHex)
	if err != nil {
		return s, r, s.broken(err)
	}
	if s.cms, err = cms.Parse(der); err != nil {
		return s, r, s.broken(err)
	}
	r.Hash = s.cms.Hash
	if fd.SubFilter == subFilterDocStamp {
		t, err := timestamp.ParseToken(der)
		if err != nil {
			return s, r, s.broken(err)
		}
		s.token, r.Hash = &t, t.Hash
		return s, r, nil
	}
	if s.cms.Signer == nil {
		return s, r, s.broken(errors.New("the signer's certificate is not in it"))
	}
	s.certs = append([]*x509.Certificate{s.cms.Signer}, slices.DeleteFunc(slices.Clone(s.cms.Certificates), s.cms.Signer.Equal)...)
	if s.cms.Token != nil {
		t, err := timestamp.ParseToken(s.cms.Token)
		if err == nil {
			err = t.Covers(s.cms.Signature)
		}
		if err != nil {
			return s, r, s.broken(err)
		}
		s.token = &t
	}
	return s, r, nil
}

// contents decodes the digits of /Contents (ISO 32000-2, 7.3.4.3) without the padding.
func contents(digits []byte) ([]byte, error) {
	digits = bytes.Join(bytes.FieldsFunc(digits, func(r rune) bool { return r <= ' ' }), nil)
	if len(digits)%2 == 1 {
		digits = append(digits, '0')
	}
	padded := make([]byte, len(digits)/2)
	if _, err := hex.Decode(padded, digits); err != nil {
		return nil, err
	}
	return cms.Trim(padded)
}

// broken says which signature does not hold.
func (s *signed) broken(err error) error {
	return fmt.Errorf("%w: field %q: %w", ErrBroken, s.field, err)
}

// verify compares a signature with the digest over its byte range. Weak algorithms are for
// validators to judge; only PAdES must have a signing-certificate attribute.
func (s *signed) verify(digest []byte) error {
	if s.certs == nil {
		if s.token != nil && !bytes.Equal(s.token.Digest, digest) {
			return s.broken(timestamp.ErrMismatch)
		}
		return nil
	}
	err := cms.Verify(s.cms, digest)
	old := s.subFilter == subFilterPKCS7 && errors.Is(err, cms.ErrNoSigningCertificate)
	if err == nil || old || errors.Is(err, cms.ErrWeak) && !errors.Is(err, cms.ErrNoSigningCertificate) {
		return nil
	}
	return s.broken(err)
}

// subjects returns the signer and the authority that stamped the signature, those
// there are.
func (s *signed) subjects() []revocation.Subject {
	var out []revocation.Subject
	what := s.what()
	if s.subFilter != subFilterDocStamp {
		out = append(out, revocation.Subject{What: what, Certs: s.certs, At: s.time()})
		what = "the timestamp of " + what
	}
	if s.token != nil {
		certs := slices.DeleteFunc(slices.Clone(s.token.Certs), s.token.Signer.Equal)
		certs = append([]*x509.Certificate{s.token.Signer}, certs...)
		out = append(out, revocation.Subject{What: what, Certs: certs, At: s.token.Time, TimeStamping: true})
	}
	return out
}

// what names it in messages.
func (s *signed) what() string {
	if s.subFilter == subFilterDocStamp {
		return fmt.Sprintf("the document timestamp in field %q", s.field)
	}
	return fmt.Sprintf("the signature in field %q", s.field)
}

func (s *signed) time() time.Time {
	if s.token == nil {
		return time.Time{}
	}
	return s.token.Time
}

// foreign tells signatures of other kinds.
func (s *signed) foreign() bool {
	return s.subFilter != subFilterPAdES && s.subFilter != subFilterPKCS7 && s.subFilter != subFilterDocStamp
}

// checkKinds refuses signatures that nothing can prove for long, like those over SHA-1 by
// the rules of their kind.
func (v *verified) checkKinds() error {
	for _, s := range v.all {
		if s.foreign() {
			return &pdf.RefusedError{
				Reason: pdf.ReasonSignature,
				Detail: fmt.Sprintf("the one in field %q is of the kind %q, which cannot be kept valid for long", s.field, s.subFilter),
			}
		}
	}
	return nil
}

// subjects returns those of all signatures of known kinds. One without a timestamp of its own is proven
// by the first document timestamp behind it. A timestamp without one behind it will be proven by
// the one that comes next.
func (v *verified) subjects() []revocation.Subject {
	var out []revocation.Subject
	for i := range v.all {
		if v.all[i].foreign() {
			continue
		}
		own := v.all[i].subjects()
		later := slices.IndexFunc(v.all[i+1:], func(s signed) bool { return s.subFilter == subFilterDocStamp })
		for j := range own {
			own[j].Current = own[j].TimeStamping && later < 0
			if own[j].At.IsZero() && later >= 0 {
				own[j].At = v.all[i+1+later].token.Time
			}
		}
		out = append(out, own...)
	}
	return out
}

// newest returns the time of the newest timestamp.
func (v *verified) newest() (t time.Time) {
	for i := range v.all {
		if at := v.all[i].time(); at.After(t) {
			t = at
		}
	}
	return t
}
