package signing_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/pdf"
)

// TestExtendCorpus extends every file that somebody has signed, twice. Nothing that was
// valid before may be invalid afterwards: what we cannot extend so is refused.
func TestExtendCorpus(t *testing.T) {
	n := newNotary(t)
	extended, refused := 0, map[string]int{}
	own := len(samples(t))
	for i, path := range corpus(t) {
		base, err := os.ReadFile(path)
		check(t, err)
		if i < own {
			base, _, _ = n.sign(base, signing.Params{}, nil)
		}
		name := strings.TrimPrefix(path, os.Getenv("CORPUS"))
		_, err = signing.NewExtension(bytes.NewReader(base), int64(len(base)), signing.ExtensionParams{TokenRoom: 8192})
		if no, ok := errors.AsType[*pdf.RefusedError](err); ok {
			refused[string(no.Reason)]++
			continue
		}
		if errors.Is(err, signing.ErrBroken) {
			refused["does not hold"]++
			t.Logf("%s: %v", name, err)
			continue
		}
		check(t, err)
		out, _ := n.extend(base, now, n.evidence(now), 8192)
		out, _ = n.extend(out, now.Add(time.Hour), n.evidence(now.Add(time.Hour)), 8192)
		extended++
		keep(t, strings.ReplaceAll(name, "/", "-"), out)
		before, _ := qpdf(t, base)
		if after, text := qpdf(t, out); after != before && (before == 0 || after == 2) {
			t.Errorf("%s: qpdf: %s", name, text)
		}
		if bad := n.opensslTS(base, out); bad != "" {
			t.Errorf("%s: %s", name, bad)
		}
		was, _ := pdfsig(t, base)
		if is, text := pdfsig(t, out); was >= 0 && is != was {
			t.Errorf("%s: pdfsig: %d valid, %d before: %s", name, is, was, text)
		}
	}
	t.Logf("extended %d, refused %v", extended, refused)
	if extended < own {
		t.Errorf("of the %d own files %d were extended", own, extended)
	}
}
