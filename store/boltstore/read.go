package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/tlog"

	"countersign/store"
	"countersign/store/audit"
)

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, id string) (r store.Row, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketRequests).Get([]byte(id))
		if b == nil {
			return fmt.Errorf("request %s: %w", id, store.ErrNotFound)
		}
		r, err = decodeRow(id, b)
		return err
	})
	return r, err
}

// List implements store.Store. With OpenOnly it reads open requests only, else it
// walks all of them until Max are found.
func (s *Store) List(ctx context.Context, f store.Filter) (rows []store.Row, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		requests := tx.Bucket(bucketRequests)
		walk := requests
		if f.OpenOnly {
			walk = tx.Bucket(bucketOpen)
		}
		c := walk.Cursor()
		for id, b := c.Last(); id != nil; id, b = c.Prev() {
			if f.OpenOnly {
				b = requests.Get(id)
			}
			r, err := decodeRow(string(id), b)
			if err != nil {
				return err
			}
			if f.State != "" && f.State != r.State {
				continue
			}
			rows = append(rows, r)
			if len(rows) == f.Max {
				break
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// Token implements store.Store.
func (s *Store) Token(ctx context.Context, hash string) (ref string, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketTokens).Get([]byte(hash))
		if b == nil {
			return fmt.Errorf("reply token: %w", store.ErrNotFound)
		}
		ref = string(b)
		return nil
	})
	return ref, err
}

// Handled implements store.Store.
func (s *Store) Handled(ctx context.Context, key string) (found bool, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		found = tx.Bucket(bucketHandled).Get([]byte(key)) != nil
		return nil
	})
	return found, err
}

// Claim implements store.Store. The effects returned are as stored by the claim:
// Due is the time that Next gave. Claims go through the writer as changes do, but
// a Claim that finds nothing due costs no flush. Next and Skip are called by the
// writer, so they must be short and must not call the store.
func (s *Store) Claim(ctx context.Context, o store.ClaimOptions) (claimed []store.Claimed, err error) {
	if o.Next == nil {
		return nil, fmt.Errorf("claim effects: Next is missing: %w", fs.ErrInvalid)
	}
	some := false
	look := o
	look.Max = min(o.Max, 1)
	err = s.view(ctx, func(tx *bolt.Tx) error {
		keys, err := dueKeys(tx.Bucket(bucketDue), look)
		some = len(keys) > 0
		return err
	})
	if err != nil || !some {
		return nil, err
	}
	var unreadable error
	err = s.submit(ctx, 512*min(o.Max, 1024), func(t *txn) error {
		var found []store.Claimed
		if found, unreadable = t.dueEffects(o); unreadable != nil {
			return nil
		}
		claimed, err = t.claim(found, o.Next)
		return err
	})
	if err := errors.Join(unreadable, err); err != nil {
		return nil, fmt.Errorf("claim effects: %w", err)
	}
	return claimed, nil
}

// dueKeys returns the keys of the effects that o asks for, oldest first.
func dueKeys(due *bolt.Bucket, o store.ClaimOptions) (keys []string, err error) {
	limit := appendTime(nil, o.Now)
	c := due.Cursor()
	for k, _ := c.First(); k != nil && len(keys) < o.Max; k, _ = c.Next() {
		_, key, err := splitDue(k)
		if err != nil {
			return nil, err
		}
		if bytes.Compare(k[:timeLen], limit) > 0 {
			break
		}
		if o.Skip == nil || !o.Skip(key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// dueEffects reads the effects that o asks for. It is apart from claim so that a
// damaged one fails this call only, not the group.
func (t *txn) dueEffects(o store.ClaimOptions) (found []store.Claimed, err error) {
	keys, err := dueKeys(t.due, o)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		c, err := t.effect(key)
		if err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, nil
}

// claim moves effects of the outbox to their next attempt.
func (t *txn) claim(found []store.Claimed, next func(store.Effect) time.Time) (claimed []store.Claimed, err error) {
	for _, c := range found {
		if err := t.remove(c.Effect); err != nil {
			return nil, err
		}
		c.Attempts++
		// The sequence is part of the transaction: a number that was handed
		// out is never given again, also after a crash.
		if c.Token, err = t.outbox.NextSequence(); err != nil {
			return nil, err
		}
		c.Due = dueTime(next(c.Effect)).Round(0).UTC()
		if err := t.put(c); err != nil {
			return nil, err
		}
		t.dirty = true
		claimed = append(claimed, c)
	}
	return claimed, nil
}

// NextDue implements store.Store. skip must not call the store.
func (s *Store) NextDue(ctx context.Context, skip func(key string) bool) (due time.Time, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketDue).Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			at, key, err := splitDue(k)
			if err != nil {
				return err
			}
			if skip == nil || !skip(key) {
				due = at
				return nil
			}
		}
		return nil
	})
	return due, err
}

// Outbox implements store.Store.
func (s *Store) Outbox(ctx context.Context, request string) (effects []store.Effect, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		outbox := tx.Bucket(bucketOutbox)
		collect := func(key, b []byte) error {
			c, err := decodeEffect(string(key), b)
			if err == nil && (request == "" || c.Request == request) {
				effects = append(effects, c.Effect)
			}
			return err
		}
		if request == "" {
			return outbox.ForEach(collect)
		}
		if err := forPrefix(outbox, []byte(request+"/"), collect); err != nil {
			return err
		}
		prefix := foreignKey(request, "")
		return forPrefix(tx.Bucket(bucketForeign), prefix, func(k, _ []byte) error {
			key := k[len(prefix):]
			return collect(key, outbox.Get(key))
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(effects, func(a, b store.Effect) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Key, b.Key))
	})
	return effects, nil
}

func forPrefix(b *bolt.Bucket, prefix []byte, fn func(k, v []byte) error) error {
	c := b.Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if err := fn(k, v); err != nil {
			return err
		}
	}
	return nil
}

// Events implements store.Store.
func (s *Store) Events(ctx context.Context, from uint64, limit int) (entries []store.Entry, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketAudit).Cursor()
		want := from
		for k, v := c.Seek(index(from)); k != nil && len(entries) < limit; k, v = c.Next() {
			if len(k) != 8 || binary.BigEndian.Uint64(k) != want {
				return fmt.Errorf("audit entry %d is missing: %w", want, errDamaged)
			}
			e, err := decodeEntry(want, v)
			if err != nil {
				return err
			}
			entries = append(entries, e)
			want++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// Tree returns the size of the audit log and its root hash (RFC 6962, 2.1), both
// of the same commit.
func (s *Store) Tree(ctx context.Context) (size uint64, root [32]byte, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		size = treeSize(tx.Bucket(bucketMeta))
		root, err = audit.Root(size, hashReader{tx.Bucket(bucketHashes)})
		return err
	})
	return size, root, err
}

// ReadHashes returns stored hashes of the audit log; it makes Store a
// tlog.HashReader for the proofs of package audit.
func (s *Store) ReadHashes(indexes []int64) (hashes []tlog.Hash, err error) {
	err = s.view(context.Background(), func(tx *bolt.Tx) error {
		hashes, err = hashReader{tx.Bucket(bucketHashes)}.ReadHashes(indexes)
		return err
	})
	return hashes, err
}

// hashReader reads the hashes of the audit log inside a transaction.
type hashReader struct{ hashes *bolt.Bucket }

// ReadHashes implements tlog.HashReader.
func (r hashReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if copy(out[i][:], r.hashes.Get(index(uint64(x)))) != tlog.HashSize {
			return nil, fmt.Errorf("audit hash %d is missing: %w", x, errDamaged)
		}
	}
	return out, nil
}
