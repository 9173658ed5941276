package evidence

import (
	"crypto/x509"
	"slices"
	"time"

	"countersign/signing/revocation"
	"countersign/signing/timestamp"
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

// Authority returns what the authority that stamped last needs evidence for. It belongs
// into a file before its next document timestamp: that is the last thing in the file, and
// validators that fetch nothing have no other word about its certificate. False: no
// authority has stamped yet.
func (c *Client) Authority() (revocation.Subject, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.last.Certs) == 0 {
		return revocation.Subject{}, false
	}
	certs := append([]*x509.Certificate{c.last.Signer}, c.last.Certs...)
	return revocation.Subject{What: "the time-stamping authority", Certs: certs, At: c.last.Time, TimeStamping: true}, true
}

// note remembers the outcome of asking authority i.
func (c *Client) note(i int, t timestamp.Token, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noteHealth(i, err); err == nil {
		c.lastOK = c.health[i].LastOK
		c.last, c.largest = t, max(c.largest, len(t.DER))
	}
}

// noteHealth is the part of note that an authority standing by has, too. The caller holds
// the lock.
func (c *Client) noteHealth(i int, err error) {
	h, now := &c.health[i], c.opts.Now()
	if err != nil {
		h.LastFail, h.Err, h.Fails = now, err, h.Fails+1
		return
	}
	h.LastOK, h.Fails = now, 0
}
