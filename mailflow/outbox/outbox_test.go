package outbox_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/mailflow/demomail"
	"countersign/mailflow/outbox"
	"countersign/mailflow/realmail"
)

const mail = "From: ann@demo.example\r\nTo: bob@demo.example\r\nSubject: hello\r\n\r\n.a line with a dot\r\ntext\r\n"

func password(p string) func() (string, error) { return func() (string, error) { return p, nil } }

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func demo(t *testing.T) (*demomail.Server, outbox.Config) {
	t.Helper()
	s, err := demomail.Start(demomail.Options{
		People: []demomail.Person{{Name: "Ann", Addr: "ann@demo.example", Password: "demo"}, {Name: "Bob", Addr: "bob@demo.example", Password: "demo"}},
		// slow enough to be cut off, quick enough to wait for
		SlowDelay: 300 * time.Millisecond, MaxSize: 100_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, outbox.Config{Address: s.SMTPAddr(), TLS: outbox.TLSNone, Username: "ann@demo.example", Password: password("demo"), HELO: "sign.demo.example"}
}

func envelope(to ...string) outbox.Envelope {
	return outbox.Envelope{From: "sign+b-1@demo.example", To: to, EnvelopeID: "r1.s1"}
}

// kind names what an error says, in one word.
func kind(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "sent"
	}
	e, ok := errors.AsType[*outbox.SendError](err)
	switch {
	case !ok:
		t.Fatalf("%T is not a *SendError: %v", err, err)
	case e.Unknown && e.Temporary:
		t.Fatalf("unknown and temporary: %v", err)
	case e.Unknown:
		return "unknown"
	case e.Temporary:
		return fmt.Sprint("temporary ", e.Code)
	}
	return fmt.Sprint("permanent ", e.Code)
}

func TestOutcomes(t *testing.T) {
	for _, tc := range []struct {
		name string
		to   []string
		prep func(*demomail.Server, *outbox.Config)
		text string
		want string // kinds of three sends in a row
		says string
	}{
		{name: "accepted", to: []string{"bob@demo.example"}, want: "sent, sent, sent"},
		{name: "451 twice", to: []string{"tempfail@demo.example"}, want: "temporary 451, temporary 451, sent"},
		{name: "550", to: []string{"bob@demo.example", "reject@demo.example"}, want: "permanent 550, permanent 550, permanent 550", says: "RCPT TO:<reject@demo.example>"},
		{name: "unknown person", to: []string{"nobody@demo.example"}, want: "permanent 550, permanent 550, permanent 550"},
		{name: "other domain", to: []string{"bob@example.org"}, want: "permanent 550, permanent 550, permanent 550"},
		{
			name: "answer lost", to: []string{"bob@demo.example"}, want: "unknown, sent, sent", says: "may have arrived",
			prep: func(s *demomail.Server, _ *outbox.Config) { s.LoseAnswers(1) },
		},
		{
			name: "answer late", to: []string{"slow@demo.example"}, want: "unknown, unknown, unknown",
			prep: func(_ *demomail.Server, c *outbox.Config) { c.SubmissionTimeout = 30 * time.Millisecond },
		},
		{name: "slow", to: []string{"slow@demo.example"}, want: "sent, sent, sent"},
		{
			name: "server down", to: []string{"bob@demo.example"}, want: "temporary 0, temporary 0, temporary 0", says: "connect",
			prep: func(s *demomail.Server, _ *outbox.Config) { s.Down(demomail.SMTP) },
		},
		{
			name: "wrong password", to: []string{"bob@demo.example"}, want: "temporary 535, temporary 535, temporary 535", says: "check username and password",
			prep: func(_ *demomail.Server, c *outbox.Config) { c.Password = password("guess") },
		},
		{
			name: "no password", to: []string{"bob@demo.example"}, want: "temporary 0, temporary 0, temporary 0", says: "password for ann@demo.example",
			prep: func(_ *demomail.Server, c *outbox.Config) {
				c.Password = func() (string, error) { return "", os.ErrNotExist }
			},
		},
		{
			name: "no STARTTLS", to: []string{"bob@demo.example"}, want: "temporary 0, temporary 0, temporary 0", says: "STARTTLS",
			prep: func(_ *demomail.Server, c *outbox.Config) { c.TLS = outbox.TLSStart },
		},
		{
			name: "settings", to: []string{"bob@demo.example"}, want: "temporary 0, temporary 0, temporary 0", says: "clear text",
			prep: func(_ *demomail.Server, c *outbox.Config) { c.Address = "smtp.example.org:25" },
		},
		{name: "too big", to: []string{"bob@demo.example"}, text: strings.Repeat("0123456789\r\n", 10_000), want: "permanent 0, permanent 0, permanent 0", says: "takes at most 100000"},
		{name: "8 bit", to: []string{"bob@demo.example"}, text: "Subject: ü\r\n\r\n", want: "permanent 0, permanent 0, permanent 0", says: "0xc3"},
		{name: "bare LF", to: []string{"bob@demo.example"}, text: "Subject: x\n\r\n", want: "permanent 0, permanent 0, permanent 0", says: "CRLF"},
		{name: "bare CR", to: []string{"bob@demo.example"}, text: "Subject: x\r\r\n", want: "permanent 0, permanent 0, permanent 0", says: "CRLF"},
		{name: "no end", to: []string{"bob@demo.example"}, text: "Subject: x", want: "permanent 0, permanent 0, permanent 0", says: "CRLF"},
		{name: "long line", to: []string{"bob@demo.example"}, text: strings.Repeat("x", 999) + "\r\n", want: "permanent 0, permanent 0, permanent 0", says: "998"},
		{name: "nobody", want: "permanent 0, permanent 0, permanent 0", says: "no recipient"},
		{name: "injection", to: []string{"bob@demo.example>\r\nRSET"}, want: "permanent 0, permanent 0, permanent 0", says: "not a plain mail address"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, cfg := demo(t)
			if tc.prep != nil {
				tc.prep(s, &cfg)
			}
			body := mail
			if tc.text != "" {
				body = tc.text
			}
			var kinds []string
			var first error
			for range 3 {
				receipt, err := outbox.New(cfg).Send(t.Context(), envelope(tc.to...), int64(len(body)), text(body))
				kinds = append(kinds, kind(t, err))
				if first == nil {
					first = err
				}
				if err == nil && !strings.Contains(receipt.Reply, "queued as") {
					t.Errorf("receipt = %+v", receipt)
				}
			}
			if got := strings.Join(kinds, ", "); got != tc.want {
				t.Errorf("got %s, want %s (%v)", got, tc.want, first)
			}
			if tc.says != "" && (first == nil || !strings.Contains(first.Error(), tc.says) || strings.Contains(first.Error(), "guess")) {
				t.Errorf("%q is not in: %v", tc.says, first)
			}
			for _, m := range s.Accepted() {
				if string(m.Data) != mail || m.From != "sign+b-1@demo.example" || m.ENVID != "r1.s1" || m.Notify[0] != "FAILURE,DELAY" || m.Login != "ann@demo.example" {
					t.Errorf("accepted %+v", m)
				}
			}
			if n := len(s.Accepted()); tc.name == "answer lost" && n != 3 {
				t.Errorf("%d mails accepted, want all 3: the first arrived too", n)
			}
		})
	}
}

