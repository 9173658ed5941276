package reply

import (
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
	draft bool      // it is a draft, not an answer
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
	if r.draft {
		cutDraft(ls)
	} else {
		r.headers(ls)
		r.attributions(ls)
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

// headers finds the header blocks of our letter, and the banners above them or
// above what is quoted.
func (r *reader) headers(ls []line) {
	for i := 0; i < len(ls); i++ {
		if ls[i].class != typed || ls[i].command != "" {
			continue
		}
		n := r.headerBlock(ls[i:])
		for j := i; j < i+n; j++ {
			if ls[j].class != blank {
				ls[j].class = separator
			}
		}
		i += max(n-1, 0)
		if n == 0 && drawn.MatchString(ls[i].raw) {
			ls[i].class = blank
		}
	}
	for i := range ls {
		if ls[i].class != typed || ls[i].command != "" || !banner(ls[i]) {
			continue
		}
		if next := nextLine(ls, i+1); next >= 0 && (ls[next].class == separator || ls[next].class == quote) {
			ls[i].class = separator
		}
	}
}

// cutDraft makes all of a draft quoted that stands below a header block, whosever,
// and what is in a client's container for quotes.
func cutDraft(ls []line) {
	cut := false
	for i := range ls {
		cut = cut || ls[i].class == typed && anyHeaderBlock(ls[i:])
		if ls[i].class == typed && (cut || ls[i].boxed) {
			ls[i].class = quote
		}
	}
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

// anyHeaderBlock tells whether the lines begin with at least three lines of a header
// block, of any mail, a From among them.
func anyHeaderBlock(ls []line) bool {
	n, from := 0, false
	for i, l := range ls {
		if l.class == blank && i > 0 {
			continue // HTML puts empty lines between
		}
		kind, _ := l.header()
		if kind == noHeader || i == 10 {
			break
		}
		n++
		from = from || kind == headerFrom
	}
	return n >= 3 && from
}

// doubtQuotes makes quotes typed text that cannot be shown to be quotes: people
// indent their own text too. If the letter is known, a line of it must be among
// them, and without an attribution each line must be one; if it is not, only an
// attribution shows it.
func (r *reader) doubtQuotes(ls []line) {
	for i := 0; i < len(ls); {
		if ls[i].class != quote {
			i++
			continue
		}
		end, known := i, r.orig == nil
		for ; end < len(ls) && (ls[end].class == quote || ls[end].class == blank); end++ {
			known = known || ls[end].known
		}
		shown := announced(ls, i)
		if !shown {
			n := r.leads(ls[i:end])
			shown = n > 0
			for ; n > 0; n-- {
				if ls[i].class == quote {
					ls[i].class = separator
				}
				i++
			}
		}
		for ; i < end; i++ {
			if ls[i].class == quote && !ls[i].known && !(shown && known && r.marksHold(ls[i])) {
				ls[i].class = typed
			}
		}
	}
}

// marksHold tells whether a line must be a quote where quotes are. Not so in HTML:
// people write their remarks into the quotation, where all that is not the letter's
// is theirs.
func (r *reader) marksHold(l line) bool {
	return !l.html || r.orig == nil
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
	boxed := 0
	for i := range ls {
		if ls[i].class == signature {
			boxed++
		}
	}
	for i := range ls {
		if ls[i].class == signature && boxed > maxSignature {
			ls[i].class = typed
		}
	}
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
