//go:build judge

package judge

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A wanted signature is one that every judge must give full marks.
type wanted struct {
	field string
	level string // B-B, B-T, B-LT or B-LTA
	// unstamped: it had level B-B before it was extended, and so has no signature
	// timestamp. pyHanko then judges it by the process for B-B; its others demand one.
	unstamped bool
}

// stamped: it must have a signature timestamp.
func (w wanted) stamped() bool { return w.level != "B-B" && !w.unstamped }

// An exhibit is a file before the judges.
type exhibit struct {
	pdf        []byte
	at         time.Time // when it is judged
	root       *x509.Certificate
	others     []*x509.Certificate // roots as well
	crls       [][]byte            // revocation lists a validator would fetch at that time
	ocsps      [][]byte            // and OCSP responses
	signatures []wanted            // in the order of their signing
	timestamps int                 // document timestamps
	trailer    bool                // evidence follows the last timestamp, as pyHanko adds it
	aged       bool                // the authority of the signature timestamps has ended; pyHanko goes by the document's then
	lenient    bool                // pyHanko rejects files like the input as such
	// gaps are what judges complain of although the file is good: the judge's name and a
	// part of its complaint, which must come. docs/testing.md lists and explains all.
	gaps map[string]string
}

// paths writes what the judges read.
func (e exhibit) request(t testing.TB) judgeRequest {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, b, 0o600))
		return path
	}
	r := judgeRequest{Op: "judge", File: write("file.pdf", e.pdf), Time: e.at.UTC(), Lenient: e.lenient, CRLs: []string{}, OCSPs: []string{}, Levels: map[string]string{}}
	for _, s := range e.signatures {
		r.Levels[s.field] = s.level
		if s.unstamped {
			r.Levels[s.field] = "B-B"
		}
	}
	var roots []byte
	for _, c := range append([]*x509.Certificate{e.root}, e.others...) {
		roots = append(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	r.Roots = []string{write("root.pem", roots)}
	for i, der := range e.crls {
		r.CRLs = append(r.CRLs, write(fmt.Sprintf("%d.crl", i), der))
	}
	for i, der := range e.ocsps {
		r.OCSPs = append(r.OCSPs, write(fmt.Sprintf("%d.ocsp", i), der))
	}
	return r
}

// judges are all that have a say.
var judges = []struct {
	name  string
	judge func(exhibit, judgeRequest) error
}{
	{"pyHanko", byPyHanko},
	{"EU DSS", byDSS},
	{"qpdf --check", byQPDF},
	{"pdfsig", byPDFSig},
	{"mutool sign -v", byMutool},
	{"openssl cms -verify -cades", byOpenSSL},
	{"openssl ts -verify", byOpenSSLTS},
}

// judged lets all judges loose on a file; every one must give full marks.
func judged(t testing.TB, e exhibit) {
	t.Helper()
	scores.Lock()
	scores.files++
	scores.Unlock()
	r := e.request(t)
	errs := make([]error, len(judges))
	var wg sync.WaitGroup
	for i, j := range judges {
		wg.Go(func() { errs[i] = j.judge(e, r) })
	}
	wg.Wait()
	for i, j := range judges {
		gap := e.gaps[j.name]
		switch {
		case errs[i] == nil && gap == "":
			score(j.name, passed)
		case errs[i] != nil && gap != "" && strings.Contains(errs[i].Error(), gap):
			score(j.name, known)
		case errs[i] == nil:
			score(j.name, failed)
			t.Errorf("%s has no complaint any more; it used to be %q", j.name, gap)
		default:
			score(j.name, failed)
			t.Errorf("%s: %v", j.name, errs[i])
		}
	}
	if t.Failed() {
		keep(t, e, r)
	}
}

// keep leaves a file that failed, and its root, where they can be looked at.
func keep(t testing.TB, e exhibit, r judgeRequest) {
	dir := filepath.FromSlash(setUp + "/failed")
	check(t, os.MkdirAll(dir, 0o755))
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\ ,:`, r) {
			return '-'
		}
		return r
	}, t.Name())
	scores.Lock()
	name = fmt.Sprintf("%s-%d", name, scores.files)
	scores.Unlock()
	root, err := os.ReadFile(r.Roots[0])
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, name+".pdf"), e.pdf, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, name+".root.pem"), root, 0o600))
	t.Logf("kept as bin/judge/failed/%s.pdf, judged at %s", name, e.at.UTC().Format(time.RFC3339))
}

// byPyHanko: intact, valid, trusted at that time, nothing but permitted changes since, and
// what the level promises.
func byPyHanko(e exhibit, r judgeRequest) error {
	var a pyAnswer
	if err := pyhanko.ask(r, &a); err != nil {
		return err
	}
	var signatures, timestamps []pyVerdict
	var bad []string
	if len(e.signatures) == 0 {
		return errors.New("the test expects no signature")
	}
	for i, v := range a.Signatures {
		if v.Kind == "timestamp" {
			timestamps = append(timestamps, v)
		} else {
			signatures = append(signatures, v)
		}
		covers := v.Covers == "ENTIRE_REVISION" || v.Covers == "ENTIRE_FILE"
		if i == len(a.Signatures)-1 && !e.trailer {
			covers = v.Covers == "ENTIRE_FILE"
		}
		if !v.Intact || !v.Valid || !v.Permitted || !covers || v.Kind == "timestamp" && !slices.Contains(harmless, v.Modification) {
			bad = append(bad, fmt.Sprintf("%+v", v))
		}
	}
	if len(signatures) != len(e.signatures) || len(timestamps) != e.timestamps {
		bad = append(bad, fmt.Sprintf("it finds %d signatures and %d document timestamps, want %d and %d",
			len(signatures), len(timestamps), len(e.signatures), e.timestamps))
	}
	for i, w := range e.signatures[:min(len(signatures), len(e.signatures))] {
		v := signatures[i]
		good := v.Field == w.field && v.Status == "PASSED" && slices.Contains(harmless, v.Modification)
		if w.stamped() && !e.aged && !v.Stamped || w.stamped() && w.level == "B-LTA" && v.Proven == "" {
			good = false
		}
		if !good {
			bad = append(bad, fmt.Sprintf("want %+v: %+v", w, v))
		}
	}
	return complain(bad)
}

// harmless changes after a signature: none, evidence, or further signatures.
var harmless = []string{"NONE", "LTA_UPDATES", "FORM_FILLING"}

func complain(bad []string) error {
	if len(bad) == 0 {
		return nil
	}
	return fmt.Errorf("not full marks:\n%s", strings.Join(bad, "\n"))
}

// byDSS: TOTAL-PASSED at just the level, by a policy that is stricter than the default, with
// no warning but those in knownWarnings.
func byDSS(e exhibit, r judgeRequest) error {
	var a dssAnswer
	if err := dss.ask(r, &a); err != nil {
		return err
	}
	var bad []string
	stamps, timestamps := 0, 0
	signatures := map[string]dssVerdict{}
	for _, v := range a.Signatures {
		good := v.Status == "PASSED"
		switch v.Kind {
		case "signature":
			good = v.Status == "TOTAL_PASSED"
			signatures[v.Field] = v
		case "timestamp":
			timestamps++
		default:
			stamps++
		}
		odd := slices.DeleteFunc(slices.Clone(v.Warnings), knownWarning)
		if !good || !v.Intact || len(v.Errors)+len(v.Changes)+len(odd) > 0 {
			bad = append(bad, fmt.Sprintf("%+v", v))
		}
	}
	want := 0
	for _, w := range e.signatures {
		v, ok := signatures[w.field]
		if !ok || v.Level != "PAdES-BASELINE-"+strings.TrimPrefix(w.level, "B-") {
			bad = append(bad, fmt.Sprintf("want %+v: %+v", w, v))
		}
		if w.stamped() {
			want++
		}
	}
	if len(signatures) != len(e.signatures) || timestamps != e.timestamps || stamps != want {
		bad = append(bad, fmt.Sprintf("it finds %d signatures, %d signature timestamps and %d document timestamps, want %d, %d and %d",
			len(signatures), stamps, timestamps, len(e.signatures), want, e.timestamps))
	}
	return complain(bad)
}

// knownWarnings are those that a test PKI earns and that say nothing of our work.
var knownWarnings = []string{}

func knownWarning(w string) bool {
	return slices.ContainsFunc(knownWarnings, func(k string) bool { return strings.HasPrefix(w, k) })
}
