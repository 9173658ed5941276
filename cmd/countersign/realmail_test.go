package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/demomail"
	"countersign/mailflow/realmail"
)

// The tests of this file run the gateway against Dovecot and Postfix, as an
// administrator would set it up: one system for the organisation (mail.test) and
// its customer (partner.test), TLS everywhere, and logins to submit.

// The people of the real mail system. Mallory works for the organisation.
var (
	realAnn     = demomail.Person{Name: "Ann Archer", Addr: "ann@mail.test", Password: "secret of ann"}
	realBen     = demomail.Person{Name: "Ben Boss", Addr: "ben@mail.test", Password: "secret of ben"}
	realMallory = demomail.Person{Name: "Mallory", Addr: "mallory@mail.test", Password: "secret of mallory"}
	realCarla   = demomail.Person{Name: "Carla Client", Addr: "carla@partner.test", Password: "secret of carla"}
	realDan     = demomail.Person{Name: "Dan Director", Addr: "dan@partner.test", Password: "secret of dan"}
	realDesk    = demomail.Person{Name: "Countersign", Addr: "sign@mail.test", Password: "secret of the desk"}
)

// realConfig has the places {dir}, {imap}, {smtp}, {tls}, {ca} and {tsa}.
const realConfig = `
organisation: {name: Demo Ltd, domains: [mail.test]}
state: {dir}/state
admin: ann@mail.test
mailboxes:
  - name: sign
    address: sign@mail.test
    imap: {server: "{imap}", tls: {tls}, ca_file: {ca}, username: sign@mail.test, password_file: {dir}/desk.password, poll: 5s}
    hops: 2 # Postfix takes the mail in, Dovecot gets it from there by LMTP
    authserv_id: mail.test
smtp: {server: "{smtp}", tls: {tls}, ca_file: {ca}, username: sign@mail.test, password_file: {dir}/desk.password, hello: sign.mail.test}
keys:
  seal: {file: {dir}/pki/seal.pem}
  signing_ca: {file: {dir}/pki/ca.pem}
tsa:
  - url: {tsa}
evidence: {allow: [127.0.0.1]}
rules:
  - name: notices
    match: {tag: notice, from: [ann@mail.test]}
  - name: contracts
    match: {from: ["@mail.test"]}
    approvers: ["Ben Boss <ben@mail.test>"]
    signers: draft
    reason: Contract agreed
`

// A realTown is a town whose mail goes through Dovecot and Postfix. Its people use
// STARTTLS; what they got is kept.
type realTown struct {
	*town
	stack   *realmail.Stack
	post    post
	fetched map[string]int // mails, by address
}

// startStack starts the servers, which the towns of one test share.
func startStack(t *testing.T) *realmail.Stack {
	t.Helper()
	var users []realmail.User
	for _, p := range []demomail.Person{realAnn, realBen, realMallory, realCarla, realDan, realDesk} {
		users = append(users, realmail.User{Addr: p.Addr, Password: p.Password})
	}
	stack, err := realmail.Start(t.Context(), realmail.Options{Users: users})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logs := stack.Logs()
			t.Logf("the end of the mail servers' logs:\n%s", logs[max(0, len(logs)-20_000):])
		}
		if err := stack.Stop(); err != nil {
			t.Errorf("stopping the mail servers: %v", err)
		}
	})
	return stack
}

