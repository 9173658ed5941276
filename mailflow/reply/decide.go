package reply

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"countersign/mailflow"
)

// read decides what one rendering of a mail asks for.
func (r *reader) read(ls []line) Answer {
	r.classify(ls)
	a := r.decide(ls)
	a.Typed = r.typed(ls)
	return a
}

func (r *reader) decide(ls []line) Answer {
	for _, l := range ls {
		if l.hidden && (l.class == typed || l.class == signature || l.class == footer) {
			return unclear(CauseHidden, "the mail has hidden or struck-through text")
		}
	}
	at, a, ok := r.begin(ls)
	if !ok {
		return a
	}
	head := ls[at]
	if head.command == "" {
		a = Answer{Command: mailflow.CommandCode, Word: "code", Code: mailflow.Code(head.digits)}
	} else {
		a = Answer{Command: mailflow.Command(head.command), Word: strings.TrimSpace(head.raw)}
	}
	var rest []line
	for _, l := range ls[at+1:] {
		if l.class != typed && l.class != signature && l.class != footer {
			continue
		}
		if r.contradicts(head, l) {
			return unclear(CauseContradict, "the mail has more than one command or code")
		}
		if l.class == typed {
			rest = append(rest, l)
		}
	}
	return r.finish(a, rest)
}

// begin finds the line that must be the command: the first that is not blank. Text
// below quotes counts only if all that is quoted above it is ours, and none below.
func (r *reader) begin(ls []line) (int, Answer, bool) {
	at := -1
	quotes, foreign := false, false
	for i, l := range ls {
		switch l.class {
		case quote:
			quotes = true
			foreign = foreign || !l.known
		case separator:
			quotes = true
		}
		if l.class == typed {
			at = i
			break
		}
	}
	if at < 0 {
		return 0, unclear(CauseEmpty, "nothing was typed"), false
	}
	l := ls[at]
	if l.command == "" && (l.digits == "" || len(l.digits) != r.in.CodeDigits) {
		if r.in.CodeDigits > 0 && l.digits != "" {
			return 0, unclear(CauseDigits, fmt.Sprintf("a code has %d digits", r.in.CodeDigits)), false
		}
		return 0, unclear(CauseNoCommand, "the first line is not exactly a command"), false
	}
	below := slices.ContainsFunc(ls[at+1:], func(l line) bool { return l.class == quote || l.class == separator })
	if quotes && (r.orig == nil || foreign || below) {
		return 0, unclear(CauseQuoteAbove, "the command does not stand above what is quoted"), false
	}
	return at, Answer{}, true
}

// contradicts tells whether a line below the command is another one. In a signature
// only words count: telephone numbers are digits too.
func (r *reader) contradicts(head, l line) bool {
	if l.command != "" && l.command != head.command {
		return true
	}
	if l.class != typed || l.digits == "" {
		return false
	}
	return head.command != "" && len(l.digits) == r.in.CodeDigits || head.command == "" && l.digits != head.digits
}

// finish looks at what was typed below the command.
func (r *reader) finish(a Answer, rest []line) Answer {
	if a.Command == mailflow.CommandReject {
		var text []string
		for _, l := range rest {
			text = append(text, mask(l))
		}
		a.Reason = cutRunes(strings.TrimSpace(strings.Join(text, "\n")), maxReason)
		return a
	}
	if a.Command == mailflow.CommandAgree && r.in.WantName {
		names := 0
		for _, l := range rest {
			if _, ok := r.nameLine(l.raw); ok {
				names++
			}
		}
		if names > 1 {
			return unclear(CauseTwoNames, "the mail has more than one Name line")
		}
		if names == 1 {
			if name, ok := r.nameLine(rest[0].raw); ok {
				n, err := checkName(name)
				if err != nil {
					return unclear(CauseBadName, err.Error())
				}
				a.Name, rest = n, rest[1:]
			}
		}
	}
	if len(rest) > 0 {
		return Answer{
			Command: mailflow.CommandRemark, Word: a.Word, base: a.Command, Cause: CauseRemark,
			Problem: "there is other text below the command",
		}
	}
	return a
}

// nameLine returns what stands behind "Name:".
func (r *reader) nameLine(raw string) (string, bool) {
	key, value, ok := strings.Cut(strings.Replace(raw, "：", ":", 1), ":")
	if !ok {
		return "", false
	}
	k := normalise(key)
	return strings.TrimSpace(value), slices.ContainsFunc(r.langs, func(l language) bool { return slices.Contains(l.name, k) })
}

// checkName checks a name that is to go into a certificate, and returns it in NFC with
// plain spaces.
func checkName(name string) (string, error) {
	space := func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' '
		}
		return r
	}
	name = norm.NFC.String(strings.Join(strings.Fields(strings.Map(space, name)), " "))
	if name == "" {
		return "", errors.New("the Name line is empty")
	}
	return name, mailflow.CheckName(name)
}
