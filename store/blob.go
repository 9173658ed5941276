package store

import "io"

// A Blob is a stored file opened for reading. Its hash was checked when it was
// opened.
type Blob interface {
	io.Reader
	io.ReaderAt
	io.Closer
	// Size is the length in bytes.
	Size() int64
}

// A BlobWriter takes in a file of unknown hash. Nothing is visible until Commit.
type BlobWriter interface {
	io.Writer
	// Commit makes the file durable under its SHA-256, which it returns in hex.
	Commit() (digest string, size int64, err error)
	// Close throws the file away; after Commit it does nothing.
	io.Closer
}

// Blobs keeps documents, raw mails and signed files, named by their SHA-256 in
// hex. A blob is durable before any Change that names it is applied.
type Blobs interface {
	Create() (BlobWriter, error)
	// Open checks the hash before it returns; the error says which blob is
	// missing or damaged.
	Open(digest string) (Blob, error)
	// Remove deletes a blob that no state names; one that is not there is no error.
	Remove(digest string) error
}
