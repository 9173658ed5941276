package pdf

import (
	"bytes"
	"cmp"
)

// Reopen opens the file that f, which [OpenBytes] opened, has become by an increment: b has
// all of it, and the caller knows that it begins with the bytes that f was read from. Tail,
// new cross-reference sections, encryption and catalog are read from b, as is whatever is
// asked for later. Only the sections that f has read are taken from f, where the new
// ones link to the newest of them; any other chain is read anew.
//
// What [File.CheckStructure] found odd about f counts for the new file, too.
func (f *File) Reopen(b []byte) (*File, error) {
	next := &File{r: bytes.NewReader(b), size: int64(len(b)), memory: b, before: f, version: f.version}
	return next.reopen()
}

func (f *File) reopen() (*File, error) {
	if f.size < f.before.size {
		return nil, broken("it has become shorter")
	}
	f.open, f.before.open = f.before.open, nil
	err := f.readStructure()
	f.before = nil
	if err != nil {
		return nil, err
	}
	return f, nil
}

// link ends the chain of new sections with those that were read before.
func (f *File) link() error {
	old := f.before
	if len(f.sections)+len(old.sections) > maxSections {
		return refuse(ReasonTooLarge, "more than %d revisions", maxSections)
	}
	if f.runs += old.runs; f.runs > maxRuns {
		return refuse(ReasonTooLarge, "more than %d cross-reference subsections", maxRuns)
	}
	if f.rowBytes += old.rowBytes; f.rowBytes > maxXRefBytes {
		return refuse(ReasonTooLarge, "cross-reference sections of more than %d MB", maxXRefBytes>>20)
	}
	if len(f.sections) > 0 && f.sections[0].kind != old.sections[0].kind {
		f.note(twoKinds)
	}
	f.maxObject = max(f.maxObject, old.maxObject)
	f.irregular = cmp.Or(f.irregular, old.irregular)
	f.odd = cmp.Or(f.odd, old.odd)
	newer := indexOf(f.sections)
	f.sections = append(f.sections, old.sections...)
	f.index = overlay(newer, old.index)
	return nil
}
