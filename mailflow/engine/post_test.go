package engine_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/engine"
	"countersign/mailflow/message"
	"countersign/signing/pdf"
)

const (
	ownDomain   = "acme.example"
	authserv    = "mail.acme.example"
	signAddress = "sign@acme.example"
)

// A person has a name and an address.
type person = mailflow.Address

// Ann, Ben and Cleo belong to the organisation, Carla and Dan to its customer. No rule
// takes drafts from Cleo.
var (
	ann   = person{Name: "Ann Archer", Addr: "ann@acme.example"}
	ben   = person{Name: "Ben Boss", Addr: "ben@acme.example"}
	cleo  = person{Name: "Cleo Clerk", Addr: "cleo@acme.example"}
	carla = person{Name: "Carla Client", Addr: "carla@partner.example"}
	dan   = person{Name: "Dan Director", Addr: "dan@partner.example"}
)

func signs(p person) string { return "Signer: " + p.String() }

// A post is a mail of a person.
type post struct {
	from      person
	to        string
	subject   string
	inReplyTo string
	text      string
	pdf       []byte
	id        string // Message-ID; made up if empty
}

// contract is a draft of Ann's.
func contract(lines ...string) post {
	return post{
		from: ann, to: signAddress, subject: "Supply contract",
		text: strings.Join(lines, "\r\n") + "\r\n\r\nPlease sign.\r\n",
		pdf:  pdf.Sample("Supply contract", []string{"Made for a test.", "Nobody owes anybody anything."}),
	}
}

// notice is a draft that nobody has to sign.
func notice() post {
	m := contract()
	m.to = "sign+notice@" + ownDomain
	return m
}

// sends puts a mail into the mailbox, with the lines that the organisation's mail
// server writes above it; see mailflow/demomail.
func (h *house) sends(m post) {
	h.t.Helper()
	h.serial++
	if m.id == "" {
		m.id = fmt.Sprintf("%d.%s", h.serial, m.from.Addr)
	}
	now := h.clock.Now()
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", m.from.Addr, m.to)
	fmt.Fprintf(&b, "Authentication-Results: %s; dmarc=pass header.from=%s\r\n", authserv, mailflow.Domain(m.from.Addr))
	fmt.Fprintf(&b, "Received: from client (localhost [127.0.0.1])\r\n\t(Authenticated sender: %s)\r\n\tby %s with ESMTPA id D%06d;\r\n\t%s\r\n",
		m.from.Addr, authserv, h.serial, now.Format(time.RFC1123Z))
	m.write(&b, now)
	digest, err := blobFiles{h.blobs}.put(b.Bytes())
	must(h.t, err)
	h.incoming[digest] = true
	h.mailbox = append(h.mailbox, engine.Inbound{
		Mailbox: "sign", Blob: mailflow.Blob(digest), Size: int64(b.Len()), Received: now,
	})
}

// write writes the mail as its sender's program does (RFC 5322, RFC 2045).
func (m *post) write(b *bytes.Buffer, now time.Time) {
	const boundary = "=_boundary"
	fmt.Fprintf(b, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s>\r\nMIME-Version: 1.0\r\n",
		m.from, m.to, m.subject, now.Format(time.RFC1123Z), m.id)
	if m.inReplyTo != "" {
		fmt.Fprintf(b, "In-Reply-To: <%s>\r\nReferences: <%s>\r\n", m.inReplyTo, m.inReplyTo)
	}
	fmt.Fprintf(b, "Content-Type: multipart/mixed; boundary=%q\r\n\r\n--%s\r\n", boundary, boundary)
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	wrap64(b, []byte(m.text))
	if m.pdf != nil {
		fmt.Fprintf(b, "--%s\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"contract.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary)
		wrap64(b, m.pdf)
	}
	fmt.Fprintf(b, "--%s--\r\n", boundary)
}

func wrap64(b *bytes.Buffer, data []byte) {
	s := base64.StdEncoding.EncodeToString(data)
	for len(s) > 0 {
		n := min(76, len(s))
		b.WriteString(s[:n] + "\r\n")
		s = s[n:]
	}
}

// A letterSeen is a copy of a letter, as it came to a person.
type letterSeen struct {
	*message.Message
	raw      []byte
	kind     mailflow.LetterKind
	from, to string // of the envelope
	at       time.Time
}

func readLetter(raw []byte) (*letterSeen, error) {
	m, err := message.Parse(bytes.NewReader(raw), int64(len(raw)), message.Limits{})
	if err != nil {
		return nil, err
	}
	return &letterSeen{Message: m, raw: raw, kind: mailflow.LetterKind(m.Get("X-Countersign-Letter"))}, nil
}

var codePattern = regexp.MustCompile(`Your code: ([0-9 ]{6,14}[0-9])`)

// code is what a code letter tells, "" if it tells none.
func (l *letterSeen) code() string {
	if m := codePattern.FindStringSubmatch(l.Text); m != nil {
		return m[1]
	}
	return ""
}

// token is the reply token of a letter, "" if it has none.
func (l *letterSeen) token() string {
	if len(l.ReplyTo) == 0 {
		return ""
	}
	local, _, _ := strings.Cut(l.ReplyTo[0].Addr, "@")
	_, tag, _ := strings.Cut(local, "+")
	return tag
}

// pdfs returns the documents of a letter.
func (l *letterSeen) pdfs(t testing.TB) [][]byte {
	t.Helper()
	var docs [][]byte
	for _, part := range l.Attachments {
		if part.IsPDF() {
			docs = append(docs, readAll(t, part.Open()))
		}
	}
	return docs
}

// replies answers a letter as mail programs do: the typed text, an attribution, and
// the letter quoted.
func (h *house) replies(l *letterSeen, typed string) {
	h.t.Helper()
	m := post{from: l.To[0], to: l.From[0].Addr, subject: "Re: " + strings.TrimPrefix(l.Subject, "Re: "), inReplyTo: l.MessageID}
	if len(l.ReplyTo) > 0 {
		m.to = l.ReplyTo[0].Addr
	}
	m.text = typed + "\r\n\r\nOn " + l.Date.Format("Mon, 2 Jan 2006") + ", " + l.From[0].String() + " wrote:\r\n"
	for line := range strings.Lines(l.Text) {
		m.text += "> " + strings.TrimRight(line, "\r\n") + "\r\n"
	}
	h.sends(m)
}

// What people do who do what they are asked.
func approves(l *letterSeen) string {
	if l.kind == mailflow.LetterApprove {
		return "APPROVE"
	}
	return ""
}

func rejects(l *letterSeen) string {
	switch l.kind {
	case mailflow.LetterApprove, mailflow.LetterInvite:
		return "REJECT\r\nClause 4 is wrong."
	}
	return ""
}

func agreesAndSigns(l *letterSeen) string {
	switch l.kind {
	case mailflow.LetterInvite:
		return "AGREE"
	case mailflow.LetterCode:
		return l.code()
	}
	return ""
}

// agrees answers the invitation and leaves the code to the test.
func agrees(l *letterSeen) string {
	if l.kind == mailflow.LetterInvite {
		return "AGREE"
	}
	return ""
}
