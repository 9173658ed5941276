package reply

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"countersign/mailflow"
)

// maxAttribution is how many lines a client makes of an attribution, and
// maxPhraseBytes how long it may be.
const (
	maxAttribution = 6
	maxPhraseBytes = 600
)

var (
	addrSpec  = regexp.MustCompile("(?:mailto:)?([a-z0-9._%+=&!#$'*/?^{|}~-]+@[a-z0-9.-]*[a-z0-9])")
	dateDigit = regexp.MustCompile(`(\d{1,4})[./-] ?(\d{1,2})[./-] ?(\d{2,4})`)
	clock     = regexp.MustCompile(`\d{1,2}(?:[:.]\d{2}){1,2}|\d{1,2} ?(?:h|時|时|点|시) ?\d{2}(?: ?(?:分|분))?`)
	zone      = regexp.MustCompile(`(?:gmt|utc) ?[+−–-] ?\d{1,2}(?::?\d{2})?|[+−–-]\d{2}:?\d{2}`)
	token     = regexp.MustCompile(`\p{N}+|[\p{L}\p{M}]+`)
)

// allowedSigns may stand between the words of an attribution. Question marks, signs
// of currency, emoji and the like may not.
const allowedSigns = `.,:;()[]<>"'“”„‘’‚‹›«»、。،·-–—/+−*|׳״_`

// A phrase is what remains of a line once our name and address are taken out.
type phrase struct {
	us      bool   // it named us
	foreign bool   // it holds another address
	rest    string // folded
}

// phrase takes the names of the sender of the letter out of a line.
func (r *reader) phrase(s string) phrase {
	p := phrase{rest: fold(s)}
	p.rest = addrSpec.ReplaceAllStringFunc(p.rest, func(a string) string {
		if !ours(strings.TrimPrefix(a, "mailto:"), r.in.From.Addr) {
			p.foreign = true
			return a
		}
		p.us = true
		return " "
	})
	name := fold(r.in.From.Name)
	if !strings.ContainsFunc(name, unicode.IsLetter) {
		return p
	}
	for i := wordIndex(p.rest, name); i >= 0; i = wordIndex(p.rest, name) {
		p.us = true
		p.rest = p.rest[:i] + " " + p.rest[i+len(name):]
	}
	return p
}

// ours tells whether an address is the signing address, with or without a tag
// (RFC 5233).
func ours(a, own string) bool {
	local, domain, ok := strings.Cut(a, "@")
	ownLocal, ownDomain, found := strings.Cut(fold(own), "@")
	local, _, _ = strings.Cut(local, "+")
	return ok && found && local == ownLocal && domain == ownDomain
}

// wordIndex finds a name that does not stand inside a word. Scripts without blanks
// put words right beside it.
func wordIndex(s, name string) int {
	for at := 0; ; {
		i := strings.Index(s[at:], name)
		if i < 0 {
			return -1
		}
		i += at
		before, _ := utf8.DecodeLastRuneInString(s[:i])
		after, _ := utf8.DecodeRuneInString(s[i+len(name):])
		if !joins(before) && !joins(after) {
			return i
		}
		at = i + len(name)
	}
}

func joins(c rune) bool {
	return c != utf8.RuneError && (unicode.IsLetter(c) || unicode.IsDigit(c)) && !unbroken(c)
}

// unbroken tells whether a script writes words without blanks, or glues particles to
// names.
func unbroken(c rune) bool {
	return unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul) || c == 'ー'
}

// A reading says what a phrase gives, once all its words are accounted for.
type reading struct {
	wrote, clock, date bool
}

