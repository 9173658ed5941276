package inspect_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/signing/inspect"
	"countersign/signing/inventory"
	"countersign/signing/pdf"
)

// TestMain lets the test binary be its own child process, and one that misbehaves.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || !strings.HasPrefix(os.Args[1], "worker") {
		os.Exit(m.Run())
	}
	limits := inspect.DefaultLimits
	switch os.Args[1] {
	case "worker-small":
		limits.Memory = 100 << 20
	case "worker-hangs":
		_, _ = io.Copy(io.Discard, os.Stdin)
		select {}
	case "worker-dies":
		_, _ = io.ReadFull(os.Stdin, make([]byte, 20))
		os.Exit(1)
	case "worker-talks":
		_, _ = os.Stdout.WriteString(strings.Repeat("\xff", 100))
		select {}
	}
	if err := inspect.Worker(os.Stdin, os.Stdout, limits); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func pool(t testing.TB, mode string, o inspect.Options) *inspect.Pool {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Command = []string{self, mode}
	p := inspect.New(o)
	p.Start()
	t.Cleanup(p.Close)
	return p
}

func second(t testing.TB, p *inspect.Pool, b []byte) (inventory.Reading, error) {
	t.Helper()
	return p.Read(t.Context(), bytes.NewReader(b), int64(len(b)))
}

func own(b []byte) (inventory.Report, error) {
	f, err := pdf.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return inventory.Report{}, err
	}
	return inventory.Take(f)
}

func sample() []byte { return pdf.Sample("A title", []string{"one", "two"}) }

// formed is a document with a form whose names are written in every way.
func formed() []byte {
	return assemble(
		"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R 7 0 R 9 0 R] >> >>",
		"<< /Type /Pages /Kids [3 0 R 8 0 R] /Count 2 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>",
		"<< /T (a\\(\\050\\)b) /FT /Tx /Kids [5 0 R 6 0 R] >>",
		"<< /T <FEFF00E4> /Parent 4 0 R /Type /Annot /Subtype /Widget /Rect [0 0 1 1] >>",
		"<< /T (c) /Parent 4 0 R /FT /B#74n /Kids [] >>",
		"<< /T (S) /FT /Sig >>",
		"<< /Type /Pages /Parent 2 0 R /Count 1 /Kids [10 0 R] >>",
		"<< /T (\\344) /Kids [11 0 R] >>",
		"<< /Type /Page /Parent 8 0 R /MediaBox [0 0 9 9] >>",
		"<< /Parent 9 0 R /FT /Ch /Type /Annot /Subtype /Widget /Rect [0 0 1 1] >>",
	)
}

