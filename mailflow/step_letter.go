package mailflow

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// send fixes what is random about a letter and puts it into the outbox.
func (d *step) send(l Letter) {
	r := d.r
	r.Letters++
	suffix := itoa(r.Letters) + "-" + string(l.Kind)
	if l.Party != "" {
		suffix += "-" + l.Party
	}
	rnd := d.random("letter " + suffix)
	l.From = r.Address
	l.Date = d.now
	l.Boundary = hex.EncodeToString(rnd[:16])
	id := base32Lower.EncodeToString(rnd[16:])
	l.MessageID = strings.Join([]string{"cs", r.Ref, l.Party, itoa(r.Letters), id}, ".") + "@" + Domain(r.Address)
	if r.ID == "" && !mailable(l.To.Addr) {
		d.audit("letter "+string(DeliveryRefused), "", "why", "letters cannot be sent to this address")
		return
	}
	if r.ID == "" { // a refusal belongs to no request
		e := Effect{Key: "letter/" + id + "-" + string(l.Kind), Kind: EffectLetter, Due: d.now, Letter: &l}
		d.out.Effects = append(d.out.Effects, e)
		return
	}
	if !mailable(l.To.Addr) {
		d.unmailable(d.key(EffectLetter, suffix), l)
		return
	}
	if l.Kind != LetterNote {
		l.Bounce = "b-" + base32Lower.EncodeToString(d.random("bounce " + suffix))[:TokenLen]
	}
	key := d.key(EffectLetter, suffix)
	d.effect(EffectLetter, suffix, d.now).Letter = &l
	r.Deliveries = append(r.Deliveries, Delivery{
		Key: key, Kind: l.Kind, Party: l.Party, To: l.To.Addr, MessageID: l.MessageID, Written: l.Date,
		State: DeliveryQueued, At: d.now,
	})
}

// unmailable records a letter to an address that our mail server would not take.
func (d *step) unmailable(key string, l Letter) {
	d.r.Deliveries = append(d.r.Deliveries, Delivery{
		Key: key, Kind: l.Kind, Party: l.Party, To: l.To.Addr, MessageID: l.MessageID, Written: l.Date,
		State: DeliveryRefused, At: d.now, Text: "letters cannot be sent to this address",
	})
	d.audit("letter "+string(DeliveryRefused), l.Party, "letter", key)
}

// toParty sends a letter to a party, threaded with what that party got before.
func (d *step) toParty(p *Party, l Letter) {
	l.Party, l.To, l.TokenVersion = p.ID, p.Address, p.TokenVersion
	if l.References == nil {
		if p.Role == RoleSender {
			l.References = appendID(d.r.Draft.References, d.r.Draft.MessageID)
		}
		for _, old := range d.r.Deliveries {
			if old.Party == p.ID {
				l.References = appendID(l.References, old.MessageID)
			}
		}
	}
	d.send(l)
}

// The bounds on notes: a help answer at most once a day and three times in all;
// notes about codes are bounded by the tries, but not by the day.
const (
	maxNotes     = 3
	maxCodeNotes = 16
)

// noteAllowed counts a note and says whether it may be sent.
func (d *step) noteAllowed(p *Party, n Note) bool {
	if p.Notes == nil {
		p.Notes = make(map[Note]NoteCount)
	}
	c := p.Notes[n]
	switch n {
	case NoteWrongCode, NoteExpiredCode, NoteUsedCode, NoteOldCode:
		if c.N >= maxCodeNotes {
			return false
		}
	default:
		if c.N >= maxNotes || c.N > 0 && d.now.Sub(c.Last) < 24*time.Hour {
			return false
		}
	}
	p.Notes[n] = NoteCount{N: c.N + 1, Last: d.now}
	return true
}

// note tells a party why its mail changed nothing.
func (d *step) note(p *Party, n Note, m Mail) { d.noteWith(p, n, m, Letter{}) }

func (d *step) noteWith(p *Party, n Note, m Mail, l Letter) {
	if !d.noteAllowed(p, n) {
		return
	}
	l.Kind, l.Note = LetterNote, n
	l.Token = !d.r.State.Terminal() && d.r.State != StateDelivering && p.Role != RoleSender
	l.References = appendID(m.References, m.MessageID)
	d.toParty(p, l)
}

