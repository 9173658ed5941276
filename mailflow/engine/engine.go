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
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/letter"
	"countersign/mailflow/rules"
	"countersign/mailflow/sender"
	"countersign/signing"
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
	Mailboxes    []Mailbox
	Relay        Relay
	// Seals are the organisation's keys by name; Issuer makes signers' keys.
	Seals  map[string]signing.Key
	Issuer Issuer
	TSA    Timestamper
	Limits Limits
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

// A Timestamper gets timestamps (RFC 3161).
type Timestamper interface {
	// Timestamp stamps a signature value and returns the token.
	Timestamp(ctx context.Context, signature []byte) (der []byte, at time.Time, err error)
	// Ready reports whether a stamp was had within the last minute, and asks for
	// one if not.
	Ready(ctx context.Context) error
	// Room is the largest token to expect, in bytes.
	Room() int
}

// An Engine runs requests. Create it with New, start it with Run.
type Engine struct {
	cfg  Config
	wake chan struct{}

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
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Workers == 0 {
		cfg.Workers = 8
	}
	return &Engine{
		cfg:      cfg,
		wake:     make(chan struct{}, 1),
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
	c := make(map[string]int, len(e.counters))
	for k, v := range e.counters {
		c[k] = v
	}
	return c
}

// event draws the randomness of one event.
func (e *Engine) event(body mailflow.EventBody) (mailflow.Event, error) {
	ev := mailflow.Event{Body: body}
	if _, err := io.ReadFull(e.cfg.Rand, ev.Random[:]); err != nil {
		return ev, fmt.Errorf("drawing randomness: %w", err)
	}
	return ev, nil
}

// load reads a request.
func (e *Engine) load(ctx context.Context, id string) (mailflow.Request, error) {
	var r mailflow.Request
	row, err := e.cfg.Store.Load(ctx, id)
	if err != nil {
		return r, fmt.Errorf("request %s: %w", id, err)
	}
	if err := json.Unmarshal(row.Data, &r); err != nil {
		return r, fmt.Errorf("request %s: reading its stored state: %w", id, err)
	}
	r.Version = row.Version
	return r, nil
}

// conflictTries bounds how often one event is decided anew because the request
// moved on in between.
const conflictTries = 20

// step lets the core decide about an event for a request and commits the decision,
// together with what the caller adds (handled mails, settled effects). The event
// is made from the request as loaded, and anew if the request moved on.
func (e *Engine) step(ctx context.Context, id string, with store.Change, body func(mailflow.Request) mailflow.EventBody) error {
	for range conflictTries {
		var r mailflow.Request
		if id != "" {
			var err error
			if r, err = e.load(ctx, id); err != nil {
				return err
			}
		}
		ev, err := e.event(body(r))
		if err != nil {
			return err
		}
		d, err := mailflow.Step(r, ev, e.cfg.Now())
		if err != nil {
			return fmt.Errorf("deciding %T for request %s: %w", ev.Body, id, err)
		}
		err = e.commit(ctx, d, with)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("request %s changed %d times while one event was decided: %w", id, conflictTries, store.ErrConflict)
}

// commit is the program's only way to change state: the decision and what belongs
// to it, in one transaction.
func (e *Engine) commit(ctx context.Context, d mailflow.Decision, with store.Change) error {
	change := with
	for i := range d.Effects {
		ef, err := e.outboxEntry(&d.Next, d.Effects[i])
		if err != nil {
			return err
		}
		change.Add = append(change.Add, ef)
	}
	change.Tokens = e.tokens(d)
	change.Drop = append(change.Drop, d.Drop...)
	if d.Next.ID != "" {
		data, err := json.Marshal(d.Next)
		if err != nil {
			return fmt.Errorf("request %s: writing its state: %w", d.Next.ID, err)
		}
		change.Row = &store.Row{
			ID: d.Next.ID, Version: d.Next.Version, State: string(d.Next.State),
			Open: !d.Next.State.Terminal(), Data: data,
		}
	}
	for _, a := range d.Audit {
		leaf, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("writing an audit entry: %w", err)
		}
		change.Audit = append(change.Audit, store.Entry{Time: a.Time, Request: a.Request, Data: leaf})
	}
	if err := e.apply(ctx, change); err != nil {
		return err
	}
	for _, a := range d.Audit {
		e.cfg.Log.Info(a.Event, "request", a.Request, "party", a.Party, "detail", a.Detail)
	}
	e.Wake()
	return nil
}

// apply commits one change.
func (e *Engine) apply(ctx context.Context, c store.Change) error {
	// A commit is never cancelled half-way: whether it happened would be unknown.
	errs, err := e.cfg.Store.Apply(context.WithoutCancel(ctx), []store.Change{c})
	if err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return errs[0]
}

// tokens lists what an answer to each new letter may carry: the reply token, or
// the letter's Message-ID in its References.
func (e *Engine) tokens(d mailflow.Decision) map[string]string {
	index := map[string]string{}
	for _, ef := range d.Effects {
		if l := ef.Letter; l != nil && l.Token {
			ref := d.Next.ID + "/" + l.Party
			index[mailflow.TokenHash(e.cfg.Secrets.Token(d.Next.ID, l.Party, l.TokenVersion))] = ref
			index[mailflow.TokenHash(l.MessageID)] = ref
		}
	}
	return index
}

// Wake makes the scheduler look at the outbox now.
func (e *Engine) Wake() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// org is what letters say about us.
func (e *Engine) org() letter.Org {
	return letter.Org{Name: e.cfg.Organisation}
}
