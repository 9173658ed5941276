package demomail_test

import (
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"countersign/mailflow/demomail"
)

func start(t *testing.T) *demomail.Server {
	t.Helper()
	s, err := demomail.Start(demomail.Options{
		Domains: []string{"demo.example", "partner.example"},
		People: []demomail.Person{
			{Name: "Ann", Addr: "Ann@demo.example", Password: "demo"},
			{Name: "Mallory", Addr: "mallory@demo.example", Password: "evil"},
			{Name: "Signing", Addr: "sign@demo.example", Password: "demo"},
		},
		Clock:     func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) },
		SlowDelay: 10 * time.Millisecond,
		Keep:      3,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// letter is one mail to be handed in.
type letter struct{ login, password, from, to, head string }

// send hands in a mail with another SMTP client than ours.
func send(s *demomail.Server, l letter) error {
	c, err := smtp.Dial(s.SMTPAddr())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Hello("laptop.example"); err != nil {
		return err
	}
	if l.login != "" {
		if err := c.Auth(smtp.PlainAuth("", l.login, l.password, "127.0.0.1")); err != nil {
			return err
		}
	}
	if err := errors.Join(c.Mail(l.from), c.Rcpt(l.to)); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s\r\n\r\nhello\r\n", l.head); err != nil {
		return err
	}
	return errors.Join(w.Close(), c.Quit())
}

func dial(t *testing.T, s *demomail.Server, user string, opts *imapclient.Options) *imapclient.Client {
	t.Helper()
	conn, err := net.Dial("tcp", s.IMAPAddr())
	must(t, err)
	c := imapclient.New(conn, opts)
	t.Cleanup(func() { c.Close() })
	must(t, c.Login(user, "demo").Wait())
	return c
}

// newest fetches the last mail of sign's INBOX.
func newest(t *testing.T, s *demomail.Server) string {
	t.Helper()
	c := dial(t, s, "sign@demo.example", nil)
	data, err := c.Select("INBOX", nil).Wait()
	must(t, err)
	list, err := c.Fetch(imap.SeqSetNum(data.NumMessages), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
	must(t, err)
	return string(list[0].BodySection[0].Bytes)
}

// The fields on top tell the truth about the sender, whatever the mail itself says.
func TestFieldsOnTop(t *testing.T) {
	s := start(t)
	const forged = "Authentication-Results: mail.demo.example; dmarc=pass header.from=demo.example\r\n"
	for _, tc := range []struct {
		name    string
		l       letter
		results string
		who     string
	}{
		{"own address", letter{"ann@demo.example", "demo", "ann@demo.example", "sign@demo.example", "From: Ann <Ann@Demo.Example>"}, "dmarc=pass header.from=demo.example", "ann@demo.example"},
		{"with a detail", letter{"ann@demo.example", "demo", "ann@demo.example", "sign+TOK@demo.example", "From: ann@demo.example"}, "dmarc=pass header.from=demo.example", "ann@demo.example"},
		{"colleague", letter{"mallory@demo.example", "evil", "ann@demo.example", "sign@demo.example", "From: ann@demo.example"}, "dmarc=fail header.from=demo.example", "mallory@demo.example"},
		{"outside", letter{"", "", "pat@elsewhere.example", "sign@demo.example", "From: pat@elsewhere.example"}, "dmarc=fail header.from=elsewhere.example", ""},
		{"outside as ann", letter{"", "", "ann@demo.example", "sign@demo.example", forged + "From: ann@demo.example"}, "dmarc=fail header.from=demo.example", ""},
		{"two addresses", letter{"ann@demo.example", "demo", "ann@demo.example", "sign@demo.example", "From: ann@demo.example, x@demo.example"}, "dmarc=fail", "ann@demo.example"},
		{"two fields", letter{"ann@demo.example", "demo", "ann@demo.example", "sign@demo.example", "From: ann@demo.example\r\nFrom: x@demo.example"}, "dmarc=fail", "ann@demo.example"},
		{"injection", letter{"", "", "x@elsewhere.example", "sign@demo.example", "From: \"a\"@[x; dmarc=pass header.from=demo.example]"}, "dmarc=fail", ""},
		{"no From", letter{"", "", "", "sign@demo.example", "Subject: x"}, "dmarc=fail", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			must(t, send(s, tc.l))
			sent := s.Accepted()[len(s.Accepted())-1]
			received := "Received: from laptop.example (localhost [127.0.0.1])\r\n\tby mail.demo.example with ESMTP id "
			if tc.who != "" {
				received = "Received: from laptop.example (localhost [127.0.0.1])\r\n\t(Authenticated sender: " + tc.who + ")\r\n\tby mail.demo.example with ESMTPA id "
			}
			want := "Return-Path: <" + tc.l.from + ">\r\nDelivered-To: " + tc.l.to + "\r\nAuthentication-Results: mail.demo.example; " +
				tc.results + "\r\n" + received + sent.ID + ";\r\n\tSun, 01 Mar 2026 12:00:00 +0000\r\n" + tc.l.head + "\r\n\r\nhello\r\n"
			if got := newest(t, s); got != want {
				t.Errorf("delivered:\n%s\nwant:\n%s", got, want)
			}
			if sent.Login != tc.who || sent.From != tc.l.from || sent.To[0] != tc.l.to || string(sent.Data) != tc.l.head+"\r\n\r\nhello\r\n" {
				t.Errorf("recorded %+v", sent)
			}
		})
	}
	if n := len(s.Accepted()); n != 3 {
		t.Errorf("%d mails remembered, want 3", n)
	}
}

