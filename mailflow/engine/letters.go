package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/letter"
	"countersign/store"
)

// entry is what the outbox holds of an effect. Of a letter it holds the recipe and
// the MAC of the final bytes, never a code, a token or an attachment.
type entry struct {
	Effect mailflow.Effect `json:"effect"`
	Recipe *letter.Recipe  `json:"recipe,omitempty"`
	MAC    string          `json:"mac,omitempty"`
	Size   int64           `json:"size,omitempty"`
	Begun  time.Time       `json:"begun"`
}

// outboxEntry turns an effect into its stored form. A letter is rendered here,
// before the commit, so that every later attempt sends the same bytes; its text is
// kept beside the delivery, as later answers quote it.
func (desk *Desk) outboxEntry(r *mailflow.Request, ef mailflow.Effect) (store.Effect, error) {
	en := entry{Effect: ef, Begun: desk.cfg.Now()}
	if ef.Letter != nil {
		rec, err := letter.Compose(*ef.Letter, *r, desk.org())
		if err != nil {
			return store.Effect{}, fmt.Errorf("%w: writing the letter %s: %w", ErrHopeless, ef.Key, err)
		}
		en.Recipe = &rec
		if en.MAC, en.Size, err = desk.seal(*r, ef.Letter, rec); err != nil {
			return store.Effect{}, fmt.Errorf("writing the letter %s: %w", ef.Key, err)
		}
		if err := desk.keepText(r, ef, rec); err != nil {
			return store.Effect{}, err
		}
	}
	payload, err := json.Marshal(en)
	if err != nil {
		return store.Effect{}, fmt.Errorf("effect %s: %w", ef.Key, err)
	}
	return store.Effect{Key: ef.Key, Request: r.ID, Kind: string(ef.Kind), Due: ef.Due, Payload: payload}, nil
}

// keepText stores the text of a letter that may be answered, so that what an
// answer quotes is known.
func (desk *Desk) keepText(r *mailflow.Request, ef mailflow.Effect, rec letter.Recipe) error {
	if !ef.Letter.Token {
		return nil
	}
	for i := range r.Deliveries {
		if r.Deliveries[i].Key != ef.Key {
			continue
		}
		text, err := rec.Quotable()
		if err != nil {
			return fmt.Errorf("reading %s back: %w", ef.Key, err)
		}
		digest, _, err := desk.put(strings.NewReader(text))
		if err != nil {
			return fmt.Errorf("keeping the text of %s: %w", ef.Key, err)
		}
		r.Deliveries[i].Sent = mailflow.Blob(digest)
	}
	return nil
}

// fill gives the secrets that a letter's holes are filled with.
func (desk *Desk) fill(r mailflow.Request, l *mailflow.Letter) (letter.Fill, error) {
	var f letter.Fill
	if l.Token {
		f.Token = desk.cfg.Secrets.Token(r.ID, l.Party, l.TokenVersion)
	}
	if l.Challenge > 0 {
		p := r.Party(l.Party)
		if p == nil || l.Challenge > len(p.Challenges) {
			return f, fmt.Errorf("no challenge %d for party %s", l.Challenge, l.Party)
		}
		f.Code = desk.cfg.Secrets.DeriveCode(&r, p, p.Challenges[l.Challenge-1])
	}
	return f, nil
}

// seal computes the MAC and the size of a letter's final bytes.
func (desk *Desk) seal(r mailflow.Request, l *mailflow.Letter, rec letter.Recipe) (sum string, size int64, err error) {
	f, err := desk.fill(r, l)
	if err != nil {
		return "", 0, err
	}
	m := desk.cfg.Secrets.LetterMAC()
	var n counter
	if err := rec.Write(io.MultiWriter(m, &n), f, desk.openBlob); err != nil {
		return "", 0, err
	}
	return m.Sum(), int64(n), nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func (desk *Desk) openBlob(b mailflow.Blob) (io.ReadCloser, error) {
	return desk.cfg.Blobs.Open(string(b))
}

// put stores what r delivers.
func (desk *Desk) put(r io.Reader) (digest string, size int64, err error) {
	w, err := desk.cfg.Blobs.Create()
	if err != nil {
		return "", 0, err
	}
	defer w.Close()
	if _, err := io.Copy(w, r); err != nil {
		return "", 0, err
	}
	return w.Commit()
}

// errChanged reports a letter whose bytes are no longer those that were committed.
var errChanged = errors.New("its bytes are not those that were committed; it is not sent. Restore the blobs from a backup, or cancel the request")

// sendLetter runs a letter effect.
func (e *Engine) sendLetter(ctx context.Context, c store.Claimed, en entry) error {
	var r mailflow.Request
	l := en.Effect.Letter
	if c.Request != "" {
		var err error
		if r, err = e.load(ctx, c.Request); err != nil {
			return err
		}
		if mailflow.Moot(r, *l, e.cfg.Now()) {
			return e.settle(ctx, c, mailflow.LetterMoot{Key: c.Key, Maybe: mayHaveArrived(c)})
		}
	}
	sum, _, err := e.seal(r, l, *en.Recipe)
	if err != nil {
		return e.later(ctx, c, err.Error())
	}
	if sum != en.MAC {
		e.cfg.Log.Error("letter held back", "request", c.Request, "letter", c.Key, "why", errChanged)
		return e.later(ctx, c, errChanged.Error())
	}
	f, err := e.fill(r, l)
	if err != nil {
		return err
	}
	from, to, err := letter.Envelope(*l)
	if err != nil {
		return err
	}
	outcome, text := e.cfg.Relay.Send(ctx, Posting{
		From: from, To: to, ID: l.Bounce, Size: en.Size,
		Write: func(w io.Writer) error { return en.Recipe.Write(w, f, e.openBlob) },
	})
	switch {
	case outcome == Accepted:
		return e.settle(ctx, c, mailflow.RelayAccepted{Key: c.Key, Text: text})
	case outcome == Refused:
		return e.settle(ctx, c, mailflow.RelayRefused{Key: c.Key, Text: text})
	case e.cfg.Now().Sub(en.Begun) > mailflow.GiveUp:
		return e.settle(ctx, c, mailflow.RelayRefused{Key: c.Key, Text: "given up after five days: " + text})
	}
	if outcome == Unknown && c.Attempts > promptCopies {
		c.Due = e.cfg.Now().Add(copyPause)
	}
	if outcome == Unknown || mayHaveArrived(c) {
		text = unanswered + text
	}
	return e.later(ctx, c, text)
}

// unanswered begins the note of a letter that the relay may have: once it does, it
// stays, whatever later attempts come to.
const unanswered = "it may have arrived: "

// mayHaveArrived reports whether an earlier attempt at a letter had no answer.
func mayHaveArrived(c store.Claimed) bool { return strings.HasPrefix(c.Note, unanswered) }

// A letter whose fate is unknown has probably arrived, and each attempt may be one
// more copy: after the first few it rests long, so that there are at most
// promptCopies and ten more until it is given up.
const (
	promptCopies = 8
	copyPause    = 12 * time.Hour
)