// A mail that ends early, runs over, or can't be produced never gets its final dot:
// nothing half arrives.
func TestBrokenOff(t *testing.T) {
	s, cfg := demo(t)
	sender := outbox.New(cfg)
	for name, tc := range map[string]struct {
		size  int64
		write func(io.Writer) error
		want  string
	}{
		"short":     {int64(len(mail)) + 1, text(mail), "permanent 0"},
		"long":      {int64(len(mail)) - 1, text(mail), "permanent 0"},
		"no blob":   {int64(len(mail)), func(w io.Writer) error { return errors.Join(text(mail)(w), os.ErrNotExist) }, "temporary 0"},
		"ignores":   {int64(len(mail)), func(w io.Writer) error { _ = text("\n")(w); return text(mail)(w) }, "permanent 0"},
		"nul bytes": {2, text("\x00\n"), "permanent 0"},
	} {
		_, err := sender.Send(t.Context(), envelope("bob@demo.example"), tc.size, tc.write)
		if got := kind(t, err); got != tc.want {
			t.Errorf("%s: %s (%v)", name, got, err)
		}
	}
	if got := s.Accepted(); len(got) != 0 {
		t.Errorf("accepted %d mails", len(got))
	}
	if limit, dsn, err := sender.Probe(t.Context()); limit != 100_000 || !dsn || err != nil {
		t.Errorf("probe: %d, %v, %v", limit, dsn, err)
	}
}

// The context ends a hanging step, and the result is honest about the final dot.
func TestContextAndTimeouts(t *testing.T) {
	_, cfg := demo(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := outbox.New(cfg).Send(ctx, envelope("slow@demo.example"), int64(len(mail)), text(mail))
	if kind(t, err) != "unknown" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the dot: %v", err)
	}
	_, err = outbox.New(cfg).Send(ctx, envelope("bob@demo.example"), int64(len(mail)), text(mail))
	if kind(t, err) != "temporary 0" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before the dot: %v", err)
	}
	for _, stage := range []int{0, 1, 2, 3} { // greeting, EHLO, MAIL, RCPT answered; then silence
		mute := scripted(t, []string{"220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n"}[:stage])
		for _, protection := range []string{outbox.TLSNone, outbox.TLSStart, outbox.TLSImplicit} {
			start := time.Now()
			_, err := outbox.New(outbox.Config{Address: mute, TLS: protection, CommandTimeout: 50 * time.Millisecond}).
				Send(t.Context(), envelope("bob@demo.example"), int64(len(mail)), text(mail))
			if kind(t, err) != "temporary 0" || time.Since(start) > 10*time.Second {
				t.Errorf("%s, %d answers: %v after %v", protection, stage, err, time.Since(start))
			}
		}
	}
}

