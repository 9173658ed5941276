package pdf

import (
	"cmp"
	"errors"
	"slices"
)

// CheckStructure walks the whole page tree and reads every object that the
// cross-reference sections promise, also those that signing does not touch:
// validators that compare revisions refuse the file if one of them is not there or
// cannot be read. Stream data is passed over. Of a file that is signed already it
// demands less, that an object stands at each place: such a file cannot be made anew,
// and what its earlier signers' programs accepted will do. Once per document is enough.
func (f *File) CheckStructure() error {
	if _, err := f.NumPages(); err != nil {
		return err
	}
	signed, err := f.signed()
	if err != nil {
		return err
	}
	check := f.checkHead
	if !signed {
		check = f.checkObject
		if err := f.checkHistory(); err != nil {
			return err
		}
	}
	var room scan
	check = f.scanning(&room, check)
	own := f.ownStreams()
	var inside []member
	for _, s := range f.index {
		for num := s.first; num < s.end; num++ {
			e, err := f.lookup(num)
			if err == nil && e.kind == inFile {
				err = check(Ref{num, uint16(e.gen)}, e.offset)
				if _, refused := errors.AsType[*RefusedError](err); refused && own.has(num) && !signed {
					// No part of the document: a wrong entry harms nobody who is not to follow the chain.
					f.note("the entry of a cross-reference stream for itself is wrong")
					err = nil
				}
			}
			if err != nil {
				return err
			}
			if e.kind == inStream {
				inside = append(inside, member{uint32(e.offset), num})
			}
		}
	}
	err = f.checkPacked(inside)
	if _, refused := errors.AsType[*RefusedError](err); refused && signed && f.work <= maxWork {
		return nil
	}
	return err
}

// scanning returns a check that reads the file on and on.
func (f *File) scanning(room *scan, check func(Ref, int64) error) func(Ref, int64) error {
	return func(ref Ref, offset int64) error {
		f.scan = room
		defer func() { f.scan = nil }()
		return check(ref, offset)
	}
}

// checkHead looks whether an object starts at its place.
func (f *File) checkHead(ref Ref, offset int64) error {
	b, eof, err := f.window(offset, headBytes)
	if err != nil {
		return err
	}
	if !isHead(newParser(b, eof), ref) {
		return misplaced(ref, offset)
	}
	// For its references; what the object is like does not matter.
	err = f.checkObject(ref, offset)
	if _, refused := errors.AsType[*RefusedError](err); refused && f.work <= maxWork {
		return nil
	}
	return err
}

// headBytes is more than "12 0 obj" takes.
const headBytes = 48

// isHead reads "12 0 obj".
func isHead(p *parser, ref Ref) bool {
	num, err1 := p.unsigned(maxObjectNumber)
	gen, err2 := p.unsigned(65535)
	return err1 == nil && err2 == nil && num == int64(ref.Num) && gen == int64(ref.Gen) && p.keyword("obj") == nil
}

// headAt reports whether the object starts at an offset, which may be none of the file.
func (f *File) headAt(ref Ref, offset int64) bool {
	b, eof, err := f.window(offset, headBytes)
	return err == nil && isHead(newParser(b, eof), ref)
}

func misplaced(ref Ref, offset int64) error {
	return broken("object %d is not where the cross-reference table promises it (offset %d)", ref.Num, offset)
}

// checkObject reads the whole object, but for the data of a stream.
func (f *File) checkObject(ref Ref, offset int64) error {
	o := Object{base: offset}
	err := f.parseAt(offset, func(p *parser) error {
		p.skim = true
		return p.indirect(&o)
	})
	switch {
	case err != nil:
		return f.at(offset, err)
	case o.Ref != ref:
		return misplaced(ref, offset)
	case o.Value.kind == Reference:
		return broken("object %d is nothing but a reference to another one, which not all readers follow", ref.Num)
	case o.Stream:
		return f.checkStreamEnd(o)
	}
	return nil
}

// checkStreamEnd looks for "endstream endobj" where /Length says that the data ends.
func (f *File) checkStreamEnd(o Object) error {
	length := o.Value.Get("Length")
	if _, indirect := length.Ref(); indirect {
		var err error
		room := f.scan
		f.scan = nil // what is read on the way there may be kept
		length, err = f.Resolve(length)
		f.scan = room
		if err != nil {
			return err
		}
	}
	n, ok := length.Int()
	if !ok || n < 0 || n > f.size-o.data {
		return broken("stream %d has no usable /Length", o.Ref.Num)
	}
	b, eof, err := f.window(o.data+n, 64)
	if err != nil {
		return err
	}
	p := newParser(b, eof)
	if p.keyword("endstream") != nil || p.keyword("endobj") != nil {
		return broken("stream %d does not end where its /Length says", o.Ref.Num)
	}
	return nil
}

// A member is an object in an object stream.
type member struct{ stream, num uint32 }

// checkPacked reads the members, one stream after the other.
func (f *File) checkPacked(list []member) error {
	slices.SortFunc(list, func(a, b member) int { return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.num, b.num)) })
	for _, m := range list {
		e, err := f.lookup(m.num)
		if err == nil {
			_, err = f.packedObject(Ref{Num: m.num}, e, true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
