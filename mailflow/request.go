package mailflow

import (
	"slices"
	"strings"
	"time"
)

// An Address is one mailbox (RFC 5322, 3.4): Addr is the addr-spec, Name the
// display name, if there is one.
type Address struct {
	Name string `json:"name,omitempty"`
	Addr string `json:"addr"`
}

// String returns the display name, or the addr-spec if there is none.
func (a Address) String() string {
	if a.Name == "" {
		return a.Addr
	}
	return a.Name + " <" + a.Addr + ">"
}

// SameAddr reports whether two addr-specs are one mailbox to us: without regard
// to upper and lower case of ASCII letters (others have look-alikes that fold onto
// them), and with nothing stripped, so that ann+x@ is not ann@.
func SameAddr(a, b string) bool {
	lower := func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	return a != "" && strings.Map(lower, a) == strings.Map(lower, b)
}

// Domain returns the part of an addr-spec after the last @, in lower case.
func Domain(addr string) string {
	return strings.ToLower(addr[strings.LastIndexByte(addr, '@')+1:])
}

// A Blob names the stored bytes of a document or a mail: their SHA-256, in hex.
type Blob string

// A Level says how sure it is that a mail comes from its From address. The levels
// are not a scale: a rule lists those it accepts.
type Level string

// The sender levels.
const (
	LevelSMIME      Level = "S" // S/MIME signature of a pinned or configured root
	LevelDKIM       Level = "D" // our own verification of an aligned DKIM signature
	LevelResults    Level = "A" // Authentication-Results of our own border, by position
	LevelSubmission Level = "I" // authenticated submission by the same person
	LevelToken      Level = "T" // only the reply token fits
	LevelNone       Level = "0"
)

// A Role is what a party does in a request.
type Role string

// The roles. The sender is a party too: it owns the request and is asked for what
// its draft left out.
const (
	RoleSender   Role = "sender"
	RoleApprover Role = "approver"
	RoleSigner   Role = "signer"
	RoleViewer   Role = "viewer"
)

// A State is where a request is in its life; see the diagram in doc.go.
type State string

// The states. The last five are terminal.
const (
	StateAsking     State = "asking"     // the sender was asked for what the draft lacks
	StatePreparing  State = "preparing"  // R0 is being made
	StateApproving  State = "approving"  // approvers are asked
	StateSealing    State = "sealing"    // the organisation's seal is being made
	StateSigning    State = "signing"    // signers are asked, their signatures made
	StateDelivering State = "delivering" // the signed documents are on their way
	StateCompleted  State = "completed"
	StateRejected   State = "rejected"
	StateCancelled  State = "cancelled"
	StateExpired    State = "expired"
	StateFailed     State = "failed"
)

// Terminal reports whether no event can change the state any more.
func (s State) Terminal() bool {
	switch s {
	case StateCompleted, StateRejected, StateCancelled, StateExpired, StateFailed:
		return true
	}
	return false
}

// A PartyState is how far one party is.
type PartyState string

// The states of a party.
const (
	PartyWaiting  PartyState = "waiting"  // its turn has not come
	PartyAsked    PartyState = "asked"    // invited, not answered
	PartyApproved PartyState = "approved" // an approver said yes
	PartyCoding   PartyState = "coding"   // a signer agreed and has a code
	PartyReady    PartyState = "ready"    // a signer's code was right: sign
	PartySigned   PartyState = "signed"
	PartyRejected PartyState = "rejected"
	PartyLocked   PartyState = "locked" // too many wrong codes
)

// A Party is a person in a request.
type Party struct {
	// ID is "p0" for the sender, then "p1" and so on: stable, and part of the
	// derivation of tokens and codes.
	ID      string  `json:"id"`
	Role    Role    `json:"role"`
	Order   int     `json:"order"` // equal numbers are asked together
	Address Address `json:"address"`
	// TokenVersion goes into the reply token; raising it voids older letters.
	TokenVersion int        `json:"token_version"`
	State        PartyState `json:"state"`
	Asked        time.Time  `json:"asked,omitzero"`
	// CertName is the name that goes into the signer's certificate: confirmed in
	// the AGREE answer, or the invited one.
	CertName   string      `json:"cert_name,omitempty"`
	Challenges []Challenge `json:"challenges,omitempty"`
	// Answer is the answer that decided: approval, code or rejection.
	Answer *Answered `json:"answer,omitempty"`
	// Agreed is a signer's AGREE that the first code was sent for.
	Agreed *Answered `json:"agreed,omitempty"`
	// Notes remembers when each kind of note was last sent to this party, and
	// how many there were, so that two robots cannot write to each other forever.
	Notes map[Note]NoteCount `json:"notes,omitempty"`
}

// NoteCount bounds the notes of one kind to one party.
type NoteCount struct {
	N    int       `json:"n"`
	Last time.Time `json:"last"`
}

