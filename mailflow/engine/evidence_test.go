package engine_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/evidence"
)

// evidenceGone makes all that proves certificates fail in a way.
func (h *house) evidenceGone(m demopki.Mode) {
	h.pki.SetMode(demopki.OCSP, m)
	h.pki.SetMode(demopki.CRL, m)
}

// TestEvidenceDown: while responders and lists are not to be had, the next signature
// waits, visibly; nothing leaves without its proof.
func TestEvidenceDown(t *testing.T) {
	h := newHouse(t, options{})
	h.people[ben.Addr], h.people[carla.Addr] = approves, agrees
	h.evidenceGone(demopki.Down)
	h.sends(contract(signs(carla)))
	h.settle(48 * time.Hour)
	d := h.wantState(mailflow.StateSealing)
	if !strings.Contains(d.Waits, "waiting for what proves the certificates") || h.stage(mailflow.SealSlot) != mailflow.StageEvidence {
		t.Errorf("it waits for %q, the seal is at %s", d.Waits, h.stage(mailflow.SealSlot))
	}
	h.evidenceGone(demopki.Honest)
	for !slices.Contains(h.kinds(), "code to "+carla.Addr) { // a code does not last for long
		h.settle(5 * time.Minute)
	}
	l := h.last(carla, mailflow.LetterCode)
	h.replies(l, l.code())
	h.settle(2 * time.Hour)
	h.judge(signedByCarla)
}

// TestOldEvidence: answers from before the signature prove nothing about it.
func TestOldEvidence(t *testing.T) {
	h := newHouse(t, options{})
	h.evidenceGone(demopki.Old)
	h.sends(notice())
	h.settle(time.Hour)
	if d := h.wantState(mailflow.StateSealing); !strings.Contains(d.Waits, "waiting for what proves the certificates") {
		t.Errorf("it waits for %q", d.Waits)
	}
	h.evidenceGone(demopki.Honest)
	h.settle(26 * time.Hour)
	h.judge(scenarios[2].want)
}

// TestRevoked: a seal whose certificate is revoked seals nothing; the sender is told.
func TestRevoked(t *testing.T) {
	h := newHouse(t, options{})
	h.evidenceGone(demopki.Revoked)
	h.sends(notice())
	h.settle(time.Hour)
	h.wantState(mailflow.StateFailed)
	h.tells(ann, mailflow.LetterFailed, "revoked")
}

// TestEvidenceTooLate: a one-use certificate ends before anything proves it. Its
// signature is given up; the next attempt, with the same consent, makes the one document.
func TestEvidenceTooLate(t *testing.T) {
	h, l := atCode(t)
	h.afterStep = func(int) {
		if h.stage("p2") == mailflow.StageEvidence {
			h.evidenceGone(demopki.Down)
		}
	}
	h.replies(l, l.code())
	h.settle(23 * time.Hour)
	if d := h.wantState(mailflow.StateSigning); h.events(d, "attempt lost") != 0 || !strings.Contains(d.Waits, "waiting for what proves the certificates") {
		t.Errorf("before the certificate ends, it waits for %q", d.Waits)
	}
	h.settle(3 * time.Hour)
	h.afterStep = nil
	if d := h.details(); h.events(d, "attempt lost") == 0 {
		t.Error("no attempt was given up")
	}
	h.evidenceGone(demopki.Honest)
	h.settle(3 * time.Hour)
	h.judge(signedByCarla)
	h.wantUnusedSerial(h.details())
}

