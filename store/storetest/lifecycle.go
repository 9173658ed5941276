package storetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"

	"countersign/store"
)

// testReopen: everything acknowledged is there after a restart.
func testReopen(t *testing.T, f *fixture) {
	for i := range 20 {
		f.must(full(fmt.Sprint("r", i)))
	}
	claimed := f.claim(0, 3)
	f.must(store.Change{
		Row:    &store.Row{ID: claimed[0].Request, Version: 1, State: "done"},
		Settle: []store.Settle{{Key: claimed[0].Key, Token: claimed[0].Token}},
	})
	before := f.dump()
	for range 2 {
		f.reopen()
		equal(t, "state after the restart", f.dump(), before...)
	}
	f.refused(store.ErrDuplicate, store.Change{Handled: []string{"mail-r3"}})
	if ref, err := f.s.Token(t.Context(), "token-r3"); err != nil || ref != "r3" {
		t.Errorf("token after the restart: %q %v", ref, err)
	}
	// The claim before the restart is still good; a new one makes it stale.
	f.must(store.Change{Settle: []store.Settle{{Key: claimed[1].Key, Token: claimed[1].Token}}})
	for _, c := range f.claim(1<<20, 100) {
		for _, old := range claimed {
			if c.Token == old.Token {
				t.Errorf("token %d was given again after the restart", c.Token)
			}
		}
	}
	f.refused(store.ErrStale, store.Change{Settle: []store.Settle{{Key: claimed[2].Key, Token: claimed[2].Token}}})
}

// calls are all methods that take a context.
func calls(s store.Store) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Apply": func(ctx context.Context) error {
			_, err := s.Apply(ctx, []store.Change{{Row: create("late")}})
			return err
		},
		"Load": func(ctx context.Context) error { _, err := s.Load(ctx, "r"); return err },
		"List": func(ctx context.Context) error { _, err := s.List(ctx, store.Filter{}); return err },
		"Token": func(ctx context.Context) error {
			_, err := s.Token(ctx, "token-r")
			return err
		},
		"Handled": func(ctx context.Context) error { _, err := s.Handled(ctx, "m"); return err },
		"Claim": func(ctx context.Context) error {
			_, err := s.Claim(ctx, store.ClaimOptions{Now: at(0), Max: 1, Next: never})
			return err
		},
		"NextDue": func(ctx context.Context) error { _, err := s.NextDue(ctx, nil); return err },
		"Outbox":  func(ctx context.Context) error { _, err := s.Outbox(ctx, ""); return err },
		"Events":  func(ctx context.Context) error { _, err := s.Events(ctx, 0, 1); return err },
	}
}

func testClosed(t *testing.T, f *fixture) {
	f.must(full("r"))
	before := f.dump()
	old := f.s
	f.reopen()
	for name, call := range calls(old) {
		if err := call(t.Context()); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if err := old.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	equal(t, "state", f.dump(), before...)
}

func testCancelledContext(t *testing.T, f *fixture) {
	f.must(full("r"))
	before := f.dump()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(f.s) {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", name, err)
		}
	}
	equal(t, "state", f.dump(), before...)
}

const callers, rounds = 16, 12

// testSameRow: many callers count up one row; no step is lost or made twice.
func testSameRow(t *testing.T, f *fixture) {
	f.must(store.Change{Row: create("r")})
	var wg sync.WaitGroup
	for w := range callers {
		wg.Go(func() {
			for i := range rounds {
				increment(t, f.s, "r", fmt.Sprint(w, ".", i))
			}
		})
	}
	wg.Wait()
	if v := f.load("r").Version; v != 1+callers*rounds {
		t.Errorf("version %d, want %d", v, 1+callers*rounds)
	}
	checkSteps(t, f, "r")
}

