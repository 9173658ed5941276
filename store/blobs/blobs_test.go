package blobs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"countersign/store"
	"countersign/store/blobs"
)

func open(t *testing.T, dir string) *blobs.Store {
	t.Helper()
	s, err := blobs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func put(t *testing.T, s *blobs.Store, b []byte) string {
	t.Helper()
	digest, size, err := s.Put(t.Context(), bytes.NewReader(b))
	if err != nil || digest != digestOf(b) || size != int64(len(b)) {
		t.Fatalf("put %d bytes: %s, %d, %v", len(b), digest, size, err)
	}
	return digest
}

// files lists every file below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, size := range []int{0, 1, 4096, 1<<20 + 1} {
		want := bytes.Repeat([]byte{byte(size), 7, 9}, size/3+1)[:size]
		digest := put(t, s, want)
		if put(t, s, want) != digest {
			t.Error("the same content has two digests")
		}
		f, err := s.Open(digest)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(io.NewSectionReader(f, 0, f.Size()), want); err != nil {
			t.Errorf("ReadAt, %d bytes: %v", size, err)
		}
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) || f.Size() != int64(size) {
			t.Errorf("Read, %d bytes: %d bytes, %v, Size %d", size, len(got), err, f.Size())
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		info, err := os.Stat(filepath.Join(dir, digest[:2], digest))
		if err != nil || info.Mode() != 0o400 {
			t.Errorf("file on disk: %v %v, want mode 0400", info.Mode(), err)
		}
		if has, err := s.Has(digest); err != nil || !has {
			t.Errorf("has: %v %v", has, err)
		}
	}
	if n := len(files(t, dir)); n != 4 {
		t.Errorf("%d files, want 4", n)
	}
}

func TestAbsentAndInvalid(t *testing.T) {
	s := open(t, t.TempDir())
	absent := digestOf([]byte("absent"))
	if has, err := s.Has(absent); has || err != nil {
		t.Errorf("has an absent blob: %v %v", has, err)
	}
	if _, err := s.Open(absent); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("open an absent blob: %v", err)
	}
	for _, bad := range []string{
		"", "ab", absent[:63], absent + "0", strings.ToUpper(absent), "../../../../etc/passwd",
		".." + absent[2:], "a/" + absent[2:], strings.Repeat("é", 32), strings.Repeat("\x00", 64),
	} {
		if _, err := s.Has(bad); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("has %q: %v", bad, err)
		}
		if _, err := s.Open(bad); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("open %q: %v", bad, err)
		}
	}
}

// TestDamage: any change to a file is found before a byte of it is used, and
// storing the content again mends it.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	content := bytes.Repeat([]byte("contract"), 1000)
	digest := put(t, s, content)
	name := filepath.Join(dir, digest[:2], digest)
	for what, bad := range map[string][]byte{
		"flipped bit": append([]byte{content[0] ^ 1}, content[1:]...),
		"cut":         content[:len(content)-1],
		"longer":      append(slices.Clone(content), 0),
		"empty":       nil,
	} {
		if err := errors.Join(os.Remove(name), os.WriteFile(name, bad, 0o400)); err != nil {
			t.Fatal(err)
		}
		_, err := s.Open(digest)
		if !errors.Is(err, blobs.ErrCorrupt) || !strings.Contains(err.Error(), digest) {
			t.Errorf("%s: %v", what, err)
		}
		put(t, s, content)
		f, err := s.Open(digest)
		if err != nil {
			t.Fatalf("%s, mended: %v", what, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLinksLeadNowhere: a link that somebody put into the directory opens nothing outside.
func TestLinksLeadNowhere(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	content := []byte("outside")
	digest := digestOf(content)
	err := errors.Join(
		os.WriteFile(filepath.Join(outside, digest), content, 0o400),
		os.Symlink(outside, filepath.Join(dir, digest[:2])),
	)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	if f, err := s.Open(digest); err == nil {
		t.Errorf("read %d bytes through a link that leaves the directory", f.Size())
	}
	if _, _, err := s.Put(t.Context(), bytes.NewReader(content)); err == nil {
		t.Error("wrote through a link that leaves the directory")
	}
}

// TestNothingHalf: whatever goes wrong while writing, nothing stays.
func TestNothingHalf(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	boom := errors.New("boom")
	if _, _, err := s.Put(t.Context(), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(boom))); !errors.Is(err, boom) {
		t.Errorf("source fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Put(ctx, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "given up"); err != nil {
		t.Error(err)
	}
	if n := len(files(t, dir)); n != 1 {
		t.Errorf("%d files while writing, want the temporary one", n)
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.Write([]byte("more")); err == nil {
		t.Error("write after Close passed")
	}
	if _, _, err := w.Commit(); err == nil {
		t.Error("commit after Close passed")
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// TestSweep: what a killed writer left goes at the next Open; other files stay.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	digest := put(t, s, []byte("kept"))
	if _, err := s.Create(); err != nil { // never closed
		t.Fatal(err)
	}
	others := []string{".new-notes.txt", ".new-0123456789abcdef0", "new-0123456789abcdef", "README"}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir)
	want := append(slices.Clone(others), digest[:2]+"/"+digest)
	slices.Sort(want)
	if got := files(t, dir); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("after the sweep %v, want %v", got, want)
	}
}

func TestConcurrentPut(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 5 {
				content := bytes.Repeat([]byte{byte(i)}, 1000) // the same in all goroutines
				digest, _, err := s.Put(t.Context(), bytes.NewReader(content))
				if err != nil {
					t.Error(w, err)
					continue
				}
				f, err := s.Open(digest)
				if err != nil {
					t.Error(w, err)
					continue
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(files(t, dir)); n != 5 {
		t.Errorf("%d files, want 5", n)
	}
}

func TestOpenNeedsDirectory(t *testing.T) {
	if _, err := blobs.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func BenchmarkPut100KB(b *testing.B) {
	s, err := blobs.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	content := make([]byte, 100<<10)
	b.SetBytes(int64(len(content)))
	for n := 0; b.Loop(); n++ {
		content[0], content[1], content[2] = byte(n), byte(n>>8), byte(n>>16)
		if _, _, err := s.Put(b.Context(), bytes.NewReader(content)); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Error(err)
	}
}
