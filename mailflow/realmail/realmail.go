// Package realmail starts a real mail system for tests: Dovecot (IMAP, LMTP,
// authentication) and Postfix (SMTP, submission), on free loopback ports, in a
// temporary directory, with its own certificate authority. Nothing leaves loopback:
// all domains but mail.test and partner.test are refused, and no name is looked up.
//
// It needs root (Postfix changes its user) and the packages dovecot-imapd,
// dovecot-lmtpd (2.3) and postfix; "make deps" installs them. It ends only processes
// that it started, by their process id.
package realmail

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A User has a mailbox in mail.test or partner.test, and logs in with the address.
type User struct{ Addr, Password string }

// Options describe the mail system.
type Options struct {
	Users []User
	// IMAPCapability replaces what Dovecot offers after the login, to stand for a poorer
	// server: for example "IMAP4rev1 IDLE UIDPLUS". Empty: everything it has.
	IMAPCapability string
}

// A Stack is a running mail system.
type Stack struct {
	IMAP        string // host:port, plain text and STARTTLS
	IMAPS       string // TLS from the start
	SMTP        string // where mail from outside comes in; no login needed
	Submission  string // STARTTLS and login needed
	Submissions string // TLS from the start, login needed

	CAs    *x509.CertPool // the authority behind the certificate for localhost and 127.0.0.1
	CAFile string         // the same as a file in PEM

	dir     string
	lmtp    string
	auth    string
	opts    Options
	dovecot *daemon
	postfix *daemon
}

// Start brings up both servers and waits until they answer.
func Start(ctx context.Context, opts Options) (*Stack, error) {
	if err := ready(); err != nil {
		return nil, err
	}
	for _, u := range opts.Users {
		_, domain, _ := strings.Cut(u.Addr, "@")
		if domain != "mail.test" && domain != "partner.test" {
			return nil, fmt.Errorf("real mail: %s is neither in mail.test nor in partner.test", u.Addr)
		}
	}
	// t.TempDir would not do: the servers' own users can't enter it.
	dir, err := os.MkdirTemp("", "realmail")
	if err != nil {
		return nil, fmt.Errorf("real mail: %w", err)
	}
	s := &Stack{dir: dir, opts: opts}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	for _, start := range []func(context.Context) error{s.startDovecot, s.startPostfix} {
		if err := start(ctx); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
	}
	return s, nil
}

// ready tells what is missing on this machine.
func ready() error {
	if os.Geteuid() != 0 {
		return errors.New("real mail: Postfix has to be started by root; run these tests as root, for example in a container")
	}
	for _, program := range []string{"dovecot", "postfix", "postconf"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("real mail: %s is not installed; run: make deps", program)
		}
	}
	return nil
}

// prepare chooses ports and writes certificates, settings and directories.
func (s *Stack) prepare() error {
	if err := s.choosePorts(); err != nil {
		return err
	}
	pki, err := newCertificate(time.Now())
	if err != nil {
		return err
	}
	s.CAs, s.CAFile = pki.pool, filepath.Join(s.dir, "ca.pem")
	nobody, err := lookup("nobody")
	if err != nil {
		return err
	}
	postfix, err := lookup("postfix")
	if err != nil {
		return err
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return err
	}
	for dir, owner := range map[string]int{
		"dov/run": 0, "dov/state": 0, "dov/log": 0, "dov/mail": nobody.uid, "pf/etc": 0, "pf/spool": 0, "pf/data": postfix.uid,
	} {
		path := filepath.Join(s.dir, dir)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := os.Chown(path, owner, -1); err != nil {
			return err
		}
	}
	conf, err := s.settings(nobody)
	if err != nil {
		return err
	}
	conf["srv.pem"], conf["srv.key"], conf["ca.pem"] = string(pki.cert), string(pki.key), string(pki.ca)
	for name, text := range conf {
		mode := os.FileMode(0o644)
		if name == "srv.key" || name == "dov/users" {
			mode = 0o600
		}
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), mode); err != nil {
			return err
		}
	}
	dovecot, err := lookup("dovecot") // reads the password file
	if err != nil {
		return err
	}
	return os.Chown(filepath.Join(s.dir, "dov/users"), dovecot.uid, -1)
}

// choosePorts takes free ports. All are held until all are chosen, so they differ.
func (s *Stack) choosePorts() error {
	for _, addr := range []*string{&s.IMAP, &s.IMAPS, &s.SMTP, &s.Submission, &s.Submissions, &s.lmtp, &s.auth} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("real mail: no free port: %w", err)
		}
		defer ln.Close()
		*addr = ln.Addr().String()
	}
	return nil
}

