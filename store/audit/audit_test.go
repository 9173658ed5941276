package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"countersign/store"
)

func logOf(n int) []store.Entry {
	entries := make([]store.Entry, n)
	for i := range entries {
		entries[i] = store.Entry{
			Time:    time.Date(2026, 1, 2, 3, 4, i, i, time.UTC),
			Request: fmt.Sprintf("r%d", i%3),
			Data:    fmt.Appendf(nil, "entry %d", i),
		}
	}
	return entries
}

func seq(entries []store.Entry) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// stored builds the hashes of a log in steps of the given length, as a store
// does that appends groups.
func stored(t testing.TB, entries []store.Entry, step int) tlog.HashReader {
	t.Helper()
	o := &overlay{}
	size := uint64(0)
	for chunk := range slices.Chunk(entries, step) {
		if got := FirstHash(size); got != int64(len(o.added)) {
			t.Fatalf("FirstHash(%d) = %d, want %d", size, got, len(o.added))
		}
		hashes, err := Append(size, chunk, o)
		if err != nil {
			t.Fatal(err)
		}
		o.added = append(o.added, hashes...)
		size += uint64(len(chunk))
	}
	return o
}

func headOf(t testing.TB, size uint64, r tlog.HashReader) Head {
	t.Helper()
	root, err := Root(size, r)
	if err != nil {
		t.Fatal(err)
	}
	return Head{Size: size, Root: root}
}

// rfcRoot is the definition of RFC 6962, 2.1, written down once more.
func rfcRoot(leaves [][]byte) [32]byte {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		k := 1 << (bits.Len(uint(n-1)) - 1)
		l, r := rfcRoot(leaves[:k]), rfcRoot(leaves[k:])
		return sha256.Sum256(slices.Concat([]byte{1}, l[:], r[:]))
	}
}

func TestRootIsRFC6962(t *testing.T) {
	entries := logOf(40)
	leaves := make([][]byte, len(entries))
	for i, e := range entries {
		leaves[i] = Leaf(e)
	}
	for _, step := range []int{1, 3, 40} {
		r := stored(t, entries, step)
		for n := range len(entries) + 1 {
			if got, want := headOf(t, uint64(n), r).Root, rfcRoot(leaves[:n]); got != want {
				t.Errorf("root of %d entries appended by %d = %x, want %x", n, step, got, want)
			}
		}
	}
}

func TestLeafIsInjective(t *testing.T) {
	at := time.Unix(1700000000, 5).UTC()
	base := store.Entry{Time: at, Request: "ab", Data: []byte("cd")}
	for name, other := range map[string]store.Entry{
		"border moved": {Time: at, Request: "abc", Data: []byte("d")},
		"time":         {Time: at.Add(1), Request: "ab", Data: []byte("cd")},
		"zero time":    {Request: "ab", Data: []byte("cd")},
		"no request":   {Time: at, Data: []byte("abcd")},
	} {
		if bytes.Equal(Leaf(base), Leaf(other)) {
			t.Errorf("%s: two different entries have the same leaf", name)
		}
	}
	if local := (store.Entry{Time: at.In(time.FixedZone("x", 3600)), Request: "ab", Data: []byte("cd")}); !bytes.Equal(Leaf(base), Leaf(local)) {
		t.Error("the time zone changes the leaf")
	}
}

func TestProofs(t *testing.T) {
	entries := logOf(33)
	r := stored(t, entries, 7)
	for _, size := range []uint64{1, 2, 7, 8, 33} {
		head := headOf(t, size, r)
		for i := range size {
			p, err := ProveEntry(i, size, r)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckEntry(p, entries[i], i, head); err != nil {
				t.Error(err)
			}
			other := entries[i]
			other.Time = other.Time.Add(time.Nanosecond)
			if CheckEntry(p, other, i, head) == nil {
				t.Errorf("entry %d of %d: a changed entry passed", i, size)
			}
		}
		for older := range size + 1 {
			p, err := ProveExtends(older, size, r)
			if err != nil {
				t.Fatal(err)
			}
			old := headOf(t, older, r)
			if err := CheckExtends(p, old, head); err != nil {
				t.Error(err)
			}
			old.Root[3] ^= 1
			if CheckExtends(p, old, head) == nil {
				t.Errorf("%d extends %d: a wrong old root passed", size, older)
			}
		}
	}
}

