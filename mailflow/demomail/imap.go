package demomail

import (
	"net"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

// idlePoll is how often an idling client is told what is new.
const idlePoll = 50 * time.Millisecond

// serveIMAP runs the IMAP service and returns what ends it.
func (s *Server) serveIMAP(ln net.Listener) func() error {
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			inner := s.boxes.NewSession()
			rich, ok := inner.(imapserver.SessionIMAP4rev2)
			if !ok {
				return inner, nil, nil
			}
			return &session{SessionIMAP4rev2: rich}, nil, nil
		},
		// The library offers MOVE and UIDPLUS only together with IMAP4rev2.
		Caps:         imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIMAP4rev2: {}},
		InsecureAuth: true,
		Logger:       logAdapter{s.opts.Log},
	})
	return serve(ln, server.Serve, server.Close)
}

// serve runs a service in the background; the returned function ends it and waits.
func serve(ln net.Listener, run func(net.Listener) error, stop func() error) func() error {
	var wg sync.WaitGroup
	l := &announcing{Listener: ln, accepting: make(chan struct{})}
	wg.Go(func() { _ = run(l) }) // it ends with an error only because it was closed
	return func() error {
		// The libraries' Close races with a Serve that has not begun.
		<-l.accepting
		err := stop()
		ln.Close()
		wg.Wait()
		return err
	}
}

// announcing is a listener that tells when it is first asked for a connection.
type announcing struct {
	net.Listener
	once      sync.Once
	accepting chan struct{}
}

// Accept implements net.Listener.
func (a *announcing) Accept() (net.Conn, error) {
	a.once.Do(func() { close(a.accepting) })
	return a.Listener.Accept()
}

// session is the library's session with another IDLE: the library forgets to announce
// a mail that arrives just before IDLE begins.
type session struct {
	imapserver.SessionIMAP4rev2
}

// Idle announces changes until stop is closed (RFC 2177).
func (s *session) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	tick := time.NewTicker(idlePoll)
	defer tick.Stop()
	for {
		if err := s.Poll(w, true); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-stop:
			return nil
		}
	}
}
