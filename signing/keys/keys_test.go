package keys

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"countersign/signing"
)

func TestOpenFindsTheOpenerOfTheScheme(t *testing.T) {
	refused := errors.New("refused by the opener")
	var got *url.URL
	o := Openers{"file": func(_ context.Context, u *url.URL, s Secrets) (signing.Key, error) {
		got = u
		if pin, err := s("pin"); string(pin) != "1234" || err != nil {
			t.Errorf("secret %q, %v", pin, err)
		}
		return nil, refused
	}}
	secrets := func(string) ([]byte, error) { return []byte("1234"), nil }
	if _, err := o.Open(t.Context(), "file:/a/b.pem?chain=/c", secrets); !errors.Is(err, refused) {
		t.Errorf("error %v, want that of the opener", err)
	}
	if got.Path != "/a/b.pem" || got.Query().Get("chain") != "/c" {
		t.Errorf("the opener got %v", got)
	}
	for _, uri := range []string{"", "/plain/path", ":", "hunter2:x", "pkcs11:pin-value=hunter2", "file:/%zz?hunter2"} {
		_, err := o.Open(t.Context(), uri, secrets)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", uri, err)
		}
	}
}
