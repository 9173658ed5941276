package signing_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"countersign/signing"
	"countersign/signing/pdf"
)

// withField adds an empty field of type Sig or Tx to a file that has a form.
func withField(t testing.TB, base []byte, typ, name string) []byte {
	return withFieldOf(t, base, typ, name, "")
}

// withFieldOf adds a field with more entries.
func withFieldOf(t testing.TB, base []byte, typ, name, more string) []byte {
	return updated(t, base, func(f *pdf.File, u *pdf.Update) {
		form, err := f.AcroForm()
		check(t, err)
		ref := u.Alloc()
		u.Set(ref, fmt.Appendf(nil, "<< /Type /Annot /Subtype /Widget /FT /%s /T (%s) /F 132 /Rect [0 0 0 0] %s >>", typ, name, more))
		fields := pdf.Change{Key: "Fields", Raw: form.Value.Get("Fields").WithItems(ref)}
		u.Set(f.Catalog().Ref, f.Catalog().Value.With(pdf.Change{Key: "AcroForm", Raw: form.Value.With(fields)}))
	})
}

// TestSealLocksOtherFields: the seal locks what the draft had, an empty signature field
// too, and leaves the fields of our signers alone. A draft that somebody has signed
// cannot be certified, but it can be locked.
func TestSealLocksOtherFields(t *testing.T) {
	keys := newKeys(t, "p256")
	draft := withField(t, withForm(t, pdf.Sample("x", nil), false), "Sig", "Theirs")
	signed, err := sign(t, draft, keys[0], signing.Params{Field: "Theirs"})
	check(t, err)
	more := withField(t, signed, "Sig", "Theirs2")
	for name, c := range map[string]struct {
		base          []byte
		certification int
		empty         string // what the draft leaves to sign
	}{
		"certified":     {draft, 2, "Theirs"},
		"signed before": {more, 0, "Theirs2"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := signChain(t, c.base, keys, c.certification)
			check(t, err)
			if c.certification == 2 {
				judged(t, c.base, out, len(wanted), keys[0].root())
			} else if n, bad := openssl(t, c.base, out, keys[0].root()); n != len(wanted) || bad != "" {
				t.Errorf("openssl: %d signatures: %s", n, bad)
			}
			locks := sealLocks(t, out)
			if len(locks) != 2 { // of the field and of the signature
				t.Fatalf("the seal has the locks %v", locks)
			}
			for _, l := range locks {
				for field, want := range map[string]bool{
					"Seal": true, c.empty: true, "Signature1.x": false, "Signature1": false, "Signature2": false, "Signature3": false,
				} {
					if l.Covers(field) != want {
						t.Errorf("%v on %q: %v", l, field, !want)
					}
				}
			}
			_, err = sign(t, out, keys[0], signing.Params{Field: c.empty})
			if re, ok := errors.AsType[*pdf.RefusedError](err); !ok || re.Reason != pdf.ReasonLocked {
				t.Errorf("the field %q can be signed after the seal: %v", c.empty, err)
			}
		})
	}
}

// sealLocks returns what the field Seal_2 locks, and checks that its signature says so.
func sealLocks(t testing.TB, b []byte) []pdf.Lock {
	t.Helper()
	fields := fieldsOf(t, b)
	i := slices.IndexFunc(fields, func(fd pdf.Field) bool { return fd.Name == "Seal_2" })
	if i < 0 || bytes.Count(b, []byte("/TransformMethod /FieldMDP")) != 1 {
		t.Fatal("the file has no seal, or not one field lock in a signature")
	}
	return fields[i].Locks
}

// TestNameWithFullStop: a field of the draft that would be below one of ours does not
// escape the lock.
func TestNameWithFullStop(t *testing.T) {
	base := withField(t, withForm(t, pdf.Sample("x", nil), false), "Tx", "Signature1.Price")
	out, err := signChain(t, base, newKeys(t, "p256"), 2)
	check(t, err)
	for _, l := range sealLocks(t, out) {
		if !l.Covers("Signature1.Price") || l.Covers("Signature1_2") || l.Covers("Signature2") {
			t.Errorf("the seal has the lock %v", l)
		}
	}
}
