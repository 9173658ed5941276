package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"countersign/mailflow"
	"countersign/signing"
	"countersign/signing/inventory"
	"countersign/signing/pdf"
	"countersign/store"
)

// An Inspector reads a document a second time, independently of our own reader. An
// error that is [inventory.ErrNoReading] says that it has nothing to say.
type Inspector interface {
	Read(ctx context.Context, r io.ReaderAt, size int64) (inventory.Reading, error)
}

// Bounds of what one document leaves in its request and in letters.
const (
	maxFindings = 12
	maxRefused  = 3 // findings told to the sender of a refused document
)

// secondReading is a reading by the Inspector that goes on meanwhile.
type secondReading struct {
	done    chan struct{}
	reading inventory.Reading
	err     error
}

// readAgain starts the second reader; without one it returns nil. The caller waits
// for it before it closes the document.
func (e *Engine) readAgain(ctx context.Context, original store.Blob) *secondReading {
	if e.cfg.Inspector == nil {
		return nil
	}
	s := &secondReading{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.reading, s.err = e.cfg.Inspector.Read(ctx, original, original.Size())
	}()
	return s
}

// wait waits for the second reading and compares it with ours.
func (s *secondReading) wait(r *inventory.Report) error {
	if s == nil {
		return nil
	}
	<-s.done
	if err := r.Compare(s.reading, s.err); err != nil {
		return fmt.Errorf("reading a document for the second time: %w", err)
	}
	return nil
}

// end waits for the second reading and forgets it.
func (s *secondReading) end() {
	if s != nil {
		<-s.done
	}
}

// look reads what the core must know of a draft, and makes its inventory.
func look(doc *mailflow.Document, original store.Blob) (inventory.Report, error) {
	f, err := pdf.Open(original, original.Size())
	if err != nil {
		return inventory.Report{}, err
	}
	if doc.Pages, err = f.NumPages(); err != nil {
		return inventory.Report{}, err
	}
	fields, err := f.SignatureFields()
	if err != nil {
		return inventory.Report{}, err
	}
	doc.Certifiable = true
	for _, field := range fields {
		if field.Signed {
			doc.Certifiable = false
		}
	}
	return inventory.Take(f)
}

// An unsafeError reports a document that the rule refuses for what is in it.
type unsafeError struct{ findings []inventory.Finding }

// Error tells the findings in one line.
func (u *unsafeError) Error() string {
	var all []string
	for _, f := range u.findings {
		if len(all) == maxRefused {
			all = append(all, fmt.Sprintf("and %d more", len(u.findings)-maxRefused))
			break
		}
		all = append(all, f.String())
	}
	return strings.Join(all, "; ")
}

// classes lists the classes of the findings.
func (u *unsafeError) classes() string {
	var all []string
	for _, f := range u.findings {
		if n := len(all); n == 0 || all[n-1] != string(f.Class) {
			all = append(all, string(f.Class))
		}
	}
	return strings.Join(all, " ")
}

// judge holds an inventory against the terms of a request: the document is refused,
// or keeps what is to be told.
func judge(doc *mailflow.Document, r inventory.Report, terms mailflow.Terms) error {
	policies := inventory.Policies{}
	for class, policy := range terms.Inspect {
		policies[inventory.Class(class)] = inventory.Policy(policy)
	}
	if no := r.Under(policies, inventory.Refuse); len(no) > 0 {
		return &unsafeError{no}
	}
	doc.Inventory = mailflow.Inventory{}
	told, total := 0, 0
	for class, n := range r.Counts {
		if doc.Inventory.Counts == nil {
			doc.Inventory.Counts = map[string]int{}
		}
		doc.Inventory.Counts[string(class)] = n
		if policies.Of(class) == inventory.Warn {
			total += n
		}
	}
	for _, f := range r.Under(policies, inventory.Warn) {
		if len(doc.Inventory.Findings) < maxFindings {
			told += f.Times
			doc.Inventory.Findings = append(doc.Inventory.Findings, mailflow.Finding{
				Class: string(f.Class), What: f.What, Where: f.Where, Times: f.Times,
			})
		}
	}
	doc.Inventory.Unlisted = total - told
	for _, a := range r.Attached {
		doc.Inventory.Attached = append(doc.Inventory.Attached, mailflow.AttachedFile{Name: a.Name, Size: a.Size, SHA256: mailflow.Blob(a.SHA256)})
	}
	return nil
}

// unusable says what is wrong with a document that cannot be prepared; nil if the
// error is not the document's.
func unusable(name string, err error) *mailflow.Problem {
	if no, ok := errors.AsType[*pdf.RefusedError](err); ok {
		return &mailflow.Problem{Kind: mailflow.ProblemUnfitPDF, Args: []string{name, no.Error()}}
	}
	if errors.Is(err, signing.ErrBroken) {
		return &mailflow.Problem{Kind: mailflow.ProblemUnfitPDF, Args: []string{name, err.Error()}}
	}
	if no, ok := errors.AsType[*unsafeError](err); ok {
		return &mailflow.Problem{Kind: mailflow.ProblemUnsafePDF, Args: []string{name, no.Error(), no.classes()}}
	}
	return nil
}
