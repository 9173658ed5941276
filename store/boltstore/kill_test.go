package boltstore_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"countersign/store"
	"countersign/store/audit"
	"countersign/store/boltstore"
)

// checkVersion: the file is sound, and row "r" as well as its trace in the audit
// log and the outbox are at version.
func checkVersion(t *testing.T, s *boltstore.Store, version uint64) {
	t.Helper()
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := s.Load(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	effects, err := s.Outbox(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	size, _, err := s.Tree(t.Context())
	if err != nil || r.Version != version || size != version || uint64(len(effects)) != version {
		t.Fatalf("version %d, %d audit entries, %d effects, %v; want %d of each", r.Version, size, len(effects), err, version)
	}
}

const killEnv = "COUNTERSIGN_TEST_KILL_DIR"

const killRows = 6

func killRow(w int) string { return fmt.Sprintf("row%d", w) }

// TestKill kills the program, that is this test binary again, fifteen times at
// any moment while six goroutines commit. Whatever was acknowledged is there
// afterwards, nothing is torn, and the audit log extends the earlier one.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killEnv); dir != "" {
		commitForever(t, dir)
		return
	}
	dir := t.TempDir()
	var head audit.Head
	acked := map[string]uint64{}
	for round := range 15 {
		wait := time.Duration(5+round*13%60) * time.Millisecond
		runAndKill(t, dir, wait, acked)
		head = checkAfterKill(t, dir, acked, head)
	}
	if head.Size < 15 {
		t.Errorf("only %d changes were committed; the test shows nothing", head.Size)
	}
	t.Logf("%d changes over 15 kills", head.Size)
}

// commitForever is the child: it prints "row version" after each acknowledgement.
func commitForever(t *testing.T, dir string) {
	s := openBolt(t, dir)
	var wg sync.WaitGroup
	for w := range killRows {
		wg.Go(func() {
			for {
				version, err := step(t, s, killRow(w))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := fmt.Fprintf(os.Stdout, "%s %d\n", killRow(w), version); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// step makes one change that touches every bucket and returns the row's version after it.
func step(t *testing.T, s *boltstore.Store, id string) (uint64, error) {
	r, err := s.Load(t.Context(), id)
	if err != nil {
		r = store.Row{ID: id}
	}
	r.Open, r.Data = r.Version%3 != 0, make([]byte, 300+r.Version%700)
	c := store.Change{
		Row: &r, Handled: []string{fmt.Sprint(id, "-", r.Version)},
		Tokens: map[string]string{fmt.Sprint(id, "+", r.Version): id},
		Add:    []store.Effect{{Key: fmt.Sprintf("%s/%d", id, r.Version), Request: id, Due: time.Unix(int64(r.Version), 0)}},
		Audit:  []store.Entry{{Request: id, Data: fmt.Append(nil, r.Version)}},
	}
	if r.Version > 0 {
		c.Drop = []string{fmt.Sprintf("%s/%d", id, r.Version-1)}
	}
	errs, err := s.Apply(t.Context(), []store.Change{c})
	if err != nil {
		return 0, err
	}
	return r.Version + 1, errs[0]
}

// runAndKill starts the child, kills it some time after its first
// acknowledgement, and notes what it acknowledged.
func runAndKill(t *testing.T, dir string, wait time.Duration, acked map[string]uint64) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
	child.Env = append(os.Environ(), killEnv+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines, first := bufio.NewReader(out), true
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // the kill closed the pipe; a cut line is no acknowledgement
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
		var id string
		var version uint64
		if _, err := fmt.Sscanf(line, "%s %d\n", &id, &version); err != nil {
			t.Fatalf("the child says %q", line)
		}
		acked[id] = max(acked[id], version)
		if first {
			first = false
			time.AfterFunc(wait, func() { _ = child.Process.Kill() }) // an error means that it ended before; Wait tells
		}
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
}

func checkAfterKill(t *testing.T, dir string, acked map[string]uint64, old audit.Head) audit.Head {
	t.Helper()
	s := openBolt(t, dir)
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	sum := uint64(0)
	for w := range killRows {
		id := killRow(w)
		r, err := s.Load(t.Context(), id)
		if err != nil && acked[id] > 0 || r.Version < acked[id] {
			t.Errorf("%s: version %d was acknowledged, %d is there (%v)", id, acked[id], r.Version, err)
		}
		effects, err := s.Outbox(t.Context(), id)
		if want := fmt.Sprintf("%s/%d", id, r.Version-1); err != nil || r.Version > 0 && (len(effects) != 1 || effects[0].Key != want) {
			t.Errorf("%s at version %d has the outbox %v (%v)", id, r.Version, effects, err)
		}
		sum += r.Version
	}
	size, root, err := s.Tree(t.Context())
	if err != nil || size != sum {
		t.Errorf("%d audit entries, %d changes (%v)", size, sum, err)
	}
	head := audit.Head{Size: size, Root: root}
	proof, err := audit.ProveExtends(old.Size, size, s)
	if err != nil {
		t.Fatal(err)
	}
	if old.Size > 0 {
		if err := audit.CheckExtends(proof, old, head); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return head
}
