package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"countersign/mailflow"
	"countersign/signing"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
	"countersign/store"
)

// evidence gets what proves the certificates of one signature and of its timestamp, dated
// after it, and stores it.
func (e *Engine) evidence(ctx context.Context, c store.Claimed, r mailflow.Request, ref mailflow.AttemptRef) error {
	a, in, err := attemptOf(&r, ref)
	if err != nil {
		return err
	}
	subjects, err := signing.SubjectsOf(in, signing.Proof{Signature: a.Signature, Token: a.Token})
	if err != nil {
		return err
	}
	data, err := e.cfg.Evidence.Gather(ctx, subjects, revocation.Data{})
	switch {
	case errors.Is(err, ErrRevoked):
		return e.settle(ctx, c, mailflow.SigningFailed{Ref: ref, Why: err.Error()})
	case err != nil && a.OneUse && !e.cfg.Now().Before(a.Until):
		return e.settle(ctx, c, mailflow.AttemptLost{Ref: ref, Why: "nothing proved its certificate before it ended: " + err.Error()})
	case err != nil:
		return e.waitForEvidence(ctx, c, *a, err)
	}
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	name, _, err := e.put(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return e.settle(ctx, c, mailflow.Proved{Ref: ref, Evidence: mailflow.Blob(name)})
}

// waitForEvidence puts the effect back until the evidence may be there, but no longer than
// the certificate lasts: a new attempt must not wait for what comes after.
func (e *Engine) waitForEvidence(ctx context.Context, c store.Claimed, a mailflow.Attempt, err error) error {
	why := "waiting for what proves the certificates: " + err.Error()
	var wait *WaitError
	if !errors.As(err, &wait) || !wait.Until.After(e.cfg.Now()) {
		return e.later(ctx, c, why)
	}
	at := wait.Until
	if a.OneUse && a.Until.Before(at) {
		at = a.Until
	}
	return e.laterAt(ctx, c, at, why)
}

// stored returns the evidence of all signatures of a document that we made.
func (e *Engine) stored(doc mailflow.Document) (revocation.Data, error) {
	var all revocation.Data
	for _, a := range doc.Signatures {
		if a.Evidence == "" {
			continue
		}
		f, err := e.cfg.Blobs.Open(string(a.Evidence))
		if err != nil {
			return all, err
		}
		b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
		f.Close()
		if err != nil {
			return all, err
		}
		var one revocation.Data
		if err := json.Unmarshal(b, &one); err != nil {
			return all, fmt.Errorf("reading the evidence of %s: %w", a.Slot, err)
		}
		all.Add(one)
	}
	return all, nil
}

// extend adds all evidence to a document, and the timestamp over it, reads the file
// back, and only then reports it. It asks no key, so it may run more than once; the first
// committed result is the one that is released.
func (e *Engine) extend(ctx context.Context, c store.Claimed, r mailflow.Request, n int) error {
	if n < 0 || n >= len(r.Documents) {
		return fmt.Errorf("no document %d", n)
	}
	doc := r.Documents[n]
	base, err := e.cfg.Blobs.Open(string(doc.Revision))
	if err != nil {
		return err
	}
	defer base.Close()
	ev := mailflow.Extended{Document: n, Base: doc.Revision}
	stamps := r.Terms.Level == mailflow.LevelBLTA
	if stamps { // whoever answers now will most likely stamp the document
		if err := e.cfg.TSA.Ready(ctx, r.Terms.TSA); err != nil {
			return e.later(ctx, c, "waiting for a time-stamping authority: "+err.Error())
		}
	}
	data, err := e.allEvidence(ctx, doc, base, &ev)
	if err == nil && stamps {
		err = e.addAuthority(ctx, r.Terms.TSA, &data)
	}
	if err != nil {
		return e.waitForEvidence(ctx, c, mailflow.Attempt{}, err)
	}
	params := signing.ExtensionParams{Data: data}
	if stamps {
		params.TokenRoom = e.cfg.TSA.Room(r.Terms.TSA)
	}
	x, err := signing.NewExtension(base, base.Size(), params)
	var no *pdf.RefusedError
	switch {
	case errors.Is(err, pades.ErrNothingToAdd):
		ev.Result, ev.Size = doc.Revision, doc.RevisionSize
		return e.settle(ctx, c, ev)
	case errors.As(err, &no):
		return e.settle(ctx, c, mailflow.SigningFailed{Why: no.Error()})
	case err != nil:
		return err
	}
	var stamp Stamp
	if x.Timestamped() {
		if stamp, err = e.cfg.TSA.TimestampDigest(ctx, r.Terms.TSA, x.Digest, x.Hash); err != nil {
			return e.later(ctx, c, "waiting for a time-stamping authority: "+err.Error())
		}
	}
	ev.Time, ev.Lasts = stamp.Time.UTC(), stamp.Lasts.UTC()
	res, err := e.finishExtension(base, x, stamp.DER)
	var bad *badResultError
	switch {
	case errors.Is(err, signing.ErrToken), errors.Is(err, pades.ErrNoRoom):
		// Another token, or more room now that its size is known, may do.
		return e.later(ctx, c, "the timestamp proves nothing: "+err.Error())
	case errors.As(err, &bad):
		e.cfg.Log.Error("an extended file was thrown away", "request", r.ID, "document", n, "error", err)
		return e.settle(ctx, c, mailflow.SigningFailed{Why: "the extended file did not pass its check: " + err.Error()})
	case err != nil:
		return err
	}
	ev.Result, ev.Size = mailflow.Blob(res.SHA256), res.Size
	return e.settle(ctx, c, ev)
}

// allEvidence returns what proves all signatures of a document. For ours it is stored, or
// the request waits. For those that the draft brought along it is added if it is to be had.
func (e *Engine) allEvidence(ctx context.Context, doc mailflow.Document, base store.Blob, ev *mailflow.Extended) (revocation.Data, error) {
	data, err := e.stored(doc)
	if err != nil {
		return data, err
	}
	subjects, inFile, err := signing.Subjects(base, base.Size())
	if err != nil {
		return data, err
	}
	ours := map[string]bool{}
	for _, der := range data.Certs {
		ours[string(der)] = true
	}
	inFile.Add(data)
	for _, s := range subjects {
		more, err := e.cfg.Evidence.Gather(ctx, []revocation.Subject{s}, inFile)
		switch {
		case err == nil:
			data.Add(more)
		case ours[string(s.Certs[0].Raw)]:
			return data, err
		default:
			e.cfg.Log.Warn("no evidence for a signature that was in the draft", "document", doc.Name, "signature", s.What, "error", err)
			ev.Unproved = append(ev.Unproved, s.What)
		}
	}
	return data, nil
}

// addAuthority adds what proves the authority that is about to stamp: its timestamp will be the
// last thing in the file, and a validator that fetches nothing has no other word about it.
func (e *Engine) addAuthority(ctx context.Context, urls []string, data *revocation.Data) error {
	s, ok := e.cfg.TSA.Authority(urls)
	if !ok {
		return nil
	}
	more, err := e.cfg.Evidence.Gather(ctx, []revocation.Subject{s}, *data)
	data.Add(more)
	return err
}

// finishExtension writes the extended file and checks it as it then stands on the disk.
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
	if err := commitAs(w, res); err != nil {
		return res, err
	}
	f, err := e.cfg.Blobs.Open(res.SHA256)
	if err != nil {
		return res, err
	}
	defer f.Close()
	if err := signing.CheckExtension(f, f.Size(), x); err != nil {
		return res, &badResultError{err}
	}
	return res, nil
}
