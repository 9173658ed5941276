package pdf

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
)

const (
	maxSections  = 2048     // cross-reference sections in the /Prev chain
	maxRuns      = 500_000  // subsections in all of them
	maxXRefBytes = 32 << 20 // entries kept in memory, of all sections
)

// XRefKind is the form of a cross-reference section.
type XRefKind uint8

// The two forms (7.5.4, 7.5.8).
const (
	XRefTable XRefKind = iota
	XRefStream
)

// entryKind says where an object is.
type entryKind uint8

const (
	unknown entryKind = iota
	free
	inFile   // offset, gen
	inStream // offset = number of the object stream, gen = index in it
)

type entry struct {
	kind   entryKind
	offset int64
	gen    int64
}

// A section is one cross-reference section. Entries are not held one by one: a
// table stays in the file, a stream stays in rows.
type section struct {
	offset  int64  // where startxref or /Prev points
	object  uint32 // number of a cross-reference stream
	kind    XRefKind
	runs    []run // by number, not overlapping
	trailer Value
	rows    []byte
	w       [3]int
	hidden  *section // the cross-reference stream of a hybrid file (7.5.8.4)
}

// A run is one subsection.
type run struct {
	first, count uint32
	at           int64 // table: file offset of its first entry; stream: offset in rows
}

const twoKinds = "its cross-reference sections are of two kinds"

// readChain reads all sections, the newest first.
func (f *File) readChain(start int64) error {
	for off := start; ; {
		if f.before != nil && off == f.before.start {
			return f.link()
		}
		if slices.ContainsFunc(f.sections, func(s *section) bool { return s.offset == off }) {
			return broken("the chain of cross-reference sections loops at offset %d", off)
		}
		if len(f.sections) == maxSections {
			return refuse(ReasonTooLarge, "more than %d revisions", maxSections)
		}
		s, err := f.section(off)
		if err != nil {
			return err
		}
		f.sections = append(f.sections, s)
		if s.kind != f.sections[0].kind {
			f.note(twoKinds)
		}
		if stm := s.trailer.Get("XRefStm"); s.kind == XRefTable && !stm.IsNull() {
			if err := f.readHidden(s, stm); err != nil {
				return err
			}
		}
		prev := s.trailer.Get("Prev")
		n, ok := prev.Int()
		s.trailer = s.keptTrailer(len(f.sections) == 1)
		if prev.IsNull() || ok && n == 0 { // some programs write 0 for none
			f.checkFirst(s)
			f.buildIndex()
			return nil
		}
		if !ok || n <= 0 || n >= f.size {
			return broken("/Prev in a trailer is %s, not a place in the file", clip(prev.raw))
		}
		off = n
	}
}

// keptTrailer returns the trailer, without the buffer it was read from; of an older
// section only what later steps ask for, as there may be thousands.
func (s *section) keptTrailer(newest bool) Value {
	if newest {
		return Object{Value: s.trailer, base: -1}.compact().Value
	}
	kept := Value{kind: Dict}
	for k, v := range s.trailer.Entries() {
		if k.is("Encrypt") || k.is("Size") {
			v = Object{Value: v, base: -1}.compact().Value
			kept.list = append(kept.list, Value{kind: Name, raw: bytes.Clone(k.raw)}, v)
		}
	}
	return kept
}

// checkFirst marks a file whose first revision has a table in pieces: it shall have
// a single subsection that starts at object 0 (7.5.4).
func (f *File) checkFirst(s *section) {
	if s.kind == XRefTable && (len(s.runs) != 1 || s.runs[0].first != 0) {
		f.irregular = "the cross-reference table of its first revision is not one piece that starts at object 0"
	}
}

func (f *File) readHidden(s *section, stm Value) error {
	n, ok := stm.Int()
	if !ok || n <= 0 || n >= f.size {
		return broken("/XRefStm in a trailer is not a place in the file")
	}
	h, err := f.section(n)
	if err != nil {
		return err
	}
	if h.kind != XRefStream {
		return broken("/XRefStm does not point to a cross-reference stream")
	}
	h.trailer = h.keptTrailer(false)
	s.hidden = h
	f.note("it is a hybrid-reference file")
	return nil
}

