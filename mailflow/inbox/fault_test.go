package inbox_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"countersign/mailflow/inbox"
)

// odd is a server session with faults.
type odd struct {
	imapserver.SessionIMAP4rev2
	conn     *imapserver.Conn
	badUID   imap.UID
	fault    string // what happens when the body of badUID is fetched: refuse, nothing, drop
	keywords bool   // keywords may be stored
	fetches  *atomic.Int32
}

func (s *odd) Fetch(w *imapserver.FetchWriter, set imap.NumSet, o *imap.FetchOptions) error {
	uids, byUID := set.(imap.UIDSet)
	seqs, _ := set.(imap.SeqSet)
	if len(o.BodySection) > 0 && (byUID && uids.Contains(s.badUID) || !byUID && seqs.Contains(uint32(s.badUID))) {
		s.fetches.Add(1)
		switch s.fault {
		case "refuse":
			return &imap.Error{Type: imap.StatusResponseTypeNo, Text: "this mail is damaged"}
		case "nothing":
			return nil
		case "by number only":
			if byUID {
				return nil
			}
		case "drop":
			s.conn.NetConn().Close()
			return nil
		}
	}
	return s.SessionIMAP4rev2.Fetch(w, set, o)
}

func (s *odd) Select(name string, o *imap.SelectOptions) (*imap.SelectData, error) {
	data, err := s.SessionIMAP4rev2.Select(name, o)
	if err == nil && !s.keywords {
		data.PermanentFlags = slices.DeleteFunc(data.PermanentFlags, func(f imap.Flag) bool { return f == imap.FlagWildcard })
	}
	return data, err
}

func (s *odd) Store(w *imapserver.FetchWriter, set imap.NumSet, flags *imap.StoreFlags, o *imap.StoreOptions) error {
	if !s.keywords && slices.Contains(flags.Flags, inbox.Keyword) {
		return &imap.Error{Type: imap.StatusResponseTypeNo, Text: "no keywords here"}
	}
	return s.SessionIMAP4rev2.Store(w, set, flags, o)
}

// oddServer runs such a server with the mails "a", "b", "c" (UIDs 1 to 3).
func oddServer(t *testing.T, template odd, caps imap.CapSet) (inbox.Config, *atomic.Int32) {
	t.Helper()
	user := imapmemserver.NewUser("sign", "pw")
	must(t, user.Create("INBOX", nil))
	for _, subject := range []string{"a", "b", "c"} {
		_, err := user.Append("INBOX", strings.NewReader("Subject: "+subject+"\r\n\r\nx\r\n"), &imap.AppendOptions{})
		must(t, err)
	}
	boxes := imapmemserver.New()
	boxes.AddUser(user)
	fetches := &atomic.Int32{}
	server := imapserver.New(&imapserver.Options{
		NewSession: func(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			s := template
			s.SessionIMAP4rev2 = boxes.NewSession().(imapserver.SessionIMAP4rev2)
			s.conn, s.fetches = c, fetches
			return &s, nil, nil
		},
		Caps: caps, InsecureAuth: true, Logger: silent{},
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Close() })
	return inbox.Config{
		Address: ln.Addr().String(), TLS: inbox.TLSNone, Username: "sign", Password: password("pw"),
		Poll: 20 * time.Millisecond, IdleTimeout: 20 * time.Millisecond, RetryBase: 2 * time.Millisecond,
	}, fetches
}

type silent struct{}

func (silent) Printf(string, ...any) {}

var rich = imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIMAP4rev2: {}}

