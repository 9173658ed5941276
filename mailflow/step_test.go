package mailflow

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func testSecrets(t *testing.T) *Secrets {
	t.Helper()
	s, err := NewSecrets(make([]byte, SecretSize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func blob(s string) Blob {
	h := sha256.Sum256([]byte(s))
	return Blob(hex.EncodeToString(h[:]))
}

// A world drives Step as the engine does, and checks every decision.
type world struct {
	t       *testing.T
	secrets *Secrets
	now     time.Time
	n       int
	level   string // of the drafts; empty: B-T
	r       Request
	outbox  map[string]Effect
	log     []string
	results map[AttemptRef]Blob
}

func newWorld(t *testing.T) *world {
	return &world{t: t, secrets: testSecrets(t), now: start, outbox: map[string]Effect{}, results: map[AttemptRef]Blob{}}
}

func (w *world) step(body EventBody) Decision {
	w.t.Helper()
	w.n++
	ev := Event{Body: body, Random: sha256.Sum256(fmt.Append(nil, w.n))}
	before, _ := json.Marshal(w.r)
	d, err := Step(w.r, ev, w.now)
	if err != nil {
		w.t.Fatalf("step %T: %v\n%s", body, err, strings.Join(w.log, "\n"))
	}
	if after, _ := json.Marshal(w.r); string(after) != string(before) {
		w.t.Fatalf("step %T changed the request it was given", body)
	}
	if again, _ := Step(w.r, ev, w.now); !reflect.DeepEqual(again, d) {
		w.t.Fatalf("step %T decides differently the second time", body)
	}
	w.log = append(w.log, fmt.Sprintf("%s %s: %T %+v -> %s", w.now.Format(time.RFC3339), w.r.State, body, body, d.Next.State))
	w.check(body, d)
	for _, key := range d.Drop {
		delete(w.outbox, key)
	}
	for _, ef := range d.Effects {
		if _, ok := w.outbox[ef.Key]; ok {
			w.fail("effect %s is in the outbox already", ef.Key)
		}
		w.outbox[ef.Key] = ef
	}
	w.r = d.Next
	w.r.Version++
	return d
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf(format+"\n"+strings.Join(w.log, "\n"), args...)
}

// check holds the invariants that one decision can break.
func (w *world) check(body EventBody, d Decision) {
	w.t.Helper()
	prev, next := w.r, d.Next
	if prev.State.Terminal() && next.State != prev.State {
		w.fail("invariant 10: %s became %s by %T", prev.State, next.State, body)
	}
	if prev.H != "" && next.H != prev.H {
		w.fail("invariant 4: H changed")
	}
	if len(d.Audit) == 0 {
		w.fail("%T left no trace in the audit log", body)
	}
	for _, doc := range next.Documents {
		for _, a := range doc.Signatures {
			w.checkAttempt(&next, a)
		}
		w.checkEvidence(&next, doc)
	}
	for i := range next.Parties {
		w.checkParty(&prev, &next, &next.Parties[i])
	}
	if next.State == StateCompleted {
		for _, l := range next.Deliveries {
			if l.Kind == LetterResult && l.State != DeliverySent && l.State != DeliveryRefused {
				w.fail("invariant 5: completed with the result to %s %s", l.To, l.State)
			}
		}
	}
}

// checkAttempt holds invariant 3: a signature needs all consent before it.
func (w *world) checkAttempt(r *Request, a Attempt) {
	w.t.Helper()
	for _, p := range r.With(RoleApprover) {
		if p.State != PartyApproved || p.Answer == nil {
			w.fail("invariant 3: slot %s is signed for while %s is %s", a.Slot, p.ID, p.State)
		}
	}
	if a.Slot == SealSlot {
		return
	}
	signer := r.Party(a.Slot)
	if signer.Answer == nil || !slices.ContainsFunc(signer.Challenges, func(c Challenge) bool { return c.Used }) {
		w.fail("invariant 3: %s signs without a code", a.Slot)
	}
	for _, p := range r.With(RoleSigner) {
		if p.Order < signer.Order && p.State != PartySigned {
			w.fail("invariant 3: %s signs before %s", a.Slot, p.ID)
		}
	}
}

// checkEvidence: at the levels that last, no revision stands on one that is not proved, and
// nothing leaves without all evidence in it.
func (w *world) checkEvidence(r *Request, doc Document) {
	w.t.Helper()
	if !r.Terms.Lasting() {
		return
	}
	for _, a := range doc.Signatures {
		if a.Stage == StageDone && a.Evidence == "" {
			w.fail("slot %s is done without evidence", a.Slot)
		}
		if doc.Revision != "" && (doc.Revision == a.Result || a.Stage != StageDone && doc.Revision == a.Lasting) {
			w.fail("slot %s does not last, and its result is the revision", a.Slot)
		}
	}
}

func (w *world) checkParty(prev, next *Request, p *Party) {
	w.t.Helper()
	if len(p.Challenges) > next.Terms.Codes {
		w.fail("invariant 7: %d codes for %s", len(p.Challenges), p.ID)
	}
	used := 0
	for _, c := range p.Challenges {
		if c.Wrong > next.Terms.CodeTries {
			w.fail("invariant 7: %d wrong tries", c.Wrong)
		}
		if c.Used {
			used++
			if old := prev.Party(p.ID); !slices.ContainsFunc(old.Challenges, func(o Challenge) bool { return o.N == c.N && o.Used }) &&
				!w.now.Before(c.Expires) {
				w.fail("invariant 8: a code was accepted after its time")
			}
		}
	}
	if used > 1 {
		w.fail("invariant 8: two codes of one party used")
	}
}

func terms() Terms {
	return Terms{
		Rule: "contracts", RuleHash: "abc", Organisation: "Example", AnswerLevels: []Level{LevelResults, LevelSubmission},
		Seal: "seal", Level: "B-T", CodeDigits: 8, CodeTries: 5, CodeLife: 30 * time.Minute, Codes: 3, Expires: 30 * 24 * time.Hour,
	}
}

func person(role Role, order int, name string) Party {
	return Party{Role: role, Order: order, Address: Address{Name: name, Addr: strings.ToLower(name) + "@demo.example"}}
}

func (w *world) mail(from string) Mail {
	w.n++
	return Mail{
		Blob: blob(fmt.Sprint("mail", w.n)), MessageID: fmt.Sprintf("m%d@demo.example", w.n),
		From: Address{Addr: from}, Level: LevelResults, Subject: "Contract", Received: w.now,
	}
}

func (w *world) draft(parties ...Party) {
	w.t.Helper()
	w.step(DraftReceived{
		Mail: w.mail("ann@demo.example"), Mailbox: "contracts", Address: "sign@demo.example",
		Documents: []Document{{Name: "contract.pdf", Original: blob("draft"), Size: 100}, {Name: "annex.pdf", Original: blob("annex"), Size: 50}},
		Plan:      Plan{Terms: w.terms(), Parties: parties},
	})
}

// terms are those of the world's level.
func (w *world) terms() Terms {
	t := terms()
	if w.level != "" {
		t.Level = w.level
	}
	return t
}

// answer sends an answer of a party, with the code of its newest challenge when
// the command is a code.
func (w *world) answer(party string, cmd Command, mutate func(*AnswerReceived)) Decision {
	w.t.Helper()
	p := w.r.Party(party)
	ev := AnswerReceived{Mail: w.mail(p.Address.Addr), Party: party, Command: cmd, Word: string(cmd)}
	if cmd == CommandCode {
		ev.CodeFor = len(p.Challenges)
	}
	if mutate != nil {
		mutate(&ev)
	}
	return w.step(ev)
}

// outcome gives the event that running an effect leads to.
func (w *world) outcome(ef Effect) EventBody {
	switch ef.Kind {
	case EffectPrepare:
		docs := slices.Clone(w.r.Documents)
		for i := range docs {
			docs[i].R0, docs[i].R0Size = blob("r0"+docs[i].Name), docs[i].Size+10
		}
		return Prepared{Documents: docs}
	case EffectLetter:
		if Moot(w.r, *ef.Letter, w.now) {
			return LetterMoot{Key: ef.Key}
		}
		return RelayAccepted{Key: ef.Key, Text: "250 ok"}
	case EffectIntent:
		return IntentMade{
			Ref: ef.Attempt, Base: w.r.Documents[ef.Attempt.Document].Revision, H: w.r.H,
			Intent: []byte(ef.Key), Serial: ef.Key, OneUse: ef.Attempt.Slot != SealSlot,
		}
	case EffectSign:
		return SignatureMade{Ref: ef.Attempt, Signature: []byte(ef.Key)}
	case EffectTimestamp:
		return Stamped{Ref: ef.Attempt, Result: blob(ef.Key), Size: 1, Time: w.now}
	case EffectEvidence:
		return Proved{Ref: ef.Attempt, Evidence: blob("evidence" + ef.Key), Result: blob(ef.Key), Size: 2, Lasts: w.now.AddDate(1, 0, 0)}
	}
	return Expire{}
}

// settle runs all effects that are due, until none is.
func (w *world) settle() {
	w.t.Helper()
	for range 1000 {
		due := w.due()
		if len(due) == 0 {
			return
		}
		ef := due[0]
		delete(w.outbox, ef.Key)
		w.step(w.outcome(ef))
	}
	w.fail("the effects do not end")
}

func (w *world) due() []Effect {
	var due []Effect
	for _, ef := range w.outbox {
		if !ef.Due.After(w.now) {
			due = append(due, ef)
		}
	}
	slices.SortFunc(due, func(a, b Effect) int { return strings.Compare(a.Key, b.Key) })
	return due
}

// letters returns the kinds of letters sent to a party so far.
func (w *world) letters(party string) []LetterKind {
	var kinds []LetterKind
	for _, l := range w.r.Deliveries {
		if l.Party == party {
			kinds = append(kinds, l.Kind)
		}
	}
	return kinds
}

func (w *world) want(state State) {
	w.t.Helper()
	if w.r.State != state {
		w.fail("state = %s, want %s", w.r.State, state)
	}
}

func TestContract(t *testing.T) {
	w := newWorld(t)
	w.draft(person(RoleApprover, 1, "Boss"), person(RoleSigner, 1, "Bob"), person(RoleSigner, 2, "Carol"), person(RoleViewer, 0, "Vera"))
	w.settle()
	w.want(StateApproving)
	w.answer("p1", CommandApprove, nil)
	w.settle()
	w.want(StateSigning)
	for _, signer := range []string{"p2", "p3"} {
		w.answer(signer, CommandAgree, func(ev *AnswerReceived) { ev.Name = "Dr " + signer })
		w.settle()
		w.answer(signer, CommandCode, nil)
		w.settle()
	}
	w.want(StateCompleted)
	for _, p := range w.r.Parties {
		if got := w.letters(p.ID); got[len(got)-1] != LetterResult {
			t.Errorf("%s got %v", p.ID, got)
		}
	}
	if got := fmt.Sprint(w.letters("p2")); got != "[invite code result]" {
		t.Errorf("the signer got %s", got)
	}
	if w.r.Party("p2").CertName != "Dr p2" {
		t.Errorf("certificate name %q", w.r.Party("p2").CertName)
	}
	if len(w.r.Documents[1].Signatures) != 3 {
		t.Errorf("the second document has %d signatures", len(w.r.Documents[1].Signatures))
	}
}

func TestNotice(t *testing.T) {
	w := newWorld(t)
	w.draft()
	w.settle()
	w.want(StateCompleted)
	if len(w.outbox) != 0 {
		t.Errorf("left in the outbox: %v", w.outbox)
	}
}

func TestReject(t *testing.T) {
	w := newWorld(t)
	w.draft(person(RoleApprover, 1, "Boss"), person(RoleSigner, 1, "Bob"))
	w.settle()
	w.answer("p1", CommandReject, func(ev *AnswerReceived) { ev.Reason = "too expensive" })
	w.settle()
	w.want(StateRejected)
	if got := fmt.Sprint(w.letters("p0"), w.letters("p1"), w.letters("p2")); got != "[rejected] [approve rejected] []" {
		t.Errorf("letters: %s", got)
	}
	w.answer("p1", CommandApprove, nil)
	w.want(StateRejected)
}

// TestBadAnswers: what must not count leaves the state as it was and gets the note
// that the documentation promises.
func TestBadAnswers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		party  string
		cmd    Command
		mutate func(*AnswerReceived)
		note   Note // to the party
		owner  bool // the owner is told
	}{
		{"wrong person", "p1", CommandApprove, func(ev *AnswerReceived) { ev.Mail.From.Addr = "eve@demo.example" }, NoteNotYou, true},
		{"forged", "p1", CommandApprove, func(ev *AnswerReceived) { ev.Mail.Level = LevelToken }, "", true},
		{"forged and wrong", "p1", CommandApprove, func(ev *AnswerReceived) {
			ev.Mail.Level = LevelToken
			ev.Mail.From.Addr = "eve@evil.example"
		}, "", true},
		{"unclear", "p1", CommandUnclear, nil, NoteUnclear, false},
		{"remark", "p1", CommandRemark, nil, NoteRemark, false},
		{"code from an approver", "p1", CommandCode, nil, NoteNotTurn, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.draft(person(RoleApprover, 1, "Boss"), person(RoleSigner, 1, "Bob"))
			w.settle()
			for range 6 { // however often it comes
				w.answer(tc.party, tc.cmd, tc.mutate)
				w.settle()
			}
			w.want(StateApproving)
			if got := w.r.Party(tc.party).State; got != PartyAsked {
				t.Errorf("the party is %s", got)
			}
			notes, owners := 0, 0
			for _, l := range w.r.Deliveries {
				switch l.Kind {
				case LetterNote:
					notes++
				case LetterOwner:
					owners++
				}
			}
			if want := map[bool]int{true: 1}[tc.note != ""]; notes != want {
				t.Errorf("%d notes, want %d", notes, want)
			}
			if want := map[bool]int{true: 1}[tc.owner]; owners != want {
				t.Errorf("%d letters to the owner, want %d", owners, want)
			}
		})
	}
}