func assemble(objects ...string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	var at []int
	for i, o := range objects {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, off := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", off)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, start)
	return b.Bytes()
}

// zeros is the zlib stream of n zero bytes, n a multiple of 258 and one more, written
// bit by bit (RFC 1951, 3.2.6): a literal zero, then copies of 258 bytes.
func zeros(n int64) []byte {
	out := []byte{0x78, 0x9c}
	var acc, bits uint
	put := func(code, length uint) {
		for i := range length { // Huffman codes begin with their highest bit
			acc |= code >> (length - 1 - i) & 1 << bits
			if bits++; bits == 8 {
				out, acc, bits = append(out, byte(acc)), 0, 0
			}
		}
	}
	put(0b110, 3) // the last block, fixed codes
	put(0b00110000, 8)
	for range n / 258 {
		put(0b11000101, 8)
		put(0, 5)
	}
	put(0, 7)
	put(0, 8-bits)
	return binary.BigEndian.AppendUint32(out, uint32(n%65521)<<16|1)
}

// bomb is a file of some kilobytes whose cross-reference stream unpacks to a gigabyte.
func bomb(t testing.TB) []byte {
	t.Helper()
	var twice bytes.Buffer
	z := zlib.NewWriter(&twice)
	_, err := z.Write(zeros(258*4_000_000 + 1))
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n")
	start := b.Len()
	fmt.Fprintf(&b, "1 0 obj\n<< /Type /XRef /W [1 4 2] /Size 10 /Root 2 0 R /Filter [/FlateDecode /FlateDecode] /Length %d >>\nstream\n", twice.Len())
	b.Write(twice.Bytes())
	fmt.Fprintf(&b, "\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n", start)
	return b.Bytes()
}

func TestReads(t *testing.T) {
	p := pool(t, "worker", inspect.Options{})
	for name, b := range map[string][]byte{"sample": sample(), "form": formed()} {
		r, err := second(t, p, b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		ours, err := own(b)
		if err != nil {
			t.Fatal(err)
		}
		if found := inventory.Compare(ours.Reading, r); len(found) > 0 || r.Pages == 0 {
			t.Errorf("%s: %v\nown    %v\nsecond %v", name, found, ours.Reading, r)
		}
	}
}

// TestEncrypted: a document that opens with the empty password is read by both, and
// what is attached to it has its digest in the clear.
func TestEncrypted(t *testing.T) {
	p := pool(t, "worker", inspect.Options{})
	dir := t.TempDir()
	plain, file := filepath.Join(dir, "plain.pdf"), filepath.Join(dir, "invoice.xml")
	data := bytes.Repeat([]byte("<a/>"), 1000)
	if err := errors.Join(os.WriteFile(plain, formed(), 0o600), os.WriteFile(file, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(data)
	for name, how := range map[string][]string{
		"RC4-40":  {"40", "--allow-weak-crypto"},
		"AES-128": {"128", "--use-aes=y"},
		"AES-256": {"256"},
	} {
		out := filepath.Join(dir, name+".pdf")
		args := []string{"--add-attachment", file, "--", plain, "--encrypt", "", "owner", how[0]}
		weak := len(how) > 1 && how[1] == "--allow-weak-crypto"
		if len(how) > 1 && !weak {
			args = append(args, how[1])
		}
		args = append(args, "--", out)
		if weak {
			args = append([]string{how[1]}, args...)
		}
		if said, err := exec.CommandContext(t.Context(), "qpdf", args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: qpdf (missing? make deps): %v\n%s", name, err, said)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := own(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, err := second(t, p, b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if found := inventory.Compare(ours.Reading, r); len(found) > 0 || len(r.Fields) != 5 {
			t.Errorf("%s: %v\nown    %v\nsecond %v", name, found, ours.Reading, r)
		}
		if a := ours.Attached; len(a) != 1 || a[0].Name != "invoice.xml" || a[0].SHA256 != hex.EncodeToString(digest[:]) {
			t.Errorf("%s: attached %v, want %x", name, a, digest)
		}
	}
}

// TestDisagree: a reference with another generation leads nowhere for us, and to a
// field for the second reader.
func TestDisagree(t *testing.T) {
	b := bytes.Replace(formed(), []byte("[4 0 R 7 0 R"), []byte("[4 0 R 7 1 R"), 1)
	r, err := second(t, pool(t, "worker", inspect.Options{}), b)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := own(b)
	if err != nil {
		t.Fatal(err)
	}
	found := inventory.Compare(ours.Reading, r)
	if len(found) != 1 || found[0].Class != inventory.ReaderDisagreement {
		t.Errorf("%v\nown    %v\nsecond %v", found, ours.Reading, r)
	}
}

// TestConcurrent: documents that come at once share the children, and one child
// reads many.
func TestConcurrent(t *testing.T) {
	p := pool(t, "worker", inspect.Options{Workers: 2, Documents: 7})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if r, err := second(t, p, formed()); err != nil || r.Pages != 2 || len(r.Fields) != 5 {
					t.Errorf("%v %v", r, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestBadDocuments: what it cannot read costs no more than the answer, and the next
// document is read.
func TestBadDocuments(t *testing.T) {
	p := pool(t, "worker", inspect.Options{})
	good := sample()
	for name, b := range map[string][]byte{"empty": nil, "text": []byte("hello"), "cut": good[:len(good)/2]} {
		if r, err := second(t, p, b); err == nil && name != "cut" || err != nil && !errors.Is(err, inventory.ErrNoReading) {
			t.Errorf("%s: %v %v", name, r, err)
		}
		if _, err := second(t, p, good); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

// TestBomb: a child that would take all memory dies of its limit, and is replaced.
func TestBomb(t *testing.T) {
	p := pool(t, "worker-small", inspect.Options{})
	b := bomb(t)
	if len(b) > 20_000 {
		t.Fatalf("the bomb has %d bytes", len(b))
	}
	if r, err := second(t, p, b); !errors.Is(err, inventory.ErrNoReading) {
		t.Errorf("%v %v", r, err)
	}
	if _, err := second(t, p, sample()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestBadChildren(t *testing.T) {
	for _, mode := range []string{"worker-hangs", "worker-dies", "worker-talks"} {
		p := pool(t, mode, inspect.Options{Timeout: 300 * time.Millisecond})
		for range 2 {
			if r, err := second(t, p, sample()); !errors.Is(err, inventory.ErrNoReading) {
				t.Errorf("%s: %v %v", mode, r, err)
			}
		}
	}
	p := inspect.New(inspect.Options{Command: []string{filepath.Join(t.TempDir(), "nothing")}})
	defer p.Close()
	if _, err := second(t, p, sample()); !errors.Is(err, inventory.ErrNoReading) {
		t.Errorf("no program: %v", err)
	}
}

// TestLargest: the second reader keeps whole documents in memory, so what is very
// large is not given to it.
func TestLargest(t *testing.T) {
	p := pool(t, "worker", inspect.Options{Largest: 1000})
	if r, err := second(t, p, formed()); !errors.Is(err, inventory.ErrNoReading) {
		t.Errorf("%v %v", r, err)
	}
}

func TestCancelled(t *testing.T) {
	p := pool(t, "worker-hangs", inspect.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.Read(ctx, bytes.NewReader(sample()), 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

type faulty struct{}

var errDisk = errors.New("disk")

func (faulty) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

// TestDisk: a fault of the disk is told as such, not as one of the document.
func TestDisk(t *testing.T) {
	p := pool(t, "worker", inspect.Options{})
	if _, err := p.Read(t.Context(), faulty{}, 100); !errors.Is(err, errDisk) || errors.Is(err, inventory.ErrNoReading) {
		t.Errorf("%v", err)
	}
	if _, err := second(t, p, sample()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestClose: a pool ends whatever it is at, and gives no reading afterwards.
func TestClose(t *testing.T) {
	for i := range 20 {
		p := inspect.New(inspect.Options{Command: []string{os.Args[0], "worker"}, Workers: 2})
		if i%2 == 0 {
			p.Start()
		}
		if i%5 == 0 {
			go func() { _, _ = p.Read(context.Background(), bytes.NewReader(sample()), 100) }()
		}
		p.Close()
	}
	p := pool(t, "worker", inspect.Options{Workers: 2})
	p.Close()
	if _, err := second(t, p, sample()); !errors.Is(err, inventory.ErrNoReading) {
		t.Errorf("after Close: %v", err)
	}
}

// TestCorpus reads every PDF in the folder that CORPUS names with both readers.
func TestCorpus(t *testing.T) {
	p := pool(t, "worker", inspect.Options{Workers: 2})
	files := map[string][]byte{"sample.pdf": sample(), "form.pdf": formed(), "bomb.pdf": bomb(t)}
	if dir := os.Getenv("CORPUS"); dir != "" {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.EqualFold(filepath.Ext(path), ".pdf") {
				files[strings.TrimPrefix(path, dir)], err = os.ReadFile(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var both, disagree, failed, refused int
	var lines []string
	began := time.Now()
	for name, b := range files {
		ours, err := own(b)
		r, err2 := second(t, p, b)
		switch {
		case err2 != nil && !errors.Is(err2, inventory.ErrNoReading):
			t.Errorf("%s: %v", name, err2)
		case err != nil:
			refused++
		case err2 != nil:
			failed++
			lines = append(lines, name+": "+err2.Error())
		default:
			both++
			for _, f := range inventory.Compare(ours.Reading, r) {
				disagree++
				lines = append(lines, fmt.Sprintf("%s: %s: catalog %d and %d, pages %d and %d, fields %d and %d", name, f, ours.Reading.Catalog, r.Catalog, ours.Reading.Pages, r.Pages, len(ours.Reading.Fields), len(r.Fields)))
			}
		}
	}
	slices.Sort(lines)
	for _, l := range lines {
		t.Log(l)
	}
	t.Logf("%d files in %v: refused by our reader %d; read by both %d, of these they disagree about %d; failed in the second reader %d",
		len(files), time.Since(began).Round(time.Millisecond), refused, both, disagree, failed)
}

// BenchmarkRead reads a document of 100 KB with each of the two readers.
func BenchmarkRead(b *testing.B) {
	page := strings.Repeat("0 0 m 9 9 l S\n", 7000)
	doc := assemble(
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(page), page),
	)
	b.Run("own", func(b *testing.B) {
		for b.Loop() {
			if _, err := own(doc); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("second", func(b *testing.B) {
		p := pool(b, "worker", inspect.Options{})
		for b.Loop() {
			if _, err := p.Read(b.Context(), bytes.NewReader(doc), int64(len(doc))); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestDefaultMemory: hostile documents get no more than 200 MB, of which the process has
// up to 40 MB resident before it reads anything.
func TestDefaultMemory(t *testing.T) {
	if m := inspect.DefaultLimits.Memory; m > 160<<20 {
		t.Errorf("%d MB", m>>20)
	}
}
