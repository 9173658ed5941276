package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"countersign/configs"
	"countersign/mailflow/engine"
	"countersign/signing/evidence"
	"countersign/signing/revocation"
)

// A gatherer lets an evidence fetcher gather for the engine.
type gatherer struct{ fetcher *evidence.Fetcher }

// newGatherer asks our own signing CA, if there is one, about its certificates, and the
// addresses that certificates name for all else.
func newGatherer(cfg *configs.Config, issuer *caIssuer) (gatherer, error) {
	o := evidence.FetcherOptions{Allow: cfg.Evidence.Allow}
	roots, err := evidenceFlags{Trust: trustFiles(cfg)}.roots()
	if err != nil {
		return gatherer{}, fmt.Errorf("evidence.trust: %w", err)
	}
	o.Roots = roots
	if issuer != nil {
		o.Sources = []evidence.Source{issuer.prove}
	}
	f, err := evidence.NewFetcher(o)
	if err != nil {
		return gatherer{}, fmt.Errorf("evidence.allow: %w", err)
	}
	return gatherer{f}, nil
}

// trustFiles lists the files with the roots that the configuration trusts.
func trustFiles(cfg *configs.Config) []string {
	if cfg.Evidence.Trust == "" {
		return nil
	}
	return []string{cfg.Evidence.Trust}
}

// prove is an evidence.Source: our own CA tells of its one-use certificates.
func (i *caIssuer) prove(ctx context.Context, cert, _ *x509.Certificate, _ time.Time) (revocation.Data, error) {
	if !i.ca.Issued(cert) {
		return revocation.Data{}, nil
	}
	return i.ca.Prove(ctx, cert, time.Now())
}

// Gather implements engine.Evidence.
func (g gatherer) Gather(ctx context.Context, subjects []revocation.Subject, known revocation.Data) (revocation.Data, error) {
	data, err := g.fetcher.Gather(ctx, subjects, known)
	if wait, ok := errors.AsType[*evidence.NotYetError](err); ok {
		return data, &engine.WaitError{Until: wait.RetryAt, Err: err}
	}
	if errors.Is(err, evidence.ErrRevoked) {
		return data, fmt.Errorf("%w: %w", engine.ErrRevoked, err)
	}
	return data, err
}
