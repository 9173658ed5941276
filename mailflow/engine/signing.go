package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"countersign/mailflow"
	"countersign/signing"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/store"
)

// prepare makes R0 of every document: the draft and one increment with the empty
// fields of the seal and all signers, so that signing later adds no field.
func (e *Engine) prepare(ctx context.Context, c store.Claimed, r mailflow.Request) error {
	docs := make([]mailflow.Document, len(r.Documents))
	var problems []mailflow.Problem
	for i, doc := range r.Documents {
		err := e.prepareOne(ctx, &doc, r)
		if problem := unusable(doc.Name, err); problem != nil {
			problems = append(problems, *problem)
		} else if err != nil {
			return fmt.Errorf("preparing %q: %w", doc.Name, err)
		}
		docs[i] = doc
	}
	if len(problems) > 0 {
		return e.settle(ctx, c, mailflow.Unfit{Problems: problems})
	}
	return e.settle(ctx, c, mailflow.Prepared{Documents: docs})
}

// prepareOne writes R0 of a document; a broken one that nobody has signed is rebuilt
// first, once, before anyone sees it.
func (e *Engine) prepareOne(ctx context.Context, doc *mailflow.Document, r mailflow.Request) error {
	original, err := e.cfg.Blobs.Open(string(doc.Original))
	if err != nil {
		return err
	}
	defer original.Close()
	err = e.prepareFrom(ctx, doc, r, original)
	if !pdf.Repairable(err) {
		return err
	}
	rebuilt, err := e.rebuild(doc, original, err)
	if err != nil {
		return err
	}
	defer rebuilt.Close()
	return e.prepareFrom(ctx, doc, r, rebuilt)
}

// prepareFrom inspects a document and writes its R0; the second reader works meanwhile.
func (e *Engine) prepareFrom(ctx context.Context, doc *mailflow.Document, r mailflow.Request, original store.Blob) error {
	second := e.readAgain(ctx, original)
	defer second.end()
	report, err := look(doc, original)
	if err != nil {
		return err
	}
	if r.Terms.Lasting() { // a signature in the draft must not stop ours from lasting later
		if err := signing.CheckExtendable(original, original.Size()); err != nil {
			return err
		}
	}
	slots := []string{mailflow.SealSlot}
	specs := []pades.FieldSpec{{Name: "Seal"}}
	signers := r.With(mailflow.RoleSigner)
	if len(signers) > 0 { // a seal that is alone certifies with P=1, which locks everything
		specs[0].Lock = &pades.FieldLock{Lock: pdf.Lock{Action: pdf.LockExclude}, New: true}
	}
	for i, p := range signers {
		slots = append(slots, p.ID)
		specs = append(specs, pades.FieldSpec{Name: fmt.Sprintf("Signature%d", i+1)})
	}
	w, err := e.cfg.Blobs.Create()
	if err != nil {
		return err
	}
	defer w.Close()
	res, names, err := signing.Prepare(w, io.NewSectionReader(original, 0, original.Size()), specs)
	if err != nil {
		return err
	}
	if err := second.wait(&report); err != nil {
		return err
	}
	addRebuilt(doc, &report)
	if err := judge(doc, report, r.Terms); err != nil {
		return err
	}
	if err := commitAs(w, res); err != nil {
		return err
	}
	doc.R0, doc.R0Size = mailflow.Blob(res.SHA256), res.Size
	doc.Fields = make(map[string]string, len(slots))
	for i, slot := range slots {
		doc.Fields[slot] = names[i]
	}
	return nil
}

// commitAs makes a written file durable, and compares what the disk got with what
// the writer meant.
func commitAs(w store.BlobWriter, res signing.Result) error {
	digest, n, err := w.Commit()
	if err != nil {
		return err
	}
	if digest != res.SHA256 || n != res.Size {
		return fmt.Errorf("stored %s (%d bytes) instead of %s (%d bytes)", digest, n, res.SHA256, res.Size)
	}
	return nil
}