// section reads the section at off, whichever form it has.
func (f *File) section(off int64) (*section, error) {
	head, _, err := f.window(off, 16)
	if err != nil {
		return nil, err
	}
	s := &section{offset: off}
	trimmed := bytes.TrimLeft(head, "\x00\t\n\f\r ")
	if bytes.HasPrefix(trimmed, []byte("xref")) {
		err = f.readTable(s, off+int64(len(head)-len(trimmed)))
	} else {
		err = f.readXRefStream(s)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(s.runs, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(s.runs); i++ {
		if s.runs[i-1].first+s.runs[i-1].count > s.runs[i].first {
			return nil, broken("object %d is twice in one cross-reference section", s.runs[i].first)
		}
	}
	if n := len(s.runs); n > 0 {
		if size, _ := s.trailer.Get("Size").Int(); int64(s.runs[n-1].first+s.runs[n-1].count) > size {
			f.note("a cross-reference section lists more objects than its /Size says")
		}
	}
	return s, nil
}

// addRun checks and adds a subsection.
func (f *File) addRun(s *section, first, count, at int64) error {
	if first < 0 || count < 0 || first > maxObjectNumber || count > maxObjectNumber+1-first {
		return refuse(ReasonTooLarge, "object numbers above %d", maxObjectNumber)
	}
	if f.runs++; f.runs > maxRuns {
		return refuse(ReasonTooLarge, "more than %d cross-reference subsections", maxRuns)
	}
	if count == 0 {
		return nil
	}
	f.maxObject = max(f.maxObject, uint32(first+count-1))
	s.runs = append(s.runs, run{uint32(first), uint32(count), at})
	return nil
}

// readXRefStream reads a cross-reference stream (7.5.8).
func (f *File) readXRefStream(s *section) error {
	s.kind = XRefStream
	o, err := f.objectAt(s.offset)
	if err != nil {
		return err
	}
	// Neither its own rows nor /Size need mention it; its number is taken all the same.
	f.maxObject = max(f.maxObject, o.Ref.Num)
	s.object = o.Ref.Num
	d := o.Value
	if !o.Stream || d.Get("Type").Name() != "XRef" {
		return broken("no cross-reference section at offset %d", s.offset)
	}
	if d.Get("Length").kind != Int {
		return broken("the cross-reference stream at offset %d has no direct /Length", s.offset)
	}
	s.trailer = d
	if err := f.noteSize(d); err != nil {
		return err
	}
	width, err := s.readWidths(d.Get("W"))
	if err != nil {
		return err
	}
	need, err := f.readIndex(s, d, int64(width))
	if err != nil {
		return err
	}
	if need > maxXRefBytes-f.rowBytes {
		return refuse(ReasonTooLarge, "cross-reference streams of more than %d MB", maxXRefBytes>>20)
	}
	rows, more, err := f.decodeRows(o, need)
	if err != nil {
		return err
	}
	if more {
		f.note("a cross-reference stream has more data than entries")
	}
	s.rows = rows
	f.rowBytes += need
	return nil
}

func (s *section) readWidths(w Value) (int, error) {
	items, sum := w.Items(), 0
	if len(items) != 3 {
		return 0, broken("a cross-reference stream without three field widths")
	}
	for i, it := range items {
		n, ok := it.Int()
		if !ok || n < 0 || n > 8 {
			return 0, broken("a cross-reference stream with a field of %q bytes", clip(it.raw))
		}
		s.w[i] = int(n)
		sum += int(n)
	}
	if sum == 0 {
		return 0, broken("a cross-reference stream with empty entries")
	}
	return sum, nil
}

// readIndex reads the subsections and returns how many bytes their entries take.
func (f *File) readIndex(s *section, d Value, width int64) (int64, error) {
	size, _ := d.Get("Size").Int()
	index := []Value{{kind: Int}, {kind: Int, num: size}}
	if v := d.Get("Index"); !v.IsNull() {
		index = v.Items()
	}
	if len(index) == 0 || len(index)%2 != 0 {
		return 0, broken("a cross-reference stream with an odd /Index")
	}
	at := int64(0)
	for i := 0; i < len(index); i += 2 {
		first, ok := index[i].Int()
		count, ok2 := index[i+1].Int()
		if !ok || !ok2 {
			return 0, broken("a cross-reference stream with an odd /Index")
		}
		if err := f.addRun(s, first, count, at); err != nil {
			return 0, err
		}
		at += count * width
	}
	return at, nil
}

// find returns what this section says about an object.
func (f *File) find(s *section, num uint32) (entry, error) {
	i := sort.Search(len(s.runs), func(i int) bool { return s.runs[i].first > num }) - 1
	if i < 0 || num-s.runs[i].first >= s.runs[i].count {
		return entry{}, nil
	}
	nth := int64(num - s.runs[i].first)
	if s.rows == nil {
		return f.tableEntry(s.runs[i].at + 20*nth)
	}
	width := s.w[0] + s.w[1] + s.w[2]
	return s.row(s.rows[s.runs[i].at+nth*int64(width):][:width])
}

// row decodes an entry of a cross-reference stream (7.5.8.3).
func (s *section) row(b []byte) (entry, error) {
	var v [3]uint64
	for i, w := range s.w {
		for _, c := range b[:w] {
			v[i] = v[i]<<8 | uint64(c)
		}
		b = b[w:]
	}
	if s.w[0] == 0 {
		v[0] = 1
	}
	if v[0] == 1 && v[1] >= 1<<62 || (v[0] == 1 || v[0] == 2) && v[2] >= 1<<31 {
		return entry{}, broken("a cross-reference stream with an entry that no file is large enough for")
	}
	e := entry{offset: int64(v[1] & (1<<62 - 1)), gen: int64(v[2] & (1<<31 - 1))}
	switch v[0] {
	case 0:
		e.kind = free
	case 1:
		e.kind = inFile
		if e.offset == 0 { // where the header is
			e.kind = free
		}
	case 2:
		e.kind = inStream
		if v[1] > maxObjectNumber {
			return entry{}, broken("an object stream with the number %d", v[1])
		}
	default: // to be read as a reference to null
		e.kind = free
	}
	return e, nil
}
