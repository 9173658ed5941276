package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"countersign/configs"
	"countersign/mailflow/engine"
	"countersign/mailflow/inbox"
	"countersign/mailflow/outbox"
	"countersign/signing"
	"countersign/signing/evidence"
	"countersign/signing/keys/ca"
	"countersign/signing/keys/file"
	"countersign/signing/revocation"
)

// caKey is the name of the key that issues signers' certificates.
const caKey = "signing_ca"

// openKeys opens every configured key now, so that a wrong one is told at start.
func openKeys(cfg *configs.Config) (map[string]signing.Key, *caIssuer, error) {
	seals := map[string]signing.Key{}
	var issuer *caIssuer
	for name, k := range cfg.Keys {
		opts := file.Options{Path: k.File, Chain: k.Chain, Now: time.Now()}
		if k.PasswordFile != "" {
			secret, err := file.Secret(k.PasswordFile)
			if err != nil {
				return nil, nil, fmt.Errorf("keys.%s.password_file: %w", name, err)
			}
			opts.Password = secret
		}
		key, err := file.Open(opts)
		if err != nil {
			return nil, nil, fmt.Errorf("keys.%s: %w", name, err)
		}
		if name != caKey {
			seals[name] = key
			continue
		}
		o := ca.Options{Key: key}
		if k.IssuerURL != "" {
			o.IssuerURLs = []string{k.IssuerURL}
		}
		authority, err := ca.New(o)
		if err != nil {
			return nil, nil, fmt.Errorf("keys.%s: %w", name, err)
		}
		issuer = &caIssuer{authority, cfg.Organisation.Name}
	}
	return seals, issuer, nil
}

// caIssuer lets the signing CA issue for the engine.
type caIssuer struct {
	ca           *ca.CA
	organisation string
}

func (i *caIssuer) Issue(s engine.Signatory, now time.Time) (signing.Key, time.Time, error) {
	key, err := i.ca.Issue(context.Background(), ca.Subject{Name: s.Name, Address: s.Address, RequestID: s.Request}, now, rand.Reader)
	if err != nil {
		return nil, time.Time{}, err
	}
	return key, key.Chain()[0].NotAfter, nil
}

// stamper lets evidence clients stamp for the engine: one for each choice of
// authorities that a rule makes.
type stamper struct {
	all map[string]evidence.TSA // by URL
	def []string                // all URLs, in the configured order

	mu      sync.Mutex
	clients map[string]*evidence.Client
}

func newTimestamper(cfg *configs.Config) (*stamper, error) {
	s := &stamper{all: map[string]evidence.TSA{}, clients: map[string]*evidence.Client{}}
	trusted, err := evidenceFlags{Trust: trustFiles(cfg)}.rootPool()
	if err != nil {
		return nil, fmt.Errorf("evidence.trust: %w", err)
	}
	for i, t := range cfg.TSA {
		tsa := evidence.TSA{URL: t.URL, Timeout: time.Duration(t.Timeout), Username: t.Username, Roots: trusted}
		if tsa.Policy, err = policyOf(t.Policy); err != nil {
			return nil, fmt.Errorf("tsa[%d].policy: %w", i, err)
		}
		if t.PasswordFile != "" {
			secret, err := file.Secret(t.PasswordFile)
			if err != nil {
				return nil, fmt.Errorf("tsa[%d].password_file: %w", i, err)
			}
			tsa.Password = string(secret)
		}
		pool, err := certPool(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tsa[%d].ca_file: %w", i, err)
		}
		tsa.TLSRoots = pool
		s.all[t.URL] = tsa
		s.def = append(s.def, t.URL)
	}
	if len(cfg.TSA) > 0 {
		if _, err := s.client(nil); err != nil {
			return nil, fmt.Errorf("tsa: %w", err)
		}
	}
	return s, nil
}

// policyOf reads an object identifier; "" is none.
func policyOf(text string) (oid asn1.ObjectIdentifier, err error) {
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		oid = append(oid, n)
	}
	return oid, nil
}

var errNoTSA = errors.New("no time-stamping authority is configured: add one under tsa")

