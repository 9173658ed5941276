package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"countersign/store"
)

// errDamaged reports a value that this package did not write.
var errDamaged = errors.New("the stored value is damaged; restore the state from a backup")

const timeLen = 12

// appendTime writes a time so that earlier ones sort first.
func appendTime(b []byte, t time.Time) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix())^1<<63)
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

// dueTime makes every due time one that is not zero, for NextDue's sake: an
// effect without due time is due at once.
func dueTime(t time.Time) time.Time {
	if t.Unix() < 0 {
		return time.Unix(0, 0)
	}
	return t
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A reader takes a value apart. After the first thing that does not fit it is bad
// and returns zero values.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if r.bad || size <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) text() string { return string(r.take(r.number())) }

func (r *reader) time() time.Time {
	b := r.take(timeLen)
	if r.bad {
		return time.Time{}
	}
	sec := int64(binary.BigEndian.Uint64(b) ^ 1<<63)
	return time.Unix(sec, int64(binary.BigEndian.Uint32(b[8:]))).UTC()
}

// rest returns a copy of what is left.
func (r *reader) rest() []byte {
	if r.bad || len(r.b) == 0 {
		return nil
	}
	return append([]byte(nil), r.b...)
}

func encodeRow(r store.Row) []byte {
	b := make([]byte, 0, 16+len(r.State)+len(r.Data))
	b = binary.AppendUvarint(b, r.Version)
	open := byte(0)
	if r.Open {
		open = 1
	}
	b = append(b, open)
	b = appendString(b, r.State)
	return append(b, r.Data...)
}

func decodeRow(id string, b []byte) (store.Row, error) {
	d := reader{b: b}
	r := store.Row{ID: id, Version: d.number()}
	open := d.take(1)
	r.State = d.text()
	r.Data = d.rest()
	if d.bad || open[0] > 1 || r.Version == 0 {
		return store.Row{}, fmt.Errorf("request %s: %w", id, errDamaged)
	}
	r.Open = open[0] == 1
	return r, nil
}

func encodeEffect(c store.Claimed) []byte {
	b := make([]byte, 0, 64+len(c.Request)+len(c.Kind)+len(c.Note)+len(c.Payload))
	b = appendTime(b, c.Due)
	b = binary.AppendUvarint(b, c.Token)
	b = binary.AppendUvarint(b, uint64(max(0, c.Attempts)))
	b = appendString(b, c.Request)
	b = appendString(b, c.Kind)
	b = appendString(b, c.Note)
	return append(b, c.Payload...)
}

func decodeEffect(key string, b []byte) (store.Claimed, error) {
	d := reader{b: b}
	c := store.Claimed{Effect: store.Effect{Key: key, Due: d.time()}, Token: d.number()}
	c.Attempts = int(d.number())
	c.Request = d.text()
	c.Kind = d.text()
	c.Note = d.text()
	c.Payload = d.rest()
	if d.bad {
		return store.Claimed{}, fmt.Errorf("effect %s: %w", key, errDamaged)
	}
	return c, nil
}

func encodeEntry(e store.Entry) []byte {
	b := make([]byte, 0, 24+len(e.Request)+len(e.Data))
	b = appendTime(b, e.Time)
	b = appendString(b, e.Request)
	return append(b, e.Data...)
}

func decodeEntry(n uint64, b []byte) (store.Entry, error) {
	d := reader{b: b}
	e := store.Entry{Time: d.time(), Request: d.text()}
	e.Data = d.rest()
	if d.bad {
		return store.Entry{}, fmt.Errorf("audit entry %d: %w", n, errDamaged)
	}
	return e, nil
}

func dueKey(due time.Time, key string) []byte {
	return append(appendTime(make([]byte, 0, timeLen+len(key)), due), key...)
}

// splitDue takes a key of the due index apart.
func splitDue(k []byte) (due time.Time, key string, err error) {
	d := reader{b: k}
	due = d.time()
	if d.bad {
		return time.Time{}, "", fmt.Errorf("index of due times: %w", errDamaged)
	}
	return due, string(d.b), nil
}

// isForeign: a search by key prefix does not find this effect of its request.
func isForeign(e store.Effect) bool {
	return e.Request != "" && !strings.HasPrefix(e.Key, e.Request+"/")
}

func foreignKey(request, key string) []byte {
	return []byte(request + "\x00" + key)
}
