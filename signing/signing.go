// Package signing signs PDFs so that no crash can make a second, different
// signature: Prepare → Intent → Ticket → Sign.
//
//	r0     Prepare adds the empty signature fields. R0 is what people read.
//	Intent NewIntent computes the exact bytes that will be signed, and all that is
//	       needed to rebuild the signed file. It is stored before any key is asked.
//	Ticket NewTicket, made from stored bytes only, allows one signature.
//	Sign   The key signs; Finish writes base and increment; Check reads the result back.
//
// A signature that comes back is verified before it is handed on, unless the key does so
// itself ([SelfChecked]). Finish and Check verify it in any case. They fail closed: what they do not return nil for must not be released.
//
// The signatures are PAdES (ETSI EN 319 142-1) of level B-B, or B-T if Finish is
// given a timestamp token over the signature value. For the levels B-LT and B-LTA, and
// again before the last timestamp's certificate ends, a signed file is extended:
//
//	Subjects       what in the file needs evidence; SubjectsOf: the same for one new signature
//	NewExtension   lays out validation data and document timestamp
//	FinishExtension, CheckExtension   as Finish and Check
//
// The package reads no clock and does no I/O but through its arguments; it
// imports neither net nor os.
package signing

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"time"

	"countersign/signing/cms"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/timestamp"
)

// ErrToken: a timestamp token is not one for this signature, or lies outside the
// validity of the certificate that signed.
var ErrToken = errors.New("the timestamp does not prove this signature")

