package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"countersign/signing"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

type extendCmd struct {
	Level     string `help:"PAdES level: B-LT (evidence), B-LTA (evidence and document timestamp), or B-T (document timestamp alone, for signatures that have none; evidence can follow later)." enum:"B-T,B-LT,B-LTA" default:"B-LTA"`
	OverLocks bool   `help:"Add a document timestamp although a signature locks all fields. The standard permits it, but some validators (EU DSS) call that signature invalid then."`
	evidenceFlags
	In  string `arg:"" name:"in.pdf" help:"Signed PDF."`
	Out string `arg:"" name:"out.pdf" help:"Extended PDF; it begins, byte for byte, with the input."`
}

// Run adds to a signed file what proves its signatures for long.
func (c *extendCmd) Run(ctx context.Context, t terminal) error {
	if err := checkPaths(c.In, c.Out); err != nil {
		return err
	}
	if c.Level != "B-LT" && len(c.TSA) == 0 {
		return fmt.Errorf("--level %s needs a time-stamping authority: give --tsa URL", c.Level)
	}
	p, err := c.newProver(c.Level)
	if err != nil {
		return err
	}
	p.strict = !c.OverLocks
	var all []extended
	err = inScratch(c.Out, func(dir string) (path string, err error) {
		all, path, err = c.extend(ctx, extending{t, p, dir})
		return path, err
	})
	if err != nil {
		return refusal(fmt.Errorf("extending %s: %w", c.In, err))
	}
	fmt.Fprintf(t.out, "%s: level %s; %s; SHA-256 %s\n", c.Out, c.Level, told(all), all[len(all)-1].SHA256)
	return nil
}

// An extending is what one run of extend works with.
type extending struct {
	terminal
	prover
	dir string // for scratch files
}

// extend makes one increment, or two if a signature has no timestamp yet: evidence must be
// younger than the time that it is about, so that time has to be proven first.
func (c *extendCmd) extend(ctx context.Context, r extending) (all []extended, path string, err error) {
	path = c.In
	add := func(level string, data revocation.Data) error {
		next := filepath.Join(r.dir, fmt.Sprintf("%d.pdf", len(all)+1))
		e, err := r.prover.extend(ctx, level, path, next, data)
		all, path = append(all, e), next
		return err
	}
	subjects, known, err := subjectsOf(path)
	if err != nil {
		return nil, "", err
	}
	r.warn(subjects[len(subjects)-1])
	if c.Level == "B-T" || slices.ContainsFunc(subjects, func(s revocation.Subject) bool { return s.At.IsZero() }) {
		if r.client == nil {
			return nil, "", errors.New("a signature in it has no timestamp; give --tsa URL")
		}
		if err := add("B-T", revocation.Data{}); err != nil || c.Level == "B-T" {
			return all, path, err
		}
		if subjects, known, err = subjectsOf(path); err != nil {
			return nil, "", err
		}
	}
	for i := range subjects { // without a timestamp to come, what the file has will do
		subjects[i].Current = subjects[i].Current && c.Level == "B-LTA"
	}
	if c.Level == "B-LTA" && r.client != nil {
		// The authority may have another certificate by now, of which the file must tell too.
		if err := withFlag(r.client.Probe(ctx)); err != nil {
			return nil, "", err
		}
		if a, ok := r.client.Authority(); ok {
			subjects = append(subjects, a)
		}
	}
	data, err := r.gather(ctx, subjects, known)
	if err != nil {
		return nil, "", err
	}
	err = add(c.Level, data)
	return all, path, err
}

func subjectsOf(path string) (subjects []revocation.Subject, known revocation.Data, err error) {
	err = withFile(path, func(f io.ReaderAt, size int64) (err error) {
		subjects, known, err = signing.Subjects(f, size)
		return err
	})
	return subjects, known, err
}

// warn tells that the file's last timestamp has run out.
func (r extending) warn(last revocation.Subject) {
	if end := last.Certs[0].NotAfter; last.TimeStamping && time.Now().After(end) {
		fmt.Fprintf(r.err, "warning: the certificate of %s ended on %s; validators may not accept what is added only now\n", last.What, day(end))
	}
}

// refusal makes a clear no of what says that this file cannot be extended.
func refusal(err error) error {
	if errors.Is(err, pades.ErrLocks) {
		return noError{fmt.Errorf("%w; --level B-LT adds the evidence alone, and extend --over-locks the timestamp all the same", err)}
	}
	_, refused := errors.AsType[*pdf.RefusedError](err)
	if refused || errors.Is(err, signing.ErrBroken) || errors.Is(err, pades.ErrNothingToAdd) {
		return noError{err}
	}
	return err
}

// told says what was added by all increments together.
func told(all []extended) string {
	var n pades.Counts
	for _, e := range all {
		n.Certs, n.OCSPs, n.CRLs = n.Certs+e.x.Added.Certs, n.OCSPs+e.x.Added.OCSPs, n.CRLs+e.x.Added.CRLs
	}
	s := fmt.Sprintf("added %s, %s, %s", count(n.Certs, "certificate"), count(n.OCSPs, "OCSP response"), count(n.CRLs, "revocation list"))
	last := all[len(all)-1]
	if !last.x.Timestamped() {
		return s
	}
	return s + fmt.Sprintf("; timestamped %s; extend it again before %s, when the timestamp's certificate ends",
		last.token.Time.UTC().Format(time.RFC3339), day(last.token.Signer.NotAfter))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
