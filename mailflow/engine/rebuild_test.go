package engine_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/signing/pdf"
)

// TestRebuilt: a broken draft is put in order once, before anyone sees it; the approver
// is told, and what is signed begins with the rebuilt file.
func TestRebuilt(t *testing.T) {
	h := newHouse(t, options{})
	h.people[ben.Addr], h.people[carla.Addr] = approves, agrees
	m := contract(signs(carla))
	m.pdf = append([]byte("junk of a mail gateway\r\n"), m.pdf...)
	h.sends(m)
	h.settle(time.Minute)
	code := h.last(carla, mailflow.LetterCode)
	h.tells(ben, mailflow.LetterApprove, "it came damaged and was rebuilt: 24 bytes stand before its header")
	d := h.details()
	if d.Documents[0].Counts["rebuilt"] != 1 {
		t.Errorf("it does not show: %+v", d.Documents[0])
	}
	h.replies(code, code.code())
	h.settle(time.Hour)
	h.judge(signedByCarla)
	signed := h.last(ann, mailflow.LetterResult).pdfs(t)[0]
	if bytes.Contains(signed, []byte("gateway")) || !bytes.HasPrefix(signed, h.blob(h.request().Documents[0].Rebuilt)) {
		t.Error("the signed file does not begin with the rebuilt one")
	}
	if original := h.blob(h.request().Documents[0].Original); !bytes.Equal(original, m.pdf) {
		t.Error("the original was not kept as it came")
	}
}

// request returns the only request as it is stored.
func (h *house) request() (r mailflow.Request) {
	h.t.Helper()
	row, err := h.store.Load(h.t.Context(), h.details().ID)
	must(h.t, err)
	must(h.t, json.Unmarshal(row.Data, &r))
	return r
}

// TestNotRebuilt: a file that is cut off, or broken and signed, is not signed; the sender is told.
func TestNotRebuilt(t *testing.T) {
	whole := contract().pdf
	cut := whole[:bytes.Index(whole, []byte("6 0 obj"))]
	signature := "8 0 obj\n<< /Type /Sig /ByteRange [0 10 20 30] /Contents <00> >>\nendobj\n"
	for want, broken := range map[string][]byte{
		"its end is missing":                              cut,
		"it is broken, and object 8 in it is a signature": append(bytes.Clone(whole), signature...),
	} {
		h := newHouse(t, options{})
		m := contract(signs(carla))
		m.pdf = broken
		h.sends(m)
		h.settle(time.Minute)
		h.wantState(mailflow.StateAsking)
		h.tells(ann, mailflow.LetterAsk, want)
	}
	if _, err := pdf.Open(bytes.NewReader(whole), int64(len(whole))); err != nil {
		t.Error(err)
	}
}
