package pades

import (
	"fmt"
	"slices"

	"countersign/signing/pdf"
)

// fieldLock returns what the signature locks: what its field prescribes and what the
// caller wants, together.
func fieldLock(in SignParams, field pdf.Field) (*pdf.Lock, error) {
	theirs, err := in.File.FieldLock(field)
	if err != nil {
		return nil, err
	}
	if err := checkLevel(in, theirs, field.Name); err != nil {
		return nil, err
	}
	ours := in.Lock
	if ours != nil {
		if err := ours.Check(); err != nil {
			return nil, fmt.Errorf("pades: signing field %q: %w", in.Field, err)
		}
		l, err := in.File.Listed(*ours)
		if err != nil {
			return nil, err
		}
		ours = &l
	}
	switch {
	case theirs == nil:
		return ours, nil
	case ours == nil || theirs.Action == pdf.LockAll:
		return theirs, nil
	case ours.Action == pdf.LockAll:
		all := *ours
		all.Level = theirs.Level
		return &all, nil
	case ours.Action == pdf.LockInclude && theirs.Action == pdf.LockInclude:
		joined := *theirs
		joined.Fields = slices.Concat(theirs.Fields, ours.Fields)
		return &joined, nil
	}
	return nil, fmt.Errorf("pades: the field %q prescribes a lock that cannot be joined with the one that was asked for", in.Field)
}

// checkLevel checks a permission in the field's lock (/P, PDF 2.0). The signature carries it by
// being in the field; a certification must not grant more.
func checkLevel(in SignParams, lock *pdf.Lock, field string) error {
	if lock == nil || lock.Level == 0 || in.Certification <= lock.Level {
		return nil
	}
	return &pdf.RefusedError{
		Reason: pdf.ReasonUnsupported,
		Detail: fmt.Sprintf("the field %q allows a certification with P=%d at most", field, lock.Level),
	}
}
