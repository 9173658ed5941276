package mailflow

import (
	"strconv"
	"strings"
	"time"
)

// A Decision is everything that one event changes. The engine commits it whole.
type Decision struct {
	// Next is the request afterwards, with the same Version: the store raises it.
	Next Request
	// Effects are what shells shall do once this is committed.
	Effects []Effect
	// Drop names effects that are no longer wanted.
	Drop []string
	// Audit is what goes into the audit log.
	Audit []AuditEntry
}

// An EffectKind names a kind of effect.
type EffectKind string

// The kinds of effect.
const (
	EffectPrepare   EffectKind = "prepare"   // make R0 of every document
	EffectLetter    EffectKind = "letter"    // send a letter
	EffectIntent    EffectKind = "intent"    // fix the bytes of one signature
	EffectSign      EffectKind = "sign"      // ask the key, once
	EffectTimestamp EffectKind = "timestamp" // timestamp, finish and check the file
	EffectEvidence  EffectKind = "evidence"  // get what proves the certificates of one signature, and add it to the document
	EffectExpire    EffectKind = "expire"    // the deadline's timer
)

// An Effect is something that the committed state demands. Key is unique and
// stable over all attempts.
type Effect struct {
	Key     string     `json:"key"`
	Kind    EffectKind `json:"kind"`
	Due     time.Time  `json:"due"`
	Letter  *Letter    `json:"letter,omitempty"`
	Attempt AttemptRef `json:"attempt,omitzero"`
}

// IsLetter reports whether the key of an effect is that of a letter.
func IsLetter(key string) bool {
	return strings.HasPrefix(key, string(EffectLetter)+"/") || strings.Contains(key, "/"+string(EffectLetter)+"/")
}

// An AttemptRef names one attempt at one signature.
type AttemptRef struct {
	Document int    `json:"document"`
	Slot     string `json:"slot"`
	N        int    `json:"n"`
}

// String gives "<document>/<slot>/<n>", as used in effect keys.
func (a AttemptRef) String() string {
	return strconv.Itoa(a.Document) + "/" + a.Slot + "/" + strconv.Itoa(a.N)
}

// An AuditEntry is one line of the audit log: digests and names of things, never
// a code, a token or the text of a document.
type AuditEntry struct {
	Time    time.Time `json:"time"`
	Request string    `json:"request,omitempty"`
	Event   string    `json:"event"`
	Party   string    `json:"party,omitempty"`
	// Detail says what was decided and on what grounds.
	Detail map[string]string `json:"detail,omitempty"`
}

// A LetterKind names a kind of letter; each has a template.
type LetterKind string

// The kinds of letter.
const (
	LetterAsk           LetterKind = "ask"           // sender: what the draft lacks
	LetterRefused       LetterKind = "refused"       // sender: you may not start requests here
	LetterApprove       LetterKind = "approve"       // approver: please approve or reject
	LetterInvite        LetterKind = "invite"        // signer: please agree or reject
	LetterCode          LetterKind = "code"          // signer: the code
	LetterNote          LetterKind = "note"          // anyone: why an answer changed nothing
	LetterLocked        LetterKind = "locked"        // signer: no more codes
	LetterOwner         LetterKind = "owner"         // sender: something needs attention
	LetterRejected      LetterKind = "rejected"      // everyone concerned
	LetterExpired       LetterKind = "expired"       // everyone concerned
	LetterCancelled     LetterKind = "cancelled"     // everyone concerned
	LetterFailed        LetterKind = "failed"        // everyone concerned
	LetterResult        LetterKind = "result"        // everyone: the signed documents
	LetterUndeliverable LetterKind = "undeliverable" // sender: a letter could not be delivered
)

// A Note says why an answer changed nothing, or what an owner must know.
type Note string

// The notes. The first group goes to whoever answered, the second to the owner.
const (
	NoteUnclear     Note = "unclear"      // no command in the first line
	NoteRemark      Note = "remark"       // a command, and other text below it
	NoteWrongCode   Note = "wrong-code"   // Tries left
	NoteExpiredCode Note = "expired-code" //
	NoteUsedCode    Note = "used-code"    //
	NoteOldCode     Note = "old-code"     // the code of an earlier letter
	NoteNoCode      Note = "no-code"      // a code before AGREE
	NoteAnswered    Note = "answered"     // the answer is there already
	NoteEnded       Note = "ended"        // the request is over
	NoteNotYou      Note = "not-you"      // somebody else's token
	NoteNotTurn     Note = "not-turn"     // a command that this party cannot give
	NoteBadName     Note = "bad-name"     // the Name: line cannot go into a certificate

	NoteUnproven Note = "unproven" // owner: an answer came whose sender is not proven
	NoteStranger Note = "stranger" // owner: somebody else answered with a party's token
	NoteLocked   Note = "locked"   // owner: a signer used up the codes
)

// A Letter is a mail to be sent. The engine renders it, together with the request
// as it then is, before it is committed; from then on its bytes are fixed.
type Letter struct {
	Kind LetterKind `json:"kind"`
	// Party is the ID of the party it goes to; To its address.
	Party string  `json:"party,omitempty"`
	To    Address `json:"to"`
	// From is the signing address, without its token.
	From string    `json:"from"`
	Date time.Time `json:"date"`
	// MessageID and References are without angle brackets.
	MessageID  string   `json:"message_id"`
	References []string `json:"references,omitempty"`
	// Boundary is 32 hex digits from which MIME boundaries are made; Bounce the
	// letter's envelope sender tag, "b-" and 26 base32 characters, or empty for
	// the null return path.
	Boundary string `json:"boundary"`
	Bounce   string `json:"bounce,omitempty"`
	// Token says that answers to this letter count: Reply-To carries the token of
	// Party at TokenVersion. Challenge, if not 0, is the code it tells.
	Token        bool `json:"token,omitempty"`
	TokenVersion int  `json:"token_version,omitempty"`
	Challenge    int  `json:"challenge,omitempty"`
	// Attach are the files that go with it.
	Attach []Attachment `json:"attach,omitempty"`

	// What the templates need beyond the request itself.
	Problems []Problem `json:"problems,omitempty"`
	Note     Note      `json:"note,omitempty"`
	Tries    int       `json:"tries,omitempty"`  // wrong tries left
	Reason   string    `json:"reason,omitempty"` // of a rejection or failure
	About    string    `json:"about,omitempty"`  // the party it is about
	Detail   string    `json:"detail,omitempty"` // an address or the relay's answer
	Subject  string    `json:"subject,omitempty"`
}

// An Attachment is a stored file that a letter carries.
type Attachment struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Blob Blob   `json:"blob"`
	Size int64  `json:"size"`
}
