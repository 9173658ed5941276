package engine

import (
	"fmt"
	"testing"

	"countersign/mailflow"
)

// TestLockFor: each signature locks its own field, the last one all, whoever it is.
func TestLockFor(t *testing.T) {
	fields := map[string]string{mailflow.SealSlot: "Seal", "p1": "Signature1", "p2": "Signature2"}
	alone := map[string]string{mailflow.SealSlot: "Seal"}
	done := func(slots ...string) (as []mailflow.Attempt) {
		for _, s := range slots {
			as = append(as, mailflow.Attempt{Slot: s, Stage: mailflow.StageDone})
		}
		return append(as, mailflow.Attempt{Slot: "p2", Stage: mailflow.StageTimestamp})
	}
	for _, c := range []struct {
		doc  mailflow.Document
		slot string
		want string
	}{
		{mailflow.Document{Fields: fields, Certifiable: true}, mailflow.SealSlot, "<nil>"},
		{mailflow.Document{Fields: fields}, mailflow.SealSlot, "<nil>"},
		{mailflow.Document{Fields: alone, Certifiable: true}, mailflow.SealSlot, "<nil>"}, // P=1 does it
		{mailflow.Document{Fields: alone}, mailflow.SealSlot, "&{All [] 0}"},
		{mailflow.Document{Fields: fields, Signatures: done(mailflow.SealSlot)}, "p1", "&{Include [Signature1] 0}"},
		{mailflow.Document{Fields: fields, Signatures: done(mailflow.SealSlot)}, "p2", "&{Include [Signature2] 0}"},
		{mailflow.Document{Fields: fields, Signatures: done(mailflow.SealSlot, "p1")}, "p2", "&{All [] 0}"},
	} {
		if got := fmt.Sprint(lockFor(c.doc, c.slot)); got != c.want {
			t.Errorf("%s of %+v: %s, want %s", c.slot, c.doc, got, c.want)
		}
	}
}
