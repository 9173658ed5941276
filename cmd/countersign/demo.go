package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/demomail"
	"countersign/signing/pdf"
)

type demoCmd struct {
	Auto bool   `help:"Play all the people, print each mail and the paths of the signed PDFs, and end."`
	Dir  string `help:"Directory for everything the demo makes; it is kept. Default: a new one." placeholder:"DIR"`
	IMAP string `name:"imap" help:"Address of the demo's IMAP server. Default: 127.0.0.1:1143, or any free port." placeholder:"ADDR"`
	SMTP string `name:"smtp" help:"Address of the demo's SMTP server. Default: 127.0.0.1:1025, or any free port." placeholder:"ADDR"`
}

// Run plays the demo.
func (c *demoCmd) Run(ctx context.Context, t terminal) error {
	dir := c.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "countersign-demo-"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	w, err := newWorld(worldOptions{Dir: dir, IMAP: c.listen(c.IMAP, "127.0.0.1:1143"), SMTP: c.listen(c.SMTP, "127.0.0.1:1025")})
	if err != nil {
		return err
	}
	defer w.stop()
	log, err := os.Create(filepath.Join(w.dir, "daemon.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	d, err := w.daemon(log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx) }()
	s := newShow(w, t.out)
	fmt.Fprintf(t.out, "Countersign demo in %s (log: daemon.log)\n\n", w.dir)
	err = s.play(ctx, c.Auto)
	if err == nil && !c.Auto {
		s.invite()
		<-ctx.Done()
	}
	cancel()
	return errors.Join(err, <-ended)
}

// listen chooses where a server listens: where the user says, else, so that a mail
// program has to be set up only once, at the usual place, if that is free.
func (c *demoCmd) listen(chosen, usual string) string {
	if chosen != "" || c.Auto {
		return chosen
	}
	l, err := net.Listen("tcp", usual)
	if err != nil {
		return ""
	}
	l.Close()
	return usual
}

// A show plays scenes and prints the mails.
type show struct {
	w    *world
	mu   sync.Mutex
	out  io.Writer
	gone chan *received // letters that end a scene
}

func newShow(w *world, out io.Writer) *show {
	return &show{w: w, out: out, gone: make(chan *received, 100)}
}

// A scene is one draft and how people answer.
type scene struct {
	title   string
	draft   outgoing
	answers map[demomail.Person]func(*received) string
	ends    mailflow.LetterKind // the letter that everybody in waits gets in the end
	waits   []demomail.Person
}

func (s *show) scenes() []scene {
	contract := func(name, title string, lines ...string) outgoing {
		return outgoing{
			from: ann, to: signAddress, subject: title,
			text: strings.Join(lines, "\r\n") + "\r\n\r\nPlease find the contract attached.\r\n\r\nAnn\r\n",
			files: []attached{{name, pdf.Sample(title, []string{
				"This page was made by countersign demo.",
				"Demo Ltd and its customer agree to try signing by mail.",
				"It is a sample: nobody owes anybody anything.",
			})}},
		}
	}
	notice := outgoing{
		from: ann, to: "sign+notice@" + demoDomain, subject: "Notice to all customers", text: "Please seal the attached notice.\r\n",
		files: []attached{{"notice.pdf", pdf.Sample("Notice to all customers", []string{
			"This page was made by countersign demo.", "It is sealed by the organisation at once, without any signer.",
		})}},
	}
	tooDear := func(l *received) string {
		if l.kind == mailflow.LetterApprove {
			return "REJECT\r\nThe price is above our budget."
		}
		return ""
	}
	signers := []string{"Signer: Carla Client <carla@partner.example>", "Signer: Dan Director <dan@partner.example>"}
	return []scene{
		{
			title: "(a) A contract: Ben approves, Carla and Dan sign, one after the other",
			draft: contract("contract.pdf", "Contract about a demo", signers...),
			answers: map[demomail.Person]func(*received) string{
				ben: approves, carla: signs("Carla Client"), dan: signs("Dr Dan Director"),
			},
			ends: mailflow.LetterResult, waits: []demomail.Person{ann, ben, carla, dan},
		},
		{
			title: "(b) A notice: sealed at once, without a signer",
			draft: notice, ends: mailflow.LetterResult, waits: []demomail.Person{ann},
		},
		{
			title:   "(c) A contract that is rejected: everyone concerned is told why",
			draft:   contract("dear-contract.pdf", "A dear contract", signers...),
			answers: map[demomail.Person]func(*received) string{ben: tooDear},
			ends:    mailflow.LetterRejected, waits: []demomail.Person{ann, ben},
		},
	}
}

// play plays scene (a), or with all set every scene.
func (s *show) play(ctx context.Context, all bool) error {
	scenes := s.scenes()
	if !all {
		scenes = scenes[:1]
	}
	people := map[demomail.Person]*person{}
	for _, p := range []demomail.Person{ann, ben, carla, dan} {
		people[p] = &person{client: s.w.client(p), dir: filepath.Join(s.w.dir, "signed"), seen: s.print}
		defer people[p].client.Close()
	}
	for _, sc := range scenes {
		if err := s.playOne(ctx, sc, people); err != nil {
			return fmt.Errorf("%s: %w", sc.title, err)
		}
	}
	return nil
}

func (s *show) playOne(ctx context.Context, sc scene, people map[demomail.Person]*person) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	fmt.Fprintf(s.out, "%s\n\n", sc.title)
	errs := make(chan error, len(people))
	lives, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for who, p := range people {
		p.answer = func(l *received) string {
			f := sc.answers[who]
			if f == nil {
				return ""
			}
			typed := f(l)
			if typed != "" {
				s.printMail(p.client.Name, "Countersign", "Re: "+l.Subject, strings.ReplaceAll(typed, "\r\n", " / "))
			}
			return typed
		}
		wg.Go(func() {
			if err := p.live(lives); err != nil && lives.Err() == nil {
				errs <- err
			}
		})
	}
	to, _, _ := strings.Cut(sc.draft.to, "@")
	s.printMail(ann.Name, to+"@"+demoDomain, sc.draft.subject, "with "+sc.draft.files[0].name)
	if err := people[ann].client.Send(ctx, []string{sc.draft.to}, sc.draft.bytes()); err != nil {
		return err
	}
	return s.awaitEnd(ctx, sc, errs)
}

// awaitEnd waits until everybody has the letter that ends the scene.
func (s *show) awaitEnd(ctx context.Context, sc scene, errs <-chan error) error {
	missing := map[string]bool{}
	for _, p := range sc.waits {
		missing[p.Addr] = true
	}
	var saved []string
	for len(missing) > 0 {
		select {
		case err := <-errs:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%d people still wait for the letter %q: %w", len(missing), sc.ends, ctx.Err())
		case l := <-s.gone:
			if l.kind == sc.ends {
				delete(missing, l.To[0].Addr)
				saved = append(saved, l.saved...)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range saved {
		fmt.Fprintf(s.out, "signed PDF: %s\n", path)
	}
	fmt.Fprintln(s.out)
	return nil
}

// print shows a letter that arrived.
func (s *show) print(p *person, l *received) {
	s.printMail("Countersign", p.client.Name, l.Subject, keyLine(l))
	s.gone <- l
}

func (s *show) printMail(from, to, subject, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "  %s -> %s: %s\n      %s\n", from, to, subject, line)
}

// keyLine picks the line of a letter that matters: what to do, or what happened.
func keyLine(l *received) string {
	for _, sign := range []string{"Your code:", "one word APPROVE", "one word AGREE", "The reason given", "Signed by", "Sealed by"} {
		for line := range strings.Lines(l.Text) {
			if line = strings.TrimSpace(line); strings.Contains(line, sign) {
				return line
			}
		}
	}
	first, _, _ := strings.Cut(l.Text, "\n")
	return strings.TrimSpace(first)
}

// invite tells how to take part.
func (s *show) invite() {
	fmt.Fprintf(s.out, `Everything goes on running; press Ctrl-C to end it. Take part with any mail program:

  IMAP   %s (no TLS)
  SMTP   %s (no TLS, login needed)
  people %s, %s, %s, %s; password %q for all
  root   %s (the demo's own CA, to verify against)

  Mail a PDF from %s to %s and begin the text with
      Signer: Carla Client <%s>
  Ben is asked to approve, then Carla to sign. Or mail it to sign+notice@%s: it is
  sealed and comes back at once.
  Addresses that fail on purpose:
`, s.w.mail.IMAPAddr(), s.w.mail.SMTPAddr(), ann.Addr, ben.Addr, carla.Addr, dan.Addr, demoPassword,
		filepath.Join(s.w.dir, "pki", "root.pem"), ann.Addr, signAddress, carla.Addr, demoDomain)
	failing := demomail.Failing(partnerDomain)
	for _, addr := range slices.Sorted(maps.Keys(failing)) {
		fmt.Fprintf(s.out, "      %s: %s\n", addr, failing[addr])
	}
	fmt.Fprintf(s.out, "  What goes on: bin/countersign request list --config %s\n", s.w.config)
}
