package pades

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"countersign/signing/pdf"
)

// An Output takes a signed file. It is empty at first, and what was written to it can
// be read back, as from a file that is open for both. The reading must not return
// what some buffer of ours still holds.
type Output interface {
	io.Writer
	io.ReaderAt
}

// A Pass makes a signed file out of its base in one pass: [Pass.Copy] reads each byte
// of the base once, hashes it and writes it, and [Pass.Sign] and [Pass.Append] add
// increments.
//
// It proves what stands in the result, and not what was meant to: what is written is
// read back and compared with the bytes that were hashed, and after each increment a
// strict reader opens what was read back and must find what the increment was made for.
// So, once they returned nil, the result begins with the base, byte for byte, and the
// digest that was signed is the digest of what stands in it.
//
// After any error the output must be thrown away. A Pass is for one goroutine and must
// be closed, which does not touch the output.
type Pass struct {
	out  Output
	base io.ReaderAt
	size int64   // of the base
	done *Hashed // what the output holds; nil before the base was copied
	file *pdf.File
	// checked: all objects of the base were read, which adding fields needs, once.
	checked bool

	// Of a small base only:
	held    []byte // what the output must hold
	written int    // how much of it was written
}

const (
	// piece is how much is read, hashed, written and read back at a time: a core's
	// caches hold it, and memory does not grow with the document.
	piece = 64 << 10
	// small is the size of the largest base that is held in memory.
	small = 128 << 10
	// roomy is the size of all buffers, with room for increments of a small base.
	roomy = 192 << 10
)

// buffers has slices of roomy bytes.
var buffers = sync.Pool{New: func() any { return new([roomy]byte) }}

func getBuffer() []byte { return buffers.Get().(*[roomy]byte)[:] }

// putBuffer gives a buffer back, unless it is none of them or has become another one by
// growing.
func putBuffer(b []byte) {
	if cap(b) == roomy {
		buffers.Put((*[roomy]byte)(b[:roomy]))
	}
}

// NewPass begins a signed file. Nothing is written yet.
func NewPass(out Output, base io.ReaderAt, size int64) (*Pass, error) {
	p := &Pass{out: out, base: base, size: size}
	if size < 1 || size > small {
		return p, nil
	}
	p.held = getBuffer()[:size]
	if err := readFull(base, p.held, 0); err != nil {
		p.Close()
		return nil, fmt.Errorf("read the PDF to be signed: %w", err)
	}
	return p, nil
}

// readFull is ReadAt that fails unless it fills b.
func readFull(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Close gives the memory back.
func (p *Pass) Close() {
	putBuffer(p.held)
	p.held, p.base, p.out, p.done, p.file = nil, nil, nil, nil, nil
}

// reopen opens the output. What was read back equals what is in memory: the increment, and
// all of a small base, from which the revision before was read, too. A large base may have
// changed between the reading of its structure and the copying, so all is read anew.
func (p *Pass) reopen(increment []byte) (*pdf.File, error) {
	switch {
	case p.held == nil:
		return pdf.OpenTail(p.out, p.done.size+int64(len(increment)), increment)
	case p.file == nil:
		return pdf.OpenBytes(slices.Clip(p.held))
	}
	return p.file.Reopen(slices.Clip(p.held))
}

// File returns the newest revision, opened: the base, or the output as it was checked
// last. It is of use until the pass is closed.
func (p *Pass) File() (*pdf.File, error) {
	if p.file == nil {
		var err error
		if p.held != nil {
			p.file, err = pdf.OpenBytes(p.held[:p.size:p.size])
		} else {
			p.file, err = pdf.Open(p.base, p.size)
		}
		if err != nil {
			return nil, err
		}
	}
	return p.file, nil
}

// Hashed returns the hashes of what stands in the output by now, nil before Copy.
func (p *Pass) Hashed() *Hashed { return p.done }

// Copy copies the base to the output, unless that was done before. kind is the hash
// that a signature needs; SHA-256 is always computed.
func (p *Pass) Copy(kind crypto.Hash) error {
	if p.done != nil {
		return nil
	}
	if !kind.Available() || p.out == nil {
		return fmt.Errorf("pades: cannot copy with the hash %d", kind)
	}
	h := newHashed(kind)
	err := error(nil)
	if p.held != nil { // written and read back with the increment
		h.Write(p.held)
	} else {
		err = p.copyPieces(h)
	}
	if err != nil {
		return fmt.Errorf("copy the PDF to be signed: %w", err)
	}
	p.done = h
	return nil
}

// edit begins an increment of the newest revision. All objects are checked once.
func (p *Pass) edit(f *pdf.File) *edit {
	e := newEdit(f)
	e.checkStructure = func() error {
		if p.checked {
			return nil
		}
		p.checked = true
		return f.CheckStructure()
	}
	return e
}

// Prepare adds empty signature fields, as the function of that name does, and returns
// their names.
func (p *Pass) Prepare(fields []FieldSpec) (names []string, err error) {
	f, err := p.File()
	if err != nil {
		return nil, err
	}
	e := p.edit(f)
	if _, names, err = e.addFields(fields); err != nil {
		return nil, err
	}
	increment, err := e.finish()
	if err != nil {
		return nil, err
	}
	return names, p.Append(increment, func(f *pdf.File) error { return checkEmpty(f, names) })
}

// checkEmpty looks for empty fields of these names.
func checkEmpty(f *pdf.File, names []string) error {
	fields, err := f.SignatureFields()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrResult, err)
	}
	for _, name := range names {
		empty := func(fd pdf.Field) bool { return fd.Name == name && !fd.Signed }
		if !slices.ContainsFunc(fields, empty) {
			return fmt.Errorf("%w: it has no empty field %q", ErrResult, name)
		}
	}
	return nil
}

