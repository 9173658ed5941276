package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"countersign/signing/pdf"
)

// repairFlags say what sign does about broken files.
type repairFlags struct {
	Repair string `help:"If the document is broken, and nobody has signed it, rebuild it into this new file and sign that. The signed PDF then begins with the rebuilt file." placeholder:"FILE"`
}

// rebuild returns the path of the document to sign: in, or what was rebuilt of it.
func (f repairFlags) rebuild(in string, warn io.Writer) (string, error) {
	if f.Repair == "" {
		return in, nil
	}
	if _, err := os.Lstat(f.Repair); !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("--repair %s: it exists already; give the path of a new file", f.Repair)
	}
	file, err := os.Open(in)
	if err != nil {
		return "", err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return "", err
	}
	own, why := pdf.Open(file, st.Size())
	if why == nil {
		why = own.CheckStructure()
	}
	if !pdf.Repairable(why) {
		return in, nil // sound, or refused for something else
	}
	if err := writeRebuilt(f.Repair, file, st.Size()); err != nil {
		return "", refusal(fmt.Errorf("rebuilding %s: %w", in, err))
	}
	what := why.Error()
	if r, ok := errors.AsType[*pdf.RefusedError](why); ok {
		what = "it is broken: " + r.Detail // without the advice, which was followed
	}
	fmt.Fprintf(warn, "countersign: %s: %s: rebuilt as %s, which is what is signed\n", in, what, f.Repair)
	return f.Repair, nil
}

// writeRebuilt writes the rebuilt file, or leaves none.
func writeRebuilt(path string, in io.ReaderAt, size int64) error {
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(w, 64<<10)
	_, err = pdf.Repair(buffered, in, size)
	if err = errors.Join(err, buffered.Flush(), w.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// hint tells of --repair where it may help.
func (f repairFlags) hint(err error) error {
	if f.Repair == "" && pdf.Repairable(err) {
		return fmt.Errorf("%w; or let --repair FILE rebuild it", err)
	}
	return err
}