// A Key signs. Implementations are tokens, remote services and files.
type Key interface {
	Public() crypto.PublicKey
	// Chain returns the certificate of the key and those that issued it, in
	// order; the root may be left out.
	Chain() []*x509.Certificate
	// Sign signs a digest made with opts.HashFunc(), as crypto.Signer does. For
	// Ed25519 digest is the message itself and opts.HashFunc() is 0.
	Sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

// A SelfChecked key notices by itself when it would sign wrongly, and fails then. What any
// other key returns is verified before it is handed on; a token or a remote service is
// not believed.
type SelfChecked interface {
	// SelfChecked reports true only if the signature is computed in this process by
	// the standard library, the private key was tried against the certificate when it was
	// opened, it is compared with a second copy each time it signs, and one wrong
	// signature would tell nothing about it: not for Ed25519, which has no fresh
	// randomness.
	SelfChecked() bool
}

// selfChecked reports whether verifying what the key returns would prove nothing more.
func selfChecked(k Key) bool {
	s, ok := k.(SelfChecked)
	return ok && s.SelfChecked()
}

// A Result names what was written.
type Result struct {
	SHA256 string // hexadecimal
	Size   int64
	// State is the running SHA-256 behind the last byte, about 100 bytes: with it
	// [NewIntent] need not read the file again to hash it. It tells up to 63 of the
	// file's last bytes.
	State []byte
}

func newResult(h *pades.Hashed) (Result, error) {
	state, err := h.State()
	return Result{SHA256: h.SHA256(), Size: h.Size(), State: state}, err
}

// Prepare writes R0: the base and the increment that adds empty, invisible
// signature fields. It returns the names the fields got, in the given order. A PDF that
// cannot be signed is refused with a *[pdf.RefusedError].
func Prepare(w io.Writer, base *io.SectionReader, fields []pades.FieldSpec) (Result, []string, error) {
	f, err := pdf.Open(base, base.Size())
	if err != nil {
		return Result{}, nil, err
	}
	increment, names, err := pades.Prepare(f, fields)
	if err != nil {
		return Result{}, nil, err
	}
	written, err := pades.Append(w, f, increment)
	if err != nil {
		return Result{}, nil, err
	}
	res, err := newResult(written)
	return res, names, err
}

// Params says what shall be signed and what the signature tells.
type Params struct {
	Field         string           // an empty signature field of the base
	NewField      *pades.FieldSpec // instead of Field: make this one in the same increment
	Certification int              // 1, 2 or 3: certify with this DocMDP level; 0: approval signature
	SigningTime   time.Time
	Chain         []*x509.Certificate // of the key that will sign, its certificate first
	TokenRoom     int                 // bytes for the timestamp token; 0: none
	PSS           bool                // RSA keys: RSASSA-PSS (RFC 4056) instead of PKCS #1 v1.5
	Unprepared    bool                // the base does not come from Prepare: with Field, all of it is checked first
	Base          *Result             // what the step that wrote the base returned; nil: it is read to be hashed

	Name, Reason, Location, ContactInfo string // left out if empty

	Lock       *pdf.Lock        // fields that the signature locks, beyond what its field prescribes; nil: none
	Appearance pades.Appearance // drawn where the field is visible; nil: nothing
}

// An Intent holds the exact bytes to be signed and everything that is needed to
// finish the file. It is plain data, a few kilobytes as JSON, and holds no secret.
type Intent struct {
	pades.Unsigned
	Certification int       `json:"certification,omitempty"`
	SigningTime   time.Time `json:"signing_time"`
	Chain         [][]byte  `json:"chain"`        // DER certificates, the signer's first
	SignedAttrs   []byte    `json:"signed_attrs"` // DER SET OF, the message that is signed
	Room          int       `json:"room"`         // largest CMS in bytes
	PSS           bool      `json:"pss,omitempty"`
}

// NewIntent lays the signature out, without any key. The base is read once, or, if
// Params.Base tells its hash, only where its structure is.
func NewIntent(base io.ReaderAt, size int64, p Params) (Intent, error) {
	l, err := newLayout(p)
	if err != nil {
		return Intent{}, err
	}
	if l.File, err = pdf.Open(base, size); err != nil {
		return Intent{}, err
	}
	if p.Base != nil && p.Base.State != nil {
		if l.Base, err = pades.Resume(p.Base.Size, p.Base.SHA256, p.Base.State); err != nil {
			return Intent{}, err
		}
	}
	u, err := pades.Begin(l)
	if err != nil {
		return Intent{}, err
	}
	return p.intent(u, l.Room)
}

// newLayout checks what can be checked without the base.
func newLayout(p Params) (pades.SignParams, error) {
	l := pades.SignParams{
		Field: p.Field, NewField: p.NewField, Certification: p.Certification, SigningTime: p.SigningTime,
		Name: p.Name, Reason: p.Reason, Location: p.Location, ContactInfo: p.ContactInfo,
		Lock: p.Lock, Appearance: p.Appearance, Stamped: p.TokenRoom > 0, Unprepared: p.Unprepared,
	}
	err := checkChain(p)
	if err != nil {
		return l, err
	}
	if l.Hash, err = cms.HashFor(p.Chain[0].PublicKey); err != nil {
		return l, fmt.Errorf("key of %q: %w", p.Chain[0].Subject, err)
	}
	l.Room, err = cms.Room(p.Chain, p.TokenRoom)
	return l, err
}

// intent adds what the signature says of its signer.
func (p *Params) intent(u *pades.Unsigned, room int) (Intent, error) {
	attrs, err := cms.SignedAttributes(cms.AttrParams{Digest: u.Digest, Hash: u.Hash, Chain: p.Chain})
	if err != nil {
		return Intent{}, err
	}
	in := Intent{
		Unsigned: *u, Certification: p.Certification, SigningTime: p.SigningTime.UTC(),
		SignedAttrs: attrs, Room: room, PSS: p.PSS,
	}
	for _, c := range p.Chain {
		in.Chain = append(in.Chain, c.Raw)
	}
	return in, nil
}

// checkChain refuses a signing time at which the certificate does not hold, and a
// padding that its key has not.
func checkChain(p Params) error {
	if len(p.Chain) == 0 {
		return errors.New("signing: no certificate to sign with")
	}
	c := p.Chain[0]
	if _, ok := c.PublicKey.(*rsa.PublicKey); p.PSS && !ok {
		return fmt.Errorf("signing: RSASSA-PSS was asked for, but the key of %q is no RSA key", c.Subject)
	}
	if p.SigningTime.Before(c.NotBefore) || p.SigningTime.After(c.NotAfter) {
		return fmt.Errorf("signing: the certificate of %q holds from %s to %s, not at %s", c.Subject,
			c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339),
			p.SigningTime.UTC().Format(time.RFC3339))
	}
	return nil
}

// signedData checks a stored intent for consistency and returns the CMS parts.
func (in *Intent) signedData() (cms.SignedData, error) {
	d := cms.SignedData{Attrs: in.SignedAttrs, Hash: in.Hash, PSS: in.PSS}
	var err error
	if d.Chain, err = in.chain(); err != nil {
		return d, err
	}
	want, err := cms.SignedAttributes(cms.AttrParams{Digest: in.Digest, Hash: in.Hash, Chain: d.Chain})
	if err != nil {
		return d, err
	}
	if !bytes.Equal(want, in.SignedAttrs) {
		return d, errors.New("signing: a stored intent whose bytes to sign do not belong to its document")
	}
	return d, nil
}

// chain returns the stored certificates, at least one.
func (in *Intent) chain() ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, der := range in.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("signing: certificate in a stored intent: %w", err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("signing: a stored intent without a certificate")
	}
	return out, nil
}

