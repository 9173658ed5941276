// Package audit keeps the append-only record of who asked for, approved and got
// which signature. Entries are the leaves of a Merkle tree (RFC 6962, section
// 2.1), so a changed, removed, added or moved entry shows in [Verify], and one
// entry can be proved to an outsider without showing the others.
//
// The package is pure: it computes hashes and proofs, a store keeps them. The
// leaf of an entry is what [Leaf] says; the hashes of complete subtrees are
// stored in the order of tlog.StoredHashIndex, about two of 32 bytes per entry.
// A head is a pair of tree size and root hash; whoever kept an old head can prove
// that today's log extends it.
package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"

	"golang.org/x/mod/sumdb/tlog"

	"countersign/store"
)

// ErrTooLarge reports a tree size that no log of ours can have.
var ErrTooLarge = errors.New("tree size is out of range")

// Leaf returns the bytes whose record hash (RFC 6962: SHA-256 over 0x00 and
// these bytes) is the leaf of e. All numbers are big-endian:
//
//	8 bytes  seconds since 1970 of e.Time, signed
//	4 bytes  nanoseconds within that second
//	4 bytes  length of e.Request
//	         e.Request
//	         e.Data, to the end
//
// Everything a reader of the log sees is in it, so no field can be changed alone.
func Leaf(e store.Entry) []byte {
	b := make([]byte, 0, 16+len(e.Request)+len(e.Data))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Time.Nanosecond()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Request)))
	b = append(b, e.Request...)
	return append(b, e.Data...)
}

// Append adds entries to a log of the given size. It returns the hashes to store:
// the first belongs at index FirstHash(size), the others follow. r reads the
// hashes stored before; at most log2(size) of them are needed.
func Append(size uint64, entries []store.Entry, r tlog.HashReader) ([]tlog.Hash, error) {
	if size > math.MaxInt64/4-uint64(len(entries)) {
		return nil, fmt.Errorf("append to the audit log at size %d: %w", size, ErrTooLarge)
	}
	o := overlay{base: r, first: FirstHash(size)}
	for i, e := range entries {
		hashes, err := tlog.StoredHashes(int64(size)+int64(i), Leaf(e), &o)
		if err != nil {
			return nil, fmt.Errorf("append audit entry %d: %w", size+uint64(i), err)
		}
		o.added = append(o.added, hashes...)
	}
	return o.added, nil
}

// FirstHash returns the number of hashes stored for a log of the given size,
// which is the index of the first hash that the next entry adds.
func FirstHash(size uint64) int64 {
	return tlog.StoredHashCount(int64(min(size, math.MaxInt64/4)))
}

// overlay reads hashes that are stored already from base, newer ones from added.
type overlay struct {
	base  tlog.HashReader
	first int64
	added []tlog.Hash
}

// ReadHashes implements tlog.HashReader.
func (o *overlay) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	var old []int64
	var at []int
	for i, x := range indexes {
		switch {
		case x < o.first:
			old, at = append(old, x), append(at, i)
		case x-o.first < int64(len(o.added)):
			out[i] = o.added[x-o.first]
		default:
			return nil, fmt.Errorf("audit hash %d does not exist yet", x)
		}
	}
	if len(old) == 0 {
		return out, nil
	}
	hashes, err := readHashes(o.base, old)
	if err != nil {
		return nil, err
	}
	for i, h := range hashes {
		out[at[i]] = h
	}
	return out, nil
}

// readHashes checks that a reader answers what it was asked.
func readHashes(r tlog.HashReader, indexes []int64) ([]tlog.Hash, error) {
	hashes, err := r.ReadHashes(indexes)
	if err != nil {
		return nil, fmt.Errorf("read %d audit hashes: %w", len(indexes), err)
	}
	if len(hashes) != len(indexes) {
		return nil, fmt.Errorf("read %d audit hashes: got %d", len(indexes), len(hashes))
	}
	return hashes, nil
}

