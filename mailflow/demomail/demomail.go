// Package demomail is a small mail system on loopback, in memory: an IMAP server and
// an SMTP server for a few people. The demo and the tests use it where a real mail
// system would be used; nothing ever leaves the process, and nothing survives it.
//
// It behaves like a well-run mail server towards what comes after it. Every mail gets,
// on top of what the sender wrote and in this order from the top:
//
//	Return-Path: <envelope sender>
//	Delivered-To: the envelope recipient, with its +detail
//	Authentication-Results: <AuthServID>; dmarc=pass|fail header.from=<domain>   (RFC 8601)
//	Received: from <helo> (localhost [127.0.0.1]) (Authenticated sender: <login>)
//		by <AuthServID> with ESMTPA id <id>; <date>                         (RFC 5321 4.4)
//
// dmarc is pass only if the sender logged in and the From address is the login. Mail
// from a login with another From is delivered all the same, as Postfix does unless told
// otherwise; its Received line tells who it was. Header fields that the sender forged
// stay where the sender put them: below.
//
// In every hosted domain some addresses fail on purpose (see [Failing]); the local part
// may carry a +detail. Other unknown addresses, all other domains, and mails whose header
// can't be read at all are refused with 550.
package demomail

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// Options describe the mail system.
type Options struct {
	Domains    []string         // hosted domains; default demo.example
	People     []Person         // their addresses must be in a hosted domain
	IMAPAddr   string           // host:port to listen on, loopback only; default 127.0.0.1:0
	SMTPAddr   string           // the same for SMTP
	AuthServID string           // the server's name; default mail.<first domain>
	Clock      func() time.Time // for Received and INTERNALDATE; default time.Now
	SlowDelay  time.Duration    // how long slow@ takes; default 3s
	MaxSize    int64            // biggest mail in bytes; default 50 MiB
	Keep       int              // how many mails Accepted remembers; default 1000
	Log        *slog.Logger     // nil: silent
}

// A Person has a mailbox and may log in, with the address as the user name.
type Person struct{ Name, Addr, Password string }

// A Message is one accepted mail.
type Message struct {
	ID       string    // as in the 250 answer and the Received field
	From     string    // envelope sender; "" for the null sender
	To       []string  // envelope recipients
	Login    string    // who was logged in; "" for mail from outside
	ENVID    string    // the sender's envelope id (RFC 3461)
	Notify   []string  // DSN wishes, in the order of To, such as "FAILURE,DELAY"
	Data     []byte    // the mail as it was sent, without our fields; not to be changed
	Accepted time.Time //
}

// Failing are the local parts that fail on purpose, with what they do.
var failing = map[string]string{
	"tempfail": "refuses twice with 451, then accepts",
	"reject":   "refuses with 550",
	"slow":     "accepts after a delay",
}

// Failing gives the addresses of a domain that fail on purpose, each with what it does.
func Failing(domain string) map[string]string {
	out := map[string]string{}
	for local, does := range failing {
		out[local+"@"+domain] = does
	}
	return out
}

// A Service is one half of the mail system.
type Service int

const (
	IMAP Service = iota
	SMTP
)

// A listener is a running service.
type listener struct {
	addr  string // where it listens; kept over Down and Up
	close func() error
}

// A Server is a running mail system.
type Server struct {
	opts  Options
	boxes *imapmemserver.Server

	mu       sync.Mutex
	running  map[Service]listener
	addrs    map[Service]string
	people   map[string]*mailbox // by address, lower case
	accepted []Message
	serial   int
	tries    map[string]int // of tempfail@, by sender and recipient
	loseOK   int            // how many of the next 250 answers get lost
}

// mailbox is a person's place.
type mailbox struct {
	Person
	user *imapmemserver.User
}

