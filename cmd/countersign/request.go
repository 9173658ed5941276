package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"countersign/configs"
	"countersign/mailflow"
	"countersign/mailflow/engine"
	"countersign/mailflow/web"
	"countersign/store/blobs"
	"countersign/store/boltstore"
)

type requestCmd struct {
	List   requestListCmd   `cmd:"" help:"List requests, newest first, and what each waits for."`
	Show   requestShowCmd   `cmd:"" help:"Show all about one request."`
	Cancel requestCancelCmd `cmd:"" help:"End a request; everyone concerned is told."`
}

// where names the daemon to talk to, or whose store to read.
type where struct {
	Config string `help:"Configuration file of the daemon." placeholder:"FILE" xor:"where" required:""`
	State  string `help:"Or its state directory." placeholder:"DIR" xor:"where" required:""`
	JSON   bool   `help:"Print JSON; docs/formats.md tells its keys." name:"json"`
}

// connect returns a client of the running daemon or, if there is none, one that reads
// the store itself; write says that it shall change something too. Each use must end
// with done.
func (w *where) connect(ctx context.Context, t terminal, write bool) (c *web.Client, done func() error, err error) {
	var cfg *configs.Config
	state := w.State
	if state == "" {
		if cfg, err = readConfig(w.Config); err != nil {
			return nil, nil, err
		}
		state = cfg.State
	}
	socket := filepath.Join(state, socketFile)
	c = web.NewClient(socket)
	online := func() error { return c.Do(ctx, http.MethodGet, "/status", nil, new(any)) }
	noneToClose := func() error { return nil }
	switch err := online(); {
	case err == nil:
		return c, noneToClose, nil
	case errors.Is(err, os.ErrPermission):
		return nil, nil, fmt.Errorf("%s: only the daemon's own user and root may ask it: %w", socket, err)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED):
		return nil, nil, fmt.Errorf("asking the daemon: %w", err)
	}
	o := offline{state: state}
	if write {
		if cfg == nil {
			return nil, nil, fmt.Errorf("no daemon answers at %s; to cancel without it, name its configuration file with --config", socket)
		}
		o.cfg = cfg
	}
	direct, done, err := o.open()
	if err != nil {
		if online() == nil { // the daemon was just starting and has the database open
			return c, noneToClose, nil
		}
		return nil, nil, fmt.Errorf("no daemon answers at %s, so its database is opened: %w", socket, err)
	}
	fmt.Fprintln(t.err, "countersign: no daemon runs; this is what its database holds")
	return direct, done, nil
}

// offline opens the store of a daemon that does not run.
type offline struct {
	state string
	cfg   *configs.Config // needed to write letters, nil otherwise
}

func (o offline) open() (*web.Client, func() error, error) {
	path := filepath.Join(o.state, databaseFile)
	if _, err := os.Stat(path); err != nil { // to open it would create it
		return nil, nil, fmt.Errorf("%w; check the state directory, or start countersign serve", err)
	}
	db, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return nil, nil, err
	}
	c := engine.Config{Store: db}
	if o.cfg != nil {
		if err := o.pens(&c); err != nil {
			return nil, nil, errors.Join(err, db.Close())
		}
	}
	desk, err := engine.NewDesk(c)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	noParts := func() any { return map[string]any{} }
	return web.NewLocalClient(web.Admin(desk, noParts)), db.Close, nil
}

// pens gives a desk what it needs to write letters.
func (o offline) pens(c *engine.Config) error {
	master, err := masterSecret(o.cfg)
	if err != nil {
		return err
	}
	if c.Secrets, err = mailflow.NewSecrets(master); err != nil {
		return err
	}
	b, err := blobs.Open(filepath.Join(o.state, blobsDir))
	if err != nil {
		return err
	}
	c.Blobs, c.Organisation = blobFiles{b}, o.cfg.Organisation.Name
	return nil
}

// A question is one thing to ask the daemon; the answer is decoded into v.
type question struct {
	method, path string
	form         url.Values
	v            any
}

// ask asks the running daemon, or the store.
func (w *where) ask(ctx context.Context, t terminal, qs ...question) error {
	write := slices.ContainsFunc(qs, func(q question) bool { return q.method != http.MethodGet })
	c, done, err := w.connect(ctx, t, write)
	if err != nil {
		return err
	}
	for _, q := range qs {
		if err = c.Do(ctx, q.method, q.path, q.form, q.v); err != nil {
			break
		}
	}
	if err = errors.Join(err, done()); errors.As(err, new(*web.Error)) {
		return noError{err}
	}
	return err
}