// A mail that can't be fetched does not hold up the others, and is set aside after the
// handler was told; a mail that comes by its number only is read all the same.
func TestUnreadableMail(t *testing.T) {
	for _, tc := range []struct {
		fault   string
		fetches int32 // of the bad mail
	}{{"refuse", 3}, {"nothing", 6}, {"drop", 10}} {
		t.Run(tc.fault, func(t *testing.T) {
			cfg, fetches := oddServer(t, odd{badUID: 1, fault: tc.fault, keywords: true}, rich)
			c := &collector{}
			run(t, cfg, c)
			eventually(t, "the mails behind it", func() bool { return c.times("b") == 1 && c.times("c") == 1 })
			eventually(t, "bad mail set aside", func() bool { return fmt.Sprint(folder(t, cfg, "Failed")) == "[a $countersigndone]" })
			if n := fetches.Load(); n != tc.fetches {
				t.Errorf("tried %d times, want %d", n, tc.fetches)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.gaveUp) != 1 || c.gaveUp[0].UID != 1 || c.gaveUp[0].Raw != nil {
				t.Errorf("given up: %+v", c.gaveUp)
			}
		})
	}
	t.Run("by number only", func(t *testing.T) {
		cfg, _ := oddServer(t, odd{badUID: 1, fault: "by number only", keywords: true}, rich)
		c := &collector{}
		run(t, cfg, c)
		eventually(t, "all mails", func() bool { return fmt.Sprint(c.subjects()) == "[a b c]" })
	})
}

// Errors of the handler: passing ones are tried again until they pass, permanent ones
// three times; the mails behind are not held up.
func TestHandlerErrors(t *testing.T) {
	cfg, _ := oddServer(t, odd{keywords: true}, rich)
	c := &collector{}
	tries := map[string]int{}
	c.decide = func(s seen) (inbox.Verdict, error) {
		tries[s.subject]++
		switch {
		case s.subject == "a" && tries["a"] < 6:
			return 0, errors.New("the store is busy")
		case s.subject == "b":
			return 0, inbox.Permanent(errors.New("can't be understood"))
		}
		return inbox.Done, nil
	}
	run(t, cfg, c)
	eventually(t, "Processed", func() bool {
		return fmt.Sprint(folder(t, cfg, "Processed")) == "[c $countersigndone a $countersigndone]"
	})
	eventually(t, "Failed", func() bool { return fmt.Sprint(folder(t, cfg, "Failed")) == "[b $countersigndone]" })
	c.mu.Lock()
	defer c.mu.Unlock()
	if tries["a"] != 6 || tries["b"] != 3 || tries["c"] != 1 || len(c.why) != 1 || !strings.Contains(c.why[0].Error(), "can't be understood") {
		t.Errorf("tries %v, given up for %v", tries, c.why)
	}
}

// Without a place to store them mails wait at the server, and the reason shows.
func TestDiskFull(t *testing.T) {
	cfg, _ := oddServer(t, odd{keywords: true}, rich)
	c := &collector{full: errors.New("disk full")}
	r := run(t, cfg, c)
	eventually(t, "the reason shows", func() bool { return strings.Contains(r.Status().LastError, "disk full") })
	c.mu.Lock()
	c.full = nil
	c.mu.Unlock()
	eventually(t, "all mails", func() bool { return fmt.Sprint(c.subjects()) == "[a b c]" })
}

// Servers without keywords: moving alone has to do; without MOVE too, each mail is
// shown once per UIDVALIDITY and run, and nothing is touched.
func TestNoKeywords(t *testing.T) {
	t.Run("move", func(t *testing.T) {
		cfg, _ := oddServer(t, odd{}, rich)
		c := &collector{}
		run(t, cfg, c)
		eventually(t, "Processed", func() bool { return fmt.Sprint(folder(t, cfg, "Processed")) == "[a b c]" })
	})
	t.Run("nothing", func(t *testing.T) {
		cfg, _ := oddServer(t, odd{}, imap.CapSet{imap.CapIMAP4rev1: {}})
		c := &collector{}
		r := run(t, cfg, c)
		eventually(t, "all mails", func() bool { return len(c.subjects()) == 3 })
		since := time.Now()
		eventually(t, "more looks", func() bool { return r.Status().LastLook.After(since.Add(100 * time.Millisecond)) })
		if got := fmt.Sprint(c.subjects(), folder(t, cfg, "INBOX")); got != "[a b c] [a b c]" {
			t.Errorf("shown and left: %s", got)
		}
	})
}

