package boltstore

import (
	"bytes"
	"testing"
	"time"

	"countersign/store"
)

// FuzzDecode: stored bytes, whatever they are, give a value or an error; a value
// that was read is written as the same value again.
func FuzzDecode(f *testing.F) {
	at := time.Unix(1<<31, 999).UTC()
	f.Add(encodeRow(store.Row{ID: "r", Version: 300, State: "waiting", Open: true, Data: []byte("data")}))
	f.Add(encodeEffect(store.Claimed{Effect: store.Effect{Key: "k", Request: "r", Kind: "letter", Due: at, Attempts: 3, Note: "451", Payload: []byte("p")}, Token: 7}))
	f.Add(encodeEntry(store.Entry{Time: at, Request: "r", Data: []byte("leaf")}))
	f.Add(encodeEntry(store.Entry{}))
	f.Add(dueKey(at, "r/letter"))
	f.Add([]byte{1, 2, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeRow("r", b); err == nil {
			again, err := decodeRow("r", encodeRow(r))
			if err != nil || again.Version != r.Version || again.State != r.State || again.Open != r.Open || !bytes.Equal(again.Data, r.Data) {
				t.Errorf("row %+v became %+v, %v", r, again, err)
			}
		}
		if e, err := decodeEntry(0, b); err == nil {
			again, err := decodeEntry(0, encodeEntry(e))
			if err != nil || again.Time != e.Time || again.Request != e.Request || !bytes.Equal(again.Data, e.Data) {
				t.Errorf("entry %+v became %+v, %v", e, again, err)
			}
		}
		if c, err := decodeEffect("k", b); err == nil && c.Attempts >= 0 {
			again, err := decodeEffect("k", encodeEffect(c))
			if err != nil || again.Token != c.Token || again.Attempts != c.Attempts || again.Due != c.Due || again.Note != c.Note || !bytes.Equal(again.Payload, c.Payload) {
				t.Errorf("effect %+v became %+v, %v", c, again, err)
			}
		}
		if due, key, err := splitDue(b); err == nil {
			again, key2, err := splitDue(dueKey(due, key))
			if err != nil || again != due || key2 != key {
				t.Errorf("due row %v %q became %v %q, %v", due, key, again, key2, err)
			}
		}
	})
}

// TestDueOrder: rows of the due index sort as their times do.
func TestDueOrder(t *testing.T) {
	times := []time.Time{
		{}, time.Unix(-1, 0), time.Unix(0, 0), time.Unix(0, 1), time.Unix(1, 0), time.Unix(255, 999999999), time.Unix(256, 0), time.Unix(1<<40, 0),
	}
	for i := range len(times) - 1 {
		if bytes.Compare(dueKey(times[i], "z"), dueKey(times[i+1], "a")) >= 0 {
			t.Errorf("%v does not sort before %v", times[i], times[i+1])
		}
	}
}
