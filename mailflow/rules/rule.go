// Package rules turns a draft into a plan: which rule admits it, who approves, who
// signs, in which order, under which terms, and what the sender must still say.
//
// It promises:
//
//   - The first rule whose match holds decides; rules behind it are not looked at.
//   - A draft's own lines add approvers and fill the roles that the rule opens,
//     from the rule's list. They never remove or replace an approver that the rule
//     names, and they cannot make somebody the only approver whom the rule does
//     not list.
//   - Nobody approves an own draft, unless the rule says own_approval: true. If the
//     sender is one of several approvers of the rule, the others remain; if no
//     other is left, one must be named from open.approver.
//   - Our own signing addresses are never parties.
//   - All that is missing or contradictory is in Plan.Problems, at once.
//   - The same rules and facts always give the same outcome: there is no clock, no
//     randomness and no I/O here.
package rules

import "countersign/mailflow"

// A Rule is one entry of "rules:" in the configuration. The tags are the reference:
// yaml is the key, doc its meaning, default what an absent key means, need why it
// cannot be absent, min and max bound numbers.
type Rule struct {
	Name        string           `yaml:"name" need:"give a short name, for example contracts" doc:"Name of the rule, in the audit log and in explanations."`
	Match       Match            `yaml:"match" doc:"Which drafts the rule is for. All that is given must hold; the first rule that matches decides."`
	DraftLevels []mailflow.Level `yaml:"draft_levels" default:"[S, D, A, I], or [S, I] without people" doc:"Sender levels that may start a request: S (S/MIME), D (DKIM verified by us), A (Authentication-Results of our own border), I (authenticated submission). A rule without people accepts S and I only."`
	Levels      []mailflow.Level `yaml:"levels" default:"[S, D, A, I]" doc:"Sender levels with which an answer counts."`
	Approvers   People           `yaml:"approvers" doc:"Who must approve, all of them, before anything is sealed: a list, or \"draft\" if the draft names them from open.approver."`
	Signers     People           `yaml:"signers" doc:"Who signs: a list in signing order, \"cc\" (the draft's Cc addresses outside the organisation, in order), or \"draft\" (the draft's Signer lines)."`
	Viewers     []Person         `yaml:"viewers" doc:"Who gets the signed documents without being asked anything."`
	Open        Open             `yaml:"open" doc:"Roles that the draft's lines may fill, each with the addresses allowed. Approvers from anywhere may always be added to those the rule names; with open.approver, from that list only."`
	OwnApproval bool             `yaml:"own_approval" default:"false" doc:"Whether the sender of a draft may approve it."`
	Seal        string           `yaml:"seal" default:"seal" doc:"Name, under keys, of the organisation's key."`
	Level       string           `yaml:"level" default:"B-LTA" doc:"PAdES baseline level: B-B (no timestamp), B-T (timestamp from tsa), B-LT (and the revocation data that a validator needs later), B-LTA (and a timestamp over all of it, which countersign extend renews: verifiable for decades)."`
	Inspect     Inspect          `yaml:"inspect" doc:"What is done about things that a document holds besides its pages: refuse (the sender is told to send another file), warn (approvers and signers are told), allow. Each class has its own default."`
	Code        Code             `yaml:"code" doc:"The one-time codes that signers send back."`
	Expires     Duration         `yaml:"expires" default:"30d" doc:"How long a request may stay open, at least 1h, at most 365d."`
	Deliver     []Person         `yaml:"deliver" doc:"Further addresses that get the signed documents, an archive for example."`
	Reason      string           `yaml:"reason" doc:"Reason stated in the signatures, for example \"Contract agreed\"."`
	TSA         []string         `yaml:"tsa" default:"all, in their order" doc:"URLs of the timestamp authorities to use, out of the tsa list."`
}

// Match says which drafts a rule is for.
type Match struct {
	Mailbox string           `yaml:"mailbox" doc:"Name of the mailbox that the draft came to."`
	Tag     string           `yaml:"tag" doc:"What stands behind the plus sign: notice for sign+notice@acme.example."`
	From    []Pattern        `yaml:"from" default:"[\"@each of organisation.domains\"]" doc:"Who may send drafts: ann@acme.example, @acme.example, or * for everyone."`
	Subject string           `yaml:"subject" doc:"Text that the subject contains, upper and lower case alike, or a regular expression between slashes: /^Contract [0-9]+/."`
	Level   []mailflow.Level `yaml:"level" doc:"Sender levels that the rule is for; others go on to the next rule. (draft_levels refuses instead.)"`
}

// Open lists, for each role, the addresses with which a draft's lines may fill it.
type Open struct {
	Approver []Pattern `yaml:"approver" doc:"Who may be named in Approver lines, and may stand in when the sender is the rule's only approver."`
	Signer   []Pattern `yaml:"signer" default:"[\"*\"] with signers: draft" doc:"Who may be named in Signer lines."`
	Viewer   []Pattern `yaml:"viewer" doc:"Who may be named in Viewer lines."`
}

// Code bounds the one-time codes of a rule.
type Code struct {
	Digits   int      `yaml:"digits" default:"8" min:"6" max:"10" doc:"Number of digits."`
	Tries    int      `yaml:"tries" default:"5" min:"1" max:"5" doc:"Wrong tries until a code is void."`
	Lifetime Duration `yaml:"lifetime" default:"30m" doc:"How long a code works, from 5m to 24h."`
	Count    int      `yaml:"count" default:"3" min:"1" max:"3" doc:"Codes that one signer may ask for."`
}

// hasPeople reports whether somebody has to approve or sign under the rule.
func (r Rule) hasPeople() bool { return !r.Approvers.none() || !r.Signers.none() }

// WithDefaults fills in what the rule leaves out, as the default tags say.
// domains are the organisation's.
func (r Rule) WithDefaults(domains []string) Rule {
	all := []mailflow.Level{mailflow.LevelSMIME, mailflow.LevelDKIM, mailflow.LevelResults, mailflow.LevelSubmission}
	if r.DraftLevels == nil {
		r.DraftLevels = all
		if !r.hasPeople() {
			r.DraftLevels = []mailflow.Level{mailflow.LevelSMIME, mailflow.LevelSubmission}
		}
	}
	if r.Levels == nil {
		r.Levels = all
	}
	if r.Match.From == nil {
		for _, d := range domains {
			r.Match.From = append(r.Match.From, Pattern("@"+d))
		}
	}
	if r.Signers.From == FromDraft && r.Open.Signer == nil {
		r.Open.Signer = []Pattern{"*"}
	}
	orDefault(&r.Seal, "seal")
	orDefault(&r.Level, mailflow.LevelBLTA)
	orDefault(&r.Code.Digits, 8)
	orDefault(&r.Code.Tries, 5)
	orDefault(&r.Code.Count, 3)
	orDefault(&r.Code.Lifetime, 30*minute)
	orDefault(&r.Expires, 30*day)
	r.Inspect = r.Inspect.withDefaults()
	return r
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
