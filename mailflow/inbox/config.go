// Package inbox reads new mail from one IMAP folder (RFC 3501, RFC 9051) and hands
// each mail, raw and whole, to a [Handler]. It decides nothing about a mail.
//
// What it promises:
//
//   - The mailbox is only a hint, the handler's store is the truth. A mail gets the
//     keyword [Keyword] and is moved only after the handler said that it is done with
//     it. A crash in between shows the mail to the handler once more, under the same
//     or (after the server lost its index, or a second delivery) another UID: the
//     handler has to know a mail it has seen.
//   - No mail is lost or destroyed: a mail is removed from the folder only by MOVE
//     (RFC 6851), or by UID EXPUNGE (RFC 4315) after the server proved with COPYUID
//     that the copy exists. A server that can do neither keeps the mail where it is.
//   - No mail blocks the ones behind it: mails that failed before are tried after all
//     others, with growing pauses, and are set aside in the end; the handler is told
//     before that happens.
//   - A mute or dead server is noticed within Config.CommandTimeout (while waiting for
//     mail: Config.IdleTimeout + Config.CommandTimeout). [Reader.Run] then connects
//     anew, for ever.
//   - Memory does not grow with the mailbox or with the size of a mail: bodies are
//     streamed, one at a time, into what the handler supplies.
package inbox

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Keyword marks a mail that the handler is done with (an IMAP keyword, RFC 3501 2.3.2).
const Keyword = "$CountersignDone"

// How the connection is protected: the values of Config.TLS.
const (
	TLSImplicit = "implicit" // TLS from the first byte, usually port 993
	TLSStart    = "starttls" // STARTTLS before the login, usually port 143; never continued without
	TLSNone     = "none"     // plain text; refused unless the host is this machine
)

// A Config says which folder is read and how. Zero durations and sizes take the
// defaults named at the fields.
type Config struct {
	Name     string                 // the mailbox's name in logs and in Mail.Mailbox; default Username
	Address  string                 // host:port
	TLS      string                 // TLSImplicit, TLSStart or TLSNone
	Username string                 //
	Password func() (string, error) // asked once per connection, so it may change while running

	Folder    string // the folder with new mail; default INBOX
	Processed string // folder for mails that are done; default Processed
	Failed    string // folder for mails that were set aside; default Failed
	// Processed and Failed are created when missing. "/" separates levels, whatever the
	// server uses; the server's own prefix for personal folders (RFC 2342) is added.

	Poll           time.Duration // pause between looks at a server that doesn't announce mail; default 30s
	IdleTimeout    time.Duration // longest single IDLE (RFC 2177), then a look anyway; default 5m
	CommandTimeout time.Duration // longest silence of the server during a command; default 60s
	RetryBase      time.Duration // first pause after a failure; the others are 2, 5, 15, 30 and 60 times as long; default 1s

	RootCAs  *x509.CertPool // trusted authorities; nil: those of the system
	MaxSize  int64          // of bigger mails (bytes) only the header is fetched; default 50 MiB
	Parallel int            // mails handled at the same time; default 1, which also keeps their order
	Log      *slog.Logger   // nil: silent
}

// Check tells all problems of the settings at once; each names its setting.
func (c Config) Check() error {
	var errs []error
	bad := func(setting, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{setting}, args...)...))
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" || port == "" {
		bad("address", "%q is not host:port; give for example imap.example.org:993", c.Address)
	}
	switch c.TLS {
	case TLSImplicit, TLSStart:
	case TLSNone:
		if !loopback(host) {
			bad("tls", "%q would send the password in clear text to %s; use %q or %q", c.TLS, host, TLSImplicit, TLSStart)
		}
	default:
		bad("tls", "%q is unknown; use %q, %q or, on this machine only, %q", c.TLS, TLSImplicit, TLSStart, TLSNone)
	}
	if c.Username == "" {
		bad("username", "missing")
	}
	if c.Password == nil {
		bad("password", "missing")
	}
	for _, f := range []struct{ name, value string }{{"processed", c.Processed}, {"failed", c.Failed}} {
		if f.value != "" && strings.EqualFold(f.value, cmp.Or(c.Folder, "INBOX")) {
			bad(f.name, "%q is the folder that is read; use another one", f.value)
		}
	}
	if c.Poll < 0 || c.IdleTimeout < 0 || c.CommandTimeout < 0 || c.RetryBase < 0 || c.MaxSize < 0 || c.Parallel < 0 {
		bad("poll, idle_timeout, command_timeout, retry_base, max_size, parallel", "must not be negative")
	}
	return errors.Join(errs...)
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	c.Name = cmp.Or(c.Name, c.Username)
	c.Folder = cmp.Or(c.Folder, "INBOX")
	c.Processed = cmp.Or(c.Processed, "Processed")
	c.Failed = cmp.Or(c.Failed, "Failed")
	c.Poll = cmp.Or(c.Poll, 30*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 5*time.Minute)
	c.CommandTimeout = cmp.Or(c.CommandTimeout, time.Minute)
	c.RetryBase = cmp.Or(c.RetryBase, time.Second)
	c.MaxSize = cmp.Or(c.MaxSize, 50<<20)
	c.Parallel = cmp.Or(c.Parallel, 1)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// loopback reports whether host is this machine by its spelling: no name is looked up.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