// account reads a phrase: each word must be known to one tongue, each number belong
// to one date, one time and its zone. A date must be that of the letter, if known.
func (r *reader) account(rest string) (reading, bool) {
	if strings.IndexFunc(rest, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsMark(c) && (c < '0' || c > '9') && c != ' ' && !strings.ContainsRune(allowedSigns, c)
	}) >= 0 {
		return reading{}, false
	}
	var numbers []string
	rest = dateDigit.ReplaceAllStringFunc(rest, func(s string) string {
		numbers = append(numbers, dateDigit.FindStringSubmatch(s)[1:]...)
		return " "
	})
	clocks := 0
	rest = clock.ReplaceAllStringFunc(rest, func(string) string { clocks++; return " " })
	rest = zone.ReplaceAllString(rest, " ")
	var said []string
	for _, w := range token.FindAllString(rest, -1) {
		if w[0] >= '0' && w[0] <= '9' {
			numbers = append(numbers, w)
		} else {
			said = append(said, w)
		}
	}
	if clocks > 1 || len(numbers) > 3 {
		return reading{}, false
	}
	for _, t := range tongues {
		got, months, ok := t.read(said)
		if !ok {
			continue
		}
		got.clock = clocks == 1
		if got.date, ok = r.dated(numbers, months); ok {
			return got, true
		}
	}
	return reading{}, false
}

// read accounts for words; months are those that the words may stand for, nil if
// there is none, with 0 among them if none need be.
func (t tongue) read(said []string) (got reading, months []int, ok bool) {
	sure := false
	for _, w := range said {
		m := t.months[w]
		switch {
		case m > 0 && t.days[w]:
			months = append(months, m)
		case m > 0 && sure:
			return got, nil, false
		case m > 0:
			sure, months = true, []int{m}
		case t.wrote[w]:
			got.wrote = true
		case !t.has(w):
			verb, ok := t.split(w)
			if !ok {
				return got, nil, false
			}
			got.wrote = got.wrote || verb
		}
	}
	if !sure {
		months = append(months, 0)
	}
	return got, months, true
}

func (t tongue) has(w string) bool {
	return t.glue[w] || t.days[w] || everywhere[w]
}

// split takes a run of letters without blanks apart into words of the tongue.
func (t tongue) split(w string) (verb, ok bool) {
	rs := []rune(w)
	if len(rs) > 40 || slices.ContainsFunc(rs, func(c rune) bool { return !unbroken(c) }) {
		return false, false
	}
	// reach[i]: the first i letters are words; 2: among them a verb.
	reach := make([]int, len(rs)+1)
	reach[0] = 1
	for i := range rs {
		for j := i + 1; j <= len(rs) && reach[i] > 0; j++ {
			switch part := string(rs[i:j]); {
			case t.wrote[part]:
				reach[j] = 2
			case t.has(part):
				reach[j] = max(reach[j], reach[i])
			}
		}
	}
	return reach[len(rs)] == 2, reach[len(rs)] > 0
}

// dated tells whether numbers and a month make a date, or there is none.
func (r *reader) dated(numbers []string, months []int) (date, ok bool) {
	var ns []int
	for _, s := range numbers {
		n, err := strconv.Atoi(s)
		if err != nil || len(s) > 4 {
			return false, false
		}
		ns = append(ns, n)
	}
	if len(ns) == 0 {
		return false, slices.Contains(months, 0)
	}
	for _, m := range months {
		all := ns
		if m > 0 {
			all = append(slices.Clone(ns), m)
		}
		if r.isDate(all) {
			return true, true
		}
	}
	return false, false
}

// isDate tells whether numbers are day and month, perhaps with the year, of a letter;
// within a day, as the client's time zone is not known. Without letters any day
// counts.
func (r *reader) isDate(ns []int) bool {
	if len(ns) < 2 || len(ns) > 3 {
		return false
	}
	got := slices.Sorted(slices.Values(ns))
	for _, sent := range r.in.Dates {
		for _, shift := range []int{-1, 0, 1} {
			y, m, d := sent.UTC().Add(time.Duration(shift) * 24 * time.Hour).Date()
			for _, want := range [][]int{{int(m), d}, {int(m), d, y}, {int(m), d, y % 100}} {
				slices.Sort(want)
				if slices.Equal(got, want) {
					return true
				}
			}
		}
	}
	if len(r.in.Dates) > 0 {
		return false
	}
	small := 0 // numbers that are a day or a month
	for _, n := range got {
		if n >= 1 && n <= 31 {
			small++
		}
	}
	last := got[len(got)-1]
	return got[0] >= 1 && got[0] <= 12 && (small == len(got) || small == len(got)-1 && (last < 100 || last >= 1900 && last < 2100))
}