// newRealTown writes the configuration; tlsMode is starttls or implicit.
func newRealTown(t *testing.T, stack *realmail.Stack, tlsMode string) *realTown {
	t.Helper()
	rt := &realTown{town: newTown(t), stack: stack, post: post{}, fetched: map[string]int{}}
	for _, p := range []demomail.Person{realAnn, realBen, realMallory, realCarla, realDan} {
		rt.people[p.Addr] = &demomail.Client{
			Person: p, IMAP: stack.IMAP, SMTP: stack.Submission, TLS: &tls.Config{RootCAs: stack.CAs, ServerName: "localhost"},
		}
		rt.skipOld(p)
	}
	imap, smtp := stack.IMAP, stack.Submission
	if tlsMode == "implicit" {
		imap, smtp = stack.IMAPS, stack.Submissions
	}
	text := strings.NewReplacer("{dir}", rt.dir, "{imap}", imap, "{smtp}", smtp, "{tls}", tlsMode, "{ca}", stack.CAFile, "{tsa}", rt.tsaURL).Replace(realConfig)
	for name, content := range map[string]string{"config.yaml": text, "desk.password": realDesk.Password + "\n"} {
		if err := os.WriteFile(filepath.Join(rt.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return rt
}

// skipOld passes over what an earlier town left in a mailbox.
func (rt *realTown) skipOld(p demomail.Person) {
	rt.t.Helper()
	for rt.more(p) {
		rt.fetch(p)
	}
}

// more reports whether there are mails in the INBOX that were not fetched yet.
func (rt *realTown) more(p demomail.Person) bool {
	rt.t.Helper()
	n, err := rt.client(p).Count(rt.t.Context(), "INBOX")
	if err != nil {
		rt.t.Fatal(err)
	}
	return n > rt.fetched[p.Addr]
}

// reconnect forgets a connection that a disaster may have cut.
func (rt *realTown) reconnect(p demomail.Person) { rt.client(p).Close() }

// getsCopiesOnly checks that whatever else came to a person are copies.
func (rt *realTown) getsCopiesOnly(p demomail.Person) {
	rt.t.Helper()
	for rt.more(p) {
		if l, isNew := rt.post.add(rt.t, p.Addr, untraced(rt.fetch(p))); isNew {
			rt.t.Errorf("%s also got the letter %q:\n%s", p.Addr, l.kind, l.Text)
		}
	}
}

func (rt *realTown) fetch(p demomail.Person) []byte {
	rt.t.Helper()
	ctx, cancel := context.WithTimeout(rt.t.Context(), crashPatience)
	defer cancel()
	raw, err := rt.client(p).Next(ctx)
	if err != nil {
		rt.t.Fatal(err)
	}
	rt.fetched[p.Addr]++
	return raw
}

// gets waits for the next letter to a person that is no copy, which must be of that
// kind.
func (rt *realTown) gets(p demomail.Person, kind mailflow.LetterKind) *received {
	rt.t.Helper()
	for {
		raw := rt.fetch(p)
		l, isNew := rt.post.add(rt.t, p.Addr, untraced(raw))
		if !isNew {
			continue
		}
		if l.kind != kind {
			rt.t.Fatalf("%s got the letter %q, want %q:\n%s", p.Addr, l.kind, kind, l.Text)
		}
		return l.received
	}
}

// untraced takes away the fields that mail servers put on top of a mail.
func untraced(raw []byte) []byte {
	for {
		name, _, _ := bytes.Cut(raw, []byte(":"))
		switch string(name) {
		case "Return-Path", "Delivered-To", "Received":
		default:
			return raw
		}
		for more := true; more; more = len(raw) > 0 && (raw[0] == ' ' || raw[0] == '\t') {
			_, raw, _ = bytes.Cut(raw, []byte("\n"))
		}
	}
}

// realContract is a draft of Ann's about a contract that Carla and Dan sign.
func realContract(subject string) outgoing {
	m := contract("Signer: Carla Client <"+realCarla.Addr+">", "Signer: Dan Director <"+realDan.Addr+">")
	m.from, m.to, m.subject = realAnn, realDesk.Addr, subject
	return m
}

var realCast = cast{realAnn, realBen, []demomail.Person{realCarla, realDan}}

// TestRealMail plays contract, notice, rejection and forgeries with Dovecot and
// Postfix.
func TestRealMail(t *testing.T) {
	stack := startStack(t)
	for _, mode := range []string{"starttls", "implicit"} {
		t.Run(mode, func(t *testing.T) {
			rt := newRealTown(t, stack, mode)
			rt.start()
			rt.playContract()
			rt.playNotice()
			rt.playRejection()
			rt.playForgeries()
		})
	}
}

func (rt *realTown) playContract() {
	rt.t.Helper()
	rt.sends(realContract("Contract"))
	rt.answers(realBen, rt.gets(realBen, mailflow.LetterApprove), "APPROVE")
	for _, p := range realCast.signers {
		rt.answers(p, rt.gets(p, mailflow.LetterInvite), "AGREE\r\nName: "+p.Name)
		l := rt.gets(p, mailflow.LetterCode)
		rt.answers(p, l, rt.code(l))
	}
	for _, p := range []demomail.Person{realAnn, realBen, realCarla, realDan} {
		rt.gets(p, mailflow.LetterResult)
	}
	d := awaitState(rt.t, rt.config, "Contract", mailflow.StateCompleted)
	checkContract(rt.t, rt.post.of(d.Ref), realCast)
	for _, p := range d.Parties {
		if p.Role != mailflow.RoleSender && p.Level != mailflow.LevelSubmission {
			rt.t.Errorf("the answer of %s counts by level %q, want I", p.Address, p.Level)
		}
	}
}

func (rt *realTown) playNotice() {
	rt.t.Helper()
	m := realContract("Notice")
	m.to, m.text = "sign+notice@mail.test", "Please seal.\r\n"
	rt.sends(m)
	signed := rt.gets(realAnn, mailflow.LetterResult).pdfs(rt.t)[0]
	judge(rt.t, signedFile{signed: signed, r0: m.files[0].data, signatures: 1})
	awaitState(rt.t, rt.config, "Notice", mailflow.StateCompleted)
}

func (rt *realTown) playRejection() {
	rt.t.Helper()
	rt.sends(realContract("Rejected"))
	rt.answers(realBen, rt.gets(realBen, mailflow.LetterApprove), "APPROVE")
	rt.answers(realCarla, rt.gets(realCarla, mailflow.LetterInvite), "REJECT\r\nNot this year.")
	for _, p := range []demomail.Person{realAnn, realBen, realCarla} {
		if l := rt.gets(p, mailflow.LetterRejected); !strings.Contains(l.Text, "Not this year.") {
			rt.t.Errorf("%s is not told why:\n%s", p.Addr, l.Text)
		}
	}
	awaitState(rt.t, rt.config, "Rejected", mailflow.StateRejected)
}

// forgedTrace is what Postfix writes above a mail of Ben's, and what a border that
// checks DMARC would: here it is written by somebody else.
const forgedTrace = "Authentication-Results: mail.test; dmarc=pass header.from=mail.test\r\n" +
	"Received: from [127.0.0.1] (localhost [127.0.0.1])\r\n\t(Authenticated sender: ben@mail.test)\r\n" +
	"\tby mail.test (Postfix) with ESMTPSA id 4dFmK02Jb1z9sT\r\n\tfor <sign@mail.test>; Mon, 23 Nov 2026 05:00:00 +0000 (UTC)\r\n"

// playForgeries sends Ben's answer, word for word, by everyone but Ben: only Ben's
// own counts, and none of the others is in its way (invariant 9).
func (rt *realTown) playForgeries() {
	rt.t.Helper()
	rt.sends(realContract("Forged"))
	to, raw := reply(realBen, rt.gets(realBen, mailflow.LetterApprove), "APPROVE")
	outside := &demomail.Client{Person: demomail.Person{Addr: realBen.Addr}, SMTP: rt.stack.SMTP}
	forged := append([]byte(forgedTrace), raw...)
	for i, send := range []func() error{
		func() error { return outside.Send(rt.t.Context(), []string{to}, forged) },
		func() error {
			return rt.client(realMallory).Send(rt.t.Context(), []string{to}, renamed(forged, "mallory"))
		},
		func() error { return outside.Send(rt.t.Context(), []string{to}, renamed(raw, "outside")) },
	} {
		if err := send(); err != nil {
			rt.t.Fatal(err)
		}
		rt.awaitUnproven("Forged", i+1)
	}
	rt.gets(realAnn, mailflow.LetterOwner) // once is enough for all
	rt.sendsRaw(realBen, to, raw)
	rt.gets(realCarla, mailflow.LetterInvite)
	rt.forgeDrafts()
}

// renamed gives a mail another Message-ID.
func renamed(raw []byte, prefix string) []byte {
	return bytes.Replace(raw, []byte("Message-ID: <"), []byte("Message-ID: <"+prefix), 1)
}

// awaitUnproven waits until n answers were ignored because their sender is not
// proven; the request must not have moved.
func (rt *realTown) awaitUnproven(subject string, n int) {
	rt.t.Helper()
	unproven := func(a mailflow.AuditEntry) bool { return a.Detail["why"] == "the sender is not proven" }
	rt.eventually(fmt.Sprintf("%d forged answers are ignored", n), func() bool {
		d := awaitState(rt.t, rt.config, subject, mailflow.StateApproving)
		return len(slices.DeleteFunc(d.History, func(a mailflow.AuditEntry) bool { return !unproven(a) })) == n
	})
}

// forgeDrafts sends drafts in Ann's name: nobody may start a request with them.
func (rt *realTown) forgeDrafts() {
	rt.t.Helper()
	before := rt.counter("drafts refused")
	m := realContract("Forged draft")
	forged := bytes.Replace(append([]byte(forgedTrace), m.bytes()...), []byte("ben@"), []byte("ann@"), 1)
	outside := &demomail.Client{Person: demomail.Person{Addr: realAnn.Addr}, SMTP: rt.stack.SMTP}
	if err := outside.Send(rt.t.Context(), []string{realDesk.Addr}, forged); err != nil {
		rt.t.Fatal(err)
	}
	rt.sendsRaw(realMallory, realDesk.Addr, renamed(forged, "mallory"))
	rt.eventually("both forged drafts are refused", func() bool { return rt.counter("drafts refused") == before+2 })
	for _, s := range listed(rt.t, rt.config) {
		if s.Subject == "Forged draft" {
			rt.t.Errorf("a forged draft became the request %s", s.Ref)
		}
	}
}

// A disaster is what befalls the gateway between two steps.
type disaster func()

// TestRealMailKill plays a contract for each disaster, which strikes between any two
// steps: after a letter has reached somebody, and right after it was answered.
func TestRealMailKill(t *testing.T) {
	rt := newRealTown(t, startStack(t), "starttls")
	c := newChild(t, rt.config, rt.dir)
	server := func(which realmail.Server) disaster {
		return func() {
			if err := rt.stack.Kill(which); err != nil {
				t.Fatal(err)
			}
			if err := rt.stack.Restart(t.Context(), which); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.start()
	c.awaitReady()
	for _, tc := range []struct {
		name   string
		strike disaster
	}{{"the daemon", c.restart}, {"Dovecot", server(realmail.Dovecot)}, {"Postfix", server(realmail.Postfix)}} {
		at := time.Now()
		rt.playThroughout("Killing "+tc.name, tc.strike)
		t.Logf("killing %s between any two steps: %v", tc.name, time.Since(at).Round(time.Second))
	}
	letters, copies := rt.post.totals()
	t.Logf("%d letters, %d of them came again", letters, copies-letters)
	c.stop()
	checkOneDocument(t, auditCounts(t, c.state), 3)
}

// playThroughout plays one contract while the disaster strikes again and again.
func (rt *realTown) playThroughout(subject string, strike disaster) {
	rt.t.Helper()
	rt.sends(realContract(subject))
	strike()
	answer := func(p demomail.Person, kind mailflow.LetterKind, typed func(*received) string) {
		rt.t.Helper()
		l := rt.gets(p, kind)
		strike()
		rt.answers(p, l, typed(l))
		strike()
	}
	answer(realBen, mailflow.LetterApprove, approves)
	for _, p := range realCast.signers {
		answer(p, mailflow.LetterInvite, signs(p.Name))
		answer(p, mailflow.LetterCode, signs(p.Name))
	}
	for _, p := range []demomail.Person{realAnn, realBen, realCarla, realDan} {
		rt.gets(p, mailflow.LetterResult)
		strike()
	}
	d := awaitState(rt.t, rt.config, subject, mailflow.StateCompleted)
	for _, p := range []demomail.Person{realAnn, realBen, realCarla, realDan} {
		rt.reconnect(p)
		rt.getsCopiesOnly(p)
	}
	checkContract(rt.t, rt.post.of(d.Ref), realCast)
}
