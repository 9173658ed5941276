package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/signing/inventory"
	"countersign/signing/pdf"
)

// holding is a document whose catalog has entries more, and with objects 10, 11 …
func holding(catalog string, objects ...string) []byte {
	b := bytes.NewBuffer(pdf.Sample("Supply contract", []string{"Made for a test."}))
	prev := bytes.LastIndex(b.Bytes(), []byte("xref\n0 "))
	at := []int{b.Len()}
	fmt.Fprintf(b, "1 0 obj\n<< /Type /Catalog /Pages 2 0 R %s >>\nendobj\n", catalog)
	for i, o := range objects {
		at = append(at, b.Len())
		fmt.Fprintf(b, "%d 0 obj\n%s\nendobj\n", 10+i, o)
	}
	start := b.Len()
	fmt.Fprintf(b, "xref\n1 1\n%010d 00000 n \n", at[0])
	if len(objects) > 0 {
		fmt.Fprintf(b, "10 %d\n", len(objects))
		for _, off := range at[1:] {
			fmt.Fprintf(b, "%010d 00000 n \n", off)
		}
	}
	fmt.Fprintf(b, "trailer\n<< /Size %d /Root 1 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n", 10+len(objects), prev, start)
	return b.Bytes()
}

const (
	scripted = "/OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>"
	attached = "/Names << /EmbeddedFiles << /Names [(a) << /Type /Filespec /UF (invoice.xml) /EF << /F 10 0 R >> >>] >> >>"
	xml      = "<< /Type /EmbeddedFile /Length 4 >>\nstream\n<a/>\nendstream"
)

// detail returns a detail of the last audit entry of an event.
func detail(d mailflow.Details, event, key string) string {
	for _, e := range slices.Backward(d.History) {
		if e.Event == event {
			return e.Detail[key]
		}
	}
	return ""
}

// TestUnsafeDocument: what the rule refuses is told to the sender, with what to do,
// and nobody else hears of it.
func TestUnsafeDocument(t *testing.T) {
	h := newHouse(t, options{})
	m := contract(signs(carla))
	m.pdf = holding(scripted)
	h.sends(m)
	h.settle(time.Minute)
	d := h.details()
	if d.State != mailflow.StateAsking || len(d.Problems) != 1 || d.Problems[0].Kind != mailflow.ProblemUnsafePDF {
		t.Fatalf("%s, %v", d.State, d.Problems)
	}
	if got := detail(d, "document refused", "found"); got != "javascript" {
		t.Errorf("audited: %q", got)
	}
	text := strings.Join(strings.Fields(h.last(ann, mailflow.LetterAsk).Text), " ")
	for _, want := range []string{"a script that runs when the document is opened", "Print it as a new PDF"} {
		if !strings.Contains(text, want) {
			t.Errorf("the letter does not say %q:\n%s", want, text)
		}
	}
}

// TestFindings: what the rule warns of is in the letters of those who decide, in
// request show and, without its name, in the audit log.
func TestFindings(t *testing.T) {
	h := newHouse(t, options{})
	h.people[ben.Addr] = func(l *letterSeen) string {
		return map[mailflow.LetterKind]string{mailflow.LetterApprove: "APPROVE"}[l.kind]
	}
	m := contract(signs(carla))
	m.pdf = holding(attached, xml)
	h.sends(m)
	h.settle(time.Minute)
	for kind, p := range map[mailflow.LetterKind]person{mailflow.LetterApprove: ben, mailflow.LetterInvite: carla} {
		if text := h.last(p, kind).Text; !strings.Contains(text, "Found: the attached file “invoice.xml”.") {
			t.Errorf("%s says nothing:\n%s", kind, text)
		}
	}
	d := h.details()
	if f := d.Documents[0].Findings; len(f) != 1 || f[0].Class != "embedded-file" || d.Documents[0].Counts["standard-font"] == 0 {
		t.Errorf("shown: %+v", d.Documents[0])
	}
	const digest = "29114363f749a0226b6988dda3ca2492a954117ab6b5f382706c20300dabc079"
	a := d.Documents[0].Attached
	if len(a) != 1 || a[0].Name != "invoice.xml" || a[0].Size != 4 || a[0].SHA256 != digest || detail(d, "prepared", "attached") != string(a[0].SHA256) {
		t.Errorf("attached %v (want %s), audited %q", a, digest, detail(d, "prepared", "attached"))
	}
	if got := detail(d, "prepared", "found"); !strings.Contains(got, "1/embedded-file=1") || strings.Contains(got, "invoice") {
		t.Errorf("audited: %q", got)
	}
}

// A secondReader is one that answers as it is told.
type secondReader func(own inventory.Reading) (inventory.Reading, error)

// Read implements engine.Inspector.
func (s secondReader) Read(_ context.Context, r io.ReaderAt, size int64) (inventory.Reading, error) {
	f, err := pdf.Open(r, size)
	if err != nil {
		return inventory.Reading{}, err
	}
	report, err := inventory.Take(f)
	if err != nil {
		return inventory.Reading{}, err
	}
	return s(report.Reading)
}

// TestSecondReader: two readers that agree are silent, disagreement refuses, failure
// is told, and a fault of ours is tried again.
func TestSecondReader(t *testing.T) {
	faults := 0
	for name, tc := range map[string]struct {
		answer  secondReader
		state   mailflow.State
		finding string
	}{
		"agree": {func(own inventory.Reading) (inventory.Reading, error) { return own, nil }, mailflow.StateApproving, ""},
		"disagree": {func(own inventory.Reading) (inventory.Reading, error) {
			own.Pages++
			return own, nil
		}, mailflow.StateAsking, ""},
		"fails": {func(inventory.Reading) (inventory.Reading, error) {
			return inventory.Reading{}, fmt.Errorf("%w: it died", inventory.ErrNoReading)
		}, mailflow.StateApproving, "second-reader-failed"},
		"our fault": {func(own inventory.Reading) (inventory.Reading, error) {
			if faults++; faults < 3 {
				return own, errors.New("disk")
			}
			return own, nil
		}, mailflow.StateApproving, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, options{})
			h.config.Inspector = tc.answer
			h.restart()
			h.sends(contract(signs(carla)))
			h.settle(10 * time.Minute)
			d := h.details()
			if d.State != tc.state {
				t.Fatalf("%s, want %s: %v", d.State, tc.state, d.Problems)
			}
			if tc.state == mailflow.StateAsking && detail(d, "document refused", "found") != "reader-disagreement" {
				t.Errorf("%v", d.Problems)
			}
			if f := d.Documents[0].Findings; (len(f) > 0) != (tc.finding != "") || len(f) > 0 && f[0].Class != tc.finding {
				t.Errorf("found %v, want %q", f, tc.finding)
			}
		})
	}
}
