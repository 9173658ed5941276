package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/letter"
	"countersign/store"
	"countersign/templates"
)

// A Desk reads and cancels requests: the part of an [Engine] that needs neither a
// relay nor keys. With the store opened by hand it works while no engine runs; the
// letters of a cancellation then wait in the outbox for the next one.
type Desk struct {
	cfg   Config
	words *templates.Set
	wake  chan struct{} // nobody listens if the Desk is alone
}

// NewDesk returns a Desk. Of cfg it needs the Store, and to cancel also Blobs, Secrets
// and Organisation.
func NewDesk(cfg Config) (*Desk, error) {
	if cfg.Store == nil {
		return nil, errors.New("desk: a store is needed")
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
	words, err := templates.Open(templates.English)
	if err != nil {
		return nil, fmt.Errorf("desk: %w", err)
	}
	return &Desk{cfg: cfg, words: words, wake: make(chan struct{}, 1)}, nil
}

// Counters is empty: a Desk does nothing by itself that could be counted.
func (*Desk) Counters() map[string]int { return map[string]int{} }

// event draws the randomness of one event.
func (desk *Desk) event(body mailflow.EventBody) (mailflow.Event, error) {
	ev := mailflow.Event{Body: body}
	if _, err := io.ReadFull(desk.cfg.Rand, ev.Random[:]); err != nil {
		return ev, fmt.Errorf("drawing randomness: %w", err)
	}
	return ev, nil
}

// load reads a request.
func (desk *Desk) load(ctx context.Context, id string) (mailflow.Request, error) {
	var r mailflow.Request
	row, err := desk.cfg.Store.Load(ctx, id)
	if err != nil {
		return r, fmt.Errorf("request %s: %w", id, err)
	}
	if err := json.Unmarshal(row.Data, &r); err != nil {
		return r, fmt.Errorf("request %s: reading its stored state: %w", id, err)
	}
	r.Version = row.Version
	return r, nil
}

// ErrHopeless marks an error that trying again cannot heal: a mail or an outcome that
// no decision can be made about. It is a bug of ours; the mail is set aside.
var ErrHopeless = errors.New("trying again cannot help")

// conflictTries bounds how often one event is decided anew because the request
// moved on in between.
const conflictTries = 20

// step lets the core decide about an event for a request and commits the decision,
// together with what the caller adds (handled mails, settled effects). The event
// is made from the request as loaded, and anew if the request moved on.
func (desk *Desk) step(ctx context.Context, id string, with store.Change, body func(mailflow.Request) mailflow.EventBody) error {
	for range conflictTries {
		var r mailflow.Request
		if id != "" {
			var err error
			if r, err = desk.load(ctx, id); err != nil {
				return err
			}
		}
		ev, err := desk.event(body(r))
		if err != nil {
			return err
		}
		d, err := mailflow.Step(r, ev, desk.cfg.Now())
		if err != nil {
			return fmt.Errorf("%w: deciding %T for request %s: %w", ErrHopeless, ev.Body, id, err)
		}
		switch err := desk.commit(ctx, d, with); {
		case errors.Is(err, store.ErrExists):
			return fmt.Errorf("%w: %w", ErrHopeless, err)
		case !errors.Is(err, store.ErrConflict):
			return err
		}
	}
	return fmt.Errorf("request %s changed %d times while one event was decided: %w", id, conflictTries, store.ErrConflict)
}

// commit is the program's only way to change state: the decision and what belongs
// to it, in one transaction.
func (desk *Desk) commit(ctx context.Context, d mailflow.Decision, with store.Change) error {
	change := with
	for i := range d.Effects {
		ef, err := desk.outboxEntry(&d.Next, d.Effects[i])
		if err != nil {
			return err
		}
		change.Add = append(change.Add, ef)
	}
	change.Tokens = desk.tokens(d)
	for key, ref := range with.Tokens {
		if ref == newRequest {
			ref = d.Next.ID + "/p0"
		}
		change.Tokens[key] = ref
	}
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
	if err := desk.apply(ctx, change); err != nil {
		return err
	}
	for _, a := range d.Audit {
		desk.cfg.Log.Info(a.Event, "request", a.Request, "party", a.Party, "detail", a.Detail)
	}
	desk.Wake()
	return nil
}

// apply commits one change.
func (desk *Desk) apply(ctx context.Context, c store.Change) error {
	// A commit is never cancelled half-way: whether it happened would be unknown.
	errs, err := desk.cfg.Store.Apply(context.WithoutCancel(ctx), []store.Change{c})
	if err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return errs[0]
}

// newRequest stands for the sender of the request that a change creates.
const newRequest = "new"

// threadKey is the index key of the Message-ID of a draft, or of a letter that asks
// for nothing.
func threadKey(id string) string { return mailflow.TokenHash("thread " + id) }

// tokens lists what an answer to each new letter may carry: the reply token, or
// the letter's Message-ID in its References; and, for a bounce, the tag of its
// return path. Letters that ask for nothing are known too: an answer to one begins no
// request.
func (desk *Desk) tokens(d mailflow.Decision) map[string]string {
	index := map[string]string{}
	for _, ef := range d.Effects {
		if l := ef.Letter; l != nil && l.Token {
			ref := d.Next.ID + "/" + l.Party
			index[mailflow.TokenHash(desk.cfg.Secrets.Token(d.Next.ID, l.Party, l.TokenVersion))] = ref
			index[mailflow.TokenHash(l.MessageID)] = ref
		}
		if l := ef.Letter; l != nil && !l.Token {
			index[threadKey(l.MessageID)] = "letter"
		}
		if l := ef.Letter; l != nil && l.Bounce != "" {
			index[mailflow.TokenHash(l.Bounce)] = ef.Key
		}
	}
	return index
}

// Wake makes the scheduler look at the outbox now.
func (desk *Desk) Wake() {
	select {
	case desk.wake <- struct{}{}:
	default:
	}
}

// org is what letters say about us.
func (desk *Desk) org() letter.Org {
	return letter.Org{Name: desk.cfg.Organisation, Words: desk.words}
}
