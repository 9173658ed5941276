package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/demomail"
	"countersign/signing/demopki"
)

// The tests of this file run the whole gateway over real IMAP and SMTP. Each bad
// input of docs/bad-input.md has its test here, by the same name.

func TestContractFlow(t *testing.T) {
	tn := newTown(t)
	tn.start()
	tn.sends(contract(carlaSigns, danSigns))
	seen := tn.gets(ben, mailflow.LetterApprove)
	r0 := seen.pdfs(t)[0]
	tn.answers(ben, seen, "APPROVE")
	for _, p := range []demomail.Person{carla, dan} {
		invite := tn.gets(p, mailflow.LetterInvite)
		if !bytes.Equal(invite.pdfs(t)[0], r0) {
			t.Error("the signer sees another file than the approver")
		}
		tn.answers(p, invite, "AGREE\r\nName: Dr "+p.Name)
		l := tn.gets(p, mailflow.LetterCode)
		tn.answers(p, l, tn.code(l))
	}
	var signed []byte
	for _, p := range []demomail.Person{ann, ben, carla, dan} {
		result := tn.gets(p, mailflow.LetterResult)
		docs := result.pdfs(t)
		if signed == nil {
			signed = docs[0]
			if text := strings.Join(strings.Fields(result.Text), " "); !strings.Contains(text, "a timestamp over it whose certificate ends on 20") {
				t.Errorf("the result does not tell how long it lasts:\n%s", result.Text)
			}
			tn.judge(signed, r0, 3)
		}
		if !bytes.Equal(docs[0], signed) {
			t.Errorf("%s got another file", p.Addr)
		}
	}
	if !bytes.Contains(signed, []byte("/P 2")) || !bytes.Contains(signed, []byte("/DocMDP")) {
		t.Error("the seal does not certify with P=2")
	}
	if bytes.Count(signed, []byte("/FieldMDP")) != 3 || !bytes.Contains(signed, []byte("/Fields [(DocTimeStamp) (DocTimeStamp_2) (Seal) (Signature1) (Signature2)]")) {
		t.Error("the signatures do not lock their own fields, the last one all")
	}
	r := tn.reaches(mailflow.StateCompleted)
	if show := tn.command(exitYes, "request", "show", "--config", tn.config, r.Ref); !strings.Contains(show, "Lasts:    level B-LTA; run countersign extend on it before 20") {
		t.Errorf("request show does not tell how long the result lasts:\n%s", show)
	}
}

// TestNotice: no PDF people: sealed and delivered at once.
func TestNotice(t *testing.T) {
	tn := newTown(t)
	tn.start()
	m := contract()
	m.to = "sign+notice@" + demoDomain
	tn.sends(m)
	docs := tn.gets(ann, mailflow.LetterResult).pdfs(t)
	tn.judge(docs[0], m.files[0].data, 1)
}

func TestRejected(t *testing.T) {
	tn := newTown(t)
	tn.start()
	tn.sends(contract(carlaSigns))
	tn.answers(ben, tn.gets(ben, mailflow.LetterApprove), "REJECT\r\nClause 4 is wrong.")
	for _, p := range []demomail.Person{ann, ben} {
		if l := tn.gets(p, mailflow.LetterRejected); !strings.Contains(l.Text, "Clause 4 is wrong.") {
			t.Errorf("%s is not told why:\n%s", p.Addr, l.Text)
		}
	}
	s := tn.reaches(mailflow.StateRejected)
	if got := fmt.Sprint(tn.kinds(s.ID)); strings.Contains(got, carla.Addr) {
		t.Errorf("somebody who was never asked got a letter: %s", got)
	}
}

func TestSignerRejects(t *testing.T) {
	tn := newTown(t)
	tn.start()
	tn.sends(contract(carlaSigns, danSigns))
	tn.answers(ben, tn.gets(ben, mailflow.LetterApprove), "APPROVE")
	tn.answers(carla, tn.gets(carla, mailflow.LetterInvite), "REJECT\r\nNot this year.")
	for _, p := range []demomail.Person{ann, ben, carla} {
		tn.gets(p, mailflow.LetterRejected)
	}
	tn.reaches(mailflow.StateRejected)
}

