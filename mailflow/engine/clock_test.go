package engine_test

import (
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/signing/demopki"
)

// atCode plays the contract up to Carla's code, one effect at a time.
func atCode(t testing.TB) (h *house, code *letterSeen) {
	t.Helper()
	h = newHouse(t, options{Workers: 1})
	h.people[ben.Addr] = approves
	h.people[carla.Addr] = agrees
	h.sends(contract(signs(carla)))
	h.settle(time.Minute)
	return h, h.last(carla, mailflow.LetterCode)
}

// tells checks that a person got a letter of that kind that says something.
func (h *house) tells(p person, kind mailflow.LetterKind, words string) *letterSeen {
	h.t.Helper()
	l := h.last(p, kind)
	if !strings.Contains(strings.Join(strings.Fields(l.Text), " "), words) {
		h.t.Errorf("the letter %s to %s does not say %q:\n%s", kind, p.Addr, words, l.Text)
	}
	return l
}

// wantState checks the state of the only request.
func (h *house) wantState(state mailflow.State) mailflow.Details {
	h.t.Helper()
	d := h.details()
	if d.State != state {
		h.t.Fatalf("the request is %s, want %s; it waits for %q", d.State, state, d.Waits)
	}
	return d
}

// plus returns a verdict with more letters.
func (v verdict) plus(letters ...string) verdict {
	v.letters = append(append([]string(nil), v.letters...), letters...)
	return v
}

// TestExpiredCode: after 31 minutes the code does nothing but bring a note, and
// AGREE gives another one.
func TestExpiredCode(t *testing.T) {
	h, first := atCode(t)
	h.clock.set(first.at.Add(31 * time.Minute))
	h.replies(first, first.code())
	h.settle(time.Minute)
	note := h.tells(carla, mailflow.LetterNote, "expired")
	h.replies(note, "AGREE")
	h.settle(time.Minute)
	second := h.last(carla, mailflow.LetterCode)
	if second.code() == first.code() {
		t.Error("the second code is the first")
	}
	h.replies(second, first.code()) // the old one is still no good
	h.settle(time.Minute)
	h.tells(carla, mailflow.LetterNote, "earlier")
	h.wantState(mailflow.StateSigning)
	h.replies(second, second.code())
	h.settle(time.Hour)
	h.judge(signedByCarla.plus("note to carla@partner.example", "note to carla@partner.example", "code to carla@partner.example"))
}

// TestCodesEnd: after three codes the signer is locked and the owner told; nothing
// helps any more, and at the deadline everyone is told.
func TestCodesEnd(t *testing.T) {
	h, l := atCode(t)
	for range 3 {
		h.replies(l, "AGREE")
		h.settle(time.Minute)
	}
	h.tells(carla, mailflow.LetterLocked, "")
	h.tells(ann, mailflow.LetterOwner, carla.Addr)
	third := h.last(carla, mailflow.LetterCode)
	h.replies(third, third.code())
	h.replies(third, "AGREE")
	h.settle(time.Minute)
	if d := h.wantState(mailflow.StateSigning); !strings.Contains(d.Waits, "locked") {
		t.Errorf("it waits for %q", d.Waits)
	}
	h.settle(31 * 24 * time.Hour)
	h.judge(verdict{state: mailflow.StateExpired, letters: []string{
		"approve to ben@acme.example", "invite to carla@partner.example",
		"code to carla@partner.example", "code to carla@partner.example", "code to carla@partner.example",
		"locked to carla@partner.example", "owner to ann@acme.example",
		"expired to ann@acme.example", "expired to ben@acme.example", "expired to carla@partner.example",
	}})
}

// TestDeadline: a request that nobody answers ends for everyone who was asked, and
// for nobody else; answers after that change nothing.
func TestDeadline(t *testing.T) {
	h := newHouse(t, options{})
	h.sends(contract(signs(carla)))
	h.settle(31 * 24 * time.Hour)
	h.replies(h.last(ben, mailflow.LetterApprove), "APPROVE")
	h.settle(time.Minute)
	h.judge(verdict{state: mailflow.StateExpired, letters: []string{
		"approve to ben@acme.example", "expired to ann@acme.example", "expired to ben@acme.example", "note to ben@acme.example",
	}})
}

// TestDeadlineAfterConsent: once everybody said yes, a time-stamping authority that
// is down past the deadline makes the signature late, but no less owed.
func TestDeadlineAfterConsent(t *testing.T) {
	h, l := atCode(t)
	h.clock.advance(2 * time.Minute) // the last stamp is too old to show that there are more
	h.tsa.SetMode(demopki.Down)
	h.replies(l, l.code())
	h.settle(32 * 24 * time.Hour)
	d := h.wantState(mailflow.StateSigning)
	if !strings.Contains(d.Waits, "time-stamping authority") || h.events(d, "deadline moved") == 0 {
		t.Errorf("it waits for %q; the deadline moved %d times", d.Waits, h.events(d, "deadline moved"))
	}
	if h.events(d, "attempt lost") != 0 {
		t.Error("a one-use key was made while no timestamp was to be had")
	}
	h.tsa.SetMode(demopki.Honest)
	h.settle(2 * time.Hour)
	h.judge(signedByCarla)
}

// TestCertificateEnds: the authority goes down after the signature was made and
// stays down past the end of the one-use certificate. The signature is given up,
// and the next attempt makes the one document.
func TestCertificateEnds(t *testing.T) {
	h, l := atCode(t)
	h.afterStep = func(int) {
		if h.stage("p2") == mailflow.StageTimestamp {
			h.tsa.SetMode(demopki.Down)
		}
	}
	h.replies(l, l.code())
	h.settle(23 * time.Hour)
	if d := h.wantState(mailflow.StateSigning); h.events(d, "attempt lost") != 0 || !strings.Contains(d.Waits, "time-stamping authority") {
		t.Errorf("before the certificate ends, it waits for %q", d.Waits)
	}
	h.settle(3 * time.Hour)
	h.afterStep = nil
	d := h.wantState(mailflow.StateSigning)
	if h.events(d, "attempt lost") != 1 {
		t.Errorf("%d attempts lost, want 1", h.events(d, "attempt lost"))
	}
	h.tsa.SetMode(demopki.Honest)
	h.settle(2 * time.Hour)
	h.judge(signedByCarla)
	h.wantUnusedSerial(h.details())
}

// TestLyingAuthority: a token that is not for this signature is never used.
func TestLyingAuthority(t *testing.T) {
	for _, mode := range []demopki.Mode{demopki.WrongImprint, demopki.BadSignature, demopki.WrongNonce} {
		t.Run(string(mode), func(t *testing.T) {
			h := newHouse(t, options{})
			h.tsa.SetMode(mode)
			h.sends(notice())
			h.settle(time.Hour)
			if d := h.wantState(mailflow.StateSealing); !strings.Contains(d.Waits, "time-stamping authority") {
				t.Errorf("it waits for %q", d.Waits)
			}
			h.tsa.SetMode(demopki.Honest)
			h.settle(2 * time.Hour)
			h.judge(scenarios[2].want)
		})
	}
}

// TestClockBack: a clock that is set back makes things late, and undoes nothing.
func TestClockBack(t *testing.T) {
	h, l := atCode(t)
	h.clock.advance(-2 * time.Hour)
	h.replies(l, l.code())
	h.settle(3 * time.Hour)
	h.judge(signedByCarla)
	h.clock.advance(-48 * time.Hour)
	h.replies(l, "REJECT")
	h.settle(time.Hour)
	h.wantState(mailflow.StateCompleted)
}
