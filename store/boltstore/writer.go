package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"countersign/store"
	"countersign/store/audit"
)

// maxGroup bounds the bytes that one transaction takes, as all of them are in
// memory until the flush.
const maxGroup = 8 << 20

// A job is one caller's part of a group.
type job struct {
	// run checks and writes. Its error means that the transaction is spoiled, and
	// fails the whole group; what concerns one change only stays in the caller's
	// own variables.
	run  func(t *txn) error
	size int // about how many bytes it writes
	done chan error
}

// submit hands a job to the writer and waits for the flush. Once the writer has
// taken it, ctx no longer counts: a commit cannot be called back, and to report
// it as failed would be a guess.
func (s *Store) submit(ctx context.Context, size int, run func(t *txn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{run: run, size: size, done: make(chan error, 1)}
	select {
	case s.jobs <- j:
		return <-j.done
	case <-s.quit:
		return s.errClosed()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writer is the one goroutine that writes.
func (s *Store) writer() {
	defer close(s.done)
	for {
		select {
		case <-s.quit:
			return
		case j := <-s.jobs:
			group := s.gather(j)
			err := s.commit(group)
			for _, j := range group {
				j.done <- err
			}
		}
	}
}

// gather takes what else is waiting now. While one group is flushed the next one
// collects by itself, so no timer is needed: a single caller never waits for
// others, and many callers share a flush.
func (s *Store) gather(first *job) []*job {
	group, size := []*job{first}, first.size
	yielded := false
	for size < maxGroup {
		select {
		case j := <-s.jobs:
			group = append(group, j)
			size += j.size
			yielded = false
		default:
			if yielded {
				return group
			}
			// Callers that were just answered are about to come back; let
			// them run once, or they all miss this flush by a microsecond.
			runtime.Gosched()
			yielded = true
		}
	}
	return group
}

// commit runs a group in one transaction and flushes it.
func (s *Store) commit(group []*job) error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	t := newTxn(tx)
	for _, j := range group {
		if err = j.run(t); err != nil {
			break
		}
	}
	if err == nil && t.dirty {
		err = t.appendAudit()
	}
	if err != nil || !t.dirty {
		return errors.Join(err, tx.Rollback()) // nothing to flush
	}
	if err := tx.Commit(); err != nil {
		return commitError(err)
	}
	return nil
}

// commitError says what to do about a failed flush. bbolt has rolled back and
// rebuilt its free list, so the next commit starts from the old state.
func commitError(err error) error {
	switch {
	case errors.Is(err, berrors.ErrMaxSizeReached):
		return fmt.Errorf("write the state file: it may not grow any more; raise its maximum size: %w", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("write the state file: no room; free some space, the next attempt works without a restart: %w", err)
	}
	return fmt.Errorf("write the state file: %w", err)
}

// A txn is the write transaction of one group.
type txn struct {
	requests, open, outbox, due, foreign *bolt.Bucket
	handled, tokens, audit, hashes, meta *bolt.Bucket
	// entries are the audit entries of the group so far, appended at its end.
	entries []store.Entry
	// dirty: something was written.
	dirty bool
}

func newTxn(tx *bolt.Tx) *txn {
	t := &txn{
		requests: tx.Bucket(bucketRequests),
		open:     tx.Bucket(bucketOpen),
		outbox:   tx.Bucket(bucketOutbox),
		due:      tx.Bucket(bucketDue),
		foreign:  tx.Bucket(bucketForeign),
		handled:  tx.Bucket(bucketHandled),
		tokens:   tx.Bucket(bucketTokens),
		audit:    tx.Bucket(bucketAudit),
		hashes:   tx.Bucket(bucketHashes),
		meta:     tx.Bucket(bucketMeta),
	}
	// These two only ever grow at the end: full pages waste no room.
	t.audit.FillPercent, t.hashes.FillPercent = 0.95, 0.95
	return t
}

// appendAudit writes the leaves of the group's entries, the hashes they complete
// and the new tree size.
func (t *txn) appendAudit() error {
	if len(t.entries) == 0 {
		return nil
	}
	size := treeSize(t.meta)
	hashes, err := audit.Append(size, t.entries, hashReader{t.hashes})
	if err != nil {
		return err
	}
	for i, e := range t.entries {
		if err := t.audit.Put(index(size+uint64(i)), encodeEntry(e)); err != nil {
			return fmt.Errorf("write audit entry %d: %w", size+uint64(i), err)
		}
	}
	first := uint64(audit.FirstHash(size))
	for i, h := range hashes {
		if err := t.hashes.Put(index(first+uint64(i)), h[:]); err != nil {
			return fmt.Errorf("write audit hash %d: %w", first+uint64(i), err)
		}
	}
	if err := t.meta.Put(keySize, index(size+uint64(len(t.entries)))); err != nil {
		return fmt.Errorf("write the audit log's size: %w", err)
	}
	return nil
}

// treeSize returns the number of audit entries.
func treeSize(meta *bolt.Bucket) uint64 {
	b := meta.Get(keySize)
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func index(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
