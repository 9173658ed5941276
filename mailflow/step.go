package mailflow

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ErrNoRequest reports an event, other than a draft, for a request that does not
// exist.
var ErrNoRequest = errors.New("no such request")

// Step decides what ev means for r. It reads no clock and does no I/O; the caller
// commits the whole Decision in one store transaction. An event that changes
// nothing still gives a Decision, with an audit entry that says why.
func Step(r Request, ev Event, now time.Time) (Decision, error) {
	r = r.clone()
	d := &step{r: &r, ev: ev, now: now.UTC().Truncate(time.Second)}
	if draft, ok := ev.Body.(DraftReceived); ok {
		d.draft(draft)
		return d.decision(), nil
	}
	if r.ID == "" {
		return Decision{}, fmt.Errorf("%T: %w", ev.Body, ErrNoRequest)
	}
	switch body := ev.Body.(type) {
	case AnswerReceived:
		d.answer(body)
	case RelayAccepted:
		d.delivered(body.Key, DeliverySent, body.Text)
	case RelayRefused:
		d.refused(body)
	case LetterMoot:
		d.moot(body)
	default:
		if r.State.Terminal() {
			d.audit("ignored", "", "why", "the request is "+string(r.State), "event", fmt.Sprintf("%T", body))
			break
		}
		if err := d.progress(body); err != nil {
			return Decision{}, err
		}
	}
	return d.decision(), nil
}

// progress handles the events that only an open request can have.
func (d *step) progress(body EventBody) error {
	switch body := body.(type) {
	case Prepared:
		return d.prepared(body)
	case Unfit:
		d.unfit(body)
	case IntentMade:
		d.intentMade(body)
	case SignatureMade:
		d.signatureMade(body)
	case AttemptLost:
		d.attemptLost(body)
	case Stamped:
		d.stamped(body)
	case Proved:
		d.proved(body)
	case SigningFailed:
		d.end(StateFailed, LetterFailed, body.Why, "")
	case Expire:
		d.expire()
	case Cancel:
		if d.r.State == StateDelivering {
			d.audit("ignored", "", "event", "cancel", "by", body.By, "why", "the documents are signed")
			break
		}
		d.audit("cancelled by hand", "", "by", body.By)
		d.end(StateCancelled, LetterCancelled, body.Reason, "")
	default:
		return fmt.Errorf("unknown event %T", body)
	}
	return nil
}

// Refuse decides about a draft that no rule admits, from a sender who is entitled
// to an answer: one letter that says so, with the null return path.
func Refuse(mail Mail, address string, ev Event, now time.Time) Decision {
	r := Request{Address: address, Subject: mail.Subject, Draft: mail}
	d := &step{r: &r, ev: ev, now: now.UTC().Truncate(time.Second)}
	d.send(Letter{Kind: LetterRefused, To: mail.From, Subject: mail.Subject, References: appendID(mail.References, mail.MessageID)})
	d.audit("draft refused", "", "mail", string(mail.Blob), "level", string(mail.Level))
	return d.decision()
}

// A step is one decision in the making.
type step struct {
	r   *Request
	ev  Event
	now time.Time
	out Decision
}

func (d *step) decision() Decision {
	d.out.Next = *d.r
	return d.out
}

// random derives bytes that are unique for the label within this event.
func (d *step) random(label string) []byte {
	m := hmac.New(sha256.New, d.ev.Random[:])
	m.Write([]byte(label))
	return m.Sum(nil)
}

func (d *step) audit(event, party string, pairs ...string) {
	e := AuditEntry{Time: d.now, Request: d.r.ID, Event: event, Party: party}
	if len(pairs) > 0 {
		e.Detail = make(map[string]string, len(pairs)/2)
		for i := 0; i+1 < len(pairs); i += 2 {
			e.Detail[pairs[i]] = pairs[i+1]
		}
	}
	d.out.Audit = append(d.out.Audit, e)
}

func (d *step) effect(kind EffectKind, suffix string, due time.Time) *Effect {
	d.out.Effects = append(d.out.Effects, Effect{Key: d.key(kind, suffix), Kind: kind, Due: due})
	return &d.out.Effects[len(d.out.Effects)-1]
}

func (d *step) key(kind EffectKind, suffix string) string {
	key := d.r.ID + "/" + string(kind)
	if suffix != "" {
		key += "/" + suffix
	}
	return key
}

func (d *step) drop(keys ...string) { d.out.Drop = append(d.out.Drop, keys...) }

// newID makes a UUIDv7 (RFC 9562, 5.7): ordered by time, so that the store's keys
// are too.
func newID(now time.Time, random []byte) string {
	ms := uint64(now.UnixMilli())
	b := make([]byte, 16)
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	copy(b[6:], random[:10])
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	x := hex.EncodeToString(b)
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// newRef makes the reference that people see: six characters without those that
// are easily mixed up.
func newRef(random []byte) string {
	const alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
	var b strings.Builder
	for _, x := range random[:6] {
		b.WriteByte(alphabet[x%32])
	}
	return b.String()
}

// mailable reports whether an address can be written into a letter: ASCII without
// blanks or control characters, one @. Mail servers need SMTPUTF8 for others.
func mailable(addr string) bool {
	outside := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("<>,;:\\\"()[]", r) }
	return strings.Count(addr, "@") == 1 && !strings.ContainsFunc(addr, outside) && len(addr) <= 254
}

func appendID(ids []string, id string) []string {
	ids = slices.Clone(ids)
	if id != "" && !slices.Contains(ids, id) {
		ids = append(ids, id)
	}
	// A References header grows with the thread; what matters is its end.
	return ids[max(0, len(ids)-10):]
}

// clone copies everything that Step may change, so that the caller's request stays
// as it was.
func (r Request) clone() Request {
	r.Lines = slices.Clone(r.Lines)
	r.Problems = slices.Clone(r.Problems)
	r.Deliveries = slices.Clone(r.Deliveries)
	r.Parties = slices.Clone(r.Parties)
	for i := range r.Parties {
		p := &r.Parties[i]
		p.Challenges = slices.Clone(p.Challenges)
		p.Notes = maps.Clone(p.Notes)
	}
	r.Documents = slices.Clone(r.Documents)
	for i := range r.Documents {
		doc := &r.Documents[i]
		doc.Fields = maps.Clone(doc.Fields)
		doc.Signatures = slices.Clone(doc.Signatures)
	}
	return r
}
