// Package boltstore keeps the state of Countersign in one bbolt file. It is the
// only package that knows bbolt.
//
// # Commits
//
// One goroutine writes. It takes every change and claim that is waiting, without
// a timer, checks and then writes each of them in one bbolt transaction, and
// answers all callers after its flush. A change that fails its checks has written
// nothing and does not disturb its neighbours. If the flush fails, for example
// because the disk is full, all callers of that group get the error, the state is
// what it was before, and later commits work again without reopening.
//
// # Buckets
//
// Schema 1. Numbers in keys are big-endian; a time is 8 bytes of seconds since
// 1970 with the sign bit flipped, so that it sorts, and 4 bytes of nanoseconds.
// In values, numbers are uvarints and a string is its length and its bytes.
//
//	meta      "schema" → number; "size" → number of audit entries (8 bytes)
//	requests  id → version, open (1 byte), state, rest: data
//	open      id of each request that is not terminal → 1
//	outbox    effect key → due (12 bytes), claim token, attempts, request, kind,
//	          note, rest: payload; its sequence gives the claim tokens
//	due       due time, effect key → 1: the order of claims
//	foreign   request, zero byte, effect key → 1, for the effects whose key
//	          does not begin with "<request>/"
//	handled   key of an inbound mail → 1
//	tokens    hash of a reply token, or of another reference → what it refers to
//	audit     index (8 bytes) → time (12 bytes), request, rest: data
//	hashes    index of tlog.StoredHashIndex (8 bytes) → hash (32 bytes)
//
// Keys are stored as they are given. Writing is fastest (6 to 9 times, with
// millions of rows) if new ones sort after old ones: request ids are UUIDv7 text,
// effect keys begin with the request's id, and the keys of handled mails had
// better begin with a day.
//
// A damaged page makes bbolt panic, which ends the program; what checks or
// restores a file that may be damaged should run in a child process.
package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"countersign/store"
)

// schema is the version of the bucket layout above.
const schema = 1

// lockTimeout is how long Open waits for another process to let go of the file.
const lockTimeout = 2 * time.Second

// defaultMmapSize is address space, not memory: a writer that outgrows it has to
// wait for all readers once.
const defaultMmapSize = 1 << 30

// Options are the settings of [Open]; the zero value is good.
type Options struct {
	// MaxSize is the size in bytes that the file may not exceed, 0 for no limit.
	// bbolt grows the file in steps of 16 MB. Changes that do not fit fail as on
	// a full disk.
	MaxSize int64
	// InitialMmapSize is the address space reserved at first, in bytes; 0 means
	// 1 GiB.
	InitialMmapSize int
}

// A Store implements store.Store on a bbolt file.
type Store struct {
	db   *bolt.DB
	jobs chan *job
	// quit is closed by Close, done when the writer has ended.
	quit, done chan struct{}
	closing    sync.Once
	closeErr   error
}

var _ store.Store = (*Store)(nil)

// Open opens the state file at path and creates it, with mode 0600, if there is
// none; its directory must exist. It fails after two seconds if another process
// has the file open, and at once if a newer program wrote it.
func Open(path string, o Options) (*Store, error) {
	mmap := o.InitialMmapSize
	if mmap <= 0 {
		mmap = defaultMmapSize
	}
	if o.MaxSize > 0 {
		mmap = int(min(int64(mmap), o.MaxSize))
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         lockTimeout,
		NoFreelistSync:  true,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: mmap,
		MaxSize:         int(o.MaxSize),
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("open %s: another countersign process has it open; stop that one, or talk to it over its socket: %w", path, err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return nil, fmt.Errorf("open %s: this is no countersign state, or it is damaged; restore it from a backup: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("open the state file: %w", err)
	}
	if err := prepare(db, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &Store{db: db, jobs: make(chan *job), quit: make(chan struct{}), done: make(chan struct{})}
	go s.writer()
	return s, nil
}

var (
	bucketMeta     = []byte("meta")
	bucketRequests = []byte("requests")
	bucketOpen     = []byte("open")
	bucketOutbox   = []byte("outbox")
	bucketDue      = []byte("due")
	bucketForeign  = []byte("foreign")
	bucketHandled  = []byte("handled")
	bucketTokens   = []byte("tokens")
	bucketAudit    = []byte("audit")
	bucketHashes   = []byte("hashes")

	keySchema = []byte("schema")
	keySize   = []byte("size")
)

// prepare checks the schema of an old file and writes that of a new one. It does
// not write to a file that it refuses.
func prepare(db *bolt.DB, path string) error {
	fresh := false
	err := db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			first, _ := tx.Cursor().First()
			if first != nil {
				return fmt.Errorf("open %s: this bbolt file was not made by countersign (it has a bucket %q); check the state directory's path", path, first)
			}
			fresh = true
			return nil
		}
		have, n := binary.Uvarint(meta.Get(keySchema))
		switch {
		case n <= 0 || have == 0:
			return fmt.Errorf("open %s: the schema version is missing; restore the file from a backup", path)
		case have > schema:
			return fmt.Errorf("open %s: a newer countersign wrote this file (schema %d, this program knows %d); run that version, or restore the backup from before the upgrade", path, have, schema)
		}
		return nil
	})
	if err != nil || !fresh {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{
			bucketMeta, bucketRequests, bucketOpen, bucketOutbox, bucketDue, bucketForeign,
			bucketHandled, bucketTokens, bucketAudit, bucketHashes,
		} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keySchema, binary.AppendUvarint(nil, schema))
	})
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the name of a new file durable; bbolt syncs only the file.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync the state directory: %w", err)
	}
	err = errors.Join(d.Sync(), d.Close())
	if err != nil {
		return fmt.Errorf("sync the state directory %s: %w", dir, err)
	}
	return nil
}

// Close waits for the commit that is running and closes the file. Calls after it
// fail with fs.ErrClosed.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.quit)
		<-s.done
		if err := s.db.Close(); err != nil {
			s.closeErr = fmt.Errorf("close the state file: %w", err)
		}
	})
	return s.closeErr
}

func (s *Store) errClosed() error {
	return fmt.Errorf("the state file: %w", fs.ErrClosed)
}

// view runs fn in a read transaction. fn must be short: the file cannot reuse or
// grow beyond what a reader may still see.
func (s *Store) view(ctx context.Context, fn func(tx *bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.db.View(fn)
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return s.errClosed()
	}
	return err
}
