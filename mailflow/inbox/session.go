package inbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

// A loginError is a refused login: trying again soon does not help, and may lock the account.
type loginError struct{ err error }

func (e *loginError) Error() string { return e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }

// A session is one connection with the folder selected. Its methods are called by one
// goroutine, one command at a time: the library dead-locks otherwise.
type session struct {
	cfg    *Config
	conn   *rollingConn
	client *imapclient.Client
	detach func() bool   // ends the tie between the context and the connection
	wake   chan struct{} // the server announced something in the folder

	caps       imap.CapSet
	validity   uint32
	canKeyword bool
	prefix     string // of personal folders
	delim      string // between folder levels
	muteIdle   bool   // the server has IDLE but does not announce mail in it
	folders    map[Verdict]string
}

// open connects, logs in and selects the folder. When ctx ends the connection is cut,
// which ends every command.
func open(ctx context.Context, cfg *Config) (*session, error) {
	d := net.Dialer{Timeout: cfg.CommandTimeout}
	raw, err := d.DialContext(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("imap %s: connect: %w", cfg.Address, err)
	}
	s := &session{cfg: cfg, conn: newRollingConn(raw, cfg.CommandTimeout), wake: make(chan struct{}, 1)}
	s.detach = context.AfterFunc(ctx, func() { s.conn.Close() })
	for _, step := range []func(context.Context) error{s.secure, s.login, s.learn, s.selectFolder} {
		if err := step(ctx); err != nil {
			s.close()
			return nil, fmt.Errorf("imap %s: %w", cfg.Address, err)
		}
	}
	s.findFolders()
	s.conn.allow(0)
	return s, nil
}

// close cuts the connection. The socket goes first: the library's Close would wait
// for a server that reads nothing any more.
func (s *session) close() {
	s.detach()
	s.conn.Close()
	if s.client != nil {
		s.client.Close()
	}
}

// do runs one command with the command's limit on the server's silence.
func (s *session) do(f func() error) error {
	s.conn.allow(s.cfg.CommandTimeout)
	defer s.conn.allow(0)
	return f()
}

// secure starts the client with the protection the settings demand, and waits for the greeting.
func (s *session) secure(ctx context.Context) error {
	host, _, err := net.SplitHostPort(s.cfg.Address)
	if err != nil {
		return err
	}
	tlsConfig := &tls.Config{ServerName: host, RootCAs: s.cfg.RootCAs, MinVersion: tls.VersionTLS12}
	opts := &imapclient.Options{
		TLSConfig: tlsConfig,
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{
			// It runs inside the decoder, so it must never block.
			Mailbox: func(data *imapclient.UnilateralDataMailbox) {
				if data.NumMessages == nil {
					return
				}
				select {
				case s.wake <- struct{}{}:
				default:
				}
			},
		},
	}
	switch s.cfg.TLS {
	case TLSImplicit:
		conn := tls.Client(s.conn, tlsConfig)
		if err := conn.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		s.client = imapclient.New(conn, opts)
	case TLSStart:
		if s.client, err = imapclient.NewStartTLS(s.conn, opts); err != nil {
			return fmt.Errorf("STARTTLS (the connection is not continued without): %w", err)
		}
	default:
		s.client = imapclient.New(s.conn, opts)
	}
	if err := s.client.WaitGreeting(); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	return nil
}

// login waits for the result before anything else is sent: Courier loses what is
// pipelined behind a LOGIN.
func (s *session) login(context.Context) error {
	if s.client.State() != imap.ConnStateNotAuthenticated {
		return nil // PREAUTH (RFC 3501 7.1.4)
	}
	password, err := s.cfg.Password()
	if err != nil {
		return &loginError{fmt.Errorf("password for %s: %w", s.cfg.Username, err)}
	}
	caps := s.client.Caps()
	plain := caps.Has(imap.CapLoginDisabled) || !ascii(s.cfg.Username+password)
	if plain && caps.Has(imap.AuthCap(sasl.Plain)) {
		err = s.client.Authenticate(sasl.NewPlainClient("", s.cfg.Username, password))
	} else {
		err = s.client.Login(s.cfg.Username, password).Wait()
	}
	if answer, ok := errors.AsType[*imap.Error](err); ok && answer.Type == imap.StatusResponseTypeNo && answer.Code != imap.ResponseCodeUnavailable {
		return &loginError{fmt.Errorf("login as %s was refused, check username and password: %w", s.cfg.Username, err)}
	}
	if err != nil {
		return fmt.Errorf("login as %s: %w", s.cfg.Username, err)
	}
	return nil
}

