package storetest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"time"

	"countersign/store"
)

func testOutboxOrder(t *testing.T, f *fixture) {
	f.must(store.Change{Add: []store.Effect{effect("c", 5), effect("b", 5), effect("z", 1), effect("a", 9), effect("y", -3)}})
	equal(t, "outbox by due time, then key", keys(f.outbox("")), "y", "z", "b", "c", "a")
	if e := f.outbox("")[0]; e.Request != "r" || e.Kind != "k" || !e.Due.Equal(at(-3)) || e.Attempts != 0 || e.Note != "" || string(e.Payload) != "y" {
		t.Errorf("effect %+v", e)
	}
	equal(t, "claims, oldest first", claimedKeys(f.claim(5, 3)), "y", "z", "b")
	equal(t, "claims, the rest that is due", claimedKeys(f.claim(5, 3)), "c")
	equal(t, "nothing is due", claimedKeys(f.claim(5, 3)))
}

// testOutboxOfRequest: an effect belongs to the request it names, whatever its key.
func testOutboxOfRequest(t *testing.T, f *fixture) {
	for _, e := range []store.Effect{
		{Key: "r1/a", Request: "r1", Due: at(3)},
		{Key: "r1/b", Request: "r1", Due: at(1)},
		{Key: "x/c", Request: "r1", Due: at(2)},
		{Key: "r1/d", Request: "r2", Due: at(0)},
		{Key: "r10/e", Request: "r10", Due: at(0)},
		{Key: "r1", Request: "r1", Due: at(9)},
		{Key: "sweep", Due: at(0)},
		{Key: "a", Request: "r", Due: at(0)},
	} {
		f.must(store.Change{Add: []store.Effect{e}})
	}
	equal(t, "r1", keys(f.outbox("r1")), "r1/b", "x/c", "r1/a", "r1")
	equal(t, "r2", keys(f.outbox("r2")), "r1/d")
	equal(t, "r10", keys(f.outbox("r10")), "r10/e")
	equal(t, "r", keys(f.outbox("r")), "a")
	equal(t, "none", keys(f.outbox("none")))
	f.must(store.Change{Drop: []string{"x/c", "r1/b"}})
	equal(t, "r1 after a drop", keys(f.outbox("r1")), "r1/a", "r1")
	if n := len(f.outbox("")); n != 6 {
		t.Errorf("%d effects in all, want 6", n)
	}
}

func testAddTwice(t *testing.T, f *fixture) {
	f.must(store.Change{Add: []store.Effect{effect("e", 0)}})
	f.refused(store.ErrExists, store.Change{Row: create("r"), Add: []store.Effect{effect("f", 0), effect("e", 1)}})
	f.refused(store.ErrExists, store.Change{Row: create("r"), Add: []store.Effect{effect("f", 0), effect("f", 1)}})
	c := f.claim(0, 1)[0]
	f.must(store.Change{Settle: []store.Settle{{Key: "e", Token: c.Token}}})
	f.must(store.Change{Add: []store.Effect{effect("e", 3)}}) // a settled key is free
	equal(t, "outbox", keys(f.outbox("")), "e")
}

// testReplace: what a change removes it may add again, as something new.
func testReplace(t *testing.T, f *fixture) {
	f.must(store.Change{Add: []store.Effect{effect("a", 0), effect("b", 0), effect("c", 0)}})
	claimed := f.claim(0, 3)
	f.must(store.Change{
		Settle: []store.Settle{{Key: "a", Token: claimed[0].Token}},
		Drop:   []string{"b"},
		Add:    []store.Effect{effect("a", 7), effect("b", 8)},
	})
	for _, e := range f.outbox("") {
		if e.Key != "c" && e.Attempts != 0 {
			t.Errorf("%s was added anew with %d attempts", e.Key, e.Attempts)
		}
	}
	f.refused(store.ErrStale, store.Change{Settle: []store.Settle{{Key: "a", Token: claimed[0].Token}}})
	again := store.Settle{Key: "c", Token: claimed[2].Token, Again: at(2)}
	f.refused(store.ErrExists, store.Change{Settle: []store.Settle{again}, Add: []store.Effect{effect("c", 9)}})
	f.must(store.Change{Settle: []store.Settle{again}, Drop: []string{"c"}}) // a drop beats a settle
	equal(t, "outbox", keys(f.outbox("")), "a", "b")
}

