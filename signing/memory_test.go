//go:build !race

package signing_test

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/pdf"
)

// TestMain runs this test binary as a child that signs one file, where the
// environment says so: only a process of its own shows how much memory it takes, and
// that nothing makes it panic or run on and on.
func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		code := child(path)
		status, _ := os.ReadFile("/proc/self/status")
		fmt.Printf("\n%s", status) // for rss
		os.Exit(code)
	}
	os.Exit(m.Run())
}

const childEnv = "SIGN_THIS"

// Exit codes of the child; a panic gives 2.
const (
	childSigned  = 0
	childRefused = 11
	childBroken  = 12 // neither signed nor refused, or not what it must be
)

// child signs a file into the one beside it, or does what else its name says, and says
// why not.
func child(path string) int {
	var err error
	switch filepath.Ext(path) {
	case ".der":
		err = parseCMS(path)
	case ".list":
		err = damageAll(path)
	default:
		err = signFile(path, path+".signed")
	}
	if _, refused := errors.AsType[*pdf.RefusedError](err); refused {
		fmt.Println(err)
		return childRefused
	}
	if err != nil {
		fmt.Println(err)
		return childBroken
	}
	return childSigned
}

// signFile prepares a file and signs it once, without ever holding it in memory.
func signFile(path, to string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	r0, err := os.Create(path + ".r0")
	if err != nil {
		return err
	}
	defer r0.Close()
	res, names, err := signing.Prepare(r0, io.NewSectionReader(in, 0, info.Size()), wanted[:1])
	if err != nil {
		return err
	}
	key := newKeys(childTB{}, "p256")[0]
	intent, err := signing.NewIntent(r0, res.Size, signing.Params{Field: names[0], SigningTime: now, Chain: key.chain})
	if err != nil {
		return err
	}
	ticket, err := signing.NewTicket(intent)
	if err != nil {
		return err
	}
	sig, err := ticket.Sign(context.Background(), key)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if res, err = signing.Finish(out, r0, intent, signing.Proof{Signature: sig}); err != nil {
		return err
	}
	return signing.Check(out, res.Size, intent)
}

// childTB stands in for a test in the child, which has none.
type childTB struct{ testing.TB }

func (childTB) Helper() {}

