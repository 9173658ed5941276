package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"countersign/configs"
)

type configCmd struct {
	Check   configCheckCmd   `cmd:"" help:"Read a configuration and the files it names, and tell all problems at once."`
	Example configExampleCmd `cmd:"" help:"Print a complete configuration to begin with."`
}

type configCheckCmd struct {
	File string `arg:"" help:"Configuration file (YAML)."`
}

// Run checks a configuration.
func (c *configCheckCmd) Run(t terminal) error {
	cfg, err := loadConfig(c.File)
	if err != nil {
		return err
	}
	if _, _, err := openKeys(cfg); err != nil {
		return noError{err}
	}
	if _, err := newGatherer(cfg, nil); err != nil {
		return noError{err}
	}
	fmt.Fprintf(t.out, "%s: no problems; %d mailbox(es), %d rule(s)\n", c.File, len(cfg.Mailboxes), len(cfg.Rules))
	return nil
}

// readConfig reads a configuration. What is wrong with its contents is a clear no.
func readConfig(path string) (*configs.Config, error) {
	cfg, err := configs.Load(path)
	if errors.As(err, new(configs.Problems)) {
		return nil, noError{err}
	}
	return cfg, err
}

// loadConfig reads a configuration and looks at the files it names.
func loadConfig(path string) (*configs.Config, error) {
	cfg, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	if ps := cfg.CheckFiles(); len(ps) > 0 {
		return nil, noError{configs.Problems(ps)}
	}
	return cfg, nil
}

type configExampleCmd struct{}

// Run prints the example.
func (configExampleCmd) Run(t terminal) error {
	_, err := t.out.Write(configs.Example())
	return err
}

type serveCmd struct {
	Config string `required:"" help:"Configuration file (YAML); see countersign config example." placeholder:"FILE"`
	Debug  bool   `help:"Log more."`
}

// Run serves until the process is told to end.
func (c *serveCmd) Run(ctx context.Context, t terminal) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if c.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(t.err, &slog.HandlerOptions{Level: level}))
	d, err := newDaemon(cfg, log)
	if err != nil {
		return err
	}
	log.Info("serving", "mailboxes", len(cfg.Mailboxes), "rules", len(cfg.Rules), "state", cfg.State)
	return d.run(ctx)
}
