package pdf

import (
	"errors"
	"fmt"
	"io"
)

const (
	minBlock = 512      // what a single small read costs
	maxBlock = 32 << 10 // what reading on and on reads at once
	maxGap   = 4 << 10  // a step forward of this size still counts as reading on
)

// A block is a part of the file that was read. Values may point into it, so it is
// never written again, only dropped.
type block struct {
	at int64
	b  []byte
}

// window returns up to n bytes at off and says whether the file ends with them. The
// last few blocks are kept, and one that is read on from is followed by a larger one:
// files list their objects, and their tables the entries, mostly in order.
func (f *File) window(off int64, n int) ([]byte, bool, error) {
	if off < 0 || off > f.size {
		return nil, false, broken("an offset points outside the file (%d of %d bytes)", off, f.size)
	}
	n = int(min(int64(n), f.size-off))
	eof := off+int64(n) == f.size
	if f.inMemory(off) {
		b := f.memory[off-f.memoryAt:]
		return b[:n:n], eof, nil
	}
	if f.scan != nil {
		b, err := f.scanned(off, n)
		return b, eof, err
	}
	for i := range f.blocks {
		b := &f.blocks[i]
		if at := off - b.at; at >= 0 && at+int64(n) <= int64(len(b.b)) {
			return b.b[at : at+int64(n) : at+int64(n)], eof, nil
		}
	}
	slot, want := f.place(off)
	buf, err := f.read(off, int(min(max(int64(n), want), f.size-off)))
	if err != nil {
		return nil, false, err
	}
	if len(buf) <= maxBlock {
		f.blocks[slot] = block{off, buf}
	}
	return buf[:n:n], eof, nil
}

// inMemory reports whether everything from an offset on is in memory.
func (f *File) inMemory(off int64) bool { return f.memory != nil && off >= f.memoryAt }

// place says which block a read at off replaces, and how much it should read.
func (f *File) place(off int64) (slot int, want int64) {
	for i := range f.blocks {
		size := int64(len(f.blocks[i].b))
		if step := off - f.blocks[i].at; size > 0 && step >= 0 && step <= size+maxGap {
			return i, min(2*size, maxBlock)
		}
	}
	f.oldest = (f.oldest + 1) % len(f.blocks)
	return f.oldest, minBlock
}

func (f *File) read(off int64, n int) ([]byte, error) {
	if err := f.spend(n); err != nil {
		return nil, err
	}
	buf := make([]byte, n)
	return buf, f.readAt(buf, off)
}

func (f *File) readAt(buf []byte, off int64) error {
	got, err := f.r.ReadAt(buf, off)
	if got == len(buf) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes of the PDF at offset %d: %w", len(buf), off, err)
}

// spend takes n from the budget that bounds all work on one file.
func (f *File) spend(n int) error {
	f.work += int64(n)
	if f.work > maxWork {
		return refuse(ReasonTooLarge, "reading its structure takes more than %d MB", maxWork>>20)
	}
	return nil
}

// valueCost is what making a value costs, in bytes of plain parsing.
const valueCost = 8

// parsed pays for what a parser did with n bytes and keeps the highest number that a
// reference in them names. It may lead nowhere, as long as no new object gets that number.
func (f *File) parsed(p *parser, n int) error {
	f.maxObject = max(f.maxObject, uint32(p.refs))
	return f.spend(n + valueCost*(maxValues-p.left+p.skimmed))
}

// reuse keeps a parser's room for open arrays and dictionaries. What is left in it holds
// on to the buffer, so not that of a large one.
func (f *File) reuse(p *parser) {
	if f.open = nil; cap(p.open) <= 256 && (len(p.buf) <= maxBlock || f.memory != nil) {
		f.open = p.open[:0]
	}
}

// parseAt hands read a parser over the bytes at off, with more and more of them
// until they are enough.
func (f *File) parseAt(off int64, read func(*parser) error) error {
	n := 1 << 10
	if f.inMemory(off) {
		n = maxObjectBytes
	}
	for ; n <= maxObjectBytes; n *= 4 {
		buf, eof, err := f.window(off, n)
		if err != nil {
			return err
		}
		p := &f.parser // no read parses anything else meanwhile
		*p = parser{buf: buf, eof: eof, left: maxValues, open: f.open[:0]}
		err = read(p)
		f.reuse(p)
		if err := f.parsed(p, p.pos); err != nil {
			return err
		}
		p.buf = nil
		if !errors.Is(err, errShort) {
			return err
		}
	}
	return refuse(ReasonTooLarge, "an object is larger than %d MB", maxObjectBytes>>20)
}

// A bitset holds object numbers.
type bitset []uint64

// add puts n in and reports whether it was not there before.
func (s *bitset) add(n uint32) bool {
	i, bit := int(n/64), uint64(1)<<(n%64)
	if i >= len(*s) {
		*s = append(*s, make([]uint64, i+1-len(*s))...)
	}
	was := (*s)[i]&bit != 0
	(*s)[i] |= bit
	return !was
}

func (s bitset) has(n uint32) bool {
	i := int(n / 64)
	return i < len(s) && s[i]&(1<<(n%64)) != 0
}
