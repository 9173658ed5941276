package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/demomail"
	"countersign/store"
	"countersign/store/audit"
	"countersign/store/boltstore"
)

// A child is the daemon as a process of its own, so that it can be killed.
type child struct {
	t      *testing.T
	config string
	state  string
	log    string // path; all starts write to the same file
	cmd    *exec.Cmd
	ended  chan error
}

// newChild prepares the daemon of a configuration whose state is in dir/state.
func newChild(t *testing.T, config, dir string) *child {
	t.Helper()
	c := &child{t: t, config: config, state: filepath.Join(dir, "state"), log: filepath.Join(dir, "child.log")}
	t.Cleanup(func() {
		if c.cmd != nil {
			_ = c.cmd.Process.Kill()
			<-c.ended
		}
		if log, err := os.ReadFile(c.log); t.Failed() && err == nil {
			t.Logf("the end of the daemon's log:\n%s", log[max(0, len(log)-20_000):])
		}
	})
	return c
}

// start runs the daemon; it may not be ready yet.
func (c *child) start() {
	c.t.Helper()
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "serve", "--config", c.config)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	cmd.Stdout, cmd.Stderr = log, log
	// The child ends with the test, even if that dies.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		// Pdeathsig is sent when the starting thread ends, so that thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		c.t.Fatal(err)
	}
	c.cmd, c.ended = cmd, ended
}

// kill ends the daemon as a power failure would.
func (c *child) kill() {
	c.t.Helper()
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Fatal(err)
	}
	err := <-c.ended
	if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		c.t.Errorf("the daemon ended by itself before it was killed: %v", err)
	}
	c.cmd = nil
}

// stop ends the daemon in good order.
func (c *child) stop() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	select {
	case err := <-c.ended:
		if err != nil {
			c.t.Errorf("the daemon, asked to end, ended with: %v", err)
		}
		c.cmd = nil
	case <-time.After(patience):
		c.t.Fatal("the daemon does not end when asked to")
	}
}

// restart kills the daemon, starts it again, and waits until it is ready.
func (c *child) restart() {
	c.t.Helper()
	c.kill()
	c.start()
	c.awaitReady()
}

// ready reports whether the daemon is past its start: the admin socket answers. A
// socket that a killed daemon left behind does not.
func (c *child) ready() bool {
	conn, err := net.Dial("unix", filepath.Join(c.state, socketFile))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func (c *child) awaitReady() {
	c.t.Helper()
	for end := time.Now().Add(patience); !c.ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatal("the daemon does not start")
		}
	}
}

// askJSON runs a command with --json against the daemon of a configuration, as
// users do, and decodes what it prints.
func askJSON(t *testing.T, config string, v any, args ...string) {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := run(append(args, "--json", "--config", config), &out, &errOut); code != exitYes {
		t.Fatalf("countersign %s: exit %d: %s", strings.Join(args, " "), code, errOut.String())
	}
	if err := json.Unmarshal(out.Bytes(), v); err != nil {
		t.Fatalf("countersign %s printed %v:\n%s", strings.Join(args, " "), err, out.String())
	}
}

func listed(t *testing.T, config string) []mailflow.Summary {
	t.Helper()
	var list []mailflow.Summary
	askJSON(t, config, &list, "request", "list")
	return list
}

// awaitState waits until the only request with that subject is in a state.
func awaitState(t *testing.T, config, subject string, state mailflow.State) mailflow.Details {
	t.Helper()
	var found []mailflow.Summary
	for end := time.Now().Add(crashPatience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		found = slices.DeleteFunc(listed(t, config), func(s mailflow.Summary) bool { return s.Subject != subject })
		if len(found) == 1 && found[0].State == state {
			var d mailflow.Details
			askJSON(t, config, &d, "request", "show", found[0].Ref)
			return d
		}
	}
	t.Fatalf("%q is not %s: %+v", subject, state, found)
	return mailflow.Details{}
}

// crashPatience is how long a single step may take if processes die in it: an effect
// that was caught twice waits for ten seconds, caught three times for a minute.
const crashPatience = 2 * time.Minute

// A mailed letter: all copies of one Message-ID that reached one address.
type mailed struct {
	*received
	to     string
	copies int
}

// A post keeps letters by Message-ID and address, and insists that copies are
// identical.
type post map[string]*mailed

// add keeps a letter, in the bytes that we sent; the result says whether it is new.
func (p post) add(t *testing.T, to string, raw []byte) (*mailed, bool) {
	t.Helper()
	l := parseLetter(t, raw)
	key := l.MessageID + " to " + to
	if old := p[key]; old != nil {
		old.copies++
		if !bytes.Equal(old.raw, raw) {
			t.Errorf("a copy of the letter %s (%s) to %s has other bytes:\n%s\nand before:\n%s", l.MessageID, l.kind, to, raw, old.raw)
		}
		return old, false
	}
	p[key] = &mailed{l, to, 1}
	return p[key], true
}

// totals counts all copies.
func (p post) totals() (letters, copies int) {
	for _, m := range p {
		letters++
		copies += m.copies
	}
	return letters, copies
}

