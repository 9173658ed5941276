package pdf

import "slices"

// maxHistory is up to which object number the history of a file is looked at.
const maxHistory = 1 << 20

// checkHistory notes what validators that follow the chain from revision to revision
// refuse (7.5.4): numbers used again after they were freed for good or with a
// generation too low, cross-reference streams whose number was given away, a /Size
// that goes down. It is for files that nobody has signed yet.
func (f *File) checkHistory() error {
	if len(f.sections) == 1 || f.odd != "" || f.irregular != "" {
		return nil
	}
	if f.maxObject > maxHistory {
		f.note("it has very many objects, in several revisions")
		return nil
	}
	h := history{f: f, next: make([]int32, f.maxObject+1)}
	for i, s := range slices.Backward(f.sections) {
		if err := h.section(s, i == len(f.sections)-1); err != nil || f.odd != "" {
			return err
		}
	}
	return nil
}

type history struct {
	f       *File
	next    []int32 // of each object: 0 not freed yet, -1 freed for good, else the generation it may have
	streams bitset  // numbers of cross-reference streams
	size    int64
}

func (h *history) section(s *section, first bool) error {
	size, _ := s.trailer.Get("Size").Int()
	if size < h.size {
		h.f.note("its number of objects goes down from one revision to the next")
	}
	h.size = size
	for _, r := range s.runs {
		for num := r.first; num < r.first+r.count; num++ {
			e, err := h.f.find(s, num)
			if err != nil {
				return err
			}
			if num > 0 {
				h.entry(num, e, first)
			}
			if h.f.odd != "" {
				return nil
			}
		}
	}
	if s.kind == XRefStream {
		h.streams.add(s.object)
	}
	return nil
}

func (h *history) entry(num uint32, e entry, first bool) {
	if h.streams.has(num) {
		h.f.note("a later revision gives the number of a cross-reference stream to another object")
	}
	next := h.next[num]
	switch {
	case e.kind == free && e.gen == 0:
		h.next[num] = -1
		if !first {
			h.f.note("a later revision frees an object for good")
		}
	case e.kind == free:
		h.next[num] = int32(e.gen)
	case e.kind == inStream && next != 0, e.kind == inFile && (next < 0 || e.gen < int64(next)):
		h.f.note("a later revision uses a freed object number again")
	}
}
