package pades

import (
	"crypto"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/signing/pdf"
)

// TestNumbersMentioned: a reference that leads nowhere must not lead to an object of ours.
// The document's objects are 1 to 7, and its page mentions 9.
func TestNumbersMentioned(t *testing.T) {
	const field = "<< /Type /Annot /Subtype /Widget /FT /Sig /T (S) /Rect [0 0 0 0] /P 3 0 R >>"
	nine := regexp.MustCompile(`(?m)^9 0 obj$`)
	base := document(t, "", "[] /Thumb 9 0 R")
	withField := document(t, "/AcroForm << /Fields [8 0 R] >>", "[8 0 R] /Thumb 9 0 R", field)
	params := SignParams{Hash: crypto.SHA256, Room: 100, SigningTime: time.Unix(1_800_000_000, 0)}
	for name, lay := range map[string]func() ([]byte, error){
		"prepared": func() ([]byte, error) {
			inc, _, err := Prepare(open(t, base), []FieldSpec{{Name: "Seal"}})
			return inc, err
		},
		"signed in a new field": func() ([]byte, error) {
			p := params
			p.File, p.NewField = open(t, base), &FieldSpec{Name: "Seal"}
			u, err := Begin(p)
			if err != nil {
				return nil, err
			}
			return u.Head, nil
		},
		"signed in its field": func() ([]byte, error) {
			p := params
			p.File, p.Field, p.Unprepared = open(t, withField), "S", true
			u, err := Begin(p)
			if err != nil {
				return nil, err
			}
			return u.Head, nil
		},
	} {
		inc, err := lay()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if nine.Match(inc) {
			t.Errorf("%s: object 9 is made again:\n%.600s", name, inc)
		}
	}
}

// TestUnprepared: a field that the document has is signed only if all of it can be read.
func TestUnprepared(t *testing.T) {
	const field = "<< /Type /Annot /Subtype /Widget /FT /Sig /T (S) /Rect [0 0 0 0] /P 3 0 R >>"
	base := string(document(t, "/AcroForm << /Fields [8 0 R] >>", "[8 0 R]", field, "<< /Other true >>"))
	broken := strings.Replace(base, "9 0 obj", "8 0 obj", 1)
	p := SignParams{Hash: crypto.SHA256, Room: 100, SigningTime: time.Unix(1_800_000_000, 0), Field: "S", Unprepared: true}
	for in, sound := range map[string]bool{base: true, broken: false} {
		p.File = open(t, []byte(in))
		_, err := Begin(p)
		if _, refused := errors.AsType[*pdf.RefusedError](err); refused == sound {
			t.Errorf("sound: %v, refused with %v", sound, err)
		}
	}
}
