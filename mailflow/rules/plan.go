package rules

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"countersign/mailflow"
)

// maxParties bounds the people of one request, and with them the letters that one
// mail can cause.
const maxParties = 50

// planner makes the plan of one draft under one rule.
type planner struct {
	world World
	rule  *compiled
	facts Facts
	plan  mailflow.Plan
}

func (s *Set) plan(r *compiled, f Facts) mailflow.Plan {
	p := planner{world: s.world, rule: r, facts: f}
	p.plan.Terms = mailflow.Terms{
		Rule: r.Name, RuleHash: s.hash, Organisation: s.world.Organisation,
		AnswerLevels: slices.Clone(r.Levels), Seal: r.Seal, Level: r.Level,
		CodeDigits: r.Code.Digits, CodeTries: r.Code.Tries,
		CodeLife: time.Duration(r.Code.Lifetime), Codes: r.Code.Count,
		Expires: time.Duration(r.Expires), OwnApproval: r.OwnApproval, Reason: r.Reason, TSA: slices.Clone(r.TSA),
		Inspect: r.Inspect.terms(),
	}
	p.plan.Problems = slices.Clone(f.LineProblems)
	p.documents()
	p.approvers()
	p.signers()
	p.viewers()
	if n := len(p.plan.Parties); n > maxParties {
		p.problem(mailflow.ProblemBadLine, fmt.Sprintf("%d people are named; at most %d can take part", n, maxParties))
		p.plan.Parties = p.plan.Parties[:maxParties]
	}
	return p.plan
}

func (p *planner) problem(k mailflow.ProblemKind, args ...string) {
	p.plan.Problems = append(p.plan.Problems, mailflow.Problem{Kind: k, Args: args})
}

func (p *planner) add(role mailflow.Role, order int, a mailflow.Address) {
	p.plan.Parties = append(p.plan.Parties, mailflow.Party{Role: role, Order: order, Address: a})
}

// has reports whether an address has that role already.
func (p *planner) has(role mailflow.Role, addr string) bool {
	return slices.ContainsFunc(p.plan.Parties, func(q mailflow.Party) bool {
		return q.Role == role && mailflow.SameAddr(q.Address.Addr, addr)
	})
}

func (p *planner) documents() {
	docs, lim := p.facts.Documents, p.world.Limits
	if lim.Documents > 0 && len(docs) > lim.Documents {
		p.problem(mailflow.ProblemTooMany, strconv.Itoa(len(docs)), strconv.Itoa(lim.Documents))
	}
	for _, d := range docs {
		if lim.PDF > 0 && d.Size > lim.PDF {
			p.problem(mailflow.ProblemTooLarge, d.Name, Bytes(d.Size), Bytes(lim.PDF))
		}
	}
	if len(docs) == 0 && !slices.ContainsFunc(p.plan.Problems, mailflow.Problem.AboutDocuments) {
		p.problem(mailflow.ProblemNoPDF)
	}
}

