//go:build judge

package judge

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign/signing/cms"
	"countersign/signing/pdf"
	"countersign/signing/timestamp"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tool runs an outside program with limited time and memory and returns its exit code,
// negative if it ran out of either, and what it printed.
func tool(args ...string) (int, string, error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return 0, "", fmt.Errorf("%s is not installed: run make judge: %w", args[0], err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	const limited = `ulimit -v 2000000; exec "$0" "$@"`
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", limited, path}, args[1:]...)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return 0, "", err
	}
	return cmd.ProcessState.ExitCode(), string(out), nil
}

// says fails unless a program ends with 0 and prints the text.
func says(text string, args ...string) error {
	code, out, err := tool(args...)
	if err == nil && (code != 0 || !strings.Contains(out, text)) {
		err = fmt.Errorf("exit code %d, want 0 and %q: %s", code, text, out)
	}
	return err
}

func byQPDF(_ exhibit, r judgeRequest) error {
	return says("No syntax or stream encoding errors found", "qpdf", "--check", r.File)
}

// byPDFSig: every signature is valid. It says nothing of document timestamps.
func byPDFSig(e exhibit, r judgeRequest) error {
	_, out, err := tool("pdfsig", "-nocert", r.File)
	if err != nil {
		return err
	}
	if n := strings.Count(out, "Signature Validation: Signature is Valid."); n != len(e.signatures) {
		return fmt.Errorf("%d valid signatures, want %d: %s", n, len(e.signatures), out)
	}
	return nil
}

// byMutool: every digest holds and nothing but allowed changes follow. It does not look at document
// timestamps and trusts nobody: the root is not in its store.
func byMutool(e exhibit, r judgeRequest) error {
	_, out, err := tool("mutool", "sign", "-v", r.File)
	if err != nil {
		return err
	}
	const good = "The document is unchanged since signing."
	const later = "The signature is valid but there have been edits since signing." // by a later signature or timestamp
	if n := strings.Count(out, good) + strings.Count(out, later); n != len(e.signatures) || strings.Contains(out, "Digest error") {
		return fmt.Errorf("%d unchanged signatures, want %d: %s", n, len(e.signatures), out)
	}
	return nil
}

// A part is a signature or document timestamp of a file, with what it covers.
type part struct {
	pdf.Field
	der     []byte
	covered []byte
}

func parts(b []byte) ([]part, error) {
	f, err := pdf.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	fields, err := f.SignatureFields()
	if err != nil {
		return nil, err
	}
	var found []part
	for _, fd := range fields {
		if !fd.Signed {
			continue
		}
		padded, err := hex.DecodeString(string(fd.ContentsHex))
		if err != nil {
			return nil, err
		}
		der, err := cms.Trim(padded)
		if err != nil {
			return nil, err
		}
		r := fd.ByteRange
		found = append(found, part{fd, der, slices.Concat(b[r[0]:r[0]+r[1]], b[r[2]:r[2]+r[3]])})
	}
	return found, nil
}

const documentTimestamp = "ETSI.RFC3161"

// byOpenSSL: every signature is a CAdES signature of a certificate below the root, valid
// when it was made.
func byOpenSSL(e exhibit, r judgeRequest) error {
	all, err := parts(e.pdf)
	if err != nil {
		return err
	}
	dir := filepath.Dir(r.File)
	n := 0
	for i, p := range all {
		if p.SubFilter == documentTimestamp {
			continue
		}
		n++
		der, covered := filepath.Join(dir, fmt.Sprintf("%d.cms", i)), filepath.Join(dir, fmt.Sprintf("%d.covered", i))
		if err := errors.Join(os.WriteFile(der, p.der, 0o600), os.WriteFile(covered, p.covered, 0o600)); err != nil {
			return err
		}
		at, err := signingTime(p, e.at)
		if err != nil {
			return err
		}
		err = says("CAdES Verification successful", "openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", der,
			"-content", covered, "-CAfile", r.Roots[0], "-no-CApath", "-purpose", "any", "-attime", strconv.FormatInt(at.Unix(), 10),
			"-out", os.DevNull)
		if err != nil {
			return fmt.Errorf("field %q: %w", p.Name, err)
		}
	}
	if n != len(e.signatures) {
		return fmt.Errorf("%d signatures, want %d", n, len(e.signatures))
	}
	return nil
}

// signingTime is that of the signature's timestamp, else the given time.
func signingTime(p part, at time.Time) (time.Time, error) {
	c, err := cms.Parse(p.der)
	if err != nil || c.Token == nil {
		return at, err
	}
	t, err := timestamp.ParseToken(c.Token)
	return t.Time, err
}

// byOpenSSLTS: every signature timestamp and every document timestamp is one over what it
// claims, by a certificate below the root that was valid then.
func byOpenSSLTS(e exhibit, r judgeRequest) error {
	all, err := parts(e.pdf)
	if err != nil {
		return err
	}
	n, documents := 0, 0
	for i, p := range all {
		token, covered := p.der, p.covered
		if p.SubFilter == documentTimestamp {
			documents++
		} else {
			c, err := cms.Parse(p.der)
			if err != nil {
				return err
			}
			if token, covered = c.Token, c.Signature; token == nil {
				continue
			}
		}
		n++
		if err := verifyToken(token, covered, filepath.Join(filepath.Dir(r.File), fmt.Sprintf("ts%d", i)), r.Roots[0]); err != nil {
			return fmt.Errorf("field %q: %w", p.Name, err)
		}
	}
	want := e.timestamps
	for _, w := range e.signatures {
		if w.stamped() {
			want++
		}
	}
	if n != want || documents != e.timestamps {
		return fmt.Errorf("%d timestamps, %d of the document; want %d and %d", n, documents, want, e.timestamps)
	}
	return nil
}

func verifyToken(token, covered []byte, path, root string) error {
	t, err := timestamp.ParseToken(token)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, token, 0o600); err != nil {
		return err
	}
	h := t.Hash
	if h != crypto.SHA256 && h != crypto.SHA512 && h != crypto.SHA384 {
		return fmt.Errorf("hash %v", h)
	}
	w := h.New()
	w.Write(covered)
	return says("Verification: OK", "openssl", "ts", "-verify", "-digest", hex.EncodeToString(w.Sum(nil)), "-in", path, "-token_in",
		"-CAfile", root, "-attime", strconv.FormatInt(t.Time.Unix(), 10))
}
