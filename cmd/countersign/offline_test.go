package main

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"countersign/mailflow"
)

// TestOfflineCancel: a request is cancelled while no daemon runs; its letters leave
// when one runs again, just once.
func TestOfflineCancel(t *testing.T) {
	tn := newTown(t)
	tn.start()
	tn.sends(contract(carlaSigns))
	asked := tn.gets(ben, mailflow.LetterApprove)
	s := tn.reaches(mailflow.StateApproving)
	tn.eventually("the letter is off the outbox", func() bool {
		return slices.Equal(tn.kinds(s.ID), []string{"approve to " + ben.Addr}) && tn.requests()[0].Waits == "an answer of "+ben.Addr
	})
	online := tn.command(exitYes, "request", "show", "--json", "--config", tn.config, s.Ref)
	tn.halt()

	if offline := tn.command(exitYes, "request", "show", "--json", "--config", tn.config, s.Ref); offline != online {
		t.Errorf("the database tells\n%s\nand the daemon told\n%s", offline, online)
	}
	blobs := tn.files()
	tn.command(exitYes, "request", "cancel", "--config", tn.config, "--reason", "sent by mistake", s.Ref)
	tn.command(exitNo, "request", "cancel", "--config", tn.config, s.Ref)
	if got := tn.files(); !slices.Equal(got, blobs) {
		t.Errorf("cancelling changed the files of the state directory from %v to %v", blobs, got)
	}
	list := tn.command(exitYes, "request", "list", "--state", filepath.Join(tn.dir, "state"))
	if !strings.Contains(list, " cancelled ") {
		t.Errorf("the list is\n%s", list)
	}

	tn.start()
	for _, p := range []struct {
		who  string
		text string
	}{{ann.Addr, tn.gets(ann, mailflow.LetterCancelled).Text}, {ben.Addr, tn.gets(ben, mailflow.LetterCancelled).Text}} {
		if !strings.Contains(p.text, "sent by mistake") {
			t.Errorf("%s is not told why:\n%s", p.who, p.text)
		}
	}
	tn.answers(ben, asked, "APPROVE")
	tn.gets(ben, mailflow.LetterNote)
	tn.reaches(mailflow.StateCancelled)
	want := []string{"approve to " + ben.Addr, "cancelled to " + ann.Addr, "cancelled to " + ben.Addr, "note to " + ben.Addr}
	if got := tn.kinds(s.ID); !slices.Equal(got, want) {
		t.Errorf("letters: %v", got)
	}
}

// TestDeadSocket: what a killed daemon leaves behind is in nobody's way.
func TestDeadSocket(t *testing.T) {
	tn := newTown(t)
	tn.start()
	tn.halt()
	socket := filepath.Join(tn.dir, "state", socketFile)
	if _, err := os.Stat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the daemon left its socket behind: %v", err)
	}
	leaveSocket(t, socket)
	tn.command(exitYes, "request", "list", "--config", tn.config)
	tn.start()
	tn.command(exitYes, "request", "list", "--config", tn.config)
}

// TestNoSecondOwner: while a daemon has the database but does not answer, nobody else
// opens it.
func TestNoSecondOwner(t *testing.T) {
	tn := newTown(t)
	tn.start()
	tn.eventually("the daemon makes its socket", func() bool {
		return os.Remove(filepath.Join(tn.dir, "state", socketFile)) == nil
	})
	var out, errOut bytes.Buffer
	if code := run([]string{"request", "list", "--config", tn.config}, &out, &errOut); code != exitUnknown {
		t.Errorf("exit %d", code)
	}
	if !strings.Contains(errOut.String(), "another countersign process has it open") {
		t.Errorf("it says %s", errOut.String())
	}
}

// command runs the program and returns what it prints.
func (tn *town) command(code int, args ...string) string {
	tn.t.Helper()
	var out, errOut bytes.Buffer
	if got := run(args, &out, &errOut); got != code {
		tn.t.Fatalf("countersign %s: exit %d, want %d: %s", strings.Join(args, " "), got, code, errOut.String())
	}
	return out.String()
}

// files lists what is in the state directory.
func (tn *town) files() []string {
	tn.t.Helper()
	var names []string
	err := filepath.WalkDir(filepath.Join(tn.dir, "state"), func(path string, _ fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		tn.t.Fatal(err)
	}
	return names
}

// leaveSocket makes a socket on which nobody listens.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
