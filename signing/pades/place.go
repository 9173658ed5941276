package pades

import (
	"fmt"
	"slices"

	"countersign/signing/pdf"
)

// A Place is where on the pages a field is seen.
type Place struct {
	Page int      // 1 is the first
	Area pdf.Area // as a person sees the page: in points, from its upper left corner
}

// A PlaceError says why a field cannot be where it was wanted. What was asked for
// is wrong, not the PDF.
type PlaceError struct{ Detail string }

// Error returns one sentence.
func (e *PlaceError) Error() string { return e.Detail }

func misplaced(format string, args ...any) error {
	return &PlaceError{fmt.Sprintf(format, args...)}
}

// A spot is a place in a file.
type spot struct {
	page pdf.Object
	rect pdf.Rect
}

// findSpots finds page and rectangle of each field.
func findSpots(f *pdf.File, fields []FieldSpec) ([]spot, error) {
	first, err := f.FirstPage()
	if err != nil {
		return nil, err
	}
	pages := map[int]pdf.Page{}
	spots := make([]spot, len(fields))
	for i, spec := range fields {
		spots[i].page = first
		if spec.Place == nil {
			continue
		}
		if err := checkVisible(f, spec.Name); err != nil {
			return nil, err
		}
		page, known := pages[spec.Place.Page]
		if !known {
			if page, err = findPage(f, spec.Place.Page); err != nil {
				return nil, err
			}
			pages[spec.Place.Page] = page
		}
		if spots[i], err = spec.Place.on(page); err != nil {
			return nil, fmt.Errorf("pades: signature field %q: %w", spec.Name, err)
		}
		for j, other := range spots[:i] {
			if other.page.Ref == page.Ref && overlap(other.rect, spots[i].rect) {
				return nil, misplaced("the signature fields %q and %q overlap on page %d", fields[j].Name, spec.Name, page.Number)
			}
		}
	}
	return spots, nil
}

// checkVisible refuses a new visible field where a signature limits changes: signing
// is allowed (P=2), but not to put something new on the page (ISO 32000-2, Table 257).
func checkVisible(f *pdf.File, name string) error {
	fields, err := f.SignatureFields()
	if err != nil {
		return err
	}
	for _, s := range fields {
		limits := s.DocMDP > 0 || slices.ContainsFunc(s.Locks, func(l pdf.Lock) bool { return l.Level > 0 })
		if s.Signed && limits {
			return &pdf.RefusedError{
				Reason: pdf.ReasonLocked,
				Detail: fmt.Sprintf("after the signature in field %q nothing new may be seen on its pages, so %q must be invisible, or a field that is there already", s.Name, name),
			}
		}
	}
	return nil
}

func findPage(f *pdf.File, n int) (pdf.Page, error) {
	count, err := f.NumPages()
	if err != nil {
		return pdf.Page{}, err
	}
	if n < 1 || n > count {
		return pdf.Page{}, misplaced("there is no page %d; the PDF has %d", n, count)
	}
	return f.Page(n)
}

// slack is how far over the edge of a page a rounded number may reach, in points.
const slack = 0.01

// on returns the place in user space.
func (p *Place) on(page pdf.Page) (spot, error) {
	a := p.Area
	w, h := page.Size()
	if !(a.W >= 1 && a.H >= 1) { // also refuses what is no number
		return spot{}, misplaced("a rectangle of %g by %g points; make it at least 1 by 1", a.W, a.H)
	}
	if !(a.X >= -slack && a.Y >= -slack && a.X+a.W <= w+slack && a.Y+a.H <= h+slack) {
		return spot{}, misplaced("the rectangle reaches from %g,%g to %g,%g, and page %d is %g by %g points, measured from its upper left corner",
			a.X, a.Y, a.X+a.W, a.Y+a.H, page.Number, w, h)
	}
	return spot{page.Object, page.UserSpace(a)}, nil
}

func overlap(a, b pdf.Rect) bool {
	return a.LLX < b.URX && b.LLX < a.URX && a.LLY < b.URY && b.LLY < a.URY
}

// addToPages lists each widget among the annotations of its page.
func (e *edit) addToPages(spots []spot, refs []pdf.Ref) error {
	var done, lists []pdf.Ref
	for _, s := range spots {
		if slices.Contains(done, s.page.Ref) {
			continue
		}
		done = append(done, s.page.Ref)
		if list, ok := s.page.Value.Get("Annots").Ref(); ok {
			if slices.Contains(lists, list) {
				return &pdf.RefusedError{Reason: pdf.ReasonBroken, Detail: "two of its pages share one list of annotations"}
			}
			lists = append(lists, list)
		}
		var own []pdf.Ref
		for i, ref := range refs {
			if spots[i].page.Ref == s.page.Ref {
				own = append(own, ref)
			}
		}
		if err := e.addToPage(s.page, own); err != nil {
			return err
		}
	}
	return nil
}
