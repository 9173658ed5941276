package mailflow

import (
	"strings"
	"time"
)

// answer decides about a mail that carries a party's reply token. It counts only
// if it comes from that party with a sender level that the rule accepts
// (invariant 23).
func (d *step) answer(ev AnswerReceived) {
	r, m := d.r, ev.Mail
	p := r.Party(ev.Party)
	if p == nil {
		d.audit("answer ignored", ev.Party, "mail", string(m.Blob), "why", "no such party")
		return
	}
	proven := r.Terms.AcceptsAnswer(m.Level)
	if !SameAddr(m.From.Addr, p.Address.Addr) {
		d.audit("answer ignored", p.ID, "mail", string(m.Blob), "level", string(m.Level), "why", "not from this party")
		d.stranger(p, m, proven)
		return
	}
	if !proven {
		d.audit("answer ignored", p.ID, "mail", string(m.Blob), "level", string(m.Level), "why", "the sender is not proven")
		d.owner(NoteUnproven, p, m.From.Addr)
		return
	}
	if r.State.Terminal() || r.State == StateDelivering {
		d.audit("answer ignored", p.ID, "mail", string(m.Blob), "why", "the request is "+string(r.State))
		d.late(p, ev)
		return
	}
	switch p.Role {
	case RoleApprover:
		d.approver(p, ev)
	case RoleSigner:
		d.signer(p, ev)
	default:
		d.ignore(p, ev, NoteNotTurn)
	}
}

// ignore changes nothing and says why.
func (d *step) ignore(p *Party, ev AnswerReceived, n Note) {
	d.audit("answer ignored", p.ID, "mail", string(ev.Mail.Blob), "command", string(ev.Command), "why", string(n))
	d.note(p, n, ev.Mail)
}

// late answers a mail to a request that is over.
func (d *step) late(p *Party, ev AnswerReceived) {
	if ev.Command == CommandCode && ev.CodeFor != 0 && (p.State == PartyReady || p.State == PartySigned) {
		d.note(p, NoteUsedCode, ev.Mail)
		return
	}
	d.note(p, NoteEnded, ev.Mail)
}

func (d *step) evidence(ev AnswerReceived) *Answered {
	return &Answered{At: d.now, Mail: ev.Mail.Blob, Level: ev.Mail.Level, Word: ev.Word, Reason: ev.Reason}
}

func (d *step) approver(p *Party, ev AnswerReceived) {
	switch ev.Command {
	case CommandApprove, CommandAgree:
		if p.State != PartyAsked || d.r.State != StateApproving {
			d.ignore(p, ev, NoteAnswered)
			return
		}
		p.State, p.Answer = PartyApproved, d.evidence(ev)
		d.audit("approved", p.ID, "mail", string(ev.Mail.Blob), "level", string(ev.Mail.Level), "word", ev.Word, "h", d.r.H)
		d.advance()
	case CommandReject:
		if d.r.State != StateApproving {
			d.ignore(p, ev, NoteAnswered)
			return
		}
		d.reject(p, ev)
	case CommandCode:
		d.ignore(p, ev, NoteNotTurn)
	case CommandRemark:
		d.ignore(p, ev, NoteRemark)
	default:
		d.ignore(p, ev, NoteUnclear)
	}
}

func (d *step) reject(p *Party, ev AnswerReceived) {
	p.State, p.Answer = PartyRejected, d.evidence(ev)
	d.audit("rejected", p.ID, "mail", string(ev.Mail.Blob), "level", string(ev.Mail.Level), "word", ev.Word, "h", d.r.H)
	d.end(StateRejected, LetterRejected, ev.Reason, p.ID)
}

func (d *step) signer(p *Party, ev AnswerReceived) {
	switch p.State {
	case PartyAsked, PartyCoding:
	case PartyLocked: // no code helps any more, but a no is still a no
		if ev.Command == CommandReject {
			d.reject(p, ev)
			return
		}
		d.audit("answer ignored", p.ID, "mail", string(ev.Mail.Blob), "why", "locked")
		return
	default:
		if ev.Command == CommandCode && ev.CodeFor != 0 {
			d.ignore(p, ev, NoteUsedCode)
		} else {
			d.ignore(p, ev, NoteAnswered)
		}
		return
	}
	switch ev.Command {
	case CommandAgree, CommandApprove:
		d.agree(p, ev)
	case CommandReject:
		d.reject(p, ev)
	case CommandCode:
		d.code(p, ev)
	case CommandRemark:
		d.ignore(p, ev, NoteRemark)
	default:
		n := NoteUnclear
		if ev.BadName {
			n = NoteBadName
		}
		d.ignore(p, ev, n)
	}
}