// refOf is the reference of the request that a letter belongs to: the second part
// of its Message-ID.
func refOf(m *mailed) string {
	parts := strings.SplitN(m.MessageID, ".", 3)
	if len(parts) < 3 {
		return ""
	}
	return parts[1]
}

// of lists the letters of a request.
func (p post) of(ref string) []*mailed {
	var letters []*mailed
	for _, m := range p {
		if refOf(m) == ref {
			letters = append(letters, m)
		}
	}
	return letters
}

// A cast is who takes part in a contract.
type cast struct {
	sender, approver demomail.Person
	signers          []demomail.Person
}

// wanted lists the letters of a completed contract to which everybody said yes.
func (c cast) wanted() []string {
	list := []string{"approve to " + c.approver.Addr, "result to " + c.sender.Addr, "result to " + c.approver.Addr}
	for _, p := range c.signers {
		list = append(list, "invite to "+p.Addr, "code to "+p.Addr, "result to "+p.Addr)
	}
	slices.Sort(list)
	return list
}

// checkContract checks the letters of a completed contract: everybody got what they
// must get, each once, and there is one document, signed over what people saw.
func checkContract(t *testing.T, letters []*mailed, c cast) {
	t.Helper()
	var got []string
	var r0, signed []byte
	same := func(old *[]byte, l *mailed) {
		docs := l.pdfs(t)
		switch {
		case len(docs) != 1:
			t.Errorf("the letter %s to %s carries %d documents", l.kind, l.to, len(docs))
		case *old == nil:
			*old = docs[0]
		case !bytes.Equal(*old, docs[0]):
			t.Errorf("the document in the letter %s to %s is another one", l.kind, l.to)
		}
	}
	for _, l := range letters {
		got = append(got, fmt.Sprintf("%s to %s", l.kind, l.to))
		switch l.kind {
		case mailflow.LetterApprove, mailflow.LetterInvite:
			same(&r0, l)
		case mailflow.LetterResult:
			same(&signed, l)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, c.wanted()) {
		t.Errorf("letters: %s\nwanted:  %s", got, c.wanted())
	}
	if r0 == nil || signed == nil {
		t.Error("nobody saw the document, or nobody got it")
		return
	}
	judge(t, signedFile{signed: signed, r0: r0, signatures: 1 + len(c.signers)})
}

// auditCounts opens the state of a daemon that has ended, checks it as a whole, and
// counts the audit entries: of each request by event, and "" for all requests.
func auditCounts(t *testing.T, state string) map[string]map[string]int {
	t.Helper()
	s, err := boltstore.Open(filepath.Join(state, databaseFile), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	counts := map[string]map[string]int{"": {}}
	for e, err := range audit.Entries(t.Context(), s, 0) {
		if err != nil {
			t.Fatal(err)
		}
		countEntry(t, counts, e)
	}
	return counts
}

func countEntry(t *testing.T, counts map[string]map[string]int, e store.Entry) {
	t.Helper()
	var a mailflow.AuditEntry
	if err := json.Unmarshal(e.Data, &a); err != nil {
		t.Fatal(err)
	}
	for _, id := range slices.Compact([]string{"", e.Request}) {
		if counts[id] == nil {
			counts[id] = map[string]int{}
		}
		counts[id][a.Event]++
	}
}

// checkOneDocument checks what the audit log must tell of each completed request:
// however many attempts were lost, one signature of each slot became a revision.
func checkOneDocument(t *testing.T, counts map[string]map[string]int, slots int) {
	t.Helper()
	for id, n := range counts {
		if id != "" && (n["completed"] != 1 || n["revision stored"] != slots) {
			t.Errorf("request %s: completed %d times, %d revisions, want 1 and %d", id, n["completed"], n["revision stored"], slots)
		}
	}
}

// A robot is a person who answers every letter at once. A copy of a letter gets a
// copy of the answer, as if the mail program had sent it again. A letter that says
// that an answer was not understood, or any other that has no place in a contract to
// which everybody says yes, ends the robot with an error.
type robot struct {
	client  *demomail.Client
	answer  func(*received) string
	answers map[string][]byte // by the letter's Message-ID
}

func newRobot(c *demomail.Client, answer func(*received) string) *robot {
	return &robot{client: c, answer: answer, answers: map[string][]byte{}}
}

// live reads and answers until ctx ends.
func (r *robot) live(ctx context.Context) error {
	defer r.client.Close()
	for {
		raw, err := r.client.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = r.handle(ctx, raw)
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", r.client.Addr, err)
		}
	}
}

func (r *robot) handle(ctx context.Context, raw []byte) error {
	l, err := readLetter(raw)
	if err != nil {
		return err
	}
	switch l.kind {
	case mailflow.LetterResult:
		return nil
	case mailflow.LetterApprove, mailflow.LetterInvite, mailflow.LetterCode:
	default:
		return fmt.Errorf("got the letter %q:\n%s", l.kind, l.Text)
	}
	to, answer := reply(r.client.Person, l, r.answer(l))
	if old := r.answers[l.MessageID]; old != nil {
		answer = old
	}
	r.answers[l.MessageID] = answer
	return r.client.Send(ctx, []string{to}, answer)
}
