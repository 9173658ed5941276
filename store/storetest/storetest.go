// Package storetest holds the tests that every store.Store must pass ([Run]), a
// store that fails on demand ([Faulty]) and a disk that fills up on demand
// ([OnSmallDisk]).
package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"countersign/store"
)

// An Opener opens the store that lives in dir, an empty directory at first. After
// Close it is called again with the same dir and must then give the same state.
type Opener func(t testing.TB, dir string) store.Store

// Run runs the conformance tests.
func Run(t *testing.T, open Opener) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, f *fixture)
	}{
		{"CompareAndSwap", testCompareAndSwap},
		{"List", testList},
		{"Handled", testHandled},
		{"Tokens", testTokens},
		{"Copies", testCopies},
		{"NilAndEmpty", testNilAndEmpty},
		{"InvalidKeys", testInvalidKeys},
		{"EachChangeIsAtomic", testEachChangeIsAtomic},
		{"SeesChangesBefore", testSeesChangesBefore},
		{"CheckOrder", testCheckOrder},
		{"OutboxOrder", testOutboxOrder},
		{"OutboxOfRequest", testOutboxOfRequest},
		{"AddTwice", testAddTwice},
		{"Replace", testReplace},
		{"Claim", testClaim},
		{"ClaimBoundaries", testClaimBoundaries},
		{"StaleSettle", testStaleSettle},
		{"SettleAgain", testSettleAgain},
		{"Drop", testDrop},
		{"NextDue", testNextDue},
		{"NoDueTime", testNoDueTime},
		{"Times", testTimes},
		{"Events", testEvents},
		{"Reopen", testReopen},
		{"Closed", testClosed},
		{"CancelledContext", testCancelledContext},
		{"SameRow", testSameRow},
		{"ManyRows", testManyRows},
		{"ClaimedOnce", testClaimedOnce},
		{"ReadersSeeWholeChanges", testReadersSeeWholeChanges},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fixture{t: t, open: open, dir: t.TempDir()}
			f.s = open(t, f.dir)
			t.Cleanup(func() {
				if err := f.s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test.run(t, f)
		})
	}
}

// fixture is one store under test.
type fixture struct {
	t    *testing.T
	open Opener
	dir  string
	s    store.Store
}

// at is a time n seconds after an arbitrary start.
func at(n int) time.Time {
	return time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC).Add(time.Duration(n) * time.Second)
}

func never(store.Effect) time.Time { return at(1 << 20) }

func (f *fixture) reopen() {
	f.t.Helper()
	if err := f.s.Close(); err != nil {
		f.t.Fatalf("close: %v", err)
	}
	f.s = f.open(f.t, f.dir)
}

// apply returns the error of each change.
func (f *fixture) apply(changes ...store.Change) []error {
	f.t.Helper()
	errs, err := f.s.Apply(f.t.Context(), changes)
	if err != nil {
		f.t.Fatalf("apply: %v", err)
	}
	if len(errs) != len(changes) {
		f.t.Fatalf("apply: %d changes, %d errors", len(changes), len(errs))
	}
	return errs
}

// must applies one change that has to succeed.
func (f *fixture) must(c store.Change) {
	f.t.Helper()
	if err := f.apply(c)[0]; err != nil {
		f.t.Fatalf("apply: %v", err)
	}
}

// refused applies one change that has to fail with want and to write nothing.
func (f *fixture) refused(want error, c store.Change) {
	f.t.Helper()
	before := f.dump()
	if err := f.apply(c)[0]; !errors.Is(err, want) {
		f.t.Errorf("apply: %v, want %v", err, want)
	}
	if after := f.dump(); !slices.Equal(before, after) {
		f.t.Errorf("a refused change wrote something:\nbefore %s\nafter  %s", before, after)
	}
}

// dump returns all that can be seen of the store without knowing keys.
func (f *fixture) dump() []string {
	f.t.Helper()
	ctx := f.t.Context()
	rows, err := f.s.List(ctx, store.Filter{})
	effects, err2 := f.s.Outbox(ctx, "")
	events, err3 := f.s.Events(ctx, 0, 1<<20)
	if err := errors.Join(err, err2, err3); err != nil {
		f.t.Fatalf("read everything: %v", err)
	}
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprintf("row %+v", r))
	}
	for _, e := range effects {
		out = append(out, fmt.Sprintf("effect %+v", e))
	}
	for _, e := range events {
		out = append(out, fmt.Sprintf("entry %+v", e))
	}
	return out
}

func (f *fixture) claim(now, limit int) []store.Claimed {
	f.t.Helper()
	claimed, err := f.s.Claim(f.t.Context(), store.ClaimOptions{Now: at(now), Max: limit, Next: never})
	if err != nil {
		f.t.Fatalf("claim: %v", err)
	}
	return claimed
}

func (f *fixture) outbox(request string) []store.Effect {
	f.t.Helper()
	effects, err := f.s.Outbox(f.t.Context(), request)
	if err != nil {
		f.t.Fatalf("outbox: %v", err)
	}
	return effects
}

func (f *fixture) load(id string) store.Row {
	f.t.Helper()
	r, err := f.s.Load(f.t.Context(), id)
	if err != nil {
		f.t.Fatalf("load: %v", err)
	}
	return r
}

func (f *fixture) events() []store.Entry {
	f.t.Helper()
	events, err := f.s.Events(f.t.Context(), 0, 1<<20)
	if err != nil {
		f.t.Fatalf("events: %v", err)
	}
	return events
}

func keys(effects []store.Effect) []string {
	var out []string
	for _, e := range effects {
		out = append(out, e.Key)
	}
	return out
}

func claimedKeys(claimed []store.Claimed) []string {
	var out []string
	for _, c := range claimed {
		out = append(out, c.Key)
	}
	return out
}

func equal[E comparable](t *testing.T, what string, got []E, want ...E) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func effect(key string, due int) store.Effect {
	return store.Effect{Key: key, Request: "r", Kind: "k", Due: at(due), Payload: []byte(key)}
}

func create(id string) *store.Row {
	return &store.Row{ID: id, State: "new", Open: true, Data: []byte(id)}
}
