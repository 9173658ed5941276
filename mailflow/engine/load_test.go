package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/engine"
	"countersign/store"
)

// TestManyRequests: fifty contracts at once, each with a signer of its own, on eight
// workers and with four mails taken in at a time. All complete, and everybody gets
// what is theirs.
func TestManyRequests(t *testing.T) {
	const contracts = 50
	h := newHouse(t, options{Workers: 8})
	h.people[ben.Addr] = approves
	for i := range contracts {
		p := signerOf(i)
		h.people[p.Addr] = agreesAndSigns
		m := contract(signs(p))
		m.subject = fmt.Sprintf("Contract %d", i)
		m.pdf = bytes.Replace(m.pdf, []byte("Made for a test."), fmt.Appendf(nil, "Contract %6d.", i), 1)
		h.sends(m)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.engine.Run(ctx) }()
	for patience := 0; h.open() > 0; patience++ {
		if patience > 20_000 {
			t.Fatalf("%d requests do not end", h.open())
		}
		h.answer()
		h.receiveAll(4)
		h.clock.advance(10 * time.Millisecond) // brings back what had to wait
		h.engine.Wake()
		time.Sleep(time.Millisecond)
	}
	cancel()
	must(t, <-ended)
	h.judgeCopies(1)
	h.judgeAudit()
	h.judgeSecrets()
	list, err := h.engine.List(t.Context(), store.Filter{})
	must(t, err)
	if len(list) != contracts {
		t.Errorf("%d requests, want %d", len(list), contracts)
	}
	for _, s := range list {
		var i int
		if _, err := fmt.Sscanf(s.Subject, "Contract %d", &i); err != nil || s.State != mailflow.StateCompleted {
			t.Errorf("request %q is %s", s.Subject, s.State)
			continue
		}
		h.judgeOne(s, signerOf(i))
	}
}

func signerOf(i int) person {
	return person{Name: fmt.Sprintf("Signer %d", i), Addr: fmt.Sprintf("signer%d@partner.example", i)}
}

// open counts the requests that have not ended, and drafts not yet taken in.
func (h *house) open() int {
	list, err := h.engine.List(h.t.Context(), store.Filter{OpenOnly: true})
	must(h.t, err)
	return len(list) + len(h.mailbox)
}

// receiveAll takes in all mails, some at a time.
func (h *house) receiveAll(atOnce int) {
	h.t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, in := range h.mailbox {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if d, err := h.engine.Receive(h.t.Context(), in); err != nil || d != engine.Done {
				h.t.Errorf("receiving: %v, %v", d, err)
			}
		})
	}
	wg.Wait()
	h.mailbox = nil
}

// judgeOne checks the letters of one of many requests.
func (h *house) judgeOne(s mailflow.Summary, signer person) {
	h.t.Helper()
	got := map[string]int{}
	var signed []byte
	for _, l := range h.relay.letters() {
		if !strings.Contains(l.Subject, "[#"+s.Ref+"]") {
			continue
		}
		got[string(l.kind)+" to "+l.to]++
		if l.kind == mailflow.LetterResult {
			doc := l.pdfs(h.t)[0]
			if signed != nil && !bytes.Equal(doc, signed) {
				h.t.Errorf("%s: %s got another document", s.Subject, l.to)
			}
			signed = doc
		}
	}
	want := map[string]int{
		"approve to " + ben.Addr: 1, "invite to " + signer.Addr: 1, "code to " + signer.Addr: 1,
		"result to " + ann.Addr: 1, "result to " + ben.Addr: 1, "result to " + signer.Addr: 1,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("%s: letters %v, want %v", s.Subject, got, want)
	}
	if signed == nil {
		return
	}
	certs := signers(h.t, signed)
	if len(certs) != 2 || certs[1].EmailAddresses[0] != signer.Addr && certs[0].EmailAddresses[0] != signer.Addr {
		h.t.Errorf("%s: not signed by %s", s.Subject, signer.Addr)
	}
}

// TestRefusedAtOnce: of many drafts that no rule admits, taken in at the same time,
// each is recorded, and their sender is told once.
func TestRefusedAtOnce(t *testing.T) {
	const drafts = 8
	h := newHouse(t, options{})
	for range drafts {
		m := contract(signs(carla))
		m.from = cleo
		h.sends(m)
	}
	h.receiveAll(drafts)
	h.settle(time.Minute)
	if got := fmt.Sprint(h.kinds()); got != "[refused to "+cleo.Addr+"]" {
		t.Errorf("letters: %s", got)
	}
	entries, err := h.store.Events(t.Context(), 0, 100)
	must(t, err)
	mails := map[string]int{}
	for _, en := range entries {
		var a mailflow.AuditEntry
		must(t, json.Unmarshal(en.Data, &a))
		mails[a.Detail["mail"]]++
	}
	if len(mails) != drafts {
		t.Errorf("%d mails are in the audit log, want %d: %v", len(mails), drafts, mails)
	}
}

// TestCopiesAtOnce: the same mail, taken in many times at once, counts once.
func TestCopiesAtOnce(t *testing.T) {
	h := newHouse(t, options{})
	h.people = everybody()
	m := contract(signs(carla))
	m.id = "the.same@acme.example"
	for range 8 {
		h.sends(m)
	}
	h.receiveAll(8)
	h.settle(time.Hour)
	h.judge(signedByCarla)
}