func signing(t *testing.T) *world {
	w := newWorld(t)
	w.draft(person(RoleSigner, 1, "Bob"))
	w.settle()
	w.want(StateSigning)
	return w
}

func wrong(ev *AnswerReceived) { ev.CodeFor = 0 }

func TestCodes(t *testing.T) {
	t.Run("five wrong codes void it", func(t *testing.T) {
		w := signing(t)
		w.answer("p1", CommandAgree, nil)
		for range 5 {
			w.answer("p1", CommandCode, wrong)
		}
		w.answer("p1", CommandCode, nil)
		if w.r.Party("p1").State != PartyCoding {
			t.Fatal("a code counted after five wrong ones")
		}
		w.answer("p1", CommandAgree, nil)
		w.answer("p1", CommandCode, nil)
		w.settle()
		w.want(StateCompleted)
	})
	t.Run("three codes, then locked", func(t *testing.T) {
		w := signing(t)
		for range 3 {
			w.answer("p1", CommandAgree, nil)
			for range 5 {
				w.answer("p1", CommandCode, wrong)
			}
		}
		w.settle()
		if w.r.Party("p1").State != PartyLocked {
			t.Fatalf("the party is %s", w.r.Party("p1").State)
		}
		w.answer("p1", CommandCode, nil)
		w.answer("p1", CommandAgree, nil)
		if w.r.Party("p1").State != PartyLocked || len(w.r.Party("p1").Challenges) != 3 {
			t.Error("a locked party goes on")
		}
		if !slices.Contains(w.letters("p0"), LetterOwner) || !slices.Contains(w.letters("p1"), LetterLocked) {
			t.Error("the owner or the signer was not told")
		}
	})
	t.Run("a fourth AGREE locks", func(t *testing.T) {
		w := signing(t)
		for range 4 {
			w.answer("p1", CommandAgree, nil)
		}
		if w.r.Party("p1").State != PartyLocked {
			t.Errorf("the party is %s", w.r.Party("p1").State)
		}
	})
	t.Run("an expired code", func(t *testing.T) {
		w := signing(t)
		w.answer("p1", CommandAgree, nil)
		w.settle()
		w.now = w.now.Add(30 * time.Minute)
		w.answer("p1", CommandCode, nil)
		if w.r.Party("p1").State != PartyCoding || w.r.Party("p1").Notes[NoteExpiredCode].N != 1 {
			t.Error("an expired code was not refused as one")
		}
	})
	t.Run("the code of an earlier letter", func(t *testing.T) {
		w := signing(t)
		w.answer("p1", CommandAgree, nil)
		w.answer("p1", CommandAgree, nil)
		w.answer("p1", CommandCode, func(ev *AnswerReceived) { ev.CodeFor = 1 })
		if w.r.Party("p1").State != PartyCoding || w.r.Party("p1").Notes[NoteOldCode].N != 1 {
			t.Error("an old code was not refused as one")
		}
	})
	t.Run("a used code", func(t *testing.T) {
		w := signing(t)
		w.answer("p1", CommandAgree, nil)
		w.answer("p1", CommandCode, nil)
		w.answer("p1", CommandCode, nil)
		if w.r.Party("p1").Notes[NoteUsedCode].N != 1 {
			t.Error("a used code was not refused as one")
		}
		w.settle()
		w.want(StateCompleted)
	})
	t.Run("a code without AGREE", func(t *testing.T) {
		w := signing(t)
		w.answer("p1", CommandCode, nil)
		if w.r.Party("p1").Notes[NoteNoCode].N != 1 {
			t.Error("no note")
		}
	})
	t.Run("a code that may have arrived is not replaced", func(t *testing.T) {
		w := signing(t)
		w.answer("p1", CommandAgree, nil)
		w.now = w.now.Add(time.Hour)
		for _, ef := range w.due() {
			if ef.Letter != nil && ef.Letter.Kind == LetterCode {
				delete(w.outbox, ef.Key)
				w.step(LetterMoot{Key: ef.Key, Maybe: true})
			}
		}
		w.settle()
		codes := 0
		for _, kind := range w.letters("p1") {
			if kind == LetterCode {
				codes++
			}
		}
		if codes != 1 || !slices.Contains(w.letters("p0"), LetterUndeliverable) {
			t.Errorf("%d code letters; the owner got %v", codes, w.letters("p0"))
		}
		w.answer("p1", CommandAgree, nil)
		w.answer("p1", CommandCode, nil)
		w.settle()
		w.want(StateCompleted)
	})
	t.Run("a code that could not be sent in time is replaced", func(t *testing.T) {
		w := signing(t)
		w.answer("p1", CommandAgree, nil)
		w.now = w.now.Add(time.Hour) // the relay was down
		w.settle()
		p := w.r.Party("p1")
		if len(p.Challenges) != 1 || !p.Challenges[0].Expires.After(w.now) {
			t.Fatalf("challenges: %+v", p.Challenges)
		}
		w.answer("p1", CommandCode, nil)
		w.settle()
		w.want(StateCompleted)
	})
}

