package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"countersign/mailflow"
)

// A Set is the rules in force. It does not change and may be used by many
// goroutines.
type Set struct {
	world World
	rules []compiled
	hash  string
}

type compiled struct {
	Rule
	subject func(string) bool
}

// Compile makes a Set of rules. Defaults are filled in; the error joins all faults
// of all rules.
func Compile(w World, rules []Rule) (*Set, error) {
	s := &Set{world: w}
	var errs []error
	seen := map[string]bool{}
	var full []Rule
	for i, r := range rules {
		r = r.WithDefaults(w.Domains)
		for _, f := range Check(r, w) {
			errs = append(errs, fmt.Errorf("rules[%d].%s: %s", i, f.Path, f.Text))
		}
		if r.Name == "" || seen[r.Name] {
			errs = append(errs, fmt.Errorf("rules[%d].name: %q is missing or used twice", i, r.Name))
		}
		seen[r.Name] = true
		subject, err := compileSubject(r.Match.Subject)
		if err != nil {
			continue // Check has told it
		}
		full = append(full, r)
		s.rules = append(s.rules, compiled{r, subject})
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	// Structs and slices only: the JSON of equal rules is equal.
	b, err := json.Marshal(struct {
		World World
		Rules []Rule
	}{w, full})
	if err != nil {
		return nil, fmt.Errorf("hashing the rules: %w", err)
	}
	sum := sha256.Sum256(b)
	s.hash = hex.EncodeToString(sum[:])
	return s, nil
}

// Hash is the SHA-256, in hex, of the rules in force with all defaults filled in
// and of what they refer to.
func (s *Set) Hash() string { return s.hash }

// Rule returns the rule of that name, defaults filled in.
func (s *Set) Rule(name string) (Rule, bool) {
	for _, r := range s.rules {
		if r.Name == name {
			return r.Rule, true
		}
	}
	return Rule{}, false
}

// Facts are what is known of a draft.
type Facts struct {
	Mailbox string           // configured name of the mailbox it came to
	Address string           // the signing address it was sent to, without its tag
	Tags    []string         // plus tags of class rule
	From    mailflow.Address // the one sender
	Level   mailflow.Level
	Subject string
	To, Cc  []mailflow.Address
	// Lines are the draft's lines, LineProblems what was wrong with them and with
	// the attachments.
	Lines        []mailflow.Line
	LineProblems []mailflow.Problem
	Documents    []mailflow.Document // Name and Size are looked at
}

// An Outcome is what the rules make of a draft: either Rule and Plan are set, or
// Refused says, rule by rule, why none admits it.
type Outcome struct {
	Rule    string
	Plan    mailflow.Plan
	Refused string
	// Near reports that the sender is proven and is one whom a rule of this mailbox
	// takes drafts from: worth a letter that says why not. Anybody else is not
	// answered, as the address may be forged.
	Near bool
}

// Match finds the rule for a draft and makes its plan.
func (s *Set) Match(f Facts) Outcome {
	if err := usable(f.From); err != nil {
		return Outcome{Refused: fmt.Sprintf("the sender %q cannot be written to: %v", f.From.Addr, err)}
	}
	var why []string
	near := false
	for i := range s.rules {
		r := &s.rules[i]
		miss, known := r.miss(f)
		near = near || known && Proven(f.Level)
		if miss != "" {
			why = append(why, r.Name+": "+miss)
			continue
		}
		if out, ok := s.admit(r, f); ok {
			return out
		}
		why = append(why, r.Name+": "+r.levelMiss(f.Level))
		break // the first rule that matches decides
	}
	if len(why) == 0 {
		why = []string{"there are no rules"}
	}
	return Outcome{Refused: strings.Join(why, "; "), Near: near}
}

// Named makes the plan of a draft under one rule, by name: for the answer that goes
// on with a request which was asked for something. The sender level is checked
// again; what the rule matches is not, as it was decided when the request began.
func (s *Set) Named(rule string, f Facts) Outcome {
	for i := range s.rules {
		r := &s.rules[i]
		if r.Name != rule {
			continue
		}
		if out, ok := s.admit(r, f); ok {
			return out
		}
		return Outcome{Refused: r.Name + ": " + r.levelMiss(f.Level), Near: Proven(f.Level)}
	}
	return Outcome{Refused: fmt.Sprintf("there is no rule %q any more", rule), Near: Proven(f.Level)}
}

func (s *Set) admit(r *compiled, f Facts) (Outcome, bool) {
	// Proven is implied by the check of the rule; it stands here so that no
	// unproven mail starts a request whatever the rules say.
	if !slices.Contains(r.DraftLevels, f.Level) || !Proven(f.Level) {
		return Outcome{}, false
	}
	return Outcome{Rule: r.Name, Plan: s.plan(r, f)}, true
}

func (r *compiled) levelMiss(l mailflow.Level) string {
	var want []string
	for _, w := range r.DraftLevels {
		want = append(want, string(w))
	}
	return fmt.Sprintf("needs sender level %s, the mail has %q", strings.Join(want, " or "), l)
}

// miss says why the rule is not for the draft, "" if it is; known reports whether
// mailbox and sender fit.
func (r *compiled) miss(f Facts) (miss string, known bool) {
	m := r.Match
	if m.Mailbox != "" && m.Mailbox != f.Mailbox {
		return fmt.Sprintf("is for mailbox %q, the mail came to %q", m.Mailbox, f.Mailbox), false
	}
	if !anyMatches(m.From, f.From.Addr) {
		return fmt.Sprintf("takes drafts from %s, not from %s", listed(m.From), f.From.Addr), false
	}
	if m.Tag != "" && !slices.ContainsFunc(f.Tags, func(t string) bool { return strings.EqualFold(t, m.Tag) }) {
		return fmt.Sprintf("wants the tag +%s", m.Tag), true
	}
	if !r.subject(f.Subject) {
		return fmt.Sprintf("wants a subject with %s", m.Subject), true
	}
	if len(m.Level) > 0 && !slices.Contains(m.Level, f.Level) {
		return fmt.Sprintf("is for other sender levels than %q", f.Level), true
	}
	return "", true
}