// TestNoPDF: the draft has no PDF attached, and then nobody to sign: one letter asks
// for both, and the answer continues the same request.
func TestNoPDF(t *testing.T) {
	tn := newTown(t)
	tn.start()
	m := contract()
	m.files = nil
	tn.sends(m)
	ask := tn.gets(ann, mailflow.LetterAsk)
	for _, want := range []string{"PDF", "Signer:"} {
		if !strings.Contains(ask.Text, want) {
			t.Errorf("the letter does not ask for %q:\n%s", want, ask.Text)
		}
	}
	to, _ := reply(ann, ask, "")
	again := contract(carlaSigns)
	again.to, again.inReplyTo = to, ask.MessageID
	tn.sends(again)
	tn.gets(ben, mailflow.LetterApprove)
	tn.reaches(mailflow.StateApproving)
}

// TestSeveralPDFs: one request, several documents, one APPROVE, one code.
func TestSeveralPDFs(t *testing.T) {
	tn := newTown(t)
	tn.start()
	m := contract(carlaSigns)
	m.files = append(m.files, attached{"annex.pdf", samplePDF("Annex")})
	tn.sends(m)
	seen := tn.gets(ben, mailflow.LetterApprove)
	previews := seen.pdfs(t)
	if len(previews) != 2 {
		t.Fatalf("the approver sees %d documents", len(previews))
	}
	tn.answers(ben, seen, "APPROVE")
	tn.answers(carla, tn.gets(carla, mailflow.LetterInvite), "AGREE")
	l := tn.gets(carla, mailflow.LetterCode)
	tn.answers(carla, l, tn.code(l))
	docs := tn.gets(ann, mailflow.LetterResult).pdfs(t)
	if len(docs) != 2 {
		t.Fatalf("%d signed documents", len(docs))
	}
	for i := range docs {
		tn.judge(docs[i], previews[i], 2)
	}
	tn.reaches(mailflow.StateCompleted)
}

func TestUnusablePDF(t *testing.T) {
	encrypted := filepath.Join(t.TempDir(), "encrypted.pdf")
	plain := filepath.Join(t.TempDir(), "plain.pdf")
	if err := os.WriteFile(plain, samplePDF("Secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "qpdf", "--encrypt", "user", "owner", "256", "--", plain, encrypted).CombinedOutput(); err != nil {
		t.Fatalf("qpdf (missing? make deps): %v\n%s", err, out)
	}
	locked, err := os.ReadFile(encrypted)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"encrypted", locked, "encrypted"},
		{"broken", append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte("garbage "), 50)...), "contract.pdf"},
		{"too large", append(samplePDF("Large"), bytes.Repeat([]byte("% padding\n"), 110_000)...), "1.0 MB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tn := newTown(t)
			tn.configure("rules:\n", "limits: {pdf: 1MB}\nrules:\n")
			tn.start()
			m := contract(carlaSigns)
			m.files[0].data = tc.data
			tn.sends(m)
			ask := tn.gets(ann, mailflow.LetterAsk)
			if !strings.Contains(ask.Text, tc.want) || strings.Contains(ask.Text, "no PDF document") {
				t.Errorf("the letter does not say %q:\n%s", tc.want, ask.Text)
			}
			to, _ := reply(ann, ask, "")
			again := contract()
			again.to, again.inReplyTo = to, ask.MessageID
			tn.sends(again) // a better file: the signer named before still stands
			tn.gets(ben, mailflow.LetterApprove)
			tn.reaches(mailflow.StateApproving)
		})
	}
}

// TestTooLargeMail: the mail itself is above the limit and is never fetched whole.
func TestTooLargeMail(t *testing.T) {
	tn := newTown(t)
	tn.configure("rules:\n", "limits: {pdf: 100KB, mail: 200KB}\nrules:\n")
	tn.start()
	m := contract(carlaSigns)
	m.files[0].data = append(samplePDF("Large"), bytes.Repeat([]byte("% padding\n"), 40_000)...)
	tn.sends(m)
	if ask := tn.gets(ann, mailflow.LetterAsk); !strings.Contains(ask.Text, "200 KB") {
		t.Errorf("the letter does not tell the limit:\n%s", ask.Text)
	}
}

