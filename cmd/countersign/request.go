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
	"sort"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"countersign/configs"
	"countersign/mailflow"
	"countersign/mailflow/web"
)

type requestCmd struct {
	List   requestListCmd   `cmd:"" help:"List requests, newest first, and what each waits for."`
	Show   requestShowCmd   `cmd:"" help:"Show all about one request."`
	Cancel requestCancelCmd `cmd:"" help:"End a request; everyone concerned is told."`
}

// where names the daemon to talk to.
type where struct {
	Config string `help:"Configuration file of the daemon." placeholder:"FILE" xor:"where" required:""`
	State  string `help:"Or its state directory." placeholder:"DIR" xor:"where" required:""`
	JSON   bool   `help:"Print JSON; docs/formats.md tells its keys." name:"json"`
}

// ask asks the running daemon.
func (w *where) ask(ctx context.Context, method, path string, form url.Values, v any) error {
	state := w.State
	if state == "" {
		cfg, err := configs.Load(w.Config)
		if err != nil {
			return err
		}
		state = cfg.State
	}
	socket := filepath.Join(state, socketFile)
	err := web.NewClient(socket).Do(ctx, method, path, form, v)
	switch {
	case errors.As(err, new(*web.Error)):
		return noError{err}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no daemon answers at %s: start countersign serve, or name its state directory", socket)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s: only the daemon's own user and root may ask it", socket)
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
	if err := c.ask(ctx, http.MethodGet, "/requests", form, &list); err != nil {
		return err
	}
	var status struct{ Counters map[string]int }
	if err := c.ask(ctx, http.MethodGet, "/status", nil, &status); err != nil {
		return err
	}
	return c.print(t.out, list, func(out io.Writer) {
		tw := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(tw, "REF\tSTATE\tRULE\tSENDER\tCREATED\tSUBJECT\tWAITS FOR")
		for _, s := range list {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Ref, s.State, s.Rule, s.Sender, stamp(s.Created), s.Subject, s.Waits)
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
	})
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

type requestShowCmd struct {
	where
	Name string `arg:"" help:"Reference (7K3F9Q) or identifier of the request."`
}

// Run shows one request.
func (c *requestShowCmd) Run(ctx context.Context, t terminal) error {
	var d mailflow.Details
	if err := c.ask(ctx, http.MethodGet, "/requests/"+url.PathEscape(c.Name), nil, &d); err != nil {
		return err
	}
	return c.print(t.out, d, func(out io.Writer) { showDetails(out, &d) })
}

func showDetails(out io.Writer, d *mailflow.Details) {
	fmt.Fprintf(out, "Request %s (%s)\nState:    %s\n", d.Ref, d.ID, d.State)
	for _, w := range strings.Split(d.Waits, "; ") {
		if w != "" {
			fmt.Fprintf(out, "Waits:    %s\n", w)
		}
	}
	if d.Ended != "" {
		fmt.Fprintf(out, "Ended:    %s\n", d.Ended)
	}
	fmt.Fprintf(out, "Subject:  %s\nSender:   %s\nRule:     %s\nCreated:  %s, expires %s\n", d.Subject, d.Sender, d.Rule, stamp(d.Created), stamp(d.Expires))
	for _, p := range d.Problems {
		fmt.Fprintf(out, "Asked:    %s %s\n", p.Kind, strings.Join(p.Args, ", "))
	}
	if d.H != "" {
		fmt.Fprintf(out, "H:        %s\n", d.H)
	}
	for _, doc := range d.Documents {
		fmt.Fprintf(out, "Document: %s, %d page(s)\n", doc.Name, doc.Pages)
	}
	for _, p := range d.Parties {
		fmt.Fprintf(out, "Party %s: %s %s, %s", p.ID, p.Role, p.Address, p.State)
		if !p.Answered.IsZero() {
			fmt.Fprintf(out, " at %s (level %s)", stamp(p.Answered), p.Level)
		}
		fmt.Fprintln(out)
	}
	for _, l := range d.Letters {
		fmt.Fprintf(out, "Letter:   %s to %s: %s %s %s\n", l.Kind, l.To, l.State, stamp(l.At), l.Text)
	}
	for _, p := range d.Pending {
		fmt.Fprintf(out, "Pending:  %s, due %s, %d attempt(s) %s\n", p.Kind, stamp(p.Due), p.Attempts, p.Note)
	}
	for _, h := range d.History {
		fmt.Fprintf(out, "History:  %s %s %s\n", stamp(h.Time), h.Event, h.Party)
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
	if err := c.ask(ctx, http.MethodPost, "/requests/"+url.PathEscape(c.Name)+"/cancel", form, &done); err != nil {
		return err
	}
	return c.print(t.out, done, func(out io.Writer) { fmt.Fprintf(out, "cancelled %s\n", done["id"]) })
}
