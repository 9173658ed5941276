package engine_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/store/storetest"
)

// A scenario is a whole life of a request, and how it must end.
type scenario struct {
	name   string
	draft  post
	people map[string]func(*letterSeen) string
	want   verdict
}

// everybody does what they are asked.
func everybody() map[string]func(*letterSeen) string {
	return map[string]func(*letterSeen) string{ben.Addr: approves, carla.Addr: agreesAndSigns, dan.Addr: agreesAndSigns}
}

var signedByCarla = verdict{
	state: mailflow.StateCompleted, signatures: 2,
	letters: []string{
		"approve to ben@acme.example", "invite to carla@partner.example", "code to carla@partner.example",
		"result to ann@acme.example", "result to ben@acme.example", "result to carla@partner.example",
	},
}

var scenarios = []scenario{
	{"contract", contract(signs(carla)), everybody(), signedByCarla},
	{"rejection", contract(signs(carla)), map[string]func(*letterSeen) string{ben.Addr: rejects}, verdict{
		state:   mailflow.StateRejected,
		letters: []string{"approve to ben@acme.example", "rejected to ann@acme.example", "rejected to ben@acme.example"},
	}},
	{"notice", notice(), nil, verdict{
		state: mailflow.StateCompleted, signatures: 1, letters: []string{"result to ann@acme.example"},
	}},
}

// run plays a scenario to its end.
func (s scenario) run(t testing.TB, o options) *house {
	t.Helper()
	h := newHouse(t, o)
	h.people = s.people
	h.sends(s.draft)
	h.settle(2 * time.Hour)
	return h
}

// TestFaultyStore: every write of every scenario fails once, in both ways, with and
// without the end of the process right after it. The mail is offered again, the
// effects come back, and the end is the same.
func TestFaultyStore(t *testing.T) {
	for _, s := range scenarios {
		writes := s.run(t, options{}).store.Writes()
		for _, persist := range []bool{false, true} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/persist=%t/restart=%t", s.name, persist, restart), func(t *testing.T) {
					t.Parallel()
					for n := 1; n <= writes; n++ {
						t.Run(fmt.Sprint(n), func(t *testing.T) {
							s.failing(t, n, persist, restart)
						})
					}
				})
			}
		}
	}
}

// failing plays a scenario whose n-th write fails.
func (s scenario) failing(t *testing.T, n int, persist, restart bool) {
	h := s.run(t, options{
		Plan: storetest.On(n, storetest.Fault{Fail: true, Persist: persist}), Restart: restart,
	})
	// Two effects that end at once may cost a write more in one run than in another.
	if reached := h.store.Writes() >= n; reached != (h.faults == 1) {
		t.Fatalf("%d faults in %d writes", h.faults, h.store.Writes())
	}
	want := s.want
	want.copies = 1 + h.faults
	h.judge(want)
}

// TestManyFaults: one write of five fails, in either way, sometimes with the end of
// the process.
func TestManyFaults(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := scenarios[seed%3]
			rnd := rand.New(rand.NewPCG(seed, 0))
			h := s.run(t, options{
				Plan: func(storetest.Op) storetest.Fault {
					return storetest.Fault{Fail: rnd.IntN(5) == 0, Persist: rnd.IntN(2) == 0}
				},
				Restart: seed%2 == 0,
			})
			want := s.want
			want.copies = 1 + h.faults
			h.judge(want)
		})
	}
}

// TestScenarios: without faults, each scenario ends as it must, on both stores.
func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		for _, bolt := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/bolt=%t", s.name, bolt), func(t *testing.T) {
				s.run(t, options{Bolt: bolt}).judge(s.want)
			})
		}
	}
}
