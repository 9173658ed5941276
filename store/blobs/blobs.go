// Package blobs keeps documents and raw mails in files that are named by the
// SHA-256 of what is in them.
//
// On disk, below the directory given to [Open]:
//
//	ab/abcdef…       one blob, mode 0400; the name is its digest, 64 lower-case hex digits
//	.new-<16 hex>    a blob being written; removed at the next Open
//
// What [Writer.Commit] has acknowledged survives a crash: the file is synced
// before it gets its name, and the directories after it. So a change in the store
// may name a digest once Commit has returned, and not before. A blob has its name
// only when it is whole, never changes, and its hash is checked at each open. The
// same content twice is one file.
//
// One process at a time may have a directory open: the one that holds the state
// file's lock. File access goes through os.Root, and no name from outside is ever
// part of a path.
package blobs

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"

	"countersign/store"
)

// ErrCorrupt: the file's content is not what its name says.
var ErrCorrupt = errors.New("the stored file is damaged")

// temporary matches the names of our own unfinished files and nothing else.
var temporary = regexp.MustCompile(`^\.new-[0-9a-f]{16}$`)

// A Store is a directory of blobs. Its methods may be called by many goroutines
// at once.
type Store struct {
	dir  string // for messages only
	root *os.Root

	mu sync.Mutex
	// synced are the subdirectories whose own names are known to be durable.
	synced map[string]bool
}

// Open opens the directory, which must exist, and removes what an interrupted
// writer left there.
func Open(dir string) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the blob directory: %w", err)
	}
	s := &Store{dir: dir, root: root, synced: map[string]bool{}}
	if err := s.sweep(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the blob directory %s: %w", dir, err), root.Close())
	}
	return s, nil
}

// sweep removes unfinished files.
func (s *Store) sweep() error {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && temporary.MatchString(e.Name()) {
			if err := s.root.Remove(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close releases the directory. Files that are open stay usable.
func (s *Store) Close() error { return s.root.Close() }

// path returns the name of a blob's file, below the root.
func path(digest string) (string, error) {
	const hexDigits = "0123456789abcdef"
	if len(digest) != 2*sha256.Size || strings.Trim(digest, hexDigits) != "" {
		return "", fmt.Errorf("blob %.80q: not a SHA-256 in lower-case hex: %w", digest, fs.ErrInvalid)
	}
	return digest[:2] + "/" + digest, nil
}

// A Writer takes the content of one blob. It is for one goroutine. Commit or
// Close must be called; Close after Commit does nothing.
type Writer struct {
	s    *Store
	f    *os.File
	name string
	hash hash.Hash
	size int64
	// err is the first error, or errDone; the writer is of no use after it.
	err error
}

var errDone = errors.New("the blob was committed or closed before")

// Create begins a new blob.
func (s *Store) Create() (*Writer, error) {
	var random [8]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails
	name := ".new-" + hex.EncodeToString(random[:])
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create a blob in %s: %w", s.dir, err)
	}
	return &Writer{s: s, f: f, name: name, hash: sha256.New()}, nil
}

// Write implements io.Writer. After an error the blob can only be closed.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.f.Write(p)
	w.hash.Write(p[:n])
	w.size += int64(n)
	if err != nil {
		w.err = fmt.Errorf("write a blob in %s: %w", w.s.dir, err)
	}
	return n, w.err
}

// Commit makes the blob durable and gives it its name: its digest, as 64
// lower-case hex digits. size is in bytes. On an error no unfinished file is left
// behind; if only the last sync failed, the blob is there and whole, but a power
// cut could take it.
func (w *Writer) Commit() (digest string, size int64, err error) {
	if w.err != nil {
		return "", 0, errors.Join(w.err, w.Close())
	}
	digest = hex.EncodeToString(w.hash.Sum(nil))
	if err := w.commit(digest); err != nil {
		err = fmt.Errorf("commit a blob of %d bytes in %s: %w", w.size, w.s.dir, err)
		return "", 0, errors.Join(err, w.Close())
	}
	w.err = errDone
	return digest, w.size, nil
}

// commit syncs the file, renames it and syncs its directory, in this order. A
// file that has the name already has the same content, or is damaged and mended
// by this.
func (w *Writer) commit(digest string) error {
	name, err := path(digest)
	if err != nil {
		return err
	}
	if err := w.f.Chmod(0o400); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	if err := w.f.Close(); err != nil {
		return err
	}
	if err := w.s.makeDir(digest[:2]); err != nil {
		return err
	}
	if err := w.s.root.Rename(w.name, name); err != nil {
		return err
	}
	return w.s.syncDir(digest[:2])
}

// Close gives the blob up, unless it was committed, and removes its file.
func (w *Writer) Close() error {
	if errors.Is(w.err, errDone) {
		return nil
	}
	w.err = errDone
	_ = w.f.Close() // closed already if Commit failed late; what counts is that the file goes
	err := w.s.root.Remove(w.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an unfinished blob in %s: %w", w.s.dir, err)
	}
	return nil
}

// makeDir makes a subdirectory durable. One from an earlier run is synced once
// more, as that run may have died between the two steps.
func (s *Store) makeDir(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.synced[name] {
		return nil
	}
	if err := s.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.syncDir("."); err != nil {
		return err
	}
	s.synced[name] = true
	return nil
}

func (s *Store) syncDir(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Put stores what r gives until io.EOF. It returns the digest and the size in
// bytes; errors of r are treated as those of the disk (see Commit). ctx is looked
// at between reads.
func (s *Store) Put(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	w, err := s.Create()
	if err != nil {
		return "", 0, err
	}
	if _, err := io.Copy(w, &ctxReader{ctx: ctx, r: r}); err != nil {
		return "", 0, errors.Join(fmt.Errorf("store a blob: %w", err), w.Close())
	}
	return w.Commit()
}

// ctxReader ends a copy when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Remove deletes a blob; one that is not there is no error. The caller knows that no
// state names it.
func (s *Store) Remove(digest string) error {
	name, err := path(digest)
	if err != nil {
		return err
	}
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove blob %s: %w", digest, err)
	}
	return nil
}

// Has reports whether a blob is there. It does not check the content.
func (s *Store) Has(digest string) (bool, error) {
	name, err := path(digest)
	if err != nil {
		return false, err
	}
	_, err = s.root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for a blob in %s: %w", s.dir, err)
	}
	return true, nil
}

// A File is an open blob whose content was checked.
type File struct {
	f    *os.File
	size int64
}

// Open opens a blob and reads all of it once to check its hash (about 60 ms for
// 100 MB). It returns store.ErrNotFound if there is none, and ErrCorrupt if the
// content changed. The file that was read is the one returned, so renaming
// another over it makes no difference.
func (s *Store) Open(digest string) (*File, error) {
	name, err := path(digest)
	if err != nil {
		return nil, err
	}
	f, err := s.root.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("blob %s in %s: %w", digest, s.dir, store.ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("open a blob in %s: %w", s.dir, err)
	}
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read blob %s in %s: %w", digest, s.dir, err), f.Close())
	}
	if hex.EncodeToString(h.Sum(nil)) != digest {
		err := fmt.Errorf("blob %s in %s: its content has another hash; check the disk and restore this file from a backup: %w", digest, s.dir, ErrCorrupt)
		return nil, errors.Join(err, f.Close())
	}
	return &File{f: f, size: size}, nil
}

// Read implements io.Reader, from the beginning.
func (f *File) Read(p []byte) (int, error) { return f.f.Read(p) }

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// Size returns the size in bytes.
func (f *File) Size() int64 { return f.size }

// Close implements io.Closer.
func (f *File) Close() error { return f.f.Close() }
