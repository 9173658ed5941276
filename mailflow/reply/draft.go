package reply

import (
	"regexp"
	"slices"
	"strings"

	"countersign/mailflow"
	"countersign/mailflow/message"
)

var (
	bullet = regexp.MustCompile(`^[\s*_•·-]+`)
	mailto = regexp.MustCompile(`<mailto:[^>]*>`)
)

// Lines returns the "Signer: Name <addr>" lines of a draft, and what is wrong with
// them. They stand at its top, one person a line, blank lines between allowed; the
// first other line ends them. A line further down that looks like one is a
// [mailflow.ProblemBadLine], so that nothing is left out silently. The arguments of
// a problem are the line, and why it cannot be used, in plain English. Quoted text
// and signatures do not count.
func Lines(in Input) ([]mailflow.Line, []mailflow.Problem) {
	r := newReader(in)
	r.draft = true
	text := splitText(in.Text)
	var html []line
	if in.HTML != "" && len(in.HTML) <= maxHTML {
		html = parseHTML(in.HTML).lines
	}
	text, html = text[:min(len(text), maxLines)], html[:min(len(html), maxLines)]
	if blankAll(html) {
		return r.lines(text)
	}
	if blankAll(text) {
		return r.lines(html)
	}
	a, problems := r.lines(text)
	b, more := r.lines(html)
	if len(problems) == 0 {
		problems = more
	}
	if len(problems) == 0 && !slices.Equal(a, b) {
		for _, l := range slices.Concat(a, b) {
			if !slices.Contains(a, l) || !slices.Contains(b, l) {
				return a, []mailflow.Problem{bad(string(l.Role)+": "+l.Address.String(), "the plain and the formatted text of the mail differ")}
			}
		}
		return a, []mailflow.Problem{bad("", "the plain and the formatted text of the mail differ")}
	}
	return a, problems
}

func bad(line, why string) mailflow.Problem {
	return mailflow.Problem{Kind: mailflow.ProblemBadLine, Args: []string{cutRunes(strings.TrimSpace(line), 200), why}}
}

// lines reads one rendering.
func (r *reader) lines(ls []line) ([]mailflow.Line, []mailflow.Problem) {
	r.classify(ls)
	var own []line
	for _, l := range ls {
		if l.class == typed && strings.TrimSpace(l.raw) != "" {
			own = append(own, l)
		}
	}
	var out []mailflow.Line
	var problems []mailflow.Problem
	top := true
	for i := 0; i < len(own); i++ {
		raw := mailto.ReplaceAllString(own[i].raw, "")
		role, value, looks := r.roleLine(raw)
		switch {
		case !looks:
			top = false
			continue
		case own[i].hidden:
			problems = append(problems, bad(raw, "it is hidden or struck through"))
			continue
		}
		// A client may have wrapped the line before the address.
		if role != "" && top && !strings.Contains(value, "@") && i+1 < len(own) {
			next := mailto.ReplaceAllString(own[i+1].raw, "")
			if _, _, key := r.roleLine(next); !key && strings.HasSuffix(strings.TrimSpace(next), ">") && strings.Contains(next, "@") {
				value += " " + strings.TrimSpace(next)
				raw += " " + strings.TrimSpace(next)
				i++
			}
		}
		switch {
		case !top && !strings.Contains(raw, "@"):
			// Ordinary text that begins with such a word.
		case !top:
			problems = append(problems, bad(raw, "such lines must stand at the top of the mail"))
		case role == "":
			problems = append(problems, bad(raw, `write it as "Signer: Name <address>", one person a line`))
		default:
			a, err := message.ParseMailbox(strings.TrimRight(value, " \u00a0,;."))
			if err != nil {
				problems = append(problems, bad(raw, err.Error()))
				continue
			}
			out = append(out, mailflow.Line{Role: role, Address: a})
		}
	}
	return out, problems
}

// roleLine takes "Signer: value" apart. A line that only looks like one, such as
// "Signers: …" or "Signer 1 …" with an address, has an empty role.
func (r *reader) roleLine(raw string) (role mailflow.Role, value string, looks bool) {
	s := bullet.ReplaceAllString(raw, "")
	key, value, colon := strings.Cut(strings.Replace(s, "：", ":", 1), ":")
	k := normalise(key)
	begin := fold(s)
	for _, l := range r.langs {
		if role, ok := l.roles[k]; ok && colon {
			return role, strings.Trim(strings.TrimSpace(value), "*_"), true
		}
		for word := range l.roles {
			rest, ok := strings.CutPrefix(begin, word)
			if ok && strings.Contains(rest, "@") && !strings.HasPrefix(rest, "@") {
				looks = true
			}
		}
	}
	return "", value, looks
}
