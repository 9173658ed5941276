package pdf

import "slices"

// maxCached is how many object streams are kept decoded; together they have at most
// maxObjectBytes, or there is only one.
const maxCached = 8

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

// packedObject reads an object out of an object stream, with skim without the items of
// arrays.
func (f *File) packedObject(ref Ref, e entry, skim bool) (Object, error) {
	s, err := f.objectStream(uint32(e.offset))
	if err != nil {
		return Object{}, err
	}
	i, err := f.member(s, ref.Num, e.gen)
	if err != nil {
		return Object{}, err
	}
	p := newParser(s.data, true)
	p.skim, p.pos = skim, s.first+int(s.index[i].at)
	if p.pos > len(s.data) {
		return Object{}, broken("object %d lies outside of object stream %d", ref.Num, s.num)
	}
	v, err := p.value(0)
	if err != nil {
		return Object{}, err
	}
	if err := f.parsed(p, len(v.raw)); err != nil {
		return Object{}, err
	}
	if v.kind == Reference { // 7.5.7
		return Object{}, broken("object %d in object stream %d is nothing but a reference", ref.Num, s.num)
	}
	return Object{Ref: ref, Value: v, base: -1}, nil
}

// member returns the index of an object in an object stream. If it is not the one that
// the cross-reference stream names, readers go by the number, as long as it is there
// exactly once.
func (f *File) member(s *objectStream, num uint32, index int64) (int, error) {
	if index < int64(len(s.index)) && s.index[index].num == num {
		return int(index), nil
	}
	is := func(p packed) bool { return p.num == num }
	i := slices.IndexFunc(s.index, is)
	if i < 0 || slices.ContainsFunc(s.index[i+1:], is) {
		return 0, broken("object %d is not at its place %d in object stream %d", num, index, s.num)
	}
	f.irregular = "a cross-reference stream names wrong places in object streams"
	return i, nil
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
	f.keep(s)
	return s, nil
}

// keep caches a decoded object stream in place of the oldest.
func (f *File) keep(s *objectStream) {
	f.streams = append(f.streams, s)
	sum := 0
	for i, old := range slices.Backward(f.streams) {
		if sum += len(old.data); i < len(f.streams)-1 && (sum > maxObjectBytes || i < len(f.streams)-maxCached) {
			f.streams = slices.Clone(f.streams[i+1:])
			return
		}
	}
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
