package pdf

import "sort"

// A segment is a stretch of object numbers for which one section has the last word.
type segment struct {
	first, end uint32 // end is the first number behind it
	from       *section
}

// buildIndex finds out, once, which section speaks for which object number, so
// that no later step has to ask one section after the other.
func (f *File) buildIndex() { f.index = indexOf(f.sections) }

// indexOf merges the sections, the newest first, in pairs of equal depth: the work
// grows with the number of subsections and hardly with that of sections.
func indexOf(sections []*section) []segment {
	switch n := len(sections); n {
	case 0:
		return nil
	case 1:
		s := sections[0]
		if s.hidden == nil {
			return s.segments(s)
		}
		return overlay(s.segments(s), s.hidden.segments(s))
	default:
		return overlay(indexOf(sections[:n/2]), indexOf(sections[n/2:]))
	}
}

// segments returns the subsections of s as segments of the section from.
func (s *section) segments(from *section) []segment {
	out := make([]segment, 0, len(s.runs))
	for _, r := range s.runs {
		out = append(out, segment{r.first, r.first + r.count, from})
	}
	return out
}

// overlay returns newer and of older what newer does not cover. Both are sorted and
// do not overlap in themselves, and so is the result.
func overlay(newer, older []segment) []segment {
	out := make([]segment, 0, len(newer)+len(older))
	for _, o := range older {
		for o.first < o.end && len(newer) > 0 && newer[0].first < o.end {
			n := newer[0]
			if o.first < n.first {
				out = append(out, segment{o.first, n.first, o.from})
			}
			o.first = max(o.first, n.end)
			if n.end <= o.end {
				out, newer = append(out, n), newer[1:]
			}
		}
		if o.first < o.end {
			out = append(out, o)
		}
	}
	return append(out, newer...)
}

// lookup finds an object in the newest section that knows it.
func (f *File) lookup(num uint32) (entry, error) {
	if num == 0 {
		return entry{kind: free, gen: 65535}, nil // never an object, whatever a section says (7.3.10)
	}
	i := sort.Search(len(f.index), func(i int) bool { return f.index[i].end > num })
	if i == len(f.index) || num < f.index[i].first {
		return entry{}, nil
	}
	return f.entryIn(f.index[i].from, num)
}

// entryIn returns what a section says. Objects that a hybrid file hides from old
// readers are free in its table (7.5.8.4).
func (f *File) entryIn(s *section, num uint32) (entry, error) {
	e, err := f.find(s, num)
	if err != nil || s.hidden == nil || e.kind == inFile {
		return e, err
	}
	h, err := f.find(s.hidden, num)
	if err != nil || h.kind != unknown {
		return h, err
	}
	return e, nil
}
