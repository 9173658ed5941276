package demomail

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// serveSMTP runs the SMTP service and returns what ends it.
func (s *Server) serveSMTP(ln net.Listener) func() error {
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &submission{server: s, conn: c}, nil
	}))
	server.Domain = s.opts.AuthServID
	server.AllowInsecureAuth = true
	server.EnableDSN = true
	server.MaxMessageBytes = s.opts.MaxSize
	server.MaxRecipients = 100
	server.ReadTimeout = 5 * time.Minute
	server.WriteTimeout = time.Minute
	server.ErrorLog = logAdapter{s.opts.Log}
	return serve(ln, server.Serve, server.Close)
}

// A submission is one SMTP connection.
type submission struct {
	server *Server
	conn   *smtp.Conn
	login  string // lower case; "" until AUTH succeeded

	msg  Message
	slow bool
}

func refuse(code int, enhanced smtp.EnhancedCode, format string, args ...any) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: fmt.Sprintf(format, args...)}
}

// AuthMechanisms implements smtp.AuthSession.
func (c *submission) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth implements smtp.AuthSession.
func (c *submission) Auth(mech string) (sasl.Server, error) {
	if mech != sasl.Plain {
		return nil, smtp.ErrAuthUnknownMechanism
	}
	return sasl.NewPlainServer(func(identity, username, password string) error {
		username = strings.ToLower(username)
		box := c.server.people[username]
		if box == nil || identity != "" && !strings.EqualFold(identity, username) ||
			subtle.ConstantTimeCompare([]byte(box.Password), []byte(password)) != 1 {
			return smtp.ErrAuthFailed
		}
		c.login = username
		return nil
	}), nil
}

// Mail implements smtp.Session.
func (c *submission) Mail(from string, opts *smtp.MailOptions) error {
	c.msg = Message{From: from, Login: c.login, ENVID: opts.EnvelopeID}
	c.slow = false
	return nil
}

// Rcpt implements smtp.Session: here it is decided who gets mail.
func (c *submission) Rcpt(to string, opts *smtp.RcptOptions) error {
	local, domain := split(to)
	switch {
	case !c.server.hosts(domain) && c.login == "":
		return refuse(550, smtp.EnhancedCode{5, 7, 1}, "<%s>: Relay access denied", to)
	case !c.server.hosts(domain):
		return refuse(550, smtp.EnhancedCode{5, 1, 2}, "<%s>: no mail leaves this demonstration", to)
	case local == "reject":
		return refuse(550, smtp.EnhancedCode{5, 7, 1}, "<%s>: this address refuses everything", to)
	case local == "tempfail" && c.server.failsNow(c.msg.From, to):
		return refuse(451, smtp.EnhancedCode{4, 3, 0}, "<%s>: try again later", to)
	case local == "slow":
		c.slow = true
	case failing[local] == "" && c.server.people[local+"@"+domain] == nil:
		return refuse(550, smtp.EnhancedCode{5, 1, 1}, "<%s>: no such person here", to)
	}
	var wishes []string
	for _, n := range opts.Notify {
		wishes = append(wishes, string(n))
	}
	c.msg.To = append(c.msg.To, to)
	c.msg.Notify = append(c.msg.Notify, strings.Join(wishes, ","))
	return nil
}

// failsNow counts the tries of one sender for one recipient. Each letter has its own
// envelope sender, so each letter fails twice.
func (s *Server) failsNow(from, to string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := from + " " + to
	s.tries[key]++
	if s.tries[key] <= 2 {
		return true
	}
	delete(s.tries, key)
	return false
}

