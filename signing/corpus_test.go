package signing_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"countersign/signing/pdf"
)

// corpus returns the samples and the PDFs in the folder that CORPUS names, if it is set.
func corpus(t testing.TB) (files []string) {
	own := t.TempDir()
	for name, b := range samples(t) {
		path := filepath.Join(own, name+".pdf")
		check(t, os.WriteFile(path, b, 0o600))
		files = append(files, path)
	}
	dir := os.Getenv("CORPUS")
	if dir == "" {
		return files
	}
	before := len(files)
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.EqualFold(filepath.Ext(path), ".pdf") {
			files = append(files, path)
		}
		return err
	}))
	if len(files) == before {
		t.Fatalf("there is no PDF in %s, which CORPUS names", dir)
	}
	return files
}

// TestCorpus signs every file three times. Nothing may be signed and bad: what we
// cannot sign so that outside readers agree must be refused.
func TestCorpus(t *testing.T) {
	keys := newKeys(t, "p256", "p384", "rsa")
	refused := map[pdf.Reason]int{}
	signed, clean, cleanSigned := 0, 0, 0
	for _, path := range corpus(t) {
		base, err := os.ReadFile(path)
		check(t, err)
		before, _ := qpdf(t, base)
		isClean := before == 0 // what needs a password is not clean for qpdf
		reason, bad := signOne(t, base, keys, before)
		name := strings.TrimPrefix(path, os.Getenv("CORPUS"))
		if bad != "" {
			t.Errorf("%s: %s", name, bad)
		}
		locked := false
		if reason != nil {
			refused[reason.Reason]++
			locked = slices.Contains([]pdf.Reason{pdf.ReasonLocked, pdf.ReasonEncrypted, pdf.ReasonPermission}, reason.Reason)
			if isClean {
				t.Logf("clean but refused: %s: %v", name, reason)
			}
		} else {
			signed++
		}
		if isClean && !locked {
			clean++
			if reason == nil {
				cleanSigned++
			}
		}
	}
	t.Logf("signed %d, refused %v; of %d clean files %d signed (%.1f %%)", signed, refused,
		clean, cleanSigned, 100*float64(cleanSigned)/float64(max(clean, 1)))
	if clean == 0 || cleanSigned*100 < clean*95 {
		t.Errorf("of %d clean files only %d were signed, want 95 %%", clean, cleanSigned)
	}
}

// signOne signs a file and asks the judges; bad says what they found.
func signOne(t *testing.T, base []byte, keys []*softKey, before int) (refused *pdf.RefusedError, bad string) {
	f, err := pdf.Open(bytes.NewReader(base), int64(len(base)))
	if err == nil {
		_, err = f.SignatureFields()
	}
	certification := 2
	if err == nil && f.CheckSigning("", 2) != nil {
		certification = 0 // others have signed before
	}
	var out []byte
	if err == nil {
		out, err = signChain(t, base, keys, certification)
	}
	if err != nil {
		if !errors.As(err, &refused) {
			return nil, "neither signed nor refused: " + err.Error()
		}
		return refused, ""
	}
	after, text := qpdf(t, out)
	if after != before && (before == 0 || after == 2) {
		return nil, "qpdf: " + text
	}
	if n, text := openssl(t, base, out, keys[0].root()); n != len(wanted) || text != "" {
		return nil, fmt.Sprintf("openssl: %d signatures: %s", n, text)
	}
	validBefore, text := pdfsig(t, base)
	if validBefore < 0 { // no verdict on the input is none on us
		t.Logf("pdfsig fails on the input: %.200s", text)
		return nil, ""
	}
	if valid, text := pdfsig(t, out); valid != validBefore+len(wanted) { // earlier ones hold, too
		return nil, fmt.Sprintf("pdfsig: %d valid, %d before: %s", valid, validBefore, text)
	}
	return nil, ""
}
