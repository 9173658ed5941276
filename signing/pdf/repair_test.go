package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// repair repairs in and checks that the result is a regular file that needs no repair.
func repair(t testing.TB, in []byte) (*File, []byte, error) {
	t.Helper()
	var out bytes.Buffer
	res, err := Repair(&out, bytes.NewReader(in), int64(len(in)))
	if err != nil {
		return nil, nil, err
	}
	if res.Size != int64(out.Len()) {
		t.Errorf("wrote %d bytes, reported %d", out.Len(), res.Size)
	}
	f, err := Open(bytes.NewReader(out.Bytes()), res.Size)
	if err == nil {
		err = f.CheckStructure()
	}
	return f, out.Bytes(), err
}

// stream returns a stream object whose /Length is as given.
func stream(num int, length, data string) string {
	return fmt.Sprintf("%d 0 obj\n<< /Length %s >>\nstream\n%s\nendstream\nendobj\n", num, length, data)
}

const page = "1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n" +
	"3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>\nendobj\n"

const end = "trailer\n<< /Root 1 0 R /Size 9 >>\nstartxref\n0\n%%EOF\n"

func TestRepair(t *testing.T) {
	sample := string(Sample("Contract", []string{"one", "two"}))
	table := regexp.MustCompile(`(?s)xref\n.*trailer`)
	for name, c := range map[string]struct{ in, want string }{
		"wrong offsets":     {strings.Replace(sample, "1 0 obj", "% a line more\n1 0 obj", 1), "(two) Tj"},
		"no table":          {table.ReplaceAllString(sample, "trailer"), "(two) Tj"},
		"no startxref":      {sample[:strings.LastIndex(sample, "startxref")], "(two) Tj"},
		"no trailer":        {sample[:strings.LastIndex(sample, "xref\n0")], "(two) Tj"},
		"junk before":       {"HTTP/1.1 200 OK\r\n\r\n" + sample, "(two) Tj"},
		"junk behind":       {sample + "\r\n--boundary--\r\n<html>", "(two) Tj"},
		"cut in the table":  {sample[:strings.LastIndex(sample, "0000000000 65535")+70], "(two) Tj"},
		"length too small":  {"%PDF-1.4\n" + page + stream(4, "3", "q 1 0 0 1 0 0 cm Q") + end, "q 1 0 0 1 0 0 cm Q\nendstream"},
		"length too large":  {"%PDF-1.4\n" + page + stream(4, "300", "q Q") + end, "q Q\nendstream"},
		"length elsewhere":  {"%PDF-1.4\n" + page + stream(4, "5 0 R", "q endstream endobj Q") + "5 0 obj 20 endobj\n" + end, "q endstream endobj Q\nendstream"},
		"length nowhere":    {"%PDF-1.4\n" + page + stream(4, "5 0 R", "q Q") + end, "/Length 3 "},
		"defined twice":     {"%PDF-1.4\n" + page + stream(4, "3", "old") + stream(4, "3", "new") + end, "new\nendstream"},
		"a file in a file":  {"%PDF-1.4\n" + page + stream(4, fmt.Sprint(len(sample)), sample) + end, "(two) Tj"},
		"bad old version":   {"%PDF-1.4\n4 0 obj << /A /B /A /C >> endobj " + page + stream(4, "3", "new") + end, "new"},
		"commented out":     {"%PDF-1.4\n" + page + stream(4, "3", "new") + "% " + strings.ReplaceAll(stream(4, "3", "old"), "\n", " ") + "\n" + end, "new\nendstream"},
		"free of junk":      {"%PDF-1.4\n" + page + "8 0 obj (nobody's) endobj\n" + stream(4, "1", "q") + end, "q\nendstream"},
		"references to nil": {"%PDF-1.4\n" + strings.Replace(page, "/Type /Page ", "/Type /Page /Annots 77 0 R ", 1) + stream(4, "1", "q") + end, "/Annots 77 0 R"},
		"no version":        {"%PDF-\n" + page + stream(4, "1", "q") + end, "%PDF-1.7"},
	} {
		f, out, err := repair(t, []byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if n, err := f.NumPages(); n != 1 || err != nil {
			t.Errorf("%s: %d pages, %v", name, n, err)
		}
		if !bytes.Contains(out, []byte(c.want)) || bytes.Contains(out, []byte("nobody")) || bytes.Contains(out, []byte("old\n")) {
			t.Errorf("%s: the result is\n%s", name, out)
		}
	}
}

// TestRepairLooksTheSame: a reader that mends the broken file by itself shows the same page.
func TestRepairLooksTheSame(t *testing.T) {
	sample := string(Sample("Contract", []string{"one", "two"}))
	for name, in := range map[string]string{
		"wrong offsets": strings.Replace(sample, "1 0 obj", "% a line more\n1 0 obj", 1),
		"no startxref":  sample[:strings.LastIndex(sample, "startxref")],
		"junk":          "junk\n" + sample + "junk\n",
		"bad length":    strings.Replace(sample, "/Length ", "/Length 1", 1),
	} {
		_, out, err := repair(t, []byte(in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if before, after := render(t, []byte(in)), render(t, out); !bytes.Equal(before, after) || len(before) < 1000 {
			t.Errorf("%s: the page looks different (%d and %d bytes)", name, len(before), len(after))
		}
	}
}

// render returns the first page as a grey picture.
func render(t *testing.T, file []byte) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "pdftoppm", "-gray", "-r", "40", "-singlefile", "-")
	cmd.Stdin = bytes.NewReader(file)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pdftoppm: %v", err)
	}
	return out
}

