package inbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

const (
	describeAtOnce = 50 // mails whose sizes are asked in one command
	markAtOnce     = 32 // decisions that are marked in one command
)

// A Reader reads one folder. It is made by [New]; Run may run once at a time.
type Reader struct {
	cfg    Config
	ledger ledger

	mu     sync.Mutex
	status Status
}

// A Status says how reading goes, for people.
type Status struct {
	Name        string
	Address     string
	Connected   time.Time // since when; zero: not connected now
	LastLook    time.Time // when the folder was last searched to the end
	LastError   string    // why the last connection or attempt ended; "" after a complete look
	LastErrorAt time.Time
	Failing     int    // mails that failed and wait for their next try
	Server      Server // of the last connection
}

// A Server is what a mail server can do for us.
type Server struct {
	UIDValidity uint32
	Messages    int    // in the work list at connect; only from Probe
	Idle        bool   // announces mail (RFC 2177)
	Keywords    bool   // keeps our keyword
	Move        bool   // mails can be moved safely
	Processed   string // the folder's name at the server; "" if it can't be used
	Failed      string
}

// New makes a reader; the settings are checked by Run and Probe.
func New(cfg Config) *Reader {
	cfg = cfg.withDefaults()
	return &Reader{cfg: cfg, status: Status{Name: cfg.Name, Address: cfg.Address}}
}

// Status may be called at any time.
func (r *Reader) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Probe connects once, as Run does, creates missing folders, and tells what the
// server can do. It fetches nothing.
func (r *Reader) Probe(ctx context.Context) (Server, error) {
	if err := r.cfg.Check(); err != nil {
		return Server{}, err
	}
	s, err := open(ctx, &r.cfg)
	if err != nil {
		return Server{}, err
	}
	defer s.close()
	found, err := s.search()
	if err != nil {
		return Server{}, err
	}
	server := s.server()
	server.Messages = int(count(found))
	return server, nil
}

// Run reads until ctx ends and returns ctx's error then. Every other failure is
// logged, shown in Status, and tried again after a pause; only settings that can't
// work end Run at once.
func (r *Reader) Run(ctx context.Context, h Handler) error {
	if err := r.cfg.Check(); err != nil {
		return err
	}
	failures := 0
	for ctx.Err() == nil {
		looked, err := r.connection(ctx, h)
		if ctx.Err() != nil {
			break
		}
		if looked {
			failures = 0
		}
		failures++
		delay := retryDelay(r.cfg.RetryBase, failures)
		if _, ok := errors.AsType[*loginError](err); ok {
			delay = longestDelay(r.cfg.RetryBase)
		}
		r.note(func(st *Status) {
			st.Connected = time.Time{}
			st.LastError, st.LastErrorAt = err.Error(), time.Now()
		})
		r.cfg.Log.Warn("reading mail was interrupted", "mailbox", r.cfg.Name, "err", err, "again_in", delay)
		pause(ctx, delay)
	}
	r.note(func(st *Status) { st.Connected = time.Time{} })
	return ctx.Err()
}

// connection reads over one connection until it fails. looked tells whether it was
// good for at least one complete look.
func (r *Reader) connection(ctx context.Context, h Handler) (looked bool, err error) {
	s, err := open(ctx, &r.cfg)
	if err != nil {
		return false, err
	}
	defer s.close()
	r.ledger.open(s.validity)
	r.note(func(st *Status) { st.Connected, st.Server = time.Now(), s.server() })
	r.cfg.Log.Info("reading mail", "mailbox", r.cfg.Name, "server", r.cfg.Address, "idle", s.canIdle(),
		"keywords", s.canKeyword, "move", s.canMove(), "uidvalidity", s.validity)

	expectMail := false // the server had the chance to announce what we find
	for {
		s.quiet()
		next, fresh, err := r.look(ctx, s, h)
		if err != nil {
			return looked, err
		}
		looked = true
		s.muteIdle = s.muteIdle || expectMail && fresh > 0
		announced, err := s.wait(ctx, r.patience(s, next))
		if err != nil {
			return looked, err
		}
		expectMail = s.canIdle() && !announced
	}
}

