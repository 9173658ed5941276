package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"countersign/configs"
	"countersign/mailflow"
	"countersign/mailflow/engine"
	"countersign/mailflow/inbox"
	"countersign/mailflow/outbox"
	"countersign/mailflow/sender"
	"countersign/mailflow/web"
	"countersign/signing"
	"countersign/signing/evidence"
	"countersign/signing/keys/ca"
	"countersign/signing/keys/file"
	"countersign/store"
	"countersign/store/blobs"
	"countersign/store/boltstore"
)

// A daemon is everything that serve runs, joined.
type daemon struct {
	cfg     *configs.Config
	log     *slog.Logger
	store   *boltstore.Store
	engine  *engine.Engine
	readers []*inbox.Reader
	intake  *intake
}

// stateFiles names what is in the state directory.
const (
	databaseFile = "countersign.db"
	blobsDir     = "blobs"
	secretFile   = "secret.key"
	socketFile   = "admin.sock"
)

// newDaemon opens state and keys and joins the parts; it starts nothing.
func newDaemon(cfg *configs.Config, log *slog.Logger) (*daemon, error) {
	if err := os.MkdirAll(cfg.State, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	master, err := masterSecret(cfg)
	if err != nil {
		return nil, err
	}
	secrets, err := mailflow.NewSecrets(master)
	if err != nil {
		return nil, err
	}
	seals, issuer, err := openKeys(cfg)
	if err != nil {
		return nil, err
	}
	tsa, err := newTimestamper(cfg)
	if err != nil {
		return nil, err
	}
	relay, err := newRelay(cfg.SMTP)
	if err != nil {
		return nil, err
	}
	rules, err := cfg.CompileRules()
	if err != nil {
		return nil, err
	}
	d := &daemon{cfg: cfg, log: log}
	if d.store, err = boltstore.Open(filepath.Join(cfg.State, databaseFile), boltstore.Options{}); err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.State, blobsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	blobStore, err := blobs.Open(dir)
	if err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	d.engine, err = engine.New(engine.Config{
		Store: d.store, Blobs: blobFiles{blobStore}, Secrets: secrets, Rules: rules,
		Organisation: cfg.Organisation.Name, Domains: cfg.Organisation.Domains,
		Mailboxes: mailboxes(cfg), Relay: relay, Seals: seals, Issuer: issuer, TSA: tsa,
		Limits: engine.Limits{Document: int64(cfg.Limits.PDF), Mail: int64(cfg.Limits.Mail), Documents: cfg.Limits.Documents},
		Log:    log,
	})
	if err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	d.intake = &intake{engine: d.engine, blobs: blobStore}
	for _, box := range cfg.Mailboxes {
		r, err := newReader(box, cfg, log)
		if err != nil {
			return nil, errors.Join(err, d.store.Close())
		}
		d.readers = append(d.readers, r)
	}
	return d, nil
}

func mailboxes(cfg *configs.Config) []engine.Mailbox {
	var boxes []engine.Mailbox
	for _, box := range cfg.Mailboxes {
		boxes = append(boxes, engine.Mailbox{
			Name: box.Name, Address: box.Address.Addr,
			Sender: sender.Config{Hops: box.Hops, AuthservID: box.AuthservID, OwnDomains: cfg.Organisation.Domains},
		})
	}
	return boxes
}

// run serves until ctx ends, then waits for what is in work.
func (d *daemon) run(ctx context.Context) error {
	defer d.store.Close()
	stop, err := web.ServeSocket(filepath.Join(d.cfg.State, socketFile), web.Admin(d.engine, d.status))
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(d.engine.Run(ctx)) })
	for _, r := range d.readers {
		wg.Go(func() {
			// Only settings that cannot work end a reader before ctx does.
			if err := r.Run(ctx, d.intake); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// masterSecret reads the master secret, or makes it at the first start.
func masterSecret(cfg *configs.Config) ([]byte, error) {
	path := cfg.Secrets.File
	if path == "" {
		path = filepath.Join(cfg.State, secretFile)
	}
	b, err := os.ReadFile(path)
	switch {
	case err == nil && len(b) != mailflow.SecretSize:
		return nil, fmt.Errorf("%s has %d bytes, want %d: restore it from a backup; with another secret, letters and codes already sent are void", path, len(b), mailflow.SecretSize)
	case err == nil:
		return b, checkPrivate(path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the master secret: %w", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.State, databaseFile)); err == nil {
		return nil, fmt.Errorf("%s is missing although there is a database: restore it from a backup; with a new secret, letters and codes already sent would be void", path)
	}
	b = make([]byte, mailflow.SecretSize)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	return b, writeSynced(path, b)
}

func checkPrivate(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be read by others (mode %04o): chmod 600 it", path, st.Mode().Perm())
	}
	return nil
}

// writeSynced writes a new private file so that it is whole after a crash.
func writeSynced(path string, b []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// caKey is the name of the key that issues signers' certificates.
const caKey = "signing_ca"

// openKeys opens every configured key now, so that a wrong one is told at start.
func openKeys(cfg *configs.Config) (map[string]signing.Key, engine.Issuer, error) {
	seals := map[string]signing.Key{}
	var issuer engine.Issuer
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
		authority, err := ca.New(ca.Options{Key: key})
		if err != nil {
			return nil, nil, fmt.Errorf("keys.%s: %w", name, err)
		}
		issuer = caIssuer{authority, cfg.Organisation.Name}
	}
	return seals, issuer, nil
}

// caIssuer lets the signing CA issue for the engine.
type caIssuer struct {
	ca           *ca.CA
	organisation string
}

func (i caIssuer) Issue(s engine.Signatory, now time.Time) (signing.Key, time.Time, error) {
	key, err := i.ca.Issue(context.Background(), ca.Subject{Name: s.Name, Address: s.Address, RequestID: s.Request}, now, rand.Reader)
	if err != nil {
		return nil, time.Time{}, err
	}
	return key, key.Chain()[0].NotAfter, nil
}

// stamper lets an evidence client stamp for the engine.
type stamper struct{ client *evidence.Client }

func newTimestamper(cfg *configs.Config) (engine.Timestamper, error) {
	if len(cfg.TSA) == 0 {
		return stamper{}, nil
	}
	var o evidence.Options
	for i, t := range cfg.TSA {
		tsa := evidence.TSA{URL: t.URL, Timeout: time.Duration(t.Timeout), Username: t.Username}
		if t.PasswordFile != "" {
			secret, err := file.Secret(t.PasswordFile)
			if err != nil {
				return nil, fmt.Errorf("tsa[%d].password_file: %w", i, err)
			}
			tsa.Password = string(secret)
		}
		if t.CAFile != "" {
			pool, err := certPool(t.CAFile)
			if err != nil {
				return nil, fmt.Errorf("tsa[%d].ca_file: %w", i, err)
			}
			tsa.TLSRoots = pool
		}
		o.TSAs = append(o.TSAs, tsa)
	}
	client, err := evidence.New(o)
	if err != nil {
		return nil, fmt.Errorf("tsa: %w", err)
	}
	return stamper{client}, nil
}

var errNoTSA = errors.New("no time-stamping authority is configured: add one under tsa")

func (s stamper) Timestamp(ctx context.Context, signature []byte) ([]byte, time.Time, error) {
	if s.client == nil {
		return nil, time.Time{}, errNoTSA
	}
	token, err := s.client.Timestamp(ctx, signature, crypto.SHA256)
	return token.DER, token.Time, err
}

func (s stamper) Ready(ctx context.Context) error {
	if s.client == nil {
		return errNoTSA
	}
	if time.Since(s.client.LastOK()) < time.Minute {
		return nil
	}
	return s.client.Probe(ctx)
}

func (s stamper) Room() int { return s.client.TokenRoom() }

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
		RootCAs: pool, MaxSize: int64(cfg.Limits.Mail), Log: log.With("mailbox", box.Name), Parallel: 4,
	}), nil
}

