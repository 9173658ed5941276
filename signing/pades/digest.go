package pades

import (
	"crypto"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512, if the signer demands them
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// hashes computes the SHA-256 of the base and, from the same bytes, the digest
// over the byte range.
type hashes struct {
	base  hash.Hash
	other hash.Hash // nil if the byte range is hashed with SHA-256, too
}

func (u *Unsigned) newHashes() *hashes {
	h := &hashes{base: sha256.New()}
	if u.Hash != crypto.SHA256 {
		h.other = u.Hash.New()
	}
	return h
}

// Write hashes bytes of the base.
func (h *hashes) Write(b []byte) (int, error) {
	if h.other != nil {
		h.other.Write(b) // a hash never fails
	}
	return h.base.Write(b)
}

func (h *hashes) baseHex() string { return hex.EncodeToString(h.base.Sum(nil)) }

// document returns the digest over the byte range, once the base was written.
func (h *hashes) document(u *Unsigned) ([]byte, error) {
	d := h.other
	if d == nil {
		var err error
		if d, err = clone(h.base); err != nil {
			return nil, err
		}
	}
	d.Write(u.Head[:len(u.Head)-1])
	d.Write(u.Tail[1:])
	return d.Sum(nil), nil
}

// clone copies a running hash, so that the base is read only once.
func clone(h hash.Hash) (hash.Hash, error) {
	c, ok := h.(hash.Cloner)
	if !ok {
		return nil, errors.New("pades: a hash that cannot be cloned")
	}
	return c.Clone()
}

// copyBase copies exactly size bytes in large pieces.
func copyBase(w io.Writer, base io.Reader, size int64) error {
	// Both wrapped, so that neither end takes over and chooses small pieces.
	src, dst := struct{ io.Reader }{io.LimitReader(base, size)}, struct{ io.Writer }{w}
	n, err := io.CopyBuffer(dst, src, make([]byte, min(256<<10, size+1)))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("copy the PDF to be signed (%d of %d bytes): %w", n, size, err)
	}
	return nil
}