func (w *where) print(out io.Writer, v any, text func(io.Writer)) error {
	if !w.JSON {
		text(out)
		return nil
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

type requestListCmd struct {
	where
	Open bool `help:"Only those that are not over."`
}

// Run lists requests.
func (c *requestListCmd) Run(ctx context.Context, t terminal) error {
	var list []mailflow.Summary
	form := url.Values{}
	if c.Open {
		form.Set("open", "true")
	}
	var status struct {
		Counters map[string]int
		Parts    struct {
			Mailboxes []struct{ Name, Address, LastError string }
		}
	}
	err := c.ask(ctx, t, question{http.MethodGet, "/requests", form, &list}, question{http.MethodGet, "/status", nil, &status})
	if err != nil {
		return err
	}
	return c.print(t.out, list, func(out io.Writer) {
		tw := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(tw, "REF\tSTATE\tRULE\tSENDER\tCREATED\tSUBJECT\tWAITS FOR")
		for _, s := range list {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Ref, s.State, s.Rule, s.Sender, utc(s.Created), s.Subject, s.Waits)
		}
		tw.Flush()
		names := make([]string, 0, len(status.Counters))
		for name := range status.Counters {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Fprintf(out, "since the start: %s: %d\n", name, status.Counters[name])
		}
		for _, box := range status.Parts.Mailboxes {
			if box.LastError != "" {
				fmt.Fprintf(out, "mailbox %s at %s: %s\n", box.Name, box.Address, box.LastError)
			}
		}
	})
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

type requestShowCmd struct {
	where
	Name string `arg:"" help:"Reference (7K3F9Q) or identifier of the request."`
}

// Run shows one request.
func (c *requestShowCmd) Run(ctx context.Context, t terminal) error {
	var d mailflow.Details
	if err := c.ask(ctx, t, question{http.MethodGet, "/requests/" + url.PathEscape(c.Name), nil, &d}); err != nil {
		return err
	}
	return c.print(t.out, d, func(out io.Writer) { showDetails(out, &d) })
}

func showDetails(out io.Writer, d *mailflow.Details) {
	fmt.Fprintf(out, "Request %s (%s)\nState:    %s\n", d.Ref, d.ID, d.State)
	for w := range strings.SplitSeq(d.Waits, "; ") {
		if w != "" {
			fmt.Fprintf(out, "Waits:    %s\n", w)
		}
	}
	if d.Ended != "" {
		fmt.Fprintf(out, "Ended:    %s\n", d.Ended)
	}
	fmt.Fprintf(out, "Subject:  %s\nSender:   %s\nRule:     %s\nCreated:  %s, expires %s\n", d.Subject, d.Sender, d.Rule, utc(d.Created), utc(d.Expires))
	for _, p := range d.Problems {
		fmt.Fprintf(out, "Asked:    %s %s\n", p.Kind, strings.Join(p.Args, ", "))
	}
	if d.H != "" {
		fmt.Fprintf(out, "H:        %s\n", d.H)
	}
	for _, doc := range d.Documents {
		fmt.Fprintf(out, "Document: %s, %d page(s)\n", doc.Name, doc.Pages)
		if !doc.Lasts.IsZero() {
			fmt.Fprintf(out, "Lasts:    level B-LTA; run countersign extend on it before %s\n", day(doc.Lasts))
		}
		showFindings(out, doc)
	}
	for _, p := range d.Parties {
		fmt.Fprintf(out, "Party %s: %s %s, %s", p.ID, p.Role, p.Address, p.State)
		if !p.Answered.IsZero() {
			fmt.Fprintf(out, " at %s (level %s)", utc(p.Answered), p.Level)
		}
		fmt.Fprintln(out)
	}
	for _, l := range d.Letters {
		fmt.Fprintf(out, "Letter:   %s to %s: %s %s %s\n", l.Kind, l.To, l.State, utc(l.At), l.Text)
	}
	for _, p := range d.Pending {
		fmt.Fprintf(out, "Pending:  %s, due %s, %d attempt(s) %s\n", p.Kind, utc(p.Due), p.Attempts, p.Note)
	}
	for _, h := range d.History {
		fmt.Fprintf(out, "History:  %s %s %s\n", utc(h.Time), h.Event, h.Party)
	}
}

type requestCancelCmd struct {
	where
	Name   string `arg:"" help:"Reference or identifier of the request."`
	Reason string `help:"Reason, told to everyone concerned." default:"withdrawn by an administrator"`
}

// Run cancels one request.
func (c *requestCancelCmd) Run(ctx context.Context, t terminal) error {
	var done map[string]string
	form := url.Values{"reason": {c.Reason}}
	if err := c.ask(ctx, t, question{http.MethodPost, "/requests/" + url.PathEscape(c.Name) + "/cancel", form, &done}); err != nil {
		return err
	}
	return c.print(t.out, done, func(out io.Writer) { fmt.Fprintf(out, "cancelled %s\n", done["id"]) })
}
