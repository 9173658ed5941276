package mailflow

import (
	"strconv"
	"strings"
	"time"
)

// maxAttempts bounds the attempts at one signature: each lost one costs a crash or
// the end of a certificate, so reaching it means that something is broken.
const maxAttempts = 50

// advance moves the request on as far as its state allows: it asks the next people
// and starts the next signature.
func (d *step) advance() {
	for {
		before := d.r.State
		switch before {
		case StateApproving:
			d.advanceApproval()
		case StateSealing:
			if d.slotDone(SealSlot) {
				d.r.State = StateSigning
			} else {
				d.startSlot(SealSlot)
			}
		case StateSigning:
			d.advanceSigning()
		case StateDelivering:
			d.advanceDelivery()
		}
		if d.r.State == before {
			return
		}
	}
}

// advanceApproval asks the approvers of the lowest order that is not done, or goes
// on to the seal.
func (d *step) advanceApproval() {
	group := nextGroup(d.r.With(RoleApprover), PartyApproved)
	if group == nil {
		d.r.State = StateSealing
		return
	}
	for _, p := range group {
		if p.State == PartyWaiting {
			p.State, p.Asked = PartyAsked, d.now
			d.toParty(p, Letter{Kind: LetterApprove, Token: true, Attach: d.previews()})
		}
	}
}

// nextGroup returns the parties of the lowest order of which not all have reached
// the state done, or nil.
func nextGroup(ps []*Party, done PartyState) []*Party {
	for i, p := range ps {
		if p.State == done {
			continue
		}
		var group []*Party
		for _, q := range ps {
			if q.Order == ps[i].Order {
				group = append(group, q)
			}
		}
		return group
	}
	return nil
}

// advanceSigning signs for whoever is ready, one at a time because each signature
// is made over the one before, and invites the next group.
func (d *step) advanceSigning() {
	for _, p := range d.r.With(RoleSigner) {
		if p.State != PartyReady {
			continue
		}
		if !d.slotDone(p.ID) {
			d.startSlot(p.ID)
			return
		}
		p.State = PartySigned
		d.audit("signed", p.ID, "h", d.r.H)
	}
	group := nextGroup(d.r.With(RoleSigner), PartySigned)
	if group == nil {
		d.r.State = StateDelivering
		d.drop(d.key(EffectExpire, ""))
		d.deliverAll()
		return
	}
	for _, p := range group {
		if p.State == PartyWaiting {
			p.State, p.Asked = PartyAsked, d.now
			d.toParty(p, Letter{Kind: LetterInvite, Token: true, Attach: d.previews()})
		}
	}
}

// attempt returns the newest attempt of a slot on a document, or nil.
func (doc *Document) attempt(slot string) *Attempt {
	for i := range doc.Signatures {
		if doc.Signatures[i].Slot == slot {
			return &doc.Signatures[i]
		}
	}
	return nil
}

// slotDone reports whether the slot has signed every document.
func (d *step) slotDone(slot string) bool {
	for i := range d.r.Documents {
		if a := d.r.Documents[i].attempt(slot); a == nil || a.Stage != StageDone {
			return false
		}
	}
	return true
}

// startSlot begins the first attempt of a slot on every document.
func (d *step) startSlot(slot string) {
	for i := range d.r.Documents {
		doc := &d.r.Documents[i]
		if doc.attempt(slot) == nil {
			doc.Signatures = append(doc.Signatures, Attempt{Slot: slot, N: 1, Stage: StageIntent})
			d.attemptEffect(EffectIntent, AttemptRef{Document: i, Slot: slot, N: 1})
		}
	}
}

func (d *step) attemptEffect(kind EffectKind, ref AttemptRef) {
	d.effect(kind, ref.String(), d.now).Attempt = ref
}

// current returns the attempt that an event is about, if it is still at that
// stage; otherwise the event is late and changes nothing.
func (d *step) current(ref AttemptRef, stage Stage) (*Document, *Attempt) {
	if ref.Document >= 0 && ref.Document < len(d.r.Documents) {
		doc := &d.r.Documents[ref.Document]
		if a := doc.attempt(ref.Slot); a != nil && a.N == ref.N && a.Stage == stage {
			return doc, a
		}
	}
	d.audit("ignored", ref.Slot, "attempt", ref.String(), "why", "not at stage "+string(stage))
	return nil, nil
}

// intentMade stores the bytes to be signed, after comparing what they were made
// over with what was approved (invariant 4).
func (d *step) intentMade(ev IntentMade) {
	doc, a := d.current(ev.Ref, StageIntent)
	if a == nil {
		return
	}
	if ev.Base != doc.Revision || ev.H != d.r.H {
		d.end(StateFailed, LetterFailed, "a signature was prepared over other bytes than those that were approved", "")
		return
	}
	a.Stage, a.Base, a.Intent = StageSign, ev.Base, ev.Intent
	a.Serial, a.OneUse, a.Until = ev.Serial, ev.OneUse, ev.Until
	d.audit("intent stored", ev.Ref.Slot, "attempt", ev.Ref.String(), "base", string(ev.Base), "serial", ev.Serial, "h", d.r.H)
	d.attemptEffect(EffectSign, ev.Ref)
}