func TestAskedSender(t *testing.T) {
	w := newWorld(t)
	ask := func(from string, docs []Document, problems ...Problem) {
		w.step(DraftReceived{
			Mail: w.mail(from), Mailbox: "contracts", Address: "sign@demo.example",
			Documents: docs, Plan: Plan{Terms: terms(), Problems: problems},
		})
	}
	ask("ann@demo.example", nil, Problem{Kind: ProblemNoSigner})
	w.settle()
	w.want(StateAsking)
	if len(w.r.Problems) != 2 {
		t.Errorf("asked for %v, want the signer and the PDF at once", w.r.Problems)
	}
	id := w.r.ID
	ask("eve@demo.example", []Document{{Name: "evil.pdf", Original: blob("evil")}})
	w.want(StateAsking)
	ask("ann@demo.example", []Document{{Name: "a.pdf", Original: blob("a")}})
	w.settle()
	w.want(StateCompleted)
	if w.r.ID != id {
		t.Error("another request was begun")
	}
}

func TestUnfitDocument(t *testing.T) {
	w := newWorld(t)
	w.draft()
	for key := range w.outbox {
		if strings.Contains(key, "/prepare/") {
			delete(w.outbox, key)
		}
	}
	w.step(Unfit{Problems: []Problem{{Kind: ProblemUnfitPDF, Args: []string{"contract.pdf", "it is encrypted"}}}})
	w.settle()
	w.want(StateAsking)
	for range maxAsks {
		w.step(DraftReceived{Mail: w.mail("ann@demo.example"), Plan: Plan{Terms: terms()}})
		w.settle()
	}
	w.want(StateCancelled)
}

