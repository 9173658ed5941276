package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"countersign/mailflow"
)

// A World is what rules refer to.
type World struct {
	Organisation string
	Domains      []string
	Mailboxes    []Mailbox
	Limits       Limits
	// Keys and TSA name what the configuration has.
	Keys []string
	TSA  []string
}

// A Mailbox is one way in: its configured name and its signing address.
type Mailbox struct{ Name, Address string }

// Limits bound what a draft may carry; sizes in bytes.
type Limits struct {
	PDF       int64
	Documents int
}

// A Fault is one thing that is wrong with a rule: Path is the key inside the rule,
// "approvers[0]" for example, Text what is wrong and what to write.
type Fault struct{ Path, Text string }

// Check tells all that is wrong with a rule, defaults filled in.
func Check(r Rule, w World) []Fault {
	c := checker{rule: r, world: w}
	c.references()
	c.matching()
	c.levels()
	c.people()
	c.bounds()
	c.inspect()
	return c.faults
}

type checker struct {
	rule   Rule
	world  World
	faults []Fault
}

func (c *checker) bad(path, format string, args ...any) {
	c.faults = append(c.faults, Fault{path, fmt.Sprintf(format, args...)})
}

func (c *checker) references() {
	r, w := c.rule, c.world
	if m := r.Match.Mailbox; m != "" && !slices.ContainsFunc(w.Mailboxes, func(b Mailbox) bool { return b.Name == m }) {
		c.bad("match.mailbox", "there is no mailbox %q; the mailboxes are %s", m, names(w.Mailboxes))
	}
	if !slices.Contains(w.Keys, r.Seal) {
		c.bad("seal", "there is no key %q; the keys are %s", r.Seal, strings.Join(w.Keys, ", "))
	}
	switch r.Level {
	case mailflow.LevelBB:
	case mailflow.LevelBT, mailflow.LevelBLT, mailflow.LevelBLTA:
		if len(w.TSA) == 0 {
			c.bad("level", "%s needs a timestamp authority; add one under tsa, or write level: B-B", r.Level)
		}
	default:
		c.bad("level", "%q is not known; write B-B, B-T, B-LT or B-LTA", r.Level)
	}
	for i, u := range r.TSA {
		if !slices.Contains(w.TSA, u) {
			c.bad(fmt.Sprintf("tsa[%d]", i), "%q is not among the timestamp authorities; add it under tsa", u)
		}
	}
}

func names(ms []Mailbox) string {
	var out []string
	for _, m := range ms {
		out = append(out, m.Name)
	}
	return strings.Join(out, ", ")
}

func (c *checker) matching() {
	m := c.rule.Match
	if mailflow.ClassifyTag(m.Tag) != mailflow.TagRule || strings.ContainsAny(m.Tag, "+@ ") {
		c.bad("match.tag", "%q cannot be a tag; write a short word, such as notice", m.Tag)
	}
	if _, err := compileSubject(m.Subject); err != nil {
		c.bad("match.subject", "%v", err)
	}
	if len(m.From) == 0 {
		c.bad("match.from", "nobody may send drafts; list addresses, for example [\"@acme.example\"]")
	}
}

func (c *checker) levels() {
	r := c.rule
	for _, f := range []struct {
		path string
		ls   []mailflow.Level
	}{{"match.level", r.Match.Level}, {"draft_levels", r.DraftLevels}, {"levels", r.Levels}} {
		if f.path != "match.level" && len(f.ls) == 0 {
			c.bad(f.path, "empty, so that no mail could ever count; list some of S, D, A, I")
		}
		for i, l := range f.ls {
			if !Proven(l) {
				c.bad(fmt.Sprintf("%s[%d]", f.path, i), "%q is not a level that proves a sender; write S, D, A or I", l)
			}
		}
	}
	if r.hasPeople() {
		return
	}
	for i, l := range r.DraftLevels {
		if l == mailflow.LevelDKIM || l == mailflow.LevelResults {
			c.bad(fmt.Sprintf("draft_levels[%d]", i), "%s is too weak for a rule without people: the mail alone causes a seal; use S and I only, or name approvers", l)
		}
	}
}