// proxy forwards to a server until it is told to go mute: connections stay open, but
// nothing passes any more.
type proxy struct {
	addr  string
	mute  atomic.Bool
	limit atomic.Int64 // bytes from the server after which it cuts the connection; 0: none
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	p := &proxy{addr: ln.Addr().String()}
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			go p.pipe(out, in, false)
			go p.pipe(in, out, true)
		}
	}()
	return p
}

func (p *proxy) pipe(dst, src net.Conn, fromServer bool) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 4096)
	for total := int64(0); ; {
		n, err := src.Read(buf)
		total += int64(n)
		if limit := p.limit.Load(); err != nil || fromServer && limit > 0 && total > limit {
			return
		}
		for p.mute.Load() {
			time.Sleep(time.Millisecond)
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A server that says nothing any more is noticed: while connecting, in a command, and in IDLE.
func TestMuteServer(t *testing.T) {
	t.Run("from the start", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer ln.Close()
		for _, protection := range []string{inbox.TLSNone, inbox.TLSStart, inbox.TLSImplicit} {
			cfg := inbox.Config{
				Address: ln.Addr().String(), TLS: protection, Username: "sign", Password: password("pw"),
				CommandTimeout: 100 * time.Millisecond,
			}
			start := time.Now()
			if _, err := inbox.New(cfg).Probe(t.Context()); err == nil || time.Since(start) > 10*time.Second {
				t.Errorf("%s: %v after %v", protection, err, time.Since(start))
			}
		}
	})
	s, cfg := demo(t)
	p := newProxy(t, s.IMAPAddr())
	cfg.Address, cfg.CommandTimeout, cfg.IdleTimeout = p.addr, 100*time.Millisecond, 100*time.Millisecond
	c := &collector{}
	r := run(t, cfg, c)
	post(t, s.SMTPAddr(), cfg.Username, "before", "x\r\n")
	eventually(t, "mail before", func() bool { return c.times("before") == 1 })
	p.mute.Store(true)
	start := time.Now()
	eventually(t, "the silence is noticed", func() bool { return r.Status().LastError != "" })
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("noticed after %v", d)
	}
	post(t, s.SMTPAddr(), cfg.Username, "after", "x\r\n")
	p.mute.Store(false)
	eventually(t, "mail after", func() bool { return c.times("after") == 1 })
}

// A connection that breaks inside a mail: the half mail is discarded, the whole one comes later.
func TestBreaksInsideMail(t *testing.T) {
	s, cfg := demo(t)
	p := newProxy(t, s.IMAPAddr())
	p.limit.Store(100_000)
	cfg.Address = p.addr
	post(t, s.SMTPAddr(), cfg.Username, "big", strings.Repeat("0123456789\r\n", 30_000))
	c := &collector{}
	r := run(t, cfg, c)
	eventually(t, "the break shows", func() bool { return strings.Contains(r.Status().LastError, "broke off") })
	p.limit.Store(0)
	eventually(t, "whole mail", func() bool { return c.times("big") == 1 })
	if len(c.got) != 1 || len(c.got[0].raw) < 360_000 {
		t.Errorf("%d mails", len(c.got))
	}
}

// A handler that takes longer than the command timeout does not cost the connection.
func TestSlowHandler(t *testing.T) {
	cfg, _ := oddServer(t, odd{keywords: true}, rich)
	cfg.CommandTimeout = 50 * time.Millisecond
	c := &collector{decide: func(seen) (inbox.Verdict, error) {
		time.Sleep(150 * time.Millisecond)
		return inbox.Done, nil
	}}
	r := run(t, cfg, c)
	connected := time.Time{}
	eventually(t, "connected", func() bool { connected = r.Status().Connected; return !connected.IsZero() })
	eventually(t, "all processed", func() bool { return len(folder(t, cfg, "INBOX")) == 0 })
	if st := r.Status(); st.Connected != connected || len(c.subjects()) != 3 {
		t.Errorf("reconnected: %+v", st)
	}
}
