package pdf

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

// A Rect is a rectangle in user space (7.9.5): LLX ≤ URX and LLY ≤ URY.
type Rect struct{ LLX, LLY, URX, URY float64 }

// Empty reports whether nothing can be seen in the rectangle.
func (r Rect) Empty() bool { return r.URX <= r.LLX || r.URY <= r.LLY }

// String writes the rectangle as an array, to a thousandth of a unit.
func (r Rect) String() string {
	return fmt.Sprintf("[%s %s %s %s]", Number(r.LLX), Number(r.LLY), Number(r.URX), Number(r.URY))
}

// intersect returns what lies in both.
func (r Rect) intersect(s Rect) Rect {
	return Rect{max(r.LLX, s.LLX), max(r.LLY, s.LLY), min(r.URX, s.URX), min(r.URY, s.URY)}
}

// Number writes a real number to a thousandth, without an exponent (7.3.3).
func Number(f float64) string {
	return strconv.FormatFloat(math.Round(f*1000)/1000+0, 'f', -1, 64) // + 0: no "-0"
}

// An Area is a rectangle on a page as a person sees it: turned by /Rotate, cut by
// its CropBox, measured in points (1/72 inch) with /UserUnit counted in. X goes to
// the right and Y down, from the upper left corner of what is shown.
type Area struct{ X, Y, W, H float64 }

// A Page is a page with what it inherits (7.7.3.4) and what decides how it is shown.
type Page struct {
	Object
	Number int     // 1 is the first
	Box    Rect    // what is shown of it, in user space: CropBox within MediaBox (14.11.2)
	Rotate int     // how far it is turned clockwise: 0, 90, 180 or 270 degrees
	Unit   float64 // points in a unit of user space (/UserUnit)
}

// Size returns width and height in points as a person sees the page.
func (p Page) Size() (w, h float64) {
	w, h = (p.Box.URX-p.Box.LLX)*p.Unit, (p.Box.URY-p.Box.LLY)*p.Unit
	if p.Rotate%180 != 0 {
		w, h = h, w
	}
	return w, h
}

// UserSpace returns where in user space an area lies.
func (p Page) UserSpace(a Area) Rect {
	x, y, w, h := a.X/p.Unit, a.Y/p.Unit, a.W/p.Unit, a.H/p.Unit
	b := p.Box
	switch p.Rotate {
	case 90: // what is seen at the top is the left side
		return Rect{b.LLX + y, b.LLY + x, b.LLX + y + h, b.LLY + x + w}
	case 180:
		return Rect{b.URX - x - w, b.LLY + y, b.URX - x, b.LLY + y + h}
	case 270:
		return Rect{b.URX - y - h, b.URY - x - w, b.URX - y, b.URY - x}
	default:
		return Rect{b.LLX + x, b.URY - y - h, b.LLX + x + w, b.URY - y}
	}
}

// Page returns page n, counted from 1. If there are fewer pages, it fails with an
// error that says how many.
func (f *File) Page(n int) (Page, error) {
	count := 0
	page, err := f.findPage(func(Object) (bool, error) {
		count++
		return count == n, nil
	})
	if err == nil && page.Number == 0 {
		err = fmt.Errorf("the PDF has no page %d; it has %d", n, count)
	}
	return page, err
}

// PageOf returns the page on which an annotation stands: the one that its /P names,
// or else the first that lists it. It returns the zero Page if there is none.
func (f *File) PageOf(annot Object) (Page, error) {
	if at, ok := annot.Value.Get("P").Ref(); ok {
		page, err := f.findPage(func(o Object) (bool, error) { return o.Ref == at, nil })
		if err != nil || page.Number > 0 {
			return page, err
		}
	}
	return f.findPage(func(o Object) (bool, error) {
		annots, err := f.Resolve(o.Value.Get("Annots"))
		for _, it := range annots.Items() {
			if ref, ok := it.Ref(); ok && ref == annot.Ref {
				return true, err
			}
		}
		return false, err
	})
}