// Proven reports whether a level proves the sender well enough to act on a mail, or
// to answer it.
func Proven(l mailflow.Level) bool {
	switch l {
	case mailflow.LevelSMIME, mailflow.LevelDKIM, mailflow.LevelResults, mailflow.LevelSubmission:
		return true
	}
	return false
}

func (c *checker) people() {
	r := c.rule
	for _, f := range []struct {
		path string
		ps   []Person
	}{{"approvers", r.Approvers.List}, {"signers", r.Signers.List}, {"viewers", r.Viewers}, {"deliver", r.Deliver}} {
		for i, p := range f.ps {
			path := fmt.Sprintf("%s[%d]", f.path, i)
			if c.world.own(p.Address.Addr) {
				c.bad(path, "%s is a signing address of this gateway and cannot be a party", p.Address.Addr)
			}
			if slices.ContainsFunc(f.ps[:i], func(q Person) bool { return mailflow.SameAddr(p.Address.Addr, q.Address.Addr) }) {
				c.bad(path, "%s is listed twice", p.Address.Addr)
			}
			if p.Order != 0 && f.path != "signers" {
				c.bad(path+".order", "only signers have an order; approvers are asked together")
			}
		}
	}
	if r.Approvers.From == FromCc {
		c.bad("approvers", "cc would let the sender choose who approves; list the approvers, or write draft and list them under open.approver")
	}
	if r.Approvers.From == FromDraft && len(r.Open.Approver) == 0 {
		c.bad("open.approver", "missing; list who may approve when the draft names the approvers")
	}
	for i, p := range r.Open.Approver {
		if p == "*" {
			c.bad(fmt.Sprintf("open.approver[%d]", i), "with * the sender could choose anybody as the only approver; list addresses or domains")
		}
	}
	if strings.ContainsFunc(r.Reason, func(x rune) bool { return x < ' ' || x == 0x7f }) || len(r.Reason) > 200 {
		c.bad("reason", "must be one line of at most 200 bytes")
	}
}

func (c *checker) bounds() {
	r := c.rule
	within := func(path string, d, low, high Duration) {
		if d < low || d > high {
			c.bad(path, "%v is out of range; use %v to %v", d, low, high)
		}
	}
	within("code.lifetime", r.Code.Lifetime, 5*minute, 24*hour)
	within("expires", r.Expires, hour, 365*day)
	for _, b := range []struct {
		path         string
		n, low, high int
	}{{"code.digits", r.Code.Digits, 6, 10}, {"code.tries", r.Code.Tries, 1, 5}, {"code.count", r.Code.Count, 1, 3}} {
		if b.n < b.low || b.n > b.high {
			c.bad(b.path, "%d is out of range; use %d to %d", b.n, b.low, b.high)
		}
	}
}

// own reports whether an address is one of our signing addresses, with any tag.
func (w World) own(addr string) bool {
	return slices.ContainsFunc(w.Mailboxes, func(m Mailbox) bool { return samePerson(addr, m.Address) })
}

// inside reports whether an address belongs to the organisation.
func (w World) inside(addr string) bool {
	d := mailflow.Domain(addr)
	return slices.ContainsFunc(w.Domains, func(o string) bool { return strings.EqualFold(o, d) })
}

// compileSubject makes the test for match.subject.
func compileSubject(s string) (func(string) bool, error) {
	if s == "" {
		return func(string) bool { return true }, nil
	}
	if len(s) >= 2 && s[0] == '/' && s[len(s)-1] == '/' {
		re, err := regexp.Compile(s[1 : len(s)-1])
		if err != nil {
			return nil, fmt.Errorf("not a regular expression: %w; see https://pkg.go.dev/regexp/syntax", err)
		}
		return re.MatchString, nil
	}
	want := strings.ToLower(s)
	return func(got string) bool { return strings.Contains(strings.ToLower(got), want) }, nil
}