// intent fixes the exact bytes of one signature. For a signer it first makes the
// one-use key, and only if a timestamp is to be had now.
func (e *Engine) intent(ctx context.Context, c store.Claimed, r mailflow.Request, ref mailflow.AttemptRef) error {
	doc := r.Documents[ref.Document]
	stamps := r.Terms.Stamps()
	if stamps {
		if err := e.cfg.TSA.Ready(ctx, r.Terms.TSA); err != nil {
			return e.later(ctx, c, "waiting for a time-stamping authority: "+err.Error())
		}
	}
	ev := mailflow.IntentMade{Ref: ref, Base: doc.Revision, H: r.H}
	now := e.cfg.Now()
	params := signing.Params{Field: doc.Fields[ref.Slot], SigningTime: now, Reason: r.Terms.Reason}
	var key signing.Key
	var err error
	if ref.Slot == mailflow.SealSlot {
		key, err = e.sealKey(&r, &params, doc)
	} else {
		key, err = e.signerKey(&r, &params, &ev, now)
	}
	if err != nil {
		return e.later(ctx, c, err.Error())
	}
	params.Chain, params.Lock = key.Chain(), lockFor(doc, ref.Slot)
	if stamps {
		params.TokenRoom = e.cfg.TSA.Room(r.Terms.TSA)
	}
	if ev.Intent, err = e.newIntent(doc, params); err != nil {
		var no *pdf.RefusedError
		if errors.As(err, &no) {
			return e.settle(ctx, c, mailflow.SigningFailed{Ref: ref, Why: no.Error()})
		}
		return err
	}
	ev.Serial = params.Chain[0].SerialNumber.Text(16)
	if ev.OneUse {
		e.holdKey(r.ID, ref, key)
	}
	return e.settle(ctx, c, ev)
}

// sealKey returns the organisation's key. The seal certifies with P=2 if signers
// follow, with P=1 if none does, and is an approval signature over documents that
// carried signatures before.
func (e *Engine) sealKey(r *mailflow.Request, p *signing.Params, doc mailflow.Document) (signing.Key, error) {
	key, ok := e.cfg.Seals[r.Terms.Seal]
	if !ok {
		return nil, fmt.Errorf("there is no key %q any more; put it back into keys", r.Terms.Seal)
	}
	p.Name = e.cfg.Organisation
	if doc.Certifiable {
		p.Certification = 2
		if len(r.With(mailflow.RoleSigner)) == 0 {
			p.Certification = 1
		}
	}
	return key, nil
}

// signerKey makes the one-use key of a signer.
func (e *Engine) signerKey(r *mailflow.Request, p *signing.Params, ev *mailflow.IntentMade, now time.Time) (signing.Key, error) {
	party := r.Party(ev.Ref.Slot)
	key, until, err := e.cfg.Issuer.Issue(Signatory{Name: party.CertName, Address: party.Address.Addr, Request: r.ID}, now)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate for %s: %w", party.ID, err)
	}
	p.Name = party.CertName
	p.ContactInfo = party.Address.Addr
	ev.OneUse, ev.Until = true, until
	return key, nil
}

func (e *Engine) newIntent(doc mailflow.Document, p signing.Params) ([]byte, error) {
	base, err := e.cfg.Blobs.Open(string(doc.Revision))
	if err != nil {
		return nil, err
	}
	defer base.Close()
	in, err := signing.NewIntent(base, base.Size(), p)
	if err != nil {
		return nil, err
	}
	return json.Marshal(in)
}

func oneUseKey(request string, ref mailflow.AttemptRef) string { return request + "/" + ref.String() }

// holdKey keeps a one-use key until its intent is signed. Keys whose intent was
// never committed are few and die with the process.
func (e *Engine) holdKey(request string, ref mailflow.AttemptRef, key signing.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.oneUse[oneUseKey(request, ref)] = key
}

func (e *Engine) takeKey(request string, ref mailflow.AttemptRef) (signing.Key, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k, ok := e.oneUse[oneUseKey(request, ref)]
	delete(e.oneUse, oneUseKey(request, ref))
	return k, ok
}

// attemptOf returns a stored attempt and its intent.
func attemptOf(r *mailflow.Request, ref mailflow.AttemptRef) (*mailflow.Attempt, signing.Intent, error) {
	var in signing.Intent
	for i := range r.Documents[ref.Document].Signatures {
		a := &r.Documents[ref.Document].Signatures[i]
		if a.Slot != ref.Slot || a.N != ref.N {
			continue
		}
		if err := json.Unmarshal(a.Intent, &in); err != nil {
			return nil, in, fmt.Errorf("reading the stored intent %s: %w", ref, err)
		}
		return a, in, nil
	}
	return nil, in, fmt.Errorf("no attempt %s", ref)
}

