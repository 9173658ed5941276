// Package engine runs the core: it turns inbound mails and the outcomes of effects
// into events, lets [mailflow.Step] decide, commits each decision in one store
// transaction, and then does what the committed state demands.
//
// Recovery is no special case: after a restart the effects that are still in the
// outbox are claimed and run like any other. Every effect may run more than once;
// the first committed result wins.
package engine

import (
	"context"
	"crypto"
	"errors"
	"io"
	"log/slog"
	"maps"
	"sync"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/rules"
	"countersign/mailflow/sender"
	"countersign/signing"
	"countersign/signing/revocation"
	"countersign/store"
)

// Config is what an engine works with.
type Config struct {
	Store   store.Store
	Blobs   store.Blobs
	Secrets *mailflow.Secrets
	Rules   *rules.Set
	// Organisation is the name that letters speak for; Domains are its own.
	Organisation string
	Domains      []string
	// Admin is told of requests that fail for technical reasons; may be empty.
	Admin     string
	Mailboxes []Mailbox
	Relay     Relay
	// Seals are the organisation's keys by name; Issuer makes signers' keys.
	Seals  map[string]signing.Key
	Issuer Issuer
	TSA    Timestamper
	// Evidence proves certificates, for the levels B-LT and B-LTA.
	Evidence Evidence
	Limits   Limits
	// Inspector is the second reader of each draft; without one there is none.
	Inspector Inspector
	// Now and Rand default to the machine's clock and randomness.
	Now  func() time.Time
	Rand io.Reader
	Log  *slog.Logger
	// Workers is the number of effects run at once; default 8.
	Workers int
}

// A Mailbox is a signing address and how its mail is judged.
type Mailbox struct {
	Name    string
	Address string
	Sender  sender.Config
}

// Limits bound what a draft may hold.
type Limits struct {
	Document  int64 // bytes of one PDF
	Mail      int64 // bytes of one mail
	Documents int   // PDFs in one draft
}

// A Posting is a letter on its way to the relay. Write streams the same bytes each
// time it is called.
type Posting struct {
	From  string // return path; empty for the null return path
	To    string
	ID    string // envelope identifier (RFC 3461, 4.4)
	Size  int64
	Write func(io.Writer) error
}

// An Outcome says what the relay did with a letter.
type Outcome int

// The outcomes.
const (
	Accepted Outcome = iota // 250 after the final dot
	Refused                 // 5xx: trying again cannot help
	Later                   // not taken over: try again
	Unknown                 // no answer after the final dot: it may have been
)

// A Relay hands letters to the organisation's mail server.
type Relay interface {
	Send(ctx context.Context, p Posting) (o Outcome, text string)
}

// An Issuer makes a one-use key with a short-lived certificate for a signer.
type Issuer interface {
	Issue(s Signatory, now time.Time) (key signing.Key, until time.Time, err error)
}

// A Signatory is who a one-use certificate is made for.
type Signatory struct {
	Name    string // as stated by the signer
	Address string // confirmed by mail
	Request string
}

// A Timestamper gets timestamps (RFC 3161) from the authorities named by URL, or
// from all that are configured if urls is empty, tried in order.
type Timestamper interface {
	// Timestamp stamps a signature value and returns the token.
	Timestamp(ctx context.Context, urls []string, signature []byte) (der []byte, at time.Time, err error)
	// TimestampDigest stamps a digest and tells until when the stamp's certificate lasts.
	TimestampDigest(ctx context.Context, urls []string, digest []byte, h crypto.Hash) (Stamp, error)
	// Ready reports whether a stamp was had within the last minute, and asks for
	// one if not.
	Ready(ctx context.Context, urls []string) error
	// Room is the largest token to expect, in bytes.
	Room(urls []string) int
	// Authority is what the authority that stamped last needs evidence for; false if
	// none has stamped yet.
	Authority(urls []string) (revocation.Subject, bool)
}

// A Stamp is a timestamp token (RFC 3161).
type Stamp struct {
	DER   []byte
	Time  time.Time
	Lasts time.Time // end of the certificate it is signed with
}

// Evidence gathers what proves that certificates were good when they signed: their
// paths, and OCSP responses and revocation lists along them.
type Evidence interface {
	// Gather returns what proves the subjects, taking what is known already where it
	// does. A [WaitError] says that it cannot be had yet; [ErrRevoked] that a
	// certificate was not good. All other errors may pass.
	Gather(ctx context.Context, subjects []revocation.Subject, known revocation.Data) (revocation.Data, error)
}

// ErrRevoked: a certificate had been revoked when it signed.
var ErrRevoked = errors.New("the certificate is revoked")

// A WaitError says that evidence is still to come: the newest revocation list was
// made before the signature.
type WaitError struct {
	Until time.Time // when to ask again
	Err   error
}

// Error returns the cause.
func (w *WaitError) Error() string { return w.Err.Error() }

// Unwrap returns the cause.
func (w *WaitError) Unwrap() error { return w.Err }

// An Engine runs requests. Create it with New, start it with Run.
type Engine struct {
	*Desk

	raw     keyed // mails in work, by blob
	mu      sync.Mutex
	running map[string]bool // effects in work
	// oneUse holds the one-use keys of intents made by this process; they are
	// never stored, so a restart loses them and Step begins another attempt.
	oneUse   map[string]signing.Key
	counters map[string]int
}

// New checks the configuration and returns an engine.
func New(cfg Config) (*Engine, error) {
	if cfg.Store == nil || cfg.Blobs == nil || cfg.Secrets == nil || cfg.Rules == nil || cfg.Relay == nil {
		return nil, errors.New("engine: store, blobs, secrets, rules and relay are needed")
	}
	if cfg.Workers == 0 {
		cfg.Workers = 8
	}
	desk, err := NewDesk(cfg)
	if err != nil {
		return nil, err
	}
	return &Engine{
		Desk:     desk,
		running:  map[string]bool{},
		oneUse:   map[string]signing.Key{},
		counters: map[string]int{},
	}, nil
}

// count adds to a counter of what happened since the start.
func (e *Engine) count(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counters[name]++
}

// Counters returns what happened since the start, by name.
func (e *Engine) Counters() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.counters)
}

// keyed lets one at a time work on what has the same key.
type keyed struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock waits for the key and returns what frees it.
func (k *keyed) lock(key string) (unlock func()) {
	for {
		k.mu.Lock()
		wait, busy := k.held[key]
		if !busy {
			if k.held == nil {
				k.held = map[string]chan struct{}{}
			}
			done := make(chan struct{})
			k.held[key] = done
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, key)
				k.mu.Unlock()
				close(done)
			}
		}
		k.mu.Unlock()
		<-wait
	}
}
