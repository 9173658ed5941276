package engine_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/engine"
	"countersign/store"
)

// TestUnknownOutcome: the relay takes each letter over, and its answer is lost. The
// letter goes out once more with the same bytes.
func TestUnknownOutcome(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			h := newHouse(t, options{})
			h.people = s.people
			tried := map[string]bool{}
			var mu sync.Mutex
			h.relay.becomes(func(l *letterSeen) engine.Outcome {
				mu.Lock()
				defer mu.Unlock()
				if tried[l.MessageID] {
					return engine.Accepted
				}
				tried[l.MessageID] = true
				return engine.Unknown
			})
			h.sends(s.draft)
			h.settle(2 * time.Hour)
			want := s.want
			want.copies = 2
			h.judge(want)
			copies := 2 * len(tried)
			for _, l := range h.details().Letters {
				if l.State == mailflow.DeliveryMoot { // it was answered before its second copy left
					copies--
				}
			}
			if got := len(h.relay.letters()); got != copies {
				t.Errorf("%d copies of %d letters, want %d", got, len(tried), copies)
			}
		})
	}
}

// TestUnknownForDays: a relay whose answers are always lost does not flood anybody,
// and is given up.
func TestUnknownForDays(t *testing.T) {
	h := newHouse(t, options{})
	h.relay.becomes(func(l *letterSeen) engine.Outcome {
		if l.to == ben.Addr {
			return engine.Unknown
		}
		return engine.Accepted
	})
	h.sends(contract(signs(carla)))
	h.settle(7 * 24 * time.Hour)
	h.tells(ann, mailflow.LetterUndeliverable, "given up after five days")
	h.judgeCopies(20)
}

// TestRelayLater: what the relay says is shown, and the letter leaves once it can.
func TestRelayLater(t *testing.T) {
	h := newHouse(t, options{})
	h.people = everybody()
	h.relay.becomes(always(engine.Later))
	h.sends(contract(signs(carla)))
	h.settle(2 * time.Hour)
	d := h.wantState(mailflow.StateApproving)
	if !strings.Contains(d.Waits, "451 4.3.0 try again later") {
		t.Errorf("it waits for %q", d.Waits)
	}
	shown := false
	for _, p := range d.Pending {
		shown = shown || p.Kind == string(mailflow.EffectLetter) && p.Attempts > 3 && strings.HasPrefix(p.Note, "451")
	}
	if !shown {
		t.Errorf("pending: %+v", d.Pending)
	}
	h.relay.becomes(nil)
	h.settle(2 * time.Hour)
	h.judge(signedByCarla)
}

// TestRelayRefuses: the owner is told of a letter that will never arrive; the
// request stays open.
func TestRelayRefuses(t *testing.T) {
	h := newHouse(t, options{})
	h.people = everybody()
	h.relay.becomes(func(l *letterSeen) engine.Outcome {
		if l.to == carla.Addr {
			return engine.Refused
		}
		return engine.Accepted
	})
	h.sends(contract(signs(carla)))
	h.settle(time.Hour)
	h.tells(ann, mailflow.LetterUndeliverable, "550 5.1.1")
	h.tells(ann, mailflow.LetterUndeliverable, carla.Addr)
	d := h.wantState(mailflow.StateSigning)
	if last := d.Letters[len(d.Letters)-2]; last.Kind != mailflow.LetterInvite || last.State != mailflow.DeliveryRefused {
		t.Errorf("the invitation is %+v", last)
	}
}

// TestResultRefused: a result that one person's server refuses holds up nobody; the
// owner is told, and the request is complete.
func TestResultRefused(t *testing.T) {
	h := newHouse(t, options{})
	h.people = everybody()
	h.relay.becomes(func(l *letterSeen) engine.Outcome {
		if l.to == carla.Addr && l.kind == mailflow.LetterResult {
			return engine.Refused
		}
		return engine.Accepted
	})
	h.sends(contract(signs(carla)))
	h.settle(time.Hour)
	want := signedByCarla.plus("undeliverable to ann@acme.example")
	for i, l := range want.letters {
		if l == "result to carla@partner.example" {
			want.letters = append(want.letters[:i], want.letters[i+1:]...)
			break
		}
	}
	h.judge(want)
}

// TestResultsRefusedByAll: while nobody has the signed documents the request is not
// complete; they are sent again the next day.
func TestResultsRefusedByAll(t *testing.T) {
	h := newHouse(t, options{})
	h.people = everybody()
	h.relay.becomes(func(l *letterSeen) engine.Outcome {
		if l.kind == mailflow.LetterResult {
			return engine.Refused
		}
		return engine.Accepted
	})
	h.sends(contract(signs(carla)))
	h.settle(2 * time.Hour)
	h.wantState(mailflow.StateDelivering)
	h.relay.becomes(nil)
	h.settle(25 * time.Hour)
	d := h.wantState(mailflow.StateCompleted)
	h.judgeSigned(d, 2)
	for _, p := range []person{ann, ben, carla} {
		h.last(p, mailflow.LetterResult)
	}
}

// TestGivenUp: after five days of trying, a letter counts as refused.
func TestGivenUp(t *testing.T) {
	h := newHouse(t, options{})
	h.relay.becomes(func(l *letterSeen) engine.Outcome {
		if l.to == ben.Addr {
			return engine.Later
		}
		return engine.Accepted
	})
	h.sends(contract(signs(carla)))
	h.settle(5*24*time.Hour - time.Minute)
	if d := h.wantState(mailflow.StateApproving); len(d.Letters) != 1 {
		t.Errorf("given up too early: %+v", d.Letters)
	}
	h.settle(2 * time.Hour)
	h.tells(ann, mailflow.LetterUndeliverable, "given up after five days: 451 4.3.0 try again later")
	tries := h.relay.tries
	h.settle(24 * time.Hour)
	if h.relay.tries != tries {
		t.Error("a letter is tried after it was given up")
	}
}