// TestVerifyNamesFirst tampers with every entry of logs of many sizes in every way.
func TestVerifyNamesFirst(t *testing.T) {
	tampers := []struct {
		name string
		do   func(e []store.Entry, i int) []store.Entry
		ends bool // works on the last entry too
	}{
		{"data", func(e []store.Entry, i int) []store.Entry { e[i].Data = []byte("x"); return e }, true},
		{"time", func(e []store.Entry, i int) []store.Entry { e[i].Time = e[i].Time.Add(1); return e }, true},
		{"request", func(e []store.Entry, i int) []store.Entry { e[i].Request = "other"; return e }, true},
		{"removed", func(e []store.Entry, i int) []store.Entry { return slices.Delete(e, i, i+1) }, true},
		{"cut", func(e []store.Entry, i int) []store.Entry { return e[:i] }, true},
		{"twice", func(e []store.Entry, i int) []store.Entry { return slices.Insert(e, i, store.Entry{}) }, true},
		{"swapped", func(e []store.Entry, i int) []store.Entry { e[i], e[i+1] = e[i+1], e[i]; return e }, false},
		{"two", func(e []store.Entry, i int) []store.Entry { e[i].Data, e[i+1].Data = nil, nil; return e }, false},
	}
	for _, n := range []int{1, 2, 3, 4, 7, 8, 13, 32, 45} {
		entries := logOf(n)
		r := stored(t, entries, n)
		head := headOf(t, uint64(n), r)
		if err := Verify(seq(entries), r, head); err != nil {
			t.Errorf("%d entries, untouched: %v", n, err)
		}
		for _, tamper := range tampers {
			for i := range n {
				if i == n-1 && !tamper.ends {
					continue
				}
				bad := tamper.do(slices.Clone(entries), i)
				e, ok := errors.AsType[*TamperError](Verify(seq(bad), r, head))
				if !ok || e.First != uint64(i) || e.Last != uint64(i) {
					t.Errorf("%d entries, %s at %d: got %v", n, tamper.name, i, e)
				}
				if e, ok := errors.AsType[*TamperError](Verify(seq(bad), nil, head)); !ok || e.Last != uint64(n-1) {
					t.Errorf("%d entries, %s at %d, no hashes: got %v", n, tamper.name, i, e)
				}
			}
		}
	}
}

func TestVerifyExtraAndEmpty(t *testing.T) {
	entries := logOf(5)
	r := stored(t, entries, 5)
	e, ok := errors.AsType[*TamperError](Verify(seq(entries), r, headOf(t, 4, r)))
	if !ok || !e.Extra || e.First != 4 {
		t.Errorf("one entry more than the head: %v", e)
	}
	if err := Verify(seq(nil), nil, Head{Root: emptyRoot()}); err != nil {
		t.Errorf("empty log: %v", err)
	}
	if Verify(seq(nil), nil, Head{}) == nil {
		t.Error("the empty log passed with a wrong root")
	}
	boom := errors.New("boom")
	broken := func(yield func(store.Entry, error) bool) { yield(store.Entry{}, boom) }
	if err := Verify(broken, r, headOf(t, 5, r)); !errors.Is(err, boom) {
		t.Errorf("reading fails: %v", err)
	}
}

// TestVerifyForgedHashes: an entry and the hashes stored for it were both
// replaced; the head still tells, and the range given holds the entry.
func TestVerifyForgedHashes(t *testing.T) {
	entries := logOf(21)
	head := headOf(t, 21, stored(t, entries, 21))
	for i := range entries {
		bad := slices.Clone(entries)
		bad[i].Data = []byte("forged")
		e, ok := errors.AsType[*TamperError](Verify(seq(bad), stored(t, bad, 21), head))
		if !ok || e.First > uint64(i) || e.Last < uint64(i) {
			t.Errorf("forged at %d: got %v", i, e)
		}
	}
}

// TestHostileNumbers: sizes and proofs come from files; none may panic.
func TestHostileNumbers(t *testing.T) {
	r := stored(t, logOf(3), 3)
	for _, n := range []uint64{4, 5, 1 << 40, math.MaxInt64, math.MaxUint64} {
		if _, err := Root(n, r); err == nil {
			t.Errorf("Root(%d) of 3 entries passed", n)
		}
		if _, err := ProveEntry(0, n, r); err == nil {
			t.Errorf("ProveEntry of %d passed", n)
		}
		if _, err := ProveExtends(2, n, r); err == nil {
			t.Errorf("ProveExtends to %d passed", n)
		}
		if CheckEntry(nil, store.Entry{}, n-1, Head{Size: n}) == nil || CheckExtends(nil, Head{Size: 2}, Head{Size: n}) == nil {
			t.Errorf("empty proof for %d passed", n)
		}
		if Verify(seq(logOf(3)), r, Head{Size: n}) == nil {
			t.Errorf("Verify at %d passed", n)
		}
	}
	if _, err := Append(math.MaxUint64, logOf(1), r); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Append at the largest size: %v", err)
	}
	empty := tlog.HashReaderFunc(func([]int64) ([]tlog.Hash, error) { return nil, nil })
	if _, err := Append(3, logOf(1), empty); err == nil {
		t.Error("Append over a reader that returns nothing passed")
	}
}
