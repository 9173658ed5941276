package boltstore_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"countersign/store"
	"countersign/store/audit"
	"countersign/store/boltstore"
)

// edit changes a closed state file behind the program's back.
func edit(t *testing.T, dir string, fn func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, "state.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func apply(t *testing.T, s *boltstore.Store, changes ...store.Change) {
	t.Helper()
	errs, err := s.Apply(t.Context(), changes)
	if err = errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
}

func closeStore(t *testing.T, s *boltstore.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFileMode(t *testing.T) {
	dir := t.TempDir()
	closeStore(t, openBolt(t, dir))
	info, err := os.Stat(filepath.Join(dir, "state.db"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v %v, want 0600", info.Mode(), err)
	}
}

// TestLocked: the second process is told at once (two seconds of false time) why
// it may not have the file.
func TestLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := openBolt(t, dir)
		start := time.Now()
		_, err := boltstore.Open(filepath.Join(dir, "state.db"), boltstore.Options{})
		if err == nil || !strings.Contains(err.Error(), "another countersign process has it open") {
			t.Errorf("second open: %v", err)
		}
		if waited := time.Since(start); waited < time.Second || waited > 3*time.Second {
			t.Errorf("waited %v, want about 2s", waited)
		}
		closeStore(t, s)
		closeStore(t, openBolt(t, dir))
	})
}

// TestRefusedFiles: a file that is not ours, or from the future, is named with a
// remedy and not written to.
func TestRefusedFiles(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"newer schema": {func(t *testing.T, dir string) {
			closeStore(t, openBolt(t, dir))
			edit(t, dir, func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{2}) })
		}, "a newer countersign wrote this file (schema 2, this program knows 1)"},
		"no schema": {func(t *testing.T, dir string) {
			closeStore(t, openBolt(t, dir))
			edit(t, dir, func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte("schema")) })
		}, "schema version is missing"},
		"another program's": {func(t *testing.T, dir string) {
			edit(t, dir, func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
		}, `not made by countersign (it has a bucket "theirs")`},
		"not bbolt": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "state.db"), make([]byte, 1<<16), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "no countersign state, or it is damaged"},
		"no directory": {func(t *testing.T, dir string) {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}, "no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			test.spoil(t, dir)
			path := filepath.Join(dir, "state.db")
			before, _ := os.ReadFile(path)
			_, err := boltstore.Open(path, boltstore.Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("open: %v, want %q", err, test.want)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the refused file was changed")
			}
		})
	}
}

