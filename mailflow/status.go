package mailflow

import (
	"fmt"
	"strings"
	"time"
)

// A Summary is one line of the list of requests.
type Summary struct {
	ID      string    `json:"id"`
	Ref     string    `json:"ref"`
	State   State     `json:"state"`
	Rule    string    `json:"rule"`
	Sender  string    `json:"sender"`
	Subject string    `json:"subject"`
	Created time.Time `json:"created"`
	// Waits says what the request waits for, in plain English; empty once it is
	// over.
	Waits string `json:"waits,omitempty"`
}

// Pending is an effect that is still to run.
type Pending struct {
	Kind     string    `json:"kind"`
	Key      string    `json:"key"`
	Due      time.Time `json:"due"`
	Attempts int       `json:"attempts"`
	Note     string    `json:"note,omitempty"` // why the last attempt did not help
}

// Details are everything that an administrator may know of a request. There is no
// code, token or document text in it.
type Details struct {
	Summary
	Expires   time.Time        `json:"expires"`
	H         string           `json:"h,omitempty"`
	Problems  []Problem        `json:"problems,omitempty"`
	Parties   []PartyStatus    `json:"parties"`
	Documents []DocumentStatus `json:"documents"`
	Letters   []Delivery       `json:"letters"`
	Pending   []Pending        `json:"pending"`
	Ended     string           `json:"ended,omitempty"`
	EndedBy   string           `json:"ended_by,omitempty"`
	History   []AuditEntry     `json:"history"`
}

// PartyStatus is how far a party is.
type PartyStatus struct {
	ID       string     `json:"id"`
	Role     Role       `json:"role"`
	Order    int        `json:"order"`
	Address  string     `json:"address"`
	State    PartyState `json:"state"`
	Codes    int        `json:"codes,omitempty"`
	Answered time.Time  `json:"answered,omitzero"`
	Level    Level      `json:"level,omitempty"`
	Reason   string     `json:"reason,omitempty"`
}

// DocumentStatus is how far a document is.
type DocumentStatus struct {
	Name       string           `json:"name"`
	Pages      int              `json:"pages"`
	R0         Blob             `json:"r0,omitempty"`
	Revision   Blob             `json:"revision,omitempty"`
	Lasts      time.Time        `json:"lasts,omitzero"`
	Signatures map[string]Stage `json:"signatures,omitempty"`
	Findings   []Finding        `json:"findings,omitempty"`
	Counts     map[string]int   `json:"counts,omitempty"`
	Attached   []AttachedFile   `json:"attached,omitempty"`
}

// Summarise describes a request in one line.
func Summarise(r *Request, pending []Pending) Summary {
	return Summary{
		ID: r.ID, Ref: r.Ref, State: r.State, Rule: r.Terms.Rule, Sender: r.Sender().Address.Addr,
		Subject: r.Subject, Created: r.Created, Waits: waits(r, pending),
	}
}

// Describe tells everything about a request but its history.
func Describe(r *Request, pending []Pending) Details {
	d := Details{
		Summary: Summarise(r, pending), Expires: r.Expires, H: r.H, Problems: r.Problems,
		Documents: []DocumentStatus{}, Letters: append([]Delivery{}, r.Deliveries...), Pending: pending,
		Ended: r.Ended, EndedBy: r.EndedBy,
	}
	for i := range r.Parties {
		d.Parties = append(d.Parties, partyStatus(&r.Parties[i]))
	}
	for _, doc := range r.Documents {
		s := DocumentStatus{
			Name: doc.Name, Pages: doc.Pages, R0: doc.R0, Revision: doc.Revision, Lasts: doc.Lasts, Signatures: map[string]Stage{},
			Findings: doc.Inventory.Findings, Counts: doc.Inventory.Counts, Attached: doc.Inventory.Attached,
		}
		for _, a := range doc.Signatures {
			s.Signatures[a.Slot] = a.Stage
		}
		d.Documents = append(d.Documents, s)
	}
	return d
}

func partyStatus(p *Party) PartyStatus {
	s := PartyStatus{
		ID: p.ID, Role: p.Role, Order: p.Order, Address: p.Address.String(), State: p.State, Codes: len(p.Challenges),
	}
	if p.Answer != nil {
		s.Answered, s.Level, s.Reason = p.Answer.At, p.Answer.Level, p.Answer.Reason
	}
	return s
}

// waits says what an open request waits for: first what fails, then who must
// answer.
func waits(r *Request, pending []Pending) string {
	if r.State.Terminal() {
		return ""
	}
	var on []string
	for _, p := range pending {
		if p.Note != "" {
			on = append(on, fmt.Sprintf("%s: %s (attempt %d, next at %s)", p.Kind, p.Note, p.Attempts, p.Due.UTC().Format(time.RFC3339)))
		}
	}
	if r.State == StateAsking {
		on = append(on, "an answer of "+r.Sender().Address.Addr+" about the draft")
	}
	for i := range r.Parties {
		switch p := &r.Parties[i]; p.State {
		case PartyAsked, PartyCoding:
			on = append(on, "an answer of "+p.Address.Addr)
		case PartyLocked:
			on = append(on, p.Address.Addr+" is locked: cancel the request, or let it expire")
		}
	}
	return strings.Join(on, "; ")
}
