package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/letter"
	"countersign/mailflow/message"
	"countersign/mailflow/reply"
	"countersign/mailflow/rules"
	"countersign/mailflow/sender"
	"countersign/store"
)

// An Inbound is a mail as a mailbox delivered it; its raw bytes are in the blobs.
type Inbound struct {
	Mailbox  string
	Blob     mailflow.Blob
	Size     int64 // of the whole mail, in bytes
	Received time.Time
	// Truncated says that the mail is above the limit and that the blob holds its
	// header only.
	Truncated bool
}

// A Disposition says what is to become of a mail in its mailbox.
type Disposition int

// The dispositions.
const (
	Done     Disposition = iota // handled, or nothing to handle
	SetAside                    // cannot be read: into the folder for failures
)

// arrival is one mail on its way through the intake.
type arrival struct {
	in      Inbound
	box     Mailbox
	msg     *message.Message
	key     string // dedupe key
	verdict sender.Verdict
	mail    mailflow.Mail
	tags    []string // plus tags of the addresses that it was sent to
}

// Receive handles one mail: it finds out what it is and who sent it, lets the core
// decide, and returns once the decision is committed. An error means that nothing
// was committed and that the mail must be offered again.
func (e *Engine) Receive(ctx context.Context, in Inbound) (Disposition, error) {
	a := &arrival{in: in}
	for _, box := range e.cfg.Mailboxes {
		if box.Name == in.Mailbox {
			a.box = box
		}
	}
	if a.box.Name == "" {
		return Done, fmt.Errorf("mail from unknown mailbox %q", in.Mailbox)
	}
	raw, err := e.cfg.Blobs.Open(string(in.Blob))
	if err != nil {
		return Done, fmt.Errorf("reading a mail back: %w", err)
	}
	defer raw.Close()
	a.msg, err = message.Parse(raw, raw.Size(), message.Limits{Size: e.cfg.Limits.Mail})
	if err != nil {
		return SetAside, e.setAside(ctx, in, err)
	}
	key, err := a.msg.DedupeKey(in.Mailbox)
	if err != nil {
		return Done, fmt.Errorf("reading a mail back: %w", err)
	}
	// The mail's own date comes first, so that keys of one time lie together in
	// the store; it is part of the mail and the same however often it comes.
	a.key = "mail/" + a.msg.Date.UTC().Format("20060102") + "/" + key
	if seen, err := e.cfg.Store.Handled(ctx, a.key); err != nil || seen {
		return Done, err
	}
	err = e.handle(ctx, a)
	if errors.Is(err, store.ErrDuplicate) { // a copy of this mail was faster
		err = nil
	}
	return Done, err
}

// setAside records a mail that cannot be read.
func (e *Engine) setAside(ctx context.Context, in Inbound, why error) error {
	e.count("mails set aside")
	e.cfg.Log.Warn("mail set aside", "mailbox", in.Mailbox, "mail", in.Blob, "why", why)
	key := "unreadable/" + in.Mailbox + "/" + string(in.Blob)
	if seen, err := e.cfg.Store.Handled(ctx, key); err != nil || seen {
		return err
	}
	return e.commit(ctx, mailflow.Decision{Audit: []mailflow.AuditEntry{{
		Time: e.cfg.Now().UTC(), Event: "mail set aside",
		Detail: map[string]string{"mailbox": in.Mailbox, "mail": string(in.Blob), "why": why.Error()},
	}}}, store.Change{Handled: []string{key}})
}

// handle sorts a readable mail.
func (e *Engine) handle(ctx context.Context, a *arrival) error {
	own := e.own(a.box)
	class := message.Classify(a.msg, own)
	if class.Automatic() {
		return e.ignore(ctx, a, string(class.Kind), class.Why)
	}
	a.tags = message.Tags(a.msg, own)
	a.verdict = sender.Judge(a.msg, a.box.Sender)
	from, err := a.msg.Sender()
	if err != nil {
		return e.ignore(ctx, a, "other", err.Error())
	}
	a.mail = mailflow.Mail{
		Blob: a.in.Blob, MessageID: a.msg.MessageID, References: a.msg.References, From: from,
		Level: a.verdict.Level, Subject: a.msg.Subject, Received: a.in.Received,
	}
	ref, found, err := e.correlate(ctx, a)
	switch {
	case err != nil:
		return err
	case ref != "":
		return e.answer(ctx, a, ref)
	case found:
		return e.ignore(ctx, a, "other", "its reply token is not one of ours, or it carries several")
	}
	return e.draft(ctx, a)
}

