package letter

import (
	"fmt"
	"strings"
	"time"

	"countersign/mailflow"
)

// view is what the templates see. All texts are single lines.
type view struct {
	Organisation string
	Address      string // the signing address
	Ref, Subject string
	To           person
	Sender       person
	About        string // a person, or ""
	Turn         string // what the addressee may do: approve, agree, code or ""
	Stranger     bool   // the addressee is not a party and learns nothing
	Open         bool   // the request is not over
	StateWord    string
	Signers      []person
	Documents    []document
	Many         bool
	Found        bool // a document has findings
	H            *fingerprint
	Agreed       *fingerprint // what was shown before signing, in the result of one document
	Expires      string
	Digits       int
	Code         code
	Tries        int
	Reason       string
	Detail       string
	Problems     []string
	NoteText     string
	Lasts        string // until when the result proves itself without further timestamps, or ""
	Signatures   []signature
	Approvals    []signature
}

// person writes itself as "Name <addr>"; Name is "" if it is not known.
type person struct{ Name, Addr string }

func (p person) String() string {
	switch {
	case p.Addr == "":
		return "whoever started it"
	case p.Name == "":
		return p.Addr
	}
	return p.Name + " <" + p.Addr + ">"
}

func newPerson(a mailflow.Address) person {
	return person{oneLine(a.Name, 64), oneLine(a.Addr, 254)}
}

// fingerprint is a SHA-256 for people: the first 16 hex digits in groups, and all.
type fingerprint struct{ Short, Full string }

func newFingerprint(hex string) fingerprint {
	if len(hex) != 64 {
		return fingerprint{}
	}
	return fingerprint{strings.Join([]string{hex[:4], hex[4:8], hex[8:12], hex[12:16]}, " "), hex}
}

type document struct {
	N     int
	Name  string
	Pages int
	Size  string
	fingerprint
	Findings []finding
	Unlisted int // findings that are not in the list
}

// finding is something that a document holds besides its pages.
type finding struct {
	What, Where string
	Times       int
}

type code struct {
	Grouped string // marks
	Expires string
	Tries   int
}

type signature struct {
	Seal     bool
	Who      string
	Document int
	When     string
}

// problem gives templates the arguments of a problem, absent ones as "".
type problem struct{ args []string }

// Arg returns the i-th argument as a single line.
func (p problem) Arg(i int) string {
	if i < 0 || i >= len(p.args) {
		return ""
	}
	return oneLine(p.args[i], 300)
}

func (c *composer) view() (view, error) {
	l, r := c.letter, &c.request
	v := view{
		Organisation: c.organisation(), Address: l.From, Ref: r.Ref,
		To: newPerson(l.To), Open: r.ID != "" && !r.State.Terminal(),
		StateWord: stateWords[r.State], Tries: l.Tries,
		Reason: oneLine(l.Reason, 1000), Detail: oneLine(l.Detail, 400),
		Digits: r.Terms.CodeDigits, Expires: when(r.Expires),
		Stranger: l.Note == mailflow.NoteNotYou,
	}
	v.Subject = oneLine(l.Subject, 150)
	if v.Subject == "" {
		v.Subject = oneLine(r.Subject, 150)
	}
	if v.Subject == "" {
		text, err := c.set.Text("no subject", nil)
		if err != nil {
			return v, err
		}
		v.Subject = text
	}
	if s := r.Sender(); s != nil {
		v.Sender = newPerson(s.Address)
	}
	if p := r.Party(l.About); p != nil {
		v.About = newPerson(p.Address).String()
	}
	if l.Kind != mailflow.LetterRefused {
		c.people(&v)
		c.documents(&v)
	}
	if c.tellsCode() {
		if err := c.code(&v); err != nil {
			return v, err
		}
	}
	return v, c.chosen(&v)
}

// chosen adds the texts that are chosen by the letter's problems and note.
func (c *composer) chosen(v *view) error {
	for _, p := range c.letter.Problems {
		text, err := c.set.Text("problem "+string(p.Kind), problem{p.Args})
		if err != nil {
			return err
		}
		v.Problems = append(v.Problems, text)
	}
	if c.letter.Note == "" {
		if c.letter.Kind == mailflow.LetterNote || c.letter.Kind == mailflow.LetterOwner {
			return fmt.Errorf("a letter of kind %q says nothing without a note", c.letter.Kind)
		}
		return nil
	}
	text, err := c.set.Text("note "+string(c.letter.Note), v)
	v.NoteText = text
	return err
}

// people fills in who takes part, and what the addressee may do now.
func (c *composer) people(v *view) {
	r := &c.request
	for _, p := range r.With(mailflow.RoleSigner) {
		v.Signers = append(v.Signers, newPerson(p.Address))
	}
	for _, p := range r.With(mailflow.RoleApprover) {
		if p.State == mailflow.PartyApproved && p.Answer != nil {
			v.Approvals = append(v.Approvals, signature{Who: newPerson(p.Address).String(), When: when(p.Answer.At)})
		}
	}
	p := r.Party(c.letter.Party)
	if p == nil {
		return
	}
	if p.Role == mailflow.RoleSigner {
		v.To.Name = c.signerName()
	}
	if c.letter.Token {
		v.Turn = turn(p)
	}
}