// TestMaxSize: a change beyond the limit fails, smaller ones go on.
func TestMaxSize(t *testing.T) {
	dir := t.TempDir()
	s, err := boltstore.Open(filepath.Join(dir, "state.db"), boltstore.Options{MaxSize: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, store.Change{Row: &store.Row{ID: "r"}})
	_, err = s.Apply(t.Context(), []store.Change{{Row: &store.Row{ID: "big", Data: make([]byte, 65<<20)}}})
	if err == nil || !strings.Contains(err.Error(), "raise its maximum size") {
		t.Errorf("65 MB into 64 MB: %v", err)
	}
	if _, err := s.Load(t.Context(), "big"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the refused change is there: %v", err)
	}
	apply(t, s, store.Change{Row: &store.Row{ID: "r", Version: 1}})
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	closeStore(t, s)
}

// TestNoFlushForNothing: refused changes and claims of nothing cost no flush, so
// the file does not change.
func TestNoFlushForNothing(t *testing.T) {
	dir := t.TempDir()
	s := openBolt(t, dir)
	apply(t, s, store.Change{Row: &store.Row{ID: "r"}})
	before, err := os.ReadFile(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	errs, err := s.Apply(t.Context(), []store.Change{{Row: &store.Row{ID: "r"}}})
	if err != nil || !errors.Is(errs[0], store.ErrConflict) {
		t.Errorf("apply: %v %v", errs, err)
	}
	later := func(store.Effect) time.Time { return time.Unix(9, 0) }
	if _, err := s.Claim(t.Context(), store.ClaimOptions{Max: 5, Now: time.Unix(5, 0), Next: later}); err != nil {
		t.Error(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "state.db"))
	if err != nil || string(after) != string(before) {
		t.Errorf("the file changed (%v)", err)
	}
	closeStore(t, s)
}

// filled makes a state with something in every bucket.
func filled(t *testing.T, dir string) audit.Head {
	t.Helper()
	s := openBolt(t, dir)
	for i := range 9 {
		id := fmt.Sprint("r", i)
		apply(t, s, store.Change{
			Row: &store.Row{ID: id, Open: i%2 == 0}, Handled: []string{"m" + id}, Tokens: map[string]string{"t" + id: id},
			Add:   []store.Effect{{Key: id + "/e", Request: id}, {Key: "other/" + id, Request: id}},
			Audit: []store.Entry{{Time: time.Unix(int64(i), 0), Request: id, Data: []byte("made " + id)}},
		})
	}
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	size, root, err := s.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	return audit.Head{Size: size, Root: root}
}

// TestCheckFinds plants one fault of each kind; Check names it.
func TestCheckFinds(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	five := []byte{0, 0, 0, 0, 0, 0, 0, 5}
	for name, test := range map[string]struct {
		plant func(tx *bolt.Tx) error
		want  string
	}{
		"row unreadable":    {func(tx *bolt.Tx) error { return tx.Bucket(b("requests")).Put(b("r1"), nil) }, "request r1"},
		"row gone":          {func(tx *bolt.Tx) error { return tx.Bucket(b("requests")).Delete(b("r2")) }, "request r2 is listed as open"},
		"open index short":  {func(tx *bolt.Tx) error { return tx.Bucket(b("open")).Delete(b("r4")) }, "request r4: the index of open"},
		"open index long":   {func(tx *bolt.Tx) error { return tx.Bucket(b("open")).Put(b("r3"), b("x")) }, "request r3: the index of open"},
		"effect unreadable": {func(tx *bolt.Tx) error { return tx.Bucket(b("outbox")).Put(b("r1/e"), b("short")) }, "effect r1/e"},
		"effect gone":       {func(tx *bolt.Tx) error { return tx.Bucket(b("outbox")).Delete(b("other/r5")) }, "effect other/r5"},
		"due index short": {func(tx *bolt.Tx) error {
			k, _ := tx.Bucket(b("due")).Cursor().First()
			return tx.Bucket(b("due")).Delete(k)
		}, "not in the index of due times"},
		"due index unreadable": {func(tx *bolt.Tx) error { return tx.Bucket(b("due")).Put(b("x"), b("x")) }, "index of due times"},
		"foreign index short":  {func(tx *bolt.Tx) error { return tx.Bucket(b("foreign")).Delete(b("r6\x00other/r6")) }, "not in the index of its request"},
		"foreign index long":   {func(tx *bolt.Tx) error { return tx.Bucket(b("foreign")).Put(b("r6\x00r7/e"), b("x")) }, "not its own"},
		"claim tokens reused":  {func(tx *bolt.Tx) error { return tx.Bucket(b("outbox")).SetSequence(0) }, ""},
		"audit entry gone":     {func(tx *bolt.Tx) error { return tx.Bucket(b("audit")).Delete(five) }, "audit entry 5"},
		"audit entry changed": {func(tx *bolt.Tx) error {
			return tx.Bucket(b("audit")).Put(five, tx.Bucket(b("audit")).Get([]byte{0, 0, 0, 0, 0, 0, 0, 4}))
		}, "audit entry 5"},
		"audit hash gone": {func(tx *bolt.Tx) error { return tx.Bucket(b("hashes")).Delete(make([]byte, 8)) }, ""},
		"audit size":      {func(tx *bolt.Tx) error { return tx.Bucket(b("meta")).Put(b("size"), five) }, "audit entry 5 does not belong"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			filled(t, dir)
			edit(t, dir, test.plant)
			s := openBolt(t, dir)
			err := s.Check(t.Context())
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("check says %v, want %q", err, test.want)
			}
			closeStore(t, s)
		})
	}
}

// TestAuditTamper: who changes an entry in the file is found by a head kept
// elsewhere, also if all hashes were made anew.
func TestAuditTamper(t *testing.T) {
	dir := t.TempDir()
	head := filled(t, dir)
	edit(t, dir, func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("audit"))
		k, v := b.Cursor().Last()
		return b.Put(k, append([]byte(nil), append(v[:len(v)-1:len(v)-1], 'X')...))
	})
	s := openBolt(t, dir)
	err := audit.Verify(audit.Entries(t.Context(), s, 0), s, head)
	if e, ok := errors.AsType[*audit.TamperError](err); !ok || e.First != head.Size-1 {
		t.Errorf("verify: %v, want the last entry", err)
	}
	proof, err := audit.ProveEntry(3, head.Size, s)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.Events(t.Context(), 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := audit.CheckEntry(proof, entries[0], 3, head); err != nil {
		t.Error(err)
	}
	closeStore(t, s)
	if _, _, err := s.Tree(t.Context()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Tree after Close: %v", err)
	}
}
