package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"countersign/signing"
	"countersign/signing/certpath"
	"countersign/signing/evidence"
	"countersign/signing/revocation"
	"countersign/signing/timestamp"
)

// levels are the PAdES baseline levels, each with all of the ones before it (EN 319
// 142-1, clause 6).
var levels = []string{"B-B", "B-T", "B-LT", "B-LTA"}

// evidenceFlags say where to get what proves signatures for long.
type evidenceFlags struct {
	TSA          []string `name:"tsa" help:"Time-stamping authority (RFC 3161), tried in the order given." placeholder:"URL"`
	Trust        []string `help:"Certificates (PEM) at which the path of every signer and authority must end. Default: any root that comes with the signature or from its issuer." placeholder:"FILE"`
	AllowPrivate []string `help:"Fetch evidence from this host or network, too, though it is private or on this machine." placeholder:"HOST|CIDR"`
}

// levelOf checks a level that was asked for; "" is the highest one that can be had.
func (f evidenceFlags) levelOf(asked string, demo bool) (string, error) {
	stamped := demo || len(f.TSA) > 0
	switch {
	case asked == "" && stamped:
		return "B-LTA", nil
	case asked == "":
		return "B-B", nil
	case !slices.Contains(levels, asked):
		return "", fmt.Errorf("--level %s: choose %s", asked, strings.Join(levels, ", "))
	case asked != "B-B" && !stamped:
		return "", fmt.Errorf("--level %s needs a time-stamping authority: give --tsa URL", asked)
	}
	return asked, nil
}

// atLeast compares levels.
func atLeast(level, wanted string) bool {
	return slices.Index(levels, level) >= slices.Index(levels, wanted)
}

// roots reads the files of --trust.
func (f evidenceFlags) roots() ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, path := range f.Trust {
		certs, err := readRoots(path)
		if err != nil {
			return nil, fmt.Errorf("--trust: %w", err)
		}
		out = append(out, certs...)
	}
	return out, nil
}

// readRoots reads the certificates of a PEM file, at least one.
func readRoots(path string) ([]*x509.Certificate, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no certificate in PEM form; give a file with the roots to trust", path)
	}
	return out, nil
}

// rootPool is roots for a time-stamping client; nil if none are given.
func (f evidenceFlags) rootPool() (*x509.CertPool, error) {
	roots, err := f.roots()
	if err != nil || len(roots) == 0 {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range roots {
		pool.AddCert(c)
	}
	return pool, nil
}

// A prover gets timestamps and evidence.
type prover struct {
	client  *evidence.Client // nil: no timestamps
	fetcher *evidence.Fetcher
	strict  bool // respect locks as every validator reads them
}

// newProver makes the clients that a level needs.
func (f evidenceFlags) newProver(level string) (prover, error) {
	var p prover
	var err error
	if len(f.TSA) > 0 && level != "B-B" {
		trusted, err := f.rootPool()
		if err != nil {
			return p, err
		}
		if p.client, err = evidence.New(evidence.Options{TSAs: tsas(f.TSA, trusted)}); err != nil {
			return p, fmt.Errorf("--tsa: %w", err)
		}
	}
	if !atLeast(level, "B-LT") {
		return p, nil
	}
	roots, err := f.roots()
	if err != nil {
		return p, err
	}
	p.fetcher, err = evidence.NewFetcher(evidence.FetcherOptions{Roots: roots, Allow: f.AllowPrivate})
	if err != nil {
		return p, fmt.Errorf("--allow-private: %w", err)
	}
	return p, nil
}

// maxWait is how long to wait for an answer newer than the signature.
const maxWait = 2 * time.Minute

// gather gets the evidence for subjects, if need be a little later.
func (p prover) gather(ctx context.Context, subjects []revocation.Subject, known revocation.Data) (revocation.Data, error) {
	deadline := time.Now().Add(maxWait)
	for {
		data, err := p.fetcher.Gather(ctx, subjects, known)
		later, early := errors.AsType[*evidence.NotYetError](err)
		switch {
		case errors.Is(err, evidence.ErrRevoked):
			return data, noError{err}
		case !early:
			return data, withFlag(err)
		case later.RetryAt.After(deadline):
			return data, fmt.Errorf("what proves it is yet to be published; take --level B-T now, and run countersign extend on that file later: %w", err)
		}
		select {
		case <-ctx.Done():
			return data, ctx.Err()
		case <-time.After(time.Until(later.RetryAt)):
		}
	}
}

// withFlag adds which flag may help to get evidence.
func withFlag(err error) error {
	if errors.Is(err, evidence.ErrForbidden) {
		return fmt.Errorf("%w; to allow it, give --allow-private with the host or network", err)
	}
	_, missing := errors.AsType[*certpath.MissingError](err)
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); missing || unknown {
		return fmt.Errorf("%w; roots and missing certificates are given with --trust FILE", err)
	}
	return err
}

