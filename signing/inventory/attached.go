package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"io"

	"countersign/signing/pdf"
)

// maxHashed bounds the bytes that attached files may unpack to, together.
const maxHashed = 64 << 20

// hash adds an attached file with its size and digest.
func (w *walker) hash(o pdf.Object, display string, p place) {
	r, err := w.f.OpenStream(o)
	if err != nil {
		w.found(NotInspected, p, "the attached file “%s” cannot be unpacked", display)
		return
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, maxHashed-w.hashed+1))
	w.hashed += n
	switch {
	case w.hashed > maxHashed:
		w.hashed = maxHashed
		w.found(NotInspected, p, "the attached file “%s” is too large to be looked at", display)
	case err != nil:
		w.found(NotInspected, p, "the attached file “%s” cannot be unpacked", display)
	default:
		w.report.Attached = append(w.report.Attached, Attached{Name: display, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))})
	}
}
