package memstore_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"countersign/store"
	"countersign/store/audit"
	"countersign/store/memstore"
	"countersign/store/storetest"
)

func TestConformance(t *testing.T) {
	stores := map[string]*memstore.Store{}
	storetest.Run(t, func(_ testing.TB, dir string) store.Store {
		if old, ok := stores[dir]; ok {
			stores[dir] = old.Reopen()
		} else {
			stores[dir] = memstore.New()
		}
		return stores[dir]
	})
}

// TestReopen: after a "crash", goroutines of the old program write nothing more.
func TestReopen(t *testing.T) {
	old := memstore.New()
	change := []store.Change{{Row: &store.Row{ID: "r"}}}
	if errs, err := old.Apply(t.Context(), change); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	s := old.Reopen()
	if _, err := old.Apply(t.Context(), change); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the old handle still writes: %v", err)
	}
	if r, err := s.Load(t.Context(), "r"); err != nil || r.Version != 1 {
		t.Errorf("after the restart: %+v %v", r, err)
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Load(t.Context(), "r"); err != nil {
		t.Errorf("closing the old handle closed the new one: %v", err)
	}
}

func TestTree(t *testing.T) {
	s := memstore.New()
	for i := range 10 {
		_, err := s.Apply(t.Context(), []store.Change{{Audit: make([]store.Entry, i)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	size, root, err := s.Tree(t.Context())
	if err != nil || size != 45 {
		t.Fatalf("size %d, %v", size, err)
	}
	head := audit.Head{Size: size, Root: root}
	if err := audit.Verify(audit.Entries(context.Background(), s, 0), s, head); err != nil {
		t.Error(err)
	}
}

func TestFaulty(t *testing.T) {
	change := []store.Change{{Row: &store.Row{ID: "r"}}}
	for name, test := range map[string]struct {
		fault storetest.Fault
		there bool
	}{
		"not written":              {storetest.Fault{Fail: true}, false},
		"written, but answer lost": {storetest.Fault{Fail: true, Persist: true}, true},
		"persist without fail":     {storetest.Fault{Persist: true}, true},
	} {
		f := &storetest.Faulty{Store: memstore.New(), Plan: storetest.On(2, test.fault)}
		if _, err := f.Apply(t.Context(), nil); err != nil {
			t.Errorf("%s: first write: %v", name, err)
		}
		if _, err := f.Apply(t.Context(), change); errors.Is(err, storetest.ErrInjected) != test.fault.Fail {
			t.Errorf("%s: second write: %v", name, err)
		}
		if _, err := f.Load(t.Context(), "r"); errors.Is(err, store.ErrNotFound) == test.there {
			t.Errorf("%s: %v", name, err)
		}
		if f.Writes() != 2 {
			t.Errorf("%s: %d writes", name, f.Writes())
		}
	}
}