func turn(p *mailflow.Party) string {
	switch {
	case p.Role == mailflow.RoleApprover && p.State == mailflow.PartyAsked:
		return "approve"
	case p.Role == mailflow.RoleSigner && p.State == mailflow.PartyAsked:
		return "agree"
	case p.Role == mailflow.RoleSigner && p.State == mailflow.PartyCoding:
		return "code"
	}
	return ""
}

// signerName is the name that goes into the addressee's signature, as far as it is
// known and fits.
func (c *composer) signerName() string {
	p := c.request.Party(c.letter.Party)
	if p == nil || p.Role != mailflow.RoleSigner {
		return ""
	}
	for _, name := range []string{p.CertName, p.Address.Name} {
		if name = oneLine(name, 64); name != "" && !strings.HasSuffix(name, "…") {
			return name
		}
	}
	return ""
}

// documents fills in the documents: as they were shown, or for the result as they
// are signed.
func (c *composer) documents(v *view) {
	r := &c.request
	v.Many = len(r.Documents) > 1
	result := c.letter.Kind == mailflow.LetterResult
	for i, d := range r.Documents {
		doc := document{N: i + 1, Name: oneLine(d.Name, 120), Pages: d.Pages, fingerprint: newFingerprint(string(d.R0))}
		size := d.R0Size
		if result {
			doc.fingerprint, size = newFingerprint(string(d.Revision)), d.RevisionSize
			v.Lasts = lasts(r.Documents)
		}
		if size > 0 {
			doc.Size = bytesText(size)
		}
		for _, f := range d.Inventory.Findings {
			doc.Findings = append(doc.Findings, finding{oneLine(f.What, 150), oneLine(f.Where, 80), f.Times})
			v.Found = true
		}
		doc.Unlisted = d.Inventory.Unlisted
		v.Documents = append(v.Documents, doc)
		for _, a := range d.Signatures {
			if a.Stage == mailflow.StageDone {
				v.Signatures = append(v.Signatures, c.signature(a, i+1))
			}
		}
	}
	p := newFingerprint(r.H)
	switch {
	case p.Full == "":
	case !result:
		v.H = &p
	case !v.Many:
		v.Agreed = &p
	}
}

// lasts is the day on which the first certificate of the document timestamps ends; "" if
// there are none (below level B-LTA).
func lasts(docs []mailflow.Document) string {
	var first time.Time
	for _, d := range docs {
		if d.Lasts.IsZero() {
			return ""
		}
		if first.IsZero() || d.Lasts.Before(first) {
			first = d.Lasts
		}
	}
	return first.UTC().Format(time.DateOnly)
}

func (c *composer) signature(a mailflow.Attempt, document int) signature {
	s := signature{Document: document, When: when(a.Stamped)}
	if a.Slot == mailflow.SealSlot {
		s.Seal, s.Who = true, c.organisation()
		return s
	}
	s.Who = a.Slot
	if p := c.request.Party(a.Slot); p != nil {
		who := newPerson(p.Address)
		if name := oneLine(p.CertName, 64); name != "" {
			who.Name = name
		}
		s.Who = who.String()
	}
	return s
}

func (c *composer) tellsCode() bool { return c.letter.Kind == mailflow.LetterCode }

func (c *composer) code(v *view) error {
	p := c.request.Party(c.letter.Party)
	if p == nil {
		return fmt.Errorf("the code is for party %q, which does not exist", c.letter.Party)
	}
	if v.H == nil {
		return fmt.Errorf("the code is bound to no document: the request has the fingerprint %q", c.request.H)
	}
	for _, ch := range p.Challenges {
		if ch.N == c.letter.Challenge {
			v.Code = code{
				Grouped: c.marks.grouped(c.request.Terms.CodeDigits), Expires: when(ch.Expires),
				Tries: max(c.request.Terms.CodeTries-ch.Wrong, 0),
			}
			return nil
		}
	}
	return fmt.Errorf("party %s has no code %d", p.ID, c.letter.Challenge)
}

// when writes a time for people anywhere: the date as ISO 8601 has it, in UTC.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

var stateWords = map[mailflow.State]string{
	mailflow.StateDelivering: "the documents are signed",
	mailflow.StateCompleted:  "the documents are signed",
	mailflow.StateRejected:   "it was rejected",
	mailflow.StateCancelled:  "it was cancelled",
	mailflow.StateExpired:    "it has expired",
	mailflow.StateFailed:     "it could not be completed",
}

// bytesText writes a size for people.
func bytesText(n int64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%d KB", (n+500)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}
