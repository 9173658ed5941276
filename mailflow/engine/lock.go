package engine

import (
	"countersign/mailflow"
	"countersign/signing/pdf"
)

// lockFor returns what the next signature of a document locks beyond the lock that
// its field has since R0: the last one all fields, the one before only its own. Who comes
// last is known only now, as people of one group sign in any order; so it cannot stand in
// the fields, which are made before the seal. It returns nil for a seal that signers
// follow, whose field has its lock, and for one that certifies with P=1, which allows nothing.
func lockFor(doc mailflow.Document, slot string) *pdf.Lock {
	last := true
	for other := range doc.Fields {
		last = last && (other == slot || signedBy(doc, other))
	}
	switch {
	case slot == mailflow.SealSlot && (!last || doc.Certifiable):
		return nil
	case last:
		return &pdf.Lock{Action: pdf.LockAll}
	}
	return &pdf.Lock{Action: pdf.LockInclude, Fields: []string{doc.Fields[slot]}}
}

// signedBy reports whether a slot's signature is part of the newest revision.
func signedBy(doc mailflow.Document, slot string) bool {
	for _, a := range doc.Signatures {
		if a.Slot == slot && a.Stage == mailflow.StageDone {
			return true
		}
	}
	return false
}
