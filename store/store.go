// Package store says what Countersign's state is and how it changes: requests,
// the outbox of effects still to run, the mails already handled, the index of
// reply tokens, and the audit log. All of them change together, in one [Change],
// or not at all; [Store.Apply] is the program's only commit point.
//
// The contents of a request, of an effect and of an audit entry are opaque bytes
// here: package mailflow decides what they mean. Documents and raw mails are not
// in the store but beside it, in package store/blobs; they are written and synced
// before the change that names them is applied.
//
// store/boltstore keeps the state on disk, store/memstore in memory; both pass
// store/storetest. The interface holds nothing that a SQL cluster could not do:
// rows with a version, unique keys, and a claim that moves an effect's due time.
package store

import (
	"context"
	"errors"
	"time"
)

// The errors by which callers tell why a change was not applied. A change that
// fails with one of them has written nothing.
var (
	// ErrConflict: the request's version moved on; load it and decide again.
	ErrConflict = errors.New("the request was changed by somebody else")
	// ErrDuplicate: one of the change's handled keys is there already.
	ErrDuplicate = errors.New("this mail was handled before")
	// ErrExists: an effect is in the outbox already, or a reply token belongs to
	// somebody else. It is a bug of the caller, never a mail handled before.
	ErrExists = errors.New("it is there already")
	// ErrStale: a settled effect is gone or was claimed again since.
	ErrStale = errors.New("the effect was settled or claimed by somebody else")
	// ErrNotFound: no such request or token.
	ErrNotFound = errors.New("not found")
)

// A Row is one request as the store sees it.
type Row struct {
	ID string
	// Version counts the changes of this request, from 1. In a Change it is the
	// version that the decision was made on: 0 creates the row (ErrConflict if it
	// exists), n replaces version n by n+1.
	Version uint64
	// State is the name of the request's state, for listing; Open is false once
	// that state is terminal.
	State string
	Open  bool
	Data  []byte
}

// An Effect is something that the committed state demands to be done: a letter to
// send, a signature to make, a deadline to watch. It stays in the outbox until a
// Change settles or drops it.
type Effect struct {
	// Key is unique and stable over all attempts, for example
	// "<request>/letter/invite-p2". Adding a key that is in the outbox already
	// and stays there is refused with ErrExists. A key has 1 to 1024 bytes
	// and no NUL, like all keys here; others are refused with fs.ErrInvalid.
	Key     string
	Request string
	Kind    string
	// Due is when the effect may next be claimed; a zero time means at once.
	Due time.Time
	// Attempts counts the claims so far.
	Attempts int
	// Note tells people why the effect still waits, for example the relay's
	// last answer. Empty until an attempt failed.
	Note    string
	Payload []byte
}

// Claimed is an effect handed to a worker. Token is new at every claim and must
// be named when the effect is settled.
type Claimed struct {
	Effect
	Token uint64
}

// A Settle removes a claimed effect from the outbox, or puts it back.
type Settle struct {
	Key   string
	Token uint64
	// Again, if not zero, keeps the effect and makes it due at that time, with
	// Note as the reason; otherwise the effect is removed. Either way the claim
	// ends: a second settle is ErrStale.
	Again time.Time
	Note  string
}

// An Entry is one line of the audit log. The leaf of the Merkle tree covers all of
// it, so it must hold nothing that has to be erasable later, and no secret.
type Entry struct {
	Time    time.Time
	Request string
	Data    []byte
}

// A Change is everything that one decision writes. Zero fields write nothing. It is
// checked in this order: handled keys, settles, row, effects, tokens; an effect whose
// key the same change settles away or drops may be added again.
type Change struct {
	// Row is the request created or replaced, nil if none is.
	Row *Row
	// Handled are keys of inbound mails that this change consumes; each must be
	// new in the store, or the change fails with ErrDuplicate.
	Handled []string
	// Tokens maps the hash of a reply token, or of something else that a mail may
	// refer to (32 bytes, in hex), to an opaque reference, normally
	// "request/party". A hash may be put again with the same reference.
	Tokens map[string]string
	Add    []Effect
	Settle []Settle
	// Drop removes effects whether or not they are claimed; keys that are not
	// there are ignored.
	Drop  []string
	Audit []Entry
}

// ClaimOptions say which effects a worker wants.
type ClaimOptions struct {
	// Now is the time by which an effect must be due.
	Now time.Time
	// Max is the largest number of effects to claim.
	Max int
	// Next gives the due time of the attempt after this one. It is stored before
	// Claim returns, so the effect of a worker that dies comes back by itself,
	// once, later. e.Attempts is the count including this claim, e.Due the old
	// time. Next and Skip run inside the store and must not call it.
	Next func(e Effect) time.Time
	// Skip, if not nil, excludes effects by key: those that a worker of this
	// process is still busy with.
	Skip func(key string) bool
}

// Filter selects requests in List.
type Filter struct {
	// OpenOnly leaves out requests in a terminal state.
	OpenOnly bool
	// State, if not empty, selects requests in that state.
	State string
	// Max limits the number of rows, newest first; 0 means no limit.
	Max int
}

// A Store keeps requests, outbox, handled mails, tokens and audit log. Its methods
// may be called by many goroutines at once.
type Store interface {
	// Apply writes the changes with as few flushes as it can, each atomic on its
	// own, in the order given. errs has one element per change: nil, or why that
	// change was not applied (ErrConflict, ErrDuplicate, ErrExists, ErrStale). err
	// reports that the flush itself failed; then nothing is known to be written.
	// A change acknowledged with nil survives any crash. ctx counts only until the
	// writer takes the changes: a commit is never reported as cancelled.
	Apply(ctx context.Context, changes []Change) (errs []error, err error)

	// Load returns one request, or ErrNotFound.
	Load(ctx context.Context, id string) (Row, error)
	// List returns requests, newest first.
	List(ctx context.Context, f Filter) ([]Row, error)
	// Token returns the reference stored for a token hash, or ErrNotFound.
	Token(ctx context.Context, hash string) (string, error)
	// Handled reports whether the key of an inbound mail is in the store.
	Handled(ctx context.Context, key string) (bool, error)

	// Claim hands out effects that are due, oldest first.
	Claim(ctx context.Context, o ClaimOptions) ([]Claimed, error)
	// NextDue returns when the earliest effect that skip (if not nil) does not
	// exclude is due, or the zero time if there is none.
	NextDue(ctx context.Context, skip func(key string) bool) (time.Time, error)
	// Outbox returns the effects of one request, or of all if request is empty,
	// by due time.
	Outbox(ctx context.Context, request string) ([]Effect, error)

	// Events returns audit entries from index from (0 is the first) in commit
	// order, at most max.
	Events(ctx context.Context, from uint64, max int) ([]Entry, error)

	// Close releases the store. Calls after it fail.
	Close() error
}
