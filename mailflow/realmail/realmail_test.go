package realmail_test

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"countersign/mailflow/realmail"
)

// Both servers start, survive being killed and restarted, and leave nothing behind.
func TestStackLifecycle(t *testing.T) {
	s, err := realmail.Start(t.Context(), realmail.Options{Users: []realmail.User{{Addr: "ann@mail.test", Password: "pw"}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := s.Maildir("ann@mail.test")
	dir = dir[:strings.Index(dir, "/dov/")]
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", dir, err)
		}
		for _, addr := range []string{s.IMAP, s.IMAPS, s.SMTP, s.Submission, s.Submissions} {
			if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
				c.Close()
				t.Errorf("%s still answers after Stop", addr)
			}
		}
	}()
	for _, which := range []realmail.Server{realmail.Dovecot, realmail.Postfix} {
		if err := s.Kill(which); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(t.Context(), which); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(t.Context(), which); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForeignDomainIsRefused(t *testing.T) {
	_, err := realmail.Start(t.Context(), realmail.Options{Users: []realmail.User{{Addr: "ann@example.org", Password: "pw"}}})
	if err == nil || !strings.Contains(err.Error(), "mail.test") {
		t.Fatalf("err = %v", err)
	}
}
