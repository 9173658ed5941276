package mailflow

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestTokens(t *testing.T) {
	s := testSecrets(t)
	token := s.Token("r1", "p1", 0)
	if ClassifyTag(token) != TagToken || ClassifyTag(strings.ToUpper(token)) != TagToken {
		t.Errorf("%q is not a token", token)
	}
	if ClassifyTag("b-"+token) != TagBounce {
		t.Error("not a bounce tag")
	}
	for _, tag := range []string{"", "invoice", token[1:], token + "a", "b-" + token[1:], strings.Repeat("1", 26)} {
		if ClassifyTag(tag) != TagRule {
			t.Errorf("%q is not a rule tag", tag)
		}
	}
	others := []string{s.Token("r1", "p2", 0), s.Token("r2", "p1", 0), s.Token("r1", "p1", 1), s.Token("r", "1p1", 0)}
	for _, o := range others {
		if o == token {
			t.Error("two tokens are equal")
		}
	}
	if TokenHash(token) != TokenHash(strings.ToUpper(token)) {
		t.Error("upper and lower case count")
	}
}

// TestCodeIsBound holds invariant 8: another request, party, challenge, document or
// time gives another code.
func TestCodeIsBound(t *testing.T) {
	s := testSecrets(t)
	r := Request{ID: "r1", H: "aa", Terms: Terms{CodeDigits: 8}}
	p := Party{ID: "p1"}
	c := Challenge{N: 1, Expires: start}
	code := s.DeriveCode(&r, &p, c)
	if len(string(code)) != 8 || strings.Trim(string(code), "0123456789") != "" {
		t.Fatalf("%q is not eight digits", string(code))
	}
	p.Challenges = []Challenge{c, {N: 2, Expires: start.Add(time.Hour)}}
	if n := s.MatchCode(&r, &p, code); n != 1 {
		t.Errorf("the code is of challenge %d", n)
	}
	if n := s.MatchCode(&r, &p, s.DeriveCode(&r, &p, p.Challenges[1])); n != 2 {
		t.Errorf("the second code is of challenge %d", n)
	}
	for name, other := range map[string]struct {
		r Request
		p Party
		c Challenge
	}{
		"request":   {Request{ID: "r2", H: "aa", Terms: r.Terms}, p, c},
		"document":  {Request{ID: "r1", H: "ab", Terms: r.Terms}, p, c},
		"party":     {r, Party{ID: "p2"}, c},
		"challenge": {r, p, Challenge{N: 2, Expires: start}},
		"time":      {r, p, Challenge{N: 1, Expires: start.Add(time.Second)}},
	} {
		if s.DeriveCode(&other.r, &other.p, other.c) == code {
			t.Errorf("another %s has the same code", name)
		}
	}
	if s.MatchCode(&r, &p, "") != 0 || s.MatchCode(&r, &p, code+"0") != 0 {
		t.Error("a code of another length matches")
	}
}

// TestSecretsStaySecret holds invariant 18 for the types that carry secrets.
func TestSecretsStaySecret(t *testing.T) {
	s := testSecrets(t)
	code := Code("12345678")
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "code", code, "secrets", s)
	j, err := json.Marshal(struct{ C Code }{code})
	if err != nil {
		t.Fatal(err)
	}
	all := b.String() + string(j) + fmt.Sprint(code) + fmt.Sprintf("%v %s %+v", code, code, struct{ C Code }{code})
	if strings.Contains(all, "12345678") {
		t.Errorf("the code shows: %s", all)
	}
	if _, err := NewSecrets(make([]byte, 31)); err == nil {
		t.Error("a short master secret was taken")
	}
}

func TestBackoff(t *testing.T) {
	for _, tc := range []struct {
		kind EffectKind
		n    int
		want time.Duration
	}{
		{EffectLetter, 0, 2 * time.Second},
		{EffectLetter, 1, 2 * time.Second},
		{EffectLetter, 3, time.Minute},
		{EffectLetter, 8, time.Hour},
		{EffectLetter, 1000, time.Hour},
		{EffectSign, 1000, time.Minute},
	} {
		if got := Backoff(tc.kind, tc.n); got != tc.want {
			t.Errorf("Backoff(%s, %d) = %v, want %v", tc.kind, tc.n, got, tc.want)
		}
	}
}
