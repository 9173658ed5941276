// Package memstore keeps the state of Countersign in memory, for tests and
// simulations. It behaves like store/boltstore in everything that store.Store
// promises, including the order of results, and passes the same store/storetest.
//
// A [Store] is a handle to the state. [Store.Reopen] is the restart after a crash:
// the new handle sees everything that was acknowledged, and the old one is dead,
// so that goroutines of the "crashed" program cannot write any more.
package memstore

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"countersign/store"
	"countersign/store/audit"
)

// A Store implements store.Store in memory.
type Store struct{ d *data }

var _ store.Store = (*Store)(nil)

// data is what survives a Reopen.
type data struct {
	mu      sync.Mutex
	alive   *Store // the only handle that may be used
	rows    map[string]store.Row
	handled map[string]bool
	tokens  map[string]string
	// outbox holds each effect with the token of its last claim, 0 for none.
	outbox map[string]store.Claimed
	// due is the outbox in the order of due time, then key.
	due    []dueKey
	token  uint64
	events []store.Entry
	hashes []tlog.Hash
}

type dueKey struct {
	at  time.Time
	key string
}

func compareDue(a, b dueKey) int {
	return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.key, b.key))
}

// New returns an empty store.
func New() *Store {
	s := &Store{d: &data{
		rows:    map[string]store.Row{},
		handled: map[string]bool{},
		tokens:  map[string]string{},
		outbox:  map[string]store.Claimed{},
	}}
	s.d.alive = s
	return s
}

// Reopen returns a new handle to the same state and disables this one, whether it
// was closed or not.
func (s *Store) Reopen() *Store {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	n := &Store{d: s.d}
	s.d.alive = n
	return n
}

// Close implements store.Store. The state stays; Reopen gives it back.
func (s *Store) Close() error {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.d.alive == s {
		s.d.alive = nil
	}
	return nil
}

// lock takes the lock if this handle may still be used.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.d.mu.Lock()
	if s.d.alive != s {
		s.d.mu.Unlock()
		return fmt.Errorf("the store in memory: %w", fs.ErrClosed)
	}
	return nil
}

// Apply implements store.Store.
func (s *Store) Apply(ctx context.Context, changes []store.Change) ([]error, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.d.mu.Unlock()
	errs := make([]error, len(changes))
	for i := range changes {
		c := &changes[i]
		if errs[i] = s.d.check(c); errs[i] != nil {
			continue
		}
		if err := s.d.write(c); err != nil {
			return nil, err
		}
	}
	return errs, nil
}

func copyRow(r store.Row) store.Row {
	r.Data = slices.Clone(r.Data)
	return r
}

func copyEffect(e store.Effect) store.Effect {
	e.Payload = slices.Clone(e.Payload)
	return e
}

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, id string) (store.Row, error) {
	if err := s.lock(ctx); err != nil {
		return store.Row{}, err
	}
	defer s.d.mu.Unlock()
	r, ok := s.d.rows[id]
	if !ok {
		return store.Row{}, fmt.Errorf("request %s: %w", id, store.ErrNotFound)
	}
	return copyRow(r), nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, f store.Filter) ([]store.Row, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.d.mu.Unlock()
	var rows []store.Row
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(s.d.rows))) {
		r := s.d.rows[id]
		if f.OpenOnly && !r.Open || f.State != "" && f.State != r.State {
			continue
		}
		rows = append(rows, copyRow(r))
		if len(rows) == f.Max {
			break
		}
	}
	return rows, nil
}

// Token implements store.Store.
func (s *Store) Token(ctx context.Context, hash string) (string, error) {
	if err := s.lock(ctx); err != nil {
		return "", err
	}
	defer s.d.mu.Unlock()
	ref, ok := s.d.tokens[hash]
	if !ok {
		return "", fmt.Errorf("reply token: %w", store.ErrNotFound)
	}
	return ref, nil
}

// Handled implements store.Store.
func (s *Store) Handled(ctx context.Context, key string) (bool, error) {
	if err := s.lock(ctx); err != nil {
		return false, err
	}
	defer s.d.mu.Unlock()
	return s.d.handled[key], nil
}

