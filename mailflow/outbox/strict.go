package outbox

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// maxLine is the longest line without its CRLF (RFC 5322 2.1.1, RFC 5321 4.5.3.1.6).
const maxLine = 998

// A strictWriter passes on only what arrives everywhere as it is. A bare CR or LF
// would be read differently by different servers (SMTP smuggling), 8-bit data or long
// lines would be changed or refused on the way.
type strictWriter struct {
	w      io.Writer
	left   int64 // bytes still to come
	line   int   // octets in the current line
	cr     bool  // the last byte was CR
	fault  error // what is wrong with the mail
	broken error // what went wrong with the connection
}

// all runs write and checks that the whole mail came. Its error means that nothing was
// sent: the final dot is still missing.
func (s *strictWriter) all(write func(io.Writer) error) error {
	err := write(s)
	switch {
	case s.fault != nil:
		return broken(s.fault)
	case s.broken != nil:
		return refused("the connection broke while the mail was sent", s.broken)
	case err != nil: // it could not be produced, for example because a disk failed
		return &SendError{Temporary: true, Err: fmt.Errorf("produce the mail: %w", err)}
	case s.left != 0:
		return broken(fmt.Errorf("the mail ended %d bytes before its announced size", s.left))
	case s.cr || s.line != 0:
		return broken(errors.New("the mail does not end with CRLF"))
	}
	return nil
}

// Write implements io.Writer. After an error it writes nothing more.
func (s *strictWriter) Write(p []byte) (int, error) {
	if s.fault == nil {
		s.fault = s.check(p)
	}
	if err := errors.Join(s.fault, s.broken); err != nil {
		return 0, err
	}
	n, err := s.w.Write(p)
	if err != nil {
		s.broken = err
	}
	return n, err
}

// check looks at the next bytes of the mail.
func (s *strictWriter) check(p []byte) error {
	if s.left -= int64(len(p)); s.left < 0 {
		return errors.New("the mail is longer than its announced size")
	}
	for _, b := range p {
		switch {
		case s.cr != (b == '\n'):
			return errors.New("the mail has a CR or LF that is not part of a CRLF")
		case b == 0 || b > 127:
			return fmt.Errorf("the mail has the byte 0x%02x; only 7-bit text without NUL can be sent", b)
		case b == '\r':
			s.cr = true
			continue
		case b == '\n':
			s.cr, s.line = false, 0
			continue
		}
		if s.line++; s.line > maxLine {
			return fmt.Errorf("the mail has a line of more than %d octets", maxLine)
		}
	}
	return nil
}

// writeLimit ends a connection that takes no bytes for too long: while the mail itself
// is sent, the library sets no limit.
type writeLimit struct {
	net.Conn
	timeout time.Duration
}

// Write implements net.Conn.
func (c *writeLimit) Write(p []byte) (int, error) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(c.timeout))
	n, err := c.Conn.Write(p)
	if err != nil {
		c.Conn.Close() // what was half written must not be continued
	}
	return n, err
}
