package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"countersign/mailflow"
	"countersign/store"
)

// List returns requests, newest first.
func (desk *Desk) List(ctx context.Context, f store.Filter) ([]mailflow.Summary, error) {
	rows, err := desk.cfg.Store.List(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("listing requests: %w", err)
	}
	list := make([]mailflow.Summary, 0, len(rows))
	for _, row := range rows {
		var r mailflow.Request
		if err := json.Unmarshal(row.Data, &r); err != nil {
			return nil, fmt.Errorf("request %s: reading its stored state: %w", row.ID, err)
		}
		pending, err := desk.pending(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		list = append(list, mailflow.Summarise(&r, pending))
	}
	return list, nil
}

// Find returns the full identifier of the request with that identifier, its
// beginning, or its reference.
func (desk *Desk) Find(ctx context.Context, name string) (string, error) {
	if _, err := desk.cfg.Store.Load(ctx, name); err == nil {
		return name, nil
	}
	list, err := desk.List(ctx, store.Filter{})
	if err != nil {
		return "", err
	}
	var found []string
	for _, s := range list {
		if strings.EqualFold(s.Ref, strings.TrimPrefix(name, "#")) || len(name) >= 8 && strings.HasPrefix(s.ID, name) {
			found = append(found, s.ID)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("request %q: %w; see countersign request list", name, store.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("request %q could be any of %s: give more of it", name, strings.Join(found, ", "))
}

// Show returns all about one request.
func (desk *Desk) Show(ctx context.Context, id string) (mailflow.Details, error) {
	r, err := desk.load(ctx, id)
	if err != nil {
		return mailflow.Details{}, err
	}
	pending, err := desk.pending(ctx, id)
	if err != nil {
		return mailflow.Details{}, err
	}
	d := mailflow.Describe(&r, pending)
	d.History, err = desk.history(ctx, id)
	return d, err
}

// history reads the audit entries of one request.
func (desk *Desk) history(ctx context.Context, id string) ([]mailflow.AuditEntry, error) {
	const page = 1000
	var all []mailflow.AuditEntry
	for from := uint64(0); ; from += page {
		entries, err := desk.cfg.Store.Events(ctx, from, page)
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		for _, en := range entries {
			if en.Request != id {
				continue
			}
			var a mailflow.AuditEntry
			if err := json.Unmarshal(en.Data, &a); err != nil {
				return nil, fmt.Errorf("reading the audit log: %w", err)
			}
			all = append(all, a)
		}
		if len(entries) < page {
			return all, nil
		}
	}
}

func (desk *Desk) pending(ctx context.Context, id string) ([]mailflow.Pending, error) {
	effects, err := desk.cfg.Store.Outbox(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reading the outbox: %w", err)
	}
	list := make([]mailflow.Pending, 0, len(effects))
	for _, ef := range effects {
		list = append(list, mailflow.Pending{Kind: ef.Kind, Key: ef.Key, Due: ef.Due, Attempts: ef.Attempts, Note: ef.Note})
	}
	return list, nil
}

// Cancel ends a request by an administrator's hand.
func (desk *Desk) Cancel(ctx context.Context, id, by, reason string) error {
	if desk.cfg.Secrets == nil || desk.cfg.Blobs == nil {
		return fmt.Errorf("request %s: cancelling writes letters, which needs the secrets and the blobs", id)
	}
	r, err := desk.load(ctx, id)
	if err != nil {
		return err
	}
	tooLate := func() error {
		if r.State.Terminal() || r.State == mailflow.StateDelivering {
			return fmt.Errorf("request %s is %s and cannot be cancelled", r.Ref, r.State)
		}
		return nil
	}
	if err := tooLate(); err != nil {
		return err
	}
	err = desk.step(ctx, id, store.Change{}, func(now mailflow.Request) mailflow.EventBody {
		r = now // it may have moved on since, and then the core ignores this
		return mailflow.Cancel{By: by, Reason: reason}
	})
	return errors.Join(err, tooLate())
}