// TestUnknownSender: an own, proven sender whom no rule admits is told once a day;
// strangers get nothing; both are counted.
func TestUnknownSender(t *testing.T) {
	tn := newTown(t)
	tn.configure(`match: {from: ["@demo.example"]}`, `match: {from: ["ann@demo.example"]}`)
	tn.start()
	m := contract(carlaSigns)
	m.from = ben
	tn.sends(m)
	tn.gets(ben, mailflow.LetterRefused)
	m.id = "" // another mail, the same day
	tn.sends(m)
	m.from, m.id = carla, ""
	tn.sends(m)
	tn.eventually("three drafts are refused", func() bool { return tn.counter("drafts refused") == 3 })
	if n := len(tn.requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	for _, msg := range tn.mail.Accepted() {
		if msg.Login == signAddress && msg.To[0] == carla.Addr {
			t.Error("a stranger was answered")
		}
	}
	if n := tn.lettersTo(ben); n != 1 {
		t.Errorf("the own sender got %d letters", n)
	}
	// Nothing of it stays on our disk.
	tn.eventually("the refused mails are gone", func() bool { return tn.blobs() == 0 })
}

// blobs counts the stored files.
func (tn *town) blobs() int {
	tn.t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(tn.dir, "state", blobsDir), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		tn.t.Fatal(err)
	}
	return n
}

// TestReplyToDraft: a colleague who answers Ann's draft to all begins no request; Ann
// herself may answer her own draft with a new document.
func TestReplyToDraft(t *testing.T) {
	tn := newTown(t)
	tn.start()
	m := contract(carlaSigns)
	raw := m.bytes()
	tn.sendsRaw(ann, signAddress, raw)
	tn.gets(ben, mailflow.LetterApprove)
	talk := outgoing{from: ben, to: signAddress, subject: "Re: " + m.subject, text: "Looks good!\r\n", inReplyTo: m.id}
	tn.sends(talk)
	tn.eventually("it is ignored", func() bool { return tn.counter("mails ignored: other") == 1 })
	again := contract(danSigns)
	again.inReplyTo = m.id
	tn.sends(again)
	tn.gets(ben, mailflow.LetterApprove)
	if n := len(tn.requests()); n != 2 || tn.lettersTo(ann) != 0 {
		t.Errorf("%d requests, %d letters to Ann", n, tn.lettersTo(ann))
	}
}

// lettersTo counts the letters that left for a person.
func (tn *town) lettersTo(p demomail.Person) int {
	n := 0
	for _, m := range tn.mail.Accepted() {
		if m.Login == signAddress && m.To[0] == p.Addr {
			n++
		}
	}
	return n
}

