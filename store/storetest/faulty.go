package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"countersign/store"
)

// ErrInjected is the error that [Faulty] reports.
var ErrInjected = errors.New("injected fault")

// A Fault says how one write fails. The zero value is no fault.
type Fault struct {
	// Fail reports ErrInjected …
	Fail bool
	// … although the write happened, if Persist is set (an answer lost on its way).
	Persist bool
}

// An Op is a write that a [Faulty] store is asked for.
type Op struct {
	// N counts Apply and Claim together, from 1.
	N int
	// Name is "Apply" or "Claim".
	Name string
	// Changes are those of an Apply, only to be read.
	Changes []store.Change
}

// Faulty is a store whose writes fail by plan. Reads are passed on.
type Faulty struct {
	store.Store
	// Plan decides on each write; nil means no faults. It may be called by many
	// goroutines at once, but N says their order.
	Plan func(op Op) Fault

	mu sync.Mutex
	n  int
}

// On returns a plan that fails the n-th write only.
func On(n int, f Fault) func(Op) Fault {
	return Schedule(map[int]Fault{n: f})
}

// Schedule returns a plan that fails the writes with the given numbers.
func Schedule(faults map[int]Fault) func(Op) Fault {
	return func(op Op) Fault { return faults[op.N] }
}

// Writes returns how many writes were asked for so far.
func (f *Faulty) Writes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func (f *Faulty) fault(op Op) (Fault, error) {
	f.mu.Lock()
	f.n++
	op.N = f.n
	f.mu.Unlock()
	if f.Plan == nil {
		return Fault{}, nil
	}
	fault := f.Plan(op)
	if !fault.Fail {
		return Fault{}, nil
	}
	return fault, fmt.Errorf("%s, write %d: %w", op.Name, op.N, ErrInjected)
}

// Apply implements store.Store.
func (f *Faulty) Apply(ctx context.Context, changes []store.Change) ([]error, error) {
	fault, injected := f.fault(Op{Name: "Apply", Changes: changes})
	if injected != nil && !fault.Persist {
		return nil, injected
	}
	errs, err := f.Store.Apply(ctx, changes)
	if injected != nil {
		return nil, errors.Join(injected, err)
	}
	return errs, err
}

// Claim implements store.Store. A claim that fails with Persist has moved the
// effects: nobody has them until they are due again.
func (f *Faulty) Claim(ctx context.Context, o store.ClaimOptions) ([]store.Claimed, error) {
	fault, injected := f.fault(Op{Name: "Claim"})
	if injected != nil && !fault.Persist {
		return nil, injected
	}
	claimed, err := f.Store.Claim(ctx, o)
	if injected != nil {
		return nil, errors.Join(injected, err)
	}
	return claimed, err
}