func TestRefusals(t *testing.T) {
	s := start(t)
	ann := func(to string) letter {
		return letter{"ann@demo.example", "demo", "ann@demo.example", to, "From: ann@demo.example"}
	}
	for _, tc := range []struct {
		l    letter
		want string
	}{
		{letter{from: "x@y.example", to: "bob@elsewhere.example"}, `550 "5.7.1 `},
		{ann("bob@elsewhere.example"), `550 "5.1.2 `},
		{ann("nobody@demo.example"), `550 "5.1.1 `},
		{ann("ann@partner.example"), `550 "5.1.1 `},
		{ann("reject@demo.example"), `550 "5.7.1 `},
		{ann("reject+x@partner.example"), `550 "5.7.1 `},
		{ann("tempfail@demo.example"), `451 "4.3.0 `},
		{ann("tempfail@demo.example"), `451 "4.3.0 `},
		{ann("tempfail@demo.example"), ""},
		{ann("tempfail@demo.example"), `451 "4.3.0 `},
		{ann("slow@demo.example"), ""},
		{letter{from: "x@y.example", to: "sign@demo.example", head: "nonsense"}, `550 "5.6.0 `},
		{letter{"ann@demo.example", "wrong", "ann@demo.example", "sign@demo.example", "From: x"}, `535 "5.7.8 `},
		{letter{"nobody@demo.example", "demo", "ann@demo.example", "sign@demo.example", "From: x"}, `535 "5.7.8 `},
	} {
		err := send(s, tc.l)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%+v: %v, want %q", tc.l, err, tc.want)
		}
	}
	if len(demomail.Failing("demo.example")) != 3 {
		t.Error("the failing addresses are not listed")
	}
}

// A service that went down comes back on its port with all mail; a lost answer is a delivered mail.
func TestDownUpAndLostAnswer(t *testing.T) {
	s := start(t)
	l := letter{"", "", "x@y.example", "sign@demo.example", "Subject: a"}
	must(t, send(s, l))
	addr := s.IMAPAddr()
	for _, svc := range []demomail.Service{demomail.IMAP, demomail.SMTP} {
		must(t, s.Down(svc))
		must(t, s.Down(svc))
	}
	if err := send(s, l); err == nil {
		t.Error("accepted although down")
	}
	for _, svc := range []demomail.Service{demomail.IMAP, demomail.SMTP} {
		must(t, s.Up(svc))
		must(t, s.Up(svc))
	}
	if s.IMAPAddr() != addr {
		t.Errorf("port changed from %s to %s", addr, s.IMAPAddr())
	}
	s.LoseAnswers(1)
	l.head = "Subject: b"
	if err := send(s, l); err == nil {
		t.Error("the answer came")
	}
	if got := newest(t, s); !strings.Contains(got, "Subject: b") {
		t.Errorf("newest mail is %s", got)
	}
}

// What mail programs need works: IDLE, keywords, MOVE, the Sent folder.
func TestIMAP(t *testing.T) {
	s := start(t)
	news := make(chan uint32, 8)
	c := dial(t, s, "sign@demo.example", &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				news <- *d.NumMessages
			}
		},
	}})
	_, err := c.Select("INBOX", nil).Wait()
	must(t, err)
	idle, err := c.Idle()
	must(t, err)
	must(t, send(s, letter{"", "", "x@y.example", "sign@demo.example", "Subject: a"}))
	select {
	case n := <-news:
		if n != 1 {
			t.Errorf("%d mails announced", n)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("IDLE says nothing")
	}
	must(t, idle.Close())
	must(t, idle.Wait())
	must(t, c.Store(imap.UIDSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{"$Mine"}}, nil).Close())
	data, err := c.UIDSearch(&imap.SearchCriteria{NotFlag: []imap.Flag{"$Mine"}}, nil).Wait()
	must(t, err)
	if len(data.AllUIDs()) != 0 {
		t.Error("the keyword is not kept")
	}
	moved, err := c.Move(imap.UIDSetNum(1), "Sent").Wait()
	must(t, err)
	if moved.SourceUIDs == nil {
		t.Error("MOVE without COPYUID")
	}
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]demomail.Options{
		"loopback":  {IMAPAddr: "0.0.0.0:0"},
		"in none":   {People: []demomail.Person{{Addr: "a@elsewhere.example"}}},
		"is there":  {People: []demomail.Person{{Addr: "a@demo.example"}, {Addr: "A@demo.example"}}},
		"demo mail": {SMTPAddr: "127.0.0.1:99999"},
	} {
		s, err := demomail.Start(o)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
