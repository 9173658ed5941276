package pdf

import (
	"fmt"
	"math"
	"strconv"
)

// A matrix maps points: x' = ax + cy + e, y' = bx + dy + f (8.3.3).
type matrix [6]float64

// times returns the matrix that applies m, then n.
func (m matrix) times(n matrix) matrix {
	return matrix{
		m[0]*n[0] + m[1]*n[2], m[0]*n[1] + m[1]*n[3],
		m[2]*n[0] + m[3]*n[2], m[2]*n[1] + m[3]*n[3],
		m[4]*n[0] + m[5]*n[2] + n[4], m[4]*n[1] + m[5]*n[3] + n[5],
	}
}

// inverse returns the matrix that undoes m, and whether there is one.
func (m matrix) inverse() (matrix, bool) {
	det := m[0]*m[3] - m[1]*m[2]
	if !(math.Abs(det) > 1e-9) {
		return matrix{}, false
	}
	return matrix{
		m[3] / det, -m[1] / det, -m[2] / det, m[0] / det,
		(m[2]*m[5] - m[3]*m[4]) / det, (m[1]*m[4] - m[0]*m[5]) / det,
	}, true
}

// box returns the smallest rectangle around a rectangle that was mapped.
func (m matrix) box(r Rect) Rect {
	out := Rect{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}
	for _, p := range [][2]float64{{r.LLX, r.LLY}, {r.LLX, r.URY}, {r.URX, r.LLY}, {r.URX, r.URY}} {
		x, y := m[0]*p[0]+m[2]*p[1]+m[4], m[1]*p[0]+m[3]*p[1]+m[5]
		out = Rect{min(out.LLX, x), min(out.LLY, y), max(out.URX, x), max(out.URY, y)}
	}
	return out
}

// onto returns the matrix that stretches one rectangle onto another.
func (r Rect) onto(s Rect) matrix {
	x, y := (s.URX-s.LLX)/(r.URX-r.LLX), (s.URY-s.LLY)/(r.URY-r.LLY)
	return matrix{x, 0, 0, y, s.LLX - r.LLX*x, s.LLY - r.LLY*y}
}

// String writes the six numbers, to a millionth.
func (m matrix) String() string {
	var out []byte
	for i, n := range m {
		if i > 0 {
			out = append(out, ' ')
		}
		out = strconv.AppendFloat(out, math.Round(n*1e6)/1e6+0, 'f', -1, 64)
	}
	return string(out)
}

// A Frame says how a form XObject (8.10) is drawn so that it stands upright on its
// page: in a box of W by H points, with the origin at the lower left as a person sees it.
type Frame struct {
	W, H    float64
	entries string
	prolog  string
}

// Entries writes /BBox and /Matrix for the dictionary of the form XObject (Table 93).
func (f Frame) Entries() string { return f.entries }

// Prolog returns what must stand before the operators of the form, may be nothing.
func (f Frame) Prolog() string { return f.prolog }

// upright maps W by H points onto an annotation's rectangle, moved to the origin: turned
// against the page.
func (p Page) upright(r Rect) (w, h float64, m matrix) {
	w, h = r.URX-r.LLX, r.URY-r.LLY
	s := 1 / p.Unit
	switch p.Rotate {
	case 90:
		return h * p.Unit, w * p.Unit, matrix{0, s, -s, 0, w, 0}
	case 180:
		return w * p.Unit, h * p.Unit, matrix{-s, 0, 0, -s, w, h}
	case 270:
		return h * p.Unit, w * p.Unit, matrix{0, -s, s, 0, 0, h}
	default:
		return w * p.Unit, h * p.Unit, matrix{s, 0, 0, s, 0, 0}
	}
}

// Frame returns the frame of an annotation with this rectangle (12.5.5).
func (p Page) Frame(r Rect) Frame {
	w, h, m := p.upright(r)
	return Frame{W: w, H: h, entries: fmt.Sprintf("/BBox [0 0 %s %s] /Matrix [%s]", Number(w), Number(h), m)}
}

// FrameLike is Frame for an annotation that has an appearance already: /BBox and
// /Matrix stay as they are in it, as a change of them, other than one of what is drawn,
// counts as tampering in EU DSS. If old is no usable form XObject, it returns the plain frame.
func (f *File) FrameLike(p Page, r Rect, old Value) (Frame, error) {
	form, err := f.ResolveObject(old)
	if err != nil || !form.Stream {
		return p.Frame(r), err
	}
	raw, err := f.Resolve(form.Value.Get("BBox"))
	if err != nil {
		return Frame{}, err
	}
	box, err := f.Rect(raw)
	if err != nil || box.Empty() {
		return p.Frame(r), nil // what nobody can draw is no loss
	}
	entries, theirs := fmt.Sprintf("/BBox %s", raw.raw), matrix{1, 0, 0, 1, 0, 0}
	turn, err := f.Resolve(form.Value.Get("Matrix"))
	if err != nil {
		return Frame{}, err
	}
	if items := turn.Items(); len(items) == len(theirs) {
		for i, it := range items {
			n, ok := it.Float()
			if !ok || math.Abs(n) > maxLength {
				return p.Frame(r), nil
			}
			theirs[i] = n
		}
		entries += fmt.Sprintf(" /Matrix %s", turn.raw)
	}
	// A reader stretches the box, after /Matrix, onto the rectangle (12.5.5, Algorithm 8).
	around := theirs.box(box)
	if around.Empty() {
		return p.Frame(r), nil
	}
	back, ok := theirs.times(around.onto(r)).inverse()
	if !ok {
		return p.Frame(r), nil
	}
	w, h, own := p.upright(r)
	own[4] += r.LLX
	own[5] += r.LLY
	return Frame{W: w, H: h, entries: entries, prolog: own.times(back).String() + " cm\n"}, nil
}