func TestAttemptLost(t *testing.T) {
	w := signing(t)
	w.answer("p1", CommandAgree, nil)
	w.answer("p1", CommandCode, nil)
	// Both intents are stored, then the process dies.
	for _, ef := range w.due() {
		if ef.Kind == EffectIntent {
			delete(w.outbox, ef.Key)
			w.step(w.outcome(ef))
		}
	}
	lost := AttemptRef{Document: 0, Slot: "p1", N: 1}
	w.step(AttemptLost{Ref: lost, Why: "the process ended"})
	if a := w.r.Documents[0].attempt("p1"); a.N != 2 || a.Intent != nil {
		t.Fatalf("attempt %+v", a)
	}
	// Its result comes nevertheless, too late.
	w.step(SignatureMade{Ref: lost, Signature: []byte("late")})
	if a := w.r.Documents[0].attempt("p1"); a.Signature != nil {
		t.Error("a lost attempt's signature was taken")
	}
	w.settle()
	w.want(StateCompleted)
}

// TestEvidence: the next step waits for what proves a signature; if that is not to be
// had in time, the signature is made again, and the first result is left behind.
func TestEvidence(t *testing.T) {
	w := newWorld(t)
	w.level = LevelBLTA
	w.draft(person(RoleSigner, 1, "Bob"))
	run := func(kind EffectKind) Effect {
		t.Helper()
		for _, ef := range w.due() {
			if ef.Kind == kind {
				delete(w.outbox, ef.Key)
				w.step(w.outcome(ef))
				return ef
			}
		}
		t.Fatalf("no %s is due in state %s", kind, w.r.State)
		return Effect{}
	}
	for _, kind := range []EffectKind{EffectPrepare, EffectIntent, EffectIntent, EffectSign, EffectSign, EffectTimestamp, EffectTimestamp} {
		run(kind)
	}
	w.want(StateSealing)
	first := run(EffectEvidence)
	w.want(StateSealing) // the other document's is still to come
	if a := w.r.Documents[0].attempt(SealSlot); w.r.Documents[0].Revision != a.Lasting || a.Evidence != blob("evidence"+first.Key) {
		t.Errorf("the seal is %+v", a)
	}
	run(EffectEvidence)
	w.settle()
	w.want(StateSigning)
	w.answer("p1", CommandAgree, nil)
	w.answer("p1", CommandCode, nil)
	for _, kind := range []EffectKind{EffectIntent, EffectSign, EffectTimestamp} {
		run(kind)
	}
	before := w.r.Documents[0].Revision
	w.step(AttemptLost{Ref: AttemptRef{Document: 0, Slot: "p1", N: 1}, Why: "no revocation data before its certificate ended"})
	if a := w.r.Documents[0].attempt("p1"); a.N != 2 || a.Result != "" || w.r.Documents[0].Revision != before {
		t.Errorf("the second attempt is %+v", a)
	}
	// The evidence of the lost attempt comes late.
	w.step(Proved{Ref: AttemptRef{Document: 0, Slot: "p1", N: 1}, Evidence: blob("late"), Result: blob("late")})
	if w.r.Documents[0].Revision != before {
		t.Error("late evidence was taken")
	}
	w.settle()
	w.want(StateCompleted)
	if doc := w.r.Documents[0]; doc.Revision != doc.attempt("p1").Lasting || doc.Lasts.IsZero() {
		t.Errorf("the document is %+v", doc)
	}
}