// A Challenge is one code sent to a signer. The code itself is derived, never
// stored; see [DeriveCode].
type Challenge struct {
	N       int       `json:"n"` // 1, 2, 3
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Wrong   int       `json:"wrong"` // wrong tries so far
	Used    bool      `json:"used"`
}

// Answered is the evidence of an answer that was acted on.
type Answered struct {
	At    time.Time `json:"at"`
	Mail  Blob      `json:"mail"`  // the raw mail
	Level Level     `json:"level"` // how its sender was authenticated
	Word  string    `json:"word"`  // the command as typed
	// Reason is the free text of a rejection.
	Reason string `json:"reason,omitempty"`
}

// A Document is one PDF of a request.
type Document struct {
	Name     string `json:"name"` // the attachment's name, made safe
	Original Blob   `json:"original"`
	Size     int64  `json:"size"` // of the original, in bytes
	// Rebuilt is the original put in order, if it came broken and unsigned; the original
	// is kept.
	Rebuilt Blob   `json:"rebuilt,omitempty"`
	Damage  string `json:"damage,omitempty"` // what was wrong with the original
	// R0 is what people see and approve: the original, or what was rebuilt of it, plus one
	// preparation increment.
	R0     Blob  `json:"r0,omitempty"`
	R0Size int64 `json:"r0_size,omitempty"`
	Pages  int   `json:"pages,omitempty"`
	// Certifiable is false if the draft carried signatures: the seal is then an
	// approval signature, as a certification must come first (ISO 32000-2,
	// 12.8.2.2).
	Certifiable bool `json:"certifiable,omitempty"`
	// Inventory is what the document holds besides its pages.
	Inventory Inventory `json:"inventory,omitzero"`
	// Fields maps a slot (SealSlot or a party's ID) to the empty signature field
	// made for it in R0.
	Fields map[string]string `json:"fields,omitempty"`
	// Revision is the newest version: R0, then with the seal, then with each
	// signature.
	Revision     Blob      `json:"revision,omitempty"`
	RevisionSize int64     `json:"revision_size,omitempty"`
	Signatures   []Attempt `json:"signatures,omitempty"`
	// Lasts is the end of the newest document timestamp's certificate: extend the
	// document before (level B-LTA).
	Lasts time.Time `json:"lasts,omitzero"`
}

// SealSlot is the slot of the organisation's own signature.
const SealSlot = "seal"

// A Stage is how far one attempt at a signature is.
type Stage string

// The stages of an attempt. Each is committed before the next is begun.
const (
	StageIntent    Stage = "intent"    // the bytes to be signed are being fixed
	StageSign      Stage = "sign"      // they are stored; the key is asked once
	StageTimestamp Stage = "timestamp" // signed; waits for the timestamp
	StageEvidence  Stage = "evidence"  // the signed revision is stored; what makes it last is being added
	StageDone      Stage = "done"      // the signed revision is stored, checked and proved
)

// An Attempt is one signature of one document: by the seal or by a signer.
type Attempt struct {
	Slot  string `json:"slot"`
	N     int    `json:"n"` // 1, and one more for each attempt that was lost
	Stage Stage  `json:"stage"`
	// Base is the revision that the intent was made over.
	Base Blob `json:"base,omitempty"`
	// Intent holds the exact bytes to be signed and how to finish the file, as
	// package signing wrote them; Serial is the signing certificate's number.
	Intent []byte    `json:"intent,omitempty"`
	Serial string    `json:"serial,omitempty"`
	OneUse bool      `json:"one_use,omitempty"`
	Until  time.Time `json:"until,omitzero"` // end of a one-use certificate
	// Signature is the signature value, committed before the timestamp is asked.
	Signature []byte    `json:"signature,omitempty"`
	Result    Blob      `json:"result,omitempty"`
	Size      int64     `json:"size,omitempty"`   // of the result, in bytes
	Stamped   time.Time `json:"stamped,omitzero"` // the timestamp's time
	// Token is the timestamp over the signature, kept until its evidence is stored.
	Token []byte `json:"token,omitempty"`
	// Evidence holds the certificates and revocation data that prove the signer's and
	// the timestamp's certificates, as package signing/revocation writes them. Lasting is the
	// result with that in it (level B-LT) and a document timestamp over it (B-LTA).
	Evidence Blob `json:"evidence,omitempty"`
	Lasting  Blob `json:"lasting,omitempty"`
}

// A Delivery tells what became of one letter.
type Delivery struct {
	Key       string        `json:"key"`
	Kind      LetterKind    `json:"kind"`
	Party     string        `json:"party"`
	To        string        `json:"to"`
	MessageID string        `json:"message_id"`
	Written   time.Time     `json:"written"` // the letter's Date
	State     DeliveryState `json:"state"`
	At        time.Time     `json:"at"`
	Text      string        `json:"text,omitempty"` // the relay's answer
	// Sent is the text of a letter that may be answered, without its secrets:
	// what an answer quotes of it is known.
	Sent Blob `json:"sent,omitempty"`
}

