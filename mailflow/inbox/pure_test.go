package inbox

import (
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

func TestRetryDelay(t *testing.T) {
	for failures, want := range []time.Duration{0, 1, 2, 5, 15, 30, 60, 60} {
		if got := retryDelay(time.Second, failures); got != want*time.Second {
			t.Errorf("after %d failures: %v, want %vs", failures, got, int(want))
		}
	}
	if got := retryDelay(time.Millisecond, 1_000_000); got != 60*time.Millisecond {
		t.Errorf("after very many: %v", got)
	}
}

func TestFolderName(t *testing.T) {
	for _, tc := range []struct{ prefix, delim, name, want string }{
		{"", "/", "Processed", "Processed"},
		{"INBOX.", ".", "Processed", "INBOX.Processed"},
		{"INBOX.", ".", "INBOX.Processed", "INBOX.Processed"},
		{"INBOX.", ".", "Countersign/Done", "INBOX.Countersign.Done"},
		{"", "\x00", "A/B", "A/B"},
		{"", "", "A/B", "A/B"},
	} {
		if got := folderName(tc.prefix, tc.delim, tc.name); got != tc.want {
			t.Errorf("folderName(%q, %q, %q) = %q, want %q", tc.prefix, tc.delim, tc.name, got, tc.want)
		}
	}
}

func TestCheckTellsAll(t *testing.T) {
	err := Config{Address: "imap.example.org", TLS: "maybe", Folder: "Processed", Processed: "processed", Poll: -1}.Check()
	for _, want := range []string{"address:", "tls:", "username:", "password:", "processed:", "poll"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	for host, ok := range map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, "10.0.0.1": false, "localhost.example.org": false, "": false} {
		if loopback(host) != ok {
			t.Errorf("loopback(%q) = %v", host, !ok)
		}
	}
}

// "In a row" means in a row; another UIDVALIDITY makes everything void.
func TestLedger(t *testing.T) {
	var l ledger
	l.open(1)
	for i, step := range []struct {
		kind failureKind
		want bool
	}{
		{refusal, false}, {refusal, false}, {passing, false}, {refusal, false}, {refusal, false}, {refusal, true},
	} {
		if got := l.fail(7, step.kind, time.Hour); got != step.want {
			t.Errorf("failure %d: given up %v", i, got)
		}
	}
	if _, failed, due := l.known(7); !failed || time.Until(due) < time.Hour {
		t.Errorf("failed %v, due %v", failed, due)
	}
	l.decide(7, SetAside)
	if settled, _, _ := l.known(7); !settled {
		t.Error("decided, but not settled")
	}
	l.open(1)
	if settled, _, _ := l.known(7); !settled {
		t.Error("forgotten by a reconnect")
	}
	if set := l.takePending(SetAside); set.String() != "7" {
		t.Errorf("pending %s", set.String())
	}
	l.finish(imap.UIDSetNum(7))
	l.open(2)
	if settled, failed, _ := l.known(7); settled || failed {
		t.Error("known under another UIDVALIDITY")
	}
	for uid := range imap.UID(maxFailing + 10) {
		l.fail(uid+1, passing, time.Second)
	}
	if len(l.failing) != maxFailing {
		t.Errorf("%d failures remembered", len(l.failing))
	}
	if next, n := l.retain(imap.UIDSetNum(3)); n != 1 || next.IsZero() {
		t.Errorf("retained %d, next %v", n, next)
	}
}

func TestUIDs(t *testing.T) {
	var got []imap.UID
	for u := range uids(imap.UIDSet{{Start: 1, Stop: 3}, {Start: 4294967294, Stop: 4294967295}}) {
		got = append(got, u)
	}
	if len(got) != 5 || got[4] != 4294967295 {
		t.Errorf("%v", got)
	}
}