// blobFiles lets the engine use the blobs on disk.
type blobFiles struct{ *blobs.Store }

// Create implements store.Blobs.
func (b blobFiles) Create() (store.BlobWriter, error) { return b.Store.Create() }

// Open implements store.Blobs.
func (b blobFiles) Open(digest string) (store.Blob, error) { return b.Store.Open(digest) }

// intake hands mails from the mailboxes to the engine.
type intake struct {
	engine *engine.Engine
	blobs  *blobs.Store
}

// spool is a mail on its way into the blobs.
type spool struct{ *blobs.Writer }

// Discard implements inbox.Spool.
func (s spool) Discard() { _ = s.Close() } // what an interrupted writer leaves, the next start removes

// Spool implements inbox.Handler.
func (i *intake) Spool() (inbox.Spool, error) {
	w, err := i.blobs.Create()
	if err != nil {
		return nil, err
	}
	return spool{w}, nil
}

// Handle implements inbox.Handler.
func (i *intake) Handle(ctx context.Context, m inbox.Mail) (inbox.Verdict, error) {
	in, err := keep(m)
	if err != nil {
		return inbox.Later, err
	}
	switch disposition, err := i.engine.Receive(ctx, in); {
	case err != nil:
		return inbox.Later, err
	case disposition == engine.SetAside:
		return inbox.SetAside, nil
	}
	return inbox.Done, nil
}

// GiveUp implements inbox.Handler.
func (i *intake) GiveUp(ctx context.Context, m inbox.Mail, reason error) error {
	in := engine.Inbound{Mailbox: m.Mailbox, Size: m.Size, Received: m.InternalDate}
	if m.Raw != nil {
		var err error
		if in, err = keep(m); err != nil {
			return err
		}
	}
	return i.engine.GiveUp(ctx, in, fmt.Sprintf("%d/%d", m.UIDValidity, m.UID), reason)
}

// keep makes the raw mail durable.
func keep(m inbox.Mail) (engine.Inbound, error) {
	digest, _, err := m.Raw.(spool).Commit()
	if err != nil {
		return engine.Inbound{}, fmt.Errorf("keeping the mail %d: %w", m.UID, err)
	}
	received := m.InternalDate
	if received.IsZero() {
		received = time.Now()
	}
	return engine.Inbound{
		Mailbox: m.Mailbox, Blob: mailflow.Blob(digest), Size: m.Size, Received: received, Truncated: m.Truncated,
	}, nil
}

// status tells how the outside parts are.
func (d *daemon) status() any {
	var boxes []inbox.Status
	for _, r := range d.readers {
		boxes = append(boxes, r.Status())
	}
	return map[string]any{"mailboxes": boxes}
}
