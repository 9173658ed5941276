package outbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// An Envelope says who gets a mail and who hears when it can't be delivered.
type Envelope struct {
	From       string   // MAIL FROM; "" is the null sender: nobody hears of failures
	To         []string // RCPT TO, at least one
	EnvelopeID string   // comes back in delivery reports (ENVID, RFC 3461 4.4); printable ASCII, at most 100; "" = none
}

// A Receipt is the proof that the server took over a mail.
type Receipt struct {
	Server string // host:port
	Reply  string // the text behind the final 250, usually with the server's queue id
}

// A Sender hands mails to one server. It is safe for concurrent use.
type Sender struct{ cfg Config }

// New makes a sender; the settings are checked by Send and Probe.
func New(cfg Config) *Sender { return &Sender{cfg: cfg.withDefaults()} }

// Send hands over one mail of exactly size bytes, which write writes in one go. write
// is not called when the server refuses before. Every error is a *SendError.
func (s *Sender) Send(ctx context.Context, env Envelope, size int64, write func(io.Writer) error) (_ Receipt, err error) {
	defer func() {
		// A cut connection looks like any other; say that it was us.
		if e, ok := errors.AsType[*SendError](err); ok && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			e.Err = errors.Join(ctx.Err(), e.Err)
		}
	}()
	if err := env.check(); err != nil {
		return Receipt{}, broken(err)
	}
	c, err := s.connect(ctx)
	if err != nil {
		return Receipt{}, err
	}
	defer c.Close()
	if limit, ok := c.MaxMessageSize(); ok && limit > 0 && size > int64(limit) {
		return Receipt{}, broken(fmt.Errorf("the mail has %d bytes, %s takes at most %d (SIZE)", size, s.cfg.Address, limit))
	}
	if err := offer(c, env, size); err != nil {
		return Receipt{}, err
	}
	data, err := c.Data()
	if err != nil {
		return Receipt{}, refused("DATA", err)
	}
	// From here to the final dot the connection must only be cut, never used: the
	// library writes the dot before the next command of any kind.
	strict := &strictWriter{w: data, left: size}
	if err := strict.all(write); err != nil {
		return Receipt{}, err
	}
	answer, err := data.CloseWithResponse()
	if err != nil {
		return Receipt{}, afterDot(err)
	}
	_ = c.quit() // the mail is handed over, whatever comes of the farewell
	return Receipt{Server: s.cfg.Address, Reply: answer.StatusText}, nil
}

// Probe connects and logs in as Send does, and hands in nothing. It returns the
// biggest mail the server takes (bytes, 0 = it names no limit) and whether it reports
// on delivery (DSN).
func (s *Sender) Probe(ctx context.Context) (limit int64, dsn bool, err error) {
	c, err := s.connect(ctx)
	if err != nil {
		return 0, false, err
	}
	defer c.Close()
	n, _ := c.MaxMessageSize()
	dsn, _ = c.Extension("DSN")
	_ = c.quit()
	return int64(n), dsn, nil
}

// check refuses what could not stand in a command. Addresses outside ASCII would need
// 8-bit headers (RFC 6531), which we never send.
func (e Envelope) check() error {
	if len(e.To) == 0 {
		return errors.New("the mail has no recipient")
	}
	for _, a := range e.To {
		if !address(a) {
			return fmt.Errorf("recipient %q is not a plain mail address", a)
		}
	}
	if e.From != "" && !address(e.From) {
		return fmt.Errorf("sender %q is not a plain mail address", e.From)
	}
	if e.EnvelopeID != "" && (len(e.EnvelopeID) > 100 || !token(e.EnvelopeID)) {
		return fmt.Errorf("envelope id %q is not printable ASCII of at most 100 characters", e.EnvelopeID)
	}
	return nil
}

// address reports whether a can stand between < and > in a command.
func address(a string) bool {
	at := strings.LastIndexByte(a, '@')
	return token(a) && !strings.ContainsAny(a, "<>") && at > 0 && at < len(a)-1
}

// A client is one connection.
type client struct {
	*smtp.Client
	detach func() bool
}

// Close cuts the connection.
func (c *client) Close() {
	c.detach()
	c.Client.Close()
}

// quit says goodbye, but does not wait long for the answer.
func (c *client) quit() error {
	c.CommandTimeout = min(c.CommandTimeout, 5*time.Second)
	return c.Quit()
}

