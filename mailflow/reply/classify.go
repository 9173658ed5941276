package reply

import (
	"slices"
	"strings"

	"countersign/mailflow"
)

// maxSignature is how many lines a signature may have.
const maxSignature = 12

// A reader reads one mail.
type reader struct {
	in    Input
	langs []language
	orig  *original // nil if the letter is not known
}

func newReader(in Input) *reader {
	r := &reader{in: in, langs: vocabulary(in.Languages)}
	if strings.TrimSpace(in.Sent) != "" {
		r.orig = newOriginal(in.Sent)
	}
	return r
}

// classify tells typed lines from all others. The order matters: whether a line is
// a command is asked before whether it is a separator.
func (r *reader) classify(ls []line) {
	for i := range ls {
		r.first(&ls[i])
	}
	if r.orig != nil {
		r.orig.mark(ls)
		for i := range ls {
			if ls[i].known && ls[i].class == typed && !r.ownName(ls[:i+1]) {
				ls[i].class = quote
			}
		}
	}
	r.cut(ls)
	r.attributions(ls)
	if r.orig != nil {
		r.doubtQuotes(ls)
	}
	r.signatures(ls)
}

// ownName reports whether the last of these lines is the "Name:" line below a typed
// AGREE. Its words may well stand in our letter, which names the signer; but no
// letter of ours holds a line that is a command, so the pair was typed.
func (r *reader) ownName(ls []line) bool {
	if _, ok := r.nameLine(ls[len(ls)-1].raw); !ok || !r.in.WantName {
		return false
	}
	for i := len(ls) - 2; i >= 0; i-- {
		if ls[i].class != blank {
			return ls[i].class == typed && ls[i].command == string(mailflow.CommandAgree)
		}
	}
	return false
}

// first classifies a line by itself.
func (r *reader) first(l *line) {
	l.class, l.command, l.digits, l.known = typed, "", "", false
	l.marks()
	switch {
	case l.norm == "" && !drawn.MatchString(l.raw):
		l.class = blank
	case l.quoted || quotePrefix.MatchString(l.raw):
		l.class = quote
	default:
		l.command = string(command(l.norm, r.langs))
		l.digits = codeDigits(l.norm, r.langs)
		if l.sig {
			l.class = signature
		} else if l.command == "" && l.digits == "" && isFooter(l.raw) {
			l.class = footer
		}
	}
}

func isDelimiter(raw string) bool {
	s := strings.TrimRight(raw, " \u00a0")
	return s == "--"
}

// cut finds the line from which all is quoted, as clients quote that do not mark
// each line: a dashed or drawn line above a header block or known text, or a header
// block itself.
func (r *reader) cut(ls []line) {
	for i := range ls {
		if ls[i].class != typed || ls[i].command != "" {
			continue
		}
		raw := ls[i].raw
		next := nextLine(ls, i+1)
		announced := next >= 0 && (headerBlock(ls[next:], false) || ls[next].known)
		isCut := (dashed.MatchString(raw) || drawn.MatchString(raw)) && announced || headerBlock(ls[i:], true)
		if isCut && (r.orig == nil || anyKnown(ls[i:])) {
			ls[i].class = separator
			for j := i + 1; j < len(ls); j++ {
				if ls[j].class != blank {
					ls[j].class = quote
					ls[j].strong = true
				}
			}
			return
		}
		if drawn.MatchString(raw) {
			ls[i].class = blank
		}
	}
}

func anyKnown(ls []line) bool {
	return slices.ContainsFunc(ls, func(l line) bool { return l.known })
}

// nextLine returns the index of the next line that is not blank, or -1.
func nextLine(ls []line, i int) int {
	for ; i < len(ls); i++ {
		if ls[i].class != blank {
			return i
		}
	}
	return -1
}

// headerBlock tells whether the lines begin with at least three "Key: value" lines
// among which are an address and a time; a strict one begins with a From that we
// know, or goes over into known text.
func headerBlock(ls []line, strict bool) bool {
	n, address, dated := 0, false, false
	for i, l := range ls {
		if i == 10 || l.class != blank && !l.key {
			break
		}
		if l.class == blank {
			if n == 0 || n >= 3 {
				break
			}
			continue // HTML puts empty lines between
		}
		n++
		address = address || l.address
		dated = dated || l.dated
	}
	if n < 3 || !address && !dated {
		return false
	}
	if !strict {
		return true
	}
	if fromLine.MatchString(ls[0].raw) {
		return dated
	}
	for i := n; i < len(ls) && i < n+4; i++ {
		if ls[i].known {
			return address && dated
		}
	}
	return false
}

// attributions finds the lines above each quote that announce it: the fewest that
// do, at most six, none of them a command.
func (r *reader) attributions(ls []line) {
	for q := range ls {
		if ls[q].class != quote {
			continue
		}
		end := q // behind the attribution
		for end > 0 && ls[end-1].class == blank && q-end < 3 {
			end--
		}
		if end == 0 || ls[end-1].class != typed {
			continue
		}
		found := -1
		for start := end - 1; start >= 0 && start >= end-6; start-- {
			if ls[start].class != typed || ls[start].command != "" || ls[start].digits != "" {
				break
			}
			if attribution(ls[start:end]) {
				found = start
				if complete(ls[start:end]) {
					break
				}
			}
			if found >= 0 && start < found {
				break // one more line brought no time: it is none of it
			}
		}
		for i := found; found >= 0 && i < end; i++ {
			ls[i].class = separator
		}
	}
}

// doubtQuotes makes quotes typed text that are neither announced nor hold a line of
// the letter that is answered: people indent their own text too.
func (r *reader) doubtQuotes(ls []line) {
	for i := 0; i < len(ls); {
		if ls[i].class != quote {
			i++
			continue
		}
		end, sure := i, i > 0 && announced(ls, i)
		for ; end < len(ls) && (ls[end].class == quote || ls[end].class == blank); end++ {
			sure = sure || ls[end].known || ls[end].strong
		}
		for ; !sure && i < end; i++ {
			if ls[i].class == quote {
				ls[i].class = typed
			}
		}
		i = end
	}
}

// announced tells whether a separator stands above line i, with at most blanks
// between.
func announced(ls []line, i int) bool {
	for i--; i >= 0; i-- {
		if ls[i].class != blank {
			return ls[i].class == separator
		}
	}
	return false
}

// signatures finds the lines below "-- " (RFC 3676, 4.3), up to a quote. One of
// more than maxSignature lines is none.
func (r *reader) signatures(ls []line) {
	for i := range ls {
		if ls[i].class != typed || !isDelimiter(ls[i].raw) {
			continue
		}
		n, end := 0, i+1
		for ; end < len(ls) && ls[end].class != quote && ls[end].class != separator; end++ {
			if ls[end].class == typed {
				n++
			}
		}
		if n > maxSignature {
			continue
		}
		for j := i; j < end; j++ {
			if ls[j].class == typed {
				ls[j].class = signature
			}
		}
	}
}

// typed gives the typed text, codes masked.
func (r *reader) typed(ls []line) string {
	var out []string
	for _, l := range ls {
		if l.class == typed {
			out = append(out, mask(l))
		}
	}
	return strings.TrimSpace(strings.Join(out, "\n"))
}

// mask keeps codes out of text that is shown or stored.
func mask(l line) string {
	if len(l.digits) >= 4 {
		return mailflow.Code(l.digits).String()
	}
	return strings.TrimSpace(l.raw)
}
