package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/engine"
	"countersign/mailflow/inbox"
	"countersign/store"
	"countersign/store/blobs"
)

// blobFiles lets the engine use the blobs on disk.
type blobFiles struct{ *blobs.Store }

// Create implements store.Blobs.
func (b blobFiles) Create() (store.BlobWriter, error) { return b.Store.Create() }

// Open implements store.Blobs.
func (b blobFiles) Open(digest string) (store.Blob, error) { return b.Store.Open(digest) }

// intake hands mails from the mailboxes to the engine.
type intake struct {
	engine *engine.Engine
	blobs  *blobs.Store
}

// spool is a mail on its way into the blobs.
type spool struct {
	*blobs.Writer
	digest string // once it is there
}

// Discard implements inbox.Spool.
func (s *spool) Discard() { _ = s.Close() } // what an interrupted writer leaves, the next start removes

// Spool implements inbox.Handler.
func (i *intake) Spool() (inbox.Spool, error) {
	w, err := i.blobs.Create()
	if err != nil {
		return nil, err
	}
	return &spool{Writer: w}, nil
}

// Handle implements inbox.Handler.
func (i *intake) Handle(ctx context.Context, m inbox.Mail) (inbox.Verdict, error) {
	in, err := keep(m)
	if err != nil {
		return inbox.Later, err
	}
	switch disposition, err := i.engine.Receive(ctx, in); {
	case errors.Is(err, engine.ErrHopeless):
		return inbox.Later, inbox.Permanent(err)
	case err != nil:
		return inbox.Later, err
	case disposition == engine.SetAside:
		return inbox.SetAside, nil
	}
	return inbox.Done, nil
}

// GiveUp implements inbox.Handler.
func (i *intake) GiveUp(ctx context.Context, m inbox.Mail, reason error) error {
	in := engine.Inbound{Mailbox: m.Mailbox, Size: m.Size, Received: m.InternalDate}
	if m.Raw != nil {
		var err error
		if in, err = keep(m); err != nil {
			return err
		}
	}
	return i.engine.GiveUp(ctx, in, fmt.Sprintf("%d/%d", m.UIDValidity, m.UID), reason)
}

// keep makes the raw mail durable.
func keep(m inbox.Mail) (engine.Inbound, error) {
	s := m.Raw.(*spool)
	if s.digest == "" {
		digest, _, err := s.Commit()
		if err != nil {
			return engine.Inbound{}, fmt.Errorf("keeping the mail %d: %w", m.UID, err)
		}
		s.digest = digest
	}
	received := m.InternalDate
	if received.IsZero() {
		received = time.Now()
	}
	return engine.Inbound{
		Mailbox: m.Mailbox, Blob: mailflow.Blob(s.digest), Size: m.Size, Received: received, Truncated: m.Truncated,
	}, nil
}