func TestNoRepair(t *testing.T) {
	sample := string(Sample("Contract", []string{"one", "two"}))
	for name, c := range map[string]struct {
		in   string
		want Reason
	}{
		"no PDF":                  {"hello", ReasonNotPDF},
		"cut off":                 {sample[:strings.Index(sample, "6 0 obj")], ReasonBroken},
		"cut off in an object":    {sample[:strings.Index(sample, "endstream")], ReasonBroken},
		"two PDFs":                {sample + sample, ReasonBroken},
		"two catalogs":            {"%PDF-1.4\n" + page + strings.NewReplacer("1 0 obj", "11 0 obj").Replace(page) + stream(4, "1", "q"), ReasonBroken},
		"no catalog":              {"%PDF-1.4\n2 0 obj\n<< /Type /Pages /Kids [] /Count 0 >>\nendobj\n" + end, ReasonBroken},
		"damaged object":          {"%PDF-1.4\n" + page + "4 0 obj << /A (x >> endobj\n" + end, ReasonBroken},
		"encrypted":               {"%PDF-1.4\n" + page + stream(4, "1", "q") + "trailer << /Root 1 0 R /Encrypt 5 0 R >>\n%%EOF", ReasonEncrypted},
		"signed":                  {"%PDF-1.4\n" + page + stream(4, "1", "q") + "5 0 obj << /Type /Sig /ByteRange [0 1 2 3] /Contents <00> >> endobj\n" + end, ReasonSignature},
		"signed, dict in a field": {"%PDF-1.4\n" + page + stream(4, "1", "q") + "5 0 obj << /V << /ByteRange [0 1 2 3] >> >> endobj\n" + end, ReasonSignature},
		"signed, and unreadable":  {"%PDF-1.4\n" + page + stream(4, "1", "q") + "5 0 obj << /ByteRange [0 1 2 3] /A (( >> endobj\n" + end, ReasonSignature},
		"object numbers":          {"%PDF-1.4\n" + page + "4 0 obj 7000000 0 R endobj 7000000 0 obj 1 endobj " + end, ReasonTooLarge},
	} {
		_, out, err := repair(t, []byte(c.in))
		if re, ok := errors.AsType[*RefusedError](err); !ok || re.Reason != c.want {
			t.Errorf("%s: %v, want %s\n%s", name, err, c.want, out)
		}
	}
}

// TestRepairPacked: objects in object streams come out, the newest versions of them.
func TestRepairPacked(t *testing.T) {
	dir := t.TempDir()
	in, packed := filepath.Join(dir, "in.pdf"), filepath.Join(dir, "packed.pdf")
	if err := os.WriteFile(in, Sample("Contract", []string{"one"}), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "qpdf", "--object-streams=generate", in, packed).CombinedOutput(); err != nil {
		t.Fatalf("qpdf: %v\n%s", err, out)
	}
	b, err := os.ReadFile(packed)
	if err != nil {
		t.Fatal(err)
	}
	f, out, err := repair(t, append([]byte("junk\n"), b...))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.NumPages(); n != 1 || err != nil || bytes.Contains(out, []byte("ObjStm")) || bytes.Contains(out, []byte("/XRef")) {
		t.Errorf("%d pages, %v\n%s", n, err, out)
	}
	repaired := filepath.Join(dir, "repaired.pdf")
	if err := os.WriteFile(repaired, out, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "qpdf", "--check", repaired).CombinedOutput(); err != nil {
		t.Errorf("qpdf --check: %v\n%s", err, out)
	}
}

// FuzzRepair: what comes out is regular, or nothing does.
func FuzzRepair(f *testing.F) {
	sample := Sample("x", nil)
	f.Add(sample)
	f.Add(sample[:len(sample)-40])
	f.Add(append([]byte("junk"), sample...))
	f.Add([]byte("%PDF-1.4\n" + page + stream(4, "5 0 R", "q Q") + "5 0 obj 3 endobj\n" + end))
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		if _, err := Repair(&out, bytes.NewReader(in), int64(len(in))); err != nil {
			return
		}
		again, err := Open(bytes.NewReader(out.Bytes()), int64(out.Len()))
		if err != nil {
			t.Fatalf("the result is refused: %v\n%s", err, out.Bytes())
		}
		if err := again.readForm(); err == nil && strings.Contains(fmt.Sprint(again.form.fields), "ByteRange") {
			t.Error("a signature came through")
		}
	})
}

// BenchmarkRepair mends a file of 100,000 small objects whose table is gone.
func BenchmarkRepair(b *testing.B) {
	var in bytes.Buffer
	in.WriteString("%PDF-1.4\n" + strings.Replace(page, "/Type /Page ", "/Type /Page /Annots 100000 0 R ", 1) + stream(4, "1", "q"))
	for i := range 100_000 {
		fmt.Fprintf(&in, "%d 0 obj\n[ %d 0 R ]\nendobj\n", 5+i, 4+i)
	}
	in.WriteString("trailer\n<< /Root 1 0 R >>\n%%EOF\n")
	b.SetBytes(int64(in.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Repair(io.Discard, bytes.NewReader(in.Bytes()), int64(in.Len())); err != nil {
			b.Fatal(err)
		}
	}
}
