package inbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"countersign/mailflow/demomail"
	"countersign/mailflow/inbox"
	"countersign/mailflow/realmail"
)

const patience = 30 * time.Second // for what should happen at once

// real is the mail system that the tests share.
var real *realmail.Stack

func TestMain(m *testing.M) {
	var err error
	real, err = realmail.Start(context.Background(), realmail.Options{Users: users("mail.test")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := real.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// users are one mailbox per test, so that tests don't see each other's mail.
func users(domain string) (out []realmail.User) {
	for _, name := range []string{"flow", "kill", "validity", "tls", "big", "poor", "sender"} {
		out = append(out, realmail.User{Addr: name + "@" + domain, Password: "secret of " + name})
	}
	return out
}

func password(p string) func() (string, error) { return func() (string, error) { return p, nil } }

// buffer is a spool in memory.
type buffer struct {
	bytes.Buffer
	discarded bool
}

func (b *buffer) Discard() { b.discarded = true }

// seen is what the handler got.
type seen struct {
	inbox.Mail
	subject string
	raw     string
}

// collector is a handler that remembers everything and decides by subject.
type collector struct {
	decide func(s seen) (inbox.Verdict, error) // nil: Done
	full   error                               // what Spool answers

	mu     sync.Mutex
	got    []seen
	gaveUp []seen
	why    []error
}

func (c *collector) Spool() (inbox.Spool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full != nil {
		return nil, c.full
	}
	return &buffer{}, nil
}

func (c *collector) Handle(_ context.Context, m inbox.Mail) (inbox.Verdict, error) {
	s := seen{Mail: m, raw: m.Raw.(*buffer).String()}
	for line := range strings.SplitSeq(s.raw, "\r\n") {
		if v, ok := strings.CutPrefix(line, "Subject: "); ok {
			s.subject = v
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, s)
	if c.decide == nil {
		return inbox.Done, nil
	}
	return c.decide(s)
}

func (c *collector) GiveUp(_ context.Context, m inbox.Mail, reason error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gaveUp = append(c.gaveUp, seen{Mail: m})
	c.why = append(c.why, reason)
	return nil
}

// subjects lists what came, in order.
func (c *collector) subjects() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.got {
		out = append(out, s.subject)
	}
	return out
}

func (c *collector) times(subject string) (n int) {
	for _, s := range c.subjects() {
		if s == subject {
			n++
		}
	}
	return n
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not reached: %s", what)
		}
	}
}

// run starts a reader that ends with the test.
func run(t *testing.T, cfg inbox.Config, h inbox.Handler) *inbox.Reader {
	t.Helper()
	if cfg.RetryBase == 0 {
		cfg.RetryBase = 10 * time.Millisecond
	}
	r := inbox.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, h) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not end with its context")
		}
	})
	return r
}

// post sends a mail from outside.
func post(t *testing.T, server, to, subject, body string) {
	t.Helper()
	msg := "From: pat@partner.test\r\nTo: " + to + "\r\nSubject: " + subject + "\r\n\r\n" + body
	c, err := smtp.Dial(server)
	must(t, err)
	defer c.Close()
	must(t, c.Mail("pat@partner.test"))
	must(t, c.Rcpt(to))
	w, err := c.Data()
	must(t, err)
	_, err = w.Write([]byte(msg))
	must(t, errors.Join(err, w.Close(), c.Quit()))
}