// Finish writes the signed file: the base, checked against the intent while it is
// copied, and the increment with signature and token (nil: none). The signature must be
// one by the intent's certificate, and a token must stamp it at a time when that
// certificate holds, else [ErrToken]. The caller throws away what was written if an
// error comes back, and runs [Check] or [CheckStored] on the rest; or calls [Release].
func Finish(w io.Writer, base io.ReaderAt, in Intent, p Proof) (Result, error) {
	der, err := in.assemble(p)
	if err != nil {
		return Result{}, err
	}
	written, err := in.Write(w, base, der)
	if err != nil {
		return Result{}, err
	}
	return newResult(written)
}

// Release is Finish and Check in one, in one pass over the base: what it writes it
// reads back at once (see [pades.Pass]). Once it has returned nil, the file may be
// released.
func Release(out pades.Output, base io.ReaderAt, in Intent, p Proof) (Result, error) {
	der, err := in.assemble(p)
	if err != nil {
		return Result{}, err
	}
	pass, err := pades.NewPass(out, base, in.BaseSize)
	if err != nil {
		return Result{}, err
	}
	defer pass.Close()
	if err := pass.Sign(&in.Unsigned, der); err != nil {
		return Result{}, err
	}
	return newResult(pass.Hashed())
}

// assemble makes the CMS of a stored intent and verifies what is put into it.
func (in *Intent) assemble(p Proof) ([]byte, error) {
	d, err := in.signedData()
	if err != nil {
		return nil, err
	}
	d.Signature, d.Token = p.Signature, p.Token
	if err := d.Verify(); err != nil {
		return nil, err
	}
	if err := checkToken(p.Token, p.Signature, d.Chain[0]); err != nil {
		return nil, err
	}
	return cms.Assemble(d)
}

// Proof is what completes an intent.
type Proof struct {
	Signature []byte // from [Ticket.Sign]
	Token     []byte // DER RFC 3161 token over Signature, or nil
}

// Check reads a finished file back and fails unless it is exactly base and
// increment of the intent, a strict reader finds it well-formed and signed to the last
// byte, and its CMS signs the intent's bytes with the intent's certificate.
func Check(result io.ReaderAt, size int64, in Intent) error {
	padded, err := in.Unsigned.Check(result, size)
	if err != nil {
		return err
	}
	der, err := cms.Trim(padded)
	if err != nil {
		return fmt.Errorf("%w: %w", pades.ErrResult, err)
	}
	return verify(der, &in)
}

// CheckStored is [Check] without another pass over the base, for a result of which
// the caller knows by its hash that it is what [Finish] wrote: a content-addressed
// store that has read all of the file it returns, and found res.SHA256. All else is read
// back: the increment to the byte, and, by a strict reader, the structure.
func CheckStored(result io.ReaderAt, size int64, in Intent, res Result) error {
	if size != res.Size {
		return fmt.Errorf("%w: it has %d bytes, not %d", pades.ErrResult, size, res.Size)
	}
	padded, err := in.CheckRevision(result, size)
	if err != nil {
		return err
	}
	if _, err := cms.Trim(padded); err != nil {
		return fmt.Errorf("%w: %w", pades.ErrResult, err)
	}
	return nil
}

// verify checks a CMS against the intent it was made for. Made again from its
// signature and token, it must come out the same to the byte, which covers the
// certificates in it, too.
func verify(der []byte, in *Intent) error {
	p, err := cms.Parse(der)
	if err != nil {
		return err
	}
	if err := cms.Verify(p, in.Digest); err != nil {
		return err
	}
	want, err := in.signedData()
	if err != nil {
		return err
	}
	if err := checkToken(p.Token, p.Signature, want.Chain[0]); err != nil {
		return err
	}
	want.Signature, want.Token = p.Signature, p.Token
	again, err := cms.Assemble(want)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, der) {
		return fmt.Errorf("%w: its CMS is not made of the intended bytes and certificates", pades.ErrResult)
	}
	return nil
}

// checkToken checks that a token stamps the signature, and that its time, as far off
// as its accuracy allows, lies in the validity of the certificate: a validator takes
// the signature for one made at that time (EN 319 102-1, clause 5.5).
func checkToken(der, signature []byte, c *x509.Certificate) error {
	if der == nil {
		return nil
	}
	t, err := timestamp.ParseToken(der)
	if err == nil {
		err = t.Covers(signature)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrToken, err)
	}
	if t.Time.Add(-t.Accuracy).Before(c.NotBefore) || t.Time.Add(t.Accuracy).After(c.NotAfter) {
		return fmt.Errorf("%w: it says %s, to within %v, and the certificate of %q holds from %s to %s", ErrToken,
			t.Time.UTC().Format(time.RFC3339), t.Accuracy, c.Subject,
			c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}
