package inventory

import (
	"errors"
	"fmt"

	"countersign/signing/pdf"
)

// Bounds of the work on one document; [pdf.File] has its own on top of them.
const (
	maxObjects = 250_000
	maxDepth   = 64   // of trees that are walked by name
	maxLarge   = 50   // parts too large until the walk ends
	maxLoose   = 1000 // objects that nothing leads to and that are looked at
)

// Take makes the inventory of a document. Parts that cannot be read are findings; an
// error is one of the underlying reader, or says that the page tree cannot be walked.
func Take(f *pdf.File) (Report, error) {
	w := &walker{f: f, seen: make([]uint64, f.MaxObject()/64+1)}
	w.report.Counts = map[Class]int{}
	w.report.Reading.Catalog = f.Catalog().Ref.Num
	var pages []pdf.Ref
	err := f.Pages(func(o pdf.Object) bool {
		pages = append(pages, o.Ref)
		w.mark(o.Ref)
		return true
	})
	if err != nil {
		return w.report, err
	}
	w.report.Reading.Pages = len(pages)
	w.mark(f.Catalog().Ref)
	w.form()
	for i, ref := range pages {
		w.object(ref, place{where: fmt.Sprintf("page %d", i+1)})
		w.drain()
	}
	w.catalog()
	w.leftOver()
	return w.report, w.err
}

// A place is where the walk stands.
type place struct {
	where     string
	key       string // the dictionary key that led here
	field     bool   // within a field or its widget
	format    bool   // within a script that formats or computes a field
	structure bool   // within the structure tree (14.7), where /S means something else
}

// under returns the place behind a key.
func (p place) under(key string) place {
	// Table 199: keystroke, format, validate, calculate.
	inAA := p.key == "AA" && p.field
	p.format = p.format && key == "Next" || inAA && (key == "K" || key == "F" || key == "V" || key == "C")
	p.key = key
	return p
}

type task struct {
	ref   pdf.Ref
	place place
}

// later is a value that is looked at in the end.
type later struct {
	value pdf.Value
	place place
}

type walker struct {
	f       *pdf.File
	seen    []uint64 // one bit an object number
	objects int
	large   int // parts that were too large
	tasks   []task
	formats []later // additional actions of fields
	report  Report
	hashed  int64 // bytes of attached files
	err     error // of the underlying reader
}

// mark notes an object as seen and reports whether it is new. A reference with another
// generation leads nowhere and must not hide the object from the others.
func (w *walker) mark(ref pdf.Ref) bool {
	i, bit := ref.Num/64, uint64(1)<<(ref.Num%64)
	if int(i) >= len(w.seen) || w.seen[i]&bit != 0 || !w.f.Has(ref) {
		return false
	}
	w.seen[i] |= bit
	return true
}

func (w *walker) marked(num uint32) bool { return w.seen[num/64]>>(num%64)&1 == 1 }

func (w *walker) found(c Class, p place, format string, args ...any) {
	w.report.add(Finding{Class: c, What: fmt.Sprintf(format, args...), Where: p.where, Times: 1})
}

// failed notes what could not be read.
func (w *walker) failed(err error, p place) {
	no, ok := errors.AsType[*pdf.RefusedError](err)
	if !ok {
		w.err = errors.Join(w.err, err)
		return
	}
	if no.Reason == pdf.ReasonTooLarge {
		if w.large++; w.large == 1 {
			w.found(NotInspected, p, "it is too large to look at all of it")
		}
		if w.large == maxLarge { // what the reader may do for one file is used up
			w.objects = maxObjects + 1
		}
		return
	}
	w.found(NotInspected, p, "something in it cannot be read")
}

// resolve follows references; what cannot be read is null.
func (w *walker) resolve(v pdf.Value, p place) pdf.Value { return w.resolveObject(v, p).Value }

