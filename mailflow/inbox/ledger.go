package inbox

import (
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

const (
	maxRefusals = 3     // answers "no" to a FETCH, or permanent errors of Handle, in a row
	maxDrops    = 10    // connections lost while this mail was fetched, in a row
	maxFailing  = 10000 // mails whose failures are remembered
)

// A ledger knows what the mailbox can't (yet) show: decisions that still have to be
// marked, mails that can't be marked, and failures. It holds for one UIDVALIDITY
// (RFC 3501 2.3.1.1) and survives reconnects. UID sets are ranges, so a long row of
// mails costs one entry.
type ledger struct {
	mu       sync.Mutex
	validity uint32
	finished imap.UIDSet             // decided, and marked as far as the server lets us
	pending  map[Verdict]imap.UIDSet // decided, mark not written yet; keys Done and SetAside
	unmarked int                     // number of mails in pending
	failing  map[imap.UID]*failure
}

// A failure counts what went wrong with one mail in a row.
type failure struct {
	tries    int // all failures
	refusals int // towards maxRefusals
	drops    int // towards maxDrops
	due      time.Time
}

// The kinds of failure.
type failureKind int

const (
	passing failureKind = iota // try again for ever
	refusal
	drop
)

// open prepares the ledger for a folder; another UIDVALIDITY makes all UIDs void.
func (l *ledger) open(validity uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.validity == validity && l.pending != nil {
		return
	}
	l.validity = validity
	l.finished = nil
	l.pending = map[Verdict]imap.UIDSet{}
	l.unmarked = 0
	l.failing = map[imap.UID]*failure{}
}

// decide records a verdict that has to be marked; the mail's failures are forgotten.
func (l *ledger) decide(uid imap.UID, v Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	set := l.pending[v]
	set.AddNum(uid)
	l.pending[v] = set
	l.unmarked++
	delete(l.failing, uid)
}

// fail records a failure and reports whether the mail is to be given up.
func (l *ledger) fail(uid imap.UID, kind failureKind, base time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.failing[uid]
	if f == nil {
		f = &failure{}
		if len(l.failing) < maxFailing {
			l.failing[uid] = f
		}
	}
	f.tries++
	switch kind {
	case refusal:
		f.refusals++
	case drop:
		f.drops++
	case passing:
		f.refusals, f.drops = 0, 0 // "in a row"
	}
	f.due = time.Now().Add(retryDelay(base, f.tries))
	return f.refusals >= maxRefusals || f.drops >= maxDrops
}

// postpone notes that the handler wants to see a mail later.
func (l *ledger) postpone(uid imap.UID, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failing) < maxFailing || l.failing[uid] != nil {
		l.failing[uid] = &failure{due: due}
	}
}

// fetched forgets failures to fetch: the mail could be read this time.
func (l *ledger) fetched(uid imap.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.failing[uid]; f != nil {
		f.drops = 0
	}
}

// forget drops a mail that is no longer there.
func (l *ledger) forget(uid imap.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failing, uid)
}

// known reports whether a mail needs nothing more, or else whether it failed before
// and when it may be tried again.
func (l *ledger) known(uid imap.UID) (settled, failed bool, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.finished.Contains(uid) || l.pending[Done].Contains(uid) || l.pending[SetAside].Contains(uid) {
		return true, false, time.Time{}
	}
	if f := l.failing[uid]; f != nil {
		return false, true, f.due
	}
	return false, false, time.Time{}
}

// takePending hands out the marks to be written for a verdict.
func (l *ledger) takePending(v Verdict) imap.UIDSet {
	l.mu.Lock()
	defer l.mu.Unlock()
	set := l.pending[v]
	delete(l.pending, v)
	if len(l.pending) == 0 {
		l.unmarked = 0
	}
	return set
}

// putBack returns marks that could not be written.
func (l *ledger) putBack(v Verdict, set imap.UIDSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.pending[v]
	all.AddSet(set)
	l.pending[v] = all
}

// finish records mails that are marked but still in the folder.
func (l *ledger) finish(set imap.UIDSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished.AddSet(set)
}

// unmarkedCount is the number of decisions since the last complete marking.
func (l *ledger) unmarkedCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unmarked
}

// retain forgets failures of mails that are not in the folder's work list, and gives
// the time when the next failed mail is due (zero: none) and how many there are.
func (l *ledger) retain(present imap.UIDSet) (next time.Time, failing int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for uid, f := range l.failing {
		if !present.Contains(uid) {
			delete(l.failing, uid)
			continue
		}
		if next.IsZero() || f.due.Before(next) {
			next = f.due
		}
	}
	return next, len(l.failing)
}