func (childTB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// An outcome is what a child did.
type outcome struct {
	code int // -1: killed
	text string
	rss  int // largest resident memory in MB
	cpu  time.Duration
}

// inChild signs a file in a child that is killed after the given time.
func inChild(t *testing.T, path string, limit time.Duration) outcome {
	t.Helper()
	exe, err := os.Executable()
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	out := outcome{code: cmd.ProcessState.ExitCode(), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	said, status, _ := strings.Cut(string(text), "\nName:")
	out.text = strings.TrimSpace(said)
	// What getrusage says counts the parent's memory, too, which the child had until exec.
	_, peak, _ := strings.Cut(status, "VmHWM:")
	if _, err := fmt.Sscanf(peak, "%d kB", &out.rss); err != nil {
		out.text += "\n(died before it could tell its memory)"
	}
	out.rss >>= 10
	return out
}

// A bulk writes a large file object by object.
type bulk struct {
	*bufio.Writer
	at   int64
	offs []int64 // by object number
}

func (b *bulk) printf(format string, args ...any) {
	n, _ := fmt.Fprintf(b.Writer, format, args...)
	b.at += int64(n)
}

func (b *bulk) obj(format string, args ...any) {
	b.offs = append(b.offs, b.at)
	b.printf("%d 0 obj\n", len(b.offs))
	b.printf(format, args...)
	b.printf("\nendobj\n")
}

func (b *bulk) table() {
	start := b.at
	b.printf("xref\n0 %d\n0000000000 65535 f \n", len(b.offs)+1)
	for _, at := range b.offs {
		b.printf("%010d 00000 n \n", at)
	}
	b.printf("trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(b.offs)+1, start)
}

// many are kinds of files with very many objects.
var many = map[string]func(b *bulk){
	"300,000 objects, table": func(b *bulk) {
		b.obj("<< /Type /Catalog /Pages 2 0 R >>")
		b.obj("<< /Type /Pages /Count 1 /Kids [3 0 R] >>")
		b.obj("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Resources << >> >>")
		for i := range 300_000 {
			b.obj("<< /Number %d /Text (some text, as objects have) /Next %d 0 R >>", i, i+4)
		}
		b.table()
	},
	"300,000 objects, packed": func(b *bulk) { packedFile(b, 300_000) },
	"100,000 pages": func(b *bulk) {
		b.obj("<< /Type /Catalog /Pages 2 0 R >>")
		b.obj("<< /Type /Pages /Count 100000 /Kids [%s] >>", refs(3, 100_000))
		for range 100_000 {
			b.obj("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Resources << >> >>")
		}
		b.table()
	},
	"100,000 fields": func(b *bulk) {
		b.obj("<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [%s] >> >>", refs(4, 100_000))
		b.obj("<< /Type /Pages /Count 1 /Kids [3 0 R] >>")
		b.obj("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Resources << >> /Annots [%s] >>", refs(4, 100_000))
		for i := range 100_000 {
			kind := "Tx"
			if i%100 == 0 {
				kind = "Sig"
			}
			b.obj("<< /Type /Annot /Subtype /Widget /FT /%s /T (field %d) /Rect [0 0 0 0] /P 3 0 R >>", kind, i)
		}
		b.table()
	},
}

func refs(first, count int) string {
	var s strings.Builder
	for i := range count {
		fmt.Fprintf(&s, "%d 0 R ", first+i)
	}
	return s.String()
}

// packedFile has count objects, a hundred of them in each object stream.
func packedFile(b *bulk, count int) {
	const each = 100
	streams := (count + each - 1) / each
	rows := make([]byte, 0, 7*(count+streams+2))
	rows = append(rows, 0, 0, 0, 0, 0, 0, 0)
	row := func(kind byte, where, index int) {
		rows = append(rows, kind)
		rows = binary.BigEndian.AppendUint32(rows, uint32(where))
		rows = binary.BigEndian.AppendUint16(rows, uint16(index))
	}
	body := func(num int) string {
		switch num {
		case 1:
			return "<< /Type /Catalog /Pages 2 0 R >>"
		case 2:
			return "<< /Type /Pages /Count 1 /Kids [3 0 R] >>"
		case 3:
			return "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Resources << >> >>"
		}
		return fmt.Sprintf("<< /Number %d /Text (some text, as objects have) >>", num)
	}
	for num := 1; num <= count; num++ {
		row(2, count+1+(num-1)/each, (num-1)%each)
	}
	for s := range streams {
		var index, data bytes.Buffer
		n := 0
		for num := s*each + 1; num <= min(count, (s+1)*each); num++ {
			fmt.Fprintf(&index, "%d %d ", num, data.Len())
			data.WriteString(body(num) + " ")
			n++
		}
		row(1, int(b.at), 0)
		z := deflated(append(index.Bytes(), data.Bytes()...))
		b.printf("%d 0 obj\n<< /Type /ObjStm /N %d /First %d /Filter /FlateDecode /Length %d >>\nstream\n", count+1+s, n, index.Len(), len(z))
		b.printf("%s\nendstream\nendobj\n", z)
	}
	start := b.at
	self := count + streams + 1
	row(1, int(start), 0)
	z := deflated(rows)
	b.printf("%d 0 obj\n<< /Type /XRef /W [1 4 2] /Size %d /Root 1 0 R /Filter /FlateDecode /Length %d >>\nstream\n", self, self+1, len(z))
	b.printf("%s\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n", z, start)
}

func deflated(b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

// TestMemory: files with very many objects are prepared, signed and read back in 130 MB.
func TestMemory(t *testing.T) {
	const limit = 130
	for name, write := range many {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "many.pdf")
			file, err := os.Create(path)
			check(t, err)
			b := &bulk{Writer: bufio.NewWriter(file)}
			b.printf("%%PDF-1.7\n%%\xe2\xe3\xcf\xd3\n")
			write(b)
			check(t, b.Flush())
			check(t, file.Close())
			got := inChild(t, path, time.Minute)
			if got.code != childSigned {
				t.Fatalf("exit code %d: %s", got.code, got.text)
			}
			if got.rss > limit {
				t.Errorf("it took %d MB", got.rss)
			}
			t.Logf("%d MB resident, %v", got.rss, got.cpu.Round(time.Millisecond))
		})
	}
}
