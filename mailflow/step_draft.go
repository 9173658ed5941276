package mailflow

import (
	"fmt"
	"slices"
	"strconv"
)

// maxAsks bounds how often a sender is asked to complete one draft.
const maxAsks = 5

// draft begins a request, or takes the answer to what its sender was asked for.
func (d *step) draft(ev DraftReceived) {
	r := d.r
	switch {
	case r.ID == "":
		d.begin(ev)
	case !SameAddr(ev.Mail.From.Addr, r.Sender().Address.Addr):
		d.audit("draft ignored", "p0", "mail", string(ev.Mail.Blob), "level", string(ev.Mail.Level), "why", "not from the sender of the draft")
		return
	case r.State != StateAsking:
		d.audit("draft ignored", "p0", "mail", string(ev.Mail.Blob), "why", "nothing is missing any more")
		d.note(r.Sender(), NoteAnswered, ev.Mail)
		return
	default:
		d.audit("draft continued", "p0", "mail", string(ev.Mail.Blob), "level", string(ev.Mail.Level))
	}
	r.Lines, r.Cc = ev.Lines, ev.Cc
	r.Terms = ev.Plan.Terms
	r.Documents = ev.Documents
	problems := slices.Clone(ev.Plan.Problems)
	if len(ev.Documents) == 0 && !slices.ContainsFunc(problems, Problem.AboutDocuments) {
		problems = append(problems, Problem{Kind: ProblemNoPDF})
	}
	if len(problems) > 0 {
		d.ask(problems, ev.Mail)
		return
	}
	r.Parties = append([]Party(nil), *r.Sender())
	for i, p := range ev.Plan.Parties {
		p.ID = "p" + strconv.Itoa(i+1)
		p.State = PartyWaiting
		r.Parties = append(r.Parties, p)
	}
	r.Problems = nil
	r.State = StatePreparing
	d.effect(EffectPrepare, strconv.Itoa(r.Asks), d.now)
}

// begin fills a new request from its draft.
func (d *step) begin(ev DraftReceived) {
	terms := ev.Plan.Terms
	*d.r = Request{
		ID:      newID(d.now, d.random("id")),
		Ref:     newRef(d.random("ref")),
		Created: d.now,
		Expires: d.now.Add(terms.Expires),
		Mailbox: ev.Mailbox,
		Address: ev.Address,
		Subject: ev.Mail.Subject,
		Draft:   ev.Mail,
		Parties: []Party{{ID: "p0", Role: RoleSender, Address: ev.Mail.From, State: PartyWaiting}},
	}
	d.effect(EffectExpire, "", d.r.Expires)
	d.audit("draft received", "p0", "rule", terms.Rule, "rules", terms.RuleHash,
		"mail", string(ev.Mail.Blob), "level", string(ev.Mail.Level), "documents", fmt.Sprint(len(ev.Documents)))
}

// AboutDocuments reports whether the problem already explains why there is no
// usable document.
func (p Problem) AboutDocuments() bool {
	switch p.Kind {
	case ProblemNoPDF, ProblemUnfitPDF, ProblemUnsafePDF, ProblemTooLarge, ProblemMailTooLarge, ProblemUnreadable, ProblemTooMany:
		return true
	}
	return false
}

// ask tells the sender, in one letter, all that is missing or contradictory.
func (d *step) ask(problems []Problem, mail Mail) {
	r := d.r
	r.State, r.Problems = StateAsking, problems
	r.Asks++
	if r.Asks > maxAsks {
		d.end(StateCancelled, LetterCancelled, "the draft was still incomplete after "+strconv.Itoa(maxAsks)+" questions", "")
		return
	}
	d.toParty(r.Sender(), Letter{
		Kind: LetterAsk, Problems: problems, Token: true,
		References: appendID(mail.References, mail.MessageID),
	})
	d.audit("sender asked", "p0", "problems", fmt.Sprint(len(problems)))
}

// prepared takes R0 of every document and goes on.
func (d *step) prepared(ev Prepared) error {
	r := d.r
	if r.State != StatePreparing {
		d.audit("ignored", "", "event", "prepared", "why", "the request is "+string(r.State))
		return nil
	}
	h, err := Fingerprint(ev.Documents)
	if err != nil {
		return err
	}
	if len(ev.Documents) != len(r.Documents) {
		return fmt.Errorf("prepared %d documents of %d", len(ev.Documents), len(r.Documents))
	}
	for i := range ev.Documents {
		if ev.Documents[i].Original != r.Documents[i].Original {
			return fmt.Errorf("prepared document %d is another one", i)
		}
		doc := ev.Documents[i]
		doc.Revision, doc.RevisionSize = doc.R0, doc.R0Size
		r.Documents[i] = doc
	}
	r.H = h
	d.audit("prepared", "", append([]string{"h", h}, audited(r.Documents)...)...)
	r.State = StateApproving
	d.advance()
	return nil
}

// unfit asks for another document.
func (d *step) unfit(ev Unfit) {
	if d.r.State != StatePreparing {
		d.audit("ignored", "", "event", "unfit", "why", "the request is "+string(d.r.State))
		return
	}
	pairs := []string{"problems", fmt.Sprint(len(ev.Problems))}
	if classes := refusedFor(ev.Problems); classes != "" {
		pairs = append(pairs, "found", classes)
	}
	d.audit("document refused", "p0", pairs...)
	d.ask(ev.Problems, d.r.Draft)
}
