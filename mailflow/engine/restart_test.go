package engine_test

import (
	"fmt"
	"testing"
	"time"

	"countersign/mailflow"
)

// restarting plays the contract one mail or effect at a time and calls after
// between any two of them.
func restarting(t testing.TB, o options, after func(h *house, n int)) *house {
	t.Helper()
	o.Workers = 1
	s := scenarios[0]
	h := newHouse(t, o)
	h.people = s.people
	h.afterStep = func(n int) { after(h, n) }
	h.sends(s.draft)
	h.settle(2 * time.Hour)
	h.afterStep = nil
	return h
}

// TestRestartAtEveryPoint: the process ends once, between any two steps. Only if it
// ends while a signer's one-use key waits for its signature is an attempt lost: the
// next one has another certificate, and there is still one document.
func TestRestartAtEveryPoint(t *testing.T) {
	steps := restarting(t, options{}, func(*house, int) {}).steps
	lost := 0
	for at := 1; at <= steps; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			waits := false
			h := restarting(t, options{}, func(h *house, n int) {
				if n == at {
					waits = h.stage("p2") == mailflow.StageSign
					h.restart()
				}
			})
			h.judge(signedByCarla)
			d := h.details()
			if n := h.events(d, "attempt lost"); (n == 1) != waits || n > 1 {
				t.Errorf("%d attempts lost; a one-use key was waiting: %t", n, waits)
			}
			if waits {
				lost++
				h.wantUnusedSerial(d)
			}
		})
	}
	if lost != 1 {
		t.Errorf("%d points lose an attempt, want 1", lost)
	}
}

// TestRestartAlways: the process ends between any two steps, on disk. It may live on
// only with a one-use key, and only after three attempts were lost.
func TestRestartAlways(t *testing.T) {
	h := restarting(t, options{Bolt: true}, func(h *house, _ int) {
		if h.stage("p2") == mailflow.StageSign && h.events(h.details(), "attempt lost") == 3 {
			return
		}
		h.restart()
	})
	h.judge(signedByCarla)
	d := h.details()
	if n := h.events(d, "attempt lost"); n != 3 {
		t.Errorf("%d attempts lost, want 3", n)
	}
	h.wantUnusedSerial(d)
}

// stage is how far a slot has signed the only document; "" before the request is
// there or the slot's turn has come.
func (h *house) stage(slot string) mailflow.Stage {
	h.t.Helper()
	if h.steps == 0 {
		return ""
	}
	return h.details().Documents[0].Signatures[slot]
}

// wantUnusedSerial checks that the certificate of a lost attempt is not in the
// signed document, and that of the last attempt is.
func (h *house) wantUnusedSerial(d mailflow.Details) {
	h.t.Helper()
	used := map[string]bool{}
	for _, c := range signers(h.t, h.last(carla, mailflow.LetterResult).pdfs(h.t)[0]) {
		used[c.SerialNumber.Text(16)] = true
	}
	lost, last := 0, ""
	for _, a := range d.History {
		switch {
		case a.Event == "attempt lost":
			lost++
			if used[a.Detail["serial"]] {
				h.t.Errorf("the certificate of the lost attempt %s is in the document", a.Detail["attempt"])
			}
		case a.Event == "intent stored" && a.Party == "p2":
			last = a.Detail["serial"]
		}
	}
	if lost == 0 || !used[last] {
		h.t.Errorf("%d attempts lost; the last certificate is in the document: %t", lost, used[last])
	}
}