// increment counts a row up by compare-and-swap, as often as it takes.
func increment(t *testing.T, s store.Store, id, who string) {
	for {
		r, err := s.Load(t.Context(), id)
		if err != nil {
			t.Error(err)
			return
		}
		errs, err := s.Apply(t.Context(), []store.Change{{
			Row:     &store.Row{ID: id, Version: r.Version, Open: true},
			Handled: []string{id + who},
			Audit:   []store.Entry{{Request: id, Data: fmt.Append(nil, r.Version)}},
		}})
		if err == nil && errors.Is(errs[0], store.ErrConflict) {
			continue
		}
		if err = errors.Join(append(errs, err)...); err != nil {
			t.Error(err)
		}
		return
	}
}

// checkSteps: the audit log has one entry per step of the row, in the row's order.
func checkSteps(t *testing.T, f *fixture, id string) {
	t.Helper()
	want := uint64(1)
	for _, e := range f.events() {
		if e.Request != id {
			continue
		}
		if string(e.Data) != fmt.Sprint(want) {
			t.Fatalf("%s: step from version %s follows the one to version %d", id, e.Data, want)
		}
		want++
	}
	if v := f.load(id).Version; v != want {
		t.Errorf("%s: %d steps in the audit log, version %d", id, want, v)
	}
}

func testManyRows(t *testing.T, f *fixture) {
	var wg sync.WaitGroup
	for w := range callers {
		f.must(store.Change{Row: create(fmt.Sprint("r", w))})
		wg.Go(func() {
			for i := range rounds {
				increment(t, f.s, fmt.Sprint("r", w), fmt.Sprint(".", i))
			}
		})
	}
	wg.Wait()
	for w := range callers {
		checkSteps(t, f, fmt.Sprint("r", w))
	}
	if n := len(f.events()); n != callers*rounds {
		t.Errorf("%d audit entries, want %d", n, callers*rounds)
	}
}

// testClaimedOnce: of many workers each effect goes to exactly one.
func testClaimedOnce(t *testing.T, f *fixture) {
	const effects = 100
	c := store.Change{}
	for i := range effects {
		c.Add = append(c.Add, effect(fmt.Sprintf("e%03d", i), i))
	}
	f.must(c)
	var settled, stale atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				got, err := f.s.Claim(t.Context(), store.ClaimOptions{Now: at(effects), Max: 3, Next: never})
				if err != nil {
					t.Error(err)
				}
				if len(got) == 0 {
					return
				}
				for _, c := range got {
					errs, err := f.s.Apply(t.Context(), []store.Change{{Settle: []store.Settle{{Key: c.Key, Token: c.Token}}}})
					switch {
					case err != nil:
						t.Error(err)
					case errs[0] == nil:
						settled.Add(1)
					default:
						stale.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	if settled.Load() != effects || stale.Load() != 0 || len(f.outbox("")) != 0 {
		t.Errorf("%d settled, %d stale, %d left; want %d, 0, 0", settled.Load(), stale.Load(), len(f.outbox("")), effects)
	}
}

// testReadersSeeWholeChanges: the effect is there if and only if the row says so,
// at any moment.
func testReadersSeeWholeChanges(t *testing.T, f *fixture) {
	f.must(store.Change{Row: create("r")})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(stop)
		for v := uint64(1); v <= 40; v++ {
			c := store.Change{Row: &store.Row{ID: "r", Version: v, Open: true}, Audit: []store.Entry{{Request: "r", Data: fmt.Append(nil, v)}}}
			if v > 1 {
				c.Drop = []string{fmt.Sprint("r/", v-1)}
			}
			c.Add = []store.Effect{{Key: fmt.Sprint("r/", v), Request: "r", Due: at(int(v))}}
			if errs, err := f.s.Apply(t.Context(), []store.Change{c}); err != nil || errs[0] != nil {
				t.Error(errs, err)
			}
		}
	})
	for running := true; running; {
		select {
		case <-stop:
			running = false
		default:
		}
		version := f.load("r").Version
		effects := f.outbox("r")
		if version > 1 && len(effects) != 1 || len(effects) > 1 {
			t.Fatalf("%v seen after version %d, want the one effect of the newest change", keys(effects), version)
		}
		if len(effects) == 1 && effects[0].Due.Before(at(int(version)-1)) {
			t.Fatalf("%s seen after version %d was", effects[0].Key, version)
		}
	}
	wg.Wait()
	checkSteps(t, f, "r")
}
