package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
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
	tags    []string        // plus tags of the addresses that it was sent to
	pdfs    []*message.Part // its attachments that are PDFs
}

// noting remembers a failure of the disk. Whoever looks at a damaged or incomplete
// mail must know whether the mail is at fault or the disk.
type noting struct {
	store.Blob
	err error
}

// ReadAt implements io.ReaderAt.
func (n *noting) ReadAt(p []byte, off int64) (int, error) {
	k, err := n.Blob.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}

// Receive handles one mail: it finds out what it is and who sent it, lets the core
// decide, and returns once the decision is committed. An error means that nothing
// was committed and that the mail must be offered again.
func (e *Engine) Receive(ctx context.Context, in Inbound) (d Disposition, err error) {
	defer func() {
		// A bug that one mail brings to light must not stop all the others.
		if x := recover(); x != nil {
			err = fmt.Errorf("%w: internal error: %v\n%s", ErrHopeless, x, debug.Stack())
		}
	}()
	a := &arrival{in: in}
	for _, box := range e.cfg.Mailboxes {
		if box.Name == in.Mailbox {
			a.box = box
		}
	}
	if a.box.Name == "" {
		return Done, fmt.Errorf("mail from unknown mailbox %q", in.Mailbox)
	}
	// Equal mails of two mailboxes are one blob: see forget.
	defer e.raw.lock(string(in.Blob))()
	blob, err := e.cfg.Blobs.Open(string(in.Blob))
	if err != nil {
		return Done, fmt.Errorf("reading a mail back: %w", err)
	}
	defer blob.Close()
	raw := &noting{Blob: blob}
	a.msg, err = message.Parse(raw, raw.Size(), message.Limits{Size: e.cfg.Limits.Mail})
	if err != nil && raw.err == nil {
		return SetAside, e.setAside(ctx, in, err)
	}
	if err == nil {
		err = e.know(a)
	}
	if err = errors.Join(raw.err, err); err != nil {
		return Done, fmt.Errorf("reading a mail back: %w", err)
	}
	return Done, e.take(ctx, a)
}

// know finds out what can be known of a mail by itself.
func (e *Engine) know(a *arrival) error {
	key, err := a.msg.DedupeKey(a.in.Mailbox)
	if err != nil {
		return err
	}
	// The mail's own date comes first, so that keys of one time lie together in
	// the store; it is part of the mail and the same however often it comes.
	a.key = "mail/" + a.msg.Date.UTC().Format("20060102") + "/" + key
	a.verdict = sender.Judge(a.msg, a.box.Sender)
	for _, part := range a.msg.Attachments {
		if part.IsPDF() {
			a.pdfs = append(a.pdfs, part)
		}
	}
	return nil
}

// take handles a mail once.
func (e *Engine) take(ctx context.Context, a *arrival) error {
	for range 2 {
		if seen, err := e.seen(ctx, a); err != nil || seen {
			if seen {
				e.forget(ctx, a.in.Blob)
			}
			return err
		}
		// A copy of this mail may be faster, or, of two refused drafts of one
		// sender, the other may: then this one is judged anew.
		if err := e.handle(ctx, a); !errors.Is(err, store.ErrDuplicate) {
			return err
		}
	}
	return e.handle(ctx, a)
}

// seen reports whether a copy of the mail was handled before.
func (e *Engine) seen(ctx context.Context, a *arrival) (bool, error) {
	for _, key := range a.handled(true) {
		if seen, err := e.cfg.Store.Handled(ctx, key); err != nil || seen {
			return seen, err
		}
	}
	return false, nil
}

// handled lists the keys that keep copies of a mail from being handled again. A copy
// whose sender is not proven has a key of its own unless it counted all the same:
// or else who knows a mail could send it first, and so suppress the sender's own
// (invariant 9).
func (a *arrival) handled(counted bool) []string {
	keys := []string{a.key}
	if a.verdict.Level == mailflow.LevelNone {
		keys = append(keys, a.key+"/unproven")
		if !counted {
			keys = keys[1:]
		}
	}
	return keys
}

