package mailflow

import (
	"encoding/json"
	"log/slog"
	"time"
)

// A Mail is what the core needs to know of an inbound mail. The raw bytes are
// kept as evidence under Blob.
type Mail struct {
	Blob       Blob      `json:"blob"`
	MessageID  string    `json:"message_id"` // without angle brackets
	References []string  `json:"references,omitempty"`
	From       Address   `json:"from"`
	Level      Level     `json:"level"`
	Subject    string    `json:"subject"`
	Received   time.Time `json:"received"`
}

// An Event is something that happened: a mail came, an effect had an outcome, a
// deadline passed. Random holds 32 bytes drawn by the engine for this event; all
// that looks random in the decision (Message-IDs, boundaries, the request's ID)
// is derived from them, so that Step stays a pure function.
type Event struct {
	Random [32]byte
	Body   EventBody
}

// EventBody is one of the event types of this file.
type EventBody interface{ event() }

// A Command is what an answer asks for.
type Command string

// The commands. Remark and Unclear execute nothing: a remark is a command with
// other text below it, anything else that is no command is unclear.
const (
	CommandApprove Command = "approve"
	CommandAgree   Command = "agree"
	CommandReject  Command = "reject"
	CommandCode    Command = "code"
	CommandRemark  Command = "remark"
	CommandUnclear Command = "unclear"
	CommandNone    Command = "none"
)

// Code is a one-time verification code. It never reaches a log line or a stored
// value.
type Code string

// LogValue implements slog.LogValuer.
func (Code) LogValue() slog.Value { return slog.StringValue("[code]") }

// String keeps the code out of formatted text; use string(c) to send it.
func (Code) String() string { return "[code]" }

// MarshalJSON keeps the code out of anything stored.
func (Code) MarshalJSON() ([]byte, error) { return json.Marshal("[code]") }

type (
	// DraftReceived begins a request (Step is given a zero Request), or goes on
	// with one whose sender was asked for something.
	DraftReceived struct {
		Mail      Mail
		Mailbox   string
		Address   string
		Lines     []Line
		Cc        []Address
		Documents []Document // name, original, size
		Plan      Plan
	}

	// Prepared reports R0 of every document, in order.
	Prepared struct {
		Documents []Document
	}

	// Unfit reports that a document cannot be prepared: the sender is asked for
	// another one.
	Unfit struct {
		Problems []Problem
	}

	// AnswerReceived is a mail that carries the reply token of a party. CodeFor
	// is the number of the challenge whose code was typed, 0 if it was the code
	// of none; see [MatchCode].
	AnswerReceived struct {
		Mail    Mail
		Party   string
		Command Command
		Word    string // the command as typed
		Reason  string // the text after a reject
		Name    string // "Name:" line after AGREE
		CodeFor int
		Problem string // why it is unclear, for people
		BadName bool   // it is unclear because of its "Name:" line
	}

	// IntentMade reports that the bytes of one signature are fixed.
	IntentMade struct {
		Ref    AttemptRef
		Base   Blob
		H      string
		Intent []byte
		Serial string
		OneUse bool
		Until  time.Time
	}

	// SignatureMade reports the signature value over a stored intent.
	SignatureMade struct {
		Ref       AttemptRef
		Signature []byte
	}

	// AttemptLost reports that a stored intent can never be signed or finished:
	// its one-use key died with a process, or its certificate ended before a
	// timestamp was to be had.
	AttemptLost struct {
		Ref AttemptRef
		Why string
	}

	// Stamped reports the finished revision: signed, timestamped, checked.
	Stamped struct {
		Ref    AttemptRef
		Result Blob
		Size   int64
		Time   time.Time
		Token  []byte // the timestamp itself (RFC 3161, DER); empty at level B-B
	}

	// Proved reports what makes a finished revision last: the evidence, dated after its
	// timestamp and before the certificates end, and the revision with that in it and
	// a timestamp over it.
	Proved struct {
		Ref      AttemptRef
		Evidence Blob
		Result   Blob
		Size     int64
		Lasts    time.Time // when the certificate of the document timestamp ends; zero at level B-LT
		// Unproved names signatures that the draft brought along and for which no
		// evidence is to be had.
		Unproved []string
	}

	// SigningFailed reports that a signature cannot be made and trying again
	// cannot help.
	SigningFailed struct {
		Ref AttemptRef
		Why string
	}

	// RelayAccepted reports that our relay took a letter over (250).
	RelayAccepted struct {
		Key  string
		Text string // the relay's answer
	}

	// RelayRefused reports that our relay will never take it (5xx).
	RelayRefused struct {
		Key  string
		Text string
	}

	// LetterMoot reports that a letter was not sent because its request had
	// ended; see [Moot]. Maybe says that an earlier attempt had no answer, so that it
	// may have arrived all the same.
	LetterMoot struct {
		Key   string
		Maybe bool
	}

	// Expire reports that the request's deadline may have passed.
	Expire struct{}

	// Cancel ends a request by the hand of an administrator.
	Cancel struct {
		By     string
		Reason string
	}
)

func (DraftReceived) event()  {}
func (Prepared) event()       {}
func (Unfit) event()          {}
func (AnswerReceived) event() {}
func (IntentMade) event()     {}
func (SignatureMade) event()  {}
func (AttemptLost) event()    {}
func (Stamped) event()        {}
func (Proved) event()         {}
func (SigningFailed) event()  {}
func (RelayAccepted) event()  {}
func (RelayRefused) event()   {}
func (LetterMoot) event()     {}
func (Expire) event()         {}
func (Cancel) event()         {}

// A Plan is what the rules make of a draft: the terms, the people, and what the
// sender must still say. Parties hold role, order and address only.
type Plan struct {
	Terms    Terms
	Parties  []Party
	Problems []Problem
}

// A ProblemKind says what is wrong with a draft.
type ProblemKind string

// What a sender may be asked for. What the Args of each mean stands behind it.
const (
	ProblemNoPDF         ProblemKind = "no-pdf"
	ProblemNoSigner      ProblemKind = "no-signer"       // the rule wants signers named
	ProblemNoApprover    ProblemKind = "no-approver"     // the rule wants approvers named
	ProblemRoleClosed    ProblemKind = "role-closed"     // line, role: the rule names them itself
	ProblemNotInList     ProblemKind = "not-in-list"     // role, address: not among those the rule allows
	ProblemBadLine       ProblemKind = "bad-line"        // line
	ProblemTwice         ProblemKind = "twice"           // role, address
	ProblemOwnApproval   ProblemKind = "own-approval"    // address
	ProblemSelfAddressed ProblemKind = "self-addressed"  // address: one of our own
	ProblemUnfitPDF      ProblemKind = "unfit-pdf"       // document, reason in plain English
	ProblemUnsafePDF     ProblemKind = "unsafe-pdf"      // document, findings in plain English, their classes
	ProblemTooLarge      ProblemKind = "too-large"       // document, size, limit
	ProblemMailTooLarge  ProblemKind = "mail-too-large"  // size, limit
	ProblemTooMany       ProblemKind = "too-many"        // number of documents, limit
	ProblemUnreadable    ProblemKind = "unreadable-part" // attachment name, why
)

// A Problem is one thing that is missing, contradictory or unusable in a draft.
type Problem struct {
	Kind ProblemKind `json:"kind"`
	Args []string    `json:"args,omitempty"`
}
