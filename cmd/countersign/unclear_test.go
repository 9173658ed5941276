package main

import (
	"strings"
	"testing"

	"countersign/mailflow"
)

// TestUnclearAnswer: doubt never signs. What is no clear answer changes nothing and
// gets one note that says what to write.
func TestUnclearAnswer(t *testing.T) {
	tn := newTown(t)
	tn.start()
	tn.sends(contract(carlaSigns))
	l := tn.gets(ben, mailflow.LetterApprove)
	tn.answers(ben, l, "Could you call me about this?")
	if n := tn.gets(ben, mailflow.LetterNote); !strings.Contains(n.Text, "APPROVE") || !strings.Contains(n.Text, "could not read a clear answer") {
		t.Errorf("the note does not say what to write:\n%s", n.Text)
	}
	tn.answers(ben, l, "Hello? Anybody there?") // the second of a day gets no note
	tn.answers(ben, l, "APPROVE\r\nBut only if clause 4 is dropped.")
	remark := tn.gets(ben, mailflow.LetterNote)
	if !strings.Contains(remark.Text, "other text") {
		t.Errorf("the note does not speak of the remark:\n%s", remark.Text)
	}
	tn.reaches(mailflow.StateApproving)
	tn.answers(ben, remark, "APPROVE") // a note can be answered like the letter itself
	invite := tn.gets(carla, mailflow.LetterInvite)
	tn.answers(carla, invite, "I AGREE, but the price must be lower")
	if n := tn.gets(carla, mailflow.LetterNote); !strings.Contains(n.Text, "AGREE") {
		t.Errorf("the note does not say what to write:\n%s", n.Text)
	}
	tn.reaches(mailflow.StateSigning)
	if n := tn.lettersTo(ben); n != 3 {
		t.Errorf("%d letters to Ben, want the request and two notes", n)
	}
}
