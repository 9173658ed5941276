package inbox

import (
	"context"
	"errors"
	"io"
	"time"
)

// A Handler stores mails and decides on them. While Handle works on a mail, the next
// one is spooled already, so Spool and Handle run at the same time; Handle runs
// several times at once only if Config.Parallel is above 1.
type Handler interface {
	// Spool gives a place for one mail. An error here is this machine's trouble (a full
	// disk), not the mail's: reading stops and starts again after a pause.
	Spool() (Spool, error)

	// Handle decides on a mail. The handler owns m.Raw from here on. After an error the
	// mail stays and is shown again after a growing pause; three errors in a row that
	// are [Permanent] set it aside.
	Handle(ctx context.Context, m Mail) (Verdict, error)

	// GiveUp is told that a mail will be moved to the Failed folder without a verdict
	// (it can't be fetched, m.Raw is nil; or Handle failed for good, m.Raw is what
	// Handle got). If GiveUp fails, the mail stays and is tried again.
	GiveUp(ctx context.Context, m Mail, reason error) error
}

// A Spool receives the raw bytes of one mail, in order.
type Spool interface {
	io.Writer
	// Discard is called instead of Handle when the mail could not be read to its end.
	Discard()
}

// A Mail is one mail as the server gave it.
type Mail struct {
	Mailbox      string // Config.Name
	UIDValidity  uint32 // with UID: the mail's name in this folder (RFC 3501 2.3.1.1)
	UID          uint32
	InternalDate time.Time // when the server received it; zero if the server does not say
	Size         int64     // bytes of the whole mail, also if truncated
	Truncated    bool      // bigger than Config.MaxSize: Raw has the header only
	Raw          Spool     // the spool that Handler.Spool gave, filled
}

// A Verdict is what the handler decided.
type Verdict int

const (
	Done     Verdict = iota + 1 // committed: keyword, then move to Processed
	SetAside                    // committed as unusable: keyword, then move to Failed
	Later                       // leave it, show it again after Config.Poll
)

// Permanent marks an error of Handle as one that trying again won't heal.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

func isPermanent(err error) bool {
	_, ok := errors.AsType[*permanentError](err)
	return ok
}
