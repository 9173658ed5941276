package pdf

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// An Update builds an incremental update (7.5.6) of a File: new and replaced
// objects and one cross-reference section of the same form as the newest one.
// The whole increment is made in memory; all offsets are known when it is done.
// In an encrypted file it encrypts all strings and streams but the /Contents of
// signatures; the same objects give the same bytes every time.
type Update struct {
	f    *File
	next uint32
	objs []updated
}

type updated struct {
	ref    Ref
	body   []byte // of a stream: the entries of its dictionary
	stream bool
	data   []byte // of a stream, not yet encrypted

	at   int64 // file offset of "12 0 obj"
	text int64 // file offset of the body
	end  int64 // file offset behind the body
}

// NewUpdate starts an update. New objects get numbers above [File.MaxObject]; freed
// numbers are never used again.
func (f *File) NewUpdate() *Update { return &Update{f: f} }

// Alloc returns the reference of a new object, which must then be Set. Its number is
// above all that the file mentions as far as it was read by now.
func (u *Update) Alloc() Ref {
	u.next = u.above() + 1
	return Ref{Num: u.next - 1}
}

// above returns the lowest number that neither the file nor the update uses.
func (u *Update) above() uint32 { return max(u.next, u.f.maxObject+1) }

// Set gives the object ref the value whose bytes are body, new or in place of the
// value it had. Setting an object again replaces the body.
func (u *Update) Set(ref Ref, body []byte) { u.put(updated{ref: ref, body: body}) }

// SetStream makes the object ref a stream (7.3.8): entries are those of its dictionary,
// without "<<", ">>" and /Length, and data is what the filters named in them have made.
func (u *Update) SetStream(ref Ref, entries, data []byte) {
	u.put(updated{ref: ref, body: entries, stream: true, data: data})
}

func (u *Update) put(o updated) {
	for i := range u.objs {
		if u.objs[i].ref == o.ref {
			u.objs[i] = o
			return
		}
	}
	u.objs = append(u.objs, o)
}

// final returns the body as it is written, encrypted where the file is.
func (u *Update) final(o updated) ([]byte, error) {
	if !o.stream {
		return u.f.crypt.sealed(o.ref, o.body)
	}
	data, err := u.f.crypt.sealedData(o.ref, slices.Concat([]byte("<<"), o.body, []byte(">>")), o.data)
	if err != nil {
		return nil, err
	}
	dict := append([]byte("<< "), o.body...)
	dict, err = u.f.crypt.sealed(o.ref, fmt.Appendf(dict, " /Length %d >>", len(data)))
	return slices.Concat(dict, []byte("\nstream\n"), data, []byte("\nendstream")), err
}

// Body returns the bytes that an object was set to, nil if it was not.
func (u *Update) Body(ref Ref) []byte {
	for _, o := range u.objs {
		if o.ref == ref {
			return o.body
		}
	}
	return nil
}

// Finish lays the update out and returns the bytes to append to the file.
func (u *Update) Finish() ([]byte, error) {
	if len(u.objs) == 0 {
		return nil, errors.New("pdf: an update without any object")
	}
	fresh, err := u.mend()
	if err != nil {
		return nil, err
	}
	if u.next = u.above(); u.next > maxObjectNumber {
		return nil, refuse(ReasonTooLarge, "no object numbers are left")
	}
	last, _, err := u.f.window(u.f.size-1, 1)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	room := 1 << 10 // and for the cross-reference section
	for i := range u.objs {
		room += len(u.objs[i].body) + len(u.objs[i].data) + 64
	}
	b.Grow(room)
	if last[0] != '\n' && last[0] != '\r' {
		b.WriteByte('\n')
	}
	for i := range u.objs {
		o := &u.objs[i]
		body, err := u.final(*o)
		if err != nil {
			return nil, err
		}
		o.at = u.f.size + int64(b.Len())
		fmt.Fprintf(&b, "%d %d obj\n", o.ref.Num, o.ref.Gen)
		o.text = u.f.size + int64(b.Len())
		b.Write(body)
		o.end = u.f.size + int64(b.Len())
		b.WriteString("\nendobj\n")
	}
	start := u.f.size + int64(b.Len())
	switch {
	case fresh:
		err = u.full(&b, start)
	case u.f.XRefKind() == XRefTable:
		err = u.table(&b, start)
	default:
		u.stream(&b, start)
	}
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "startxref\n%d\n%%%%EOF\n", start)
	return b.Bytes(), nil
}

