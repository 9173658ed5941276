package inventory

import (
	"bytes"

	"countersign/signing/pdf"
)

// maxLayers bounds how many layers are looked at one by one.
const maxLayers = 2000

// layers looks at optional content (8.11): layers that are off, and those that print
// or export otherwise than they show.
func (w *walker) layers(catalog pdf.Value, p place) {
	props := w.resolve(catalog.Get("OCProperties"), p)
	d := w.resolve(props.Get("D"), p)
	if w.resolve(d.Get("BaseState"), p).Name() == "OFF" {
		w.found(HiddenContent, p, "its layers are switched off to begin with")
	}
	for i, v := range w.resolve(d.Get("OFF"), p).Items() {
		if i == maxLayers {
			w.found(NotInspected, p, "it has more than %d layers", maxLayers)
			break
		}
		w.found(HiddenContent, p, "the layer %s is switched off", w.layerName(v, p))
	}
	looked := 0
	for _, v := range w.resolve(d.Get("AS"), p).Items() { // usage applications (Table 101)
		usage := w.resolve(v, p)
		for _, layer := range w.resolve(usage.Get("OCGs"), p).Items() {
			if looked++; looked > maxLayers {
				w.found(NotInspected, p, "it has more than %d layers", maxLayers)
				return
			}
			w.usage(layer, p)
		}
	}
}

func (w *walker) layerName(v pdf.Value, p place) string {
	return clean(w.resolve(w.resolve(v, p).Get("Name"), p).Text())
}

// usage looks at a layer that viewers switch by themselves (Table 100).
func (w *walker) usage(layer pdf.Value, p place) {
	u := w.resolve(w.resolve(layer, p).Get("Usage"), p)
	state := func(key string) string {
		return w.resolve(w.resolve(u.Get(key), p).Get(key+"State"), p).Name()
	}
	view, print := state("View"), state("Print")
	switch {
	case view == "OFF" && print != "OFF":
		w.found(HiddenContent, p, "the layer %s shows in print only", w.layerName(layer, p))
	case print == "OFF" && view != "OFF":
		w.found(HiddenContent, p, "the layer %s shows on the screen only", w.layerName(layer, p))
	case !u.Get("Zoom").IsNull() || !u.Get("User").IsNull() || !u.Get("Language").IsNull():
		w.found(HiddenContent, p, "the layer %s shows at some sizes or to some people only", w.layerName(layer, p))
	}
}

// membership looks at content that shows while a layer is off (8.11.2.2).
func (w *walker) membership(d pdf.Value, p place) {
	policy := w.resolve(d.Get("P"), p).Name()
	if policy == "AllOff" || policy == "AnyOff" || bytes.Contains(w.resolve(d.Get("VE"), p).Raw(), []byte("/Not")) {
		w.found(HiddenContent, p, "content that shows only while a layer is switched off")
	}
}
