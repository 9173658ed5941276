// Package message turns the bytes of a mail (RFC 5322, MIME) into a [Message].
//
// It promises: no input makes it panic, and time and memory stay within the
// [Limits] whatever is sent. A mail with defects is read as far as it goes, and
// each defect becomes one of the message's problems; an error means that it is no
// mail at all, is beyond a limit, or could not be read. Only headers and the text
// for people are held in memory; attachments are decoded while they are read, by
// [Part.Open]. Every part knows where its raw bytes stand in the mail, so that a
// signature over them can be checked.
package message

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"countersign/mailflow"
)

// Limits bound what one mail may cost. A zero means the default.
type Limits struct {
	Size   int64 // of the whole raw mail, in bytes; default 50 MB
	Depth  int   // of nested multiparts; default 20
	Parts  int   // in all, multiparts included; default 200
	Header int64 // of all header blocks together, in bytes; default 256 KB
	Text   int64 // of the decoded text for people, in bytes; default 1 MB
}

// The defaults of [Limits], and bounds that need no setting.
const (
	defaultSize   = 50 << 20
	defaultDepth  = 20
	defaultParts  = 200
	defaultHeader = 256 << 10
	defaultText   = 1 << 20
	maxFields     = 4000     // header fields of one block
	maxAddresses  = 64 << 10 // bytes of an address list
)

func (l Limits) withDefaults() Limits {
	if l.Size == 0 {
		l.Size = defaultSize
	}
	if l.Depth == 0 {
		l.Depth = defaultDepth
	}
	if l.Parts == 0 {
		l.Parts = defaultParts
	}
	if l.Header == 0 {
		l.Header = defaultHeader
	}
	if l.Text == 0 {
		l.Text = defaultText
	}
	return l
}

// A LimitError says which limit a mail is beyond.
type LimitError struct {
	What  string // "size", "depth", "parts", "header" or "fields"
	Limit int64
}

// Error implements error.
func (e *LimitError) Error() string {
	return fmt.Sprintf("the mail is beyond the limit for its %s, %d", e.What, e.Limit)
}

// ErrNoHeader says that the bytes do not begin with a header field.
var ErrNoHeader = errors.New("no mail: it does not begin with a header field")

// A Field is one header field, at its place in the header.
type Field struct {
	Name string // as written, without blanks before the colon
	// Raw is all between the colon and the end of the field's last line, folds
	// included.
	Raw string
	// Value is Raw unfolded, with encoded words (RFC 2047) decoded and control
	// characters made blanks.
	Value string
	// Start and End are where the field stands in the raw mail, its last line
	// break included.
	Start, End int64
}

// Is reports whether the field has that name; case does not count.
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// A Message is a mail.
type Message struct {
	// Fields are the header fields from the top down.
	Fields []Field
	// From holds the addresses of all From fields; use [Message.Sender] where it
	// matters who wrote.
	From, To, Cc, ReplyTo []mailflow.Address
	// DeliveredTo and the two after it are the recipient fields that mail servers
	// add, at any place in the header; see [Tags] for those that can be believed.
	DeliveredTo, OriginalTo, EnvelopeTo []string
	Subject                             string
	// MessageID, InReplyTo and References are without angle brackets.
	MessageID  string
	InReplyTo  []string
	References []string
	Date       time.Time // zero if missing or unreadable
	// Text is the text/plain for people, unflowed, lines ending in "\n"; of
	// several such parts all, in order. HTML is what a client that prefers HTML
	// shows, with plain parts as <pre>; it is empty if no part is HTML.
	Text, HTML string
	// Guessed says that the character set of Text or HTML is a guess.
	Guessed bool
	// Defective says that the structure is broken or ambiguous: what a person saw
	// may not be what was read here.
	Defective bool
	// Attachments are all other parts, inline images included.
	Attachments []*Part
	// Root is the tree of parts; for a mail without MIME its only one.
	Root *Part
	// Problems are the defects, in plain English.
	Problems []string
	// Size is that of the raw mail, BodyStart where its header ends, in bytes.
	Size, BodyStart int64

	src      io.ReaderAt
	fromErr  error
	noDetail bool // the list of problems is full
}

