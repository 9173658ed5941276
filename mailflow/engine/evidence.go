package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"countersign/mailflow"
	"countersign/signing"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
	"countersign/store"
)

// evidence gets what proves the certificates of one signature and of its timestamp, dated
// after it, adds it to the signed file with a timestamp over all of it, reads the file back,
// and only then reports it. It asks no key, so it may run more than once; the first
// committed result is the one that counts.
//
// Each signature gets its own document timestamp, before its certificate ends: a validator
// that years later believes document timestamps only must find one that is older than that.
func (e *Engine) evidence(ctx context.Context, c store.Claimed, r mailflow.Request, ref mailflow.AttemptRef) error {
	a, in, err := attemptOf(&r, ref)
	if err != nil {
		return err
	}
	if a.OneUse && !e.cfg.Now().Before(a.Until) {
		return e.settle(ctx, c, mailflow.AttemptLost{Ref: ref, Why: "nothing proved its certificate before it ended: " + c.Note})
	}
	ev, err := e.prove(ctx, &r, ref, a, in)
	var no *pdf.RefusedError
	var bad *badResultError
	switch {
	case err == nil:
		return e.settle(ctx, c, ev)
	case errors.Is(err, ErrRevoked):
		return e.settle(ctx, c, mailflow.SigningFailed{Ref: ref, Why: err.Error()})
	case errors.As(err, &no):
		return e.settle(ctx, c, mailflow.SigningFailed{Ref: ref, Why: no.Error()})
	case errors.As(err, &bad):
		e.cfg.Log.Error("an extended file was thrown away", "request", r.ID, "attempt", ref, "error", err)
		return e.settle(ctx, c, mailflow.SigningFailed{Ref: ref, Why: "the extended file did not pass its check: " + err.Error()})
	}
	return e.waitForEvidence(ctx, c, *a, err)
}

// waitForEvidence puts the effect back until the evidence may be there, but no longer than
// the certificate lasts: a new attempt must not wait for what comes after.
func (e *Engine) waitForEvidence(ctx context.Context, c store.Claimed, a mailflow.Attempt, err error) error {
	var wait *WaitError
	if !errors.As(err, &wait) || !wait.Until.After(e.cfg.Now()) {
		return e.later(ctx, c, err.Error())
	}
	at := wait.Until
	if a.OneUse && a.Until.Before(at) {
		at = a.Until
	}
	return e.laterAt(ctx, c, at, err.Error())
}

// prove makes the lasting revision of an attempt.
func (e *Engine) prove(ctx context.Context, r *mailflow.Request, ref mailflow.AttemptRef, a *mailflow.Attempt, in signing.Intent) (mailflow.Proved, error) {
	ev := mailflow.Proved{Ref: ref}
	stamps := r.Terms.Level == mailflow.LevelBLTA
	if stamps { // whoever answers now will most likely stamp the document
		if err := e.cfg.TSA.Ready(ctx, r.Terms.TSA); err != nil {
			return ev, fmt.Errorf("waiting for a time-stamping authority: %w", err)
		}
	}
	own, err := e.ownEvidence(ctx, a, in)
	if err != nil {
		return ev, err
	}
	b, err := json.Marshal(own)
	if err != nil {
		return ev, err
	}
	name, _, err := e.put(bytes.NewReader(b))
	if err != nil {
		return ev, err
	}
	ev.Evidence = mailflow.Blob(name)
	base, err := e.cfg.Blobs.Open(string(a.Result))
	if err != nil {
		return ev, err
	}
	defer base.Close()
	if err := e.addOthers(ctx, r, base, &own, &ev); err != nil {
		return ev, err
	}
	params := signing.ExtensionParams{Data: own}
	if stamps {
		params.TokenRoom = e.cfg.TSA.Room(r.Terms.TSA)
	}
	return ev, e.extend(ctx, r, base, params, &ev)
}

// errNoEvidence begins the note of an effect that waits for evidence.
func errNoEvidence(err error) error {
	return fmt.Errorf("waiting for what proves the certificates: %w", err)
}

// ownEvidence proves the signer and its authority.
func (e *Engine) ownEvidence(ctx context.Context, a *mailflow.Attempt, in signing.Intent) (revocation.Data, error) {
	subjects, err := signing.SubjectsOf(in, signing.Proof{Signature: a.Signature, Token: a.Token})
	if err != nil {
		return revocation.Data{}, err
	}
	data, err := e.cfg.Evidence.Gather(ctx, subjects, revocation.Data{})
	if err != nil && !errors.Is(err, ErrRevoked) {
		err = errNoEvidence(err)
	}
	return data, err
}

