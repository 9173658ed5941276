package pades

import (
	"bytes"
	"crypto"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Hashed is what one pass over a file leaves behind: its hashes, still running after
// its last byte, so that what is appended to the file can be hashed without reading
// the file again. It is not changed by anything that uses it.
type Hashed struct {
	run  hashes
	kind crypto.Hash // of run.other; SHA-256 if there is none
	size int64
}

// newHashed starts at the first byte of a file.
func newHashed(kind crypto.Hash) *Hashed {
	return &Hashed{run: *(&Unsigned{Hash: kind}).newHashes(), kind: kind}
}

// Hash reads a file once, with SHA-256 and with the digest that its signature will need.
func Hash(base io.ReaderAt, size int64, kind crypto.Hash) (*Hashed, error) {
	if !kind.Available() {
		return nil, fmt.Errorf("pades: the hash %d is unknown", kind)
	}
	h := newHashed(kind)
	if err := copyBase(h, io.NewSectionReader(base, 0, size), size); err != nil {
		return nil, err
	}
	return h, nil
}

// Resume returns the hash of a file that was read before, from its size, its SHA-256
// in hexadecimal and what [Hashed.State] returned then. A state that is not one of
// this SHA-256 is refused.
func Resume(size int64, sum string, state []byte) (*Hashed, error) {
	h := newHashed(crypto.SHA256)
	u, ok := h.run.base.(encoding.BinaryUnmarshaler)
	if !ok {
		return nil, errors.New("pades: this SHA-256 cannot be resumed")
	}
	if err := u.UnmarshalBinary(state); err != nil {
		return nil, fmt.Errorf("resume the hash of the file %s: %w", sum, err)
	}
	h.size = size
	if h.SHA256() != sum {
		return nil, fmt.Errorf("%w: its stored hash has become %s, not %s", ErrChanged, h.SHA256(), sum)
	}
	return h, nil
}

// Write appends to what is hashed.
func (h *Hashed) Write(b []byte) (int, error) {
	h.size += int64(len(b))
	return h.run.Write(b)
}

// SHA256 returns the SHA-256 of the file in hexadecimal.
func (h *Hashed) SHA256() string { return h.run.baseHex() }

// Size returns the size of the file in bytes.
func (h *Hashed) Size() int64 { return h.size }

// State returns the running SHA-256, about 100 bytes, for [Resume]. It holds up to 63
// of the file's last bytes in the clear.
func (h *Hashed) State() ([]byte, error) {
	m, ok := h.run.base.(encoding.BinaryMarshaler)
	if !ok {
		return nil, errors.New("pades: this SHA-256 cannot be stored")
	}
	return m.MarshalBinary()
}

// has reports whether digests of this kind can be computed from it.
func (h *Hashed) has(kind crypto.Hash) bool { return kind == crypto.SHA256 || kind == h.kind }

// clone returns a copy that can be written to.
func (h *Hashed) clone() (*Hashed, error) {
	c := &Hashed{kind: h.kind, size: h.size}
	var err error
	if c.run.base, err = clone(h.run.base); err != nil || h.run.other == nil {
		return c, err
	}
	c.run.other, err = clone(h.run.other)
	return c, err
}

// digest returns the digest over the byte range of u, whose base this is.
func (h *Hashed) digest(u *Unsigned) ([]byte, error) {
	if !h.has(u.Hash) || h.size != u.BaseSize {
		return nil, errors.New("pades: these hashes are not those of the increment's base")
	}
	c, err := h.clone()
	if err != nil {
		return nil, err
	}
	if u.Hash == crypto.SHA256 {
		c.run.other = nil
	}
	return c.run.document(u)
}

// bind fills in the digests over the base and over the byte range.
func (u *Unsigned) bind(h *Hashed) (err error) {
	u.BaseSHA256 = h.SHA256()
	u.Digest, err = h.digest(u)
	return err
}

// checkBound fails unless the base and the digest to be signed are those of h.
func (u *Unsigned) checkBound(h *Hashed) error {
	if got := h.SHA256(); got != u.BaseSHA256 || h.size != u.BaseSize {
		return fmt.Errorf("%w: its SHA-256 is %s, not %s", ErrChanged, got, u.BaseSHA256)
	}
	d, err := h.digest(u)
	if err != nil {
		return err
	}
	if !bytes.Equal(d, u.Digest) {
		return fmt.Errorf("%w: the digest that was signed is not its own", ErrChanged)
	}
	return nil
}

// revision returns the increment with the CMS in its gap, padded with zeros.
func (u *Unsigned) revision(cms []byte) ([]byte, error) {
	if len(cms) == 0 || 2*len(cms) > u.GapHex {
		return nil, fmt.Errorf("%w: %d bytes, room for %d", ErrNoRoom, len(cms), u.GapHex/2)
	}
	b := make([]byte, 0, len(u.Head)+u.GapHex+len(u.Tail))
	b = append(b, u.Head...)
	b = hex.AppendEncode(b, cms)
	for i := 2 * len(cms); i < u.GapHex; i++ {
		b = append(b, '0')
	}
	return append(b, u.Tail...), nil
}
