package pdf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
)

// note keeps the first reason for which validators may refuse the cross-reference
// chain of the file although readers agree on it.
func (f *File) note(why string) { f.odd = cmp.Or(f.odd, why) }

// mend adds to an update what every update of an unsigned file has to mend, and
// reports whether it must not link to the sections before it: some readers repair
// them, or refuse them. In a signed file an odd chain is continued, and what would
// have to be mended is refused.
func (u *Update) mend() (fresh bool, err error) {
	f := u.f
	signed, err := f.signed()
	if err != nil || f.irregular == "" && f.faulty == "" && f.odd == "" {
		return false, err
	}
	if why := cmp.Or(f.irregular, f.faulty); signed && why != "" {
		return false, refuse(ReasonIrregular, "%s, and it is signed already", why)
	}
	set := func(ref Ref, body []byte) {
		if u.Offset(ref) < 0 { // not what the caller changes
			u.Set(ref, body)
		}
	}
	if f.untyped {
		set(f.catalog.Ref, f.catalog.Value.raw)
	}
	for _, n := range f.form.renamed {
		set(n.obj.Ref, n.obj.Value.With(Change{"T", TextString(n.name)}))
	}
	return !signed && (f.irregular != "" || f.odd != ""), nil
}

// maxFull is how many objects a section that lists all of them may have.
const maxFull = 2_000_000

// full writes a section that lists all objects of the file, in one piece and without
// /Prev, so that no reader sees, and repairs, those before it. It is made only for
// files that nobody has signed yet; the bytes before it stay. It is a table unless
// there are object streams, which only a stream can name.
func (u *Update) full(b *bytes.Buffer, start int64) error {
	if u.next > maxFull {
		return refuse(ReasonTooLarge, "%s, and it has more than %d objects", cmp.Or(u.f.irregular, u.f.odd), maxFull)
	}
	entries := make([]entry, u.next)
	packed, own := false, u.f.ownStreams()
	for num := range u.next {
		e, err := u.f.lookup(num)
		if err == nil && e.kind == inStream {
			e, err = u.f.placed(num, e)
		}
		if err != nil {
			return err
		}
		if e.kind != inFile && e.kind != inStream || num == 0 || own.has(num) {
			e = entry{kind: free, gen: 65535} // for good: linked to object 0 with the last generation (7.5.4)
		}
		entries[num] = e
		packed = packed || e.kind == inStream
	}
	for _, o := range u.objs {
		entries[o.ref.Num] = entry{inFile, o.at, int64(o.ref.Gen)}
	}
	if packed || u.f.XRefKind() == XRefStream {
		u.fullStream(b, start, entries)
		return nil
	}
	if start > maxTableOffset {
		return refuse(ReasonTooLarge, "a cross-reference table reaches only to 10 GB")
	}
	fmt.Fprintf(b, "xref\n0 %d\n", len(entries))
	for _, e := range entries {
		mark := 'n'
		if e.kind == free {
			mark = 'f'
		}
		fmt.Fprintf(b, "%010d %05d %c \n", e.offset, e.gen, mark)
	}
	b.WriteString("trailer\n")
	b.Write(u.trailer(nil, u.next))
	b.WriteByte('\n')
	return nil
}

// placed corrects the index of an entry for an object in an object stream.
func (f *File) placed(num uint32, e entry) (entry, error) {
	s, err := f.objectStream(uint32(e.offset))
	if err != nil {
		return e, err
	}
	i, err := f.member(s, num, e.gen)
	e.gen = int64(i)
	return e, err
}

// ownStreams returns the numbers of the cross-reference streams.
func (f *File) ownStreams() bitset {
	var own bitset
	for _, s := range f.sections {
		for ; s != nil; s = s.hidden {
			own.add(s.object)
		}
	}
	return own
}

// fullStream writes the entries as a cross-reference stream (7.5.8) that lists itself.
func (u *Update) fullStream(b *bytes.Buffer, start int64, entries []entry) {
	self := Ref{Num: u.next}
	width := 4
	if start > 1<<32-1 {
		width = 8
	}
	const last = 4 // bytes for a generation, or an index in an object stream
	kinds := [...]byte{free: 0, inFile: 1, inStream: 2}
	rows := make([]byte, 0, (len(entries)+1)*(1+width+last))
	for _, e := range append(entries, entry{inFile, start, 0}) {
		rows = append(rows, kinds[e.kind])
		for i := width - 1; i >= 0; i-- {
			rows = append(rows, byte(e.offset>>(8*i)))
		}
		rows = binary.BigEndian.AppendUint32(rows, uint32(e.gen))
	}
	own := fmt.Appendf(nil, " /Type /XRef /W [1 %d %d] /Length %d", width, last, len(rows))
	fmt.Fprintf(b, "%d 0 obj\n%s\nstream\n", self.Num, u.trailer(own, self.Num+1))
	b.Write(rows)
	b.WriteString("\nendstream\nendobj\n")
}
