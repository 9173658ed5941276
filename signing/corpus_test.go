package signing_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/signing/pdf"
)

// corpus returns the PDFs in the folder that CORPUS names; none if it is not set.
func corpus(t testing.TB) (files []string) {
	dir := os.Getenv("CORPUS")
	if dir == "" {
		return nil
	}
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.EqualFold(filepath.Ext(path), ".pdf") {
			files = append(files, path)
		}
		return err
	}))
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
		before, text := qpdf(t, base)
		isClean := before == 0 && strings.Contains(text, "File is not encrypted")
		reason, bad := signOne(t, base, keys, before)
		name := strings.TrimPrefix(path, os.Getenv("CORPUS"))
		if bad != "" {
			t.Errorf("%s: %s", name, bad)
		}
		locked := false
		if reason != nil {
			refused[reason.Reason]++
			locked = reason.Reason == pdf.ReasonLocked
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
	t.Logf("signed %d, refused %v; clean %d, of them signed %d", signed, refused, clean, cleanSigned)
	if cleanSigned*100 < clean*95 {
		t.Errorf("only %d of %d clean files were signed", cleanSigned, clean)
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
	validBefore, _ := pdfsig(t, base)
	after, text := qpdf(t, out)
	if after != before && (before == 0 || after == 2) {
		return nil, "qpdf: " + text
	}
	if valid, text := pdfsig(t, out); valid != validBefore+len(wanted) {
		return nil, "pdfsig: " + text
	}
	return nil, ""
}
