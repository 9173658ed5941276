package engine

import (
	"errors"

	"countersign/mailflow"
	"countersign/signing/inventory"
	"countersign/signing/pdf"
	"countersign/store"
)

// rebuild stores what can be made of a broken document; why says what is wrong with it.
// What cannot be mended is refused for the reason that tells more.
func (e *Engine) rebuild(doc *mailflow.Document, original store.Blob, why error) (store.Blob, error) {
	w, err := e.cfg.Blobs.Create()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	_, err = pdf.Repair(w, original, original.Size())
	if err != nil {
		return nil, err
	}
	digest, _, err := w.Commit()
	if err != nil {
		return nil, err
	}
	doc.Rebuilt, doc.Damage = mailflow.Blob(digest), ""
	if re, ok := errors.AsType[*pdf.RefusedError](why); ok {
		doc.Damage = re.Detail
	}
	return e.cfg.Blobs.Open(digest)
}

// addRebuilt puts the damage among what is told of a document.
func addRebuilt(doc *mailflow.Document, r *inventory.Report) {
	if doc.Rebuilt != "" {
		r.Add(inventory.Finding{Class: inventory.Rebuilt, What: "it came damaged and was rebuilt: " + doc.Damage, Times: 1})
	}
}
