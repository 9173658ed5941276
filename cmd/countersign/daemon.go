package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"countersign/configs"
	"countersign/mailflow"
	"countersign/mailflow/engine"
	"countersign/mailflow/inbox"
	"countersign/mailflow/sender"
	"countersign/mailflow/web"
	"countersign/signing/inspect"
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
	second  *inspect.Pool // the second reader of PDFs
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
	evidence, err := newGatherer(cfg, issuer)
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
	if d.second, err = newInspector(min(2, runtime.NumCPU())); err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	d.engine, err = engine.New(engine.Config{
		Store: d.store, Blobs: blobFiles{blobStore}, Secrets: secrets, Rules: rules,
		Organisation: cfg.Organisation.Name, Domains: cfg.Organisation.Domains, Admin: cfg.Admin,
		Mailboxes: mailboxes(cfg), Relay: relay, Seals: seals, Issuer: issuer, TSA: tsa, Evidence: evidence,
		Limits: engine.Limits{Document: int64(cfg.Limits.PDF), Mail: int64(cfg.Limits.Mail), Documents: cfg.Limits.Documents},
		Log:    log, Inspector: d.second,
	})
	if err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	d.intake = &intake{engine: d.engine, blobs: blobStore}
	if err := d.addReaders(); err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	return d, nil
}

// addReaders makes a reader for each mailbox.
func (d *daemon) addReaders() error {
	for _, box := range d.cfg.Mailboxes {
		r, err := newReader(box, d.cfg, d.log)
		if err != nil {
			return err
		}
		d.readers = append(d.readers, r)
	}
	return nil
}

func mailboxes(cfg *configs.Config) []engine.Mailbox {
	var boxes []engine.Mailbox
	for _, box := range cfg.Mailboxes {
		boxes = append(boxes, engine.Mailbox{
			Name: box.Name, Address: box.Address.Addr,
			Sender: sender.Config{Hops: box.Hops, AuthservID: box.AuthservID, OwnDomains: cfg.Organisation.Domains, LoginDomain: box.LoginDomain},
		})
	}
	return boxes
}

// run serves until ctx ends, then waits for what is in work.
func (d *daemon) run(ctx context.Context) error {
	defer d.store.Close()
	d.second.Start()
	defer d.second.Close()
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

// status tells how the outside parts are.
func (d *daemon) status() any {
	var boxes []inbox.Status
	for _, r := range d.readers {
		boxes = append(boxes, r.Status())
	}
	return map[string]any{"mailboxes": boxes}
}
