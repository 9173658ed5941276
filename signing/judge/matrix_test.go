//go:build judge

package judge

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
	"countersign/signing/stamp"
)

// noon is the time of the tests that need no other.
func noon() time.Time { return time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC) }

// fileCount is how many files of a kind to make: JUDGE_FILES, or the number for everyday.
func fileCount(t testing.TB, everyday int) int {
	t.Helper()
	text := os.Getenv("JUDGE_FILES")
	if text == "" {
		return everyday
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("JUDGE_FILES is %q; give the number of files to judge", text)
	}
	return n
}

// oneUse stands for the key of a signer by the daemon: P-256, with a certificate for a day.
const oneUse demopki.Algorithm = "one-use"

// A keyKind is a kind of key and how it signs.
type keyKind struct {
	algorithm demopki.Algorithm
	pss       bool
}

func (k keyKind) String() string {
	switch {
	case k.algorithm == demopki.P256:
		return "P-256"
	case k.pss:
		return string(k.algorithm) + " PSS"
	}
	return string(k.algorithm)
}

// A combination is one cell of the matrix.
type combination struct {
	sample  sample
	kind    keyKind
	level   string
	certify int
	visible bool
}

func (c combination) String() string {
	s := fmt.Sprintf("%s, %s, %s, certify %d", c.sample.name, c.kind, c.level, c.certify)
	if c.visible {
		s += ", visible"
	}
	return s
}

// look is what a visible signature shows, and its field's place.
func look() (pades.Appearance, *pades.Place) {
	text := stamp.Facts{Name: "Zoë (Test)", Reason: "Agreed", Location: "Łódź", Time: noon()}.Text()
	return text, &pades.Place{Page: 1, Area: pdf.Area{X: 60, Y: 60, W: 200, H: 60}}
}

var (
	kinds  = []keyKind{{oneUse, false}, {demopki.P256, false}, {demopki.RSA2048, false}, {demopki.RSA3072, false}, {demopki.RSA3072, true}, {demopki.P384, false}, {demopki.Ed25519, false}}
	levels = []string{"B-B", "B-T", "B-LT", "B-LTA"}
)

// combinations picks n cells so that every row and column has its share.
func combinations(t testing.TB, n int) []combination {
	var all []combination
	for _, s := range samples(t) {
		for _, k := range kinds {
			for _, l := range levels {
				for certify := range 4 {
					all = append(all, combination{sample: s, kind: k, level: l, certify: certify})
				}
			}
		}
	}
	// Steps by the golden ratio, made coprime to the size, visit all cells once.
	step := len(all)*618/1000 | 1
	for gcd(step, len(all)) != 1 {
		step += 2
	}
	var picked []combination
	for i := range min(n, len(all)) {
		c := all[i*step%len(all)]
		c.visible = i%3 == 0
		picked = append(picked, c)
	}
	return picked
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// gaps are what some judges say of signatures by a kind of key; TestGaps shows
// that they say so of the signatures of others, too.
var gaps = map[keyKind]map[string]string{
	{demopki.Ed25519, false}: {
		"pdfsig":                     "Document isn't signed or corrupted data",
		"mutool sign -v":             "Digest error: Unknown error",
		"openssl cms -verify -cades": "invalid digest",
	},
	{demopki.RSA3072, true}: {"mutool sign -v": "Digest error"},
}

// TestMatrix: one signature on every kind of file, by every kind of key, at every level,
// certifying or not.
func TestMatrix(t *testing.T) {
	w := newWorld(t, noon, demopki.P256)
	for _, c := range combinations(t, fileCount(t, 40)) {
		t.Run(c.String(), func(t *testing.T) {
			p := signing.Params{Certification: c.certify, Reason: "Agreed", Name: "Zoë (Test)", PSS: c.kind.pss}
			field := pades.FieldSpec{Name: "Signature1"}
			if c.visible {
				p.Appearance, field.Place = look()
			}
			r0, names, err := prepare(c.sample.pdf, field)
			check(t, err)
			p.Field = names[0]
			out, err := w.sign(r0, w.key(t, c.kind.algorithm), p, c.level)
			check(t, err)
			timestamps := 0
			if c.level == "B-LT" || c.level == "B-LTA" {
				out, timestamps, err = w.extend(out, c.level, revocation.Data{})
				check(t, err)
			}
			e := w.exhibit(t, out, timestamps, wanted{field: names[0], level: c.level})
			e.lenient, e.gaps = c.sample.lenient, gaps[c.kind]
			judged(t, e)
		})
	}
}

// sealLock locks all fields but the other new ones, as in a request.
func sealLock() *pades.FieldLock {
	return &pades.FieldLock{Lock: pdf.Lock{Action: pdf.LockExclude}, New: true}
}

// TestChain: a seal at P=2, two signers, and an extension; after each step all signatures
// have full marks. Every second file has them visible.
func TestChain(t *testing.T) {
	w := newWorld(t, noon, demopki.P256)
	for i, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			specs := []pades.FieldSpec{{Name: "Seal", Lock: sealLock()}, {Name: "Signature1"}, {Name: "Signature2"}}
			var text pades.Appearance
			for j := range specs {
				if i%2 == 1 {
					text, specs[j].Place = look()
					specs[j].Place.Area.Y += 80 * float64(j)
				}
			}
			cur, names, err := prepare(s.pdf, specs...)
			check(t, err)
			var want []wanted
			for j, kind := range []demopki.Algorithm{demopki.P256, demopki.RSA2048, oneUse} {
				p := signing.Params{Field: names[j], Appearance: text}
				if j == 0 {
					p.Certification = 2
				}
				cur, err = w.sign(cur, w.key(t, kind), p, "B-T")
				check(t, err)
				want = append(want, wanted{field: names[j], level: "B-T"})
				if i == 0 || j == 2 {
					e := w.exhibit(t, cur, 0, want...)
					e.lenient = s.lenient
					judged(t, e)
				}
			}
			cur, _, err = w.extend(cur, "B-LTA", revocation.Data{})
			check(t, err)
			e := w.exhibit(t, cur, 1, raised(want)...)
			e.lenient = s.lenient
			judged(t, e)
		})
	}
}

// TestChainOfArchived: every step is brought to B-LTA before the next one signs.
func TestChainOfArchived(t *testing.T) {
	w := newWorld(t, noon, demopki.P256)
	for _, s := range samples(t)[:5] {
		t.Run(s.name, func(t *testing.T) {
			cur, names, err := prepare(s.pdf, pades.FieldSpec{Name: "Seal", Lock: sealLock()},
				pades.FieldSpec{Name: "Signature1"}, pades.FieldSpec{Name: "Signature2"})
			check(t, err)
			var want []wanted
			for j, kind := range []demopki.Algorithm{demopki.P256, oneUse, demopki.P384} {
				p := signing.Params{Field: names[j]}
				if j == 0 {
					p.Certification = 2
				}
				cur, err = w.sign(cur, w.key(t, kind), p, "B-T")
				check(t, err)
				cur, _, err = w.extend(cur, "B-LTA", revocation.Data{})
				check(t, err)
				want = append(want, wanted{field: names[j], level: "B-LTA"})
				e := w.exhibit(t, cur, j+1, want...)
				e.lenient = s.lenient
				judged(t, e)
			}
		})
	}
}

// raised are the signatures after an extension to B-LTA.
func raised(signatures []wanted) []wanted {
	up := slices.Clone(signatures)
	for i := range up {
		up[i].level = "B-LTA"
	}
	return up
}