// stranger deals with an answer that carries a party's token but comes from
// somebody else: the owner is told, and the stranger too, if the mail is proven to
// be theirs; nobody else is written to, as a forged From would make us a source of
// backscatter.
func (d *step) stranger(p *Party, m Mail, proven bool) {
	if proven && d.noteAllowed(p, NoteNotYou) {
		d.send(Letter{
			Kind: LetterNote, Note: NoteNotYou, To: m.From, About: p.ID,
			References: appendID(m.References, m.MessageID),
		})
	}
	d.owner(NoteStranger, p, m.From.Addr)
}

// owner tells the sender of the draft that a party needs attention.
func (d *step) owner(n Note, about *Party, detail string) {
	if d.r.State.Terminal() || !d.noteAllowed(about, n) {
		return
	}
	d.toParty(d.r.Sender(), Letter{Kind: LetterOwner, Note: n, About: about.ID, Detail: detail})
}

// previews are R0 of all documents, as approvers and signers see them.
func (d *step) previews() []Attachment {
	var as []Attachment
	for _, doc := range d.r.Documents {
		as = append(as, Attachment{Name: doc.Name, Type: "application/pdf", Blob: doc.R0, Size: doc.R0Size})
	}
	return as
}

// deliverAll sends the signed documents to everyone, once to each address.
func (d *step) deliverAll() {
	var as []Attachment
	for _, doc := range d.r.Documents {
		as = append(as, Attachment{Name: signedName(doc.Name), Type: "application/pdf", Blob: doc.Revision, Size: doc.RevisionSize})
	}
	for _, p := range d.once(func(*Party) bool { return true }) {
		d.toParty(p, Letter{Kind: LetterResult, Attach: as})
	}
	d.audit("signed", "", "h", d.r.H)
}

// once returns the parties that want says, one for each address.
func (d *step) once(want func(*Party) bool) []*Party {
	var ps []*Party
	for i := range d.r.Parties {
		p := &d.r.Parties[i]
		same := func(q *Party) bool { return SameAddr(p.Address.Addr, q.Address.Addr) }
		if want(p) && !slices.ContainsFunc(ps, same) {
			ps = append(ps, p)
		}
	}
	return ps
}

func signedName(name string) string {
	base := name
	if i := len(name) - len(".pdf"); i > 0 && strings.EqualFold(name[i:], ".pdf") {
		base = name[:i]
	}
	return base + "-signed.pdf"
}

// advanceDelivery completes the request once each result is with our relay or refused
// by it for good, and at least one person has it. If nobody has, the fault is ours or
// the relay's: the results are sent again, once a day.
func (d *step) advanceDelivery() {
	sent := false
	for _, l := range d.r.Deliveries {
		if l.Kind != LetterResult {
			continue
		}
		if l.State == DeliveryQueued {
			return
		}
		sent = sent || l.State == DeliverySent
	}
	if !sent {
		d.effect(EffectExpire, "", d.now.Add(redeliver))
		d.audit("nobody has the documents", "", "why", "the relay refused every result")
		return
	}
	d.r.State = StateCompleted
	d.audit("completed", "", "h", d.r.H)
}

// redeliver is how long results rest that the relay refused to everybody, and
// maxDeliveries how often they are sent.
const (
	redeliver     = 24 * time.Hour
	maxDeliveries = 7
)

// deliverAgain sends results that the relay refused to everybody.
func (d *step) deliverAgain() {
	n := 0
	for _, l := range d.r.Deliveries {
		if l.Kind == LetterResult && l.Party == "p0" {
			n++
		}
	}
	if n >= maxDeliveries {
		d.end(StateFailed, LetterFailed, "the documents are signed, but the mail server took none of the letters that carry them", "")
		return
	}
	d.deliverAll()
	d.advance()
}

// end makes the request terminal and tells everyone concerned: the sender and all
// who were asked.
func (d *step) end(state State, kind LetterKind, reason, by string) {
	r := d.r
	r.State, r.Ended, r.EndedBy = state, reason, by
	d.drop(d.key(EffectExpire, ""))
	for i := range r.Documents {
		for _, a := range r.Documents[i].Signatures {
			ref := AttemptRef{Document: i, Slot: a.Slot, N: a.N}.String()
			d.drop(d.key(EffectIntent, ref), d.key(EffectSign, ref), d.key(EffectTimestamp, ref), d.key(EffectEvidence, ref))
		}
	}
	d.drop(d.key(EffectPrepare, itoa(r.Asks)))
	d.audit(string(state), by, "h", r.H)
	for _, p := range d.once(func(p *Party) bool { return p.ID == "p0" || !p.Asked.IsZero() }) {
		d.toParty(p, Letter{Kind: kind, Reason: reason, About: by})
	}
	if admin := r.Terms.Admin; state == StateFailed && admin != "" {
		d.send(Letter{Kind: kind, To: Address{Addr: admin}, Reason: reason})
	}
}

