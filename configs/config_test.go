package configs

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/mailflow"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestExample(t *testing.T) {
	c, problems := Parse("example.yaml", Example())
	for _, p := range problems {
		t.Error(p)
	}
	if n := bytes.Count(Example(), []byte("\n")); n > 40 {
		t.Errorf("the example has %d lines; it is to be read at a glance", n)
	}
	if _, err := c.CompileRules(); err != nil {
		t.Error(err)
	}
	if c.Mailboxes[0].IMAP.TLS != "implicit" || c.SMTP.Hello != "acme.example" || c.Limits.PDF != 10e6 {
		t.Errorf("defaults are not filled in: %+v", c)
	}
	if got := c.Rules[0].DraftLevels; len(got) != 2 || got[0] != mailflow.LevelSMIME || got[1] != mailflow.LevelSubmission {
		t.Errorf("a rule without people takes %v", got)
	}
}

// TestBad runs each file of testdata/bad; the .want beside it has all its problems.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d bad files, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, problems := Parse(filepath.Base(file), data)
			golden(t, strings.TrimSuffix(file, ".yaml")+".want", Problems(problems).Error()+"\n")
			if len(problems) == 0 {
				t.Error("a bad file has no problems")
			}
		})
	}
}

func TestReference(t *testing.T) { golden(t, "../docs/configuration.md", Reference()) }

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (rewrite it with -update, then read the difference); got:\n%s", file, got)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("absent file: %v", err)
	}
	if err := os.WriteFile(file, []byte("stat: /x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), file+":1:1: stat: unknown key; did you mean state?") {
		t.Errorf("misspelt key: %v", err)
	}
	text := strings.ReplaceAll(string(Example()), "/etc/countersign", dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(c.CheckFiles()); got != 6 { // two passwords of mail, two keys with theirs
		t.Errorf("%d unreadable files, want 6: %v", got, c.CheckFiles())
	}
	for _, f := range []string{"mail.pw", "seal.p12", "seal.pw", "ca.p12", "ca.pw"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.CheckFiles(); len(got) != 0 {
		t.Errorf("all files are there, but: %v", got)
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]Size{"10MB": 10e6, "500 kb": 500e3, "1GB": 1e9, "7": 7, "0": -1, "-1": -1, "x": -1, "1e9": -1, "9999999999GB": -1, "": -1} {
		var s Size
		err := s.UnmarshalText([]byte(in))
		if (err != nil) != (want < 0) || err == nil && s != want {
			t.Errorf("%q: %d, %v", in, s, err)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "abc", 3}, {"kitten", "sitting", 3}, {"imap", "imap", 0}, {"mailbox", "mailboxes", 2}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// FuzzParse: any text gives problems or a configuration whose rules compile.
func FuzzParse(f *testing.F) {
	f.Add(Example())
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(strings.Repeat("- ", 2000)))
	f.Add([]byte(strings.Repeat("a: {", 500)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, problems := Parse("f", data)
		if len(problems) > 0 {
			return
		}
		if _, err := c.CompileRules(); err != nil {
			t.Errorf("no problems, but the rules do not compile: %v", err)
		}
		if _, ok := c.Keys["seal"]; !ok {
			t.Error("no problems, but no seal")
		}
		for _, m := range c.Mailboxes {
			if host, ok := splitHostPort(m.IMAP.Server); !ok || m.IMAP.TLS == "none" && !isLoopback(host) {
				t.Errorf("no problems, but tls %s to %s", m.IMAP.TLS, m.IMAP.Server)
			}
		}
	})
}
