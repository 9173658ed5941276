package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
)

// A writer writes a PDF with a classic cross-reference table.
type writer struct {
	*bufio.Writer
	at      int64
	offsets []int64
}

func writeFile(path string, write func(*writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := &writer{Writer: bufio.NewWriterSize(f, 1<<20)}
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	return errors.Join(err, f.Close())
}

func (w *writer) print(format string, args ...any) error {
	n, err := fmt.Fprintf(w.Writer, format, args...)
	w.at += int64(n)
	return err
}

func (w *writer) object(format string, args ...any) error {
	w.offsets = append(w.offsets, w.at)
	return w.print("%d 0 obj\n%s\nendobj\n", len(w.offsets), fmt.Sprintf(format, args...))
}

// document writes a file of about size bytes: one page, and as many streams as files of
// that size have, one for each KB of a small one and each 8 KB of a large one.
func (w *writer) document(size int64) error {
	each := size / (50 + size>>13)
	noise := make([]byte, each)
	random := rand.NewChaCha8([32]byte{1})
	if err := w.start(); err != nil {
		return err
	}
	for w.at+each <= size {
		if _, err := random.Read(noise); err != nil {
			return err
		}
		if err := w.object("<< /Length %d >>\nstream\n%s\nendstream", each, noise); err != nil {
			return err
		}
	}
	return w.end()
}

// objects writes a file of count small objects.
func (w *writer) objects(count int) error {
	if err := w.start(); err != nil {
		return err
	}
	for len(w.offsets) < count {
		n := len(w.offsets)
		if err := w.object("<< /Type /Example /Number %d /Text (a small object among many of its kind) >>", n); err != nil {
			return err
		}
	}
	return w.end()
}

func (w *writer) start() error {
	return errors.Join(
		w.print("%%PDF-1.7\n%%\xe2\xe3\xcf\xd3\n"),
		w.object("<< /Type /Catalog /Pages 2 0 R >>"),
		w.object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>"),
		w.object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << >> >>"),
	)
}

func (w *writer) end() error {
	start, size := w.at, len(w.offsets)+1
	err := w.print("xref\n0 %d\n0000000000 65535 f \n", size)
	for _, at := range w.offsets {
		err = errors.Join(err, w.print("%010d 00000 n \n", at))
	}
	return errors.Join(err, w.print("trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", size, start))
}
