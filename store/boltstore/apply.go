package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"countersign/store"
)

// maxKey and maxValue bound what a change may hold, in bytes; bbolt itself takes
// keys of 32 KB and values of 2 GB.
const (
	maxKey   = 1024
	maxValue = 256 << 20
)

// present is the value of rows that only say that their key exists. It is not
// empty, as bbolt cannot tell an empty value from none before it is flushed.
var present = []byte{1}

// Apply implements store.Store. Beyond its contract: a change that settles or
// drops an effect may add one with the same key; a reply token that is put again
// with another reference is refused with ErrExists; an effect without due time
// is due at once; a change with an empty or overlong key (1,024 bytes) gets
// fs.ErrInvalid.
func (s *Store) Apply(ctx context.Context, changes []store.Change) ([]error, error) {
	if len(changes) == 0 {
		return nil, ctx.Err()
	}
	size := 0
	for i := range changes {
		size += weight(&changes[i])
	}
	errs := make([]error, len(changes))
	err := s.submit(ctx, size, func(t *txn) error {
		for i := range changes {
			c := &changes[i]
			if errs[i] = t.check(c); errs[i] != nil {
				continue
			}
			if err := t.write(c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return errs, nil
}

// weight estimates the bytes that a change writes.
func weight(c *store.Change) int {
	n := 512
	if c.Row != nil {
		n += len(c.Row.Data)
	}
	for _, e := range c.Add {
		n += 128 + len(e.Payload)
	}
	for _, e := range c.Audit {
		n += 128 + len(e.Data)
	}
	return n
}

// check says why c cannot be applied, or nil. It reads and does not write. What
// makes another attempt pointless comes first: a mail that was handled stays
// handled, whatever the request's version.
func (t *txn) check(c *store.Change) error {
	if err := valid(c); err != nil {
		return err
	}
	for i, key := range c.Handled {
		if t.handled.Get([]byte(key)) != nil || slices.Contains(c.Handled[:i], key) {
			return fmt.Errorf("mail %s: %w", key, store.ErrDuplicate)
		}
	}
	gone, err := t.checkSettle(c)
	if err != nil {
		return err
	}
	if c.Row != nil {
		have, err := t.row(c.Row.ID)
		if err != nil {
			return err
		}
		if have.Version != c.Row.Version {
			return fmt.Errorf("request %s at version %d, decided on %d: %w", c.Row.ID, have.Version, c.Row.Version, store.ErrConflict)
		}
	}
	for i, e := range c.Add {
		there := t.outbox.Get([]byte(e.Key)) != nil && !gone[e.Key]
		if there || slices.ContainsFunc(c.Add[:i], func(o store.Effect) bool { return o.Key == e.Key }) {
			return fmt.Errorf("effect %s is in the outbox already: %w", e.Key, store.ErrExists)
		}
	}
	for hash, ref := range c.Tokens {
		if have := t.tokens.Get([]byte(hash)); have != nil && string(have) != ref {
			return fmt.Errorf("reply token of %s belongs to %s: %w", ref, have, store.ErrExists)
		}
	}
	return nil
}

// checkSettle checks the claim tokens and the effects that c removes, and returns
// the keys that c takes out of the outbox.
func (t *txn) checkSettle(c *store.Change) (gone map[string]bool, err error) {
	gone = map[string]bool{}
	for i, s := range c.Settle {
		e, err := t.effect(s.Key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		again := slices.ContainsFunc(c.Settle[:i], func(o store.Settle) bool { return o.Key == s.Key })
		if err != nil || s.Token == 0 || e.Token != s.Token || again {
			return nil, fmt.Errorf("effect %s: %w", s.Key, store.ErrStale)
		}
		gone[s.Key] = s.Again.IsZero()
	}
	for _, key := range c.Drop {
		if _, err := t.effect(key); err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		gone[key] = true
	}
	return gone, nil
}

// row returns the stored request, or the zero Row.
func (t *txn) row(id string) (store.Row, error) {
	b := t.requests.Get([]byte(id))
	if b == nil {
		return store.Row{}, nil
	}
	return decodeRow(id, b)
}

// valid refuses what the store cannot keep: a mistake of the caller. It must be
// complete, as an error while writing spoils the whole group.
func valid(c *store.Change) error {
	var errs []error
	size := 0
	if c.Row != nil {
		errs = append(errs, validKey("request", c.Row.ID))
		size = max(size, len(c.Row.Data)+len(c.Row.State))
	}
	for _, key := range c.Handled {
		errs = append(errs, validKey("handled key", key))
	}
	for hash, ref := range c.Tokens {
		errs = append(errs, validKey("reply token hash of "+ref, hash))
		size = max(size, len(ref))
	}
	for _, e := range c.Add {
		errs = append(errs, validKey("effect", e.Key))
		if e.Request != "" {
			errs = append(errs, validKey("request of effect "+e.Key, e.Request))
		}
		size = max(size, len(e.Payload)+len(e.Note)+len(e.Kind))
	}
	for _, s := range c.Settle {
		size = max(size, len(s.Note))
	}
	for _, e := range c.Audit {
		size = max(size, len(e.Data)+len(e.Request))
	}
	if size > maxValue {
		errs = append(errs, fmt.Errorf("a value of %d bytes is larger than %d; large data belongs into a blob: %w", size, maxValue, fs.ErrInvalid))
	}
	return errors.Join(errs...)
}

func validKey(what, key string) error {
	if key == "" || len(key) > maxKey || strings.IndexByte(key, 0) >= 0 {
		return fmt.Errorf("%s %.80q: must have 1 to %d bytes and no zero byte: %w", what, key, maxKey, fs.ErrInvalid)
	}
	return nil
}

// write applies a change that check passed.
func (t *txn) write(c *store.Change) error {
	t.dirty = true
	t.entries = append(t.entries, c.Audit...)
	if c.Row != nil {
		if err := t.writeRow(*c.Row); err != nil {
			return fmt.Errorf("write request %s: %w", c.Row.ID, err)
		}
	}
	for _, key := range c.Handled {
		if err := t.handled.Put([]byte(key), present); err != nil {
			return fmt.Errorf("write handled key %s: %w", key, err)
		}
	}
	for hash, ref := range c.Tokens {
		if err := t.tokens.Put([]byte(hash), []byte(ref)); err != nil {
			return fmt.Errorf("write reply token of %s: %w", ref, err)
		}
	}
	if err := t.writeOutbox(c); err != nil {
		return fmt.Errorf("write the outbox: %w", err)
	}
	return nil
}

func (t *txn) writeRow(r store.Row) error {
	id := []byte(r.ID)
	r.Version++
	if err := t.requests.Put(id, encodeRow(r)); err != nil {
		return err
	}
	listed := t.open.Get(id) != nil
	switch {
	case r.Open && !listed:
		return t.open.Put(id, present)
	case !r.Open && listed:
		return t.open.Delete(id)
	}
	return nil
}

func (t *txn) writeOutbox(c *store.Change) error {
	for _, s := range c.Settle {
		e, err := t.effect(s.Key)
		if err != nil {
			return err
		}
		if err := t.remove(e.Effect); err != nil {
			return err
		}
		if s.Again.IsZero() {
			continue
		}
		e.Due, e.Note, e.Token = s.Again, s.Note, 0
		if err := t.put(e); err != nil {
			return err
		}
	}
	for _, key := range c.Drop {
		e, err := t.effect(key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := t.remove(e.Effect); err != nil {
			return err
		}
	}
	for _, e := range c.Add {
		if err := t.put(store.Claimed{Effect: e}); err != nil {
			return err
		}
	}
	return nil
}

// put writes an effect that is not in the outbox, with its index rows.
func (t *txn) put(c store.Claimed) error {
	c.Due = dueTime(c.Due)
	if err := t.outbox.Put([]byte(c.Key), encodeEffect(c)); err != nil {
		return err
	}
	if isForeign(c.Effect) {
		if err := t.foreign.Put(foreignKey(c.Request, c.Key), present); err != nil {
			return err
		}
	}
	return t.due.Put(dueKey(c.Due, c.Key), present)
}

// remove takes an effect that is in the outbox out of it.
func (t *txn) remove(e store.Effect) error {
	if isForeign(e) {
		if err := t.foreign.Delete(foreignKey(e.Request, e.Key)); err != nil {
			return err
		}
	}
	if err := t.due.Delete(dueKey(e.Due, e.Key)); err != nil {
		return err
	}
	return t.outbox.Delete([]byte(e.Key))
}

// effect returns an effect of the outbox with the token of its last claim.
func (t *txn) effect(key string) (store.Claimed, error) {
	b := t.outbox.Get([]byte(key))
	if b == nil {
		return store.Claimed{}, fmt.Errorf("effect %s: %w", key, store.ErrNotFound)
	}
	return decodeEffect(key, b)
}