// A DeliveryState says whether our relay took a letter over.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryQueued  DeliveryState = "queued"
	DeliverySent    DeliveryState = "sent"    // 250 from the relay
	DeliveryRefused DeliveryState = "refused" // 5xx: it will not be tried again
	DeliveryMoot    DeliveryState = "moot"    // the request ended before it left
)

// Terms are what a rule demands, copied into the request when it begins, so that
// later edits of the rules do not reach it.
type Terms struct {
	Rule     string `json:"rule"`
	RuleHash string `json:"rule_hash"` // SHA-256 of the rules in force
	// Organisation is the name that letters and the seal speak for.
	Organisation string `json:"organisation"`
	// Admin is told if the request fails for technical reasons; may be empty.
	Admin string `json:"admin,omitempty"`
	// AnswerLevels are the sender levels with which an answer counts.
	AnswerLevels []Level `json:"answer_levels"`
	// Seal names the organisation's key.
	Seal string `json:"seal"`
	// Level is the PAdES baseline level (ETSI EN 319 142-1, 6): [LevelBB] and so on.
	Level       string        `json:"level"`
	CodeDigits  int           `json:"code_digits"`
	CodeTries   int           `json:"code_tries"`
	CodeLife    time.Duration `json:"code_life"`
	Codes       int           `json:"codes"` // codes a signer may ask for
	Expires     time.Duration `json:"expires"`
	OwnApproval bool          `json:"own_approval,omitempty"` // the sender may approve
	// TSA are the time-stamping authorities to use, by URL; none means all that
	// are configured.
	TSA []string `json:"tsa,omitempty"`
	// Inspect says for each class of finding in a document whether it is refused
	// ("refuse"), told to those who decide ("warn") or passed over ("allow").
	Inspect map[string]string `json:"inspect,omitempty"`
	// Reason is what the seal and the signatures state as their reason.
	Reason string `json:"reason,omitempty"`
}

// The PAdES baseline levels.
const (
	LevelBB   = "B-B"   // a signature
	LevelBT   = "B-T"   // and its timestamp
	LevelBLT  = "B-LT"  // and what proves the certificates
	LevelBLTA = "B-LTA" // and a timestamp over all that
)

// Stamps reports whether each signature gets a timestamp.
func (t Terms) Stamps() bool { return t.Level != LevelBB }

// Lasting reports whether what proves the certificates goes into the documents.
func (t Terms) Lasting() bool { return t.Level == LevelBLT || t.Level == LevelBLTA }

// AcceptsAnswer reports whether an answer of that sender level may count.
func (t Terms) AcceptsAnswer(l Level) bool { return slices.Contains(t.AnswerLevels, l) }

// A Line is one "Signer: Name <addr>" line of a draft.
type Line struct {
	Role    Role    `json:"role"`
	Address Address `json:"address"`
}

// A Request is one thing to be signed: documents, parties, the terms it runs
// under, its state and what happened so far.
type Request struct {
	ID      string    `json:"id"`  // UUIDv7
	Ref     string    `json:"ref"` // for people: "7K3F9Q"
	Version uint64    `json:"version"`
	State   State     `json:"state"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Mailbox is the configured name of the mailbox the draft came to, Address
	// the signing address that letters come from.
	Mailbox string `json:"mailbox"`
	Address string `json:"address"`
	Subject string `json:"subject"`
	Draft   Mail   `json:"draft"`
	// Lines and Cc are what the draft, and the answers to our questions about it,
	// said so far about who takes part.
	Lines     []Line     `json:"lines,omitempty"`
	Cc        []Address  `json:"cc,omitempty"`
	Terms     Terms      `json:"terms"`
	Problems  []Problem  `json:"problems,omitempty"` // what the sender was last asked for
	Asks      int        `json:"asks,omitempty"`     // how often
	Documents []Document `json:"documents"`
	// H binds approvals, codes and signatures: see [Fingerprint].
	H       string  `json:"h,omitempty"`
	Parties []Party `json:"parties"`
	// Ended says why a terminal request ended, for people; EndedBy is the party.
	Ended      string     `json:"ended,omitempty"`
	EndedBy    string     `json:"ended_by,omitempty"`
	Letters    int        `json:"letters"` // counts letters, for their keys
	Deliveries []Delivery `json:"deliveries,omitempty"`
}

// Party returns the party with that ID, or nil.
func (r *Request) Party(id string) *Party {
	for i := range r.Parties {
		if r.Parties[i].ID == id {
			return &r.Parties[i]
		}
	}
	return nil
}

// Sender returns the party that owns the request.
func (r *Request) Sender() *Party { return r.Party("p0") }

// With returns the parties of a role, in order.
func (r *Request) With(role Role) []*Party {
	var ps []*Party
	for i := range r.Parties {
		if r.Parties[i].Role == role {
			ps = append(ps, &r.Parties[i])
		}
	}
	slices.SortStableFunc(ps, func(a, b *Party) int { return a.Order - b.Order })
	return ps
}