func TestForeignIntent(t *testing.T) {
	w := newWorld(t)
	w.draft()
	for range 20 {
		due := w.due()
		if i := slices.IndexFunc(due, func(ef Effect) bool { return ef.Kind == EffectIntent }); i >= 0 {
			w.r.Terms.Admin = "admin@demo.example"
			w.step(IntentMade{Ref: due[i].Attempt, Base: blob("other bytes"), H: w.r.H})
			w.want(StateFailed)
			if last := w.r.Deliveries[len(w.r.Deliveries)-1]; last.To != "admin@demo.example" {
				t.Errorf("the last letter went to %s", last.To)
			}
			return
		}
		delete(w.outbox, due[0].Key)
		w.step(w.outcome(due[0]))
	}
	t.Fatal("no intent was asked for")
}

func TestExpire(t *testing.T) {
	w := newWorld(t)
	w.draft(person(RoleApprover, 1, "Boss"), person(RoleSigner, 1, "Bob"))
	w.settle()
	key := w.r.ID + "/expire"
	delete(w.outbox, key)
	w.now = w.now.Add(time.Hour)
	w.step(Expire{})
	w.want(StateApproving)
	if _, ok := w.outbox[key]; !ok {
		t.Fatal("the timer was not set again")
	}
	w.now = w.r.Expires
	w.settle()
	w.want(StateExpired)
	if got := fmt.Sprint(w.letters("p0"), w.letters("p1"), w.letters("p2")); got != "[expired] [approve expired] []" {
		t.Errorf("letters: %s", got)
	}
}

