package inventory

import (
	"bytes"
	"path"
	"strings"

	"countersign/signing/pdf"
)

// dict looks at one dictionary, whatever it is.
func (w *walker) dict(d pdf.Value, p place) {
	if ef := d.Get("EF"); !ef.IsNull() {
		w.attached(d, ef, p)
	}
	if !d.Get("DestOutputProfileRef").IsNull() {
		w.found(ExternalStream, p, "its colours are defined in another file")
	}
	if p.structure {
		return
	}
	w.action(d, p)
	switch w.resolve(d.Get("Type"), p).Name() {
	case "Font":
		w.font(d, p)
	case "OCMD":
		w.membership(d, p)
	}
	if !d.Get("Subtype").IsNull() && !d.Get("Rect").IsNull() {
		w.annotation(d, p)
	}
}

// action finds actions by their type (Table 201).
func (w *walker) action(d pdf.Value, p place) {
	js := !d.Get("JS").IsNull()
	s := d.Get("S")
	if s.IsNull() && !js {
		return
	}
	switch kind := w.resolve(s, p).Name(); kind {
	case "JavaScript":
		js = true
	case "Launch":
		w.found(Launch, p, "an action that starts a program or opens the file %s", w.target(d, p))
	case "SubmitForm":
		w.found(SubmitForm, p, "an action that sends the form's values to %s", w.target(d, p))
	case "ImportData":
		w.found(ImportData, p, "an action that fills the form from the file %s", w.target(d, p))
	case "GoToR", "GoToE", "Thread":
		if kind != "Thread" || !d.Get("F").IsNull() {
			w.found(RemoteGoto, p, "a link into the document %s", w.target(d, p))
		}
	case "URI":
		w.found(URI, p, "a link to %s", clean(w.resolve(d.Get("URI"), p).Text()))
	case "Rendition", "Movie", "Sound", "GoTo3DView", "RichMediaExecute":
		w.found(RichMedia, p, "an action that plays video, sound or 3D")
	case "SetOCGState":
		w.found(HiddenContent, p, "an action that shows or hides layers")
	case "Hide":
		w.found(HiddenContent, p, "an action that shows or hides fields")
	}
	switch {
	case js && p.format:
		w.found(CalculatedField, p, "a script that computes, checks or formats a field")
	case js:
		w.found(JavaScript, p, "a script%s", when(p))
	}
}

// when says what makes a script run.
func when(p place) string {
	switch p.key {
	case "OpenAction", "Names", "JavaScript":
		return " that runs when the document is opened"
	case "A":
		return " that runs at a click"
	}
	return ""
}

// target names the file or address that an action is about (7.11).
func (w *walker) target(d pdf.Value, p place) string {
	spec := w.resolve(d.Get("F"), p)
	if spec.IsNull() {
		spec = w.resolve(d.Get("Win"), p)
	}
	if s := w.fileName(spec, p); s != "" {
		return clean(s)
	}
	return "that it names"
}

// fileName reads a file specification, a string or a dictionary.
func (w *walker) fileName(spec pdf.Value, p place) string {
	if spec.Kind() == pdf.String {
		return spec.Text()
	}
	for _, key := range []string{"UF", "F", "Unix", "Mac", "DOS"} {
		if s := w.resolve(spec.Get(key), p); s.Kind() == pdf.String {
			return s.Text()
		}
	}
	return ""
}

// stream looks at what only streams have.
func (w *walker) stream(o pdf.Object, p place) {
	d := o.Value
	if !d.Get("F").IsNull() {
		w.found(ExternalStream, p, "a part of it is read from the file %s", w.target(d, p))
	}
	switch w.resolve(d.Get("Subtype"), p).Name() {
	case "Form":
		if !d.Get("Ref").IsNull() {
			w.found(ExternalStream, p, "a page of another file is shown in it")
		}
	case "PS":
		w.found(HiddenContent, p, "a drawing in PostScript, which shows in print only")
	case "Image":
		if !d.Get("Alternates").IsNull() {
			w.found(HiddenContent, p, "an image in whose place another may be shown or printed")
		}
	}
	if !d.Get("OPI").IsNull() {
		w.found(ExternalStream, p, "an image that printers replace by another file (OPI)")
	}
}

// annotation flags (Table 167).
const (
	flagHidden = 1 << 1
	flagNoView = 1 << 5
)

// annotation looks at an annotation (12.5.2).
func (w *walker) annotation(d pdf.Value, p place) {
	subtype := w.resolve(d.Get("Subtype"), p).Name()
	switch subtype {
	case "RichMedia", "3D", "Movie", "Sound", "Screen":
		w.found(RichMedia, p, "an area that plays video, sound or 3D")
	}
	flags, _ := w.resolve(d.Get("F"), p).Int()
	if flags&(flagHidden|flagNoView) == 0 || subtype == "Popup" || d.Get("AP").IsNull() || w.empty(d.Get("Rect"), p) {
		return
	}
	what := "a hidden annotation"
	if subtype == "Widget" {
		what = "a hidden field"
	}
	if flags&flagHidden == 0 {
		what = "something that shows in print only"
	}
	w.found(HiddenContent, p, "%s", what)
}

// empty reports whether a rectangle has no area, as that of invisible signatures.
func (w *walker) empty(rect pdf.Value, p place) bool {
	items := w.resolve(rect, p).Items()
	if len(items) != 4 {
		return true
	}
	return bytes.Equal(items[0].Raw(), items[2].Raw()) || bytes.Equal(items[1].Raw(), items[3].Raw())
}

// standard are the 14 fonts that every viewer has (9.6.2.2).
var standard = map[string]bool{
	"Times-Roman": true, "Times-Bold": true, "Times-Italic": true, "Times-BoldItalic": true,
	"Helvetica": true, "Helvetica-Bold": true, "Helvetica-Oblique": true, "Helvetica-BoldOblique": true,
	"Courier": true, "Courier-Bold": true, "Courier-Oblique": true, "Courier-BoldOblique": true,
	"Symbol": true, "ZapfDingbats": true,
}

// font looks whether a font is in the document (9.9). Type 3 fonts always are, and
// composite ones by their descendant.
func (w *walker) font(d pdf.Value, p place) {
	switch w.resolve(d.Get("Subtype"), p).Name() {
	case "Type1", "MMType1", "TrueType", "CIDFontType0", "CIDFontType2":
	default:
		return
	}
	desc := w.resolve(d.Get("FontDescriptor"), p)
	for _, key := range []string{"FontFile", "FontFile2", "FontFile3"} {
		if !desc.Get(key).IsNull() {
			return
		}
	}
	base := w.resolve(d.Get("BaseFont"), p).Name()
	if standard[base] {
		w.found(StandardFont, p, "the standard font %s", clean(base))
		return
	}
	w.found(FontNotEmbedded, p, "the font %s is not embedded", clean(base))
}

// attached lists the files in a file specification (7.11.4), each once, however
// often it is named for different systems.
func (w *walker) attached(spec, ef pdf.Value, p place) {
	display := w.fileName(spec, p)
	if i := strings.LastIndexByte(display, '\\'); i >= 0 {
		display = display[i+1:]
	}
	display = safe(path.Base("/" + display))
	known := map[pdf.Ref]bool{}
	for _, v := range w.resolve(ef, p).Entries() {
		ref, ok := v.Ref()
		if !ok || known[ref] {
			continue
		}
		known[ref] = true
		o := w.resolveObject(v, p)
		if !o.Stream {
			continue
		}
		w.found(EmbeddedFile, p, "the attached file “%s”", display)
		if len(w.report.Attached) < maxAttached {
			w.hash(o, display, p)
		}
	}
}
