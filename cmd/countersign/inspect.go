package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"countersign/mailflow"
	"countersign/signing/inspect"
	"countersign/signing/inventory"
	"countersign/signing/pdf"
)

// inspectWorkerCmd is what the children of an inspection run; nobody calls it by hand.
type inspectWorkerCmd struct{}

// Run reads documents from standard input and answers on standard output.
func (*inspectWorkerCmd) Run(t terminal) error {
	return inspect.Worker(os.Stdin, t.out, inspect.DefaultLimits)
}

// newInspector starts the second reader in children of this program.
func newInspector(workers int) (*inspect.Pool, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("starting the second reader: %w", err)
	}
	return inspect.New(inspect.Options{Command: []string{self, "inspect-worker"}, Workers: workers}), nil
}

// inspectFlags say what sign does about what is found in a document.
type inspectFlags struct {
	Inspect string `help:"What to do about scripts, attached files, hidden content and the like in the document: ${enum}. refuse refuses what a rule refuses by default (docs/configuration.md) and warns of the rest." enum:"warn,refuse,off" default:"warn"`
}

// An inspection goes on while the document is prepared.
type inspection struct {
	flags inspectFlags
	name  string
	warn  io.Writer
	stop  context.CancelFunc
	done  chan struct{}
	found inventory.Report
	err   error
}

// inspect starts to look at the document at path; the result is needed before a key
// is asked.
func (f inspectFlags) inspect(ctx context.Context, path string, warn io.Writer) *inspection {
	ctx, stop := context.WithCancel(ctx)
	i := &inspection{flags: f, name: path, warn: warn, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(i.done)
		if f.Inspect != "off" {
			i.found, i.err = inspectFile(ctx, path)
		}
	}()
	return i
}

// inspectFile reads a file with both readers at once.
func inspectFile(ctx context.Context, path string) (r inventory.Report, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return r, err
	}
	pool, err := newInspector(1)
	if err != nil {
		return r, err
	}
	defer pool.Close()
	type second struct {
		reading inventory.Reading
		err     error
	}
	answer := make(chan second, 1)
	go func() {
		reading, err := pool.Read(ctx, f, st.Size())
		answer <- second{reading, err}
	}()
	own, err := pdf.Open(f, st.Size())
	if err == nil {
		r, err = inventory.Take(own)
	}
	s := <-answer
	if err != nil {
		return r, err
	}
	return r, r.Compare(s.reading, s.err)
}

// end ends the inspection, whatever it is at.
func (i *inspection) end() {
	i.stop()
	<-i.done
}

// wait tells what was found, and returns an error if the document is to be refused. A
// document that our reader refuses is none of its business: so does signing.
func (i *inspection) wait() error {
	<-i.done
	if errors.As(i.err, new(*pdf.RefusedError)) {
		return nil
	}
	if i.err != nil {
		return fmt.Errorf("inspecting %s: %w", i.name, i.err)
	}
	defaults := inventory.Defaults()
	no := i.found.Under(defaults, inventory.Refuse)
	for _, f := range append(slices.Clone(no), i.found.Under(defaults, inventory.Warn)...) {
		fmt.Fprintf(i.warn, "countersign: %s: %s: %s%s\n", i.name, f.Class, f, times(f.Times))
	}
	if len(no) == 0 || i.flags.Inspect != "refuse" {
		return nil
	}
	return noError{fmt.Errorf("it is refused for what it holds besides its pages: %s; print it as a new PDF, which leaves such things out, or accept them with --inspect warn", no[0].Class.Words())}
}

func times(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(", %d times", n)
}

// showFindings prints what a document of a request holds besides its pages.
func showFindings(out io.Writer, doc mailflow.DocumentStatus) {
	for _, f := range doc.Findings {
		fmt.Fprintf(out, "Found:    %s: %s", f.Class, f.What)
		if f.Where != "" {
			fmt.Fprintf(out, " (%s)", f.Where)
		}
		fmt.Fprintln(out, times(f.Times))
	}
	var counts []string
	for _, class := range slices.Sorted(maps.Keys(doc.Counts)) {
		counts = append(counts, fmt.Sprintf("%s %d", class, doc.Counts[class]))
	}
	if len(counts) > 0 {
		fmt.Fprintf(out, "In all:   %s\n", strings.Join(counts, ", "))
	}
	for _, a := range doc.Attached {
		fmt.Fprintf(out, "Attached: “%s”, %d bytes, SHA-256 %s\n", a.Name, a.Size, a.SHA256)
	}
}
