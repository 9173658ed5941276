package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/demomail"
)

// TestKill kills the daemon again and again while contracts are on their way, then
// compares what everybody got (invariants 1, 6, 9, 12, 20 and 22). KILLS says how
// often, SEED repeats the moments of an earlier run, as far as time repeats itself.
func TestKill(t *testing.T) {
	kills := fromEnv(t, "KILLS", 20)
	seed := fromEnv(t, "SEED", int(time.Now().UnixNano()&0xffffffff))
	t.Logf("KILLS=%d SEED=%d", kills, seed)
	r := newKillRun(t, seed, kills)
	r.measureStart()
	r.employ()
	for i := range kills {
		r.submit(i)
		r.runAndKill()
	}
	killed := time.Since(r.begun)
	r.finish()
	r.check()
	r.report(killed)
}

// fromEnv reads a number from the environment.
func fromEnv(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number from 1 on", name, text)
	}
	return n
}

// A killRun is one run of TestKill.
type killRun struct {
	t *testing.T
	*world
	child    *child
	random   *rand.Rand
	begun    time.Time
	startsIn time.Duration // from the start of the process until it is ready
	ready    int           // kills of a daemon that was past its start
	subjects []string
	letters  post
	audit    map[string]map[string]int
}

func newKillRun(t *testing.T, seed, kills int) *killRun {
	t.Helper()
	// Each contract takes 15 mails, and a few copies.
	w, err := newWorld(worldOptions{Dir: t.TempDir(), Keep: 100 * (kills + 10)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Errorf("stopping the servers: %v", err)
		}
	})
	return &killRun{
		t: t, world: w, child: newChild(t, w.config, w.dir), begun: time.Now(),
		random: rand.New(rand.NewPCG(uint64(seed), 0)), letters: post{},
	}
}

// measureStart finds out how long the daemon takes to start, so that the moments of
// the kills are spread over start and work on any machine. The first start does
// more than the others.
func (r *killRun) measureStart() {
	r.t.Helper()
	for range 3 {
		at := time.Now()
		r.child.start()
		r.child.awaitReady()
		r.startsIn = time.Since(at)
		r.child.stop()
	}
}

// employ lets Ben, Carla and Dan answer whatever comes until the test ends.
func (r *killRun) employ() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	r.t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	for p, answer := range map[demomail.Person]func(*received) string{ben: approves, carla: signs(carla.Name), dan: signs(dan.Name)} {
		robot := newRobot(r.client(p), answer)
		wg.Go(func() {
			if err := robot.live(ctx); err != nil {
				r.t.Error(err)
			}
		})
	}
}

// submit mails the draft of one more contract.
func (r *killRun) submit(i int) {
	r.t.Helper()
	m := contract(carlaSigns, danSigns)
	m.subject = fmt.Sprintf("Contract %04d", i)
	m.files[0].data = samplePDF(m.subject)
	if err := r.client(ann).Send(r.t.Context(), []string{m.to}, m.bytes()); err != nil {
		r.t.Fatal(err)
	}
	r.subjects = append(r.subjects, m.subject)
}

// runAndKill kills the daemon at a moment between the middle of its start and far
// into the work of several contracts. Early moments are more likely, as most work is
// done soon after the start: all that came in between lies there.
func (r *killRun) runAndKill() {
	r.t.Helper()
	from, to := r.startsIn/2, 2*r.startsIn+400*time.Millisecond
	spread := math.Log(float64(to) / float64(from))
	r.child.start()
	time.Sleep(time.Duration(float64(from) * math.Exp(spread*r.random.Float64())))
	if r.child.ready() {
		r.ready++
	}
	r.child.kill()
}

// finish lets the daemon live until every contract is completed.
func (r *killRun) finish() {
	r.t.Helper()
	r.child.start()
	r.child.awaitReady()
	end := time.Now().Add(10 * time.Minute)
	if d, ok := r.t.Deadline(); ok {
		end = end.Add(min(0, time.Until(d.Add(-time.Minute))-time.Until(end)))
	}
	for {
		open := r.open()
		if len(open) == 0 {
			break
		}
		if r.t.Failed() || time.Now().After(end) {
			r.t.Fatalf("%d contracts are not completed, the first of them: %s", len(open), open[0])
		}
		time.Sleep(200 * time.Millisecond)
	}
	r.child.stop()
}

// open lists the contracts that are not completed. A contract that became several
// requests, or a request that nobody asked for, is an error.
func (r *killRun) open() []string {
	r.t.Helper()
	left := slices.Clone(r.subjects)
	var open []string
	for _, s := range listed(r.t, r.config) {
		i := slices.Index(left, s.Subject)
		if i < 0 {
			r.t.Fatalf("request %s (%q) is one too many", s.Ref, s.Subject)
		}
		left = slices.Delete(left, i, i+1)
		if s.State != mailflow.StateCompleted {
			open = append(open, fmt.Sprintf("%s (%s) is %s, waits for %s", s.Subject, s.Ref, s.State, s.Waits))
		}
	}
	for _, subject := range left {
		open = append(open, subject+" is no request")
	}
	return open
}

// check compares what everybody got with what they must get.
func (r *killRun) check() {
	r.t.Helper()
	for _, m := range r.mail.Accepted() {
		if m.Login == signAddress {
			r.letters.add(r.t, m.To[0], m.Data)
		}
	}
	refs := map[string]bool{}
	for _, m := range r.letters {
		refs[refOf(m)] = true
	}
	if len(refs) != len(r.subjects) {
		r.t.Errorf("letters of %d requests, want %d", len(refs), len(r.subjects))
	}
	for ref := range refs {
		checkContract(r.t, r.letters.of(ref), cast{ann, ben, []demomail.Person{carla, dan}})
	}
	r.audit = auditCounts(r.t, r.child.state)
	checkOneDocument(r.t, r.audit, 3)
}

func (r *killRun) report(killed time.Duration) {
	r.t.Helper()
	letters, copies := r.letters.totals()
	all := r.audit[""]
	r.t.Logf("%d kills, %d of them past the start (which takes %v)", len(r.subjects), r.ready, r.startsIn.Round(time.Millisecond))
	r.t.Logf("%d requests completed, %d letters, %d of them sent again", all["completed"], letters, copies-letters)
	r.t.Logf("%d signatures, %d attempts lost", all["revision stored"], all["attempt lost"])
	r.t.Logf("%v for the kills, %v in all", killed.Round(time.Second), time.Since(r.begun).Round(time.Second))
}
