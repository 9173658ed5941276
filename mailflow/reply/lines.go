package reply

import (
	"regexp"
	"strings"
)

// A class is what a line of a mail is.
type class int

const (
	typed     class = iota // the person wrote it
	blank                  //
	quote                  // of an earlier mail
	separator              // announces a quote
	signature              // below "-- ", or in a client's signature block
	footer                 // "Sent from my iPhone"
)

// A line of a mail.
type line struct {
	raw   string
	norm  string // see normalise
	class class
	// command is set for typed lines that are one, digits for those that are a
	// code of any length.
	command string
	digits  string

	known  bool // its words stand in the letter that is answered
	html   bool // it comes from HTML
	quoted bool // HTML: inside a quotation
	boxed  bool // HTML: inside a container that clients make for quotes; drafts only
	sig    bool // HTML: inside a signature block
	hidden bool // HTML: some of it is hidden or struck through
}

// lineBreaks are all that a client may show as one.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\v", "\n", "\f", "\n", "\u0085", "\n")

func splitText(text string) []line {
	if text == "" {
		return nil
	}
	if len(text) > 4*maxText {
		text = text[:4*maxText] // it is refused, but looked at
	}
	var ls []line
	for s := range strings.SplitSeq(lineBreaks.Replace(text), "\n") {
		ls = append(ls, line{raw: s, norm: normalise(s)})
	}
	return ls
}

// noise is what clients put into quoted text: addresses of links and images.
var noise = regexp.MustCompile(`<(?:https?|mailto|cid):[^>\s]*>|\[(?:cid|image)[^\]]{0,200}\]|https?://\S+`)

var wordRun = regexp.MustCompile(`[\p{L}\p{N}\p{M}]+`)

// wordsOf splits a line into words to compare.
func wordsOf(s string) []string {
	return wordRun.FindAllString(fold(noise.ReplaceAllString(s, " ")), -1)
}

// An original is a letter of ours that may be quoted.
type original struct {
	runs  map[[3]string]bool // all runs of three words
	lines map[string]bool    // its lines, normalised
}

func newOriginal(sent string) *original {
	o := &original{runs: map[[3]string]bool{}, lines: map[string]bool{}}
	var words []string
	for _, l := range splitText(sent) {
		if l.norm != "" {
			o.lines[l.norm] = true
		}
		words = append(words, wordsOf(l.raw)...)
	}
	for i := range max(len(words)-2, 0) {
		o.runs[[3]string(words[i:i+3])] = true
	}
	return o
}

// mark finds the lines whose every word belongs to a run of at least three words of
// the letter. Runs go over line ends, as clients wrap anew, but never over a line
// that is a command.
func (o *original) mark(ls []line) {
	type word struct {
		text string
		line int
	}
	var stream []word
	missing := make([]int, len(ls)) // words not found, by line
	count := make([]int, len(ls))
	flush := func() {
		found := make([]bool, len(stream))
		for i := range max(len(stream)-2, 0) {
			run := [3]string{stream[i].text, stream[i+1].text, stream[i+2].text}
			if o.runs[run] || o.runs[[3]string{zeros(run[0]), zeros(run[1]), zeros(run[2])}] {
				found[i], found[i+1], found[i+2] = true, true, true
			}
		}
		for i, w := range stream {
			count[w.line]++
			if !found[i] {
				missing[w.line]++
			}
		}
		stream = stream[:0]
	}
	for i, l := range ls {
		if l.command != "" || l.digits != "" {
			flush()
			continue
		}
		for _, w := range wordsOf(quotePrefix.ReplaceAllString(l.raw, "")) {
			stream = append(stream, word{w, i})
		}
	}
	flush()
	for i := range ls {
		ls[i].known = count[i] > 0 && missing[i] == 0
	}
	o.markShort(ls, count)
}

// zeros gives a word of digits as zeros: the letters that we keep have them in the
// place of codes.
func zeros(w string) string {
	if strings.Trim(w, "0123456789") != "" {
		return w
	}
	return strings.Repeat("0", len(w))
}

// bare tells whether a line has nothing but what clients draw: no emoji, say.
func bare(raw string) bool {
	return strings.Trim(raw, allowedSigns+" \t\u00a0=#~•▪") == ""
}

// markShort adds lines too short for a run that stand beside a known one: whole
// lines of the letter, and lines without words.
func (o *original) markShort(ls []line, count []int) {
	beside := false
	step := func(i int) {
		l := &ls[i]
		switch {
		case l.norm == "" || l.known:
			beside = beside || l.known
		case beside && l.command == "" && l.digits == "" && (count[i] == 0 && bare(l.raw) || o.lines[normalise(quotePrefix.ReplaceAllString(l.raw, ""))]):
			l.known = true
		default:
			beside = false
		}
	}
	for i := range ls {
		step(i)
	}
	beside = false
	for i := len(ls) - 1; i >= 0; i-- {
		step(i)
	}
}

var (
	// drawn is a line of signs only.
	drawn = regexp.MustCompile(`^\s*[-_=*~#─━═＿—–]{4,}\s*$`)
	// headerLine is "Key: value", as clients put above what they quote.
	headerLine = regexp.MustCompile(`^\s*\*?[\p{L}\p{M}][\p{L}\p{M} ./-]{0,24}\*?\s*[:：]\*?\s*\S`)
)

// Words of the lines that mobile apps add below a mail, and those of them that name
// a device or an app.
var (
	footerWords = words(`sent from with for via my get the mail app mobile phone email secure a
		von meinem mit gesendet envoyé de mon depuis enviado desde mi do meu inviato da il mio dal
		verzonden vanaf mijn skickat från min sendt fra wysłane z mojego отправлено с`)
	deviceWords = words(`iphone ipad ios android galaxy samsung xiaomi huawei pixel smartphone handy blackberry
		outlook yahoo proton protonmail gmail mac windows`)
	footers = words(`发自我的iphone 發自我的iphone 從我的iphone傳送 iphoneから送信 发自我的手机`)
)

func words(list string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		m[w] = true
	}
	return m
}

// isFooter tells whether a line is one that an app adds. It is narrow on purpose: a
// single word that no such line has makes it text.
func isFooter(raw string) bool {
	if len(raw) > 300 {
		return false
	}
	ws := wordsOf(raw)
	if len(ws) == 1 {
		return footers[ws[0]]
	}
	device := false
	for _, w := range ws {
		if !footerWords[w] && !deviceWords[w] {
			return false
		}
		device = device || deviceWords[w]
	}
	return device
}
