package memstore

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"countersign/store"
	"countersign/store/audit"
)

// check says why c cannot be applied, or nil. The order is the same as in
// boltstore: what makes a retry pointless comes first.
func (d *data) check(c *store.Change) error {
	if err := valid(c); err != nil {
		return err
	}
	for i, key := range c.Handled {
		if d.handled[key] || slices.Contains(c.Handled[:i], key) {
			return fmt.Errorf("mail %s: %w", key, store.ErrDuplicate)
		}
	}
	gone := map[string]bool{} // keys that c takes out of the outbox
	settled := map[string]bool{}
	for _, s := range c.Settle {
		e, ok := d.outbox[s.Key]
		if !ok || s.Token == 0 || e.Token != s.Token || settled[s.Key] {
			return fmt.Errorf("effect %s: %w", s.Key, store.ErrStale)
		}
		settled[s.Key] = true
		gone[s.Key] = s.Again.IsZero()
	}
	if c.Row != nil {
		if have := d.rows[c.Row.ID].Version; have != c.Row.Version {
			return fmt.Errorf("request %s at version %d, decided on %d: %w", c.Row.ID, have, c.Row.Version, store.ErrConflict)
		}
	}
	for _, key := range c.Drop {
		gone[key] = true
	}
	added := map[string]bool{}
	for _, e := range c.Add {
		if _, ok := d.outbox[e.Key]; ok && !gone[e.Key] || added[e.Key] {
			return fmt.Errorf("effect %s is in the outbox already: %w", e.Key, store.ErrExists)
		}
		added[e.Key] = true
	}
	for hash, ref := range c.Tokens {
		if have, ok := d.tokens[hash]; ok && have != ref {
			return fmt.Errorf("reply token of %s belongs to %s: %w", ref, have, store.ErrExists)
		}
	}
	return nil
}

// valid refuses what no store could keep: a mistake of the caller.
func valid(c *store.Change) error {
	var errs []error
	size := 0
	if c.Row != nil {
		errs = append(errs, validKey("request", c.Row.ID))
		size = max(size, len(c.Row.Data)+len(c.Row.State))
	}
	for _, key := range c.Handled {
		errs = append(errs, validKey("handled key", key))
	}
	for hash, ref := range c.Tokens {
		errs = append(errs, validKey("reply token hash of "+ref, hash))
		size = max(size, len(ref))
	}
	for _, e := range c.Add {
		errs = append(errs, validKey("effect", e.Key))
		if e.Request != "" {
			errs = append(errs, validKey("request of effect "+e.Key, e.Request))
		}
		size = max(size, len(e.Payload)+len(e.Note)+len(e.Kind))
	}
	for _, s := range c.Settle {
		size = max(size, len(s.Note))
	}
	for _, e := range c.Audit {
		size = max(size, len(e.Data)+len(e.Request))
	}
	if size > maxValue {
		errs = append(errs, fmt.Errorf("a value of %d bytes is larger than %d; large data belongs into a blob: %w", size, maxValue, fs.ErrInvalid))
	}
	return errors.Join(errs...)
}

// write applies a change that check passed.
func (d *data) write(c *store.Change) error {
	if err := d.appendAudit(c.Audit); err != nil {
		return err
	}
	for _, key := range c.Handled {
		d.handled[key] = true
	}
	for _, s := range c.Settle {
		e := d.outbox[s.Key]
		d.remove(s.Key)
		if !s.Again.IsZero() {
			e.Due, e.Note, e.Token = dueTime(s.Again), s.Note, 0
			d.put(e)
		}
	}
	if c.Row != nil {
		r := copyRow(*c.Row)
		r.Version++
		d.rows[r.ID] = r
	}
	for _, key := range c.Drop {
		d.remove(key)
	}
	for _, e := range c.Add {
		e = copyEffect(e)
		e.Due = dueTime(e.Due)
		d.put(store.Claimed{Effect: e})
	}
	maps.Copy(d.tokens, c.Tokens)
	return nil
}

func (d *data) appendAudit(entries []store.Entry) error {
	hashes, err := audit.Append(uint64(len(d.events)), entries, tlog.HashReaderFunc(d.readHashes))
	if err != nil {
		return err
	}
	d.hashes = append(d.hashes, hashes...)
	for _, e := range entries {
		e.Time = e.Time.Round(0).UTC()
		e.Data = slices.Clone(e.Data)
		d.events = append(d.events, e)
	}
	return nil
}

// put adds an effect whose key is not in the outbox.
func (d *data) put(c store.Claimed) {
	d.outbox[c.Key] = c
	k := dueKey{at: c.Due, key: c.Key}
	i, _ := slices.BinarySearchFunc(d.due, k, compareDue)
	d.due = slices.Insert(d.due, i, k)
}

// remove takes an effect out of the outbox, if it is there.
func (d *data) remove(key string) {
	c, ok := d.outbox[key]
	if !ok {
		return
	}
	delete(d.outbox, key)
	if i, found := slices.BinarySearchFunc(d.due, dueKey{at: c.Due, key: key}, compareDue); found {
		d.due = slices.Delete(d.due, i, i+1)
	}
}
