package evidence

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// An entry is an answer as it came, not yet checked for any one use.
type entry struct {
	key     string
	der     []byte
	fetched time.Time
	until   time.Time // nextUpdate; a sound answer is not kept longer
}

// A cache keeps the answers used last, up to a number of bytes. It is safe for concurrent
// use, and lets one of several callers who want the same fetch it for all.
type cache struct {
	max int64

	mu      sync.Mutex
	size    int64
	order   *list.List // of *entry, the one used last in front
	entries map[string]*list.Element
	flights map[string]*flight
}

// A flight is a fetch under way.
type flight struct {
	done chan struct{}
	der  []byte
	err  error
}

func newCache(size int64) *cache {
	return &cache{max: size, order: list.New(), entries: map[string]*list.Element{}, flights: map[string]*flight{}}
}

// get returns what is kept under key at a time.
func (c *cache) get(key string, now time.Time) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		return entry{}, false
	}
	kept := e.Value.(*entry)
	if now.After(kept.until) || now.Before(kept.fetched.Add(-time.Minute)) { // or the clock went back
		c.remove(e)
		return entry{}, false
	}
	c.order.MoveToFront(e)
	return *kept, true
}

func (c *cache) put(e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.entries[e.key]; ok {
		c.remove(old)
	}
	size := int64(len(e.der) + len(e.key))
	if size > c.max {
		return
	}
	for c.size+size > c.max {
		c.remove(c.order.Back())
	}
	c.size += size
	c.entries[e.key] = c.order.PushFront(&e)
}

func (c *cache) remove(e *list.Element) {
	gone := c.order.Remove(e).(*entry)
	delete(c.entries, gone.key)
	c.size -= int64(len(gone.der) + len(gone.key))
}

// once runs fetch, unless it runs already for the same key: then it waits for that. What
// was begun goes on if a caller gives up, for the others.
func (c *cache) once(ctx context.Context, key string, fetch func(context.Context) ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	f, ok := c.flights[key]
	if !ok {
		f = &flight{done: make(chan struct{})}
		c.flights[key] = f
		go func() {
			f.der, f.err = fetch(context.WithoutCancel(ctx))
			c.mu.Lock()
			delete(c.flights, key)
			c.mu.Unlock()
			close(f.done)
		}()
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.der, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
