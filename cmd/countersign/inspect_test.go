package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/mailflow"
	"countersign/signing/pdf"
)

// withCatalog adds entries to the catalog of a sample document, and objects from
// number 10 on, by an update.
func withCatalog(entries string, objects ...string) []byte {
	b := bytes.NewBuffer(samplePDF("Supply contract"))
	prev := bytes.LastIndex(b.Bytes(), []byte("xref\n0 "))
	var table strings.Builder
	fmt.Fprintf(&table, "xref\n1 1\n%010d 00000 n \n10 %d\n", b.Len(), len(objects)+1)
	fmt.Fprintf(b, "1 0 obj\n<< /Type /Catalog /Pages 2 0 R %s >>\nendobj\n", entries)
	for i, o := range append(objects, "null") {
		fmt.Fprintf(&table, "%010d 00000 n \n", b.Len())
		fmt.Fprintf(b, "%d 0 obj\n%s\nendobj\n", 10+i, o)
	}
	fmt.Fprintf(b, "%strailer\n<< /Size %d /Root 1 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n", table.String(), 11+len(objects), prev, b.Len())
	return b.Bytes()
}

func scripted() []byte {
	return withCatalog("/OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>")
}

func invoice() []byte {
	return withCatalog("/Names << /EmbeddedFiles << /Names [(a) << /Type /Filespec /UF (invoice.xml) /EF << /F 10 0 R >> >>] >> >>",
		"<< /Type /EmbeddedFile /Length 4 >>\nstream\n<a/>\nendstream")
}

// disputed is a document in whose form the two readers see different fields.
func disputed() []byte {
	return withCatalog("/AcroForm << /Fields [10 1 R] >>", "<< /T (Amount) /FT /Tx /V (100) >>")
}

// TestSignInspects: sign tells what it finds, and refuses it only if it is told to.
func TestSignInspects(t *testing.T) {
	for _, tc := range []struct {
		name   string
		data   []byte
		flags  []string
		code   int
		stderr string
	}{
		{"plain", samplePDF("Plain"), nil, exitYes, ""},
		{"script", scripted(), nil, exitYes, "javascript: a script that runs when the document is opened\n"},
		{"script refused", scripted(), []string{"--inspect", "refuse"}, exitNo, "print it as a new PDF"},
		{"script, off", scripted(), []string{"--inspect", "off"}, exitYes, ""},
		{"attached", invoice(), []string{"--inspect", "refuse"}, exitYes, "embedded-file: the attached file “invoice.xml”\n"},
		{"disputed", disputed(), nil, exitYes, "reader-disagreement: two readers find different form fields in it\n"},
		{"disputed, refused", disputed(), []string{"--inspect", "refuse"}, exitNo, "readers that disagree"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			in, out := filepath.Join(dir, "in.pdf"), filepath.Join(dir, "out.pdf")
			if err := os.WriteFile(in, tc.data, 0o600); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			args := append([]string{"sign", "--demo", "--level", "B-B"}, tc.flags...)
			if code := run(append(args, in, out), &stdout, &stderr); code != tc.code {
				t.Errorf("exit code %d, want %d: %s", code, tc.code, &stderr)
			}
			if got := stderr.String(); !strings.Contains(got, tc.stderr) || tc.stderr == "" && got != "" {
				t.Errorf("it says %q, want %q", got, tc.stderr)
			}
			if _, err := os.Stat(out); (err == nil) != (tc.code == exitYes) {
				t.Errorf("the signed file: %v", err)
			}
		})
	}
}

// TestUnsafePDF: a document with a script, and one that two readers see differently,
// go back to their sender; nobody else is written to.
func TestUnsafePDF(t *testing.T) {
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"script":   {scripted(), "a script that runs when the document is opened"},
		"disputed": {disputed(), "two readers find different form fields in it"},
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTown(t)
			tn.start()
			m := contract(carlaSigns)
			m.files[0].data = tc.data
			tn.sends(m)
			ask := tn.gets(ann, mailflow.LetterAsk)
			text := strings.Join(strings.Fields(ask.Text), " ")
			if !strings.Contains(text, tc.want) || !strings.Contains(text, "Print it as a new PDF") {
				t.Errorf("the letter does not say %q:\n%s", tc.want, ask.Text)
			}
			tn.reaches(mailflow.StateAsking)
			if n := tn.lettersTo(ben); n != 0 {
				t.Errorf("Ben got %d letters", n)
			}
		})
	}
}

// TestFoundIsTold: what a document holds besides its pages is in the approver's
// letter and in request show; a rule may let through what is refused by default.
func TestFoundIsTold(t *testing.T) {
	tn := newTown(t)
	tn.configure("    signers: draft\n", "    signers: draft\n    inspect: {javascript: warn, embedded-file: allow}\n")
	tn.start()
	m := contract(carlaSigns)
	m.files[0].data = scripted()
	m.files = append(m.files, m.files[0])
	m.files[1].data = invoice()
	tn.sends(m)
	letter := tn.gets(ben, mailflow.LetterApprove)
	text := strings.Join(strings.Fields(letter.Text), " ")
	if !strings.Contains(text, "- Found in document 1: a script that runs when the document is opened.") || strings.Contains(text, "invoice.xml") {
		t.Errorf("the letter says:\n%s", letter.Text)
	}
	r := tn.reaches(mailflow.StateApproving)
	var out bytes.Buffer
	if code := run([]string{"request", "show", "--config", tn.config, r.Ref}, &out, &out); code != exitYes {
		t.Fatalf("request show: %d, %s", code, &out)
	}
	for _, want := range []string{"Found:    javascript: a script that runs when the document is opened", "embedded-file 1", "Attached: “invoice.xml”, 4 bytes, SHA-256 "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("request show does not say %q:\n%s", want, &out)
		}
	}
}

// TestWithCatalog: the documents of these tests are what they shall be.
func TestWithCatalog(t *testing.T) {
	for _, b := range [][]byte{scripted(), invoice(), disputed()} {
		if _, err := pdf.Open(bytes.NewReader(b), int64(len(b))); err != nil {
			t.Errorf("%v\n%s", err, b)
		}
	}
}
