// Package web is the door for programs: HTTP over the Unix socket in the state
// directory, by which the command line talks to a running daemon. Whoever may open
// the socket (mode 0600) is an administrator.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"countersign/mailflow"
	"countersign/store"
)

// Requests is what the door opens to.
type Requests interface {
	List(ctx context.Context, f store.Filter) ([]mailflow.Summary, error)
	Find(ctx context.Context, name string) (id string, err error)
	Show(ctx context.Context, id string) (mailflow.Details, error)
	Cancel(ctx context.Context, id, by, reason string) error
	Counters() map[string]int
}

// Admin answers what an administrator asks. status tells how the daemon's outside
// parts are; it must be fit for JSON.
func Admin(r Requests, status func() any) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"parts": status(), "counters": r.Counters()}, nil)
	})
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, q *http.Request) {
		f := store.Filter{OpenOnly: q.FormValue("open") == "true", State: q.FormValue("state")}
		list, err := r.List(q.Context(), f)
		answer(w, list, err)
	})
	mux.HandleFunc("GET /requests/{name}", func(w http.ResponseWriter, q *http.Request) {
		id, err := r.Find(q.Context(), q.PathValue("name"))
		if err != nil {
			answer(w, nil, err)
			return
		}
		d, err := r.Show(q.Context(), id)
		answer(w, d, err)
	})
	mux.HandleFunc("POST /requests/{name}/cancel", func(w http.ResponseWriter, q *http.Request) {
		id, err := r.Find(q.Context(), q.PathValue("name"))
		if err == nil {
			err = r.Cancel(q.Context(), id, "administrator", q.FormValue("reason"))
		}
		answer(w, map[string]string{"id": id}, err)
	})
	return mux
}

// answer is the one place that maps errors to HTTP.
func answer(w http.ResponseWriter, v any, err error) {
	code := http.StatusOK
	if err != nil {
		v = map[string]string{"error": err.Error()}
		code = http.StatusConflict
		if errors.Is(err, store.ErrNotFound) {
			code = http.StatusNotFound
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the peer went away: nobody is left to tell
}

// ServeSocket serves on a Unix socket that only its owner may open. stop ends it and
// removes the socket.
func ServeSocket(path string, h http.Handler) (stop func(), err error) {
	// A socket left behind by a killed daemon is in the way; the database's lock
	// made sure that no other daemon uses it.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), l.Close())
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }() // ends with ErrServerClosed by stop
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
	}, nil
}

// A Client talks to a daemon's admin socket.
type Client struct{ http http.Client }

// NewClient returns a client for the socket at path; it connects when asked.
func NewClient(path string) *Client {
	return &Client{http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}},
	}}
}

// An Error is what the daemon answered instead of a result.
type Error struct{ Text string }

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Do asks for a path, with form values if they are not nil, and decodes the answer
// into v.
func (c *Client) Do(ctx context.Context, method, path string, form url.Values, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://countersign"+path+"?"+form.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("reading the daemon's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var no struct{ Error string }
		if json.Unmarshal(body, &no) != nil || no.Error == "" {
			no.Error = "the daemon answered " + resp.Status
		}
		return &Error{no.Error}
	}
	return json.Unmarshal(body, v)
}