// delivered records what became of a letter.
func (d *step) delivered(key string, state DeliveryState, text string) *Delivery {
	for i := range d.r.Deliveries {
		l := &d.r.Deliveries[i]
		if l.Key != key {
			continue
		}
		l.State, l.At, l.Text = state, d.now, text
		d.audit("letter "+string(state), l.Party, "letter", key)
		if d.r.State == StateDelivering && l.Kind == LetterResult {
			d.advance()
		}
		return l
	}
	d.audit("ignored", "", "event", "delivery", "letter", key)
	return nil
}

// refused records a letter that cannot be delivered. The owner is told; of a letter
// to the owner the administrator is.
func (d *step) refused(ev RelayRefused) {
	l := d.delivered(ev.Key, DeliveryRefused, ev.Text)
	if l == nil || l.Party == "" || l.Kind == LetterNote {
		return
	}
	tell := Letter{Kind: LetterUndeliverable, About: l.Party, Detail: ev.Text}
	switch {
	case l.Party != "p0":
		d.toParty(d.r.Sender(), tell)
	case d.r.Terms.Admin != "":
		tell.To = Address{Addr: d.r.Terms.Admin}
		d.send(tell)
	}
}

// Moot reports whether a letter that waits in the outbox has lost its purpose: the
// request ended, or the code it tells has expired or was replaced.
func Moot(r Request, l Letter, now time.Time) bool {
	switch l.Kind {
	case LetterAsk, LetterApprove, LetterInvite:
		return r.State.Terminal()
	case LetterCode:
		p := r.Party(l.Party)
		if r.State.Terminal() || p == nil || p.State != PartyCoding || len(p.Challenges) != l.Challenge {
			return true
		}
		// A challenge that was given new time has another code than this letter.
		c := p.Challenges[l.Challenge-1]
		return !l.Date.Equal(c.Issued) || !now.Before(c.Expires)
	}
	return false
}

// moot records a letter that is not sent any more. A code that expired before our
// relay took it over never reached its signer: it is replaced by one with new time,
// which does not count as another code. One that may have arrived is not replaced, or
// a relay that never answers would make us send codes without end; like one that
// could not leave for five days, it is told to the owner.
func (d *step) moot(ev LetterMoot) {
	text := ""
	if ev.Maybe {
		text = "it may have arrived: the mail server gave no answer"
	}
	l := d.delivered(ev.Key, DeliveryMoot, text)
	if l == nil || l.Kind != LetterCode || d.r.State.Terminal() {
		return
	}
	p := d.r.Party(l.Party)
	if p == nil || p.State != PartyCoding || d.newestCode(p) != ev.Key {
		return
	}
	c := &p.Challenges[len(p.Challenges)-1]
	switch {
	case d.now.Before(c.Expires):
		return
	case ev.Maybe:
		d.lateCode(p, "the mail server gave no answer, so the code may have arrived or not; it has expired meanwhile")
		return
	case p.Agreed != nil && d.now.Sub(p.Agreed.At) > GiveUp:
		d.lateCode(p, "given up after five days")
		return
	}
	// The letter that never left says nothing any more; the audit log knows of it.
	d.r.Deliveries = slices.DeleteFunc(d.r.Deliveries, func(l Delivery) bool { return l.Key == ev.Key })
	c.Issued, c.Expires = d.now, d.now.Add(d.r.Terms.CodeLife)
	d.sendCode(p, nil)
}

// lateCode tells the owner that a code may not have reached its signer.
func (d *step) lateCode(p *Party, why string) {
	d.toParty(d.r.Sender(), Letter{
		Kind: LetterUndeliverable, About: p.ID, Detail: why + "; if the signer writes AGREE again, another code is sent",
	})
}

// newestCode is the key of the last code letter to a party: only that one tells the
// newest challenge.
func (d *step) newestCode(p *Party) string {
	for _, l := range slices.Backward(d.r.Deliveries) {
		if l.Kind == LetterCode && l.Party == p.ID {
			return l.Key
		}
	}
	return ""
}
