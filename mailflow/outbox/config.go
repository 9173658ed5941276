// Package outbox hands one mail at a time to an SMTP server (RFC 5321), the
// organisation's own relay, and says without guessing what came of it.
//
// What it promises:
//
//   - Send returns nil only after the server's 250 behind the final dot: the server has
//     taken over the mail for every recipient. All recipients or none: if one is
//     refused, nothing is sent and the error names it.
//   - Any other outcome is a [SendError] of exactly one of three kinds: refused for now
//     (Temporary), refused for good, or Unknown: the final dot may have reached the
//     server, its answer did not reach us. Only after Unknown may the mail be there.
//   - The bytes that arrive are those that were written: CRLF line ends, 7 bit, lines of
//     at most 998 octets, exactly the announced size. Anything else is an error, and the
//     mail is broken off before its final dot.
//   - Login and mail are never sent in clear text to another machine.
//   - One connection per mail; every step ends with the context, or with the timeouts.
package outbox

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// How the connection is protected: the values of Config.TLS.
const (
	TLSImplicit = "implicit" // TLS from the first byte, usually port 465 (RFC 8314)
	TLSStart    = "starttls" // STARTTLS before anything else, usually port 587; never continued without
	TLSNone     = "none"     // plain text; refused unless the host is this machine
)

// A Config says where mail is handed in.
type Config struct {
	Address  string                 // host:port
	TLS      string                 // TLSImplicit, TLSStart or TLSNone
	Username string                 // "" = no login
	Password func() (string, error) // asked once per mail, so it may change while running
	HELO     string                 // our host name for EHLO; default localhost

	CommandTimeout    time.Duration // longest wait for one answer, or for the line to take bytes; default 1m
	SubmissionTimeout time.Duration // longest wait for the answer to the final dot; default 10m (RFC 5321 4.5.3.2.6)

	RootCAs *x509.CertPool // trusted authorities; nil: those of the system
}

// Check tells all problems of the settings at once; each names its setting.
func (c Config) Check() error {
	var errs []error
	bad := func(setting, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{setting}, args...)...))
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" || port == "" {
		bad("address", "%q is not host:port; give for example smtp.example.org:587", c.Address)
	}
	switch c.TLS {
	case TLSImplicit, TLSStart:
	case TLSNone:
		if !loopback(host) {
			bad("tls", "%q would send mail and password in clear text to %s; use %q or %q", c.TLS, host, TLSStart, TLSImplicit)
		}
	default:
		bad("tls", "%q is unknown; use %q, %q or, on this machine only, %q", c.TLS, TLSStart, TLSImplicit, TLSNone)
	}
	if c.Username != "" && c.Password == nil {
		bad("password", "missing for %s", c.Username)
	}
	if !token(c.HELO) && c.HELO != "" {
		bad("helo", "%q is not a host name", c.HELO)
	}
	if c.CommandTimeout < 0 || c.SubmissionTimeout < 0 {
		bad("command_timeout, submission_timeout", "must not be negative")
	}
	return errors.Join(errs...)
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	c.HELO = cmp.Or(c.HELO, "localhost")
	c.CommandTimeout = cmp.Or(c.CommandTimeout, time.Minute)
	c.SubmissionTimeout = cmp.Or(c.SubmissionTimeout, 10*time.Minute)
	return c
}

// loopback reports whether host is this machine by its spelling: no name is looked up.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// token reports whether s is non-empty printable ASCII without space, so that it can
// stand in a command.
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