// An extended says what an extension added.
type extended struct {
	signing.Result
	x     signing.Extension
	token timestamp.Token // zero at level B-LT
}

// extend writes the file out, which is in with validation data and, but at level B-LT, a
// document timestamp.
func (p prover) extend(ctx context.Context, level string, in, out string, data revocation.Data) (e extended, err error) {
	if level != "B-LT" {
		if err := p.ready(ctx); err != nil {
			return e, err
		}
	}
	err = rewrite(in, out, func(w, base *os.File, size int64) error {
		if err := p.layOut(ctx, &e, extension{base, size, level, data}); err != nil {
			return err
		}
		e.Result, err = signing.FinishExtension(w, base, e.x, e.token.DER)
		return err
	})
	if err != nil {
		return e, err
	}
	return e, withFile(out, func(f io.ReaderAt, size int64) error { return signing.CheckExtension(f, size, e.x) })
}

// withFile opens a file for a look at it.
func withFile(path string, look func(f io.ReaderAt, size int64) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return look(f, st.Size())
}

// ready gets a token, unless one came already, so that the room that tokens need is known.
func (p prover) ready(ctx context.Context) error {
	if p.client == nil || !p.client.LastOK().IsZero() {
		return nil
	}
	return withFlag(p.client.Probe(ctx))
}

// An extension is what to add to which file.
type extension struct {
	base  io.ReaderAt
	size  int64
	level string
	data  revocation.Data
}

// layOut fills in the increment and its token. Should another authority step in, whose
// tokens are larger or whose certificate is not proven yet, the increment is made anew.
func (p prover) layOut(ctx context.Context, e *extended, in extension) (err error) {
	params := signing.ExtensionParams{Data: in.data, Strict: p.strict}
	for range 3 {
		if in.level != "B-LT" {
			params.TokenRoom = p.client.TokenRoom()
		}
		if e.x, err = signing.NewExtension(in.base, in.size, params); err != nil || !e.x.Timestamped() {
			return err
		}
		e.token, err = p.client.TimestampDigest(ctx, e.x.Digest, crypto.SHA256)
		if err != nil {
			return err
		}
		proved := true
		if in.level == "B-LTA" {
			if proved, err = p.proveStamp(ctx, e.token.DER, &params.Data); err != nil {
				return err
			}
		}
		if proved && len(e.token.DER) <= params.TokenRoom {
			return err
		}
	}
	return nil
}

// proveStamp adds what proves the authority that made a token, unless it is in data already.
func (p prover) proveStamp(ctx context.Context, token []byte, data *revocation.Data) (already bool, err error) {
	s, err := signing.AuthorityOf(token)
	if err != nil || p.fetcher == nil {
		return true, err
	}
	if slices.ContainsFunc(data.Certs, func(der []byte) bool { return bytes.Equal(der, s.Certs[0].Raw) }) {
		return true, nil
	}
	more, err := p.gather(ctx, []revocation.Subject{s}, *data)
	data.Add(more)
	return false, err
}

// inScratch runs write with a directory beside out, and moves the file whose path it returns
// to its place.
func inScratch(out string, write func(dir string) (string, error)) error {
	dir, err := os.MkdirTemp(filepath.Dir(out), ".countersign-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := write(dir)
	if err != nil {
		return err
	}
	return publish(path, out)
}