// Bytes writes a size for people, in decimal units.
func Bytes(n int64) string {
	switch {
	case n >= 1e6:
		return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB"
	case n >= 1e3:
		return strconv.FormatInt((n+500)/1e3, 10) + " KB"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// approvers are the rule's, and those that the draft adds; all are asked together.
func (p *planner) approvers() {
	r := p.rule
	barred := false // the sender, an approver by the rule, may not be
	for _, a := range r.Approvers.List {
		if p.isSender(a.Address.Addr) && !r.OwnApproval {
			barred = true
			continue
		}
		p.add(mailflow.RoleApprover, 1, mailflow.Address(a.Address))
	}
	fromRule := len(p.plan.Parties)
	standIn, named := false, false
	for _, a := range p.named(mailflow.RoleApprover) {
		named = true
		addr := a.Addr
		switch {
		case p.isSender(addr) && !r.OwnApproval:
			p.problem(mailflow.ProblemOwnApproval, addr, listed(r.Open.Approver))
		case p.has(mailflow.RoleApprover, addr): // by the rule
		case r.Open.Approver != nil && !anyMatches(r.Open.Approver, addr):
			p.problem(mailflow.ProblemNotInList, string(mailflow.RoleApprover), addr, listed(r.Open.Approver))
		default:
			// Only somebody whom the rule lists may approve alone; anybody else
			// merely adds to the approvers of the rule.
			standIn = standIn || anyMatches(r.Open.Approver, addr)
			p.add(mailflow.RoleApprover, 1, a)
		}
	}
	switch {
	case barred && fromRule == 0 && !standIn && !p.toldOwn():
		p.problem(mailflow.ProblemOwnApproval, p.facts.From.Addr, listed(r.Open.Approver))
	case r.Approvers.From == FromDraft && !named:
		p.problem(mailflow.ProblemNoApprover, listed(r.Open.Approver))
	}
}

func (p *planner) isSender(addr string) bool { return samePerson(addr, p.facts.From.Addr) }

func (p *planner) toldOwn() bool {
	return slices.ContainsFunc(p.plan.Problems, func(q mailflow.Problem) bool { return q.Kind == mailflow.ProblemOwnApproval })
}

// named returns whom the draft's lines put into a role, those left out that cannot
// be: each with its problem.
func (p *planner) named(role mailflow.Role) []mailflow.Address {
	var out []mailflow.Address
	for _, l := range p.facts.Lines {
		if l.Role != role {
			continue
		}
		addr := l.Address.Addr
		switch {
		case usable(l.Address) != nil:
			p.problem(mailflow.ProblemBadLine, lineText(l))
		case p.world.own(addr):
			p.problem(mailflow.ProblemSelfAddressed, addr)
		case slices.ContainsFunc(out, func(a mailflow.Address) bool { return mailflow.SameAddr(a.Addr, addr) }):
			p.problem(mailflow.ProblemTwice, string(role), addr)
		default:
			out = append(out, l.Address)
		}
	}
	return out
}

// lineText writes a line as the sender wrote it, more or less.
func lineText(l mailflow.Line) string {
	key := map[mailflow.Role]string{
		mailflow.RoleSigner: "Signer", mailflow.RoleApprover: "Approver", mailflow.RoleViewer: "Viewer",
	}[l.Role]
	return key + ": " + l.Address.String()
}

// allowed drops the named whom the rule does not let the draft name in a role.
func (p *planner) allowed(role mailflow.Role, list []Pattern) []mailflow.Address {
	var out []mailflow.Address
	for _, a := range p.named(role) {
		switch {
		case list == nil:
			p.problem(mailflow.ProblemRoleClosed, lineText(mailflow.Line{Role: role, Address: a}), string(role))
		case !anyMatches(list, a.Addr):
			p.problem(mailflow.ProblemNotInList, string(role), a.Addr, listed(list))
		default:
			out = append(out, a)
		}
	}
	return out
}

// signers are the rule's, then those of the draft's lines, then those in Cc; each
// gets the next place unless the rule gives one.
func (p *planner) signers() {
	r := p.rule
	before := len(p.plan.Problems)
	next := 1
	for _, s := range r.Signers.List {
		order := next
		if s.Order > 0 {
			order = s.Order
		}
		p.add(mailflow.RoleSigner, order, mailflow.Address(s.Address))
		next = max(next, order+1)
	}
	for _, a := range p.allowed(mailflow.RoleSigner, r.Open.Signer) {
		if p.has(mailflow.RoleSigner, a.Addr) {
			p.problem(mailflow.ProblemTwice, string(mailflow.RoleSigner), a.Addr)
			continue
		}
		p.add(mailflow.RoleSigner, next, a)
		next++
	}
	if r.Signers.From == FromCc {
		for _, a := range p.facts.Cc {
			if p.world.inside(a.Addr) || p.world.own(a.Addr) || p.has(mailflow.RoleSigner, a.Addr) {
				continue
			}
			if usable(a) != nil {
				p.problem(mailflow.ProblemBadLine, "Cc: "+a.String())
				continue
			}
			p.add(mailflow.RoleSigner, next, a)
			next++
		}
	}
	// A signer who is named wrongly is a problem already.
	if r.Signers.From != "" && next == 1 && len(p.plan.Problems) == before {
		p.problem(mailflow.ProblemNoSigner, r.Signers.From)
	}
}

// viewers get the signed documents; whoever has another role gets them anyway.
func (p *planner) viewers() {
	list := make([]mailflow.Address, 0, len(p.rule.Viewers)+len(p.rule.Deliver))
	for _, v := range slices.Concat(p.rule.Viewers, p.rule.Deliver) {
		list = append(list, mailflow.Address(v.Address))
	}
	list = append(list, p.allowed(mailflow.RoleViewer, p.rule.Open.Viewer)...)
	for _, a := range list {
		known := func(q mailflow.Party) bool { return mailflow.SameAddr(q.Address.Addr, a.Addr) }
		if !slices.ContainsFunc(p.plan.Parties, known) {
			p.add(mailflow.RoleViewer, 1, a)
		}
	}
}
