package engine_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/engine"
	"countersign/store"
)

// flip changes one byte of a stored file; again undoes it.
func (h *house) flip(b mailflow.Blob) {
	h.t.Helper()
	path := filepath.Join(h.dir, "blobs", string(b[:2]), string(b))
	raw, err := os.ReadFile(path)
	must(h.t, err)
	raw[len(raw)/2] ^= 1
	must(h.t, os.Chmod(path, 0o600))
	must(h.t, os.WriteFile(path, raw, 0o600))
}

// TestTamperedBlob: one byte of a file is changed at some point. What needs the file
// waits and says so, nobody gets it, nothing is signed over it; once it is restored,
// all goes on.
func TestTamperedBlob(t *testing.T) {
	for _, tc := range []struct {
		name string
		// at says when the file is changed, and which
		at    func(d mailflow.Details, last mailflow.LetterKind) (mailflow.Blob, bool)
		kind  mailflow.EffectKind // of the effect that must wait
		never mailflow.LetterKind // the letter that must not arrive
	}{
		{"R0 before it is shown", func(d mailflow.Details, _ mailflow.LetterKind) (mailflow.Blob, bool) {
			return d.Documents[0].R0, d.State == mailflow.StateApproving
		}, mailflow.EffectLetter, mailflow.LetterApprove},
		{"R0 after it is approved", func(d mailflow.Details, last mailflow.LetterKind) (mailflow.Blob, bool) {
			return d.Documents[0].R0, last == mailflow.LetterApprove
		}, mailflow.EffectIntent, mailflow.LetterInvite},
		{"R0 before it is stamped", func(d mailflow.Details, _ mailflow.LetterKind) (mailflow.Blob, bool) {
			return d.Documents[0].R0, d.Documents[0].Signatures["seal"] == mailflow.StageTimestamp
		}, mailflow.EffectTimestamp, mailflow.LetterInvite},
		{"the sealed revision", func(d mailflow.Details, last mailflow.LetterKind) (mailflow.Blob, bool) {
			return d.Documents[0].Revision, last == mailflow.LetterCode
		}, mailflow.EffectIntent, mailflow.LetterResult},
		{"the sealed revision before it is stamped", func(d mailflow.Details, _ mailflow.LetterKind) (mailflow.Blob, bool) {
			return d.Documents[0].Revision, d.Documents[0].Signatures["p2"] == mailflow.StageTimestamp
		}, mailflow.EffectTimestamp, mailflow.LetterResult},
		{"the signed document", func(d mailflow.Details, _ mailflow.LetterKind) (mailflow.Blob, bool) {
			return d.Documents[0].Revision, d.State == mailflow.StateDelivering
		}, mailflow.EffectLetter, mailflow.LetterResult},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var changed mailflow.Blob
			h := restarting(t, options{}, func(h *house, _ int) {
				if changed != "" {
					return
				}
				last := mailflow.LetterKind("")
				if all := h.relay.letters(); len(all) > 0 {
					last = all[len(all)-1].kind
				}
				if b, now := tc.at(h.details(), last); now {
					h.flip(b)
					changed = b
				}
			})
			if changed == "" {
				t.Fatal("nothing was changed")
			}
			h.wantWaiting(tc.kind, "damaged")
			for _, l := range h.relay.letters() {
				if l.kind == tc.never {
					t.Errorf("the letter %s left", l.kind)
				}
			}
			h.flip(changed)
			h.settle(2 * time.Hour)
			h.judge(signedByCarla)
		})
	}
}

// wantWaiting checks that an effect of that kind waits and says why.
func (h *house) wantWaiting(kind mailflow.EffectKind, why string) {
	h.t.Helper()
	d := h.details()
	for _, p := range d.Pending {
		if p.Kind == string(kind) && strings.Contains(p.Note, why) {
			return
		}
	}
	h.t.Errorf("no %s waits because of %q: %+v", kind, why, d.Pending)
}

// TestTamperedLetter: a letter in the outbox that was changed beside the program is
// held back.
func TestTamperedLetter(t *testing.T) {
	h := newHouse(t, options{})
	h.people = everybody()
	h.relay.becomes(always(engine.Later))
	h.sends(contract(signs(carla)))
	h.settle(time.Minute)
	effects, err := h.store.Outbox(t.Context(), "")
	must(t, err)
	i := 0
	for effects[i].Kind != string(mailflow.EffectLetter) {
		i++
	}
	original := effects[i]
	forged := original
	forged.Payload = retouch(t, original.Payload, ben.Name, "Bea Boss")
	h.replaceEffect(forged)
	h.relay.becomes(nil)
	h.settle(2 * time.Hour)
	h.wantWaiting(mailflow.EffectLetter, "not those that were committed")
	if len(h.relay.letters()) > 0 {
		t.Error("the changed letter left")
	}
	h.replaceEffect(original)
	h.settle(2 * time.Hour)
	h.judge(signedByCarla)
}

// retouch changes the text of the recipe in an outbox entry.
func retouch(t testing.TB, payload []byte, from, to string) []byte {
	t.Helper()
	var en map[string]any
	must(t, json.Unmarshal(payload, &en))
	var rec struct {
		Pieces []map[string]any `json:"pieces"`
	}
	var parts struct {
		Recipe struct {
			Pieces []struct {
				Bytes []byte `json:"bytes"`
			} `json:"pieces"`
		} `json:"recipe"`
	}
	must(t, json.Unmarshal(payload, &parts))
	raw, err := json.Marshal(en["recipe"])
	must(t, err)
	must(t, json.Unmarshal(raw, &rec))
	touched := false
	for i, p := range parts.Recipe.Pieces {
		if bytes.Contains(p.Bytes, []byte(from)) {
			rec.Pieces[i]["bytes"] = bytes.Replace(p.Bytes, []byte(from), []byte(to), 1)
			touched = true
		}
	}
	if !touched {
		t.Fatalf("no %q in the letter", from)
	}
	en["recipe"].(map[string]any)["pieces"] = rec.Pieces
	out, err := json.Marshal(en)
	must(t, err)
	return out
}

func (h *house) replaceEffect(ef store.Effect) {
	h.t.Helper()
	errs, err := h.store.Apply(h.t.Context(), []store.Change{{Drop: []string{ef.Key}, Add: []store.Effect{ef}}})
	must(h.t, err)
	must(h.t, errs[0])
}
