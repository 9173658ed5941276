package pdf

import (
	"errors"
	"fmt"
	"io"
)

const (
	maxObjectNumber = 8_388_607 // Annex C: the limit that readers keep to
	maxObjectBytes  = 16 << 20  // one object without its stream data
	maxWork         = 512 << 20 // bytes parsed and decompressed per File
	maxCached       = 4         // object streams kept decoded
)

// An Object is an indirect object, or the null value if there is none.
type Object struct {
	Ref    Ref
	Value  Value
	Stream bool // Value is the dictionary of a stream

	base int64 // file offset of the buffer it was read from; -1: in an object stream
	data int64 // file offset of the stream's data
}

// offset returns where in the file the value v, a part of o, starts.
func (o Object) offset(v Value) int64 { return o.base + int64(v.pos) }

// spend takes n bytes from the budget that bounds all work on one file.
func (f *File) spend(n int) error {
	f.work += int64(n)
	if f.work > maxWork {
		return refuse(ReasonTooLarge, "reading its structure takes more than %d MB", maxWork>>20)
	}
	return nil
}

// window reads up to n bytes at off and says whether the file ends with them.
func (f *File) window(off int64, n int) ([]byte, bool, error) {
	if off < 0 || off > f.size {
		return nil, false, broken("an offset points outside the file (%d of %d bytes)", off, f.size)
	}
	n = int(min(int64(n), f.size-off))
	if err := f.spend(n); err != nil {
		return nil, false, err
	}
	buf := make([]byte, n)
	if got, err := f.r.ReadAt(buf, off); got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, false, fmt.Errorf("read %d bytes of the PDF at offset %d: %w", n, off, err)
	}
	return buf, off+int64(n) == f.size, nil
}

// parseAt hands read a parser over the bytes at off, with more and more of them
// until they are enough.
func (f *File) parseAt(off int64, read func(*parser) error) error {
	for n := 1 << 10; n <= maxObjectBytes; n *= 4 {
		buf, eof, err := f.window(off, n)
		if err != nil {
			return err
		}
		if err := read(newParser(buf, eof)); !errors.Is(err, errShort) {
			return err
		}
	}
	return refuse(ReasonTooLarge, "an object is larger than %d MB", maxObjectBytes>>20)
}

// objectAt reads the indirect object at a file offset (7.3.10).
func (f *File) objectAt(off int64) (Object, error) {
	o := Object{base: off}
	err := f.parseAt(off, func(p *parser) error { return p.indirect(&o) })
	if err != nil {
		return Object{}, f.at(off, err)
	}
	return o, nil
}

// at adds the place to a refusal.
func (f *File) at(off int64, err error) error {
	if re, ok := errors.AsType[*RefusedError](err); ok {
		return refuse(re.Reason, "%s (object at offset %d)", re.Detail, off)
	}
	return err
}

// indirect reads "12 0 obj … endobj", or up to the start of the stream's data.
func (p *parser) indirect(o *Object) error {
	p.space()
	num, err := p.word()
	if err != nil {
		return err
	}
	p.space()
	gen, err := p.word()
	if err != nil {
		return err
	}
	n, ok := parseUint(num, maxObjectNumber)
	g, ok2 := parseUint(gen, 65535)
	if !ok || !ok2 {
		return broken("no object where the cross-reference table says there is one")
	}
	o.Ref = Ref{uint32(n), uint16(g)}
	if err := p.keyword("obj"); err != nil {
		return err
	}
	if o.Value, err = p.value(0); err != nil {
		return err
	}
	p.skip()
	w, err := p.word()
	if err != nil {
		return err
	}
	switch {
	case string(w) == "endobj":
		return nil
	case string(w) == "stream" && o.Value.kind == Dict:
		o.Stream = true
		return p.streamStart(o)
	}
	return broken("object %d does not end with endobj", n)
}

// streamStart passes the end of line after the keyword stream (7.3.8.1).
func (p *parser) streamStart(o *Object) error {
	if p.pos+2 > len(p.buf) {
		return p.end()
	}
	switch {
	case p.buf[p.pos] == '\n':
		p.pos++
	case p.buf[p.pos] == '\r' && p.buf[p.pos+1] == '\n':
		p.pos += 2
	default:
		return broken("the keyword stream is not followed by an end of line")
	}
	o.data = o.base + int64(p.pos)
	return nil
}

