package inbox

import (
	"net"
	"sync"
	"time"
)

// A rollingConn ends a connection that stays silent for too long. The IMAP library
// has no timeout for an answer, and its own deadlines break long transfers over slow
// lines; so its deadlines are ignored and ours count per read and per write. After an
// error the connection is closed: the library would read on otherwise.
type rollingConn struct {
	net.Conn
	writeTimeout time.Duration

	mu      sync.Mutex
	silence time.Duration // longest wait for the next bytes; 0: no limit
}

func newRollingConn(c net.Conn, timeout time.Duration) *rollingConn {
	return &rollingConn{Conn: c, writeTimeout: timeout, silence: timeout}
}

// allow sets how long the server may be silent from now on, also for a read that is
// already waiting. 0 means as long as it likes: no command is running.
func (c *rollingConn) allow(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silence = d
	c.extend()
}

// extend starts the wait anew; c.mu is held. An error means a closed connection,
// which the next read reports.
func (c *rollingConn) extend() {
	var t time.Time
	if c.silence > 0 {
		t = time.Now().Add(c.silence)
	}
	_ = c.Conn.SetReadDeadline(t)
}

// Read implements net.Conn.
func (c *rollingConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	c.extend()
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	if err != nil {
		c.Conn.Close()
	}
	return n, err
}

// Write implements net.Conn.
func (c *rollingConn) Write(p []byte) (int, error) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(c.writeTimeout))
	n, err := c.Conn.Write(p)
	if err != nil {
		c.Conn.Close()
	}
	return n, err
}

// SetDeadline does nothing: see the type.
func (c *rollingConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing: see the type.
func (c *rollingConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: see the type.
func (c *rollingConn) SetWriteDeadline(time.Time) error { return nil }
