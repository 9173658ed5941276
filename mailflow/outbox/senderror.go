package outbox

import (
	"errors"
	"fmt"

	"github.com/emersion/go-smtp"
)

// A SendError says whether sending the same mail again can help.
type SendError struct {
	Temporary bool   // nothing was sent; try again later
	Unknown   bool   // the mail may have been taken over; Temporary is false then
	Code      int    // the server's SMTP reply code; 0 if it gave none
	Recipient string // the recipient that was refused; "" if it was not about one
	Err       error
}

// Error implements error.
func (e *SendError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *SendError) Unwrap() error { return e.Err }

// replyCode finds the server's reply in an error; 0 = there is none.
func replyCode(err error) int {
	if reply, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return reply.Code
	}
	return 0
}

// early is an error before a mail was offered: connection, TLS, greeting, login. It is
// never about this mail, so trying again later is always right, even after a 5xx: a
// person mends the settings or the server meanwhile.
func early(what string, err error) *SendError {
	return &SendError{Temporary: true, Code: replyCode(err), Err: fmt.Errorf("%s: %w", what, err)}
}

// refused is an error about this mail before its final dot.
func refused(what string, err error) *SendError {
	code := replyCode(err)
	return &SendError{Temporary: passing(code), Code: code, Err: fmt.Errorf("%s: %w", what, err)}
}

// passing tells a reply code that may change by itself or by mended settings: 4yz, no
// reply at all, and the codes for a missing login or encryption (RFC 4954 6, RFC 3207 4),
// which say nothing about the mail.
func passing(code int) bool {
	switch code {
	case 530, 534, 535, 538:
		return true
	}
	return code < 500
}

// broken is a mail that cannot be sent by anyone as it is.
func broken(err error) *SendError { return &SendError{Err: err} }

// afterDot judges the error of the last step. Only an answer of the server says that
// it did not take the mail; everything else leaves it open.
func afterDot(err error) *SendError {
	code := replyCode(err)
	if code >= 400 {
		return refused("the server refused the mail after its end", err)
	}
	return &SendError{Unknown: true, Code: code, Err: fmt.Errorf("the mail was sent, but no answer came; it may have arrived: %w", err)}
}
