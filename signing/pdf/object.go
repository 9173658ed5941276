package pdf

import "errors"

const (
	maxObjectNumber = 8_388_607 // Annex C: the limit that readers keep to
	maxObjectBytes  = 16 << 20  // one object without its stream data
	maxWork         = 384 << 20 // bytes read, parsed and decompressed per File
)

// An Object is an indirect object, or the null value if there is none.
type Object struct {
	Ref    Ref
	Value  Value
	Stream bool // Value is the dictionary of a stream

	base    int64 // file offset of the buffer it was read from; -1: in an object stream
	data    int64 // file offset of the stream's data
	rebuilt bool  // its bytes are a buffer of their own, but its positions those of the file
}

// offset returns where in the file the value v, a part of o, starts.
func (o Object) offset(v Value) int64 { return o.base + int64(v.pos) }

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
	p.skip()
	at := p.pos
	if w, err := p.word(); err != nil {
		return err
	} else if string(w) == "endobj" { // nothing at all is null to all readers
		o.Value = Value{kind: Null, pos: uint32(at), raw: p.buf[at:at:at]}
		return nil
	}
	p.pos = at
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
		return f.packedObject(ref, e, false)
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
