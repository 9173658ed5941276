package storetest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// diskEnv tells the child process of OnSmallDisk how to make its small disk.
const diskEnv = "COUNTERSIGN_TEST_SMALL_DISK"

// A Disk is a directory on a disk that the test fills and empties.
type Disk struct {
	Dir string
	// tmpfs: Dir is a small file system of its own. Otherwise a limit on the size
	// of files stands in for the full disk: writes fail as well, with EFBIG.
	tmpfs bool
	limit syscall.Rlimit // as it was before Fill
}

// OnSmallDisk runs body twice, each time in a child process that is this test
// binary again: on a real file system of 32 MB (a tmpfs in a mount namespace of
// the child's own), and under a limit on the size of files. Where the system
// allows an ordinary user no namespaces, the limit takes both turns. It is for
// top-level tests.
func OnSmallDisk(t *testing.T, body func(t *testing.T, d *Disk)) {
	if how := os.Getenv(diskEnv); how != "" {
		body(t, newDisk(t, how))
		return
	}
	for _, how := range []string{"tmpfs", "limit"} {
		t.Run(how, func(t *testing.T) {
			name, _, _ := strings.Cut(t.Name(), "/")
			out, err := runChild(t, name, how)
			if err != nil {
				t.Fatalf("child with small disk by %s: %v\n%s", how, err, out)
			}
			if !bytes.Contains(out, []byte("--- PASS: "+name)) {
				t.Fatalf("the child did not run %s:\n%s", name, out)
			}
		})
	}
}

// runChild runs one test of this binary again, in its own mount namespace if that
// is wanted and allowed.
func runChild(t *testing.T, name, how string) ([]byte, error) {
	run := func(attr *syscall.SysProcAttr) ([]byte, error) {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+name+"$", "-test.v", "-test.count=1")
		c.Env = append(os.Environ(), diskEnv+"="+how, diskEnv+"_DIR="+t.TempDir())
		c.SysProcAttr = attr
		return c.CombinedOutput()
	}
	if how != "tmpfs" {
		return run(nil)
	}
	out, err := run(&syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	})
	if _, ran := errors.AsType[*exec.ExitError](err); err == nil || ran {
		return out, err
	}
	if os.Getuid() == 0 {
		if out, err = run(&syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}); err == nil {
			return out, nil
		}
		if _, ran := errors.AsType[*exec.ExitError](err); ran {
			return out, err
		}
	}
	t.Logf("no mount namespace here (%v): using a file size limit", err)
	how = "limit"
	return run(nil)
}

// newDisk makes the small disk, in the child.
func newDisk(t *testing.T, how string) *Disk {
	d := &Disk{Dir: os.Getenv(diskEnv + "_DIR")}
	if how == "tmpfs" {
		if err := syscall.Mount("tmpfs", d.Dir, "tmpfs", 0, "size=32m"); err != nil {
			t.Logf("mount a tmpfs: %v; using a file size limit", err)
		} else {
			d.tmpfs = true
		}
	}
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &d.limit); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ) // so that the write returns an error
	return d
}

func (d *Disk) ballast() string { return filepath.Join(d.Dir, "ballast") }

// Fill leaves room for about the given number of bytes.
func (d *Disk) Fill(t testing.TB, leave int64) {
	t.Helper()
	if !d.tmpfs {
		full := d.limit
		full.Cur = uint64(leave)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
			t.Fatal(err)
		}
		return
	}
	f, err := os.Create(d.ballast())
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(f, zeros{})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	if err := errors.Join(f.Truncate(max(0, n-leave)), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// Free undoes Fill.
func (d *Disk) Free(t testing.TB) {
	t.Helper()
	if !d.tmpfs {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &d.limit); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.Remove(d.ballast()); err != nil {
		t.Fatal(err)
	}
}

// IsFull says whether err is what a full disk gives. It looks at the text, as
// bbolt does not wrap all of its causes.
func (d *Disk) IsFull(err error) bool {
	return err != nil && (strings.Contains(err.Error(), syscall.ENOSPC.Error()) || strings.Contains(err.Error(), syscall.EFBIG.Error()))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