// setAside records a mail that cannot be read.
func (e *Engine) setAside(ctx context.Context, in Inbound, why error) error {
	e.count("mails set aside")
	e.cfg.Log.Warn("mail set aside", "mailbox", in.Mailbox, "mail", in.Blob, "why", why)
	key := "unreadable/" + in.Mailbox + "/" + string(in.Blob)
	defer e.forget(ctx, in.Blob) // it lies in the mailbox's folder for failures
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
	from, err := a.msg.Sender()
	if err != nil {
		e.cfg.Log.Warn("mail ignored", "mailbox", a.in.Mailbox, "mail", a.in.Blob, "why", err)
		return e.ignore(ctx, a, "other", "it does not come from exactly one plain address")
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
	err := e.commit(ctx, mailflow.Decision{Audit: []mailflow.AuditEntry{{
		Time: e.cfg.Now().UTC(), Event: "mail ignored",
		Detail: map[string]string{"mailbox": a.in.Mailbox, "mail": string(a.in.Blob), "kind": kind, "why": why},
	}}}, store.Change{Handled: a.handled(false)})
	if err == nil {
		e.forget(ctx, a.in.Blob)
	}
	return err
}

// blobKey is the index key of a raw mail that a state names.
func blobKey(b mailflow.Blob) string { return mailflow.TokenHash("mail " + string(b)) }

// keepRaw makes a change remember that it names a mail's raw bytes.
func keepRaw(a *arrival) map[string]string { return map[string]string{blobKey(a.in.Blob): "mail"} }

// forget removes the raw bytes of a mail, unless a state names them; they are still in
// the mailbox. Or else strangers could fill the disk.
func (e *Engine) forget(ctx context.Context, b mailflow.Blob) {
	_, err := e.cfg.Store.Token(ctx, blobKey(b))
	if errors.Is(err, store.ErrNotFound) {
		err = e.cfg.Blobs.Remove(string(b))
	}
	if err != nil {
		e.cfg.Log.Warn("an ignored mail stays on the disk", "mail", b, "error", err)
	}
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
	r, err := e.load(ctx, id)
	if err != nil {
		return err
	}
	if p := r.Party(party); p != nil && p.Role == mailflow.RoleSender && r.State == mailflow.StateAsking {
		return e.continued(ctx, a, r)
	}
	handled := a.handled(r.Terms.AcceptsAnswer(a.mail.Level))
	return e.step(ctx, id, store.Change{Handled: handled, Tokens: keepRaw(a)}, func(r mailflow.Request) mailflow.EventBody {
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
	in.From = mailflow.Address{Name: e.cfg.Organisation, Addr: r.Address}
	in.CodeDigits = r.Terms.CodeDigits
	if p := r.Party(party); p != nil {
		in.WantName = p.Role == mailflow.RoleSigner
	}
	in.Sent, in.Dates = e.sent(r, party)
	return in
}

// sent gives the words and the dates of the letters to this party that the answer may
// quote.
func (e *Engine) sent(r *mailflow.Request, party string) (words string, dates []time.Time) {
	var texts []string
	for _, d := range r.Deliveries {
		if d.Party != party || d.Sent == "" {
			continue
		}
		dates = append(dates, d.Written)
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
	return strings.Join(texts, "\n"), dates
}

// draft handles a mail without a token: it may begin a request. Nothing of it is
// stored before a rule admits its sender.
func (e *Engine) draft(ctx context.Context, a *arrival) error {
	ref, err := e.thread(ctx, a)
	if err != nil {
		return err
	}
	if id, ok := strings.CutSuffix(ref, "/p0"); ok { // it answers a draft
		r, err := e.load(ctx, id)
		if err != nil {
			return err
		}
		if r.State == mailflow.StateAsking && mailflow.SameAddr(a.mail.From.Addr, r.Sender().Address.Addr) {
			return e.continued(ctx, a, r)
		}
	}
	if ref != "" && len(a.pdfs) == 0 && !a.in.Truncated {
		return e.ignore(ctx, a, "other", "it answers a draft or a letter that asks for nothing, and brings no document")
	}
	c := e.read(a)
	if out := e.cfg.Rules.Match(e.facts(a, c, mailflow.Request{})); out.Refused != "" {
		return e.refuse(ctx, a, out)
	}
	if err := e.attach(a, c); err != nil {
		return err
	}
	e.count("mails: draft")
	tokens := keepRaw(a)
	if err := e.indexThread(ctx, a, tokens); err != nil {
		return err
	}
	return e.step(ctx, "", store.Change{Handled: a.handled(true), Tokens: tokens}, func(r mailflow.Request) mailflow.EventBody {
		f := e.facts(a, c, r)
		return e.received(a, f, e.cfg.Rules.Match(f).Plan)
	})
}

// continued handles the sender's answer to what a draft lacked.
func (e *Engine) continued(ctx context.Context, a *arrival, r mailflow.Request) error {
	c := e.read(a)
	if out := e.cfg.Rules.Named(r.Terms.Rule, e.facts(a, c, r)); out.Refused != "" {
		e.cfg.Log.Warn("answer about a draft refused", "request", r.ID, "mail", a.in.Blob, "level", a.mail.Level, "sender", a.verdict.Why, "why", out.Refused)
		// The core tells the sender, at the address it knows, that an answer came
		// whose sender is not proven.
		return e.step(ctx, r.ID, store.Change{Handled: a.handled(false), Tokens: keepRaw(a)}, func(mailflow.Request) mailflow.EventBody {
			return mailflow.AnswerReceived{Mail: a.mail, Party: "p0", Command: mailflow.CommandNone}
		})
	}
	if err := e.attach(a, c); err != nil {
		return err
	}
	return e.step(ctx, r.ID, store.Change{Handled: a.handled(true), Tokens: keepRaw(a)}, func(r mailflow.Request) mailflow.EventBody {
		f := e.facts(a, c, r)
		return e.received(a, f, e.cfg.Rules.Named(r.Terms.Rule, f).Plan)
	})
}

// received hands a draft to the core.
func (e *Engine) received(a *arrival, f rules.Facts, plan mailflow.Plan) mailflow.DraftReceived {
	plan.Terms.Admin = e.cfg.Admin
	if a.in.Truncated { // its lines were never read: who is missing is not known
		plan.Problems = f.LineProblems
	}
	return mailflow.DraftReceived{
		Mail: a.mail, Mailbox: a.box.Name, Address: a.box.Address,
		Lines: f.Lines, Cc: f.Cc, Documents: f.Documents, Plan: plan,
	}
}

// indexThread remembers a draft's Message-ID, so that those who answer it to all begin
// no request of their own. The reference is filled in by commit, which knows the new
// request. A Message-ID that is known already stays with its first draft.
func (e *Engine) indexThread(ctx context.Context, a *arrival, tokens map[string]string) error {
	if a.mail.MessageID == "" {
		return nil
	}
	key := threadKey(a.mail.MessageID)
	_, err := e.cfg.Store.Token(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		tokens[key] = newRequest
		return nil
	}
	return err
}

// thread returns what a mail answers, by the Message-IDs it refers to: "<request>/p0"
// for a draft, something else for a letter that asks for nothing, "" for neither.
func (e *Engine) thread(ctx context.Context, a *arrival) (string, error) {
	for _, id := range slices.Concat(a.msg.InReplyTo, a.msg.References) {
		switch ref, err := e.cfg.Store.Token(ctx, threadKey(id)); {
		case err == nil:
			return ref, nil
		case !errors.Is(err, store.ErrNotFound):
			return "", err
		}
	}
	return "", nil
}

// refuse handles a draft that no rule admits. A proven sender of one of our own
// domains is told so, at most once a day; anyone else gets nothing.
func (e *Engine) refuse(ctx context.Context, a *arrival, out rules.Outcome) error {
	e.count("drafts refused")
	e.cfg.Log.Warn("draft refused", "mailbox", a.in.Mailbox, "mail", a.in.Blob, "level", a.mail.Level, "sender", a.verdict.Why, "why", out.Refused)
	day := e.cfg.Now().UTC().Format(time.DateOnly)
	told := "told/" + a.box.Name + "/" + strings.ToLower(a.mail.From.Addr) + "/" + day
	seen, err := e.cfg.Store.Handled(ctx, told)
	if err != nil {
		return err
	}
	if seen || !e.insider(a.mail) {
		return e.ignore(ctx, a, "refused draft", "no rule admits it")
	}
	ev, err := e.event(nil)
	if err != nil {
		return err
	}
	d := mailflow.Refuse(a.mail, a.box.Address, ev, e.cfg.Now())
	err = e.commit(ctx, d, store.Change{Handled: append(a.handled(false), told)})
	if err == nil {
		e.forget(ctx, a.in.Blob)
	}
	return err
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
