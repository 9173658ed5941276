package inventory

import (
	"countersign/signing/pdf"
)

// maxFields bounds the field tree.
const maxFields = 200_000

// node is a field on the way down, with what it inherits (12.7.4.1).
type node struct {
	name  []byte
	text  string // the name, as people see it
	typ   string
	value pdf.Value
	// options are those of a choice field.
	options pdf.Value
	flags   int64
	// formatted says that a script makes the field's look out of its value.
	formatted bool
	depth     int
}

// form looks at the interactive form (12.7). It comes before the pages, so that what
// hangs on a field is reported with the field's name.
func (w *walker) form() {
	p := place{where: "form"}
	form := w.resolve(w.f.Catalog().Value.Get("AcroForm"), p)
	if form.Kind() != pdf.Dict {
		return
	}
	if w.resolve(form.Get("NeedAppearances"), p).True() {
		w.found(NeedAppearances, p, "the viewer draws the form's fields anew, as it sees fit")
	}
	if !form.Get("XFA").IsNull() {
		w.found(XFA, p, "a second form in XML (XFA), which some viewers show instead of the pages")
	}
	if n := len(w.resolve(form.Get("CO"), p).Items()); n > 0 {
		w.report.add(Finding{Class: CalculatedField, What: "a field whose value is computed from others", Where: p.where, Times: n})
	}
	for _, v := range w.resolve(form.Get("Fields"), p).Items() {
		w.field(v, node{})
	}
	w.drain()
}

// field looks at one node of the field tree and at those below it.
func (w *walker) field(v pdf.Value, n node) {
	ref, ok := v.Ref()
	if !ok || n.depth > maxDepth || len(w.report.Reading.Fields) == maxFields || w.err != nil {
		w.found(NotInspected, place{where: "form"}, "a form with too many fields, or with one that is none")
		return
	}
	if !w.mark(ref) {
		return
	}
	w.objects++
	o, err := w.f.Object(ref)
	if err != nil || o.Value.Kind() != pdf.Dict {
		if err != nil {
			w.failed(err, place{where: "form"})
		}
		return
	}
	d := o.Value
	p := place{where: "form", field: true}
	if n.text != "" {
		p.where = "field " + clean(n.text)
	}
	n = w.inherit(d, n, &p)
	w.dict(d, p)
	for k, val := range d.Entries() {
		switch key := k.Name(); key {
		case "Kids": // below
		case "AA":
			// Looked at last: a script that something else runs, too, is no format.
			w.formats = append(w.formats, later{val, p.under("AA")})
		default:
			w.value(val, p.under(key))
		}
	}
	if !d.Get("Subtype").IsNull() {
		w.widget(d, n, p)
	}
	n.depth++
	for _, kid := range w.resolve(d.Get("Kids"), p).Items() {
		w.field(kid, n)
	}
}

// inherit completes what a field has of its own, and names the place.
func (w *walker) inherit(d pdf.Value, n node, p *place) node {
	if ft := w.resolve(d.Get("FT"), *p).Name(); ft != "" {
		n.typ = ft
	}
	if v := w.resolve(d.Get("V"), *p); !v.IsNull() {
		n.value = v
	}
	if opt := w.resolve(d.Get("Opt"), *p); !opt.IsNull() {
		n.options = opt
	}
	if f, ok := w.resolve(d.Get("Ff"), *p).Int(); ok {
		n.flags = f
	}
	if aa := w.resolve(d.Get("AA"), *p); !aa.Get("F").IsNull() {
		n.formatted = true
	}
	t := w.resolve(d.Get("T"), *p)
	if t.Kind() != pdf.String {
		return n
	}
	if n.text != "" {
		n.name, n.text = append(n.name[:len(n.name):len(n.name)], '.'), n.text+"."
	}
	n.name, n.text = append(n.name[:len(n.name):len(n.name)], t.Bytes()...), n.text+t.Text()
	p.where = "field " + clean(n.text)
	w.report.Reading.Fields = append(w.report.Reading.Fields, Field{Name: n.name, Type: n.typ})
	return n
}

// field flags (Tables 228, 229, 230).
const (
	flagPassword   = 1 << 13
	flagPushbutton = 1 << 16
	flagCombo      = 1 << 17
)

// widget compares what a field shows with what it says (12.7.4.3).
func (w *walker) widget(d pdf.Value, n node, p place) {
	normal := w.resolveObject(w.resolve(d.Get("AP"), p).Get("N"), p)
	switch n.typ {
	case "Sig":
		if shown := w.state(d, normal, p); n.value.IsNull() && shown.Stream && w.draws(shown) {
			w.found(PreparedAppearance, p, "a signature field that is not signed but shows something already")
		}
	case "Tx":
		if shown := w.state(d, normal, p); shown.Stream && n.flags&flagPassword == 0 && !n.formatted {
			w.text(shown, n, p)
		}
	case "Ch":
		if shown := w.state(d, normal, p); shown.Stream && n.flags&flagCombo != 0 && !n.formatted {
			n.value = w.chosen(n, p)
			w.text(shown, n, p)
		}
	case "Btn":
		if n.flags&flagPushbutton == 0 && normal.Value.Kind() == pdf.Dict && !normal.Stream {
			w.button(d, normal.Value, n, p)
		}
	}
}

// state returns what is shown of an appearance that has states, as buttons have (12.5.5).
func (w *walker) state(d pdf.Value, normal pdf.Object, p place) pdf.Object {
	if normal.Stream || normal.Value.Kind() != pdf.Dict {
		return normal
	}
	return w.resolveObject(normal.Value.Get(w.resolve(d.Get("AS"), p).Name()), p)
}

// chosen returns the text that a choice field shows for its value: the second one of a
// pair in /Opt (Table 233).
func (w *walker) chosen(n node, p place) pdf.Value {
	for _, it := range n.options.Items() {
		pair := w.resolve(it, p).Items()
		if len(pair) == 2 && w.resolve(pair[0], p).Text() == n.value.Text() {
			return w.resolve(pair[1], p)
		}
	}
	return n.value
}

// button compares the state that a check box or radio button shows with its value.
func (w *walker) button(d, states pdf.Value, n node, p place) {
	shown := w.resolve(d.Get("AS"), p)
	if shown.Kind() != pdf.Name || n.value.Kind() != pdf.Name && !n.value.IsNull() {
		return
	}
	value := n.value.Name()
	if value == "" {
		value = "Off"
	}
	on := shown.Name() != "Off" && !states.Get(shown.Name()).IsNull()
	switch {
	case on && shown.Name() != value:
		w.found(PreparedAppearance, p, "a box that shows as ticked although its value says that it is not")
	case !on && value != "Off" && !states.Get(value).IsNull():
		w.found(PreparedAppearance, p, "a box that shows as empty although its value says that it is ticked")
	}
}

// text compares the text that a field shows with its value.
func (w *walker) text(ap pdf.Object, n node, p place) {
	shown, sure := w.shownText(ap)
	value := squeeze(n.value.Text())
	switch {
	case !sure || shown == value:
	case value == "" && n.value.Kind() <= pdf.Null:
		w.found(PreparedAppearance, p, "a field without a value that shows a text")
	case value == "" || shown == "":
		// A stream as value, an empty look: nothing that could deceive.
	case !contains(value, shown) && !contains(shown, value):
		w.found(PreparedAppearance, p, "a field that shows another text than its value")
	}
}