// account is a system user's numbers.
type account struct{ uid, gid int }

func lookup(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, fmt.Errorf("real mail: the account %s is missing; run: make deps: %w", name, err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account{}, err
	}
	gid, err := strconv.Atoi(u.Gid)
	return account{uid, gid}, err
}

func (s *Stack) startDovecot(ctx context.Context) error {
	if err := s.unlock(); err != nil {
		return err
	}
	s.dovecot = newDaemon("dovecot", filepath.Join(s.dir, "dov/log/console"), "dovecot", "-F", "-c", filepath.Join(s.dir, "dovecot.conf"))
	s.dovecot.cmd.SysProcAttr.Setpgid = true
	if err := s.dovecot.start(); err != nil {
		return err
	}
	return s.await(ctx, s.dovecot, map[string]string{s.IMAP: "* OK", s.IMAPS: "", s.lmtp: "220"})
}

// unlock removes the lock files that a killed Dovecot left in the mailboxes. Dovecot
// itself would refuse to touch these mailboxes for minutes, then do the same.
func (s *Stack) unlock() error {
	err := filepath.WalkDir(filepath.Join(s.dir, "dov/mail"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".lock") {
			err = os.Remove(path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("real mail: remove the locks of a killed server: %w", err)
	}
	return nil
}

func (s *Stack) startPostfix(ctx context.Context) error {
	etc := filepath.Join(s.dir, "pf/etc")
	// "check" makes the queue directories. Then the master runs as our own child, so
	// that we know its process id.
	if out, err := exec.CommandContext(ctx, "postfix", "-c", etc, "check").CombinedOutput(); err != nil {
		return fmt.Errorf("real mail: postfix check: %w\n%s", err, out)
	}
	daemons, err := postconf("daemon_directory")
	if err != nil {
		return err
	}
	s.postfix = newDaemon("postfix", filepath.Join(s.dir, "pf/console"), filepath.Join(daemons, "master"), "-s", "-c", etc)
	if err := s.postfix.start(); err != nil {
		return err
	}
	return s.await(ctx, s.postfix, map[string]string{s.SMTP: "220", s.Submission: "220", s.Submissions: ""})
}

// await waits until every address answers with its greeting ("" = accepts).
func (s *Stack) await(ctx context.Context, d *daemon, greetings map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for addr, greeting := range greetings {
		for !answers(addr, greeting) {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("real mail: %s does not answer at %s: %w\n%s", d.name, addr, ctx.Err(), s.Logs())
			case <-d.ended:
				return fmt.Errorf("real mail: %s ended at once: %w\n%s", d.name, d.err, s.Logs())
			}
		}
	}
	return nil
}

// answers tries one connection.
func answers(addr, greeting string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if greeting == "" {
		return true
	}
	buf := make([]byte, len(greeting))
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _ := conn.Read(buf)
	return string(buf[:n]) == greeting
}

// A Server is one of the two programs.
type Server int

const (
	Dovecot Server = iota
	Postfix
)

func (s *Stack) daemon(which Server) *daemon {
	if which == Dovecot {
		return s.dovecot
	}
	return s.postfix
}

// Kill ends a server the hard way, as a power failure would (SIGKILL), with all its
// worker processes.
func (s *Stack) Kill(which Server) error { return s.daemon(which).kill() }

// Shut ends a server in good order.
func (s *Stack) Shut(which Server) error { return s.daemon(which).stop() }

// Restart ends a server if it runs, and starts it again on the same ports.
func (s *Stack) Restart(ctx context.Context, which Server) error {
	if err := s.daemon(which).stop(); err != nil {
		return err
	}
	if which == Dovecot {
		return s.startDovecot(ctx)
	}
	return s.startPostfix(ctx)
}

// Maildir is the directory of a user's INBOX on disk.
func (s *Stack) Maildir(addr string) string {
	return filepath.Join(s.dir, "dov/mail", strings.ToLower(addr), "Maildir")
}

// Logs gives what both servers logged, for failure messages.
func (s *Stack) Logs() string {
	var b strings.Builder
	for _, name := range []string{"dov/log/console", "dov/log/dovecot.log", "pf/console", "pf/maillog"} {
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		if err == nil {
			fmt.Fprintf(&b, "--- %s\n%s", name, text)
		}
	}
	return b.String()
}

// Stop ends both servers and removes everything.
func (s *Stack) Stop() error {
	var errs []error
	for _, d := range []*daemon{s.postfix, s.dovecot} {
		if d != nil {
			errs = append(errs, d.stop())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
