package pdf

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
)

// Repairable reports whether an error of this package tells of faults that [Repair] may
// mend: a damaged or foreign-framed file, not one that is locked, protected or unusual.
func Repairable(err error) bool {
	re, ok := errors.AsType[*RefusedError](err)
	return ok && (re.Reason == ReasonBroken || re.Reason == ReasonJunk || re.Reason == ReasonIrregular)
}

// A Repaired tells what [Repair] wrote.
type Repaired struct {
	Size    int64 // bytes
	Objects int   // in the new file
	Left    int   // objects left behind, because nothing refers to them any more
}

// Repair writes a new, regular PDF with the objects of a broken one: it finds them by
// reading the file from the start, as readers do when the cross-reference table is
// wrong or gone, and copies all that the catalog and the document information lead to,
// byte for byte, under their old numbers; only the /Length of a stream is set right,
// and what was in object streams stands by itself. Of an object that is defined more than once
// the last definition counts (7.5.6).
//
// A file that has a signature is refused with [ReasonSignature]: every byte of it has
// to stay. So is what cannot be mended without a guess: objects that cannot be read, a file
// that was cut off, two PDFs in one, encryption. The caller opens the result as any
// other file and keeps the original.
func Repair(w io.Writer, r io.ReaderAt, size int64) (Repaired, error) {
	s := &salvage{f: &File{r: r, size: size}, found: map[uint32]found{}, numbers: map[uint32][]int64{}}
	// Each object may be read several times, through a window larger than itself.
	s.f.work = -64 * size
	for _, step := range []func() error{s.header, s.collectNumbers, s.scan, s.unpack, s.findRoot, s.reach, s.compare} {
		if err := step(); err != nil {
			return Repaired{}, err
		}
	}
	out := &counter{w: w}
	err := s.write(out)
	return Repaired{Size: out.n, Objects: len(s.live), Left: len(s.found) - len(s.live)}, err
}

const (
	maxJunk     = 64 << 10 // bytes before the header
	firstWindow = 4 << 10
	scanWindow  = 256 << 10
	maxSalvaged = 1_000_000 // objects
)

// A found object is where one definition stands.
type found struct {
	gen    uint16
	pack   bool   // an object stream itself
	packed bool   // in an object stream: in is its number, at its index
	in     uint32 // number of the object stream
	at     int64  // file offset, or index in the object stream
	length int64  // of a stream's data, as it really is; -1: not a stream
	order  int64  // file offset that says which definition is the later one
}

// A salvage is one repair under way.
type salvage struct {
	f        *File
	version  string
	headerAt int64
	found    map[uint32]found
	numbers  map[uint32][]int64 // integers that stand alone in an object: lengths of streams
	damaged  map[uint32]int64   // objects that cannot be read, and where
	packs    map[uint32]found   // object streams, once all is scanned
	trailers []Value
	last     int64 // end of the last object
	endless  int64 // no stream ends behind this offset; 0: not known
	tail     bool  // an end mark or trailer stands behind the last object
	root     Ref
	info     Value
	id       Value
	live     []uint32 // what the new file has, by number
}

// header finds the header, with junk before it perhaps.
func (s *salvage) header() error {
	b, _, err := s.f.window(0, maxJunk)
	if err != nil {
		return err
	}
	i := bytes.Index(b, []byte("%PDF-"))
	if i < 0 {
		return refuse(ReasonNotPDF, "%%PDF is not among its first %d bytes", len(b))
	}
	s.headerAt, s.version = int64(i), "1.7"
	if v := b[i+5:]; len(v) >= 3 && isDigit(v[0]) && v[1] == '.' && isDigit(v[2]) {
		s.version = string(v[:3])
	}
	return nil
}

// marks calls visit for each place from offset from on where the word stands; visit
// returns the offset to go on from. The word is mostly near.
func (s *salvage) marks(from int64, word string, visit func(at int64) (int64, error)) error {
	reach := firstWindow
	for off := from; off < s.f.size; reach = min(4*reach, scanWindow) {
		b, eof, err := s.f.window(off, reach)
		if err != nil {
			return err
		}
		next := off + int64(max(1, len(b)-len(word)+1)) // the word may lie across the border
		for at := off; ; {
			i := bytes.Index(b[at-off:], []byte(word))
			if i < 0 {
				break
			}
			at += int64(i)
			to, err := visit(at)
			if err != nil {
				return err
			}
			if at = max(to, at+int64(len(word))); at >= off+int64(len(b)) {
				next = max(next, at)
				break
			}
		}
		if eof && next < s.f.size && next < off+int64(len(b)) {
			return nil
		}
		off = next
	}
	return nil
}

// headAt reads "12 0" backwards from the word obj at offset at and returns where it starts.
func (s *salvage) headAt(at int64) (start int64, ref Ref, ok bool) {
	const longest = 32
	from := max(s.headerAt, at-longest)
	b, _, err := s.f.window(from, int(at-from))
	if err != nil {
		return 0, Ref{}, false
	}
	gen, rest, ok := lastNumber(b, 65535)
	if !ok {
		return 0, Ref{}, false
	}
	num, rest, ok := lastNumber(rest, maxObjectNumber)
	if !ok || num == 0 || len(rest) > 0 && isRegular(rest[len(rest)-1]) && !bytes.HasSuffix(rest, []byte("endobj")) {
		return 0, Ref{}, false
	}
	return from + int64(len(rest)), Ref{uint32(num), uint16(gen)}, true
}