func (d *step) signatureMade(ev SignatureMade) {
	_, a := d.current(ev.Ref, StageSign)
	if a == nil {
		return
	}
	a.Stage, a.Signature = StageTimestamp, ev.Signature
	d.audit("signature made", ev.Ref.Slot, "attempt", ev.Ref.String(), "serial", a.Serial)
	d.attemptEffect(EffectTimestamp, ev.Ref)
}

func (d *step) stamped(ev Stamped) {
	doc, a := d.current(ev.Ref, StageTimestamp)
	if a == nil {
		return
	}
	a.Stage, a.Result, a.Size, a.Stamped = StageEvidence, ev.Result, ev.Size, ev.Time
	d.audit("revision stored", ev.Ref.Slot, "attempt", ev.Ref.String(), "result", string(ev.Result))
	if d.r.Terms.Lasting() {
		// At once: a short-lived certificate cannot be proved later, and a timestamp over
		// the proof must be younger than it. What comes next is made over this revision, so
		// it waits.
		a.Token = ev.Token
		d.attemptEffect(EffectEvidence, ev.Ref)
		return
	}
	d.finish(doc, a, ev.Result, ev.Size)
}

// proved takes what makes a revision last.
func (d *step) proved(ev Proved) {
	doc, a := d.current(ev.Ref, StageEvidence)
	if a == nil {
		return
	}
	a.Evidence, a.Lasting = ev.Evidence, ev.Result
	if !ev.Lasts.IsZero() {
		doc.Lasts = ev.Lasts
	}
	pairs := []string{
		"attempt", ev.Ref.String(), "evidence", string(ev.Evidence),
		"level", d.r.Terms.Level, "result", string(ev.Result),
	}
	if len(ev.Unproved) > 0 {
		pairs = append(pairs, "unproved", strings.Join(ev.Unproved, ", "))
	}
	d.audit("evidence stored", ev.Ref.Slot, pairs...)
	d.finish(doc, a, ev.Result, ev.Size)
}

// finish makes the result of an attempt the document's newest revision.
func (d *step) finish(doc *Document, a *Attempt, result Blob, size int64) {
	a.Stage = StageDone
	a.Intent, a.Token = nil, nil // they are part of the result
	doc.Revision, doc.RevisionSize = result, size
	d.advance()
}

// attemptLost begins the next attempt with the same consent: a new certificate for
// a one-use key. A result without evidence is left behind; no later one stands on it. The audit log keeps the number of the lost certificate: no document
// of ours carries it.
func (d *step) attemptLost(ev AttemptLost) {
	var a *Attempt
	if ev.Ref.Document >= 0 && ev.Ref.Document < len(d.r.Documents) {
		a = d.r.Documents[ev.Ref.Document].attempt(ev.Ref.Slot)
	}
	if a == nil || a.N != ev.Ref.N || a.Stage == StageDone {
		d.audit("ignored", ev.Ref.Slot, "attempt", ev.Ref.String(), "why", "not the current attempt")
		return
	}
	d.audit("attempt lost", ev.Ref.Slot, "attempt", ev.Ref.String(), "serial", a.Serial, "why", ev.Why)
	d.drop(d.key(EffectIntent, ev.Ref.String()), d.key(EffectSign, ev.Ref.String()), d.key(EffectTimestamp, ev.Ref.String()),
		d.key(EffectEvidence, ev.Ref.String()))
	if a.N >= maxAttempts {
		d.end(StateFailed, LetterFailed, "signing failed "+strconv.Itoa(maxAttempts)+" times: "+ev.Why, "")
		return
	}
	next := AttemptRef{Document: ev.Ref.Document, Slot: ev.Ref.Slot, N: a.N + 1}
	*a = Attempt{Slot: a.Slot, N: next.N, Stage: StageIntent}
	d.attemptEffect(EffectIntent, next)
}

// expire ends a request whose deadline has passed while somebody was asked. If only
// the machinery is late (a time-stamping authority that is down, say), the request
// waits: what people did in time is owed to them.
func (d *step) expire() {
	r := d.r
	if r.State == StateDelivering {
		d.deliverAgain()
		return
	}
	if d.now.Before(r.Expires) { // the clock went back, or the deadline was moved
		d.effect(EffectExpire, "", r.Expires)
		d.audit("ignored", "", "event", "deadline", "why", "it is still to come")
		return
	}
	if !d.asked() {
		r.Expires = d.now.Add(24 * time.Hour)
		d.effect(EffectExpire, "", r.Expires)
		d.audit("deadline moved", "", "why", "nobody is asked; only our own work is late")
		return
	}
	d.end(StateExpired, LetterExpired, "", "")
}

// asked reports whether the request waits for a person.
func (d *step) asked() bool {
	if d.r.State == StateAsking {
		return true
	}
	for i := range d.r.Parties {
		switch d.r.Parties[i].State {
		case PartyAsked, PartyCoding, PartyLocked:
			return true
		}
	}
	return false
}