// own says what is ours in a mail that came to a mailbox.
func (e *Engine) own(box Mailbox) message.Own {
	o := message.Own{Header: letter.KindHeader, Hops: box.Sender.Hops}
	for _, b := range e.cfg.Mailboxes {
		o.Addresses = append(o.Addresses, b.Address)
	}
	return o
}

// ignore records a mail that changes nothing: automatic mail, and mail from
// senders who are entitled to no answer.
func (e *Engine) ignore(ctx context.Context, a *arrival, kind, why string) error {
	e.count("mails ignored: " + kind)
	return e.commit(ctx, mailflow.Decision{Audit: []mailflow.AuditEntry{{
		Time: e.cfg.Now().UTC(), Event: "mail ignored",
		Detail: map[string]string{"mailbox": a.in.Mailbox, "mail": string(a.in.Blob), "kind": kind, "why": why},
	}}}, store.Change{Handled: []string{a.key}})
}

// correlate finds the request and party that a mail answers: by the reply token in
// the address it was sent to, else by our Message-ID in its thread. found says that
// there was a token, even if it is none of ours. A mail with the token of one party
// in the thread of another answers neither.
func (e *Engine) correlate(ctx context.Context, a *arrival) (ref string, found bool, err error) {
	var keys []string
	for _, tag := range a.tags {
		if mailflow.ClassifyTag(tag) == mailflow.TagToken {
			keys, found = append(keys, tag), true
		}
	}
	keys = append(keys, a.msg.InReplyTo...)
	if n := len(a.msg.References); !found && len(a.msg.InReplyTo) == 0 && n > 0 {
		keys = append(keys, a.msg.References[n-1])
	}
	for _, key := range keys {
		r, err := e.cfg.Store.Token(ctx, mailflow.TokenHash(key))
		switch {
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return "", found, err
		case ref != "" && ref != r:
			return "", true, nil
		}
		ref = r
	}
	return ref, found, nil
}

// answer handles a mail that carries a reply token.
func (e *Engine) answer(ctx context.Context, a *arrival, ref string) error {
	e.count("mails: answer")
	id, party, _ := strings.Cut(ref, "/")
	if a.mail.Level == mailflow.LevelNone {
		a.mail.Level = mailflow.LevelToken
	}
	handled := store.Change{Handled: []string{a.key}}
	r, err := e.load(ctx, id)
	if err != nil {
		return err
	}
	if p := r.Party(party); p != nil && p.Role == mailflow.RoleSender && r.State == mailflow.StateAsking {
		return e.continued(ctx, a, r)
	}
	return e.step(ctx, id, handled, func(r mailflow.Request) mailflow.EventBody {
		return e.readAnswer(a, &r, party)
	})
}

// readAnswer reads what an answer says, knowing the letter that it answers.
func (e *Engine) readAnswer(a *arrival, r *mailflow.Request, party string) mailflow.EventBody {
	ans := reply.Read(e.replyInput(a, r, party))
	e.cfg.Log.Info("answer read", "request", r.ID, "party", party, "level", a.mail.Level, "command", ans.Command, "cause", ans.Cause)
	ev := mailflow.AnswerReceived{
		Mail: a.mail, Party: party, Command: ans.Command, Word: ans.Word,
		Reason: ans.Reason, Name: ans.Name, Problem: ans.Problem, BadName: ans.Cause == reply.CauseBadName || ans.Cause == reply.CauseTwoNames,
	}
	if p := r.Party(party); p != nil && ans.Command == mailflow.CommandCode {
		ev.CodeFor = e.cfg.Secrets.MatchCode(r, p, ans.Code)
	}
	return ev
}

// replyInput gathers what the answer grammar needs.
func (e *Engine) replyInput(a *arrival, r *mailflow.Request, party string) reply.Input {
	in := reply.From(a.msg)
	in.CodeDigits = r.Terms.CodeDigits
	if p := r.Party(party); p != nil {
		in.WantName = p.Role == mailflow.RoleSigner
	}
	in.Sent = e.sentText(a, r, party)
	return in
}