func TestUndeliverable(t *testing.T) {
	w := newWorld(t)
	w.draft(person(RoleApprover, 1, "Boss"))
	for _, ef := range w.due() {
		if ef.Kind == EffectPrepare {
			delete(w.outbox, ef.Key)
			w.step(w.outcome(ef))
		}
	}
	for _, ef := range w.due() {
		delete(w.outbox, ef.Key)
		w.step(RelayRefused{Key: ef.Key, Text: "550 no such user"})
	}
	w.settle()
	if !slices.Contains(w.letters("p0"), LetterUndeliverable) {
		t.Errorf("the sender got %v", w.letters("p0"))
	}
	w.want(StateApproving)
}

// TestInvitedName: a signer who was invited under a name that cannot go into a
// certificate is asked for another one, before any code is sent.
func TestInvitedName(t *testing.T) {
	for _, name := range []string{"12345", strings.Repeat("x", 65), "Bob\u3000Baker", "Bob \u202eBaker"} {
		w := newWorld(t)
		w.draft(Party{Role: RoleSigner, Order: 1, Address: Address{Name: name, Addr: "bob@demo.example"}})
		w.settle()
		w.answer("p1", CommandAgree, nil)
		if p := w.r.Party("p1"); p.State != PartyAsked || p.Notes[NoteBadName].N != 1 {
			t.Errorf("%q: %s, notes %v", name, p.State, p.Notes)
		}
		w.answer("p1", CommandAgree, func(ev *AnswerReceived) { ev.Name = "Bob Baker" })
		w.answer("p1", CommandCode, nil)
		w.settle()
		w.want(StateCompleted)
	}
}

