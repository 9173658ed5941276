package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"countersign/mailflow"
	"countersign/store"
)

// Run claims and runs effects until ctx ends, then waits for those in work.
func (e *Engine) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, e.cfg.Workers)
	for {
		n, err := e.dispatch(ctx, &wg, slots)
		if err != nil {
			e.cfg.Log.Error("claiming effects", "error", err)
		}
		if n > 0 {
			continue
		}
		if err := e.wait(ctx, err != nil); err != nil {
			return nil //nolint:nilerr // the end of ctx is how Run ends
		}
	}
}

// dispatch claims as many due effects as there are free workers.
func (e *Engine) dispatch(ctx context.Context, wg *sync.WaitGroup, slots chan struct{}) (int, error) {
	free := cap(slots) - len(slots)
	if free == 0 || ctx.Err() != nil {
		return 0, nil
	}
	claimed, err := e.cfg.Store.Claim(ctx, store.ClaimOptions{
		Now: e.cfg.Now(), Max: free, Skip: e.busy,
		Next: func(ef store.Effect) time.Time {
			return e.cfg.Now().Add(mailflow.Backoff(mailflow.EffectKind(ef.Kind), ef.Attempts))
		},
	})
	if err != nil {
		return 0, err
	}
	for _, c := range claimed {
		e.setBusy(c.Key, true)
		slots <- struct{}{}
		wg.Go(func() {
			defer func() {
				e.setBusy(c.Key, false)
				<-slots
				e.Wake()
			}()
			e.run(ctx, c)
		})
	}
	return len(claimed), nil
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
// failed claim it waits a second, however much is due.
func (e *Engine) wait(ctx context.Context, failed bool) error {
	pause := time.Minute
	switch due, err := e.cfg.Store.NextDue(ctx, e.busy); {
	case err != nil || failed:
		pause = time.Second
	case !due.IsZero():
		pause = min(pause, max(due.Sub(e.cfg.Now()), 5*time.Millisecond))
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

func (e *Engine) perform(ctx context.Context, c store.Claimed) error {
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
	}
	return fmt.Errorf("effect %s: unknown kind %q", c.Key, en.Effect.Kind)
}

// settle commits the outcome of an effect.
func (e *Engine) settle(ctx context.Context, c store.Claimed, outcome mailflow.EventBody) error {
	done := store.Change{Settle: []store.Settle{{Key: c.Key, Token: c.Token}}}
	if c.Request == "" {
		return e.apply(ctx, done)
	}
	return e.step(ctx, c.Request, done, func(mailflow.Request) mailflow.EventBody { return outcome })
}

// later puts an effect back with the reason why it waits. Its next attempt was
// stored when it was claimed and stays as it is.
func (e *Engine) later(ctx context.Context, c store.Claimed, why string) error {
	e.cfg.Log.Warn("effect waits", "request", c.Request, "effect", c.Key, "attempt", c.Attempts, "until", c.Due, "why", why)
	return e.apply(ctx, store.Change{Settle: []store.Settle{{Key: c.Key, Token: c.Token, Again: c.Due, Note: why}}})
}
