package pades

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

// ErrLocks: a signature locks all names that the field of a document timestamp could have.
// To add a field changes none, so the standard permits it (ISO 32000-2, 12.8.2.4), and
// pyHanko agrees; but EU DSS (6.4) calls that signature invalid then.
var ErrLocks = errors.New("a signature in the PDF locks all of its fields, and some validators take a new document timestamp for a change of them")

// ErrNothingToAdd: the file has all of the validation data, and no timestamp is wanted.
var ErrNothingToAdd = errors.New("the PDF has all of this validation data already")

// ExtendParams says what to add to a signed file.
type ExtendParams struct {
	File    *pdf.File
	Digests *Digests        // of File, from HashRanges
	Data    revocation.Data // what the file has of it is left out
	Room    int             // bytes of timestamp token that must fit; 0: no document timestamp
	Strict  bool            // fail with ErrLocks rather than add a timestamp
}

// An Extension is an increment that adds validation data to a signed file and, if it
// has a gap, a document timestamp, which lacks only its token. It is plain data and
// rebuilds the file from its base, byte for byte. Without a gap, Head is all of it and
// Field, Hash, Digest and Tail are empty.
type Extension struct {
	Unsigned
	// Values are SHA-256 and kind of all that the file's Document Security Store
	// must hold afterwards.
	Values [][]byte `json:"values,omitempty"`
	Added  Counts   `json:"added"`
}

// Counts says how much validation data an extension adds.
type Counts struct {
	Certs int `json:"certs"`
	OCSPs int `json:"ocsps"`
	CRLs  int `json:"crls"`
}

// Extend lays out one increment with validation data (EN 319 142-1, clause 5.4.2) and a
// document timestamp in a field of its own (clause 5.4.3). With nothing to add it fails
// with ErrNothingToAdd.
func Extend(in ExtendParams) (*Extension, error) {
	if in.Room < 0 || in.Room > maxRoom {
		return nil, fmt.Errorf("pades: cannot reserve %d bytes for a timestamp", in.Room)
	}
	if err := in.File.CheckExtending(); err != nil {
		return nil, err
	}
	x := &Extension{Unsigned: Unsigned{BaseSize: in.File.Size(), BaseSHA256: hex.EncodeToString(in.Digests.whole.Sum(nil))}}
	var err error
	if x.Values, err = keys(in.Data); err != nil {
		return nil, err
	}
	e := newEdit(in.File)
	added, err := e.addDSS(in.Data)
	if err != nil {
		return nil, err
	}
	x.Added = Counts{len(added.Certs), len(added.OCSPs), len(added.CRLs)}
	if in.Room == 0 {
		if x.Added == (Counts{}) {
			return nil, ErrNothingToAdd
		}
		x.Head, err = e.finish()
		return x, err
	}
	return x, x.addTimestamp(e, in)
}

// addTimestamp completes the edit with the timestamp and lays it out.
func (x *Extension) addTimestamp(e *edit, in ExtendParams) error {
	fields, err := in.File.SignatureFields()
	if err != nil {
		return err
	}
	name, err := freshName(in.File, fields, in.Strict)
	if err != nil {
		return err
	}
	page, err := in.File.FirstPage()
	if err != nil {
		return err
	}
	field, sig := e.Alloc(), e.Alloc()
	e.Set(field, widget(name, spot{page: page}, " /V "+sig.String()))
	body, byteRange := timestampDict(in.Room)
	e.Set(sig, body)
	if err := e.addToForm([]pdf.Ref{field}); err != nil {
		return err
	}
	if err := e.addToPage(page, []pdf.Ref{field}); err != nil {
		return err
	}
	increment, err := e.finish()
	if err != nil {
		return err
	}
	end := int(e.End(sig) - in.File.Size())
	u := cut(SignParams{File: in.File, Field: name, Hash: crypto.SHA256, Room: in.Room}, increment, end)
	u.putByteRange(end - len(body) + byteRange)
	u.BaseSHA256 = x.BaseSHA256
	x.Unsigned = *u
	base, err := clone(in.Digests.whole)
	if err != nil {
		return err
	}
	x.Digest, err = (&hashes{base: base}).document(u)
	return err
}

// CheckTimestamp fails with ErrLocks if a document timestamp with [ExtendParams].Strict would
// fail once these empty fields are signed: they may prescribe locks.
func CheckTimestamp(f *pdf.File, toSign []string) error {
	fields, err := f.SignatureFields()
	if err != nil {
		return err
	}
	fields = slices.Clone(fields)
	for i, fd := range fields {
		if fd.Signed || !slices.Contains(toSign, fd.Name) {
			continue
		}
		l, err := f.FieldLock(fd)
		if err != nil {
			return err
		}
		if l != nil {
			fields[i].Signed, fields[i].Locks = true, []pdf.Lock{*l}
		}
	}
	_, err = freshName(f, fields, true)
	return err
}

// timestampStem begins the name of each document timestamp's field.
const timestampStem = "DocTimeStamp"

// freshName returns a name that no field has, and that no lock covers if such a name can be
// found: among the first ones, as a lock may except those.
func freshName(f *pdf.File, fields []pdf.Field, strict bool) (string, error) {
	first, name := "", timestampStem
	for n := 2; n < 100 || first == ""; n++ {
		has, err := f.HasField(name)
		if err != nil {
			return "", err
		}
		if !has && !newlyLocked(fields, name) {
			return name, nil
		}
		if !has && first == "" {
			first = name
		}
		name = fmt.Sprintf("%s_%d", timestampStem, n)
	}
	if strict {
		return "", ErrLocks
	}
	return first, nil
}