// Data implements smtp.Session: the mail is delivered before the answer is given.
func (c *submission) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if tooBig, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return tooBig
	}
	if err != nil {
		return refuse(451, smtp.EnhancedCode{4, 3, 0}, "could not read the mail: %v", err)
	}
	// The IMAP library gives such a mail back as empty; better it is never taken.
	if imapserver.ExtractBodySection(bytes.NewReader(data), &imap.FetchItemBodySection{}) == nil {
		return refuse(550, smtp.EnhancedCode{5, 6, 0}, "the header of the mail is malformed")
	}
	if c.slow {
		time.Sleep(c.server.opts.SlowDelay)
	}
	c.msg.Data, c.msg.Accepted = data, c.server.opts.Clock()
	lose := c.server.register(&c.msg)
	for _, to := range c.msg.To {
		if err := c.server.deliver(c.msg, to, c.hello()); err != nil {
			return refuse(451, smtp.EnhancedCode{4, 3, 0}, "could not deliver: %v", err)
		}
	}
	if lose {
		c.conn.Conn().Close()
	}
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "Ok: queued as " + c.msg.ID}
}

// register gives the mail its id and remembers it; it tells whether the answer is to get lost.
func (s *Server) register(m *Message) (lose bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	m.ID = fmt.Sprintf("D%06d", s.serial)
	if len(s.accepted) >= s.opts.Keep {
		s.accepted = append(s.accepted[:0], s.accepted[1:]...)
	}
	s.accepted = append(s.accepted, *m)
	if lose = s.loseOK > 0; lose {
		s.loseOK--
	}
	return lose
}

// hello is the name and the address the client came with.
func (c *submission) hello() string {
	host, _, err := net.SplitHostPort(c.conn.Conn().RemoteAddr().String())
	if err != nil {
		host = "127.0.0.1"
	}
	return fmt.Sprintf("%s (localhost [%s])", c.conn.Hostname(), host)
}

// deliver puts a mail into one mailbox. Failing addresses need none.
func (s *Server) deliver(m Message, to, hello string) error {
	local, domain := split(to)
	box := s.people[local+"@"+domain]
	if box == nil {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", m.From, to)
	result, from := s.dmarc(m)
	fmt.Fprintf(&b, "Authentication-Results: %s; dmarc=%s", s.opts.AuthServID, result)
	if from != "" {
		fmt.Fprintf(&b, " header.from=%s", from)
	}
	fmt.Fprintf(&b, "\r\nReceived: from %s", hello)
	protocol := "ESMTP"
	if m.Login != "" {
		protocol = "ESMTPA" // RFC 3848: authenticated, without TLS
		fmt.Fprintf(&b, "\r\n\t(Authenticated sender: %s)", m.Login)
	}
	fmt.Fprintf(&b, "\r\n\tby %s with %s id %s;\r\n\t%s\r\n", s.opts.AuthServID, protocol, m.ID, m.Accepted.Format(time.RFC1123Z))
	b.Write(m.Data)
	_, err := box.user.Append("INBOX", bytes.NewReader(b.Bytes()), &imap.AppendOptions{Time: m.Accepted})
	if err != nil {
		return fmt.Errorf("mailbox %s: %w", box.Addr, err)
	}
	return nil
}

// dmarc judges the From field: only the person logged in may use an address of ours,
// and of other domains this server knows nothing. from is the From domain, "" if there
// is not exactly one address.
func (s *Server) dmarc(m Message) (result, from string) {
	parsed, err := mail.ReadMessage(bytes.NewReader(m.Data))
	if err != nil || len(parsed.Header["From"]) != 1 {
		return "fail", ""
	}
	list, err := parsed.Header.AddressList("From")
	if err != nil || len(list) != 1 {
		return "fail", ""
	}
	addr := strings.ToLower(list[0].Address)
	_, domain := split(addr)
	if !plainDomain(domain) {
		return "fail", ""
	}
	if m.Login != "" && addr == m.Login && s.hosts(domain) {
		return "pass", domain
	}
	return "fail", domain
}

// plainDomain reports whether a domain can stand in a header field as it is; what the
// sender wrote must not be able to write our verdict.
func plainDomain(d string) bool {
	return d != "" && !strings.ContainsFunc(d, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-'
	})
}

// Reset implements smtp.Session.
func (c *submission) Reset() { c.msg, c.slow = Message{}, false }

// Logout implements smtp.Session.
func (c *submission) Logout() error { return nil }
