package pdf

import "io"

// compare holds what was found against the cross-reference chain, if there is one that
// can be read. A reader that does not need the objects that are wrong in it never
// repairs the file, and shows what the chain says. So where both could be meant, to
// take either would be a guess.
func (s *salvage) compare() error {
	for _, base := range []int64{s.headerAt, 0} { // offsets count from the header or from the start
		in := &File{r: io.NewSectionReader(s.f.r, base, s.f.size-base), size: s.f.size - base}
		start, err := in.readTail()
		if err != nil || in.readChain(start) != nil {
			continue
		}
		root, ok := in.Trailer().Get("Root").Ref()
		if !ok || !in.standsAt(root) {
			continue
		}
		if root != s.root {
			return broken("its catalog is object %d by its last trailer, and object %d by what stands in it", root.Num, s.root.Num)
		}
		return s.compareWith(in, base)
	}
	return nil
}

// standsAt reports whether an object is where the chain says.
func (f *File) standsAt(ref Ref) bool {
	e, err := f.lookup(ref.Num)
	if err != nil {
		return false
	}
	if e.kind == inStream {
		e, err = f.lookup(uint32(e.offset))
		return err == nil && e.kind == inFile
	}
	return e.kind == inFile && e.gen == int64(ref.Gen) && f.headAt(ref, e.offset)
}

// compareWith compares the objects of the new file with the entries of a chain. An
// entry that leads to nothing makes readers look for the object as Repair does.
func (s *salvage) compareWith(in *File, base int64) error {
	wrong, hidden := false, uint32(0)
	for _, num := range s.live {
		e, err := in.lookup(num)
		d := s.found[num]
		if err == nil && e.kind == inStream && d.packed && d.in == uint32(e.offset) {
			e, err = in.lookup(d.in) // whichever object stream has this number
			num, d = d.in, s.packs[d.in]
		}
		switch {
		case err != nil, e.kind == inFile && !in.headAt(Ref{num, uint16(e.gen)}, e.offset):
			wrong = true
		case e.kind == inStream, e.kind == inFile && (d.packed || !s.sameStart(d.at, base+e.offset)):
			return broken("object %d stands in it more than once, and the one that its cross-reference table names is not the last", num)
		case e.kind != inFile:
			hidden = num
		}
	}
	if hidden > 0 && !wrong {
		return broken("object %d stands in it, but its cross-reference table says that there is none", hidden)
	}
	return nil
}

// sameStart reports whether an entry points to the object at an offset; white space may
// stand between.
func (s *salvage) sameStart(object, entry int64) bool {
	if entry > object || object-entry > 48 {
		return false
	}
	b, _, err := s.f.window(entry, int(object-entry))
	if err != nil {
		return false
	}
	p := newParser(b, true)
	p.space()
	return p.pos == len(b)
}