// sentText is the text of the letters to this party that the answer may quote.
func (e *Engine) sentText(a *arrival, r *mailflow.Request, party string) string {
	var texts []string
	for _, d := range r.Deliveries {
		if d.Party != party || d.Sent == "" {
			continue
		}
		f, err := e.cfg.Blobs.Open(string(d.Sent))
		if err != nil {
			e.cfg.Log.Warn("the text of a letter is lost", "request", r.ID, "letter", d.Key, "error", err)
			continue
		}
		text, err := io.ReadAll(f)
		f.Close()
		if err == nil {
			texts = append(texts, string(text))
		}
	}
	return strings.Join(texts, "\n")
}

// draft handles a mail without a token: it may begin a request.
func (e *Engine) draft(ctx context.Context, a *arrival) error {
	facts, err := e.facts(a, mailflow.Request{})
	if err != nil {
		return err
	}
	out := e.cfg.Rules.Match(facts)
	if out.Refused != "" {
		return e.refuse(ctx, a, out)
	}
	e.count("mails: draft")
	return e.begin(ctx, a, "", facts, out.Plan)
}

// continued handles the sender's answer to what a draft lacked.
func (e *Engine) continued(ctx context.Context, a *arrival, r mailflow.Request) error {
	facts, err := e.facts(a, r)
	if err != nil {
		return err
	}
	out := e.cfg.Rules.Named(r.Terms.Rule, facts)
	if out.Refused != "" {
		return e.ignore(ctx, a, "other", "an answer about a draft: "+out.Refused)
	}
	return e.begin(ctx, a, r.ID, facts, out.Plan)
}

// begin hands a draft to the core.
func (e *Engine) begin(ctx context.Context, a *arrival, id string, facts rules.Facts, plan mailflow.Plan) error {
	plan.Terms.Admin = e.cfg.Admin
	if a.in.Truncated { // its lines were never read: who is missing is not known
		plan.Problems = facts.LineProblems
	}
	return e.step(ctx, id, store.Change{Handled: []string{a.key}}, func(mailflow.Request) mailflow.EventBody {
		return mailflow.DraftReceived{
			Mail: a.mail, Mailbox: a.box.Name, Address: a.box.Address,
			Lines: facts.Lines, Cc: facts.Cc, Documents: facts.Documents, Plan: plan,
		}
	})
}

// refuse handles a draft that no rule admits. A proven sender of one of our own
// domains is told so, at most once a day; anyone else gets nothing.
func (e *Engine) refuse(ctx context.Context, a *arrival, out rules.Outcome) error {
	e.count("drafts refused")
	e.cfg.Log.Warn("draft refused", "mailbox", a.in.Mailbox, "mail", a.in.Blob, "level", a.mail.Level, "why", out.Refused)
	day := e.cfg.Now().UTC().Format(time.DateOnly)
	told := "told/" + a.box.Name + "/" + strings.ToLower(a.mail.From.Addr) + "/" + day
	seen, err := e.cfg.Store.Handled(ctx, told)
	if err != nil {
		return err
	}
	if seen || !e.insider(a.mail) {
		return e.ignore(ctx, a, "refused draft", out.Refused)
	}
	ev, err := e.event(nil)
	if err != nil {
		return err
	}
	d := mailflow.Refuse(a.mail, a.box.Address, ev, e.cfg.Now())
	return e.commit(ctx, d, store.Change{Handled: []string{a.key, told}})
}

// insider reports whether the mail is proven to come from one of our own domains.
func (e *Engine) insider(m mailflow.Mail) bool {
	if m.Level == mailflow.LevelNone || m.Level == mailflow.LevelToken {
		return false
	}
	for _, d := range e.cfg.Domains {
		if strings.EqualFold(mailflow.Domain(m.From.Addr), d) {
			return true
		}
	}
	return false
}

// GiveUp records a mail that could not even be fetched, or whose handling failed for
// good; the mailbox sets it aside. name tells mails of one mailbox apart.
func (e *Engine) GiveUp(ctx context.Context, in Inbound, name string, why error) error {
	if in.Blob == "" {
		in.Blob = mailflow.Blob("uid " + name)
	}
	return e.setAside(ctx, in, why)
}
