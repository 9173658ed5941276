package inspect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"countersign/signing/inventory"
)

// Worker reads documents from in until it ends, and writes an answer to out for
// each. It confines the process it runs in and is the only thing that runs there.
func Worker(in io.Reader, out io.Writer, l Limits) error {
	runtime.GOMAXPROCS(1)
	debug.SetMemoryLimit(l.Memory * 3 / 4)
	if err := confine(l); err != nil {
		return fmt.Errorf("limiting the second reader: %w", err)
	}
	for {
		doc, err := receive(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receiving a document: %w", err)
		}
		var a answer
		if a.Reading, err = read(doc); err != nil {
			a = answer{Error: err.Error()}
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		a.Memory = m.Sys
		if err := send(out, a); err != nil {
			return fmt.Errorf("sending an answer: %w", err)
		}
	}
}

// receive reads a document; io.EOF says that there is none any more.
func receive(in io.Reader) (*bytes.Reader, error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint64(head[:])
	if n > maxDocument {
		return nil, fmt.Errorf("a document of %d bytes", n)
	}
	doc := make([]byte, n)
	if _, err := io.ReadFull(in, doc); err != nil {
		return nil, fmt.Errorf("a document cut short: %w", err)
	}
	return bytes.NewReader(doc), nil
}

func send(out io.Writer, a answer) error {
	b, err := json.Marshal(a)
	if err == nil && len(b) > maxAnswer {
		b, err = json.Marshal(answer{Error: "its form is too large", Memory: a.Memory})
	}
	if err != nil {
		return err
	}
	_, err = out.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// read reads a document; whatever the library does, it does not end the process but
// by its limits.
func read(doc io.ReadSeeker) (r inventory.Reading, err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("it failed: %v", x)
		}
	}()
	ctx, err := open(doc)
	if err != nil {
		return r, err
	}
	return ctx.reading()
}
