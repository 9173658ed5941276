package evidence

import (
	"slices"
	"time"
)

// Health is how an authority fared, for a doctor or a monitor to tell.
type Health struct {
	URL      string    // without a password
	LastOK   time.Time // of its last good token; zero: none yet
	LastFail time.Time // of its last failure; zero: none yet
	Err      error     // of that failure
	Fails    int       // in a row, since the last good token
}

// Health returns the state of each authority, in the configured order.
func (c *Client) Health() []Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.health)
}

// note remembers the outcome of asking authority i; size is that of the token.
func (c *Client) note(i, size int, err error) {
	now := c.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &c.health[i]
	if err != nil {
		h.LastFail, h.Err, h.Fails = now, err, h.Fails+1
		return
	}
	h.LastOK, h.Fails = now, 0
	c.lastOK = now
	c.largest = max(c.largest, size)
}
