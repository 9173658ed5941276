package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/demomail"
	"countersign/mailflow/message"
)

// A person of the demo reads letters as anybody would, by their text, and answers
// with an ordinary reply.
type person struct {
	client *demomail.Client
	// answer says what to type above the quoted letter; "" means no answer.
	answer func(l *received) string
	// seen is told of every letter, before it is answered.
	seen func(p *person, l *received)
	dir  string // where signed PDFs are saved
}

// A received letter.
type received struct {
	*message.Message
	raw   []byte
	kind  mailflow.LetterKind
	saved []string // paths of the PDFs that came with it
}

// live reads and answers until ctx ends.
func (p *person) live(ctx context.Context) error {
	defer p.client.Close()
	for {
		raw, err := p.client.Next(ctx)
		if err != nil {
			return err
		}
		if err := p.handle(ctx, raw); err != nil {
			return fmt.Errorf("%s: %w", p.client.Addr, err)
		}
	}
}

func (p *person) handle(ctx context.Context, raw []byte) error {
	l, err := readLetter(raw)
	if err != nil {
		return err
	}
	if l.kind == mailflow.LetterResult && p.dir != "" {
		if err := l.save(p.dir, p.client.Addr); err != nil {
			return err
		}
	}
	if p.seen != nil {
		p.seen(p, l)
	}
	if p.answer == nil {
		return nil
	}
	typed := p.answer(l)
	if typed == "" {
		return nil
	}
	to, answer := reply(p.client.Person, l, typed)
	return p.client.Send(ctx, []string{to}, answer)
}

func readLetter(raw []byte) (*received, error) {
	m, err := message.Parse(bytes.NewReader(raw), int64(len(raw)), message.Limits{})
	if err != nil {
		return nil, err
	}
	return &received{Message: m, raw: raw, kind: mailflow.LetterKind(m.Get("X-Countersign-Letter"))}, nil
}

// save writes the PDFs of a letter, one directory for each person.
func (l *received) save(dir, addr string) error {
	dir = filepath.Join(dir, addr)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, part := range l.Attachments {
		if !part.IsPDF() {
			continue
		}
		b, err := io.ReadAll(part.Open())
		if err != nil {
			return err
		}
		path := filepath.Join(dir, part.Filename)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return err
		}
		l.saved = append(l.saved, path)
	}
	return nil
}

// codePattern is how letters tell a code: in groups of digits, within a sentence.
var codePattern = regexp.MustCompile(`Your code: ([0-9 ]{6,14}[0-9])`)

// code reads the code out of a letter's text.
func (l *received) code() (string, error) {
	m := codePattern.FindStringSubmatch(l.Text)
	if m == nil {
		return "", errors.New("no code in the letter")
	}
	return m[1], nil
}

// reply is an answer as mail programs write it: the typed text, an attribution, and
// the letter quoted.
func reply(from demomail.Person, l *received, typed string) (to string, raw []byte) {
	to = l.From[0].Addr
	if len(l.ReplyTo) > 0 {
		to = l.ReplyTo[0].Addr
	}
	var body strings.Builder
	body.WriteString(typed + "\r\n\r\nOn " + l.Date.Format("Mon, 2 Jan 2006") + ", " + l.From[0].String() + " wrote:\r\n")
	for line := range strings.Lines(l.Text) {
		body.WriteString("> " + strings.TrimRight(line, "\r\n") + "\r\n")
	}
	subject := l.Subject
	if !strings.HasPrefix(subject, "Re: ") {
		subject = "Re: " + subject
	}
	m := outgoing{from: from, to: to, subject: subject, text: body.String(), inReplyTo: l.MessageID}
	return to, m.bytes()
}

// An outgoing mail of a person.
type outgoing struct {
	from      demomail.Person
	to, cc    string
	subject   string
	text      string
	inReplyTo string
	files     []attached
	id        string // Message-ID; made up if empty
}

type attached struct {
	name string
	data []byte
}

// bytes writes the mail (RFC 5322, RFC 2045).
func (m *outgoing) bytes() []byte {
	var b bytes.Buffer
	now := time.Now()
	if m.id == "" {
		m.id = fmt.Sprintf("%d.%s", now.UnixNano(), m.from.Addr)
	}
	fmt.Fprintf(&b, "From: %s <%s>\r\nTo: %s\r\n", m.from.Name, m.from.Addr, m.to)
	if m.cc != "" {
		fmt.Fprintf(&b, "Cc: %s\r\n", m.cc)
	}
	fmt.Fprintf(&b, "Subject: %s\r\nDate: %s\r\nMessage-ID: <%s>\r\nMIME-Version: 1.0\r\n",
		mime.QEncoding.Encode("utf-8", m.subject), now.Format(time.RFC1123Z), m.id)
	if m.inReplyTo != "" {
		fmt.Fprintf(&b, "In-Reply-To: <%s>\r\nReferences: <%s>\r\n", m.inReplyTo, m.inReplyTo)
	}
	const boundary = "=_demo_boundary"
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%q\r\n\r\n", boundary)
	fmt.Fprintf(&b, "--%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary)
	wrap64(&b, []byte(m.text))
	for _, f := range m.files {
		fmt.Fprintf(&b, "--%s\r\nContent-Type: application/pdf; name=%q\r\nContent-Disposition: attachment; filename=%q\r\nContent-Transfer-Encoding: base64\r\n\r\n",
			boundary, f.name, f.name)
		wrap64(&b, f.data)
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.Bytes()
}

// wrap64 writes base64 in lines of 76 characters (RFC 2045, 6.8).
func wrap64(b *bytes.Buffer, data []byte) {
	s := base64.StdEncoding.EncodeToString(data)
	for len(s) > 0 {
		n := min(76, len(s))
		b.WriteString(s[:n] + "\r\n")
		s = s[n:]
	}
}

// The typed answers of people who do what they are asked.
func approves(l *received) string {
	if l.kind == mailflow.LetterApprove {
		return "APPROVE"
	}
	return ""
}

func signs(name string) func(l *received) string {
	return func(l *received) string {
		switch l.kind {
		case mailflow.LetterInvite:
			return "AGREE\r\nName: " + name
		case mailflow.LetterCode:
			if code, err := l.code(); err == nil {
				return code
			}
		}
		return ""
	}
}