// patience is how long to wait for an announcement before looking anyway.
func (r *Reader) patience(s *session, next time.Time) time.Duration {
	d := r.cfg.IdleTimeout
	if !s.canIdle() || s.muteIdle {
		d = min(d, r.cfg.Poll)
	}
	if !next.IsZero() {
		d = min(d, time.Until(next))
	}
	return max(d, time.Millisecond)
}

// look goes through all mails that are not done: first those that never failed, then
// the others. It returns when the next failed mail is due, and how many were new.
func (r *Reader) look(ctx context.Context, s *session, h Handler) (next time.Time, fresh int, err error) {
	if err := r.markLeftOver(s); err != nil {
		return next, 0, err
	}
	found, err := s.search()
	if err != nil {
		return next, 0, err
	}
	var old []imap.UID // bounded: only remembered failures
	l := &looker{r: r, s: s, h: h, ctx: ctx, slots: make(chan struct{}, r.cfg.Parallel)}
	defer l.handlers.Wait()
	for uid := range uids(found) {
		settled, failed, due := r.ledger.known(uid)
		switch {
		case settled:
		case !failed:
			fresh++
			err = l.add(uid)
		case !due.After(time.Now()):
			old = append(old, uid)
		}
		if err != nil {
			return next, fresh, err
		}
	}
	for _, uid := range old {
		if err := l.add(uid); err != nil {
			return next, fresh, err
		}
	}
	if err := l.finish(); err != nil {
		return next, fresh, err
	}
	next, failing := r.ledger.retain(found)
	r.note(func(st *Status) {
		st.LastLook, st.LastError, st.LastErrorAt, st.Failing = time.Now(), "", time.Time{}, failing
	})
	return next, fresh, nil
}

// markLeftOver writes the marks that a lost connection left open. What became of its
// last command is not known: mails that are gone were moved, and are not to be moved
// again, as servers answer that in ways that end the connection.
func (r *Reader) markLeftOver(s *session) error {
	for _, v := range []Verdict{Done, SetAside} {
		set := r.ledger.takePending(v)
		if len(set) == 0 {
			continue
		}
		left, err := s.remaining(set)
		if err != nil {
			r.ledger.putBack(v, set)
			return err
		}
		if len(left) > 0 {
			r.ledger.putBack(v, left)
		}
	}
	return r.markAll(s)
}

// markAll writes all marks that are due.
func (r *Reader) markAll(s *session) error {
	for _, v := range []Verdict{Done, SetAside} {
		set := r.ledger.takePending(v)
		if len(set) == 0 {
			continue
		}
		left, err := s.mark(set, s.folders[v])
		if lost(err) {
			r.ledger.putBack(v, set)
			return err
		}
		if err != nil { // a mark is a courtesy: the handler knows these mails
			r.cfg.Log.Warn("mails could not be marked", "mailbox", r.cfg.Name, "err", err)
		}
		r.ledger.finish(left)
	}
	return nil
}

func (r *Reader) note(change func(*Status)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.status)
}

// server describes the session for people.
func (s *session) server() Server {
	return Server{
		UIDValidity: s.validity, Idle: s.canIdle(), Keywords: s.canKeyword, Move: s.canMove(),
		Processed: s.folders[Done], Failed: s.folders[SetAside],
	}
}

// A looker carries one look at the folder: it fetches one mail after the other and
// lets up to Config.Parallel handlers work meanwhile.
type looker struct {
	r        *Reader
	s        *session
	h        Handler
	ctx      context.Context // of this look
	batch    []imap.UID
	handlers sync.WaitGroup
	slots    chan struct{}
}

// add takes one mail; the work is done batch by batch.
func (l *looker) add(uid imap.UID) error {
	l.batch = append(l.batch, uid)
	if len(l.batch) < describeAtOnce {
		return nil
	}
	return l.work()
}

// finish works off the rest, waits for the handlers and marks.
func (l *looker) finish() error {
	if err := l.work(); err != nil {
		return err
	}
	l.handlers.Wait()
	return l.r.markAll(l.s)
}