// Parse reads the mail in the first size bytes of r, which must stay readable as
// long as the message is used. The error is [ErrNoHeader], a [*LimitError], or an
// error of r.
func Parse(r io.ReaderAt, size int64, lim Limits) (*Message, error) {
	lim = lim.withDefaults()
	if size > lim.Size {
		return nil, &LimitError{What: "size", Limit: lim.Size}
	}
	m := &Message{Size: size, src: r}
	w := &walker{m: m, lim: lim, in: newScanner(r, size), headerLeft: lim.Header}
	root, err := w.run()
	if err != nil {
		return nil, err
	}
	m.Root, m.Fields, m.BodyStart = root, root.Fields, root.BodyStart
	m.readHeader()
	t := texts{m: m, left: lim.Text}
	if err := t.read(root); err != nil {
		return nil, err
	}
	m.Text, m.HTML = t.plain(root), t.html(root)
	return m, nil
}

// problem notes a defect that leaves no doubt about what the mail says.
func (m *Message) problem(format string, args ...any) {
	if m.noDetail {
		return
	}
	if len(m.Problems) == 100 {
		m.noDetail = true
		m.Problems = append(m.Problems, "and more")
		return
	}
	m.Problems = append(m.Problems, fmt.Sprintf(format, args...))
}

// defect notes one that does.
func (m *Message) defect(format string, args ...any) {
	m.Defective = true
	m.problem(format, args...)
}

// All returns the fields of that name, from the top down.
func (m *Message) All(name string) []Field {
	var fs []Field
	for _, f := range m.Fields {
		if f.Is(name) {
			fs = append(fs, f)
		}
	}
	return fs
}

// Get returns the value of the topmost field of that name, or "".
func (m *Message) Get(name string) string {
	for _, f := range m.Fields {
		if f.Is(name) {
			return f.Value
		}
	}
	return ""
}

// Ingress returns the index in Fields of the Received field that our own border
// wrote: the hops-th from the top, counted from 1. All above it was written by our
// own servers, all below it by whoever sent the mail. It is -1 if there are fewer.
func (m *Message) Ingress(hops int) int {
	if hops < 1 {
		return -1
	}
	for i, f := range m.Fields {
		if f.Is("Received") {
			if hops--; hops == 0 {
				return i
			}
		}
	}
	return -1
}

// Sender returns the one address that the mail says it comes from. It is an error
// if there is not exactly one From field with exactly one plain address (RFC 5322,
// 3.6.2, allows more; a mail that is to be acted on may not use it).
func (m *Message) Sender() (mailflow.Address, error) {
	if m.fromErr != nil {
		return mailflow.Address{}, m.fromErr
	}
	return m.From[0], nil
}

// Raw returns the bytes of the mail from start to end.
func (m *Message) Raw(start, end int64) *io.SectionReader {
	start = min(max(start, 0), m.Size)
	return io.NewSectionReader(m.src, start, max(min(end, m.Size)-start, 0))
}

// Parts calls f for every part, depth first, until it returns false.
func (m *Message) Parts(f func(*Part) bool) { m.Root.walk(f) }

// readHeader fills what is taken from the header.
func (m *Message) readHeader() {
	m.From = m.addresses("From")
	m.fromErr = m.checkFrom()
	if m.fromErr != nil {
		m.problem("From: %v", m.fromErr)
	}
	m.To, m.Cc, m.ReplyTo = m.addresses("To"), m.addresses("Cc"), m.addresses("Reply-To")
	m.DeliveredTo = m.bare("Delivered-To")
	m.OriginalTo = m.bare("X-Original-To")
	m.EnvelopeTo = append(m.bare("Envelope-To"), m.bare("X-Envelope-To")...)
	m.Subject = m.Get("Subject")
	if ids := messageIDs(m.Get("Message-ID")); len(ids) > 0 {
		m.MessageID = ids[0]
	}
	m.InReplyTo = messageIDs(m.Get("In-Reply-To"))
	m.References = messageIDs(m.Get("References"))
	if d := m.Get("Date"); d != "" {
		t, err := parseDate(d)
		if err != nil {
			m.problem("Date: %q is no date", cut(d, 80))
		}
		m.Date = t
	}
	for _, name := range []string{"From", "Content-Type", "Content-Transfer-Encoding", "MIME-Version", "Subject", "Date", "Message-ID", "In-Reply-To", "To", "Cc", "Reply-To"} {
		if n := len(m.All(name)); n > 1 {
			m.defect("%s: %d fields of a kind that may stand only once", name, n)
		}
	}
}

// bare returns the addresses in fields that mail servers write, one each, with or
// without angle brackets.
func (m *Message) bare(name string) []string {
	var as []string
	for _, f := range m.All(name) {
		if a := bareAddr(f.Value); a != "" && !slices.Contains(as, a) {
			as = append(as, a)
		}
	}
	return as
}

// cut shortens s to n bytes for a message to people.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