// addOthers adds what proves the document timestamp before this one, signatures that the draft
// brought along, as far as that is to be had, and the authority that is about to stamp: its
// timestamp will be the last thing in the file, and a validator that fetches nothing has no
// other word about it.
func (e *Engine) addOthers(ctx context.Context, r *mailflow.Request, base store.Blob, data *revocation.Data, ev *mailflow.Proved) error {
	subjects, known, others, err := signing.ForeignSubjects(base, base.Size())
	if err != nil {
		return err
	}
	ev.Unproved = others
	// The store of a draft may be crowded with certificates in the name of our CAs.
	ours := revocation.Data{Certs: slices.Clip(data.Certs), OCSPs: slices.Clip(data.OCSPs), CRLs: slices.Clip(data.CRLs)}
	known.Add(ours)
	limited, cancel := context.WithTimeoutCause(ctx, othersTimeout, fmt.Errorf("all of them together took more than %v", othersTimeout))
	defer cancel()
	for _, s := range subjects {
		more, err := e.cfg.Evidence.Gather(limited, []revocation.Subject{s}, known)
		data.Add(more)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return err
		default:
			e.cfg.Log.Warn("no evidence for what was in the document before", "request", r.ID, "attempt", ev.Ref, "signature", s.What, "error", err)
			ev.Unproved = append(ev.Unproved, s.What)
		}
	}
	if s, ok := e.cfg.TSA.Authority(r.Terms.TSA); ok && r.Terms.Level == mailflow.LevelBLTA {
		return e.addAuthority(ctx, s, ours, data)
	}
	return nil
}

// othersTimeout is how long all that was in a document before may take together: a draft with
// hundreds of signatures whose responders do not answer must not keep a worker for hours.
const othersTimeout = 2 * time.Minute

// addAuthority adds what proves an authority.
func (e *Engine) addAuthority(ctx context.Context, s revocation.Subject, known revocation.Data, data *revocation.Data) error {
	more, err := e.cfg.Evidence.Gather(ctx, []revocation.Subject{s}, known)
	data.Add(more)
	if err != nil {
		return errNoEvidence(err)
	}
	return nil
}

// extend writes the lasting revision and checks it as it then stands on the disk.
func (e *Engine) extend(ctx context.Context, r *mailflow.Request, base store.Blob, params signing.ExtensionParams, ev *mailflow.Proved) error {
	x, stamp, err := e.layOut(ctx, r.Terms.TSA, base, params)
	if errors.Is(err, pades.ErrNothingToAdd) {
		a, _, err := attemptOf(r, ev.Ref)
		if err == nil {
			ev.Result, ev.Size = a.Result, a.Size
		}
		return err
	}
	if err != nil {
		return err
	}
	if x.Timestamped() {
		ev.Lasts = stamp.Lasts.UTC()
	}
	res, err := e.finishExtension(base, x, stamp.DER)
	if errors.Is(err, signing.ErrToken) || errors.Is(err, pades.ErrNoRoom) {
		// Another token, or more room now that its size is known, may do.
		return fmt.Errorf("the timestamp proves nothing: %w", err)
	}
	ev.Result, ev.Size = mailflow.Blob(res.SHA256), res.Size
	return err
}

// layOut lays an extension out and gets its timestamp. If another authority steps in than the one
// that is proven in it, it is laid out anew.
func (e *Engine) layOut(ctx context.Context, urls []string, base store.Blob, params signing.ExtensionParams) (x signing.Extension, stamp Stamp, err error) {
	for range 3 { // those who answer by turns have few certificates
		if x, err = signing.NewExtension(base, base.Size(), params); err != nil || !x.Timestamped() {
			return x, stamp, err
		}
		if stamp, err = e.cfg.TSA.TimestampDigest(ctx, urls, x.Digest, x.Hash); err != nil {
			return x, stamp, fmt.Errorf("waiting for a time-stamping authority: %w", err)
		}
		s, err := signing.AuthorityOf(stamp.DER)
		if err != nil || slices.ContainsFunc(params.Data.Certs, func(der []byte) bool { return bytes.Equal(der, s.Certs[0].Raw) }) {
			return x, stamp, err
		}
		if err := e.addAuthority(ctx, s, revocation.Data{}, &params.Data); err != nil {
			return x, stamp, err
		}
		params.TokenRoom = e.cfg.TSA.Room(urls)
	}
	return x, stamp, nil
}

// finishExtension writes the extended file, reads it back and checks it.
func (e *Engine) finishExtension(base io.ReaderAt, x signing.Extension, token []byte) (signing.Result, error) {
	w, err := e.cfg.Blobs.Create()
	if err != nil {
		return signing.Result{}, err
	}
	defer w.Close()
	res, err := signing.FinishExtension(w, base, x, token)
	if err != nil {
		return res, err
	}
	return res, e.keep(w, res, func(f io.ReaderAt, size int64) error { return signing.CheckExtension(f, size, x) })
}