// work fetches the batch and hands it to the handlers.
func (l *looker) work() error {
	if len(l.batch) == 0 {
		return nil
	}
	about, err := l.s.describe(l.batch)
	if err != nil {
		return err
	}
	for _, uid := range l.batch {
		if err := l.one(uid, about[uid]); err != nil {
			return err
		}
		if l.r.ledger.unmarkedCount() >= markAtOnce {
			if err := l.r.markAll(l.s); err != nil {
				return err
			}
		}
	}
	l.batch = l.batch[:0]
	return nil
}

// one fetches one mail. Its error ends the connection; what is wrong with this mail
// alone goes to the ledger.
func (l *looker) one(uid imap.UID, m meta) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	spool, err := l.h.Spool()
	if err != nil {
		return fmt.Errorf("no place to store a mail: %w", err)
	}
	size, truncated, err := l.s.fetch(uid, m, spool)
	mail := Mail{
		Mailbox: l.r.cfg.Name, UIDValidity: l.s.validity, UID: uint32(uid),
		InternalDate: m.date, Size: size, Truncated: truncated, Raw: spool,
	}
	if err != nil {
		spool.Discard()
		mail.Raw = nil
		return l.unfetched(mail, err)
	}
	l.r.ledger.fetched(uid)
	l.slots <- struct{}{}
	l.handlers.Go(func() {
		defer func() { <-l.slots }()
		l.handle(mail)
	})
	return nil
}

// unfetched sorts the reasons why a mail could not be fetched.
func (l *looker) unfetched(mail Mail, err error) error {
	uid := imap.UID(mail.UID)
	_, local := errors.AsType[*spoolError](err)
	switch {
	case local || l.ctx.Err() != nil:
		return err
	case errors.Is(err, errGone):
		l.r.ledger.forget(uid)
		return nil
	}
	dropped := lost(err) && !errors.Is(err, errNoData)
	kind := refusal
	if dropped {
		kind = drop
	}
	l.r.cfg.Log.Warn("mail could not be fetched", "mailbox", mail.Mailbox, "uid", mail.UID, "uidvalidity", mail.UIDValidity, "err", err)
	if l.r.ledger.fail(uid, kind, l.r.cfg.RetryBase) {
		l.giveUp(mail, fmt.Errorf("mail %d can't be fetched: %w", mail.UID, err))
	}
	if dropped {
		return err
	}
	return nil
}

// handle asks the handler and records its answer.
func (l *looker) handle(mail Mail) {
	uid := imap.UID(mail.UID)
	verdict, err := l.h.Handle(l.ctx, mail)
	if err == nil {
		switch verdict {
		case Done, SetAside:
			l.r.ledger.decide(uid, verdict)
			return
		case Later:
			l.r.ledger.postpone(uid, time.Now().Add(l.r.cfg.Poll))
			return
		}
		err = fmt.Errorf("the handler gave the unknown verdict %d", verdict)
	}
	if l.ctx.Err() != nil {
		return // we are stopping; the mail is shown again at the next start
	}
	kind := passing
	if isPermanent(err) {
		kind = refusal
	}
	l.r.cfg.Log.Warn("mail could not be handled", "mailbox", mail.Mailbox, "uid", mail.UID, "uidvalidity", mail.UIDValidity, "err", err)
	if l.r.ledger.fail(uid, kind, l.r.cfg.RetryBase) {
		l.giveUp(mail, err)
	}
}

// giveUp tells the handler and sets the mail aside.
func (l *looker) giveUp(mail Mail, reason error) {
	if err := l.h.GiveUp(l.ctx, mail, reason); err != nil {
		l.r.cfg.Log.Error("mail stays unread: it could neither be handled nor reported", "mailbox", mail.Mailbox,
			"uid", mail.UID, "uidvalidity", mail.UIDValidity, "err", errors.Join(reason, err))
		return
	}
	l.r.cfg.Log.Error("mail was set aside", "mailbox", mail.Mailbox, "uid", mail.UID, "uidvalidity", mail.UIDValidity, "err", reason)
	l.r.ledger.decide(imap.UID(mail.UID), SetAside)
}
