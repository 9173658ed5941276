package pades

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/signing/pdf"
)

// SignParams says what to sign and what the signature dictionary tells.
type SignParams struct {
	File          *pdf.File
	Base          *Hashed     // of File; nil: Begin reads the file to hash it
	Field         string      // fully qualified name of an empty signature field
	NewField      *FieldSpec  // instead of Field: make this invisible field in the same increment
	Certification int         // 1, 2 or 3: certify with this DocMDP level; 0: approval signature
	Hash          crypto.Hash // digest over the byte range
	Room          int         // bytes of CMS that must fit
	SigningTime   time.Time   // /M, written in UTC

	Name, Reason, Location, ContactInfo string // left out if empty

	// Unprepared says that Field is one of a file that nobody has checked: it is, as
	// [Prepare] does it, and new objects get numbers that nothing in it mentions.
	Unprepared bool
	// Stamped says that the CMS will hold a timestamp, which a field may demand.
	Stamped bool
	// Lock says which fields the signature locks, beyond what the field prescribes (its
	// /Lock); nil: none.
	Lock *pdf.Lock
	// Appearance draws what is seen in a visible field; nil: nothing. In an invisible
	// field it is not asked.
	Appearance Appearance
}

// Unsigned is an increment that lacks only its CMS, and the digest that the CMS
// has to sign. It holds everything that is needed to rebuild the file from
// its base, byte for byte, and is made to be stored as JSON.
type Unsigned struct {
	BaseSHA256 string      `json:"base_sha256"` // hexadecimal
	BaseSize   int64       `json:"base_size"`
	Field      string      `json:"field"`
	Hash       crypto.Hash `json:"hash"`
	Digest     []byte      `json:"digest"`  // over the byte range, made with Hash
	Head       []byte      `json:"head"`    // the increment up to and with the "<" of /Contents
	GapHex     int         `json:"gap_hex"` // digits between the brackets
	Tail       []byte      `json:"tail"`    // from the ">" on
}

// maxRoom bounds what a caller may reserve.
const maxRoom = 1 << 20

// Begin lays out the increment that signs an empty field, or a new one, and computes
// the digest over its byte range. It reads the base once, unless Base is given.
func Begin(in SignParams) (*Unsigned, error) {
	u, err := newEdit(in.File).lay(in)
	if err != nil {
		return nil, err
	}
	if in.Base == nil || !in.Base.has(in.Hash) {
		if in.Base, err = Hash(in.File.Reader(), in.File.Size(), in.Hash); err != nil {
			return nil, err
		}
	}
	return u, u.bind(in.Base)
}

// lay is Begin without the digests.
func (e *edit) lay(in SignParams) (*Unsigned, error) {
	if !in.Hash.Available() || in.Room < 1 || in.Room > maxRoom || in.Certification < 0 || in.Certification > 3 {
		return nil, fmt.Errorf("pades: cannot sign with hash %d, %d bytes of room, certification %d",
			in.Hash, in.Room, in.Certification)
	}
	if in.NewField != nil || in.Unprepared { // also for the numbers that it mentions
		if err := e.checkStructure(); err != nil {
			return nil, err
		}
		e.checkStructure = func() error { return nil }
	}
	sig := e.Alloc()
	lock, err := e.sign(&in, sig)
	if err != nil {
		return nil, err
	}
	body, byteRange := sigDict(in, lock)
	e.Set(sig, body)
	if in.Certification > 0 {
		if err := e.setPerms(sig); err != nil {
			return nil, err
		}
	}
	increment, err := e.finish()
	if err != nil {
		return nil, err
	}
	// From its end: in an encrypted file the strings before the byte range have grown.
	end := int(e.End(sig) - in.File.Size())
	out := cut(in, increment, end)
	out.putByteRange(end - len(body) + byteRange)
	return out, nil
}

// sign makes sig the value of the field to be signed and returns what that field
// locks.
func (e *edit) sign(in *SignParams, sig pdf.Ref) (*pdf.Lock, error) {
	if in.NewField != nil {
		return e.signNew(in, sig)
	}
	field, err := emptyField(*in)
	if err != nil {
		return nil, err
	}
	lock, err := fieldLock(*in, field)
	if err == nil {
		err = checkSeed(*in, field, lock)
	}
	if err != nil {
		return nil, err
	}
	v := pdf.Change{Key: "V", Raw: []byte(sig.String())}
	if err := e.fill(field.Object, v, in.Appearance); err != nil {
		return nil, err
	}
	return lock, e.setFlags()
}

// signNew makes the field, which is invisible, in the same increment.
func (e *edit) signNew(in *SignParams, sig pdf.Ref) (*pdf.Lock, error) {
	if in.Field != "" || in.NewField.Lock != nil || in.NewField.Place != nil {
		return nil, errors.New("pades: a field that is named, visible or locks others is prepared first")
	}
	refs, names, err := e.addFields([]FieldSpec{*in.NewField})
	if err != nil {
		return nil, err
	}
	in.Field = names[0]
	if err := in.File.CheckSigning(in.Field, in.Certification); err != nil {
		return nil, err
	}
	body, ok := bytes.CutSuffix(e.Body(refs[0]), []byte(">>"))
	if !ok {
		return nil, fmt.Errorf("pades: the new field %q is no dictionary", in.Field)
	}
	e.Set(refs[0], fmt.Appendf(nil, "%s/V %s >>", body, sig))
	if in.Lock != nil {
		if err := in.Lock.Check(); err != nil {
			return nil, fmt.Errorf("pades: signing field %q: %w", in.Field, err)
		}
	}
	return in.Lock, nil
}

