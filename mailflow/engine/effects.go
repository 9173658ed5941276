package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"countersign/mailflow"
	"countersign/store"
)

// A pool holds the effects in work, a bounded number at once. Letters have places of
// their own: a relay that is slow to answer must not keep signatures waiting.
type pool struct {
	wg              sync.WaitGroup
	letters, others chan struct{}
}

func (e *Engine) newPool() *pool {
	return &pool{letters: make(chan struct{}, e.cfg.Workers), others: make(chan struct{}, e.cfg.Workers)}
}

// places returns where an effect works.
func (p *pool) places(key string) chan struct{} {
	if mailflow.IsLetter(key) {
		return p.letters
	}
	return p.others
}

func (p *pool) free(key string) int { return cap(p.places(key)) - len(p.places(key)) }

func (p *pool) full() bool {
	return len(p.letters) == cap(p.letters) && len(p.others) == cap(p.others)
}

// Run claims and runs effects until ctx ends, then waits for those in work.
func (e *Engine) Run(ctx context.Context) error {
	p := e.newPool()
	defer p.wg.Wait()
	for {
		n, err := e.dispatch(ctx, p)
		if err != nil {
			e.cfg.Log.Error("claiming effects", "error", err)
		}
		if n > 0 {
			continue
		}
		if err := e.wait(ctx, p, err != nil); err != nil {
			return nil //nolint:nilerr // the end of ctx is how Run ends
		}
	}
}

// RunDue runs effects that are due now, as many as there are workers, and returns
// once they have ended; n says how many there were. What Run does all the time, a
// caller with a clock of its own does step by step.
func (e *Engine) RunDue(ctx context.Context) (n int, err error) {
	p := e.newPool()
	defer p.wg.Wait()
	return e.dispatch(ctx, p)
}

// dispatch claims as many due effects as there are places, and starts them.
func (e *Engine) dispatch(ctx context.Context, p *pool) (n int, err error) {
	for _, places := range []chan struct{}{p.others, p.letters} {
		claimed, err := e.claim(ctx, p, places)
		if err != nil {
			return n, err
		}
		n += len(claimed)
		for _, c := range claimed {
			e.setBusy(c.Key, true)
			places <- struct{}{}
			p.wg.Go(func() {
				defer func() {
					e.setBusy(c.Key, false)
					<-places
					e.Wake()
				}()
				e.run(ctx, c)
			})
		}
	}
	return n, nil
}

// claim takes due effects that work in these places, as many as are free. A store may
// ask Skip about one effect more than once, so Skip counts nothing.
func (e *Engine) claim(ctx context.Context, p *pool, places chan struct{}) ([]store.Claimed, error) {
	free := cap(places) - len(places)
	if free == 0 || ctx.Err() != nil {
		return nil, nil
	}
	return e.cfg.Store.Claim(ctx, store.ClaimOptions{
		Now: e.cfg.Now(), Max: free,
		Skip: func(key string) bool { return p.places(key) != places || e.busy(key) },
		Next: func(ef store.Effect) time.Time {
			return e.cfg.Now().Add(mailflow.Backoff(mailflow.EffectKind(ef.Kind), ef.Attempts))
		},
	})
}

func (e *Engine) busy(key string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running[key]
}

func (e *Engine) setBusy(key string, on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if on {
		e.running[key] = true
	} else {
		delete(e.running, key)
	}
}

// wait sleeps until an effect is due, something wakes us, or ctx ends. After a
// failed claim it waits a second, however much is due; while all workers are busy,
// for the first of them to end, which wakes us.
func (e *Engine) wait(ctx context.Context, p *pool, failed bool) error {
	pause := time.Minute
	if failed {
		pause = time.Second
	} else if !p.full() {
		waits := func(key string) bool { return e.busy(key) || p.free(key) == 0 }
		switch due, err := e.cfg.Store.NextDue(ctx, waits); {
		case err != nil:
			pause = time.Second
		case !due.IsZero():
			pause = min(pause, max(due.Sub(e.cfg.Now()), 5*time.Millisecond))
		}
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.wake:
	case <-t.C:
	}
	return nil
}

// run runs one effect. What goes wrong is kept as the effect's note; the effect
// itself stays and comes back when it is due.
func (e *Engine) run(ctx context.Context, c store.Claimed) {
	err := e.perform(ctx, c)
	switch {
	case err == nil:
	case errors.Is(err, store.ErrStale):
		// Another outcome was committed first, or the effect was dropped.
		e.cfg.Log.Info("late outcome thrown away", "request", c.Request, "effect", c.Key)
	case ctx.Err() != nil:
	default:
		e.cfg.Log.Error("effect failed", "request", c.Request, "effect", c.Key, "attempt", c.Attempts, "error", err)
		if err := e.later(ctx, c, err.Error()); err != nil && !errors.Is(err, store.ErrStale) {
			e.cfg.Log.Error("storing why an effect failed", "request", c.Request, "effect", c.Key, "error", err)
		}
	}
}

func (e *Engine) perform(ctx context.Context, c store.Claimed) (err error) {
	defer func() {
		// A bug that one request brings to light must not stop all the others.
		if x := recover(); x != nil {
			err = fmt.Errorf("internal error: %v\n%s", x, debug.Stack())
		}
	}()
	var en entry
	if err := json.Unmarshal(c.Payload, &en); err != nil {
		return fmt.Errorf("effect %s: reading it: %w", c.Key, err)
	}
	switch en.Effect.Kind {
	case mailflow.EffectLetter:
		return e.sendLetter(ctx, c, en)
	case mailflow.EffectExpire:
		return e.settle(ctx, c, mailflow.Expire{})
	}
	r, err := e.load(ctx, c.Request)
	if err != nil {
		return err
	}
	switch en.Effect.Kind {
	case mailflow.EffectPrepare:
		return e.prepare(ctx, c, r)
	case mailflow.EffectIntent:
		return e.intent(ctx, c, r, en.Effect.Attempt)
	case mailflow.EffectSign:
		return e.sign(ctx, c, r, en.Effect.Attempt)
	case mailflow.EffectTimestamp:
		return e.timestamp(ctx, c, r, en.Effect.Attempt)
	case mailflow.EffectEvidence:
		return e.evidence(ctx, c, r, en.Effect.Attempt)
	}
	return fmt.Errorf("effect %s: unknown kind %q", c.Key, en.Effect.Kind)
}

// settle commits the outcome of an effect, also while the program stops: a letter
// that the relay has must not be sent again, a signature that was made not be lost.
func (e *Engine) settle(ctx context.Context, c store.Claimed, outcome mailflow.EventBody) error {
	ctx = context.WithoutCancel(ctx)
	done := store.Change{Settle: []store.Settle{{Key: c.Key, Token: c.Token}}}
	if c.Request == "" {
		return e.apply(ctx, done)
	}
	return e.step(ctx, c.Request, done, func(mailflow.Request) mailflow.EventBody { return outcome })
}

// later puts an effect back with the reason why it waits. Its next attempt was
// stored when it was claimed and stays as it is.
func (e *Engine) later(ctx context.Context, c store.Claimed, why string) error {
	return e.laterAt(ctx, c, c.Due, why)
}

// laterAt puts an effect back until another time than the one that was stored.
func (e *Engine) laterAt(ctx context.Context, c store.Claimed, at time.Time, why string) error {
	e.cfg.Log.Warn("effect waits", "request", c.Request, "effect", c.Key, "attempt", c.Attempts, "until", at, "why", why)
	return e.apply(ctx, store.Change{Settle: []store.Settle{{Key: c.Key, Token: c.Token, Again: at, Note: why}}})
}
