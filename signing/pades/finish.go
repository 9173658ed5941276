package pades

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"countersign/signing/pdf"
)

var (
	// ErrChanged: the base is not the one that the increment was made for.
	ErrChanged = errors.New("the PDF has changed since its signature was prepared")
	// ErrNoRoom: the CMS is larger than the room reserved for it.
	ErrNoRoom = errors.New("the signature does not fit into the room reserved for it")
	// ErrResult: a finished file is not what the stored increment says it must be.
	ErrResult = errors.New("the signed PDF is not what was prepared")
)

// check rejects what cannot have come from Begin.
func (u *Unsigned) check() error {
	if !u.Hash.Available() || len(u.Head) < 2 || u.Head[len(u.Head)-1] != '<' || u.BaseSize < 1 ||
		len(u.Tail) < 2 || u.Tail[0] != '>' || u.GapHex < 2 || u.GapHex > 2*maxRoom || u.GapHex%2 != 0 {
		return errors.New("pades: the stored signature increment is damaged")
	}
	return nil
}

// Write writes the signed file: the base, then the increment with the CMS in its
// gap, padded with zeros (ISO 32000-2, 12.8.1). It returns the hashes of what
// it wrote. If it fails (ErrNoRoom, ErrChanged, or an error of reader or writer) what was
// written must be thrown away.
func (u *Unsigned) Write(w io.Writer, base io.ReaderAt, cms []byte) (*Hashed, error) {
	if err := u.check(); err != nil {
		return nil, err
	}
	revision, err := u.revision(cms)
	if err != nil {
		return nil, err
	}
	h := newHashed(u.Hash)
	if err := copyBase(io.MultiWriter(h, w), io.NewSectionReader(base, 0, u.BaseSize), u.BaseSize); err != nil {
		return nil, err
	}
	if err := u.checkBound(h); err != nil {
		return nil, err
	}
	h.Write(revision)
	if _, err := w.Write(revision); err != nil {
		return nil, fmt.Errorf("write the signed PDF: %w", err)
	}
	return h, nil
}

// Size returns the size of the signed file.
func (u *Unsigned) Size() int64 {
	return u.BaseSize + int64(len(u.Head)+u.GapHex+len(u.Tail))
}

// Check reads a finished file back and returns the padded CMS that stands in its
// gap. It fails with ErrResult unless the file is the base, byte for byte,
// followed by exactly this increment, the digest over the byte range is the one that
// was to be signed, and a strict reader finds the field signed, with the byte
// range up to the end of the file.
func (u *Unsigned) Check(result io.ReaderAt, size int64) ([]byte, error) {
	if err := u.check(); err != nil {
		return nil, err
	}
	if size == u.Size() {
		if err := u.checkBase(result); err != nil {
			return nil, err
		}
	}
	return u.CheckRevision(result, size)
}

// CheckRevision is Check without the base: for a result of which the caller knows, by
// a hash made of what stands in it, that it is what [Unsigned.Write] wrote.
func (u *Unsigned) CheckRevision(result io.ReaderAt, size int64) ([]byte, error) {
	if err := u.check(); err != nil {
		return nil, err
	}
	if size != u.Size() {
		return nil, fmt.Errorf("%w: it has %d bytes, not %d", ErrResult, size, u.Size())
	}
	gap, err := u.checkIncrement(result)
	if err != nil {
		return nil, err
	}
	f, err := pdf.Open(result, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResult, err)
	}
	found, err := u.findSigned(f)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(found, gap) {
		return nil, fmt.Errorf("%w: field %q does not hold its signature", ErrResult, u.Field)
	}
	cms := make([]byte, len(gap)/2)
	if _, err := hex.Decode(cms, gap); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResult, err)
	}
	return cms, nil
}

// findSigned returns the digits of /Contents of the field, which must be signed over
// the whole file.
func (u *Unsigned) findSigned(f *pdf.File) ([]byte, error) {
	fields, err := f.SignatureFields()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResult, err)
	}
	for _, fd := range fields {
		if fd.Name == u.Field && fd.Signed && fd.ByteRange == u.ByteRange() {
			return fd.ContentsHex, nil
		}
	}
	return nil, fmt.Errorf("%w: field %q is not signed over the whole file", ErrResult, u.Field)
}

// checkBase compares the digests over the base and over the byte range.
func (u *Unsigned) checkBase(result io.ReaderAt) error {
	h := u.newHashes()
	if err := copyBase(h, io.NewSectionReader(result, 0, u.BaseSize), u.BaseSize); err != nil {
		return err
	}
	if h.baseHex() != u.BaseSHA256 {
		return fmt.Errorf("%w: it does not begin with the document that was to be signed", ErrResult)
	}
	d, err := h.document(u)
	if err != nil {
		return err
	}
	if !bytes.Equal(d, u.Digest) {
		return fmt.Errorf("%w: its digest is not the one that was to be signed", ErrResult)
	}
	return nil
}

// checkIncrement compares what follows the base and returns the digits in the gap.
func (u *Unsigned) checkIncrement(result io.ReaderAt) ([]byte, error) {
	b := make([]byte, len(u.Head)+u.GapHex+len(u.Tail))
	if n, err := result.ReadAt(b, u.BaseSize); n < len(b) {
		return nil, fmt.Errorf("read the signed PDF back: %w", err)
	}
	head, rest := b[:len(u.Head)], b[len(u.Head):]
	gap, tail := rest[:u.GapHex], rest[u.GapHex:]
	if !bytes.Equal(head, u.Head) || !bytes.Equal(tail, u.Tail) {
		return nil, fmt.Errorf("%w: its last revision differs from what was prepared", ErrResult)
	}
	return gap, nil
}

// Append writes a file and an increment of it, and returns the hashes of both.
func Append(w io.Writer, f *pdf.File, increment []byte) (*Hashed, error) {
	h := newHashed(crypto.SHA256)
	out := io.MultiWriter(h, w)
	if err := copyBase(out, f.Reader(), f.Size()); err != nil {
		return nil, err
	}
	if _, err := out.Write(increment); err != nil {
		return nil, fmt.Errorf("write the prepared PDF: %w", err)
	}
	return h, nil
}