// sign spends the ticket of a stored intent.
func (e *Engine) sign(ctx context.Context, c store.Claimed, r mailflow.Request, ref mailflow.AttemptRef) error {
	a, in, err := attemptOf(&r, ref)
	if err != nil {
		return err
	}
	key, ok := e.cfg.Seals[r.Terms.Seal]
	if a.OneUse {
		if key, ok = e.takeKey(r.ID, ref); !ok {
			return e.settle(ctx, c, mailflow.AttemptLost{Ref: ref, Why: "the process that held its one-use key ended before the signature was stored"})
		}
	}
	if !ok {
		return e.later(ctx, c, fmt.Sprintf("there is no key %q any more; put it back into keys", r.Terms.Seal))
	}
	if len(in.Chain) > 0 && !bytes.Equal(key.Chain()[0].Raw, in.Chain[0]) {
		return e.settle(ctx, c, mailflow.AttemptLost{Ref: ref, Why: "the key was replaced by another one before it signed"})
	}
	ticket, err := signing.NewTicket(in)
	if err != nil {
		return err
	}
	signature, err := ticket.Sign(ctx, key)
	if err != nil {
		if a.OneUse { // its key is spent
			return e.settle(ctx, c, mailflow.AttemptLost{Ref: ref, Why: err.Error()})
		}
		return e.later(ctx, c, "the key "+r.Terms.Seal+" does not sign: "+err.Error())
	}
	return e.settle(ctx, c, mailflow.SignatureMade{Ref: ref, Signature: signature})
}

// timestamp gets the timestamp over a stored signature, finishes the file, reads it
// back, and only then reports it.
func (e *Engine) timestamp(ctx context.Context, c store.Claimed, r mailflow.Request, ref mailflow.AttemptRef) error {
	a, in, err := attemptOf(&r, ref)
	if err != nil {
		return err
	}
	proof := signing.Proof{Signature: a.Signature}
	at := e.cfg.Now()
	if r.Terms.Stamps() {
		if proof.Token, at, err = e.cfg.TSA.Timestamp(ctx, r.Terms.TSA, a.Signature); err != nil {
			at = e.cfg.Now()
		}
		if a.OneUse && !at.Before(a.Until) {
			return e.settle(ctx, c, mailflow.AttemptLost{Ref: ref, Why: "its certificate ended before a timestamp was to be had"})
		}
		if err != nil {
			return e.later(ctx, c, "waiting for a time-stamping authority: "+err.Error())
		}
	}
	res, err := e.finish(r.Documents[ref.Document], in, proof)
	var bad *badResultError
	switch {
	case errors.Is(err, pades.ErrNoRoom):
		// The room was fixed with the intent; the next one reserves enough for a
		// token as large as the one that came.
		return e.settle(ctx, c, mailflow.AttemptLost{Ref: ref, Why: "the timestamp did not fit into the room reserved for it"})
	case errors.Is(err, signing.ErrToken):
		// Another token, from another authority or with its clock set right, may do.
		return e.later(ctx, c, "the timestamp proves nothing: "+err.Error())
	case errors.As(err, &bad):
		e.cfg.Log.Error("a signed file was thrown away", "request", r.ID, "attempt", ref, "error", err)
		return e.settle(ctx, c, mailflow.SigningFailed{Ref: ref, Why: "the signed file did not pass its check: " + err.Error()})
	case err != nil:
		return err
	}
	return e.settle(ctx, c, mailflow.Stamped{Ref: ref, Result: mailflow.Blob(res.SHA256), Size: res.Size, Time: at.UTC(), Token: proof.Token})
}

// badResultError reports a signed file that must not be released.
type badResultError struct{ err error }

func (b *badResultError) Error() string { return b.err.Error() }
func (b *badResultError) Unwrap() error { return b.err }

// finish writes the signed file and checks it as it then stands on the disk.
func (e *Engine) finish(doc mailflow.Document, in signing.Intent, proof signing.Proof) (signing.Result, error) {
	base, err := e.cfg.Blobs.Open(string(doc.Revision))
	if err != nil {
		return signing.Result{}, err
	}
	defer base.Close()
	w, err := e.cfg.Blobs.Create()
	if err != nil {
		return signing.Result{}, err
	}
	defer w.Close()
	res, err := signing.Finish(w, base, in, proof)
	if err != nil {
		return res, err
	}
	return res, e.keep(w, res, func(f io.ReaderAt, size int64) error { return signing.CheckStored(f, size, in, res) })
}

// keep stores a written file and checks it as it then stands on the disk. Blobs has read
// all of it and found the hash that was made while it was written.
func (e *Engine) keep(w store.BlobWriter, res signing.Result, check func(f io.ReaderAt, size int64) error) error {
	if err := commitAs(w, res); err != nil {
		return err
	}
	f, err := e.cfg.Blobs.Open(res.SHA256)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := check(f, f.Size()); err != nil {
		return &badResultError{err}
	}
	return nil
}