// TestFortyDays: the second signer signs forty days after the first, whose certificate
// has long ended by then. What proved it was kept, and goes into the document at the end.
func TestFortyDays(t *testing.T) {
	h := newHouse(t, options{Expires: 90 * 24 * time.Hour})
	h.people[ben.Addr], h.people[carla.Addr] = approves, agrees
	h.sends(contract(signs(carla), signs(dan)))
	h.settle(time.Minute)
	l := h.last(carla, mailflow.LetterCode)
	h.replies(l, l.code())
	h.settle(40 * 24 * time.Hour)
	h.replies(h.last(dan, mailflow.LetterInvite), "AGREE")
	h.settle(time.Minute)
	l = h.last(dan, mailflow.LetterCode)
	h.replies(l, l.code())
	h.settle(time.Hour)
	h.wantState(mailflow.StateCompleted)
	judgePDF(t, h.last(ann, mailflow.LetterResult).pdfs(t)[0], 3)
}

// TestArchiveWaits: the timestamp over a signature's evidence is waited for, too.
func TestArchiveWaits(t *testing.T) {
	h := newHouse(t, options{})
	h.afterStep = func(int) {
		if h.stage(mailflow.SealSlot) == mailflow.StageEvidence {
			h.tsa.SetMode(demopki.Down)
		}
	}
	h.clock.advance(time.Hour)
	h.sends(notice())
	h.settle(5 * time.Hour)
	h.afterStep = nil
	if d := h.wantState(mailflow.StateSealing); !strings.Contains(d.Waits, "time-stamping authority") || d.Documents[0].Revision != d.Documents[0].R0 {
		t.Errorf("it waits for %q, the revision is %s", d.Waits, d.Documents[0].Revision)
	}
	h.tsa.SetMode(demopki.Honest)
	h.settle(2 * time.Hour)
	h.judge(scenarios[2].want)
}

// TestBrokenForeignSignature: a draft with a signature that does not hold is not signed over;
// the sender is told.
func TestBrokenForeignSignature(t *testing.T) {
	h := newHouse(t, options{})
	h.sends(notice())
	h.settle(time.Hour)
	signed := h.last(ann, mailflow.LetterResult).pdfs(t)[0]
	other := newHouse(t, options{})
	m := notice()
	m.pdf = bytes.Replace(signed, []byte("Nobody owes"), []byte("Somebody ow"), 1)
	other.sends(m)
	other.settle(time.Hour)
	other.wantState(mailflow.StateAsking)
	other.tells(ann, mailflow.LetterAsk, "does not hold")
}

// TestAnotherAuthorityStamps: another authority than before stamps the document. What proves it
// is in the file, though its timestamp is the last thing there.
func TestAnotherAuthorityStamps(t *testing.T) {
	h := newHouse(t, options{})
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	other, err := demopki.Make(demopki.Options{Now: opening, Organisation: "Other", URL: server.URL})
	must(t, err)
	mux.Handle("/", other.Server(h.clock.Now))
	client, err := evidence.New(evidence.Options{TSAs: []evidence.TSA{{URL: h.tsaURL}, {URL: server.URL + "/tsa"}}, Now: h.clock.Now})
	must(t, err)
	h.config.TSA = stamper{client, h.clock}
	h.restart()
	h.afterStep = func(int) {
		if h.stage(mailflow.SealSlot) == mailflow.StageEvidence {
			h.tsa.SetMode(demopki.Down)
		}
	}
	h.sends(notice())
	h.settle(time.Hour)
	h.wantState(mailflow.StateCompleted)
	file := h.last(ann, mailflow.LetterResult).pdfs(t)[0]
	subjects, known, err := signing.Subjects(bytes.NewReader(file), int64(len(file)))
	must(t, err)
	last := subjects[len(subjects)-1]
	if !last.Certs[0].Equal(other.Timestamps.Chain()[0]) {
		t.Fatalf("the document was stamped by %q", last.Certs[0].Subject)
	}
	if !slices.ContainsFunc(known.Certs, func(der []byte) bool { return bytes.Equal(der, last.Certs[0].Raw) }) || len(known.OCSPs) < 2 {
		t.Errorf("%q is not proven: %d certificates, %d responses", last.Certs[0].Subject, len(known.Certs), len(known.OCSPs))
	}
	judgePDF(t, file, 1)
}