// folder lists a folder's mails: subject, then its keywords.
func folder(t *testing.T, cfg inbox.Config, name string) []string {
	t.Helper()
	conn, err := net.Dial("tcp", cfg.Address)
	if err != nil {
		t.Fatal(err)
	}
	c := imapclient.New(conn, nil)
	defer c.Close()
	pw, _ := cfg.Password()
	if err := c.Login(cfg.Username, pw).Wait(); err != nil {
		t.Fatal(err)
	}
	data, err := c.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return []string{"(no folder)"}
	}
	out := []string{}
	if data.NumMessages == 0 {
		return out
	}
	var all imap.SeqSet
	all.AddRange(1, 0)
	list, err := c.Fetch(all, &imap.FetchOptions{Flags: true, Envelope: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		words := []string{m.Envelope.Subject}
		for _, f := range m.Flags {
			if !strings.HasPrefix(string(f), `\`) {
				words = append(words, strings.ToLower(string(f)))
			}
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// demo starts the mail system in memory.
func demo(t *testing.T) (*demomail.Server, inbox.Config) {
	t.Helper()
	s, err := demomail.Start(demomail.Options{People: []demomail.Person{{Name: "Signing", Addr: "sign@demo.example", Password: "demo"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, inbox.Config{Address: s.IMAPAddr(), TLS: inbox.TLSNone, Username: "sign@demo.example", Password: password("demo")}
}

func realConfig(s *realmail.Stack, name string) inbox.Config {
	return inbox.Config{Address: s.IMAP, TLS: inbox.TLSNone, Username: name + "@mail.test", Password: password("secret of " + name)}
}

// backend is a mail system under test.
type backend struct {
	cfg  inbox.Config
	post func(subject, body string)
	down func()
	up   func()
}

// backends are the mail system in memory and the real one, with a fresh mailbox.
func backends(t *testing.T, name string, test func(*testing.T, backend)) {
	t.Run("demomail", func(t *testing.T) {
		s, cfg := demo(t)
		test(t, backend{
			cfg: cfg, post: func(subject, body string) { post(t, s.SMTPAddr(), cfg.Username, subject, body) },
			down: func() { must(t, s.Down(demomail.IMAP)) }, up: func() { must(t, s.Up(demomail.IMAP)) },
		})
	})
	t.Run("dovecot", func(t *testing.T) {
		cfg := realConfig(real, name)
		test(t, backend{
			cfg: cfg, post: func(subject, body string) { post(t, real.SMTP, cfg.Username, subject, body) },
			down: func() { must(t, real.Kill(realmail.Dovecot)) }, up: func() { must(t, real.Restart(t.Context(), realmail.Dovecot)) },
		})
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Mails are read whole, marked, moved by verdict; new ones are announced by IDLE: the
// reader would look by itself only after an hour.
func TestReadMarkMove(t *testing.T) {
	big := strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 3<<20/72)
	backends(t, "flow", func(t *testing.T, b backend) {
		b.post("old", "was here before\r\n")
		b.cfg.Poll, b.cfg.IdleTimeout = time.Hour, time.Hour
		c := &collector{decide: func(s seen) (inbox.Verdict, error) {
			switch s.subject {
			case "aside":
				return inbox.SetAside, nil
			case "later":
				return inbox.Later, nil
			}
			return inbox.Done, nil
		}}
		r := run(t, b.cfg, c)
		eventually(t, "old mail", func() bool { return c.times("old") == 1 })
		eventually(t, "first look ends", func() bool { return !r.Status().LastLook.IsZero() })
		for _, subject := range []string{"aside", "later", "big"} {
			body := "x\r\n"
			if subject == "big" {
				body = big
			}
			b.post(subject, body)
			eventually(t, subject, func() bool { return c.times(subject) == 1 })
		}
		eventually(t, "marks", func() bool { return len(folder(t, b.cfg, "INBOX")) == 1 })
		want := map[string]string{
			"INBOX":     "[later]",
			"Processed": "[old $countersigndone big $countersigndone]",
			"Failed":    "[aside $countersigndone]",
		}
		for name, list := range want {
			if got := fmt.Sprint(folder(t, b.cfg, name)); got != list {
				t.Errorf("folder %s has %s, want %s", name, got, list)
			}
		}
		for _, s := range c.got {
			if s.subject == "big" && (!strings.HasSuffix(s.raw, "\r\n\r\n"+big) || s.Size != int64(len(s.raw)) || s.Truncated) {
				t.Errorf("big mail: %d bytes, said to have %d, truncated %v", len(s.raw), s.Size, s.Truncated)
			}
			if s.InternalDate.IsZero() || s.UID == 0 || s.UIDValidity == 0 || s.Mailbox != b.cfg.Username {
				t.Errorf("%s: date %v, UID %d/%d, mailbox %s", s.subject, s.InternalDate, s.UIDValidity, s.UID, s.Mailbox)
			}
		}
		if st := r.Status(); st.Connected.IsZero() || st.LastError != "" || !st.Server.Keywords || !st.Server.Move || !st.Server.Idle {
			t.Errorf("status = %+v", st)
		}
	})
}

// A server that dies, even while mail arrives, is found again; nothing is lost.
func TestServerDiesAndComesBack(t *testing.T) {
	backends(t, "kill", func(t *testing.T, b backend) {
		b.down()
		c := &collector{}
		r := run(t, b.cfg, c)
		eventually(t, "the failure shows", func() bool { return strings.Contains(r.Status().LastError, "connect") })
		b.up()
		b.post("one", "1\r\n")
		eventually(t, "mail after the start", func() bool { return c.times("one") >= 1 })
		b.down()
		eventually(t, "the loss shows", func() bool { return r.Status().LastError != "" && r.Status().Connected.IsZero() })
		b.up()
		b.post("two", "2\r\n")
		eventually(t, "mail after the loss", func() bool { return c.times("two") >= 1 })
		eventually(t, "all marked", func() bool { return len(folder(t, b.cfg, "INBOX")) == 0 })
		eventually(t, "the error is gone", func() bool { return r.Status().LastError == "" })
	})
}

// Dovecot loses its index: the same mails come back under another UIDVALIDITY and are shown again.
func TestUIDValidityChanges(t *testing.T) {
	cfg := realConfig(real, "validity")
	cfg.Poll = 20 * time.Millisecond
	c := &collector{decide: func(s seen) (inbox.Verdict, error) { return inbox.Later, nil }}
	run(t, cfg, c)
	post(t, real.SMTP, cfg.Username, "stays", "x\r\n")
	eventually(t, "first", func() bool { return c.times("stays") >= 1 })
	dir := real.Maildir(cfg.Username)
	for _, name := range []string{"dovecot-uidlist", "dovecot.index", "dovecot.index.log", "dovecot.index.cache"} {
		if err := os.Remove(dir + "/" + name); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	must(t, os.WriteFile(dir+"/dovecot-uidlist", []byte("3 V4711 N1 Gaaaa0000000000000000000000000000\n"), 0o666))
	must(t, os.Chmod(dir+"/dovecot-uidlist", 0o666))
	eventually(t, "the mail under its new name", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		last := c.got[len(c.got)-1]
		return last.subject == "stays" && last.UIDValidity != c.got[0].UIDValidity
	})
}

// Private authorities work both ways; a stranger's certificate, a server without
// STARTTLS and a wrong password are refused with a clear word.
func TestProtectionAndLogin(t *testing.T) {
	_, plain := demo(t)
	base := realConfig(real, "tls")
	for _, tc := range []struct {
		name    string
		change  func(*inbox.Config)
		problem string
	}{
		{"starttls", func(c *inbox.Config) { c.TLS, c.RootCAs = inbox.TLSStart, real.CAs }, ""},
		{"implicit", func(c *inbox.Config) { c.Address, c.TLS, c.RootCAs = real.IMAPS, inbox.TLSImplicit, real.CAs }, ""},
		{"starttls, unknown authority", func(c *inbox.Config) { c.TLS = inbox.TLSStart }, "certificate"},
		{"implicit, unknown authority", func(c *inbox.Config) { c.Address, c.TLS = real.IMAPS, inbox.TLSImplicit }, "certificate"},
		{"starttls is not there", func(c *inbox.Config) { *c = plain; c.TLS = inbox.TLSStart }, "STARTTLS"},
		{"wrong password", func(c *inbox.Config) { c.Password = password("guess") }, "check username and password"},
		{"wrong password in memory", func(c *inbox.Config) { *c = plain; c.Password = password("guess") }, "check username and password"},
		{"password outside ASCII", func(c *inbox.Config) { c.Password = password("schlüssel") }, "check username and password"},
		{"no password", func(c *inbox.Config) { c.Password = func() (string, error) { return "", os.ErrNotExist } }, "password for tls@mail.test"},
		{"missing folder", func(c *inbox.Config) { c.Folder = "Nowhere" }, "select folder Nowhere"},
		{"clear text to elsewhere", func(c *inbox.Config) { c.Address = "imap.example.org:143" }, "tls:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := base
			tc.change(&cfg)
			server, err := inbox.New(cfg).Probe(t.Context())
			switch {
			case tc.problem == "" && (err != nil || server.UIDValidity == 0 || server.Processed != "Processed"):
				t.Errorf("%+v, %v", server, err)
			case tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem)):
				t.Errorf("err = %v, want %q in it", err, tc.problem)
			case err != nil && strings.Contains(err.Error(), "guess"):
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}

// Of mails that are too big only the header comes.
func TestTooBig(t *testing.T) {
	backends(t, "big", func(t *testing.T, b backend) {
		b.cfg.MaxSize = 2000
		c := &collector{}
		run(t, b.cfg, c)
		b.post("big", strings.Repeat("0123456789\r\n", 1000))
		eventually(t, "the header", func() bool { return c.times("big") == 1 })
		s := c.got[0]
		if !s.Truncated || s.Size < 12000 || strings.Contains(s.raw, "0123456789") || !strings.HasSuffix(s.raw, "\r\n\r\n") {
			t.Errorf("truncated %v, size %d, raw %q", s.Truncated, s.Size, s.raw)
		}
	})
}

// Without MOVE the reader copies and removes just that mail; without UIDPLUS it leaves
// the mail in place. Mails that others have flagged as deleted survive both.
func TestPoorServers(t *testing.T) {
	for _, tc := range []struct{ caps, inbox, processed string }{
		{"IMAP4rev1 IDLE UIDPLUS", "[deleted by somebody]", "[contract $countersigndone]"},
		{"IMAP4rev1", "[deleted by somebody contract $countersigndone]", "[(no folder)]"},
	} {
		t.Run(tc.caps, func(t *testing.T) {
			s, err := realmail.Start(t.Context(), realmail.Options{Users: users("mail.test"), IMAPCapability: tc.caps})
			must(t, err)
			t.Cleanup(func() { must(t, s.Stop()) })
			cfg := realConfig(s, "poor")
			cfg.Poll = 50 * time.Millisecond
			c := &collector{decide: func(s seen) (inbox.Verdict, error) {
				if s.subject == "contract" {
					return inbox.Done, nil
				}
				return inbox.Later, nil
			}}
			post(t, s.SMTP, cfg.Username, "deleted by somebody", "x\r\n")
			eventually(t, "first mail is there", func() bool { return len(folder(t, cfg, "INBOX")) == 1 })
			flagDeleted(t, cfg)
			r := run(t, cfg, c)
			post(t, s.SMTP, cfg.Username, "contract", "x\r\n")
			eventually(t, "contract", func() bool { return c.times("contract") == 1 })
			looked := time.Now()
			eventually(t, "two more looks", func() bool { return r.Status().LastLook.After(looked.Add(100 * time.Millisecond)) })
			if n := c.times("contract"); n != 1 {
				t.Errorf("the contract was shown %d times over one connection", n)
			}
			if got := fmt.Sprint(folder(t, cfg, "INBOX")); got != tc.inbox {
				t.Errorf("INBOX has %s, want %s", got, tc.inbox)
			}
			if got := fmt.Sprint(folder(t, cfg, "Processed")); got != tc.processed {
				t.Errorf("Processed has %s, want %s", got, tc.processed)
			}
		})
	}
}

// flagDeleted flags the first mail as a person's mail program would.
func flagDeleted(t *testing.T, cfg inbox.Config) {
	t.Helper()
	conn, err := net.Dial("tcp", cfg.Address)
	must(t, err)
	c := imapclient.New(conn, nil)
	defer c.Close()
	pw, _ := cfg.Password()
	must(t, c.Login(cfg.Username, pw).Wait())
	_, err = c.Select("INBOX", nil).Wait()
	must(t, err)
	must(t, c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
}