// Claim implements store.Store. Next and Skip are called with the store locked;
// they must not call it.
func (s *Store) Claim(ctx context.Context, o store.ClaimOptions) ([]store.Claimed, error) {
	if o.Next == nil {
		return nil, fmt.Errorf("claim effects: Next is missing: %w", fs.ErrInvalid)
	}
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.d.mu.Unlock()
	var keys []string
	for _, d := range s.d.due {
		if len(keys) >= o.Max || d.at.After(o.Now) {
			break
		}
		if o.Skip == nil || !o.Skip(d.key) {
			keys = append(keys, d.key)
		}
	}
	var claimed []store.Claimed
	for _, key := range keys {
		c := s.d.outbox[key]
		c.Attempts++
		s.d.token++
		c.Token = s.d.token
		due := dueTime(o.Next(copyEffect(c.Effect)))
		s.d.remove(key)
		c.Due = due
		s.d.put(c)
		c.Effect = copyEffect(c.Effect)
		claimed = append(claimed, c)
	}
	return claimed, nil
}

// NextDue implements store.Store. skip is called with the store locked.
func (s *Store) NextDue(ctx context.Context, skip func(key string) bool) (time.Time, error) {
	if err := s.lock(ctx); err != nil {
		return time.Time{}, err
	}
	defer s.d.mu.Unlock()
	for _, d := range s.d.due {
		if skip == nil || !skip(d.key) {
			return d.at, nil
		}
	}
	return time.Time{}, nil
}

// Outbox implements store.Store.
func (s *Store) Outbox(ctx context.Context, request string) ([]store.Effect, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.d.mu.Unlock()
	var effects []store.Effect
	for _, d := range s.d.due {
		if e := s.d.outbox[d.key].Effect; request == "" || e.Request == request {
			effects = append(effects, copyEffect(e))
		}
	}
	return effects, nil
}

// Events implements store.Store.
func (s *Store) Events(ctx context.Context, from uint64, limit int) ([]store.Entry, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.d.mu.Unlock()
	n := uint64(len(s.d.events))
	if from >= n || limit <= 0 {
		return nil, nil
	}
	entries := slices.Clone(s.d.events[from:min(n, from+min(uint64(limit), n))])
	for i := range entries {
		entries[i].Data = slices.Clone(entries[i].Data)
	}
	return entries, nil
}

// Tree returns the size of the audit log and its root hash.
func (s *Store) Tree(ctx context.Context) (size uint64, root [32]byte, err error) {
	if err := s.lock(ctx); err != nil {
		return 0, root, err
	}
	defer s.d.mu.Unlock()
	size = uint64(len(s.d.events))
	root, err = audit.Root(size, tlog.HashReaderFunc(s.d.readHashes))
	return size, root, err
}

// ReadHashes returns stored hashes of the audit log; it makes Store a
// tlog.HashReader for package audit.
func (s *Store) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	if err := s.lock(context.Background()); err != nil {
		return nil, err
	}
	defer s.d.mu.Unlock()
	return s.d.readHashes(indexes)
}

func (d *data) readHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(d.hashes)) {
			return nil, fmt.Errorf("audit hash %d: %w", x, store.ErrNotFound)
		}
		out[i] = d.hashes[x]
	}
	return out, nil
}

// dueTime makes every due time one that sorts and is not zero: an effect without
// due time is due at once.
func dueTime(t time.Time) time.Time {
	if t.Unix() < 0 {
		return time.Unix(0, 0).UTC()
	}
	return t.Round(0).UTC()
}

// maxKey and maxValue are the limits of boltstore, in bytes.
const (
	maxKey   = 1024
	maxValue = 256 << 20
)

func validKey(what, key string) error {
	if key == "" || len(key) > maxKey || strings.IndexByte(key, 0) >= 0 {
		return fmt.Errorf("%s %.80q: must have 1 to %d bytes and no zero byte: %w", what, key, maxKey, fs.ErrInvalid)
	}
	return nil
}