// attribution tells whether the lines announce a quotation of the letter: they name
// who sent it, say that he wrote or when, and have no word that such lines have not.
func (r *reader) attribution(ls []line) (reading, bool) {
	var all []string
	size := 0
	for _, l := range ls {
		all = append(all, strings.TrimSpace(unmarked(l)))
		size += len(l.raw) + 1
	}
	if size > maxPhraseBytes {
		return reading{}, false
	}
	s := strings.TrimRight(strings.Join(all, " "), " \u00a0*_\u200e\u200f\u202a\u202b\u202c\u2069")
	if !strings.HasSuffix(s, ":") && !strings.HasSuffix(s, "：") && !strings.HasSuffix(s, ">") &&
		!strings.HasPrefix(fold(s), ":") { // written from right to left
		return reading{}, false
	}
	p := r.phrase(s)
	if !p.us || p.foreign {
		return reading{}, false
	}
	got, ok := r.account(p.rest)
	return got, ok && (got.wrote || got.date && got.clock)
}

// unmarked is the line without quote marks.
func unmarked(l line) string {
	if l.class == quote {
		return quotePrefix.ReplaceAllString(l.raw, "")
	}
	return l.raw
}

// attributions finds the lines directly above each quote that announce it, none of
// them a command. Clients wrap long ones: a line above belongs to it only if that
// makes a whole with the date of the letter, or if without it there is none.
func (r *reader) attributions(ls []line) {
	for q := range ls {
		if ls[q].class != quote {
			continue
		}
		end := q // behind the attribution
		for end > 0 && ls[end-1].class == blank && q-end < 3 {
			end--
		}
		found := end
		for start := end - 1; start >= 0 && start >= end-maxAttribution; start-- {
			if ls[start].class != typed || ls[start].command != "" || ls[start].digits != "" {
				break
			}
			got, ok := r.attribution(ls[start:end])
			if !ok {
				continue
			}
			if start < end-1 && !strings.ContainsFunc(ls[start].raw, unicode.IsDigit) && !r.phrase(unmarked(ls[start])).us {
				break
			}
			if found == end || got.date && len(r.in.Dates) > 0 {
				found = start
			}
			if got.date {
				break // it is whole
			}
		}
		for i := found; i < end; i++ {
			ls[i].class = separator
		}
	}
}

// leads returns how many of a run of quoted lines are an attribution or a header
// block at its beginning: some clients put it inside the quotation.
func (r *reader) leads(ls []line) int {
	first := nextLine(ls, 0)
	if first < 0 {
		return 0
	}
	for n := first + 1; n <= len(ls) && n <= first+maxAttribution && ls[n-1].class != blank; n++ {
		if _, ok := r.attribution(ls[first:n]); ok {
			return n
		}
	}
	if n := r.headerBlock(ls[first:]); n > 0 {
		return first + n
	}
	return 0
}

// bannerLine is "-----Original Message-----".
var bannerLine = regexp.MustCompile(`^[ *_=~-]*[-_=]{2,}[ *_=~-]*([\p{L}\p{M}][\p{L}\p{M} ']*?)[ *_=~-]*[-_=]{2,}[ *_=~-]*$`)

// banner tells whether a line is drawn with only the words in it that clients write
// above what they quote.
func banner(l line) bool {
	if len(l.raw) > maxPhraseBytes {
		return false
	}
	m := bannerLine.FindStringSubmatch(fold(unmarked(l)))
	if m == nil {
		return false
	}
	ws := token.FindAllString(m[1], -1)
	for _, t := range tongues {
		if !slices.ContainsFunc(ws, func(w string) bool { return !t.banner[w] }) {
			return true
		}
	}
	return false
}

