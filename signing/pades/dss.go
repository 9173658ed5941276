package pades

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

// Limits on what is read from a Document Security Store. The largest revocation lists of
// public authorities have some 10 MB.
const (
	maxValue  = 16 << 20 // bytes of one certificate, response or list
	maxStore  = 32 << 20 // of all in one file
	maxValues = 10_000   // references
)

// dssKeys are the arrays of a Document Security Store (ISO 32000-2, Table 261), in the
// order of [values].
var dssKeys = [...]string{"Certs", "OCSPs", "CRLs"}

// values returns the parts of d in the order of dssKeys.
func values(d *revocation.Data) [len(dssKeys)]*[][]byte {
	return [...]*[][]byte{&d.Certs, &d.OCSPs, &d.CRLs}
}

// A dss is the Document Security Store of a file as it is written there (ISO 32000-2,
// 12.8.4.3; EN 319 142-1, clause 5.4.2): null, direct or an object of its own, with
// arrays that are likewise.
type dss struct {
	obj    pdf.Object
	arrays [len(dssKeys)]pdf.Object
}

func openDSS(f *pdf.File) (*dss, error) {
	bad := func(what string, k pdf.Kind) error {
		return &pdf.RefusedError{Reason: pdf.ReasonBroken, Detail: fmt.Sprintf("%s is %s", what, k)}
	}
	var d dss
	var err error
	if d.obj, err = f.ResolveObject(f.Catalog().Value.Get("DSS")); err != nil {
		return nil, err
	}
	if v := d.obj.Value; !v.IsNull() && (v.Kind() != pdf.Dict || d.obj.Stream) {
		return nil, bad("its store of validation data (/DSS)", v.Kind())
	}
	seen, n := map[pdf.Ref]bool{{}: false, d.obj.Ref: true}, 0
	for i, key := range dssKeys {
		a, err := f.ResolveObject(d.obj.Value.Get(key))
		if err != nil {
			return nil, err
		}
		if v := a.Value; !v.IsNull() && v.Kind() != pdf.Array || seen[a.Ref] && a.Ref != (pdf.Ref{}) {
			return nil, bad("the list /"+key+" of its validation data", v.Kind())
		}
		seen[a.Ref] = true
		if n += len(a.Value.Items()); n > maxValues {
			return nil, &pdf.RefusedError{
				Reason: pdf.ReasonTooLarge, Detail: fmt.Sprintf("its validation data has more than %d parts", maxValues),
			}
		}
		d.arrays[i] = a
	}
	return &d, nil
}

// each calls visit with the decoded values. What is no readable stream is passed over:
// nobody can use it, and it does no harm.
func (d *dss) each(f *pdf.File, visit func(kind int, value []byte)) error {
	room := maxStore
	for i, a := range d.arrays {
		for _, it := range a.Value.Items() {
			b, err := value(f, it, min(room, maxValue))
			if err != nil {
				return err
			}
			if b != nil {
				room -= len(b)
				visit(i, b)
			}
		}
	}
	return nil
}

// value reads one item; nil if it is no readable stream.
func value(f *pdf.File, item pdf.Value, limit int) ([]byte, error) {
	ref, ok := item.Ref()
	if !ok {
		return nil, nil
	}
	o, err := f.Object(ref)
	var b []byte
	if err == nil {
		b, err = f.StreamData(o, limit)
	}
	if no, refused := errors.AsType[*pdf.RefusedError](err); refused && no.Reason != pdf.ReasonTooLarge {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("validation data in the PDF: %w", err)
	}
	return b, nil
}

// ReadDSS returns what the Document Security Store of a file holds; nothing if it has
// none. Nothing in it is checked.
func ReadDSS(f *pdf.File) (revocation.Data, error) {
	var out revocation.Data
	d, err := openDSS(f)
	if err != nil {
		return out, err
	}
	have := map[[sha256.Size + 1]byte]bool{}
	err = d.each(f, func(kind int, value []byte) {
		if k := key(kind, value); !have[k] {
			have[k] = true
			list := values(&out)[kind]
			*list = append(*list, value)
		}
	})
	return out, err
}

// key identifies a value by its kind and its SHA-256.
func key(kind int, value []byte) (k [sha256.Size + 1]byte) {
	sum := sha256.Sum256(value)
	copy(k[:], sum[:])
	k[sha256.Size] = byte(kind)
	return k
}

// keys returns the keys of all values.
func keys(d revocation.Data) (out [][]byte, err error) {
	for kind, list := range values(&d) {
		for _, v := range *list {
			if len(v) == 0 || len(v) > maxValue {
				return nil, fmt.Errorf("pades: validation data of %d bytes in one piece, at most %d", len(v), maxValue)
			}
			k := key(kind, v)
			out = append(out, k[:])
		}
	}
	return out, nil
}

// addDSS adds the values that the file's store has not got yet, as streams, touching as few
// objects as possible, and says how many they were. A /VRI stays as it is; none is
// made, as nobody needs one (EN 319 142-1, clause 5.4.2.3).
func (e *edit) addDSS(data revocation.Data) (added revocation.Data, err error) {
	d, err := openDSS(e.f)
	if err != nil {
		return added, err
	}
	have := map[[sha256.Size + 1]byte]bool{}
	if err := d.each(e.f, func(kind int, value []byte) { have[key(kind, value)] = true }); err != nil {
		return added, err
	}
	var changes []pdf.Change
	for kind, list := range values(&data) {
		var refs []pdf.Ref
		for _, v := range *list {
			k := key(kind, v)
			if have[k] {
				continue
			}
			have[k] = true
			ref := e.Alloc()
			e.SetStream(ref, nil, v)
			refs = append(refs, ref)
			into := values(&added)[kind]
			*into = append(*into, v)
		}
		array := d.arrays[kind]
		switch {
		case refs == nil:
		case array.Ref != (pdf.Ref{}) && array.Value.Kind() == pdf.Array:
			e.Set(array.Ref, array.Value.WithItems(refs...))
		default:
			changes = append(changes, pdf.Change{Key: dssKeys[kind], Raw: array.Value.WithItems(refs...)})
		}
	}
	e.setDSS(d.obj, changes)
	return added, nil
}

// setDSS writes the store's dictionary where it is, or in an object of its own.
func (e *edit) setDSS(obj pdf.Object, changes []pdf.Change) {
	switch {
	case changes == nil:
	case obj.Value.IsNull():
		ref := e.Alloc()
		e.Set(ref, pdf.Value{}.With(append([]pdf.Change{{Key: "Type", Raw: []byte("/DSS")}}, changes...)...))
		e.catalog = append(e.catalog, pdf.Change{Key: "DSS", Raw: []byte(ref.String())})
	case obj.Ref != (pdf.Ref{}):
		e.Set(obj.Ref, obj.Value.With(changes...))
	default:
		e.catalog = append(e.catalog, pdf.Change{Key: "DSS", Raw: obj.Value.With(changes...)})
	}
}