// codesHeld lets every letter pass but codes.
func codesHeld(l *letterSeen) engine.Outcome {
	if l.kind == mailflow.LetterCode {
		return engine.Later
	}
	return engine.Accepted
}

// TestCodeExpiresUnsent: the relay is down when the code expires, however often it
// was asked for: the signer gets one code, which works.
func TestCodeExpiresUnsent(t *testing.T) {
	for _, asks := range []int{1, 2, 3} {
		h := newHouse(t, options{})
		h.people = everybody()
		h.people[carla.Addr] = func(l *letterSeen) string {
			if l.kind == mailflow.LetterCode {
				return l.code()
			}
			return ""
		}
		h.relay.becomes(codesHeld)
		h.sends(contract(signs(carla)))
		h.settle(time.Minute)
		for range asks {
			h.replies(h.last(carla, mailflow.LetterInvite), "AGREE")
			h.settle(time.Second)
		}
		h.settle(100 * time.Minute)
		h.wantState(mailflow.StateSigning)
		h.relay.becomes(nil)
		h.settle(2 * time.Hour)
		h.judge(signedByCarla)
		if codes := h.details().Parties[2].Codes; codes != asks {
			t.Errorf("%d codes are counted, want %d", codes, asks)
		}
	}
}

// TestCodeNeverSent: a signer who cannot be reached for days is the owner's to know,
// and can still ask for a code once mail gets through.
func TestCodeNeverSent(t *testing.T) {
	h := newHouse(t, options{})
	h.people = everybody()
	h.relay.becomes(codesHeld)
	h.sends(contract(signs(carla)))
	h.settle(7 * 24 * time.Hour)
	h.tells(ann, mailflow.LetterUndeliverable, "given up after five days")
	tries := h.relay.tries
	h.settle(24 * time.Hour)
	if h.relay.tries != tries {
		t.Error("codes are tried without end")
	}
	h.relay.becomes(nil)
	h.replies(h.last(carla, mailflow.LetterInvite), "AGREE")
	h.settle(time.Hour)
	h.judge(signedByCarla.plus("undeliverable to ann@acme.example"))
}

// TestCancelTooLate: a request is cancelled until it is signed, and everyone who was
// asked is told; then it cannot be any more.
func TestCancelTooLate(t *testing.T) {
	h, l := atCode(t)
	h.relay.becomes(always(engine.Later))
	h.replies(l, l.code())
	h.settle(time.Minute)
	d := h.wantState(mailflow.StateDelivering)
	if err := h.engine.Cancel(t.Context(), d.ID, "root", "too late"); err == nil {
		t.Error("a signed request was cancelled")
	}
	h.relay.becomes(nil)
	h.settle(time.Hour)
	h.judge(signedByCarla)
}

// TestCancel ends a request while letters and a signature wait.
func TestCancel(t *testing.T) {
	h, _ := atCode(t)
	d := h.wantState(mailflow.StateSigning)
	must(t, h.engine.Cancel(t.Context(), d.ID, "root", "sent by mistake"))
	if err := h.engine.Cancel(t.Context(), d.ID, "root", "again"); err == nil {
		t.Error("cancelled twice")
	}
	h.settle(time.Hour)
	h.judge(verdict{state: mailflow.StateCancelled, letters: []string{
		"approve to ben@acme.example", "invite to carla@partner.example", "code to carla@partner.example",
		"cancelled to ann@acme.example", "cancelled to ben@acme.example", "cancelled to carla@partner.example",
	}})
}

// TestSlowRelay: a relay that keeps every letter waiting does not keep signatures
// waiting, and as many letters as there are workers are on their way at once.
func TestSlowRelay(t *testing.T) {
	const workers = 2
	h := newHouse(t, options{Bolt: true, Workers: workers})
	sending, leave := make(chan struct{}, 10), make(chan struct{})
	h.relay.becomes(func(*letterSeen) engine.Outcome {
		h.relay.mu.Unlock() // so that others can send meanwhile
		defer h.relay.mu.Lock()
		sending <- struct{}{}
		<-leave
		return engine.Accepted
	})
	for range workers {
		h.sends(notice())
		h.receive()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- h.engine.Run(ctx) }()
	for range workers {
		select {
		case <-sending:
		case <-ctx.Done():
			t.Fatal("the letters are not on their way at once")
		}
	}
	// All workers for letters are busy now; another notice is sealed all the same.
	h.sends(notice())
	h.receive()
	for h.delivering() < workers+1 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	close(leave)
	for h.open() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Errorf("%d requests still wait", h.open())
	}
	cancel()
	must(t, <-ended)
}

// delivering counts the requests whose documents are signed and on their way.
func (h *house) delivering() int {
	list, err := h.engine.List(h.t.Context(), store.Filter{State: string(mailflow.StateDelivering)})
	must(h.t, err)
	return len(list)
}

// TestRunEnds: Run ends with its context, after the letter that is on its way.
func TestRunEnds(t *testing.T) {
	h := newHouse(t, options{})
	sending, leave := make(chan struct{}), make(chan struct{})
	h.relay.becomes(func(*letterSeen) engine.Outcome {
		close(sending)
		<-leave
		return engine.Accepted
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	h.sends(notice())
	h.receive()
	go func() { ended <- h.engine.Run(ctx) }()
	<-sending
	cancel()
	select {
	case <-ended:
		t.Error("Run ended before the letter was with the relay")
	default:
	}
	close(leave)
	must(t, <-ended)
	h.judge(scenarios[2].want) // the outcome was still committed
}
