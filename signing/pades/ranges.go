package pades

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"

	"countersign/signing/pdf"
)

// A Range is the byte range of a signature and the hash that it was made with.
type Range struct {
	Field     string // for messages
	ByteRange [4]int64
	Hash      crypto.Hash
}

// Digests is what one pass over a file computes.
type Digests struct {
	Ranges [][]byte  // the digest over each range, in the order given
	whole  hash.Hash // SHA-256, after the last byte
}

// Digests returns what [ExtendParams] needs of a file that was hashed on its way.
func (h *Hashed) Digests() *Digests { return &Digests{whole: h.run.base} }

// HashRanges computes the digests over the byte ranges of all signatures of a file in
// one pass: a later revision begins with the earlier ones, so what it adds is all that
// is hashed for it. Ranges that do not lie one behind the other like that are
// refused; no program could have made such signatures one after the other.
func HashRanges(f *pdf.File, ranges []Range) (*Digests, error) {
	p := rangePass{file: f.Reader(), running: map[crypto.Hash]hash.Hash{crypto.SHA256: sha256.New()}}
	for _, r := range ranges {
		if !r.Hash.Available() {
			return nil, fmt.Errorf("the signature in field %q was made with an unknown hash (%d)", r.Field, r.Hash)
		}
		if p.running[r.Hash] == nil {
			p.running[r.Hash] = r.Hash.New()
		}
	}
	order := make([]int, len(ranges))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(ranges[a].ByteRange[1], ranges[b].ByteRange[1]) })
	out := &Digests{Ranges: make([][]byte, len(ranges))}
	end := int64(0)
	for _, i := range order {
		b := ranges[i].ByteRange
		if b[0] != 0 || b[1] < end || b[2] < b[1] || b[3] < 0 || b[2]+b[3] > f.Size() {
			return nil, &pdf.RefusedError{
				Reason: pdf.ReasonSignature,
				Detail: fmt.Sprintf("the signature in field %q lies within what another one covers", ranges[i].Field),
			}
		}
		var err error
		if out.Ranges[i], err = p.digest(ranges[i]); err != nil {
			return nil, err
		}
		end = b[2] + b[3]
	}
	if err := p.feed(f.Size()); err != nil {
		return nil, err
	}
	out.whole = p.running[crypto.SHA256]
	return out, nil
}

// A rangePass hashes a file from its beginning, once.
type rangePass struct {
	file    *io.SectionReader
	running map[crypto.Hash]hash.Hash // over the bytes before at
	at      int64
}

// feed hashes on up to the offset end, which may be reached already.
func (p *rangePass) feed(end int64) error {
	var all []io.Writer
	for _, h := range p.running {
		all = append(all, h)
	}
	if err := p.copy(io.MultiWriter(all...), p.at, end); err != nil {
		return err
	}
	p.at = end
	return nil
}

// copy hands the bytes from one offset to another to w.
func (p *rangePass) copy(w io.Writer, from, to int64) error {
	if to <= from {
		return nil
	}
	return copyBase(w, io.NewSectionReader(p.file, from, to-from), to-from)
}

// digest returns the digest over one range, whose gap lies at or behind p.at.
func (p *rangePass) digest(r Range) ([]byte, error) {
	b := r.ByteRange
	if err := p.feed(b[1]); err != nil {
		return nil, err
	}
	own, err := clone(p.running[r.Hash])
	if err != nil {
		return nil, err
	}
	if err := p.copy(own, b[2], b[2]+b[3]); err != nil {
		return nil, err
	}
	return own.Sum(nil), nil
}
