package audit

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"math"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"countersign/store"
)

// A TamperError names the entries that are not what the head says. First is the
// first such entry. Last differs from First only where the stored hashes are
// missing or wrong as well, so that they cannot tell which one in between it is.
type TamperError struct {
	First, Last uint64
	// Extra: the entries up to First are all right; First and those after it
	// were added.
	Extra bool
}

// Error implements error.
func (e *TamperError) Error() string {
	switch {
	case e.Extra:
		return fmt.Sprintf("audit entry %d does not belong to the log: it was added after the head was made, or beside the program", e.First)
	case e.First == e.Last:
		return fmt.Sprintf("audit entry %d was changed, removed or moved", e.First)
	}
	return fmt.Sprintf("an audit entry between %d and %d was changed, removed or moved; the stored hashes are missing or changed too, so they cannot say which", e.First, e.Last)
}

// Verify recomputes the log from its entries, from the first one on, and compares
// it with head. It returns nil if every entry is there, unchanged and in order,
// a *TamperError that names the first one that is not, or what failed in reading.
//
// hashes are the hashes stored beside the entries, or nil. They are not trusted:
// the root proves each one that is used. Without them Verify still finds any
// change, but the root alone cannot say which entry it was.
//
// Memory: 64 bytes per entry.
func Verify(entries iter.Seq2[store.Entry, error], hashes tlog.HashReader, head Head) error {
	if head.Size > math.MaxInt64/4 {
		return fmt.Errorf("verify the audit log at size %d: %w", head.Size, ErrTooLarge)
	}
	v := verifier{stored: hashes}
	extra, err := v.rebuild(entries, head.Size)
	if err != nil {
		return err
	}
	if v.size == head.Size {
		root, err := Root(v.size, &v.own)
		if err != nil {
			return err
		}
		switch {
		case root == head.Root && extra:
			return &TamperError{First: head.Size, Last: head.Size, Extra: true}
		case root == head.Root:
			return nil
		}
	}
	if head.Size == 0 {
		return fmt.Errorf("the root of an empty audit log is %x, not %x", emptyRoot(), head.Root)
	}
	return v.find(head)
}

func emptyRoot() [32]byte { return sha256.Sum256(nil) }

// verifier holds the hashes that the entries at hand really have (own, for size
// entries) and those that were stored with them.
type verifier struct {
	own    overlay
	size   uint64
	stored tlog.HashReader
}

// rebuild computes own from at most size entries; extra says that there are more.
func (v *verifier) rebuild(entries iter.Seq2[store.Entry, error], size uint64) (extra bool, err error) {
	for e, err := range entries {
		if err != nil {
			return false, fmt.Errorf("read audit entry %d: %w", v.size, err)
		}
		if v.size == size {
			return true, nil
		}
		hashes, err := tlog.StoredHashes(int64(v.size), Leaf(e), &v.own)
		if err != nil {
			return false, fmt.Errorf("hash audit entry %d: %w", v.size, err)
		}
		v.own.added = append(v.own.added, hashes...)
		v.size++
	}
	return false, nil
}

// find walks down from the root, which is trusted, to the first leaf that differs.
// At each node the two stored children are believed only if they hash to the
// node, and the walk turns right only if the left one is what the entries give.
func (v *verifier) find(head Head) error {
	lo, hi, want := uint64(0), head.Size, tlog.Hash(head.Root)
	if v.stored == nil {
		return &TamperError{First: lo, Last: hi - 1}
	}
	for hi-lo > 1 {
		mid := lo + 1<<(bits.Len64(hi-lo-1)-1) // RFC 6962, 2.1: the largest power of two below n
		left, errLeft := subtree(v.stored, lo, mid)
		right, errRight := subtree(v.stored, mid, hi)
		if errLeft != nil || errRight != nil || tlog.NodeHash(left, right) != want {
			return &TamperError{First: lo, Last: hi - 1}
		}
		same := false
		if mid <= v.size {
			own, err := subtree(&v.own, lo, mid)
			if err != nil {
				return err
			}
			same = own == left
		}
		if same {
			lo, want = mid, right
		} else {
			hi, want = mid, left
		}
	}
	return &TamperError{First: lo, Last: lo}
}

// subtree returns the hash over the leaves lo to hi-1, where lo is a multiple of
// the smallest power of two that is not below hi-lo.
func subtree(r tlog.HashReader, lo, hi uint64) (tlog.Hash, error) {
	var indexes []int64
	for lo < hi {
		level := bits.Len64(hi-lo) - 1
		indexes = append(indexes, tlog.StoredHashIndex(level, int64(lo>>level)))
		lo += 1 << level
	}
	hashes, err := readHashes(r, indexes)
	if err != nil {
		return tlog.Hash{}, err
	}
	h := hashes[len(hashes)-1]
	for i := len(hashes) - 2; i >= 0; i-- {
		h = tlog.NodeHash(hashes[i], h)
	}
	return h, nil
}
