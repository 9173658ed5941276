package pdf

import "io"

// Pages calls visit for each page in order (7.7.3) until it returns false.
func (f *File) Pages(visit func(Object) bool) error { return f.walkPages(visit) }

// StreamData returns the decoded data of a stream; neither that nor the data in the
// file may be longer than limit bytes. Filters other than FlateDecode are refused
// with [ReasonUnsupported].
func (f *File) StreamData(o Object, limit int) ([]byte, error) {
	if !o.Stream {
		return nil, broken("object %d is no stream", o.Ref.Num)
	}
	return f.decode(o, int64(limit))
}

// OpenStream returns a reader of the decoded data of a stream of any length. Filters
// other than FlateDecode are refused with [ReasonUnsupported]. The reader may give
// more bytes than the file has; the caller bounds it.
func (f *File) OpenStream(o Object) (io.Reader, error) {
	if !o.Stream {
		return nil, broken("object %d is no stream", o.Ref.Num)
	}
	return f.decoder(o, f.size)
}

// Has reports whether a reference leads to an object, which may be unreadable.
func (f *File) Has(ref Ref) bool {
	e, err := f.lookup(ref.Num)
	return err != nil || e.kind == inFile && e.gen == int64(ref.Gen) || e.kind == inStream && ref.Gen == 0
}

// InUse calls visit with the number of each object that the newest cross-reference
// sections call used, in order, but for object streams and cross-reference streams.
func (f *File) InUse(visit func(num uint32)) error {
	sections, carriers := map[int64]bool{}, map[uint32]bool{}
	for _, s := range f.sections {
		sections[s.offset] = true
		if s.hidden != nil {
			sections[s.hidden.offset] = true
		}
	}
	err := f.entries(func(_ uint32, e entry) {
		if e.kind == inStream {
			carriers[uint32(e.offset)] = true
		}
	})
	if err != nil {
		return err
	}
	return f.entries(func(num uint32, e entry) {
		if e.kind == inStream || e.kind == inFile && !carriers[num] && !sections[e.offset] {
			visit(num)
		}
	})
}

// entries calls visit with the entry in force of each object number.
func (f *File) entries(visit func(uint32, entry)) error {
	for _, s := range f.index {
		for num := s.first; num < s.end; num++ {
			e, err := f.entryIn(s.from, num)
			if err != nil {
				return err
			}
			visit(num, e)
		}
	}
	return nil
}