// emptyField finds the field and checks that it may be signed.
func emptyField(in SignParams) (pdf.Field, error) {
	fields, err := in.File.SignatureFields()
	if err != nil {
		return pdf.Field{}, err
	}
	for _, fd := range fields {
		if fd.Name != in.Field {
			continue
		}
		if fd.Signed {
			return fd, &pdf.RefusedError{
				Reason: pdf.ReasonLocked,
				Detail: fmt.Sprintf("the field %q is signed already", fd.Name),
			}
		}
		return fd, in.File.CheckSigning(fd.Name, in.Certification)
	}
	var empty []string
	for _, fd := range fields {
		if !fd.Signed {
			empty = append(empty, fmt.Sprintf("%q", fd.Name))
		}
	}
	if empty == nil {
		return pdf.Field{}, fmt.Errorf("the PDF has no signature field %q, nor any other that is empty", in.Field)
	}
	return pdf.Field{}, fmt.Errorf("the PDF has no signature field %q; those it has are %s", in.Field, strings.Join(empty, ", "))
}

// byteRangeWidth holds "[0 a b c]" with numbers of up to 19 digits. What is not needed
// is filled with spaces.
const byteRangeWidth = 64

// noByteRange stands where the byte range goes.
const noByteRange = "[0 0 0 0]"

// sigDict writes the signature dictionary (ISO 32000-2, Table 255; EN 319 142-1,
// clause 6.3), with room where the byte range goes and /Contents last. It
// returns the offset of the byte range, too.
func sigDict(in SignParams, lock *pdf.Lock) (body []byte, byteRange int) {
	b := []byte("<< /Type /Sig /Filter /" + filter + " /SubFilter /" + subFilter)
	b = fmt.Appendf(b, " /M (D:%s)", in.SigningTime.UTC().Format("20060102150405Z"))
	for _, e := range []struct{ key, text string }{
		{"Name", in.Name}, {"Reason", in.Reason}, {"Location", in.Location}, {"ContactInfo", in.ContactInfo},
	} {
		if e.text != "" {
			b = fmt.Appendf(b, " /%s %s", e.key, pdf.TextString(e.text))
		}
	}
	b = append(b, references(in, lock)...)
	b = append(b, " /ByteRange "...)
	byteRange = len(b)
	return withGap(b, in.Room), byteRange
}

// withGap ends a signature dictionary: room where the byte range goes, and /Contents.
func withGap(b []byte, room int) []byte {
	b = slices.Grow(b, byteRangeWidth+2*room+len(contents)+len(contentsEnd))
	b = fmt.Appendf(b, "%-*s", byteRangeWidth, noByteRange)
	b = append(b, contents...)
	for range 2 * room {
		b = append(b, '0')
	}
	return append(b, contentsEnd...)
}

// references writes what the signature forbids (ISO 32000-2, 12.8.2): by DocMDP if it
// certifies, by FieldMDP if its field has a lock. Only FieldMDP needs /Data (Table 256).
func references(in SignParams, lock *pdf.Lock) []byte {
	if in.Certification == 0 && lock == nil {
		return nil
	}
	const start = " << /Type /SigRef /TransformMethod /%s /TransformParams << /Type /TransformParams"
	b := []byte(" /Reference [")
	if in.Certification > 0 {
		b = fmt.Appendf(b, start+" /P %d /V /1.2 >> >>", "DocMDP", in.Certification)
	}
	if lock != nil {
		b = fmt.Appendf(b, start+" %s /V /1.2 >> /Data %s >>", "FieldMDP", lock.Entries(), in.File.Catalog().Ref)
	}
	return append(b, " ]"...)
}

// What stands before and behind the digits of /Contents in the dictionary.
const (
	contents    = " /Contents <"
	contentsEnd = "> >>"
)

// setFlags sets the signature flags for an empty field that others have made.
func (e *edit) setFlags() error {
	form, err := e.f.AcroForm()
	if err != nil {
		return err
	}
	return e.setForm(form, nil)
}

// setPerms names the certification in the catalog (ISO 32000-2, 12.8.6).
func (e *edit) setPerms(sig pdf.Ref) error {
	perms, err := e.f.ResolveObject(e.f.Catalog().Value.Get("Perms"))
	if err != nil {
		return err
	}
	mdp := pdf.Change{Key: "DocMDP", Raw: []byte(sig.String())}
	switch kind := perms.Value.Kind(); {
	case kind == pdf.Dict && perms.Ref != (pdf.Ref{}):
		e.Set(perms.Ref, perms.Value.With(mdp))
	case kind == pdf.Dict || perms.Value.IsNull():
		e.catalog = append(e.catalog, pdf.Change{Key: "Perms", Raw: perms.Value.With(mdp)})
	default:
		return &pdf.RefusedError{
			Reason: pdf.ReasonBroken,
			Detail: fmt.Sprintf("its permissions (/Perms) are %s", kind),
		}
	}
	return nil
}

// cut splits the increment at the gap; end is the offset behind the dictionary.
func cut(in SignParams, increment []byte, end int) *Unsigned {
	shut := end - len(contentsEnd)
	return &Unsigned{
		BaseSize: in.File.Size(), Field: in.Field, Hash: in.Hash, GapHex: 2 * in.Room,
		Head: slices.Clip(increment[:shut-2*in.Room]), Tail: increment[shut:],
	}
}

// ByteRange returns what the signature covers: all but the hexadecimal string
// with its brackets.
func (u *Unsigned) ByteRange() [4]int64 {
	open := u.BaseSize + int64(len(u.Head)) - 1
	after := open + int64(u.GapHex) + 2
	return [4]int64{0, open, after, int64(len(u.Tail)) - 1}
}

func (u *Unsigned) putByteRange(at int) {
	b := u.ByteRange()
	copy(u.Head[at:], fmt.Sprintf("[%d %d %d %d]", b[0], b[1], b[2], b[3]))
}
