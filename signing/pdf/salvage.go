package pdf

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
)

// object reads what was found under a number; streams get their true length.
func (s *salvage) object(num uint32) (Object, error) {
	d := s.found[num]
	if d.packed {
		stm, err := s.pack(d.in)
		if err != nil {
			return Object{}, err
		}
		p := newParser(stm.data, true)
		if p.pos = stm.first + int(stm.index[d.at].at); p.pos > len(stm.data) {
			return Object{}, broken("object %d lies outside of object stream %d", num, d.in)
		}
		v, err := p.value(0)
		return Object{Ref: Ref{Num: num}, Value: v, base: -1}, err
	}
	o, err := s.f.objectAt(d.at)
	if err == nil && o.Stream {
		o.Value = withLength(o.Value, d.length)
	}
	return o, err
}

// pack returns a decoded object stream; the last few are kept.
func (s *salvage) pack(num uint32) (*objectStream, error) {
	for _, stm := range s.f.streams {
		if stm.num == num {
			return stm, nil
		}
	}
	stm, err := s.objectStream(num, s.packs[num])
	if err != nil {
		return nil, err
	}
	if len(s.f.streams) == maxCached {
		s.f.streams = s.f.streams[1:]
	}
	s.f.streams = append(s.f.streams, stm)
	return stm, nil
}

// findRoot takes the catalog that all trailers name, as far as they name one, else the
// only catalog there is.
func (s *salvage) findRoot() error {
	for _, t := range slices.Backward(s.trailers) {
		if !t.Get("Encrypt").IsNull() {
			return refuse(ReasonEncrypted, "it is encrypted, and broken")
		}
		root, ok := t.Get("Root").Ref()
		switch {
		case !ok || !s.isCatalog(root.Num):
		case s.root == (Ref{}):
			s.root, s.info, s.id = root, t.Get("Info"), t.Get("ID")
		case s.root != root:
			return broken("its trailers name two catalogs, objects %d and %d", root.Num, s.root.Num)
		}
	}
	if s.root != (Ref{}) {
		return nil
	}
	var catalogs []uint32
	for num := range s.found {
		if s.isCatalog(num) {
			catalogs = append(catalogs, num)
		}
	}
	if len(catalogs) != 1 {
		return broken("it has no trailer, and %d catalogs instead of one", len(catalogs))
	}
	s.root = Ref{Num: catalogs[0], Gen: s.found[catalogs[0]].gen}
	return nil
}

func (s *salvage) isCatalog(num uint32) bool {
	if _, ok := s.found[num]; !ok {
		return false
	}
	o, err := s.object(num)
	if err != nil || o.Value.Get("Type").Name() != "Catalog" {
		return false
	}
	pages, ok := o.Value.Get("Pages").Ref()
	_, there := s.found[pages.Num]
	return ok && there
}

// reach notes all objects that the catalog and the document information lead to.
func (s *salvage) reach() error {
	seen := map[uint32]bool{s.root.Num: true}
	todo := []uint32{s.root.Num}
	missing := uint32(0)
	visit := func(ref Ref) error {
		d, ok := s.found[ref.Num]
		switch at, damaged := s.damaged[ref.Num]; {
		case seen[ref.Num]:
		case damaged:
			return broken("object %d at offset %d cannot be read", ref.Num, at)
		case !ok || d.gen != ref.Gen:
			missing = max(missing, ref.Num)
		default:
			seen[ref.Num] = true
			todo = append(todo, ref.Num)
		}
		return nil
	}
	if info, ok := s.info.Ref(); ok {
		if err := visit(info); err != nil {
			return err
		}
	}
	for len(todo) > 0 {
		num := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		o, err := s.object(num)
		if err != nil {
			return err
		}
		if hasKey(o.Value, "ByteRange", 0) {
			return refuse(ReasonSignature, "it is broken, and object %d in it is a signature", num)
		}
		if err := eachRef(o.Value, visit); err != nil {
			return err
		}
		s.live = append(s.live, num)
	}
	// References to objects that never were are common and harmless. In a file without
	// an end they mean that a part of it is gone.
	if missing > 0 && !s.tail {
		return broken("its end is missing, and with it object %d; it may have been cut off on its way", missing)
	}
	slices.Sort(s.live)
	return nil
}

// eachRef calls visit for each reference within a value.
func eachRef(v Value, visit func(Ref) error) error {
	if ref, ok := v.Ref(); ok {
		return visit(ref)
	}
	for _, it := range v.parts() {
		if err := eachRef(it, visit); err != nil {
			return err
		}
	}
	return nil
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// write writes the new file.
func (s *salvage) write(out *counter) error {
	id := sha256.New()
	w := &counter{w: io.MultiWriter(out, id)}
	if _, err := fmt.Fprintf(w, "%%PDF-%s\n%%\xe2\xe3\xcf\xd3\n", s.version); err != nil {
		return err
	}
	offsets := make(map[uint32]int64, len(s.live))
	for _, num := range s.live {
		offsets[num] = w.n
		if err := s.writeObject(w, num); err != nil {
			return err
		}
	}
	start, size := w.n, s.live[len(s.live)-1]+1
	var b bytes.Buffer
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", size)
	for num := uint32(1); num < size; num++ {
		if at, ok := offsets[num]; ok {
			fmt.Fprintf(&b, "%010d %05d n \n", at, s.found[num].gen)
		} else {
			b.WriteString("0000000000 65535 f \n")
		}
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root %s", size, s.root)
	if ref, ok := s.info.Ref(); ok && offsets[ref.Num] > 0 {
		fmt.Fprintf(&b, " /Info %s", ref)
	}
	if ids := s.id.Items(); len(ids) == 2 && ids[0].kind == String && ids[1].kind == String {
		fmt.Fprintf(&b, " /ID %s", s.id.raw)
	} else {
		sum := id.Sum(nil)[:16]
		fmt.Fprintf(&b, " /ID [<%X> <%X>]", sum, sum)
	}
	fmt.Fprintf(&b, " >>\nstartxref\n%d\n%%%%EOF\n", start)
	_, err := out.Write(b.Bytes())
	return err
}

// writeObject copies one object.
func (s *salvage) writeObject(w io.Writer, num uint32) error {
	o, err := s.object(num)
	if err != nil {
		return err
	}
	body := o.Value.raw
	if o.Stream {
		body = o.Value.With(Change{Key: "Length", Raw: fmt.Append(nil, s.found[num].length)})
	}
	if _, err := fmt.Fprintf(w, "%d %d obj\n%s\n", num, s.found[num].gen, body); err != nil {
		return err
	}
	if o.Stream {
		if _, err := io.WriteString(w, "stream\n"); err != nil {
			return err
		}
		if err := s.copyData(w, o.data, s.found[num].length); err != nil {
			return err
		}
		if _, err := io.WriteString(w, "\nendstream\n"); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, "endobj\n")
	return err
}

func (s *salvage) copyData(w io.Writer, at, length int64) error {
	n, err := io.Copy(w, io.NewSectionReader(s.f.r, at, length))
	if err == nil && n != length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("copy %d bytes at offset %d of a broken PDF: %w", length, at, err)
	}
	return nil
}