// Begin lays a signature out over the newest revision, copies the base if that was not
// done, and computes the digest to be signed. File and Base of in are not used.
func (p *Pass) Begin(in SignParams) (u *Unsigned, err error) {
	if in.File, err = p.File(); err != nil {
		return nil, err
	}
	if u, err = p.edit(in.File).lay(in); err != nil {
		return nil, err
	}
	return u, p.bind(u)
}

// Extend appends an increment of [Extend] with the token, nil if it has no timestamp.
func (p *Pass) Extend(x *Extension, token []byte) error {
	if err := x.check(); err != nil {
		return err
	}
	base, err := p.File()
	if err != nil {
		return err
	}
	revised := func(f *pdf.File) error { return x.checkRevision(base, f) }
	if x.Timestamped() {
		return p.sign(&x.Unsigned, token, revised)
	}
	if token != nil {
		return errUnasked
	}
	if err := p.Copy(crypto.SHA256); err != nil {
		return err
	}
	if p.done.SHA256() != x.BaseSHA256 {
		return fmt.Errorf("%w: its SHA-256 is %s, not %s", ErrChanged, p.done.SHA256(), x.BaseSHA256)
	}
	return p.Append(x.Head, revised)
}

// bind fills in the digests of an increment of what the output holds. A second
// signature may need another hash than the first: then the output is read again.
func (p *Pass) bind(u *Unsigned) (err error) {
	if err := p.Copy(u.Hash); err != nil {
		return err
	}
	h := p.done
	if !h.has(u.Hash) {
		if h, err = Hash(p.current(), h.size, u.Hash); err != nil {
			return err
		}
		if h.SHA256() != p.done.SHA256() {
			return fmt.Errorf("%w: it has changed meanwhile", ErrResult)
		}
		p.done = h
	}
	return u.bind(h)
}

// current reads the output.
func (p *Pass) current() io.ReaderAt {
	if p.held != nil {
		return bytes.NewReader(p.held)
	}
	return p.out
}

func (p *Pass) put(b []byte) error {
	n, err := p.out.Write(b)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// copyPieces copies a large base. All of this happens on one core, one piece after the
// other: to hash on another one costs more than it gains, as each piece moves there.
func (p *Pass) copyPieces(h *Hashed) error {
	buf := getBuffer()
	defer putBuffer(buf)
	for at := int64(0); at < p.size; {
		b := buf[:min(piece, p.size-at)]
		if err := readFull(p.base, b, at); err != nil {
			return fmt.Errorf("at offset %d of %d: %w", at, p.size, err)
		}
		h.Write(b)
		if err := p.put(b); err != nil {
			return err
		}
		if err := p.compare(b, at, false); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}

// compare reads back what was written at an offset. With end, the output must end there.
func (p *Pass) compare(want []byte, at int64, end bool) error {
	back := getBuffer()
	defer putBuffer(back)
	for len(want) > 0 {
		n := min(len(want), len(back)-1)
		more := 0
		if end && n == len(want) {
			more = 1
		}
		got, err := p.out.ReadAt(back[:n+more], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the signed PDF back at offset %d: %w", at, err)
		}
		if got != n {
			return fmt.Errorf("%w: it does not end where it was written to, near offset %d", ErrResult, at+int64(got))
		}
		if !bytes.Equal(back[:n], want[:n]) {
			return fmt.Errorf("%w: at offset %d it does not hold what was written there", ErrResult, at)
		}
		want, at = want[n:], at+int64(n)
	}
	return nil
}

// Sign appends an increment with its CMS and checks the result. It fails with
// ErrChanged if the increment is not one of what the output holds, or its digest is not
// that of its byte range; with ErrNoRoom; and with ErrResult.
func (p *Pass) Sign(u *Unsigned, cms []byte) error {
	return p.sign(u, cms, func(*pdf.File) error { return nil })
}

// sign is Sign with another check of the result.
func (p *Pass) sign(u *Unsigned, cms []byte, also func(*pdf.File) error) error {
	if err := u.check(); err != nil {
		return err
	}
	if err := p.Copy(u.Hash); err != nil {
		return err
	}
	if err := u.checkBound(p.done); err != nil {
		return err
	}
	revision, err := u.revision(cms)
	if err != nil {
		return err
	}
	digits := revision[len(u.Head):][:u.GapHex]
	return p.Append(revision, func(f *pdf.File) error {
		gap, err := u.findSigned(f)
		if err == nil && !bytes.Equal(gap, digits) {
			err = fmt.Errorf("%w: field %q does not hold its signature", ErrResult, u.Field)
		}
		if err != nil {
			return err
		}
		return also(f)
	})
}

// Append appends any increment, reads it back, and lets check judge the result.
func (p *Pass) Append(increment []byte, check func(*pdf.File) error) error {
	if err := p.Copy(crypto.SHA256); err != nil {
		return err
	}
	next, err := p.done.clone()
	if err != nil {
		return err
	}
	next.Write(increment)
	if err := p.write(increment); err != nil {
		return err
	}
	f, err := p.reopen(increment)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrResult, err)
	}
	if err := check(f); err != nil {
		return err
	}
	p.done, p.file = next, f
	return nil
}

// write writes an increment and compares what is new in the output, or all of a small one,
// which must end there.
func (p *Pass) write(increment []byte) error {
	want, at := increment, p.done.size
	if p.held != nil {
		if int64(len(p.held)) != at {
			return fmt.Errorf("%w: more was written to it before an error", ErrResult)
		}
		p.held = append(p.held, increment...)
		want, at, increment = p.held, 0, p.held[p.written:]
	}
	if err := p.put(increment); err != nil {
		return fmt.Errorf("write the signed PDF: %w", err)
	}
	p.written = len(p.held)
	return p.compare(want, at, true)
}