// newlyLocked reports whether a lock covers a name, and no document timestamp that is
// there already.
func newlyLocked(fields []pdf.Field, name string) bool {
	for _, fd := range fields {
		for _, l := range fd.Locks {
			there := slices.ContainsFunc(fields, func(t pdf.Field) bool { return t.Kind == pdf.TimestampField && l.Covers(t.Name) })
			if fd.Signed && l.Covers(name) && !there {
				return true
			}
		}
	}
	return false
}

// timestampDict writes the dictionary of a document timestamp (EN 319 142-1, clause
// 5.4.3), laid out as [sigDict] does it.
func timestampDict(room int) (body []byte, byteRange int) {
	b := []byte("<< /Type /DocTimeStamp /Filter /Adobe.PPKLite /SubFilter /ETSI.RFC3161 /ByteRange ")
	byteRange = len(b)
	return withGap(b, room), byteRange
}

// Timestamped tells whether the increment has a document timestamp.
func (x *Extension) Timestamped() bool { return x.GapHex > 0 }

func (x *Extension) check() error {
	if x.Timestamped() {
		return x.Unsigned.check()
	}
	if len(x.Head) == 0 || len(x.Tail) > 0 || x.BaseSize < 1 {
		return errors.New("pades: the stored increment with validation data is damaged")
	}
	return nil
}

// Write writes the extended file, as [Unsigned.Write] does; token is nil if there is no
// document timestamp.
func (x *Extension) Write(w io.Writer, base io.ReaderAt, token []byte) (*Hashed, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	if x.Timestamped() {
		return x.Unsigned.Write(w, base, token)
	}
	if token != nil {
		return nil, errUnasked
	}
	h := newHashed(crypto.SHA256)
	if err := copyBase(io.MultiWriter(h, w), io.NewSectionReader(base, 0, x.BaseSize), x.BaseSize); err != nil {
		return nil, err
	}
	if got := h.SHA256(); got != x.BaseSHA256 {
		return nil, fmt.Errorf("%w: its SHA-256 is %s, not %s", ErrChanged, got, x.BaseSHA256)
	}
	h.Write(x.Head)
	if _, err := w.Write(x.Head); err != nil {
		return nil, fmt.Errorf("write the extended PDF: %w", err)
	}
	return h, nil
}

var errUnasked = errors.New("pades: a timestamp for an increment that has no place for one")

// Check reads a finished file back and returns the padded token in its gap, nil if it
// has none. It fails with ErrResult unless the file is base and increment, to the
// byte, a strict reader finds all validation data in it and the timestamp over the
// whole file, and every signature of the base is where it was.
func (x *Extension) Check(result io.ReaderAt, size int64) (token []byte, err error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	if x.Timestamped() {
		token, err = x.Unsigned.Check(result, size)
	} else {
		err = x.checkPlain(result, size)
	}
	if err != nil {
		return nil, err
	}
	f, err := pdf.Open(result, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResult, err)
	}
	base, err := pdf.Open(io.NewSectionReader(result, 0, x.BaseSize), x.BaseSize)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResult, err)
	}
	return token, x.checkRevision(base, f)
}

// checkRevision fails unless the result has all validation data, and the signatures of
// its base.
func (x *Extension) checkRevision(base, result *pdf.File) error {
	if err := x.checkStore(result); err != nil {
		return err
	}
	return x.checkFields(base, result)
}

// checkPlain compares base and increment where there is no gap.
func (x *Extension) checkPlain(result io.ReaderAt, size int64) error {
	if size != x.Size() {
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrResult, size, x.Size())
	}
	h, err := Hash(result, x.BaseSize, crypto.SHA256)
	if err != nil {
		return err
	}
	if h.SHA256() != x.BaseSHA256 {
		return fmt.Errorf("%w: it does not begin with the document that was to be extended", ErrResult)
	}
	_, err = x.checkIncrement(result)
	return err
}

// checkStore fails unless the store holds all it must.
func (x *Extension) checkStore(f *pdf.File) error {
	d, err := openDSS(f)
	have := map[string]bool{}
	if err == nil {
		err = d.each(f, func(kind int, value []byte) {
			k := key(kind, value)
			have[string(k[:])] = true
		})
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrResult, err)
	}
	for _, k := range x.Values {
		if !have[string(k)] {
			return fmt.Errorf("%w: validation data is missing", ErrResult)
		}
	}
	return nil
}

// checkFields fails unless the signatures of the base are what they were, and the new
// timestamp is all that came to them.
func (x *Extension) checkFields(base, f *pdf.File) error {
	before, err := base.SignatureFields()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrResult, err)
	}
	after, err := f.SignatureFields()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrResult, err)
	}
	if x.Timestamped() {
		after = slices.DeleteFunc(slices.Clone(after), func(fd pdf.Field) bool {
			return fd.Name == x.Field && fd.Kind == pdf.TimestampField
		})
	}
	same := slices.EqualFunc(before, after, func(a, b pdf.Field) bool {
		return a.Name == b.Name && a.Kind == b.Kind && a.Signed == b.Signed && a.Signature == b.Signature &&
			a.ByteRange == b.ByteRange && bytes.Equal(a.ContentsHex, b.ContentsHex)
	})
	if !same {
		return fmt.Errorf("%w: its earlier signatures are not what they were", ErrResult)
	}
	return nil
}
