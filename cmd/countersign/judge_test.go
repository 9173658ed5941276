package main

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"countersign/signing/cms"
	"countersign/signing/pdf"
)

// A signedFile is a signed PDF with what is known of it: what people saw of it, how
// many signatures it must have, and the authorities to trust, see verdict.
type signedFile struct {
	signed, r0 []byte
	signatures int
	caFile     string
}

// judge fails the test unless all judges accept the file and it begins with what
// people saw.
func judge(t *testing.T, f signedFile) {
	t.Helper()
	if !bytes.HasPrefix(f.signed, f.r0) {
		t.Error("the signed file does not begin with the file that people saw")
	}
	path := filepath.Join(t.TempDir(), "signed.pdf")
	if err := os.WriteFile(path, f.signed, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verdict(path, f.signatures, f.caFile); err != nil {
		t.Error(err)
	}
}

// verdict is what qpdf, pdfsig and OpenSSL say of a signed PDF: it is a sound PDF, has
// that many signatures beside document timestamps (which pdfsig lists but does not know), all
// are valid, and the last one or the last timestamp covers the whole file. OpenSSL
// trusts the certificates in caFile, or those in the signature itself if it is "".
func verdict(path string, signatures int, caFile string) error {
	if out, err := exec.Command("qpdf", "--check", path).CombinedOutput(); err != nil {
		return fmt.Errorf("qpdf --check %s (missing? make deps): %w\n%s", path, err, out)
	}
	out, err := exec.Command("pdfsig", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pdfsig %s (missing? make deps): %w\n%s", path, err, out)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	timestamps := bytes.Count(file, []byte("/SubFilter /ETSI.RFC3161"))
	parts := bytes.Split(out, []byte("Signature #"))
	last := parts[len(parts)-1]
	valid := bytes.Count(out, []byte("Signature is Valid."))
	if valid != signatures || len(parts)-1 != signatures+timestamps || !bytes.Contains(last, []byte("Total document signed")) {
		return fmt.Errorf("%s: want %d valid signatures, of which the last covers the whole file:\n%s", path, signatures, out)
	}
	return opensslVerdict(path, signatures+timestamps, caFile)
}

var byteRange = regexp.MustCompile(`/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]`)

// opensslVerdict lets OpenSSL verify each signature as a detached CAdES signature, and each
// document timestamp as a token, over its byte range.
func opensslVerdict(path string, signatures int, caFile string) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	ranges := byteRange.FindAllSubmatch(file, -1)
	if len(ranges) != signatures {
		return fmt.Errorf("%s: %d byte ranges, want %d", path, len(ranges), signatures)
	}
	dir, err := os.MkdirTemp("", "judge-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for i, m := range ranges {
		var n [4]int
		for j := range n {
			if _, err := fmt.Sscan(string(m[j+1]), &n[j]); err != nil {
				return err
			}
		}
		if n[1] > n[2] || n[2]+n[3] > len(file) {
			return fmt.Errorf("%s: byte range %v in a file of %d bytes", path, n, len(file))
		}
		content := append(bytes.Clone(file[:n[1]]), file[n[2]:n[2]+n[3]]...)
		if err := opensslVerify(dir, content, bytes.Trim(file[n[1]:n[2]], "<>"), caFile); err != nil {
			return fmt.Errorf("%s, signature %d: %w", path, i+1, err)
		}
	}
	return nil
}

// opensslVerify checks one signature, given as the digits of /Contents.
func opensslVerify(dir string, content, digits []byte, caFile string) error {
	padded := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(padded, digits); err != nil {
		return err
	}
	der, err := cms.Trim(padded)
	if err != nil {
		return err
	}
	p, err := cms.Parse(der)
	if err != nil {
		return err
	}
	args := []string{
		"cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", filepath.Join(dir, "cms"),
		"-content", filepath.Join(dir, "content"), "-purpose", "any", "-out", os.DevNull, "-partial_chain", "-CAfile",
	}
	if p.Content != nil {
		args = []string{
			"ts", "-verify", "-token_in", "-in", filepath.Join(dir, "cms"), "-data", filepath.Join(dir, "content"),
			"-partial_chain", "-CAfile",
		}
	}
	if caFile != "" {
		args = append(args, caFile)
	} else {
		caFile = filepath.Join(dir, "certificates.pem")
		if err := writeCertificates(caFile, p); err != nil {
			return err
		}
		args = append(args, caFile)
	}
	err = errors.Join(os.WriteFile(filepath.Join(dir, "cms"), der, 0o600), os.WriteFile(filepath.Join(dir, "content"), content, 0o600))
	if err != nil {
		return err
	}
	if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("openssl %s -verify (missing? make deps): %w\n%s", args[0], err, out)
	}
	return nil
}

func writeCertificates(path string, p cms.Parsed) error {
	var b bytes.Buffer
	for _, c := range p.Certificates {
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// TestVerdict: the judges do say no.
func TestVerdict(t *testing.T) {
	path := t.TempDir() + "/unsigned.pdf"
	if err := os.WriteFile(path, pdf.Sample("Unsigned", []string{"Nothing."}), 0o600); err != nil {
		t.Fatal(err)
	}
	if verdict(path, 1, "") == nil {
		t.Error("an unsigned file is said to be signed")
	}
}
