package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"countersign/store"
	"countersign/store/audit"
)

// Check reads the whole file and returns what is wrong with it, joined, or nil:
// every value can be read, the indexes say the same as the rows, the audit log has
// no gap and is what its stored hashes say. Writers are not held up, but while it
// runs the file can only grow. It takes 64 bytes of memory per audit entry.
//
// It cannot find what somebody changed together with all hashes: for that compare
// [Store.Tree] with a head that was kept elsewhere.
func (s *Store) Check(ctx context.Context) error {
	var errs []error
	err := s.view(ctx, func(tx *bolt.Tx) error {
		for _, check := range []func(*bolt.Tx, func(error)){checkRequests, checkOutbox, checkDue, checkForeign, checkAudit} {
			check(tx, func(err error) {
				const enough = 20
				if err != nil && len(errs) < enough {
					errs = append(errs, err)
				}
			})
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("check the state: %w", err)
	}
	return nil
}

// walk calls fn with every row of a bucket.
func walk(tx *bolt.Tx, bucket []byte, fn func(k, v []byte)) {
	c := tx.Bucket(bucket).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		fn(k, v)
	}
}

func checkRequests(tx *bolt.Tx, bad func(error)) {
	open := tx.Bucket(bucketOpen)
	walk(tx, bucketRequests, func(id, b []byte) {
		r, err := decodeRow(string(id), b)
		bad(err)
		if err == nil && r.Open != (open.Get(id) != nil) {
			bad(fmt.Errorf("request %s: the index of open requests differs: %w", id, errDamaged))
		}
	})
	requests := tx.Bucket(bucketRequests)
	walk(tx, bucketOpen, func(id, _ []byte) {
		if requests.Get(id) == nil {
			bad(fmt.Errorf("request %s is listed as open and does not exist: %w", id, errDamaged))
		}
	})
}

func checkOutbox(tx *bolt.Tx, bad func(error)) {
	due, foreign := tx.Bucket(bucketDue), tx.Bucket(bucketForeign)
	last := tx.Bucket(bucketOutbox).Sequence()
	walk(tx, bucketOutbox, func(key, b []byte) {
		c, err := decodeEffect(string(key), b)
		if err != nil {
			bad(err)
			return
		}
		if due.Get(dueKey(c.Due, c.Key)) == nil {
			bad(fmt.Errorf("effect %s is not in the index of due times: %w", key, errDamaged))
		}
		if isForeign(c.Effect) && foreign.Get(foreignKey(c.Request, c.Key)) == nil {
			bad(fmt.Errorf("effect %s is not in the index of its request: %w", key, errDamaged))
		}
		if c.Token > last {
			bad(fmt.Errorf("effect %s has claim token %d, but only %d were given: %w", key, c.Token, last, errDamaged))
		}
	})
}

func checkDue(tx *bolt.Tx, bad func(error)) {
	outbox := tx.Bucket(bucketOutbox)
	walk(tx, bucketDue, func(k, _ []byte) {
		at, key, err := splitDue(k)
		if err != nil {
			bad(err)
			return
		}
		c, err := decodeEffect(key, outbox.Get([]byte(key)))
		if err != nil || !c.Due.Equal(at) {
			bad(fmt.Errorf("the index of due times names effect %s at %s, where it is not: %w", key, at, errDamaged))
		}
	})
}

func checkForeign(tx *bolt.Tx, bad func(error)) {
	outbox := tx.Bucket(bucketOutbox)
	walk(tx, bucketForeign, func(k, _ []byte) {
		request, key, _ := bytes.Cut(k, []byte{0})
		c, err := decodeEffect(string(key), outbox.Get(key))
		if err != nil || c.Request != string(request) {
			bad(fmt.Errorf("the index of request %s names effect %s, which is not its own: %w", request, key, errDamaged))
		}
	})
}

func checkAudit(tx *bolt.Tx, bad func(error)) {
	size := treeSize(tx.Bucket(bucketMeta))
	hashes := hashReader{tx.Bucket(bucketHashes)}
	root, err := audit.Root(size, hashes)
	if err != nil {
		bad(err)
		return
	}
	entries := func(yield func(store.Entry, error) bool) {
		c := tx.Bucket(bucketAudit).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if len(k) != 8 {
				yield(store.Entry{}, errDamaged)
				return
			}
			if e, err := decodeEntry(binary.BigEndian.Uint64(k), v); !yield(e, err) || err != nil {
				return
			}
		}
	}
	bad(audit.Verify(entries, hashes, audit.Head{Size: size, Root: root}))
}
