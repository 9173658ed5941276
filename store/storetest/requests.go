package storetest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"countersign/store"
)

func testCompareAndSwap(t *testing.T, f *fixture) {
	if _, err := f.s.Load(t.Context(), "r"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("load of nothing: %v", err)
	}
	f.refused(store.ErrConflict, store.Change{Row: &store.Row{ID: "r", Version: 1}})
	f.must(store.Change{Row: create("r")})
	want := store.Row{ID: "r", Version: 1, State: "new", Open: true, Data: []byte("r")}
	if got := f.load("r"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("created %+v, want %+v", got, want)
	}
	f.refused(store.ErrConflict, store.Change{Row: create("r")})
	f.must(store.Change{Row: &store.Row{ID: "r", Version: 1, State: "done", Data: []byte("b")}})
	want = store.Row{ID: "r", Version: 2, State: "done", Data: []byte("b")}
	if got := f.load("r"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("replaced %+v, want %+v", got, want)
	}
	for _, v := range []uint64{0, 1, 3, 1 << 63} {
		f.refused(store.ErrConflict, store.Change{Row: &store.Row{ID: "r", Version: v}})
	}
}

func testList(t *testing.T, f *fixture) {
	for i, r := range []store.Row{
		{ID: "a1", State: "wait", Open: true},
		{ID: "a2", State: "done"},
		{ID: "a3", State: "wait", Open: true},
		{ID: "a4", State: "sign", Open: true},
		{ID: "a5", State: "done"},
	} {
		r.Data = []byte{byte(i)}
		f.must(store.Change{Row: &r})
	}
	f.must(store.Change{Row: &store.Row{ID: "a1", Version: 1, State: "done"}})             // closed
	f.must(store.Change{Row: &store.Row{ID: "a2", Version: 1, State: "wait", Open: true}}) // opened
	for _, test := range []struct {
		filter store.Filter
		want   string
	}{
		{store.Filter{}, "a5 a4 a3 a2 a1"},
		{store.Filter{OpenOnly: true}, "a4 a3 a2"},
		{store.Filter{State: "done"}, "a5 a1"},
		{store.Filter{State: "wait", OpenOnly: true}, "a3 a2"},
		{store.Filter{State: "done", OpenOnly: true}, ""},
		{store.Filter{Max: 2}, "a5 a4"},
		{store.Filter{Max: 1, State: "wait"}, "a3"},
		{store.Filter{Max: 2, OpenOnly: true}, "a4 a3"},
		{store.Filter{Max: 100}, "a5 a4 a3 a2 a1"},
		{store.Filter{State: "none"}, ""},
	} {
		rows, err := f.s.List(t.Context(), test.filter)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, r := range rows {
			ids = append(ids, r.ID)
			if full := f.load(r.ID); fmt.Sprint(full) != fmt.Sprint(r) {
				t.Errorf("List gives %+v, Load %+v", r, full)
			}
		}
		equal(t, fmt.Sprintf("%+v", test.filter), ids, strings.Fields(test.want)...)
	}
}

func testHandled(t *testing.T, f *fixture) {
	f.must(store.Change{Handled: []string{"m1", "m2"}})
	for key, want := range map[string]bool{"m1": true, "m2": true, "m": false, "m3": false, "": false} {
		if got, err := f.s.Handled(t.Context(), key); err != nil || got != want {
			t.Errorf("handled %q: %v %v, want %v", key, got, err, want)
		}
	}
	f.refused(store.ErrDuplicate, store.Change{Row: create("r"), Handled: []string{"m3", "m2"}})
	f.refused(store.ErrDuplicate, store.Change{Row: create("r"), Handled: []string{"m4", "m4"}})
	for _, key := range []string{"m3", "m4"} {
		if got, _ := f.s.Handled(t.Context(), key); got {
			t.Errorf("a refused change left %s behind", key)
		}
	}
}

func testTokens(t *testing.T, f *fixture) {
	h1, h2 := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	f.must(store.Change{Tokens: map[string]string{h1: "r/p1"}})
	f.must(store.Change{Tokens: map[string]string{h1: "r/p1", h2: "r/p2"}}) // the same again
	f.refused(store.ErrExists, store.Change{Row: create("r"), Tokens: map[string]string{h1: "r/p3"}})
	for hash, want := range map[string]string{h1: "r/p1", h2: "r/p2"} {
		if got, err := f.s.Token(t.Context(), hash); err != nil || got != want {
			t.Errorf("token: %q %v, want %q", got, err, want)
		}
	}
	for _, hash := range []string{"", h1[:63], strings.Repeat("00", 32)} {
		if got, err := f.s.Token(t.Context(), hash); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("token %q: %q, %v, want not found", hash, got, err)
		}
	}
}