// connect dials, protects the connection, and logs in. When ctx ends the connection is
// cut, which ends every command.
func (s *Sender) connect(ctx context.Context) (*client, error) {
	if err := s.cfg.Check(); err != nil {
		return nil, early("smtp settings", err)
	}
	where := "smtp " + s.cfg.Address
	d := net.Dialer{Timeout: s.cfg.CommandTimeout}
	raw, err := d.DialContext(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return nil, early(where+": connect", err)
	}
	conn := &writeLimit{Conn: raw, timeout: s.cfg.CommandTimeout}
	detach := context.AfterFunc(ctx, func() { conn.Close() })
	inner, err := s.greet(ctx, conn)
	if err == nil {
		err = s.login(inner)
	}
	if err != nil {
		detach()
		conn.Close()
		return nil, early(where, err)
	}
	return &client{Client: inner, detach: detach}, nil
}

// greet brings the connection to the point after EHLO, with the protection the
// settings demand.
func (s *Sender) greet(ctx context.Context, conn net.Conn) (*smtp.Client, error) {
	host, _, err := net.SplitHostPort(s.cfg.Address)
	if err != nil {
		return nil, err
	}
	tlsConfig := &tls.Config{ServerName: host, RootCAs: s.cfg.RootCAs, MinVersion: tls.VersionTLS12}
	var c *smtp.Client
	switch s.cfg.TLS {
	case TLSImplicit:
		ctx, cancel := context.WithTimeout(ctx, s.cfg.CommandTimeout)
		defer cancel()
		secure := tls.Client(conn, tlsConfig)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
		c = smtp.NewClient(secure)
	case TLSStart:
		// Until it returns, the library waits with its own long timeout.
		late := time.AfterFunc(s.cfg.CommandTimeout, func() { conn.Close() })
		c, err = smtp.NewClientStartTLS(conn, tlsConfig)
		if !late.Stop() && err == nil {
			err = errors.New("no answer in time")
		}
		if err != nil {
			return nil, fmt.Errorf("STARTTLS (the connection is not continued without): %w", err)
		}
	default:
		c = smtp.NewClient(conn)
	}
	c.CommandTimeout, c.SubmissionTimeout = s.cfg.CommandTimeout, s.cfg.SubmissionTimeout
	if err := c.Hello(s.cfg.HELO); err != nil {
		return nil, fmt.Errorf("EHLO %s: %w", s.cfg.HELO, err)
	}
	return c, nil
}

// login authenticates if there is a user name.
func (s *Sender) login(c *smtp.Client) error {
	if s.cfg.Username == "" {
		return nil
	}
	password, err := s.cfg.Password()
	if err != nil {
		return fmt.Errorf("password for %s: %w", s.cfg.Username, err)
	}
	switch {
	case c.SupportsAuth(sasl.Plain):
		err = c.Auth(sasl.NewPlainClient("", s.cfg.Username, password))
	case c.SupportsAuth(sasl.Login):
		err = c.Auth(sasl.NewLoginClient(s.cfg.Username, password))
	default:
		return fmt.Errorf("the server offers no way to log in that we know (PLAIN, LOGIN); leave the user name empty if it needs none")
	}
	if replyCode(err) >= 500 {
		return fmt.Errorf("login as %s was refused, check username and password: %w", s.cfg.Username, err)
	}
	if err != nil {
		return fmt.Errorf("login as %s: %w", s.cfg.Username, err)
	}
	return nil
}

// offer names sender and recipients.
func offer(c *client, env Envelope, size int64) error {
	mail := &smtp.MailOptions{Size: size}
	rcpt := &smtp.RcptOptions{}
	if env.From != "" { // a report to the null sender goes nowhere (RFC 3461 4.1)
		mail.Return = smtp.DSNReturnHeaders
		mail.EnvelopeID = env.EnvelopeID
		rcpt.Notify = []smtp.DSNNotify{smtp.DSNNotifyFailure, smtp.DSNNotifyDelayed}
	}
	if err := c.Mail(env.From, mail); err != nil {
		return refused("MAIL FROM:<"+env.From+">", err)
	}
	for _, to := range env.To {
		if err := c.Rcpt(to, rcpt); err != nil {
			e := refused("RCPT TO:<"+to+">", err)
			e.Recipient = to
			return e
		}
	}
	return nil
}