// header returns which line of a header block this is, and its value.
func (l line) header() (headerKind, string) {
	raw := unmarked(l)
	if len(raw) > maxPhraseBytes || !headerLine.MatchString(raw) {
		return noHeader, ""
	}
	key, value, _ := strings.Cut(strings.Replace(raw, "：", ":", 1), ":")
	return headerKeys[strings.Trim(fold(key), " *_")], strings.Trim(value, " \t\u00a0*_")
}

// headerBlock returns how many lines at the beginning are a header block of our
// letter: at least three "Key: value" lines, perhaps wrapped, one of which names us
// as the sender, and whose values can be nothing else. It returns 0 if they are none.
func (r *reader) headerBlock(ls []line) int {
	seen := map[headerKind]bool{}
	n, end := 0, 0
	for i := 0; i < len(ls) && n < 10; {
		if ls[i].class == blank {
			if n >= 3 || i > end+1 {
				break
			}
			i++ // HTML puts empty lines between
			continue
		}
		kind, value := ls[i].header()
		if kind == noHeader || ls[i].command != "" || ls[i].digits != "" {
			break
		}
		size := r.field(ls[i:], kind, value)
		if size == 0 {
			break
		}
		seen[kind] = true
		n++
		i += size
		end = i
	}
	if n < 3 || !seen[headerFrom] {
		return 0
	}
	return end
}

// field returns how many lines a field with this kind and first line takes, 0 if its
// value cannot be that of our letter. One that is whole goes on only with what
// clients wrap to the next line: the subject, or an address behind a name.
func (r *reader) field(ls []line, kind headerKind, value string) int {
	size := 0
	for k := 1; k <= 3 && k <= len(ls); k++ {
		if k > 1 {
			next := ls[k-1]
			if other, _ := next.header(); next.class == blank || other != noHeader || next.command != "" || next.digits != "" {
				break
			}
			piece := strings.TrimSpace(unmarked(next))
			if size > 0 && kind != headerSubject && !strings.Contains(piece, "@") {
				break
			}
			value += " " + piece
		}
		if r.headerValue(kind, value) {
			size = k
		}
	}
	return size
}

var reference = regexp.MustCompile(`^\[#[0-9A-Z]{4,12}\] \S`)

// headerValue tells whether a value can be that of our letter.
func (r *reader) headerValue(kind headerKind, value string) bool {
	switch kind {
	case headerFrom:
		p := r.phrase(value)
		return p.us && !p.foreign && bare(p.rest)
	case headerDate:
		got, ok := r.account(r.phrase(value).rest)
		return ok && got.date && !got.wrote
	case headerSubject:
		// What the client quotes is what it answers, behind a "Re:" of its own.
		own, got := fold(r.in.Subject), fold(value)
		_, bare, _ := strings.Cut(own, ": ")
		return got != "" && (got == own || got == bare || reference.MatchString(value) && strings.HasSuffix(own, got))
	case headerTo:
		for box := range strings.FieldsFuncSeq(value, func(c rune) bool { return c == ';' || c == '；' }) {
			if !r.recipient(box) {
				return false
			}
		}
		return true
	}
	return false
}

// recipient tells whether a To line names the person who answers, by address or, as
// Outlook does, by name alone. Our own address may stand there too.
func (r *reader) recipient(box string) bool {
	person := r.in.Person
	s := fold(box)
	named := false
	for _, a := range addrSpec.FindAllStringSubmatch(s, -1) {
		if !mailflow.SameAddr(a[1], fold(person.Addr)) && !ours(a[1], r.in.From.Addr) {
			return false
		}
		named = true
	}
	names := addrSpec.ReplaceAllString(s, " ")
	have := token.FindAllString(names, -1)
	if !bare(token.ReplaceAllString(names, "")) {
		return false
	}
	local, _, _ := strings.Cut(person.Addr, "@")
	known := slices.Concat(wordsOf(person.Name), wordsOf(local), wordsOf(r.in.From.Name))
	for _, w := range have {
		if !slices.Contains(known, w) {
			return false
		}
		named = true
	}
	return named || strings.TrimSpace(s) == ""
}