// inComment reports whether a percent sign stands before the offset in its line.
func (s *salvage) inComment(at int64) bool {
	from := max(s.last, at-256)
	b, _, err := s.f.window(from, int(at-from))
	if err != nil {
		return false
	}
	line := b[bytes.LastIndexAny(b, "\r\n")+1:]
	return bytes.IndexByte(line, '%') >= 0
}

// lastNumber cuts white space and the number before it off the end of b.
func lastNumber(b []byte, limit int64) (n int64, rest []byte, ok bool) {
	digitsEnd := len(bytes.TrimRight(b, space))
	rest = bytes.TrimRight(b[:digitsEnd], "0123456789")
	n, ok = parseUint(b[len(rest):digitsEnd], limit)
	return n, rest, ok && digitsEnd < len(b)
}

// collectNumbers notes every object that is an integer, so that scan knows the length
// of a stream before it comes to the object that holds it.
func (s *salvage) collectNumbers() error {
	return s.marks(s.headerAt, "obj", func(at int64) (int64, error) {
		_, ref, ok := s.headAt(at)
		if !ok {
			return 0, nil
		}
		b, eof, err := s.f.window(at, 64)
		if err != nil {
			return 0, err
		}
		p := newParser(b, eof)
		p.pos = len("obj")
		if n, err := p.unsigned(s.f.size); err == nil && p.keyword("endobj") == nil && len(s.numbers[ref.Num]) < 16 {
			s.numbers[ref.Num] = append(s.numbers[ref.Num], n)
		}
		return 0, nil
	})
}

// scan goes from object to object; what stands in the data of a stream is passed over.
func (s *salvage) scan() error {
	s.damaged = map[uint32]int64{}
	s.last = s.headerAt
	err := s.marks(s.headerAt, "obj", func(at int64) (int64, error) {
		start, ref, ok := s.headAt(at)
		if !ok || start < s.last || s.inComment(start) {
			return 0, nil
		}
		if err := s.between(s.last, start); err != nil {
			return 0, err
		}
		end, err := s.define(start, ref)
		s.last = max(start, end) // what stands between is not read again
		return end, err
	})
	if err != nil {
		return err
	}
	return s.between(s.last, s.f.size)
}

// between looks at what stands between two objects: trailers, and what makes a repair a guess.
func (s *salvage) between(from, to int64) error {
	s.tail = false
	for off := from; off < to; {
		b, _, err := s.f.window(off, int(min(scanWindow, to-off)))
		if err != nil {
			return err
		}
		s.tail = s.tail || bytes.Contains(b, []byte("%%EOF")) || bytes.Contains(b, []byte("startxref"))
		if bytes.Contains(b, []byte("/ByteRange")) {
			return refuse(ReasonSignature, "it is broken, and it carries a signature")
		}
		if i := bytes.Index(b, []byte("%PDF-")); i >= 0 && off+int64(i) != s.headerAt {
			return broken("a second PDF begins at offset %d", off+int64(i))
		}
		for i := 0; ; {
			j := bytes.Index(b[i:], []byte("trailer"))
			if j < 0 {
				break
			}
			i += j + len("trailer")
			s.tail = true
			if !s.inComment(off + int64(i)) {
				s.trailer(off + int64(i))
			}
		}
		if off += int64(len(b)); off < to {
			off -= int64(len("/ByteRange")) // a word may lie across the border
		}
	}
	return nil
}

// trailer notes the dictionary at off, if one can be read there.
func (s *salvage) trailer(off int64) {
	var v Value
	err := s.f.parseAt(off, func(p *parser) (err error) {
		v, err = p.value(0)
		return err
	})
	if err == nil && v.kind == Dict {
		s.trailers = append(s.trailers, v)
	}
}