// Object reads an indirect object. A reference to an object that does not exist
// gives the null value (7.3.10).
func (f *File) Object(ref Ref) (Object, error) {
	null := Object{Ref: ref, Value: Value{kind: Null, raw: []byte("null")}, base: -1}
	e, err := f.lookup(ref.Num)
	if err != nil {
		return Object{}, err
	}
	switch e.kind {
	case inFile:
		if e.gen != int64(ref.Gen) {
			return null, nil
		}
		o, err := f.objectAt(e.offset)
		if err == nil && o.Ref != ref {
			return Object{}, broken("object %d %d stands where the cross-reference table promises %d %d",
				o.Ref.Num, o.Ref.Gen, ref.Num, ref.Gen)
		}
		if err != nil {
			return o, err
		}
		return f.crypt.plain(o)
	case inStream:
		if ref.Gen != 0 {
			return null, nil
		}
		return f.packedObject(ref, e)
	}
	return null, nil
}

// Resolve follows references until a value that is none.
func (f *File) Resolve(v Value) (Value, error) {
	o, err := f.ResolveObject(v)
	return o.Value, err
}

// ResolveObject is Resolve that keeps the object. A direct value comes back in an
// Object with the zero Ref.
func (f *File) ResolveObject(v Value) (Object, error) {
	o := Object{Value: v, base: -1}
	for range maxDepth {
		ref, ok := o.Value.Ref()
		if !ok {
			return o, nil
		}
		var err error
		if o, err = f.Object(ref); err != nil {
			return Object{}, err
		}
	}
	return Object{}, broken("a chain of more than %d references", maxDepth)
}

// An objectStream is a decoded object stream (7.5.7).
type objectStream struct {
	num   uint32
	data  []byte
	first int
	index []packed
}

type packed struct {
	num, at uint32
}

// packedObject reads an object out of an object stream.
func (f *File) packedObject(ref Ref, e entry) (Object, error) {
	s, err := f.objectStream(uint32(e.offset))
	if err != nil {
		return Object{}, err
	}
	i := int(e.gen)
	if i >= len(s.index) || s.index[i].num != ref.Num {
		return Object{}, broken("object %d is not at its place %d in object stream %d", ref.Num, i, s.num)
	}
	p := newParser(s.data, true)
	p.pos = s.first + int(s.index[i].at)
	if p.pos > len(s.data) {
		return Object{}, broken("object %d lies outside of object stream %d", ref.Num, s.num)
	}
	v, err := p.value(0)
	if err != nil {
		return Object{}, err
	}
	if err := f.spend(len(v.raw)); err != nil {
		return Object{}, err
	}
	return Object{Ref: ref, Value: v, base: -1}, nil
}

// objectStream decodes an object stream; the last few are kept.
func (f *File) objectStream(num uint32) (*objectStream, error) {
	for _, s := range f.streams {
		if s.num == num {
			return s, nil
		}
	}
	e, err := f.lookup(num)
	if err != nil {
		return nil, err
	}
	if e.kind != inFile {
		return nil, broken("object stream %d is not an object of its own", num)
	}
	o, err := f.objectAt(e.offset)
	if err != nil {
		return nil, err
	}
	if o.Ref.Num != num || !o.Stream || o.Value.Get("Type").Name() != "ObjStm" {
		return nil, broken("object %d is not an object stream", num)
	}
	data, err := f.decode(o, maxObjectBytes)
	if err != nil {
		return nil, err
	}
	s := &objectStream{num: num, data: data}
	if err := s.readIndex(o.Value); err != nil {
		return nil, err
	}
	if len(f.streams) == maxCached {
		f.streams = f.streams[1:]
	}
	f.streams = append(f.streams, s)
	return s, nil
}

// readIndex reads the pairs of object number and offset in front of the objects.
func (s *objectStream) readIndex(dict Value) error {
	n, ok := dict.Get("N").Int()
	first, ok2 := dict.Get("First").Int()
	if !ok || !ok2 || n < 0 || first < 0 || first > int64(len(s.data)) || n > (first+1)/4 {
		return broken("object stream %d has no usable /N and /First", s.num)
	}
	s.first = int(first)
	s.index = make([]packed, 0, n)
	p := newParser(s.data[:first], true)
	for range n {
		p.skip()
		num, _ := p.word()
		p.skip()
		at, _ := p.word()
		a, ok := parseUint(num, maxObjectNumber)
		b, ok2 := parseUint(at, maxObjectBytes)
		if !ok || !ok2 {
			return broken("the index of object stream %d is damaged", s.num)
		}
		s.index = append(s.index, packed{uint32(a), uint32(b)})
	}
	return nil
}