// Root returns the root hash of a log of the given size (RFC 6962, 2.1); the root
// of the empty log is the SHA-256 of nothing.
func Root(size uint64, r tlog.HashReader) ([32]byte, error) {
	if size > math.MaxInt64/4 {
		return [32]byte{}, fmt.Errorf("root of the audit log at size %d: %w", size, ErrTooLarge)
	}
	h, err := tlog.TreeHash(int64(size), r)
	if err != nil {
		return [32]byte{}, fmt.Errorf("root of the audit log at size %d: %w", size, err)
	}
	return h, nil
}

// ProveEntry returns the proof that entry index (from 0) is in the log of the
// given size: the audit path of RFC 6962, 2.1.1.
func ProveEntry(index, size uint64, r tlog.HashReader) ([]tlog.Hash, error) {
	if index >= size || size > math.MaxInt64/4 {
		return nil, fmt.Errorf("prove audit entry %d of %d: %w", index, size, ErrTooLarge)
	}
	p, err := tlog.ProveRecord(int64(size), int64(index), r)
	if err != nil {
		return nil, fmt.Errorf("prove audit entry %d of %d: %w", index, size, err)
	}
	return p, nil
}

// CheckEntry checks a proof of [ProveEntry]: e is entry index of the log whose
// size and root are given by head.
func CheckEntry(proof []tlog.Hash, e store.Entry, index uint64, head Head) error {
	if index >= head.Size || head.Size > math.MaxInt64/4 {
		return fmt.Errorf("check audit entry %d of %d: %w", index, head.Size, ErrTooLarge)
	}
	err := tlog.CheckRecord(proof, int64(head.Size), head.Root, int64(index), tlog.RecordHash(Leaf(e)))
	if err != nil {
		return fmt.Errorf("check audit entry %d of %d: %w", index, head.Size, err)
	}
	return nil
}

// A Head names one state of the log: how many entries it has, and the root hash
// over them.
type Head struct {
	Size uint64
	Root [32]byte
}

// ProveExtends returns the proof that the log of size newer begins with the log
// of size older (RFC 6962, 2.1.2). Every log extends the empty one; that proof is
// empty.
func ProveExtends(older, newer uint64, r tlog.HashReader) ([]tlog.Hash, error) {
	if older > newer || newer > math.MaxInt64/4 {
		return nil, fmt.Errorf("prove that audit log %d extends %d: %w", newer, older, ErrTooLarge)
	}
	if older == 0 {
		return nil, nil
	}
	p, err := tlog.ProveTree(int64(newer), int64(older), r)
	if err != nil {
		return nil, fmt.Errorf("prove that audit log %d extends %d: %w", newer, older, err)
	}
	return p, nil
}

// CheckExtends checks a proof of [ProveExtends].
func CheckExtends(proof []tlog.Hash, older, newer Head) error {
	if older.Size > newer.Size || newer.Size > math.MaxInt64/4 {
		return fmt.Errorf("check that audit log %d extends %d: %w", newer.Size, older.Size, ErrTooLarge)
	}
	if older.Size == 0 {
		if older.Root != emptyRoot() || len(proof) > 0 {
			return errors.New("check that the audit log extends the empty one: wrong root or proof of the empty log")
		}
		return nil
	}
	err := tlog.CheckTree(proof, int64(newer.Size), newer.Root, int64(older.Size), older.Root)
	if err != nil {
		return fmt.Errorf("check that audit log %d extends %d: %w", newer.Size, older.Size, err)
	}
	return nil
}

// Entries yields the entries of s from index from on, in pages. It ends at the
// first error, which it yields.
func Entries(ctx context.Context, s store.Store, from uint64) iter.Seq2[store.Entry, error] {
	const page = 1000
	return func(yield func(store.Entry, error) bool) {
		for {
			entries, err := s.Events(ctx, from, page)
			if err != nil {
				yield(store.Entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if len(entries) < page {
				return
			}
			from += uint64(len(entries))
		}
	}
}