// define reads the object at off and notes it; it returns where the object ends.
func (s *salvage) define(off int64, ref Ref) (int64, error) {
	if len(s.found) >= maxSalvaged {
		return 0, refuse(ReasonTooLarge, "more than %d objects", maxSalvaged)
	}
	o := Object{base: off}
	var end int64
	err := s.f.parseAt(off, func(p *parser) error {
		err := p.indirect(&o)
		end = off + int64(p.pos)
		return err
	})
	if _, refused := errors.AsType[*RefusedError](err); refused {
		s.damaged[ref.Num] = off
		delete(s.found, ref.Num)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	d := found{gen: ref.Gen, at: off, length: -1, order: off}
	if o.Stream {
		if d.length, end, err = s.extent(o); err != nil {
			return 0, err
		}
		if d.length < 0 {
			s.damaged[ref.Num] = off
			delete(s.found, ref.Num)
			return 0, nil
		}
	}
	if hasKey(o.Value, "ByteRange", 0) {
		return 0, refuse(ReasonSignature, "it is broken, and object %d in it is a signature", ref.Num)
	}
	switch typ := o.Value.Get("Type").Name(); {
	case o.Stream && typ == "XRef":
		s.trailers = append(s.trailers, o.Value)
		s.tail = true
		return end, nil
	case o.Stream && typ == "ObjStm":
		d.pack = true
	}
	s.found[ref.Num] = d
	delete(s.damaged, ref.Num)
	return end, nil
}

// hasKey looks for a dictionary key anywhere within a value.
func hasKey(v Value, key string, depth int) bool {
	if depth > maxDepth {
		return true // deeper than any reader goes: taken for the worst
	}
	if v.Get(key).kind != Absent {
		return true
	}
	return slices.ContainsFunc(v.parts(), func(it Value) bool { return hasKey(it, key, depth+1) })
}

// extent finds out how long the data of a stream is, and where the object ends. The
// length it claims counts if endstream follows there; else the data end at the first endstream
// that endobj follows. The length -1 says that there is none.
func (s *salvage) extent(o Object) (length, end int64, err error) {
	if s.endless > 0 && o.data >= s.endless {
		return -1, 0, nil
	}
	var claims []int64
	switch v := o.Value.Get("Length"); v.kind {
	case Int:
		claims = []int64{v.num}
	case Reference:
		claims = s.numbers[uint32(v.num)]
	}
	for _, n := range claims {
		if n < 0 || n > s.f.size-o.data {
			continue
		}
		if end, ok, err := s.streamEnd(o.data + n); ok || err != nil {
			return n, end, err
		}
	}
	length = -1
	err = s.marks(o.data, "endstream", func(at int64) (int64, error) {
		e, ok, err := s.streamEnd(at)
		if !ok || err != nil || length >= 0 {
			return 0, err
		}
		length, end = at-o.data, e
		return s.f.size, nil
	})
	if err == nil && length < 0 {
		s.endless = o.data
	}
	if err != nil || length <= 0 {
		return length, end, err
	}
	length, err = s.trimEOL(o.data, length)
	return length, end, err
}

// streamEnd reads "endstream endobj" at off and returns the offset behind it.
func (s *salvage) streamEnd(off int64) (end int64, ok bool, err error) {
	b, eof, err := s.f.window(off, 64)
	if err != nil {
		return 0, false, err
	}
	p := newParser(b, eof)
	if p.keyword("endstream") != nil || p.keyword("endobj") != nil {
		return 0, false, nil
	}
	return off + int64(p.pos), true, nil
}

// trimEOL takes the end of line before endstream off the data (7.3.8.1).
func (s *salvage) trimEOL(data, length int64) (int64, error) {
	n := min(2, length)
	b, _, err := s.f.window(data+length-n, int(n))
	if err != nil {
		return 0, err
	}
	switch {
	case bytes.HasSuffix(b, []byte("\r\n")):
		return length - 2, nil
	case bytes.HasSuffix(b, []byte("\n")), bytes.HasSuffix(b, []byte("\r")):
		return length - 1, nil
	}
	return length, nil
}

// unpack notes the objects in object streams.
func (s *salvage) unpack() error {
	s.packs = map[uint32]found{}
	for num, d := range s.found {
		if d.pack {
			s.packs[num] = d
			delete(s.found, num)
		}
	}
	for _, num := range slices.Sorted(maps.Keys(s.packs)) {
		pack := s.packs[num]
		stm, err := s.objectStream(num, pack)
		if err != nil {
			return err
		}
		for i, p := range stm.index {
			if old, ok := s.found[p.num]; ok && old.order > pack.order {
				continue
			}
			if len(s.found) >= maxSalvaged {
				return refuse(ReasonTooLarge, "more than %d objects", maxSalvaged)
			}
			s.found[p.num] = found{packed: true, in: num, at: int64(i), length: -1, order: pack.order}
			delete(s.damaged, p.num)
		}
	}
	highest := uint32(0)
	for num := range s.found {
		highest = max(highest, num)
	}
	if limit := uint32(4*len(s.found) + 10_000); highest > limit {
		return refuse(ReasonTooLarge, "it is broken, and its objects are numbered up to %d", highest)
	}
	return nil
}

func (s *salvage) objectStream(num uint32, pack found) (*objectStream, error) {
	o, err := s.f.objectAt(pack.at)
	if err != nil {
		return nil, err
	}
	o.Value = withLength(o.Value, pack.length)
	data, err := s.f.decode(o, maxObjectBytes)
	if err != nil {
		return nil, err
	}
	stm := &objectStream{num: num, data: data}
	return stm, stm.readIndex(o.Value)
}

// withLength returns a dictionary whose /Length is a direct, right one.
func withLength(d Value, length int64) Value {
	list := slices.Clone(d.list)
	for i := 0; i+1 < len(list); i += 2 {
		if list[i].is("Length") {
			list[i+1] = Value{kind: Int, num: length}
			d.list = list
			return d
		}
	}
	d.list = append(list, Value{kind: Name, raw: []byte("/Length")}, Value{kind: Int, num: length})
	return d
}
