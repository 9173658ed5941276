package reply

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"countersign/mailflow"
)

// A language holds the words that count, as [normalise] gives them. Words that
// people use for politeness (ok, yes, thanks) must not be among them.
type language struct {
	approve, agree, reject []string
	code                   []string // may stand before a code
	name                   []string // the key of the Name line
	roles                  map[string]mailflow.Role
}

// languages by their tag (RFC 5646). English always counts.
var languages = map[string]language{
	"en": {
		approve: []string{"approve", "approved", "i approve"},
		agree:   []string{"agree", "i agree"},
		reject:  []string{"reject", "i reject", "decline", "i do not approve", "i do not agree", "do not sign"},
		code:    []string{"code"},
		name:    []string{"name"},
		roles: map[string]mailflow.Role{
			"signer":   mailflow.RoleSigner,
			"approver": mailflow.RoleApprover,
			"viewer":   mailflow.RoleViewer,
		},
	},
}

// vocabulary returns the languages that count.
func vocabulary(tags []string) []language {
	ls := []language{languages["en"]}
	for _, t := range tags {
		if l, ok := languages[t]; ok && t != "en" {
			ls = append(ls, l)
		}
	}
	return ls
}

// trimmed is what may surround a command: emphasis, quotation marks, full stops.
// The question mark is not among it.
const trimmed = " *_\"'“”„‘’«»「」.!。！"

// normalise makes a line comparable: NFKC (full-width letters and digits become
// plain), without invisible format characters, every decimal digit as ASCII, blanks
// joined, lower case, and without emphasis and full stops around it. Letters of
// other scripts that look like Latin ones stay what they are.
func normalise(s string) string {
	return strings.Trim(fold(s), trimmed)
}

// fold is normalise without the trimming.
func fold(s string) string {
	s = norm.NFKC.String(s)
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r):
			return -1
		case r < 0x80:
			return r
		}
		return digit(r)
	}, s)
	return strings.ToLower(strings.Join(strings.Fields(s), " "))
}

// digit maps a decimal digit of any script to ASCII. Unicode keeps each set of ten
// together, in order, and every range of Nd begins with a zero.
func digit(r rune) rune {
	if !unicode.Is(unicode.Nd, r) {
		return r
	}
	for _, x := range unicode.Nd.R16 {
		if r >= rune(x.Lo) && r <= rune(x.Hi) {
			return '0' + (r-rune(x.Lo))%10
		}
	}
	for _, x := range unicode.Nd.R32 {
		if r >= rune(x.Lo) && r <= rune(x.Hi) {
			return '0' + (r-rune(x.Lo))%10
		}
	}
	return r
}

// command returns what a whole normalised line asks for, or "".
func command(line string, langs []language) mailflow.Command {
	for _, l := range langs {
		switch {
		case slices.Contains(l.approve, line):
			return mailflow.CommandApprove
		case slices.Contains(l.agree, line):
			return mailflow.CommandAgree
		case slices.Contains(l.reject, line):
			return mailflow.CommandReject
		}
	}
	return ""
}

// codeDigits returns the digits of a line that is a code: perhaps the word, then
// digits with at most one separator between two of them. It returns "" if the line
// is anything else; how many digits there must be is for the caller.
func codeDigits(line string, langs []language) string {
	for _, l := range langs {
		for _, w := range l.code {
			if rest, ok := strings.CutPrefix(line, w); ok && rest != "" && (rest[0] == ' ' || rest[0] == ':') {
				line = strings.Trim(strings.TrimPrefix(strings.TrimLeft(rest, " "), ":"), trimmed)
			}
		}
	}
	var digits strings.Builder
	separated := true // none may stand before the first digit
	for _, r := range line {
		switch {
		case r >= '0' && r <= '9':
			digits.WriteRune(r)
			separated = false
		case strings.ContainsRune(" -–.", r) && !separated:
			separated = true
		default:
			return ""
		}
	}
	if separated {
		return ""
	}
	return digits.String()
}

// The least and most digits that a code can have.
const (
	minDigits = 6
	maxDigits = 32
)

var quotePrefix = regexp.MustCompile(`^\s*(?:(?:[\p{L}]{0,4}>|\|)\s?)+`)

// CommandInAnyLine runs the grammar over every line of a text, as it is and without
// quote marks, in every language, and returns the first line that is a command or a
// code of at least six digits. No letter of ours may hold such a line: then no
// mistake in finding quotes can make a command.
func CommandInAnyLine(text string) (string, bool) {
	langs := make([]language, 0, len(languages))
	for _, l := range languages {
		langs = append(langs, l)
	}
	for _, l := range splitText(text) {
		for _, s := range []string{l.raw, quotePrefix.ReplaceAllString(l.raw, "")} {
			n := normalise(s)
			if k := len(codeDigits(n, langs)); command(n, langs) != "" || k >= minDigits && k <= maxDigits {
				return strings.TrimSpace(l.raw), true
			}
		}
	}
	return "", false
}