func testClaim(t *testing.T, f *fixture) {
	f.must(store.Change{Add: []store.Effect{effect("a", 0), effect("b", 1), effect("c", 2)}})
	var seen []string
	claimed, err := f.s.Claim(t.Context(), store.ClaimOptions{
		Now: at(5), Max: 10,
		Next: func(e store.Effect) time.Time {
			seen = append(seen, fmt.Sprint(e.Key, e.Attempts, string(e.Payload)))
			return at(100 * e.Attempts)
		},
		Skip: func(key string) bool { return key == "b" },
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "claimed", claimedKeys(claimed), "a", "c")
	equal(t, "Next was asked for", seen, "a1a", "c1c")
	for _, c := range claimed {
		if c.Attempts != 1 || !c.Due.Equal(at(100)) || c.Token == 0 {
			t.Errorf("claimed %+v, token %d", c.Effect, c.Token)
		}
	}
	equal(t, "due times moved before Claim returned", keys(f.outbox("")), "b", "a", "c")
	if e := f.outbox("")[1]; e.Attempts != 1 || !e.Due.Equal(at(100)) {
		t.Errorf("stored %+v", e)
	}
	second := f.claim(100, 10)
	equal(t, "claims of the second round", claimedKeys(second), "b", "a", "c")
	tokens := map[uint64]bool{}
	for _, c := range append(claimed, second...) {
		if tokens[c.Token] {
			t.Errorf("token %d was given twice", c.Token)
		}
		tokens[c.Token] = true
	}
	if second[1].Attempts != 2 {
		t.Errorf("second claim has %d attempts", second[1].Attempts)
	}
}

func testClaimBoundaries(t *testing.T, f *fixture) {
	f.must(store.Change{Add: []store.Effect{effect("a", 0), effect("b", 0)}})
	if got := f.claim(-1, 10); len(got) != 0 {
		t.Errorf("claimed %v before it is due", claimedKeys(got))
	}
	for _, limit := range []int{0, -1} {
		if got := f.claim(0, limit); len(got) != 0 {
			t.Errorf("Max %d claimed %v", limit, claimedKeys(got))
		}
	}
	before := f.dump()
	all := store.ClaimOptions{Now: at(0), Max: 9, Next: never, Skip: func(string) bool { return true }}
	if got, err := f.s.Claim(t.Context(), all); err != nil || len(got) != 0 {
		t.Errorf("all skipped: %v %v", got, err)
	}
	if _, err := f.s.Claim(t.Context(), store.ClaimOptions{Now: at(0), Max: 1}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("claim without Next: %v", err)
	}
	equal(t, "state after claims of nothing", f.dump(), before...)
	equal(t, "due exactly now", claimedKeys(f.claim(0, 1)), "a")
}

func testStaleSettle(t *testing.T, f *fixture) {
	f.must(store.Change{Add: []store.Effect{effect("e", 0), effect("f", 0)}})
	f.refused(store.ErrStale, store.Change{Settle: []store.Settle{{Key: "e", Token: 0}}}) // never claimed
	first := f.claim(0, 1)[0]
	f.refused(store.ErrStale, store.Change{Settle: []store.Settle{{Key: "e", Token: first.Token + 1}}})
	f.refused(store.ErrStale, store.Change{Settle: []store.Settle{{Key: "f", Token: first.Token}}})
	second := f.claim(1<<20, 2)[1]
	if second.Key != "e" {
		t.Fatalf("claimed %s, want e", second.Key)
	}
	f.refused(store.ErrStale, store.Change{Row: create("r"), Settle: []store.Settle{{Key: "e", Token: first.Token}}})
	f.refused(store.ErrStale, store.Change{Settle: []store.Settle{{Key: "e", Token: second.Token}, {Key: "e", Token: second.Token}}})
	f.must(store.Change{Settle: []store.Settle{{Key: "e", Token: second.Token}}})
	f.refused(store.ErrStale, store.Change{Settle: []store.Settle{{Key: "e", Token: second.Token}}})
	equal(t, "outbox", keys(f.outbox("")), "f")
}

func testSettleAgain(t *testing.T, f *fixture) {
	f.must(store.Change{Add: []store.Effect{effect("e", 0)}})
	c := f.claim(0, 1)[0]
	f.must(store.Change{Settle: []store.Settle{{Key: "e", Token: c.Token, Again: at(50), Note: "451 try later"}}})
	e := f.outbox("")[0]
	if !e.Due.Equal(at(50)) || e.Note != "451 try later" || e.Attempts != 1 || string(e.Payload) != "e" || e.Kind != "k" {
		t.Errorf("put back as %+v", e)
	}
	f.refused(store.ErrStale, store.Change{Settle: []store.Settle{{Key: "e", Token: c.Token}}}) // the claim is over
	if got := f.claim(49, 1); len(got) != 0 {
		t.Error("claimed before it is due again")
	}
	c = f.claim(50, 1)[0]
	if c.Attempts != 2 || c.Note != "451 try later" {
		t.Errorf("claimed again as %+v", c.Effect)
	}
	f.must(store.Change{Settle: []store.Settle{{Key: "e", Token: c.Token, Again: at(60)}}})
	if e := f.outbox("")[0]; e.Note != "" || e.Attempts != 2 {
		t.Errorf("put back as %+v, want no note", e)
	}
}

func testDrop(t *testing.T, f *fixture) {
	f.must(store.Change{Add: []store.Effect{effect("a", 0), effect("b", 0), effect("c", 9)}})
	c := f.claim(0, 1)[0]
	f.must(store.Change{Drop: []string{"a", "b", "none", "a", ""}})
	equal(t, "outbox", keys(f.outbox("")), "c")
	f.refused(store.ErrStale, store.Change{Settle: []store.Settle{{Key: "a", Token: c.Token}}})
	equal(t, "claims", claimedKeys(f.claim(9, 9)), "c")
}

func testNextDue(t *testing.T, f *fixture) {
	next := func(skip func(string) bool) time.Time {
		t.Helper()
		due, err := f.s.NextDue(t.Context(), skip)
		if err != nil {
			t.Fatal(err)
		}
		return due
	}
	if due := next(nil); !due.IsZero() {
		t.Errorf("empty outbox: %v", due)
	}
	f.must(store.Change{Add: []store.Effect{effect("a", 7), effect("b", 3)}})
	isB := func(key string) bool { return key == "b" }
	if due := next(nil); !due.Equal(at(3)) {
		t.Errorf("next due %v, want %v", due, at(3))
	}
	if due := next(isB); !due.Equal(at(7)) {
		t.Errorf("next due without b %v, want %v", due, at(7))
	}
	if due := next(func(string) bool { return true }); !due.IsZero() {
		t.Errorf("everything skipped: %v", due)
	}
	f.claim(3, 1) // moves b
	if due := next(nil); !due.Equal(at(7)) {
		t.Errorf("next due after the claim %v, want %v", due, at(7))
	}
	f.must(store.Change{Drop: []string{"a", "b"}})
	if due := next(nil); !due.IsZero() {
		t.Errorf("outbox emptied: %v", due)
	}
}

// testNoDueTime: an effect must not be forgotten because its due time is missing.
func testNoDueTime(t *testing.T, f *fixture) {
	f.must(store.Change{Add: []store.Effect{{Key: "e"}, {Key: "old", Due: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)}}})
	due, err := f.s.NextDue(t.Context(), nil)
	if err != nil || due.IsZero() || due.After(at(0)) {
		t.Errorf("next due %v %v, want some time long ago", due, err)
	}
	claimed, err := f.s.Claim(t.Context(), store.ClaimOptions{Now: at(0), Max: 9, Next: func(store.Effect) time.Time { return time.Time{} }})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "claims", claimedKeys(claimed), "e", "old")
	equal(t, "claims again", claimedKeys(f.claim(0, 9)), "e", "old")
}