// Start opens both services.
func Start(opts Options) (*Server, error) {
	if len(opts.Domains) == 0 {
		opts.Domains = []string{"demo.example"}
	}
	opts.AuthServID = cmp.Or(opts.AuthServID, "mail."+opts.Domains[0])
	opts.IMAPAddr = cmp.Or(opts.IMAPAddr, "127.0.0.1:0")
	opts.SMTPAddr = cmp.Or(opts.SMTPAddr, "127.0.0.1:0")
	opts.SlowDelay = cmp.Or(opts.SlowDelay, 3*time.Second)
	opts.MaxSize = cmp.Or(opts.MaxSize, 50<<20)
	opts.Keep = cmp.Or(opts.Keep, 1000)
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		opts: opts, boxes: imapmemserver.New(), running: map[Service]listener{},
		addrs:  map[Service]string{IMAP: opts.IMAPAddr, SMTP: opts.SMTPAddr},
		people: map[string]*mailbox{}, tries: map[string]int{},
	}
	for _, p := range opts.People {
		if err := s.addPerson(p); err != nil {
			return nil, err
		}
	}
	for _, svc := range []Service{IMAP, SMTP} {
		if err := s.Up(svc); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// addPerson makes the mailbox with its folders.
func (s *Server) addPerson(p Person) error {
	addr := strings.ToLower(p.Addr)
	if _, domain, ok := strings.Cut(addr, "@"); !ok || !s.hosts(domain) {
		return fmt.Errorf("demo mail: %s is in none of the domains %v", p.Addr, s.opts.Domains)
	}
	if s.people[addr] != nil {
		return fmt.Errorf("demo mail: %s is there twice", p.Addr)
	}
	user := imapmemserver.NewUser(addr, p.Password)
	for _, folder := range []string{"INBOX", "Sent"} {
		if err := user.Create(folder, nil); err != nil {
			return fmt.Errorf("demo mail: folder %s of %s: %w", folder, p.Addr, err)
		}
	}
	s.boxes.AddUser(user)
	s.people[addr] = &mailbox{Person: p, user: user}
	return nil
}

// IMAPAddr is the host:port of the IMAP service (plain text, loopback).
func (s *Server) IMAPAddr() string { return s.address(IMAP) }

// SMTPAddr is the host:port of the SMTP service (plain text, loopback): submission
// with AUTH PLAIN, and mail from outside without.
func (s *Server) SMTPAddr() string { return s.address(SMTP) }

func (s *Server) address(svc Service) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrs[svc]
}

// Down closes a service and all its connections. The mailboxes stay.
func (s *Server) Down(svc Service) error {
	s.mu.Lock()
	l, ok := s.running[svc]
	delete(s.running, svc)
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return l.close()
}

// listenAgain listens; a port that somebody's passing connection holds is waited for.
func listenAgain(addr string) (ln net.Listener, err error) {
	for range 60 {
		if ln, err = net.Listen("tcp", addr); !errors.Is(err, syscall.EADDRINUSE) {
			return ln, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return ln, err
}

// Up opens a service again, on the port it had.
func (s *Server) Up(svc Service) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.running[svc]; ok {
		return nil
	}
	ln, err := listenAgain(s.addrs[svc])
	if err != nil {
		return fmt.Errorf("demo mail: %w", err)
	}
	if tcp, ok := ln.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		ln.Close()
		return fmt.Errorf("demo mail: %s is not a loopback address; this server has no protection, use 127.0.0.1", ln.Addr())
	}
	s.addrs[svc] = ln.Addr().String()
	start := s.serveIMAP
	if svc == SMTP {
		start = s.serveSMTP
	}
	s.running[svc] = listener{addr: s.addrs[svc], close: start(ln)}
	return nil
}

// Close ends both services.
func (s *Server) Close() error {
	return errors.Join(s.Down(IMAP), s.Down(SMTP))
}

// LoseAnswers makes the connection break after the final dot of the next n mails: they
// are accepted and delivered, but the sender never learns it.
func (s *Server) LoseAnswers(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseOK = n
}

// Accepted gives the mails accepted so far, oldest first, at most Options.Keep.
func (s *Server) Accepted() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.accepted...)
}

// hosts reports whether a domain (lower case) is ours.
func (s *Server) hosts(domain string) bool {
	for _, d := range s.opts.Domains {
		if strings.EqualFold(d, domain) {
			return true
		}
	}
	return false
}

// split takes an address apart: lower case, without the +detail.
func split(addr string) (local, domain string) {
	local, domain, _ = strings.Cut(strings.ToLower(addr), "@")
	local, _, _ = strings.Cut(local, "+")
	return local, domain
}

// logAdapter lets the libraries log.
type logAdapter struct{ log *slog.Logger }

func (a logAdapter) Printf(format string, args ...any) {
	a.log.Debug("mail library", "says", fmt.Sprintf(format, args...))
}

func (a logAdapter) Println(args ...any) { a.log.Debug("mail library", "says", fmt.Sprint(args...)) }

var _ io.Closer = (*Server)(nil)