// learn asks for the capabilities that hold after the login, and the folder names' form.
func (s *session) learn(context.Context) error {
	caps, err := s.client.Capability().Wait()
	if err != nil {
		return fmt.Errorf("CAPABILITY: %w", err)
	}
	s.caps = caps
	s.delim = "/"
	if caps.Has(imap.CapNamespace) {
		ns, err := s.client.Namespace().Wait()
		if lost(err) {
			return fmt.Errorf("NAMESPACE: %w", err)
		}
		if err == nil && len(ns.Personal) > 0 {
			s.prefix, s.delim = ns.Personal[0].Prefix, string(ns.Personal[0].Delim)
			return nil
		}
	}
	root, err := s.client.List("", "", nil).Collect() // RFC 3501 6.3.8: tells the delimiter only
	if err != nil {
		return fmt.Errorf("LIST: %w", err)
	}
	if len(root) > 0 && root[0].Delim != 0 {
		s.delim = string(root[0].Delim)
	}
	return nil
}

// selectFolder opens the folder. A failure ends the session: servers differ on what
// is selected afterwards.
func (s *session) selectFolder(context.Context) error {
	name := s.cfg.Folder
	if !strings.EqualFold(name, "INBOX") {
		name = folderName(s.prefix, s.delim, name)
	}
	data, err := s.client.Select(name, nil).Wait()
	if err != nil {
		return fmt.Errorf("select folder %s: %w", name, err)
	}
	s.validity = data.UIDValidity
	// Without "\*" new keywords last at most until the session ends (RFC 3501 7.1, PERMANENTFLAGS).
	s.canKeyword = slices.ContainsFunc(data.PermanentFlags, func(f imap.Flag) bool {
		return f == imap.FlagWildcard || strings.EqualFold(string(f), Keyword)
	})
	return nil
}

// findFolders prepares the folders that mails are moved to, if this server can move
// mails at all. A folder that can't be had is no reason to stop: mails then stay.
func (s *session) findFolders() {
	s.folders = map[Verdict]string{}
	if !s.canMove() {
		return
	}
	for v, name := range map[Verdict]string{Done: s.cfg.Processed, SetAside: s.cfg.Failed} {
		full := folderName(s.prefix, s.delim, name)
		if err := s.ensureFolder(full); err != nil {
			s.cfg.Log.Warn("mail folder can't be used; mails stay where they are", "mailbox", s.cfg.Name, "folder", full, "err", err)
			continue
		}
		s.folders[v] = full
	}
}

// ensureFolder creates a folder that does not exist.
func (s *session) ensureFolder(name string) error {
	return s.do(func() error {
		query := func() error {
			_, err := s.client.Status(name, &imap.StatusOptions{UIDValidity: true}).Wait()
			return err
		}
		if err := query(); err == nil || lost(err) {
			return err
		}
		created := s.client.Create(name, nil).Wait()
		if err := query(); err != nil {
			return errors.Join(created, err)
		}
		if created == nil {
			_ = s.client.Subscribe(name).Wait() // only so that people see it
		}
		return nil
	})
}

// folderName turns a configured name into the server's: levels by its delimiter,
// under the prefix of personal folders ("INBOX." at Courier and old Cyrus).
func folderName(prefix, delim, name string) string {
	if delim != "" && delim != "\x00" {
		name = strings.ReplaceAll(name, "/", delim)
	}
	if strings.HasPrefix(name, prefix) {
		return name
	}
	return prefix + name
}

// canMove reports whether a mail can leave the folder without a risk to others.
func (s *session) canMove() bool {
	return s.caps.Has(imap.CapMove) || s.caps.Has(imap.CapUIDPlus)
}

// canIdle reports whether the server announces new mail by itself.
func (s *session) canIdle() bool { return s.caps.Has(imap.CapIdle) }

// wait returns when the server announced mail or d is over.
func (s *session) wait(ctx context.Context, d time.Duration) (announced bool, err error) {
	var idle *imapclient.IdleCommand
	if s.canIdle() {
		s.conn.allow(s.cfg.CommandTimeout)
		if idle, err = s.client.Idle(); err != nil {
			return false, fmt.Errorf("IDLE: %w", err)
		}
		s.conn.allow(d + s.cfg.CommandTimeout)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.wake:
		announced = true
	case <-timer.C:
	case <-ctx.Done():
		return false, ctx.Err()
	case <-s.client.Closed():
		return false, errors.New("the server closed the connection while we waited for mail")
	}
	if idle == nil {
		return announced, nil
	}
	err = s.do(func() error {
		if err := idle.Close(); err != nil {
			return err
		}
		return idle.Wait()
	})
	if err != nil {
		return announced, fmt.Errorf("end of IDLE: %w", err)
	}
	return announced, nil
}

// quiet forgets announcements that the next search covers.
func (s *session) quiet() {
	select {
	case <-s.wake:
	default:
	}
}

// lost reports whether err means that the connection is gone, and not that the server
// said no.
func lost(err error) bool {
	if err == nil {
		return false
	}
	_, answered := errors.AsType[*imap.Error](err)
	return !answered
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 126 || r < 32 })
}