// Offset returns the file offset at which the body of a set object starts; valid
// after Finish. In an encrypted file the body is longer than what was set.
func (u *Update) Offset(ref Ref) int64 { return u.find(ref).text }

// End returns the file offset behind the body of a set object; valid after Finish.
func (u *Update) End(ref Ref) int64 { return u.find(ref).end }

func (u *Update) find(ref Ref) updated {
	for _, o := range u.objs {
		if o.ref == ref {
			return o
		}
	}
	return updated{text: -1, end: -1}
}

// byNumber returns the objects sorted by number and cut into runs.
func (u *Update) byNumber(objs []updated) [][]updated {
	sorted := slices.Clone(objs)
	slices.SortFunc(sorted, func(a, b updated) int { return cmp.Compare(a.ref.Num, b.ref.Num) })
	var runs [][]updated
	for i, from := 1, 0; i <= len(sorted); i++ {
		if i == len(sorted) || sorted[i].ref.Num != sorted[i-1].ref.Num+1 {
			runs = append(runs, sorted[from:i])
			from = i
		}
	}
	return runs
}

// maxTableOffset is what ten digits hold (7.5.4).
const maxTableOffset = 9_999_999_999

// table writes a classic cross-reference table and trailer (7.5.4, 7.5.5).
func (u *Update) table(b *bytes.Buffer, start int64) error {
	if start > maxTableOffset {
		return refuse(ReasonTooLarge, "a cross-reference table reaches only to 10 GB")
	}
	b.WriteString("xref\n")
	for _, run := range u.byNumber(u.objs) {
		fmt.Fprintf(b, "%d %d\n", run[0].ref.Num, len(run))
		for _, o := range run {
			fmt.Fprintf(b, "%010d %05d n \n", o.at, o.ref.Gen)
		}
	}
	b.WriteString("trailer\n")
	b.Write(u.trailer(u.prev(), u.next))
	b.WriteByte('\n')
	return nil
}

// prev links the section to the one before it.
func (u *Update) prev() []byte { return fmt.Appendf(nil, " /Prev %d", u.f.start) }

// trailer copies the newest trailer and adds what belongs to this section.
func (u *Update) trailer(own []byte, size uint32) []byte {
	out := append([]byte("<<"), own...)
	out = fmt.Appendf(out, " /Size %d", size)
	for k, v := range u.f.Trailer().Entries() {
		switch k.Name() {
		case "Size", "Prev", "XRefStm", "Type", "W", "Index", // of the section
			"Filter", "DecodeParms", "Length", "DL", "F", "FFilter", "FDecodeParms": // of its stream
		default:
			out = append(append(append(append(out, ' '), k.raw...), ' '), v.raw...)
		}
	}
	return append(out, " >>"...)
}

// stream writes a cross-reference stream (7.5.8) that lists itself, uncompressed.
func (u *Update) stream(b *bytes.Buffer, start int64) {
	self := updated{ref: Ref{Num: u.next}, at: start}
	width := 4
	if start > 1<<32-1 {
		width = 8
	}
	var index, rows []byte
	for _, run := range u.byNumber(append(slices.Clone(u.objs), self)) {
		index = fmt.Appendf(index, " %d %d", run[0].ref.Num, len(run))
		for _, o := range run {
			rows = append(rows, 1)
			for i := width - 1; i >= 0; i-- {
				rows = append(rows, byte(o.at>>(8*i)))
			}
			rows = append(rows, byte(o.ref.Gen>>8), byte(o.ref.Gen))
		}
	}
	own := fmt.Appendf(u.prev(), " /Type /XRef /W [1 %d 2] /Index [%s] /Length %d", width, index[1:], len(rows))
	fmt.Fprintf(b, "%d 0 obj\n%s\nstream\n", self.ref.Num, u.trailer(own, self.ref.Num+1))
	b.Write(rows)
	b.WriteString("\nendstream\nendobj\n")
}