// testTimes: times come back exactly, to the nanosecond and in UTC, and sort.
func testTimes(t *testing.T, f *fixture) {
	times := []time.Time{
		time.Unix(0, 0), time.Unix(0, 1), time.Unix(1, 0), at(0).Add(1), time.Now(),
		at(1).In(time.FixedZone("east", 7*3600)), time.Unix(1<<32, 999999999), time.Date(2400, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
	}
	slices.SortFunc(times, time.Time.Compare)
	for i, tm := range times {
		f.must(store.Change{Add: []store.Effect{{Key: fmt.Sprint("e", len(times)-i), Due: tm}}, Audit: []store.Entry{{Time: tm}}})
	}
	effects, events := f.outbox(""), f.events()
	for i, tm := range times {
		for _, got := range []time.Time{effects[i].Due, events[i].Time} {
			if got != tm.Round(0).UTC() {
				t.Errorf("%v came back as %v", tm, got)
			}
		}
	}
	f.must(store.Change{Audit: []store.Entry{{Time: time.Date(-5, 1, 1, 0, 0, 0, 7, time.UTC)}}})
	if got := f.events()[len(times)].Time; got != time.Date(-5, 1, 1, 0, 0, 0, 7, time.UTC) {
		t.Errorf("entry from long ago came back as %v", got)
	}
}