func (w *walker) resolveObject(v pdf.Value, p place) pdf.Object {
	if _, indirect := v.Ref(); indirect && w.err != nil {
		return pdf.Object{}
	}
	o, err := w.f.ResolveObject(v)
	if err != nil {
		w.failed(err, p)
	}
	return o
}

// drain works off what is left to look at.
func (w *walker) drain() {
	for len(w.tasks) > 0 && w.err == nil {
		t := w.tasks[len(w.tasks)-1]
		w.tasks = w.tasks[:len(w.tasks)-1]
		w.object(t.ref, t.place)
	}
}

// object looks at one indirect object.
func (w *walker) object(ref pdf.Ref, p place) {
	if w.objects == maxObjects {
		w.found(NotInspected, p, "it has more than %d objects; those behind them were not looked at", maxObjects)
	}
	if w.objects++; w.objects > maxObjects || w.err != nil {
		return
	}
	o, err := w.f.Object(ref)
	if err != nil {
		w.failed(err, p)
		return
	}
	if o.Stream {
		w.stream(o, p)
	}
	w.value(o.Value, p)
}

// value looks at a value and everything within it; references wait their turn. The
// reader bounds how deep values nest.
func (w *walker) value(v pdf.Value, p place) {
	switch v.Kind() {
	case pdf.Reference:
		if ref, _ := v.Ref(); w.mark(ref) {
			w.tasks = append(w.tasks, task{ref, p})
		}
	case pdf.Array:
		for _, it := range v.Items() {
			w.value(it, p)
		}
	case pdf.Dict:
		w.dict(v, p)
		for k, val := range v.Entries() {
			if kind := val.Kind(); kind == pdf.Reference || kind == pdf.Array || kind == pdf.Dict {
				w.value(val, p.under(k.Name()))
			}
		}
	}
}

// catalog looks at everything that hangs on the catalog; the structure tree comes
// last, as an element of it may lead anywhere.
func (w *walker) catalog() {
	c := w.f.Catalog().Value
	var p place
	w.layers(c, p)
	if !c.Get("Collection").IsNull() {
		w.found(EmbeddedFile, p, "it is a portfolio: viewers show the attached files instead of its pages")
	}
	for k, v := range c.Entries() {
		if k.Name() != "StructTreeRoot" {
			w.value(v, p.under(k.Name()))
			w.drain()
		}
	}
	for _, l := range w.formats {
		w.value(l.value, l.place)
		w.drain()
	}
	w.value(c.Get("StructTreeRoot"), place{structure: true})
	w.drain()
}

// leftOver counts objects that nothing leads to. Editors leave some behind; they are
// also what a forger keeps ready for a later revision.
func (w *walker) leftOver() {
	if w.err != nil || w.objects > maxObjects {
		return
	}
	trailer := w.f.Trailer()
	for _, key := range []string{"Info", "Encrypt", "ID"} {
		w.value(trailer.Get(key), place{})
	}
	w.drain()
	n, pages, hint := 0, 0, false
	err := w.f.InUse(func(num uint32) {
		if num == 0 || w.marked(num) {
			return
		}
		if n++; n > maxLoose || w.err != nil {
			return
		}
		o, err := w.f.Object(pdf.Ref{Num: num}) // of another generation: null
		if err != nil {
			return
		}
		_, table := o.Value.Get("S").Int()
		switch o.Value.Get("Type").Name() {
		case "Page", "Pages", "Catalog":
			pages++
		case "":
			// Annex F: the parameters and the hints of a linearized file.
			if !o.Value.Get("Linearized").IsNull() || o.Stream && table && !hint {
				hint = hint || o.Stream
				n--
			}
		}
	})
	if err != nil {
		w.failed(err, place{})
	}
	if pages > 0 {
		w.report.add(Finding{Class: Unreferenced, What: "a page or a catalog that nothing leads to", Times: pages})
	}
	if n > pages {
		w.report.add(Finding{Class: Unreferenced, What: "an object that nothing leads to", Times: n - pages})
	}
}