// The answer to the end of the mail decides; rubbish is no answer.
func TestFinalAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		"250 2.0.0 ok\r\n": "sent", "451 4.3.0 later\r\n": "temporary 451", "421 closing\r\n": "temporary 421",
		"550 5.7.1 spam\r\n": "permanent 550", "554 no\r\n": "permanent 554", "what?\r\n": "unknown", "": "unknown", "25": "unknown",
	} {
		addr := scripted(t, []string{"220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", answer})
		_, err := outbox.New(outbox.Config{Address: addr, TLS: outbox.TLSNone, SubmissionTimeout: 50 * time.Millisecond}).
			Send(t.Context(), envelope("bob@demo.example"), int64(len(mail)), text(mail))
		if got := kind(t, err); got != want {
			t.Errorf("%q: %s, want %s (%v)", answer, got, want, err)
		}
	}
}

// scripted is a server that gives fixed answers, then nothing.
func scripted(t *testing.T, answers []string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn, answers)
		}
	}()
	return ln.Addr().String()
}

func serve(conn net.Conn, answers []string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for i, a := range answers {
		if i > 0 {
			line, err := in.ReadString('\n')
			for i == 5 && err == nil && line != ".\r\n" {
				line, err = in.ReadString('\n')
			}
			if err != nil {
				return
			}
		}
		if _, err := io.WriteString(conn, a); err != nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, in)
}

// Through Postfix into Dovecot, with STARTTLS and with TLS from the start, under a
// private authority: the mail arrives as it was, and names who handed it in.
func TestThroughPostfix(t *testing.T) {
	stack, err := realmail.Start(t.Context(), realmail.Options{Users: []realmail.User{
		{Addr: "sign@mail.test", Password: "s1"}, {Addr: "bob@partner.test", Password: "b1"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(); err != nil {
			t.Error(err)
		}
	})
	good := outbox.Config{Address: stack.Submission, TLS: outbox.TLSStart, Username: "sign@mail.test", Password: password("s1"), HELO: "sign.mail.test", RootCAs: stack.CAs}
	for name, tc := range map[string]struct {
		change func(*outbox.Config)
		want   string
		says   string
	}{
		"starttls":       {func(*outbox.Config) {}, "sent", ""},
		"implicit":       {func(c *outbox.Config) { c.Address, c.TLS = stack.Submissions, outbox.TLSImplicit }, "sent", ""},
		"stranger":       {func(c *outbox.Config) { c.RootCAs = nil }, "temporary 0", "certificate"},
		"wrong password": {func(c *outbox.Config) { c.Password = password("x") }, "temporary 535", "check username and password"},
		"no login":       {func(c *outbox.Config) { c.Username = "" }, "permanent 554", "RCPT TO"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			tc.change(&cfg)
			subject := "Subject: " + name + "\r\n\r\n.dot\r\n" + strings.Repeat("0123456789\r\n", 20_000)
			env := outbox.Envelope{From: "sign+b-1@mail.test", To: []string{"bob+tok@partner.test"}, EnvelopeID: "r1"}
			_, err := outbox.New(cfg).Send(t.Context(), env, int64(len(subject)), text(subject))
			if got := kind(t, err); got != tc.want || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%s: %v", got, err)
			}
			if err != nil {
				return
			}
			got := arrived(t, stack.Maildir("bob@partner.test"), "Subject: "+name+"\r\n")
			for _, part := range []string{"(Authenticated sender: sign@mail.test)", "with ESMTPSA", "Return-Path: <sign+b-1@mail.test>", "Delivered-To: bob+tok@partner.test", "from sign.mail.test"} {
				if !strings.Contains(got, part) {
					t.Errorf("%q is not in the delivered mail:\n%.1000s", part, got)
				}
			}
			if _, body, _ := strings.Cut(got, "\r\n\r\n"); "\r\n\r\n"+body != subject[strings.Index(subject, "\r\n\r\n"):] {
				t.Error("the body changed on the way")
			}
		})
	}
	t.Run("unknown recipient", func(t *testing.T) {
		_, err := outbox.New(good).Send(t.Context(), envelope("nobody@partner.test"), int64(len(mail)), text(mail))
		if got := kind(t, err); got != "permanent 550" {
			t.Errorf("%s: %v", got, err)
		}
	})
	t.Run("postfix is down", func(t *testing.T) {
		if err := stack.Kill(realmail.Postfix); err != nil {
			t.Fatal(err)
		}
		_, err := outbox.New(good).Send(t.Context(), envelope("bob@partner.test"), int64(len(mail)), text(mail))
		if got := kind(t, err); got != "temporary 0" {
			t.Errorf("%s: %v", got, err)
		}
	})
}

// arrived waits for a delivered mail and gives it with CRLF line ends.
func arrived(t *testing.T, maildir, mark string) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		files, err := filepath.Glob(filepath.Join(maildir, "new", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			s := strings.ReplaceAll(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n", "\r\n")
			if strings.Contains(s, mark) {
				return s
			}
		}
	}
	t.Fatalf("no mail with %q arrived", mark)
	return ""
}
