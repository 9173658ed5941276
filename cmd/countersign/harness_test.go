package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/demomail"
	"countersign/signing/demopki"
	"countersign/signing/pdf"
	"countersign/store"
)

// A town is a world with a daemon in this process and people who have hands.
type town struct {
	*world
	t      *testing.T
	daemon *daemon
	log    *syncBuffer
	stopIt func()
	people map[string]*demomail.Client
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newTown starts the servers; the daemon is started by start.
func newTown(t *testing.T) *town {
	t.Helper()
	w, err := newWorld(worldOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	tn := &town{world: w, t: t, log: &syncBuffer{}, people: map[string]*demomail.Client{}}
	t.Cleanup(func() {
		tn.halt()
		for _, c := range tn.people {
			c.Close()
		}
		if err := w.stop(); err != nil {
			t.Errorf("stopping the servers: %v", err)
		}
		if t.Failed() {
			t.Logf("daemon log:\n%s", tn.log)
		}
	})
	return tn
}

// configure replaces text in the configuration.
func (tn *town) configure(old, text string) {
	tn.t.Helper()
	b, err := os.ReadFile(tn.config)
	if err != nil {
		tn.t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		tn.t.Fatalf("the configuration has no %q", old)
	}
	if err := os.WriteFile(tn.config, []byte(strings.Replace(string(b), old, text, 1)), 0o600); err != nil {
		tn.t.Fatal(err)
	}
}

func (tn *town) start() {
	tn.t.Helper()
	d, err := tn.world.daemon(tn.log)
	if err != nil {
		tn.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx) }()
	tn.daemon = d
	tn.stopIt = func() {
		cancel()
		if err := <-done; err != nil {
			tn.t.Errorf("the daemon ended: %v", err)
		}
	}
}

func (tn *town) halt() {
	if tn.stopIt != nil {
		tn.stopIt()
		tn.stopIt = nil
	}
}

func (tn *town) client(p demomail.Person) *demomail.Client {
	if tn.people[p.Addr] == nil {
		tn.people[p.Addr] = tn.world.client(p)
	}
	return tn.people[p.Addr]
}

// sends mails a draft or any other mail.
func (tn *town) sends(m outgoing) {
	tn.t.Helper()
	tn.sendsRaw(m.from, m.to, m.bytes())
}

func (tn *town) sendsRaw(from demomail.Person, to string, raw []byte) {
	tn.t.Helper()
	if err := tn.client(from).Send(tn.t.Context(), []string{to}, raw); err != nil {
		tn.t.Fatal(err)
	}
}

// patience bounds how long a test waits for what must happen.
const patience = 30 * time.Second

// gets waits for the next letter to a person, which must be of that kind.
func (tn *town) gets(p demomail.Person, kind mailflow.LetterKind) *received {
	tn.t.Helper()
	ctx, cancel := context.WithTimeout(tn.t.Context(), patience)
	defer cancel()
	raw, err := tn.client(p).Next(ctx)
	if err != nil {
		tn.t.Fatalf("%s waits for the letter %s: %v", p.Addr, kind, err)
	}
	l := parseLetter(tn.t, raw)
	if l.kind != kind {
		tn.t.Fatalf("%s got the letter %q, want %q:\n%s", p.Addr, l.kind, kind, l.Text)
	}
	return l
}

func parseLetter(t *testing.T, raw []byte) *received {
	t.Helper()
	l, err := readLetter(raw)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// answers replies to a letter.
func (tn *town) answers(p demomail.Person, l *received, typed string) {
	tn.t.Helper()
	to, raw := reply(p, l, typed)
	tn.sendsRaw(p, to, raw)
}

// code is what a code letter tells.
func (tn *town) code(l *received) string {
	tn.t.Helper()
	c, err := l.code()
	if err != nil {
		tn.t.Fatalf("%v:\n%s", err, l.Text)
	}
	return c
}

// requests lists all requests.
func (tn *town) requests() []mailflow.Summary {
	tn.t.Helper()
	list, err := tn.daemon.engine.List(tn.t.Context(), store.Filter{})
	if err != nil {
		tn.t.Fatal(err)
	}
	return list
}

// eventually waits until a condition holds.
func (tn *town) eventually(what string, holds func() bool) {
	tn.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	tn.t.Fatalf("in vain: %s", what)
}

// reaches waits until the only request is in a state.
func (tn *town) reaches(state mailflow.State) mailflow.Summary {
	tn.t.Helper()
	var list []mailflow.Summary
	tn.eventually("the request is "+string(state), func() bool {
		list = tn.requests()
		return len(list) == 1 && list[0].State == state
	})
	return list[0]
}

// contract is a draft of Ann's with the given top lines.
func contract(lines ...string) outgoing {
	return outgoing{
		from: ann, to: signAddress, subject: "Supply contract",
		text:  strings.Join(lines, "\r\n") + "\r\n\r\nPlease sign.\r\n",
		files: []attached{{"contract.pdf", samplePDF("Supply contract")}},
	}
}

func samplePDF(title string) []byte {
	return pdf.Sample(title, []string{"Made for a test.", "Nobody owes anybody anything."})
}

const (
	carlaSigns = "Signer: Carla Client <carla@partner.example>"
	danSigns   = "Signer: Dan Director <dan@partner.example>"
)

// pdfs returns the documents of a letter.
func (l *received) pdfs(t *testing.T) [][]byte {
	t.Helper()
	var docs [][]byte
	for _, part := range l.Attachments {
		if part.IsPDF() {
			b, err := io.ReadAll(part.Open())
			if err != nil {
				t.Fatal(err)
			}
			docs = append(docs, b)
		}
	}
	return docs
}

// judge asks the judges about a signed PDF, up to the demo root.
func (tn *town) judge(signed, r0 []byte, signatures int) {
	tn.t.Helper()
	judge(tn.t, signedFile{signed, r0, signatures, filepath.Join(tn.dir, "pki", demopki.RootFile)})
}

// counter returns a counter of the engine.
func (tn *town) counter(name string) int { return tn.daemon.engine.Counters()[name] }

// kinds lists the letters of a request.
func (tn *town) kinds(id string) []string {
	tn.t.Helper()
	d, err := tn.daemon.engine.Show(tn.t.Context(), id)
	if err != nil {
		tn.t.Fatal(err)
	}
	var kinds []string
	for _, l := range d.Letters {
		kinds = append(kinds, fmt.Sprintf("%s to %s", l.Kind, l.To))
	}
	slices.Sort(kinds)
	return kinds
}