// client returns the client for these authorities.
func (s *stamper) client(urls []string) (*evidence.Client, error) {
	if len(urls) == 0 {
		urls = s.def
	}
	if len(urls) == 0 {
		return nil, errNoTSA
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.Join(urls, "\n")
	if c := s.clients[key]; c != nil {
		return c, nil
	}
	var o evidence.Options
	for _, u := range urls {
		t, ok := s.all[u]
		if !ok {
			return nil, fmt.Errorf("the time-stamping authority %s is not configured any more: put it back under tsa", u)
		}
		o.TSAs = append(o.TSAs, t)
	}
	c, err := evidence.New(o)
	if err == nil {
		s.clients[key] = c
	}
	return c, err
}

// Timestamp implements engine.Timestamper.
func (s *stamper) Timestamp(ctx context.Context, urls []string, signature []byte) ([]byte, time.Time, error) {
	c, err := s.client(urls)
	if err != nil {
		return nil, time.Time{}, err
	}
	token, err := c.Timestamp(ctx, signature, crypto.SHA256)
	return token.DER, token.Time, err
}

// TimestampDigest implements engine.Timestamper.
func (s *stamper) TimestampDigest(ctx context.Context, urls []string, digest []byte, h crypto.Hash) (engine.Stamp, error) {
	c, err := s.client(urls)
	if err != nil {
		return engine.Stamp{}, err
	}
	token, err := c.TimestampDigest(ctx, digest, h)
	if err != nil {
		return engine.Stamp{}, err
	}
	return engine.Stamp{DER: token.DER, Time: token.Time, Lasts: token.Signer.NotAfter}, nil
}

// Ready implements engine.Timestamper.
func (s *stamper) Ready(ctx context.Context, urls []string) error {
	c, err := s.client(urls)
	if err != nil || time.Since(c.LastOK()) < time.Minute {
		return err
	}
	return c.Probe(ctx)
}

// Authority implements engine.Timestamper.
func (s *stamper) Authority(urls []string) (revocation.Subject, bool) {
	c, err := s.client(urls)
	if err != nil {
		return revocation.Subject{}, false
	}
	return c.Authority()
}

// Room implements engine.Timestamper.
func (s *stamper) Room(urls []string) int {
	c, err := s.client(urls)
	if err != nil {
		return evidence.MinTokenRoom
	}
	return c.TokenRoom()
}

func certPool(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no pool means the system's
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return pool, nil
}

func passwordFrom(path string) func() (string, error) {
	return func() (string, error) {
		if path == "" {
			return "", nil
		}
		b, err := file.Secret(path)
		return string(b), err
	}
}

// relay hands letters to the SMTP server.
type relay struct{ sender *outbox.Sender }

func newRelay(c configs.SMTP) (relay, error) {
	pool, err := certPool(c.CAFile)
	if err != nil {
		return relay{}, fmt.Errorf("smtp.ca_file: %w", err)
	}
	return relay{outbox.New(outbox.Config{
		Address: c.Server, TLS: c.TLS, Username: c.Username, Password: passwordFrom(c.PasswordFile), HELO: c.Hello, RootCAs: pool,
	})}, nil
}

// Send implements engine.Relay.
func (r relay) Send(ctx context.Context, p engine.Posting) (engine.Outcome, string) {
	receipt, err := r.sender.Send(ctx, outbox.Envelope{From: p.From, To: []string{p.To}, EnvelopeID: p.ID}, p.Size, p.Write)
	var no *outbox.SendError
	switch {
	case err == nil:
		return engine.Accepted, receipt.Reply
	case !errors.As(err, &no):
		return engine.Later, err.Error()
	case no.Unknown:
		return engine.Unknown, err.Error()
	case no.Temporary:
		return engine.Later, err.Error()
	}
	return engine.Refused, err.Error()
}

func newReader(box configs.Mailbox, cfg *configs.Config, log *slog.Logger) (*inbox.Reader, error) {
	pool, err := certPool(box.IMAP.CAFile)
	if err != nil {
		return nil, fmt.Errorf("mailboxes: %s: imap.ca_file: %w", box.Name, err)
	}
	return inbox.New(inbox.Config{
		Name: box.Name, Address: box.IMAP.Server, TLS: box.IMAP.TLS, Username: box.IMAP.Username,
		Password: passwordFrom(box.IMAP.PasswordFile), Folder: box.IMAP.Folder,
		Processed: box.IMAP.Processed, Failed: box.IMAP.Failed, Poll: time.Duration(box.IMAP.Poll),
		RootCAs: pool, MaxSize: int64(cfg.Limits.Mail), Log: log, Parallel: 4,
	}), nil
}