// TestForgedDraft: a mail that only claims to be Ann's starts nothing.
func TestForgedDraft(t *testing.T) {
	tn := newTown(t)
	tn.start()
	m := contract(carlaSigns)
	raw := m.bytes()
	outside := &demomail.Client{Person: demomail.Person{Addr: ann.Addr}, SMTP: tn.mail.SMTPAddr()}
	if err := outside.Send(t.Context(), []string{signAddress}, raw); err != nil {
		t.Fatal(err)
	}
	// Logged in as somebody else, with Ann in From.
	m.id = ""
	tn.sendsRaw(carla, signAddress, m.bytes())
	tn.eventually("both are refused", func() bool { return tn.counter("drafts refused") == 2 })
	if n := len(tn.requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	if tn.lettersTo(ann) != 0 {
		t.Error("the forged sender was answered")
	}
}

// atCode brings a contract to the point where Carla has a code.
func (tn *town) atCode() (*received, string) {
	tn.t.Helper()
	tn.start()
	tn.sends(contract(carlaSigns))
	tn.answers(ben, tn.gets(ben, mailflow.LetterApprove), "APPROVE")
	tn.answers(carla, tn.gets(carla, mailflow.LetterInvite), "AGREE")
	l := tn.gets(carla, mailflow.LetterCode)
	return l, tn.code(l)
}

func wrongCode(code string) string {
	last := code[len(code)-1]
	return code[:len(code)-1] + string('0'+(last-'0'+1)%10)
}

func TestWrongCodes(t *testing.T) {
	tn := newTown(t)
	l, code := tn.atCode()
	for left := 4; left >= 0; left-- {
		tn.answers(carla, l, wrongCode(code))
		if n := tn.gets(carla, mailflow.LetterNote); left > 0 && !strings.Contains(n.Text, fmt.Sprint(left)) {
			t.Errorf("the letter does not tell that %d tries are left:\n%s", left, n.Text)
		}
	}
	tn.answers(carla, l, code) // right, but void now
	n := tn.gets(carla, mailflow.LetterNote)
	tn.answers(carla, n, "AGREE")
	next := tn.gets(carla, mailflow.LetterCode)
	if tn.code(next) == code {
		t.Error("the second code is the first")
	}
	tn.answers(carla, next, tn.code(next))
	tn.gets(carla, mailflow.LetterResult)
	tn.reaches(mailflow.StateCompleted)
	// The code again, after all is done.
	tn.answers(carla, next, tn.code(next))
	if n := tn.gets(carla, mailflow.LetterNote); !strings.Contains(n.Text, "code") {
		t.Errorf("a used code is answered by\n%s", n.Text)
	}
}

func TestLockedSigner(t *testing.T) {
	tn := newTown(t)
	l, _ := tn.atCode()
	for range 2 {
		tn.answers(carla, l, "AGREE")
		tn.gets(carla, mailflow.LetterCode)
	}
	tn.answers(carla, l, "AGREE")
	tn.gets(carla, mailflow.LetterLocked)
	if o := tn.gets(ann, mailflow.LetterOwner); !strings.Contains(o.Text, carla.Addr) {
		t.Errorf("the owner is told\n%s", o.Text)
	}
	tn.reaches(mailflow.StateSigning)
}

// TestCodeLetterTellsExpiry: what an expired code does is tested in the core and in
// the engine, where the clock is an argument; here the letter must tell the time.
func TestCodeLetterTellsExpiry(t *testing.T) {
	tn := newTown(t)
	l, _ := tn.atCode()
	if !strings.Contains(l.Text, time.Now().UTC().Format("2006-01-02")) {
		t.Errorf("the letter does not tell until when the code works:\n%s", l.Text)
	}
	if len(l.pdfs(t)) != 0 {
		t.Error("a code letter carries a document")
	}
}

// TestWrongPerson: the right answer from the wrong person, by a forwarded token.
func TestWrongPerson(t *testing.T) {
	tn := newTown(t)
	tn.start()
	tn.sends(contract(carlaSigns))
	l := tn.gets(ben, mailflow.LetterApprove)
	tn.answers(carla, l, "APPROVE") // Ben forwarded his letter
	note := tn.gets(carla, mailflow.LetterNote)
	if len(note.ReplyTo) > 0 && strings.Contains(note.ReplyTo[0].Addr, "+") {
		t.Error("a stranger got a token")
	}
	tn.gets(ann, mailflow.LetterOwner)
	s := tn.reaches(mailflow.StateApproving)
	// A forged From: not even Ben's own address helps.
	to, raw := reply(ben, l, "APPROVE")
	tn.sendsRaw(carla, to, raw)
	tn.gets(ann, mailflow.LetterOwner)
	if got := tn.requests()[0]; got.State != mailflow.StateApproving || got.ID != s.ID {
		t.Errorf("the request is %s", got.State)
	}
	tn.answers(ben, l, "APPROVE")
	tn.gets(carla, mailflow.LetterInvite)
}

// TestAutoReply: an out-of-office answer that quotes everything is neither obeyed
// nor answered.
func TestAutoReply(t *testing.T) {
	tn := newTown(t)
	tn.start()
	tn.sends(contract(carlaSigns))
	l := tn.gets(ben, mailflow.LetterApprove)
	to, raw := reply(ben, l, "APPROVE")
	raw = bytes.Replace(raw, []byte("MIME-Version:"), []byte("Auto-Submitted: auto-replied\r\nMIME-Version:"), 1)
	tn.sendsRaw(ben, to, raw)
	tn.eventually("it is ignored", func() bool { return tn.counter("mails ignored: automatic") == 1 })
	tn.reaches(mailflow.StateApproving)
	if n := tn.lettersTo(ben); n != 1 {
		t.Errorf("%d letters to Ben", n)
	}
}

// TestSameMailTwice: however often a mail is delivered, it counts once.
func TestSameMailTwice(t *testing.T) {
	tn := newTown(t)
	tn.start()
	raw := contract(carlaSigns)
	bytes := raw.bytes()
	for range 3 {
		tn.sendsRaw(ann, signAddress, bytes)
	}
	l := tn.gets(ben, mailflow.LetterApprove)
	to, answer := reply(ben, l, "APPROVE")
	for range 3 {
		tn.sendsRaw(ben, to, answer)
	}
	tn.gets(carla, mailflow.LetterInvite)
	s := tn.reaches(mailflow.StateSigning)
	marker := contract()
	marker.to = "sign+notice@" + demoDomain
	tn.sends(marker) // once this is through, all before it is
	tn.gets(ann, mailflow.LetterResult)
	if got := fmt.Sprint(tn.kinds(s.ID)); got != "[approve to ben@demo.example invite to carla@partner.example]" {
		t.Errorf("letters: %s", got)
	}
	if n := len(tn.requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// TestUnreadableMail: a mail beyond the limits is set aside and blocks nothing.
func TestUnreadableMail(t *testing.T) {
	tn := newTown(t)
	tn.start()
	m := contract(carlaSigns)
	raw := append([]byte("X-Padding: "+strings.Repeat(strings.Repeat("x", 900)+"\r\n ", 400)+"\r\n"), m.bytes()...)
	tn.sendsRaw(ann, signAddress, raw)
	tn.sends(contract(carlaSigns))
	tn.gets(ben, mailflow.LetterApprove)
	if n := tn.counter("mails set aside"); n != 1 {
		t.Errorf("%d mails set aside", n)
	}
	tn.eventually("it lies in the folder Failed", func() bool { return tn.mailsIn("Failed") == 1 })
}

// mailsIn counts the mails in a folder of the signing mailbox.
func (tn *town) mailsIn(folder string) int {
	tn.t.Helper()
	c := tn.world.client(desk)
	defer c.Close()
	n, err := c.Count(tn.t.Context(), folder)
	if err != nil {
		tn.t.Fatal(err)
	}
	return n
}

// TestServersDown: IMAP and SMTP are down at the start and go down in the middle.
func TestServersDown(t *testing.T) {
	tn := newTown(t)
	tn.down(demomail.IMAP)
	tn.start()
	time.Sleep(100 * time.Millisecond) // the daemon tries in vain
	tn.up(demomail.IMAP)
	tn.sends(contract(carlaSigns))
	l := tn.gets(ben, mailflow.LetterApprove)
	to, raw := reply(ben, l, "APPROVE")
	tn.sendsRaw(ben, to, raw)
	tn.reaches(mailflow.StateSigning)
	tn.gets(carla, mailflow.LetterInvite)

	m := contract(danSigns)
	m.subject = "Second"
	tn.sends(m)
	l = tn.gets(ben, mailflow.LetterApprove)
	to, raw = reply(ben, l, "APPROVE")
	tn.sendsRaw(ben, to, raw)
	tn.down(demomail.SMTP)
	tn.down(demomail.IMAP)
	time.Sleep(100 * time.Millisecond)
	tn.up(demomail.IMAP)
	tn.eventually("a letter waits for the relay, or left before", func() bool {
		for _, s := range tn.requests() {
			if s.Subject == "Second" && s.State == mailflow.StateSigning {
				return true
			}
		}
		return false
	})
	tn.up(demomail.SMTP)
	tn.gets(dan, mailflow.LetterInvite)
}

func (tn *town) down(s demomail.Service) {
	tn.t.Helper()
	if err := tn.mail.Down(s); err != nil {
		tn.t.Fatal(err)
	}
}

func (tn *town) up(s demomail.Service) {
	tn.t.Helper()
	if err := tn.mail.Up(s); err != nil {
		tn.t.Fatal(err)
	}
}

// TestTSADown: the request waits, request show says why, and it goes on by itself.
func TestTSADown(t *testing.T) {
	tn := newTown(t)
	tn.tsa.SetMode(demopki.Down)
	tn.start()
	m := contract()
	m.to = "sign+notice@" + demoDomain
	tn.sends(m)
	var out, errOut bytes.Buffer
	tn.eventually("request show says so", func() bool {
		list := tn.requests()
		if len(list) != 1 {
			return false
		}
		out.Reset()
		if code := run([]string{"request", "show", "--config", tn.config, list[0].Ref}, &out, &errOut); code != exitYes {
			t.Fatalf("exit %d: %s", code, errOut.String())
		}
		return strings.Contains(out.String(), "waiting for a time-stamping authority") && strings.Contains(out.String(), tn.tsaURL)
	})
	if tn.requests()[0].State != mailflow.StateSealing {
		t.Errorf("the request is %s", tn.requests()[0].State)
	}
	tn.tsa.SetMode(demopki.Honest)
	tn.gets(ann, mailflow.LetterResult)
}

// TestLyingTSA: a timestamp that proves nothing is never released.
func TestLyingTSA(t *testing.T) {
	tn := newTown(t)
	tn.tsa.SetMode(demopki.WrongImprint)
	tn.start()
	m := contract()
	m.to = "sign+notice@" + demoDomain
	tn.sends(m)
	tn.eventually("the request waits", func() bool {
		list := tn.requests()
		return len(list) == 1 && strings.Contains(list[0].Waits, "time-stamping authority")
	})
	tn.tsa.SetMode(demopki.Honest)
	tn.gets(ann, mailflow.LetterResult)
}

// TestRestartInTheMiddle: the daemon is stopped between any two steps.
func TestRestartInTheMiddle(t *testing.T) {
	tn := newTown(t)
	restart := func() { tn.halt(); tn.start() }
	tn.start()
	tn.sends(contract(carlaSigns))
	l := tn.gets(ben, mailflow.LetterApprove)
	restart()
	tn.answers(ben, l, "APPROVE")
	l = tn.gets(carla, mailflow.LetterInvite)
	restart()
	tn.answers(carla, l, "AGREE")
	l = tn.gets(carla, mailflow.LetterCode)
	restart()
	tn.answers(carla, l, tn.code(l))
	for _, p := range []demomail.Person{ann, ben, carla} {
		tn.gets(p, mailflow.LetterResult)
	}
	restart()
	tn.reaches(mailflow.StateCompleted)
}

// TestFailingAddress: a letter that the relay refuses for good is told to the sender.
func TestFailingAddress(t *testing.T) {
	tn := newTown(t)
	tn.start()
	tn.sends(contract("Signer: Nobody <reject@partner.example>"))
	tn.answers(ben, tn.gets(ben, mailflow.LetterApprove), "APPROVE")
	if l := tn.gets(ann, mailflow.LetterUndeliverable); !strings.Contains(l.Text, "reject@partner.example") {
		t.Errorf("the sender is told\n%s", l.Text)
	}
}

// TestCancel: an administrator ends a request; everyone concerned is told.
func TestCancel(t *testing.T) {
	tn := newTown(t)
	tn.start()
	tn.sends(contract(carlaSigns))
	tn.gets(ben, mailflow.LetterApprove)
	s := tn.reaches(mailflow.StateApproving)
	var out, errOut bytes.Buffer
	if code := run([]string{"request", "cancel", "--config", tn.config, "--reason", "sent by mistake", s.Ref}, &out, &errOut); code != exitYes {
		t.Fatalf("exit %d: %s", code, errOut.String())
	}
	for _, p := range []demomail.Person{ann, ben} {
		if l := tn.gets(p, mailflow.LetterCancelled); !strings.Contains(l.Text, "sent by mistake") {
			t.Errorf("%s is not told why:\n%s", p.Addr, l.Text)
		}
	}
	if code := run([]string{"request", "cancel", "--config", tn.config, s.Ref}, &out, &errOut); code != exitNo {
		t.Errorf("cancelling twice: exit %d", code)
	}
	if code := run([]string{"request", "show", "--config", tn.config, "NOSUCH"}, &out, &errOut); code != exitNo {
		t.Errorf("showing what is not there: exit %d", code)
	}
}

// TestCcSigners: with signers: cc the outsiders in Cc sign, in order; a draft without
// any is asked for them, and the Cc of the answer counts.
func TestCcSigners(t *testing.T) {
	tn := newTown(t)
	tn.configure("signers: draft\n    open: {viewer: [\"*\"]}", "signers: cc")
	tn.start()
	m := contract()
	m.cc = ben.Addr // one of the own people: no signer
	tn.sends(m)
	ask := tn.gets(ann, mailflow.LetterAsk)
	to, _ := reply(ann, ask, "")
	again := outgoing{
		from: ann, to: to, subject: "Re: " + ask.Subject, text: "Sorry, here they are.\r\n", inReplyTo: ask.MessageID,
		cc: carla.Addr + ", " + dan.Addr,
	}
	tn.sends(again)
	tn.answers(ben, tn.gets(ben, mailflow.LetterApprove), "APPROVE")
	tn.gets(carla, mailflow.LetterInvite)
	s := tn.reaches(mailflow.StateSigning)
	if got := fmt.Sprint(tn.kinds(s.ID)); strings.Contains(got, dan.Addr) {
		t.Errorf("the second signer was invited before the first signed: %s", got)
	}
}

// TestContradictoryLines: one letter tells everything that is wrong; what was in order
// need not be sent again.
func TestContradictoryLines(t *testing.T) {
	tn := newTown(t)
	tn.configure(`open: {viewer: ["*"]}`, `open: {signer: ["@partner.example"]}`)
	tn.start()
	tn.sends(contract(carlaSigns, "Signer: Mal <mal@evil.example>", "Signer: nobody", "Viewer: vera@partner.example"))
	ask := tn.gets(ann, mailflow.LetterAsk)
	for _, want := range []string{"mal@evil.example", "Signer: nobody", "vera@partner.example"} {
		if !strings.Contains(ask.Text, want) {
			t.Errorf("the letter does not tell of %q:\n%s", want, ask.Text)
		}
	}
	tn.answers(ann, ask, danSigns)
	tn.answers(ben, tn.gets(ben, mailflow.LetterApprove), "APPROVE")
	tn.gets(carla, mailflow.LetterInvite)
	s := tn.reaches(mailflow.StateSigning)
	d, err := tn.daemon.engine.Show(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	var signers []string
	for _, p := range d.Parties {
		if p.Role == mailflow.RoleSigner {
			signers = append(signers, p.Address)
		}
	}
	if got := fmt.Sprint(signers); got != "[Carla Client <carla@partner.example> Dan Director <dan@partner.example>]" {
		t.Errorf("signers: %s", got)
	}
}

// TestAnswerToOwnDraft: a sender who completes a draft by answering the mail in the own
// Sent folder, instead of our question, is understood.
func TestAnswerToOwnDraft(t *testing.T) {
	tn := newTown(t)
	tn.start()
	m := contract()
	raw := m.bytes()
	tn.sendsRaw(ann, signAddress, raw)
	tn.gets(ann, mailflow.LetterAsk)
	tn.sends(outgoing{from: ann, to: signAddress, subject: "Re: " + m.subject, text: carlaSigns + "\r\n", inReplyTo: m.id})
	tn.gets(ben, mailflow.LetterApprove)
	tn.reaches(mailflow.StateApproving)
}

// TestThanks: an answer to a letter that asks for nothing begins no request.
func TestThanks(t *testing.T) {
	tn := newTown(t)
	tn.start()
	m := contract()
	m.to = "sign+notice@" + demoDomain
	tn.sends(m)
	result := tn.gets(ann, mailflow.LetterResult)
	tn.sends(outgoing{from: ann, to: signAddress, subject: "Re: " + result.Subject, text: "Thanks!\r\n", inReplyTo: result.MessageID})
	tn.eventually("it is ignored", func() bool { return tn.counter("mails ignored: other") == 1 })
	if n := len(tn.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestTooLargeMailInThread: a mail of which only the header was fetched is no talk, as
// nobody knows what it brings.
func TestTooLargeMailInThread(t *testing.T) {
	tn := newTown(t)
	tn.configure("rules:\n", "limits: {pdf: 100KB, mail: 200KB}\nrules:\n")
	tn.start()
	m := contract(carlaSigns)
	tn.sendsRaw(ann, signAddress, m.bytes())
	tn.gets(ben, mailflow.LetterApprove)
	large := contract(carlaSigns)
	large.inReplyTo = m.id
	large.files[0].data = append(samplePDF("Large"), bytes.Repeat([]byte("% padding\n"), 40_000)...)
	tn.sends(large)
	if ask := tn.gets(ann, mailflow.LetterAsk); !strings.Contains(ask.Text, "200 KB") {
		t.Errorf("the letter does not tell the limit:\n%s", ask.Text)
	}
}
