package engine

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"countersign/mailflow"
	"countersign/mailflow/message"
	"countersign/mailflow/reply"
	"countersign/mailflow/rules"
)

// contents are what one mail of a draft brings.
type contents struct {
	lines    []mailflow.Line
	bad      []mailflow.Problem // of the lines
	docs     []mailflow.Document
	problems []mailflow.Problem // of the documents
}

// read reads the lines of a draft; attach adds its documents.
func (e *Engine) read(a *arrival) *contents {
	if a.in.Truncated {
		return &contents{problems: []mailflow.Problem{{
			Kind: mailflow.ProblemMailTooLarge, Args: []string{rules.Bytes(a.in.Size), rules.Bytes(e.cfg.Limits.Mail)},
		}}}
	}
	lines, bad := reply.Lines(reply.From(a.msg))
	return &contents{lines: lines, bad: bad}
}

// attach stores the documents of a draft.
func (e *Engine) attach(a *arrival, c *contents) (err error) {
	if !a.in.Truncated {
		c.docs, c.problems, err = e.documents(a.pdfs)
	}
	return err
}

// facts gathers what the rules look at; old is the request that an earlier mail of
// the same draft began, or a zero one.
func (e *Engine) facts(a *arrival, c *contents, old mailflow.Request) rules.Facts {
	f := rules.Facts{
		Mailbox: a.box.Name, Address: a.box.Address, From: a.mail.From, Level: a.mail.Level,
		Subject: a.msg.Subject, To: a.msg.To, Cc: old.Cc,
	}
	for _, tag := range a.tags {
		if mailflow.ClassifyTag(tag) == mailflow.TagRule {
			f.Tags = append(f.Tags, tag)
		}
	}
	// Who is in Cc of an answer takes part only if the question was who signs.
	asked := func(p mailflow.Problem) bool { return p.Kind == mailflow.ProblemNoSigner }
	if old.ID == "" || slices.ContainsFunc(old.Problems, asked) {
		f.Cc = merge(old.Cc, a.msg.Cc)
	}
	f.Lines, f.Documents = mailflow.MergeLines(old.Lines, old.Problems, c.lines), c.docs
	if len(c.docs) == 0 && len(c.problems) == 0 {
		f.Documents = old.Documents
	}
	f.LineProblems = slices.Concat(c.problems, c.bad, mailflow.Unmended(old.Problems, c.lines))
	return f
}

// merge adds the addresses of a later mail to those of the draft.
func merge(old, more []mailflow.Address) []mailflow.Address {
	merged := slices.Clone(old)
	for _, a := range more {
		if !slices.ContainsFunc(merged, func(b mailflow.Address) bool { return mailflow.SameAddr(a.Addr, b.Addr) }) {
			merged = append(merged, a)
		}
	}
	return merged
}

// documents stores the PDFs of a draft, and says what is wrong with those that
// cannot be taken. If one of them cannot, none is: a sender who mails three
// documents wants three signed.
func (e *Engine) documents(pdfs []*message.Part) ([]mailflow.Document, []mailflow.Problem, error) {
	var docs []mailflow.Document
	var problems []mailflow.Problem
	if len(pdfs) > e.cfg.Limits.Documents {
		return nil, []mailflow.Problem{{
			Kind: mailflow.ProblemTooMany, Args: []string{fmt.Sprint(len(pdfs)), fmt.Sprint(e.cfg.Limits.Documents)},
		}}, nil
	}
	for _, part := range pdfs {
		doc, problem, err := e.document(part, docs)
		switch {
		case err != nil:
			return nil, nil, err
		case problem != nil:
			problems = append(problems, *problem)
		default:
			docs = append(docs, doc)
		}
	}
	if len(problems) > 0 {
		return nil, problems, nil
	}
	return docs, nil, nil
}

// errTooLarge reports an attachment above the limit.
var errTooLarge = errors.New("above the limit")

func (e *Engine) document(part *message.Part, before []mailflow.Document) (mailflow.Document, *mailflow.Problem, error) {
	name := uniqueName(part.Filename, before)
	digest, n, err := e.put(&limited{r: part.Open(), left: e.cfg.Limits.Document})
	switch {
	case errors.Is(err, errTooLarge):
		return mailflow.Document{}, &mailflow.Problem{
			Kind: mailflow.ProblemTooLarge, Args: []string{name, "more than " + rules.Bytes(e.cfg.Limits.Document), rules.Bytes(e.cfg.Limits.Document)},
		}, nil
	case err != nil:
		return mailflow.Document{}, nil, fmt.Errorf("storing the attachment %q: %w", name, err)
	}
	return mailflow.Document{Name: name, Original: mailflow.Blob(digest), Size: n}, nil, nil
}

// uniqueName keeps the names of one request's documents apart.
func uniqueName(name string, before []mailflow.Document) string {
	if name == "" {
		name = "document.pdf"
	}
	base, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		base, ext = name[:i], name[i:]
	}
	taken := func(d mailflow.Document) bool { return strings.EqualFold(d.Name, name) }
	for n := 2; slices.ContainsFunc(before, taken); n++ {
		name = fmt.Sprintf("%s (%d)%s", base, n, ext)
	}
	return name
}

// limited fails once more than left bytes are read.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
