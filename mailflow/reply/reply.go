// Package reply reads what people typed: the command in an answer, and the lines of
// a draft that name people.
//
// It promises that doubt never signs: a command counts only if the first line that
// the person typed is, as a whole, one of a closed list, and nothing else was typed
// that could limit it. There is no search for words inside text. A line is a quote,
// an attribution or a separator only if all of it can be accounted for as such;
// whatever is not recognised only ever makes an answer less clear. No input makes it panic.
package reply

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"countersign/mailflow"
	"countersign/mailflow/message"
)

// An Attachment is what an answer carries besides text.
type Attachment struct {
	Name string // file name
	Type string // media type in lower case
}

// Input is an answer or a draft.
type Input struct {
	// Text is the text/plain part, unflowed, HTML the text/html one; either may be
	// empty. See [message.Message].
	Text, HTML string
	// Guessed and Defective are those of the message: such an answer is unclear.
	Guessed, Defective bool
	Attachments        []Attachment
	// Sent is the text of the letter that is answered, "" if it is not known.
	// What is in it is quoted, in whatever way a client quotes.
	Sent string
	// From is the sender of that letter: our signing address, and the name it is
	// sent under. A line counts as an attribution ("On … X wrote:") only if it
	// names one of them; without From there are none.
	From mailflow.Address
	// Dates are those of the letters in Sent. An attribution that gives another
	// date, by more than a day, is typed text. If empty, any date counts.
	Dates []time.Time
	// Person is who answers, Subject the answer's own one: both come back in the
	// header blocks that some clients put above what they quote.
	Person  mailflow.Address
	Subject string
	// CodeDigits is how many digits a code has; 0 if none is expected.
	CodeDigits int
	// WantName allows one "Name:" line after AGREE.
	WantName bool
	// Languages are those of the words that count, besides English: "de".
	Languages []string
}

// From fills an Input with what a message holds; what is known of the letter it
// answers is for the caller. A PDF is one whatever its type says.
func From(m *message.Message) Input {
	in := Input{Text: m.Text, HTML: m.HTML, Guessed: m.Guessed, Defective: m.Defective, Subject: m.Subject}
	if len(m.From) == 1 {
		in.Person = m.From[0]
	}
	for _, p := range m.Attachments {
		a := Attachment{Name: p.Filename, Type: p.ContentType}
		if p.IsPDF() {
			a.Type = "application/pdf"
		}
		in.Attachments = append(in.Attachments, a)
	}
	return in
}

// SentText is what [Input.Sent] shall be for a letter of ours with these parts: the
// words of both, as a client may quote either.
func SentText(text, html string) string {
	var out strings.Builder
	out.WriteString(text)
	out.WriteByte('\n')
	if len(html) <= maxHTML {
		for _, l := range parseHTML(html).lines {
			out.WriteString(l.raw + "\n")
		}
	}
	return out.String()
}

// A Cause says why an answer is unclear, for programs.
type Cause string

// The causes.
const (
	CauseEmpty      Cause = "empty"         // nothing was typed
	CauseNoCommand  Cause = "no-command"    // the first typed line is no command
	CauseQuoteAbove Cause = "quote-above"   // the command stands below or between quotes
	CauseContradict Cause = "contradiction" // two different commands or codes
	CauseDigits     Cause = "code-digits"   // a code of the wrong length
	CauseRemark     Cause = "remark"        // a command, and other text
	CauseDisagree   Cause = "disagree"      // text and HTML say different things
	CauseHidden     Cause = "hidden"        // hidden or struck-through text
	CauseAttachment Cause = "attachment"    // a PDF or office file
	CauseGuessed    Cause = "charset"       // the character set is a guess
	CauseDefective  Cause = "defective"     // the mail's structure is broken
	CauseTooLong    Cause = "too-long"      // more than 64 KB or 2000 lines
	CauseBadName    Cause = "bad-name"      // the Name line cannot be used
	CauseTwoNames   Cause = "two-names"     // more than one Name line
)

// An Answer is what a person wants.
type Answer struct {
	// Command is approve, agree, reject or code; remark and unclear execute
	// nothing.
	Command mailflow.Command
	Word    string        // the command as typed; "code" for a code
	Code    mailflow.Code // N ASCII digits
	Name    string        // of the "Name:" line, in NFC; "" if there is none
	Reason  string        // the text typed below a reject, at most 2000 characters
	// Typed is the text the person typed, codes masked.
	Typed string
	// Problem says in plain English why nothing is executed; Cause for programs.
	Problem string
	Cause   Cause

	base mailflow.Command // the command of a remark
}

