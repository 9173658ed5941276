package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// checkPaths refuses, before anything is signed, an input that is no file, and an output
// that a rename would destroy for good: the input, a directory, a device, a link.
func checkPaths(in, out string) error {
	base, err := os.Stat(in)
	if err == nil && !base.Mode().IsRegular() { // a pipe would be waited for without end
		return fmt.Errorf("%s is not a regular file; give the path of a PDF", in)
	}
	if out == "" {
		return errors.New("the output has no name; give the path of a new file")
	}
	st, outErr := os.Lstat(out)
	if errors.Is(outErr, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(out)); err != nil {
			return fmt.Errorf("the directory of %s: %w", out, err)
		}
		return nil
	}
	if outErr != nil {
		return outErr
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file; give the path of a new file", out)
	}
	if err == nil && os.SameFile(base, st) {
		return fmt.Errorf("%s is the input itself; give the path of another file", out)
	}
	return nil
}

// checkFiles refuses paths that would make sign write one file over another.
func (c *signCmd) checkFiles() error {
	if err := checkPaths(c.In, c.Out); err != nil {
		return err
	}
	written := []struct{ what, path string }{{"the output", c.Out}, {"--repair", c.Repair}, {"--root", c.Root}}
	for i, a := range written {
		for _, b := range written[:i] {
			if a.path != "" && b.path != "" && samePath(a.path, b.path) {
				return fmt.Errorf("%s %s: %s has the same path; give another one", a.what, a.path, b.what)
			}
		}
	}
	return checkRoot(c.Root)
}

func samePath(a, b string) bool {
	x, err := filepath.Abs(a)
	y, err2 := filepath.Abs(b)
	return err == nil && err2 == nil && x == y
}

// checkRoot refuses to write the demo's root certificate over anything but a certificate,
// such as that of an earlier run.
func checkRoot(path string) error {
	st, err := os.Stat(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	other := fmt.Errorf("--root %s: it exists and is no certificate; give the path of a new file", path)
	if !st.Mode().IsRegular() {
		return other
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	defer f.Close()
	want := []byte("-----BEGIN CERTIFICATE-----")
	head := make([]byte, len(want))
	if _, err := io.ReadFull(f, head); err != nil || !bytes.Equal(head, want) {
		return other
	}
	return nil
}

// publish moves a finished file to its place so that it survives a power cut.
func publish(from, to string) error {
	if err := fsync(from); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return fsync(filepath.Dir(to))
}

// fsync writes a file or directory through to the disk.
func fsync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