// TestNobodyHasResults: a relay that refuses every result completes nothing; the
// administrator is told, and the results are sent again.
func TestNobodyHasResults(t *testing.T) {
	refuse := func(w *world) {
		for range 20 {
			due := w.due()
			if len(due) == 0 {
				return
			}
			delete(w.outbox, due[0].Key)
			if due[0].Kind == EffectLetter {
				w.step(RelayRefused{Key: due[0].Key, Text: "553 no"})
				continue
			}
			w.step(w.outcome(due[0]))
		}
	}
	w := newWorld(t)
	w.draft(person(RoleViewer, 0, "Vera"))
	w.r.Terms.Admin = "admin@demo.example"
	refuse(w)
	w.want(StateDelivering)
	told := slices.ContainsFunc(w.r.Deliveries, func(l Delivery) bool { return l.To == "admin@demo.example" })
	if !told || len(w.outbox) != 1 {
		t.Fatalf("told %v, outbox %v", told, w.outbox)
	}
	w.now = w.now.Add(redeliver)
	w.settle()
	w.want(StateCompleted)

	w = newWorld(t)
	w.draft()
	for range maxDeliveries + 2 {
		refuse(w)
		w.now = w.now.Add(redeliver)
	}
	w.want(StateFailed)
}

// TestMachineryLate: a request that waits for no person does not expire.
func TestMachineryLate(t *testing.T) {
	w := newWorld(t)
	w.draft()
	for key, ef := range w.outbox {
		if ef.Kind == EffectPrepare {
			delete(w.outbox, key)
			w.step(w.outcome(ef))
		}
	}
	w.want(StateSealing) // and the time-stamping authority is down
	w.now = w.r.Expires
	delete(w.outbox, w.r.ID+"/expire")
	w.step(Expire{})
	w.want(StateSealing)
	w.settle()
	w.want(StateCompleted)
}

// TestLockedRejects: a signer without codes can still say no.
func TestLockedRejects(t *testing.T) {
	w := signing(t)
	for range 4 {
		w.answer("p1", CommandAgree, nil)
	}
	w.answer("p1", CommandReject, nil)
	w.want(StateRejected)
}

