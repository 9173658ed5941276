package boltstore_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"countersign/store"
)

// BenchmarkApply measures whole changes (row with compare-and-swap, handled mail,
// effect added and dropped, audit entry with its hashes) by 1 and 64 callers. In
// the same run it measures the floor, a bare group writer that puts one value of
// 1 KB per caller with the same flush; of-floor is the ratio of the two.
func BenchmarkApply(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			s := openBolt(b, b.TempDir())
			floor := newFloor(b)
			// Each caller works on its own request, as one of the engine's would.
			steps := make([]func() error, callers)
			for i := range steps {
				steps[i] = stepper(b.Context(), s, fmt.Sprintf("018f3a4b-%04d", i))
			}
			b.ResetTimer()
			rate := measure(b, callers, b.N, func(caller int) error { return steps[caller]() })
			b.StopTimer()
			bare := measure(b, callers, b.N, func(int) error { return floor.put() })
			b.ReportMetric(rate, "changes/s")
			b.ReportMetric(bare, "floor/s")
			b.ReportMetric(rate/bare, "of-floor")
			if err := errors.Join(s.Close(), floor.close()); err != nil {
				b.Error(err)
			}
		})
	}
}

// measure lets callers do n things in all and returns how many they did a second.
func measure(b *testing.B, callers, n int, do func(caller int) error) float64 {
	var left atomic.Int64
	left.Store(int64(n))
	start := time.Now()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(start).Seconds()
}

// stepper returns a function that makes the next change of one request.
func stepper(ctx context.Context, s store.Store, id string) func() error {
	version := uint64(0)
	data, payload, leaf := make([]byte, 400), make([]byte, 300), make([]byte, 100)
	return func() error {
		c := store.Change{
			Row:     &store.Row{ID: id, Version: version, State: "waiting", Open: true, Data: data},
			Handled: []string{fmt.Sprintf("20260101-%s-%d", id, version)},
			Add:     []store.Effect{{Key: fmt.Sprintf("%s/%d", id, version), Request: id, Due: time.Unix(1<<31, 0), Payload: payload}},
			Audit:   []store.Entry{{Time: time.Unix(1<<30, 0), Request: id, Data: leaf}},
		}
		if version > 0 {
			c.Drop = []string{fmt.Sprintf("%s/%d", id, version-1)}
		}
		errs, err := s.Apply(ctx, []store.Change{c})
		if err != nil {
			return err
		}
		version++
		return errs[0]
	}
}

// floor is the least that a durable group commit with bbolt can be.
type floor struct {
	db   *bolt.DB
	jobs chan chan error
	done chan struct{}
	n    uint64
}

func newFloor(b *testing.B) *floor {
	db, err := bolt.Open(filepath.Join(b.TempDir(), "floor.db"), 0o600, &bolt.Options{
		NoFreelistSync: true, FreelistType: bolt.FreelistMapType, InitialMmapSize: 1 << 30,
	})
	if err != nil {
		b.Fatal(err)
	}
	f := &floor{db: db, jobs: make(chan chan error), done: make(chan struct{})}
	go f.run()
	return f
}

func (f *floor) put() error {
	answer := make(chan error, 1)
	f.jobs <- answer
	return <-answer
}

func (f *floor) run() {
	defer close(f.done)
	value := make([]byte, 1024)
	for answer := range f.jobs {
		group := []chan error{answer}
		for more := true; more; {
			select {
			case answer := <-f.jobs:
				group = append(group, answer)
			default:
				more = false
			}
		}
		err := f.db.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("b"))
			for range group {
				f.n++
				err = errors.Join(err, bucket.Put(binary.BigEndian.AppendUint64(nil, f.n), value))
			}
			return err
		})
		for _, answer := range group {
			answer <- err
		}
	}
}

func (f *floor) close() error {
	close(f.jobs)
	<-f.done
	return f.db.Close()
}