// testCopies: what goes in and comes out belongs to the caller.
func testCopies(t *testing.T, f *fixture) {
	row, e := create("r"), effect("e", 0)
	entry := store.Entry{Time: at(0), Data: []byte("data")}
	f.must(store.Change{Row: row, Add: []store.Effect{e}, Audit: []store.Entry{entry}})
	row.Data[0], e.Payload[0], entry.Data[0] = 'X', 'X', 'X'
	for range 2 {
		rows, err := f.s.List(t.Context(), store.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		claimed := f.claim(1<<21, 1)
		for _, b := range [][]byte{f.load("r").Data, rows[0].Data, f.outbox("")[0].Payload, claimed[0].Payload, f.events()[0].Data} {
			if b[0] == 'X' {
				t.Fatal("the caller's bytes and the store's are the same memory")
			}
			b[0] = 'X'
		}
	}
}

func testNilAndEmpty(t *testing.T, f *fixture) {
	if errs, err := f.s.Apply(t.Context(), nil); err != nil || len(errs) != 0 {
		t.Errorf("no changes: %v %v", errs, err)
	}
	f.must(store.Change{})
	f.must(store.Change{
		Handled: []string{}, Tokens: map[string]string{}, Add: []store.Effect{},
		Settle: []store.Settle{}, Drop: []string{}, Audit: []store.Entry{},
	})
	for i, b := range [][]byte{nil, {}} {
		id := fmt.Sprint("r", i)
		f.must(store.Change{
			Row:   &store.Row{ID: id, Data: b},
			Add:   []store.Effect{{Key: id, Due: at(0), Payload: b}},
			Audit: []store.Entry{{Data: b}},
		})
		if got := f.load(id); len(got.Data) != 0 || got.State != "" || got.Open {
			t.Errorf("row with nothing in it: %+v", got)
		}
	}
	for _, e := range f.outbox("") {
		if len(e.Payload) != 0 || e.Request != "" || e.Kind != "" || e.Note != "" {
			t.Errorf("effect with nothing in it: %+v", e)
		}
	}
	for _, e := range f.events() {
		if len(e.Data) != 0 || e.Request != "" || !e.Time.IsZero() {
			t.Errorf("entry with nothing in it: %+v", e)
		}
	}
}

func testInvalidKeys(t *testing.T, f *fixture) {
	f.must(store.Change{Row: create(strings.Repeat("i", 1024)), Handled: []string{strings.Repeat("h", 1024)}})
	for _, key := range []string{"", "a\x00b", strings.Repeat("x", 1025)} {
		f.refused(fs.ErrInvalid, store.Change{Row: create(key)})
		f.refused(fs.ErrInvalid, store.Change{Row: create("ok"), Handled: []string{key}})
		f.refused(fs.ErrInvalid, store.Change{Row: create("ok"), Tokens: map[string]string{key: "r"}})
		f.refused(fs.ErrInvalid, store.Change{Row: create("ok"), Add: []store.Effect{{Key: key}}})
		if key != "" {
			f.refused(fs.ErrInvalid, store.Change{Row: create("ok"), Add: []store.Effect{{Key: "e", Request: key}}})
		}
	}
}

func full(id string) store.Change {
	return store.Change{
		Row: create(id), Handled: []string{"mail-" + id}, Tokens: map[string]string{"token-" + id: id},
		Add:   []store.Effect{{Key: id + "/e", Request: id, Due: at(0)}},
		Audit: []store.Entry{{Time: at(0), Request: id, Data: []byte("created " + id)}},
	}
}

// testEachChangeIsAtomic: between good changes, each kind of failure loses its own
// change and nothing else.
func testEachChangeIsAtomic(t *testing.T, f *fixture) {
	f.must(full("old"))
	bad := map[string]func(c *store.Change){
		"conflict":        func(c *store.Change) { c.Row.Version = 7 },
		"duplicate":       func(c *store.Change) { c.Handled = append(c.Handled, "mail-old") },
		"stale":           func(c *store.Change) { c.Settle = []store.Settle{{Key: "old/e", Token: 9}} },
		"stale and gone":  func(c *store.Change) { c.Settle = []store.Settle{{Key: "none", Token: 1}} },
		"effect there":    func(c *store.Change) { c.Add = append(c.Add, store.Effect{Key: "old/e"}) },
		"token taken":     func(c *store.Change) { c.Tokens["token-old"] = "else" },
		"invalid":         func(c *store.Change) { c.Add = append(c.Add, store.Effect{}) },
		"drops, then bad": func(c *store.Change) { c.Drop = []string{"old/e"}; c.Row.Version = 7 },
	}
	n := 0
	for name, spoil := range bad {
		n++
		changes := []store.Change{full(fmt.Sprint("a", n)), full("bad"), full(fmt.Sprint("b", n))}
		spoil(&changes[1])
		errs := f.apply(changes...)
		if errs[0] != nil || errs[1] == nil || errs[2] != nil {
			t.Errorf("%s: errors %v, want only the second", name, errs)
		}
	}
	if _, err := f.s.Load(t.Context(), "bad"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a failed change created its request: %v", err)
	}
	if _, err := f.s.Token(t.Context(), "token-bad"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a failed change wrote its token: %v", err)
	}
	if handled, _ := f.s.Handled(t.Context(), "mail-bad"); handled {
		t.Error("a failed change wrote its handled key")
	}
	rows, _ := f.s.List(t.Context(), store.Filter{})
	if want := 1 + 2*n; len(rows) != want || len(f.outbox("")) != want || len(f.events()) != want {
		t.Errorf("%d rows, %d effects, %d entries, want %d of each", len(rows), len(f.outbox("")), len(f.events()), want)
	}
	f.must(full("bad")) // nothing of it is in the way
}

// testSeesChangesBefore: changes of one call are applied in order, each on what
// those before it left.
func testSeesChangesBefore(t *testing.T, f *fixture) {
	errs := f.apply(
		full("r"),
		full("r"),
		store.Change{Handled: []string{"mail-r"}},
		store.Change{Row: &store.Row{ID: "r", Version: 1, Open: true}},
		store.Change{Row: &store.Row{ID: "r", Version: 2}},
		store.Change{Row: &store.Row{ID: "r", Version: 2}},
		store.Change{Add: []store.Effect{{Key: "r/e"}}},
		store.Change{Drop: []string{"r/e"}},
		store.Change{Add: []store.Effect{{Key: "r/e", Due: at(5)}}},
		store.Change{Tokens: map[string]string{"token-r": "x"}},
		store.Change{Audit: []store.Entry{{Data: []byte("last")}}},
	)
	want := []error{nil, store.ErrDuplicate, store.ErrDuplicate, nil, nil, store.ErrConflict, store.ErrExists, nil, nil, store.ErrExists, nil}
	for i := range errs {
		if !errors.Is(errs[i], want[i]) {
			t.Errorf("change %d: %v, want %v", i, errs[i], want[i])
		}
	}
	if v := f.load("r").Version; v != 3 {
		t.Errorf("version %d, want 3", v)
	}
	if n := len(f.events()); n != 2 {
		t.Errorf("%d audit entries, want 2", n)
	}
}

// testCheckOrder: of several reasons the one is told that makes retrying
// pointless.
func testCheckOrder(_ *testing.T, f *fixture) {
	f.must(full("r"))
	f.refused(store.ErrDuplicate, store.Change{Row: create("r"), Handled: []string{"mail-r"}, Settle: []store.Settle{{Key: "r/e", Token: 1}}})
	f.refused(store.ErrStale, store.Change{Row: create("r"), Settle: []store.Settle{{Key: "r/e", Token: 1}}})
	f.refused(store.ErrConflict, store.Change{Row: create("r"), Add: []store.Effect{{Key: "r/e"}}})
}

func testEvents(t *testing.T, f *fixture) {
	var want []string
	for i := range 25 {
		c := store.Change{}
		for j := range i % 3 {
			data := fmt.Sprintf("%d.%d", i, j)
			want = append(want, data)
			c.Audit = append(c.Audit, store.Entry{Time: at(-i), Request: fmt.Sprint("r", i), Data: []byte(data)})
		}
		f.must(c)
	}
	n := len(want)
	for _, test := range []struct{ from, limit, lo, hi int }{
		{0, 1 << 20, 0, n}, {0, n, 0, n}, {0, 1, 0, 1}, {3, 4, 3, 7}, {n - 1, 5, n - 1, n}, {n, 5, 0, 0}, {n + 7, 5, 0, 0}, {2, 0, 0, 0}, {2, -1, 0, 0},
	} {
		entries, err := f.s.Events(t.Context(), uint64(test.from), test.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, string(e.Data))
		}
		if !slices.Equal(got, want[test.lo:test.hi]) {
			t.Errorf("events from %d, at most %d: %v, want %v", test.from, test.limit, got, want[test.lo:test.hi])
		}
	}
	if e := f.events()[0]; !e.Time.Equal(at(-1)) || e.Request != "r1" {
		t.Errorf("entry %+v", e)
	}
	if got, err := f.s.Events(t.Context(), 1<<63, 10); err != nil || len(got) != 0 {
		t.Errorf("events from far beyond the end: %v %v", got, err)
	}
}