// TestUnmailable: an address that cannot be written into a letter stops nobody else.
func TestUnmailable(t *testing.T) {
	w := newWorld(t)
	w.draft(person(RoleApprover, 1, "Boss"))
	w.settle()
	w.answer("p1", CommandApprove, func(ev *AnswerReceived) { ev.Mail.From.Addr = "jos\u00e9@demo.example" })
	last := w.r.Deliveries[len(w.r.Deliveries)-1]
	refused := slices.ContainsFunc(w.r.Deliveries, func(l Delivery) bool { return l.Kind == LetterNote && l.State == DeliveryRefused })
	if !refused || last.Kind != LetterOwner {
		t.Errorf("deliveries: %+v", w.r.Deliveries)
	}
}

// TestRandomWalks runs Step through random lives with an adversary: wrong people,
// late, doubled and unclear answers, lost attempts, refused letters, deadlines.
func TestRandomWalks(t *testing.T) {
	ends := map[State]int{}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t)
		w.level = []string{LevelBB, LevelBT, LevelBLT, LevelBLTA}[seed%4]
		var parties []Party
		for i := range rnd.IntN(3) {
			parties = append(parties, person(RoleApprover, 1+rnd.IntN(2), fmt.Sprint("Boss", i)))
		}
		for i := range rnd.IntN(4) {
			parties = append(parties, person(RoleSigner, 1+rnd.IntN(2), fmt.Sprint("Signer", i)))
		}
		w.draft(parties...)
		for range 150 {
			w.randomEvent(rnd)
			if !w.r.State.Terminal() && len(w.outbox) == 0 {
				w.fail("invariant 11: seed %d: nothing will ever happen in state %s", seed, w.r.State)
			}
		}
		w.now = w.now.Add(400 * 24 * time.Hour) // a quiet phase: it must end
		for range 10 {
			w.settle()
			w.now = w.now.Add(25 * time.Hour)
		}
		if !w.r.State.Terminal() {
			w.fail("invariant 1: seed %d: still %s", seed, w.r.State)
		}
		ends[w.r.State]++
	}
	t.Logf("ends: %v", ends)
	for _, s := range []State{StateCompleted, StateRejected, StateExpired} {
		if ends[s] == 0 {
			t.Errorf("no walk ended %s", s)
		}
	}
}

func (w *world) randomEvent(rnd *rand.Rand) {
	due := w.due()
	switch n := rnd.IntN(100); {
	case n < 55 && len(due) > 0:
		ef := due[rnd.IntN(len(due))]
		body := w.outcome(ef)
		switch {
		case ef.Kind == EffectLetter && rnd.IntN(8) == 0:
			body = RelayRefused{Key: ef.Key, Text: "550"}
		case (ef.Kind == EffectSign || ef.Kind == EffectTimestamp || ef.Kind == EffectEvidence) && rnd.IntN(3) == 0:
			body = AttemptLost{Ref: ef.Attempt, Why: "crash"}
		}
		if rnd.IntN(5) > 0 { // else the outcome is committed, and comes again
			delete(w.outbox, ef.Key)
			w.step(body)
		} else if _, letter := body.(RelayRefused); !letter {
			delete(w.outbox, ef.Key)
			w.step(body)
			w.step(body)
		}
	case n < 95 && len(w.r.Parties) > 1:
		commands := []Command{
			CommandApprove, CommandAgree, CommandAgree, CommandCode, CommandCode, CommandCode,
			CommandApprove, CommandUnclear, CommandRemark, CommandReject,
		}
		cmd := commands[rnd.IntN(len(commands))]
		if cmd == CommandReject && rnd.IntN(6) > 0 {
			cmd = CommandAgree
		}
		w.answer(w.r.Parties[1+rnd.IntN(len(w.r.Parties)-1)].ID, cmd, func(ev *AnswerReceived) {
			switch rnd.IntN(8) {
			case 0:
				ev.Mail.Level = LevelToken
			case 1:
				ev.Mail.From.Addr = "eve@demo.example"
			case 2:
				ev.CodeFor = 0
			}
		})
	default:
		w.now = w.now.Add(time.Duration(rnd.IntN(60)) * time.Minute)
	}
}