// The bounds of an answer.
const (
	maxText   = 64 << 10
	maxLines  = 2000
	maxReason = 2000 // characters
	maxName   = 64   // characters
)

func unclear(c Cause, problem string) Answer {
	return Answer{Command: mailflow.CommandUnclear, Cause: c, Problem: problem}
}

// Read tells what an answer asks for. A text and an HTML part are read each by
// itself, and must agree.
func Read(in Input) Answer {
	text, html := splitText(in.Text), htmlDoc{}
	if in.HTML != "" && len(in.HTML) <= maxHTML {
		html = parseHTML(in.HTML)
	}
	if a, ok := in.refuse(text, html); !ok {
		a.Typed = typedOnly(in, text, html.lines)
		return a
	}
	d := newReader(in)
	switch {
	case blankAll(html.lines):
		return d.read(text)
	case blankAll(text):
		return d.read(html.lines)
	}
	return agree(d.read(text), d.read(html.lines))
}

// refuse tells why an answer is not read at all.
func (in Input) refuse(text []line, html htmlDoc) (Answer, bool) {
	switch {
	case in.Defective:
		return unclear(CauseDefective, "the mail is damaged"), false
	case in.Guessed:
		return unclear(CauseGuessed, "the mail does not say in which character set it is written"), false
	case len(in.Text) > maxText || len(in.HTML) > maxHTML || html.size > maxText || len(text) > maxLines || len(html.lines) > maxLines:
		return unclear(CauseTooLong, "the mail is too long for an answer"), false
	case html.unsafe != "":
		return unclear(CauseHidden, "the mail has "+html.unsafe), false
	}
	if slices.ContainsFunc(in.Attachments, isDocument) {
		return unclear(CauseAttachment, "a document is attached; only the one that we sent can be signed"), false
	}
	return Answer{}, true
}

// isDocument tells whether an attachment is a PDF or an office file.
func isDocument(a Attachment) bool {
	t := strings.ToLower(a.Type)
	for _, part := range []string{"pdf", "msword", "ms-word", "ms-excel", "ms-powerpoint", "officedocument", "opendocument", "rtf", "iwork", "vnd.apple."} {
		if strings.Contains(t, part) {
			return true
		}
	}
	name := strings.ToLower(a.Name)
	for _, ext := range []string{".pdf", ".doc", ".docx", ".docm", ".dot", ".dotx", ".rtf", ".odt", ".ods", ".odp", ".xls", ".xlsx", ".xlsm", ".ppt", ".pptx", ".pptm", ".pages", ".numbers", ".key"} {
		if strings.HasSuffix(name, ext) {
			return true
		}
	}
	return false
}

// agree joins what the two parts of a mail say.
func agree(a, b Answer) Answer {
	same := a.Command == b.Command && a.Code == b.Code && a.Name == b.Name && a.base == b.base
	switch {
	case same:
		return a
	case a.Command == mailflow.CommandRemark && a.base == b.verb():
		return a
	case b.Command == mailflow.CommandRemark && b.base == a.verb():
		b.Typed = a.Typed
		return b
	case a.Command == mailflow.CommandUnclear && b.Command == mailflow.CommandUnclear:
		return a
	}
	u := unclear(CauseDisagree, "the plain and the formatted text of the mail say different things")
	u.Typed = a.Typed
	return u
}

// verb is the command, or that below which the remark stands.
func (a Answer) verb() mailflow.Command {
	if a.Command == mailflow.CommandRemark {
		return a.base
	}
	return a.Command
}

// typedOnly gives the typed text of an answer that is not read, within bounds.
func typedOnly(in Input, text, html []line) string {
	if blankAll(text) {
		text = html
	}
	if len(text) > maxLines {
		text = text[:maxLines]
	}
	in.Sent = ""
	d := newReader(in)
	d.classify(text)
	return d.typed(text)
}

func blankAll(ls []line) bool {
	for _, l := range ls {
		if l.norm != "" {
			return false
		}
	}
	return true
}

// cutRunes shortens s to n characters.
func cutRunes(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n])
}