// findPage returns the first page that is the wanted one, or the zero Page.
func (f *File) findPage(wanted func(Object) (bool, error)) (Page, error) {
	var page Page
	var bad error
	number := 0
	w := newPageWalk(f)
	w.visit = func(o Object) bool {
		number++
		var ok bool
		if ok, bad = wanted(o); bad != nil {
			return false
		}
		if ok {
			page = Page{Object: o, Number: number}
			bad = page.shown(f, w.above)
		}
		return !ok
	}
	if err := w.run(); err != nil {
		return Page{}, err
	}
	return page, bad
}

// shown fills in box, rotation and unit; above are the nodes over the page, the root first.
func (p *Page) shown(f *File, above []Object) error {
	inherited := func(key string) (Value, error) {
		for i := len(above); i >= 0; i-- {
			o := p.Object
			if i < len(above) {
				o = above[i]
			}
			if v, err := f.Resolve(o.Value.Get(key)); err != nil || !v.IsNull() {
				return v, err
			}
		}
		return Value{}, nil
	}
	media, err := inherited("MediaBox")
	if err != nil {
		return err
	}
	crop, err := inherited("CropBox")
	if err != nil {
		return err
	}
	turn, err := inherited("Rotate")
	if err != nil {
		return err
	}
	unit, err := f.Resolve(p.Value.Get("UserUnit")) // not inherited
	if err != nil {
		return err
	}
	if p.Box, err = f.Rect(media); err != nil {
		return broken("the MediaBox of page %d is no rectangle", p.Number)
	}
	if !crop.IsNull() {
		box, err := f.Rect(crop)
		if err != nil {
			return broken("the CropBox of page %d is no rectangle", p.Number)
		}
		p.Box = p.Box.intersect(box)
	}
	return p.measure(turn, unit)
}

// maxLength bounds page sizes, in points; no reader shows more.
const maxLength = 1e8

func (p *Page) measure(turn, unit Value) error {
	if p.Box.Empty() {
		return broken("nothing of page %d is shown: its CropBox lies outside of its MediaBox", p.Number)
	}
	if !turn.IsNull() {
		n, ok := turn.Int()
		if !ok || n%90 != 0 {
			return broken("page %d is turned by %s, not by a multiple of 90", p.Number, turn.raw)
		}
		p.Rotate = int((n%360 + 360) % 360)
	}
	p.Unit = 1
	if !unit.IsNull() {
		u, ok := unit.Float()
		if !ok || u <= 0 || u > maxLength {
			return broken("the unit of page %d (/UserUnit) is not a positive number", p.Number)
		}
		p.Unit = u
	}
	if w, h := p.Size(); w > maxLength || h > maxLength || w < 1e-3 || h < 1e-3 {
		return broken("page %d is %g by %g points in size", p.Number, w, h)
	}
	return nil
}

// Rect reads a rectangle (7.9.5): two opposite corners in any order.
func (f *File) Rect(v Value) (Rect, error) {
	v, err := f.Resolve(v)
	if err != nil {
		return Rect{}, err
	}
	var n [4]float64
	if len(v.Items()) != len(n) {
		return Rect{}, broken("a rectangle is %s", v.kind)
	}
	for i, it := range v.Items() {
		if it, err = f.Resolve(it); err != nil {
			return Rect{}, err
		}
		var ok bool
		if n[i], ok = it.Float(); !ok || math.Abs(n[i]) > maxLength {
			return Rect{}, broken("a rectangle has a corner at %s", it.raw)
		}
	}
	return Rect{min(n[0], n[2]), min(n[1], n[3]), max(n[0], n[2]), max(n[1], n[3])}, nil
}

// Float returns an integer or real number (7.3.3) and whether the value is one.
func (v Value) Float() (float64, bool) {
	switch {
	case v.kind == Int:
		return float64(v.num), true
	case v.kind != Real || bytes.ContainsAny(v.raw, "eExXpPnN_"): // Go reads more than PDF
		return 0, false
	}
	n, err := strconv.ParseFloat(string(v.raw), 64)
	return n, err == nil
}