// agree sends the next code, or locks the party if there is none left.
func (d *step) agree(p *Party, ev AnswerReceived) {
	name := ev.Name
	if name == "" {
		name = p.CertName
	}
	if name == "" {
		name = invitedName(p.Address)
	}
	if err := CheckName(name); err != nil { // it was invited under such a name
		d.ignore(p, ev, NoteBadName)
		return
	}
	p.CertName, p.Agreed = name, d.evidence(ev)
	d.audit("agreed", p.ID, "mail", string(ev.Mail.Blob), "level", string(ev.Mail.Level), "word", ev.Word, "h", d.r.H)
	if len(p.Challenges) >= d.r.Terms.Codes {
		d.lock(p)
		return
	}
	p.State = PartyCoding
	p.Challenges = append(p.Challenges, Challenge{N: len(p.Challenges) + 1, Issued: d.now, Expires: d.now.Add(d.r.Terms.CodeLife)})
	d.sendCode(p, appendID(ev.Mail.References, ev.Mail.MessageID))
}

// sendCode mails the code of the newest challenge.
func (d *step) sendCode(p *Party, refs []string) {
	c := p.Challenges[len(p.Challenges)-1]
	d.toParty(p, Letter{Kind: LetterCode, Token: true, Challenge: c.N, References: refs})
	d.audit("code sent", p.ID, "challenge", itoa(c.N), "expires", c.Expires.Format(time.RFC3339), "h", d.r.H)
}

// invitedName is the name that a signer was invited under: the display name, else
// what stands before the @.
func invitedName(a Address) string {
	if a.Name != "" {
		return a.Name
	}
	local, _, _ := strings.Cut(a.Addr, "@")
	return local
}

// code checks a code against the newest challenge: bounded tries, bounded time,
// single use (invariants 7 and 8).
func (d *step) code(p *Party, ev AnswerReceived) {
	if p.State != PartyCoding {
		d.ignore(p, ev, NoteNoCode)
		return
	}
	c := &p.Challenges[len(p.Challenges)-1]
	switch {
	case c.Wrong >= d.r.Terms.CodeTries:
		d.ignore(p, ev, NoteExpiredCode)
	case ev.CodeFor == 0:
		d.wrongCode(p, c, ev)
	case ev.CodeFor != c.N:
		d.ignore(p, ev, NoteOldCode)
	case !d.now.Before(c.Expires):
		d.ignore(p, ev, NoteExpiredCode)
	default:
		c.Used = true
		p.State, p.Answer = PartyReady, d.evidence(ev)
		// The code itself is no evidence and must not be kept.
		p.Answer.Word = string(CommandCode)
		d.audit("code accepted", p.ID, "mail", string(ev.Mail.Blob), "level", string(ev.Mail.Level), "challenge", itoa(c.N), "h", d.r.H)
		d.advance()
	}
}

func (d *step) wrongCode(p *Party, c *Challenge, ev AnswerReceived) {
	c.Wrong++
	left := d.r.Terms.CodeTries - c.Wrong
	d.audit("wrong code", p.ID, "mail", string(ev.Mail.Blob), "challenge", itoa(c.N), "left", itoa(left))
	if left <= 0 && len(p.Challenges) >= d.r.Terms.Codes {
		d.lock(p)
		return
	}
	d.noteWith(p, NoteWrongCode, ev.Mail, Letter{Tries: left})
}

// lock stops a signer who used up all codes; the owner is told.
func (d *step) lock(p *Party) {
	p.State = PartyLocked
	d.audit("locked", p.ID, "codes", itoa(len(p.Challenges)))
	d.toParty(p, Letter{Kind: LetterLocked})
	d.owner(NoteLocked, p, "")
}
