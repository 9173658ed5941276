package pades

import (
	"fmt"

	"countersign/signing/pdf"
)

// An Appearance draws what a visible signature shows. Package stamp has some.
type Appearance interface {
	// Draw adds a form XObject with this frame to the update, and all that it needs, and
	// returns its reference. The same arguments must give the same bytes.
	Draw(u *pdf.Update, frame pdf.Frame) (pdf.Ref, error)
}

// Flags of an annotation that hide it (ISO 32000-2, Table 167): Hidden and NoView.
const hiding = 1<<1 | 1<<5

// fill writes the field with its value and, if it is visible, its appearance (12.5.5).
func (e *edit) fill(field pdf.Object, value pdf.Change, a Appearance) error {
	widget, rect, err := e.visible(field)
	if err != nil {
		return err
	}
	if a == nil || rect.Empty() {
		e.Set(field.Ref, field.Value.With(value))
		return nil
	}
	page, err := e.f.PageOf(widget)
	if err != nil {
		return err
	}
	if page.Number == 0 {
		return &pdf.RefusedError{
			Reason: pdf.ReasonBroken,
			Detail: fmt.Sprintf("the visible signature field (object %d) is on no page", widget.Ref.Num),
		}
	}
	before, err := e.f.Resolve(widget.Value.Get("AP"))
	if err != nil {
		return err
	}
	frame, err := e.f.FrameLike(page, rect, before.Get("N"))
	if err != nil {
		return err
	}
	form, err := a.Draw(e.Update, frame)
	if err != nil {
		return err
	}
	ap := pdf.Change{Key: "AP", Raw: fmt.Appendf(nil, "<< /N %s >>", form)}
	as := pdf.Change{Key: "AS"} // there is one appearance, not one per state
	if widget.Ref == field.Ref {
		e.Set(field.Ref, field.Value.With(value, ap, as))
		return nil
	}
	e.Set(field.Ref, field.Value.With(value))
	e.Set(widget.Ref, widget.Value.With(ap, as))
	return nil
}

// visible returns the widget of a field and its rectangle, an empty one if nothing of
// it is seen. A signature field has one widget at most (12.7.5.5); if somebody gave it more,
// none gets an appearance.
func (e *edit) visible(field pdf.Object) (widget pdf.Object, rect pdf.Rect, err error) {
	widget = field
	kids, err := e.f.Resolve(field.Value.Get("Kids"))
	if err != nil {
		return widget, rect, err
	}
	switch items := kids.Items(); len(items) {
	case 0:
	case 1:
		if widget, err = e.f.ResolveObject(items[0]); err != nil {
			return widget, rect, err
		}
	default:
		return widget, rect, nil
	}
	flags, err := e.f.Resolve(widget.Value.Get("F"))
	if err != nil {
		return widget, rect, err
	}
	if n, _ := flags.Int(); n&hiding != 0 || widget.Value.Get("Rect").IsNull() {
		return widget, rect, nil
	}
	rect, err = e.f.Rect(widget.Value.Get("Rect"))
	return widget, rect, err
}
