package engine

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"countersign/mailflow/message"
	"countersign/store"
)

// failing is a blob whose disk fails at the n-th read.
type failing struct {
	*bytes.Reader
	n int
}

func (f *failing) Close() error { return nil }
func (f *failing) Size() int64  { return f.Reader.Size() }

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.n--; f.n == 0 {
		return 0, syscall.EIO
	}
	return f.Reader.ReadAt(p, off)
}

var _ store.Blob = (*failing)(nil)

// TestDiskIsToBlame: whatever read fails, it shows that the disk is at fault and not
// the mail, also where the mail's reader takes it for a part that is no PDF.
func TestDiskIsToBlame(t *testing.T) {
	raw := "From: a@b.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nText\r\n--b\r\nContent-Type: application/pdf\r\n\r\n%PDF-1.7\r\n--b--\r\n"
	failed := 0
	for n := 1; n < 20; n++ {
		f := &noting{Blob: &failing{Reader: bytes.NewReader([]byte(raw)), n: n}}
		a := &arrival{}
		var err error
		if a.msg, err = message.Parse(f, f.Size(), message.Limits{}); err == nil {
			err = (&Engine{Desk: &Desk{}}).know(a)
		}
		switch {
		case f.err != nil:
			failed++
			if !errors.Is(f.err, syscall.EIO) || errors.Is(f.err, io.EOF) {
				t.Errorf("read %d: %v", n, f.err)
			}
		case err != nil:
			t.Errorf("read %d: the mail is blamed: %v", n, err)
		case len(a.pdfs) != 1:
			t.Errorf("read %d: %d PDFs", n, len(a.pdfs))
		}
	}
	if failed < 3 {
		t.Errorf("only %d reads failed", failed)
	}
}

// TestKeyed: one at a time for each key.
func TestKeyed(t *testing.T) {
	var k keyed
	unlock := k.lock("a")
	k.lock("b")()
	got := make(chan struct{})
	go func() {
		k.lock("a")()
		close(got)
	}()
	select {
	case <-got:
		t.Fatal("two hold the key")
	default:
	}
	unlock()
	<-got
}
