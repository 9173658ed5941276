package pades

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"countersign/signing/pdf"
)

// A FieldSpec asks for a new signature field.
type FieldSpec struct {
	// Name is the field's name, 1 to 64 characters, without a full stop (ISO
	// 32000-2, 12.7.4.2). If the form has it already, "_2", "_3" … is appended.
	Name string

	// Lock says which fields a signature in this field locks; nil: none.
	Lock *FieldLock

	// Place says where the field is seen; nil: nowhere, it belongs to the first page.
	Place *Place
}

// A FieldLock becomes the signature field lock of a new field (ISO 32000-2, 12.7.5.5). It
// is written as a list of the fields that there are with those of this call, where that is
// possible; see [pdf.File.Listed].
type FieldLock struct {
	pdf.Lock

	// New lists the other fields of the same call of [Prepare], too, by the names
	// they get.
	New bool
}

// sigFlags says that the form has signatures and may only be appended to
// (SignaturesExist and AppendOnly, ISO 32000-2, Table 225).
const sigFlags = 3

// Prepare returns the increment that adds empty signature fields to the form and
// to the pages, and the names they got, in order. File and increment together are R0,
// the document that everybody reads and signs. It fails with a *[PlaceError] if
// a field would not be on a page.
func Prepare(f *pdf.File, fields []FieldSpec) (increment []byte, names []string, err error) {
	e := newEdit(f)
	if _, names, err = e.addFields(fields); err != nil {
		return nil, nil, err
	}
	increment, err = e.finish()
	return increment, names, err
}

// addFields adds empty signature fields and returns their objects and names, in order.
func (e *edit) addFields(fields []FieldSpec) (refs []pdf.Ref, names []string, err error) {
	f := e.f
	if len(fields) == 0 {
		return nil, nil, errors.New("pades: no signature field to add")
	}
	if names, err = uniqueNames(f, fields); err != nil {
		return nil, nil, err
	}
	if err := e.checkStructure(); err != nil {
		return nil, nil, err
	}
	spots, err := findSpots(f, fields)
	if err != nil {
		return nil, nil, err
	}
	for i, name := range names {
		ref := e.Alloc()
		lock, err := e.addLock(fields[i].Lock, names, i)
		if err != nil {
			return nil, nil, err
		}
		e.Set(ref, widget(name, spots[i], lock))
		refs = append(refs, ref)
	}
	if err := e.addToForm(refs); err != nil {
		return nil, nil, err
	}
	return refs, names, e.addToPages(spots, refs)
}

// An edit is an update that may change the catalog in several ways at once.
type edit struct {
	*pdf.Update
	f       *pdf.File
	catalog []pdf.Change
	// checkStructure checks all of the file before fields are added.
	checkStructure func() error
}

func newEdit(f *pdf.File) *edit {
	return &edit{Update: f.NewUpdate(), f: f, checkStructure: f.CheckStructure}
}

func (e *edit) finish() ([]byte, error) {
	if c := e.f.Catalog(); len(e.catalog) > 0 {
		e.Set(c.Ref, c.Value.With(e.catalog...))
	}
	return e.Finish()
}

// uniqueNames checks the wanted names and that signatures in the file allow them.
func uniqueNames(f *pdf.File, fields []FieldSpec) ([]string, error) {
	var names []string
	taken := map[string]bool{}
	for _, spec := range fields {
		if err := checkName(spec.Name); err != nil {
			return nil, err
		}
		name := spec.Name
		for n := 2; ; n++ {
			has, err := f.HasField(name)
			if err != nil {
				return nil, err
			}
			if !has && !taken[name] {
				break
			}
			name = fmt.Sprintf("%s_%d", spec.Name, n)
		}
		if err := f.CheckSigning(name, 0); err != nil {
			return nil, err
		}
		taken[name] = true
		names = append(names, name)
	}
	return names, nil
}

func checkName(name string) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == '.' }
	if n := utf8.RuneCountInString(name); n < 1 || n > 64 || !utf8.ValidString(name) || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("pades: signature field name %q: use 1 to 64 printable characters without a full stop", name)
	}
	return nil
}

// addLock writes the lock of field i, in an object of its own as Table 235 demands,
// and returns the entry that names it.
func (e *edit) addLock(want *FieldLock, names []string, i int) (entry string, err error) {
	if want == nil {
		return "", nil
	}
	l := want.Lock
	if want.New {
		l.Fields = slices.Concat(l.Fields, names[:i], names[i+1:])
	}
	if err := l.Check(); err != nil {
		return "", fmt.Errorf("pades: signature field %q: %w", names[i], err)
	}
	if l, err = e.f.Listed(l, names...); err != nil {
		return "", err
	}
	ref := e.Alloc()
	e.Set(ref, fmt.Appendf(nil, "<< /Type /SigFieldLock %s >>", l.Entries()))
	return fmt.Sprintf(" /Lock %s", ref), nil
}

// widget is a signature field merged with its annotation: flags Print and Locked, a
// zero rectangle if it is invisible, no appearance before it is signed (ISO 32000-2,
// 12.7.5.5). An empty one would make validators take a later update for form filling.
// More entries follow, each after a space.
func widget(name string, at spot, more string) []byte {
	return fmt.Appendf(nil, "<< /Type /Annot /Subtype /Widget /FT /Sig /T %s /F 132 /Rect %s /P %s%s >>",
		pdf.TextString(name), at.rect, at.page.Ref, more)
}

// addToForm lists the fields in the form, touching as few objects as possible.
func (e *edit) addToForm(refs []pdf.Ref) error {
	form, err := e.f.AcroForm()
	if err != nil {
		return err
	}
	if form.Value.IsNull() {
		ref := e.Alloc()
		e.Set(ref, fmt.Appendf(nil, "<< /Fields %s /SigFlags %d >>", pdf.Value{}.WithItems(refs...), sigFlags))
		e.catalog = append(e.catalog, pdf.Change{Key: "AcroForm", Raw: []byte(ref.String())})
		return nil
	}
	list, err := e.f.ResolveObject(form.Value.Get("Fields"))
	if err != nil {
		return err
	}
	raw, err := e.fieldList(list.Value, refs)
	if err != nil {
		return err
	}
	var changes []pdf.Change
	if list.Value.Kind() == pdf.Array && list.Ref != (pdf.Ref{}) {
		e.Set(list.Ref, raw)
	} else {
		changes = append(changes, pdf.Change{Key: "Fields", Raw: raw})
	}
	return e.setForm(form, changes)
}

// fieldList appends to the list of fields. Entries that lead nowhere are dropped, and
// those that are no objects of their own made such, as readers stumble over both, but
// not in a file that somebody has signed.
func (e *edit) fieldList(list pdf.Value, refs []pdf.Ref) ([]byte, error) {
	fields, err := e.f.SignatureFields()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(fields, func(fd pdf.Field) bool { return fd.Signed }) {
		return list.WithItems(refs...), nil
	}
	var live []pdf.Ref
	for _, it := range list.Items() {
		v, err := e.f.Resolve(it)
		if err != nil {
			return nil, err
		}
		ref, ok := it.Ref()
		if v.IsNull() {
			continue
		}
		if !ok {
			ref = e.Alloc()
			e.Set(ref, v.Raw())
		}
		live = append(live, ref)
	}
	return pdf.Value{}.WithItems(append(live, refs...)...), nil
}

// setForm writes the form dictionary, in its own object or in the catalog, if
// something in it changes; the signature flags do, if they are not set yet.
func (e *edit) setForm(form pdf.Object, changes []pdf.Change) error {
	v, err := e.f.Resolve(form.Value.Get("SigFlags"))
	if err != nil {
		return err
	}
	flags, _ := v.Int()
	if flags&sigFlags != sigFlags {
		changes = append(changes, pdf.Change{Key: "SigFlags", Raw: fmt.Append(nil, flags&0xffff|sigFlags)})
	}
	if len(changes) == 0 {
		return nil
	}
	body := form.Value.With(changes...)
	if form.Ref != (pdf.Ref{}) {
		e.Set(form.Ref, body)
		return nil
	}
	e.catalog = append(e.catalog, pdf.Change{Key: "AcroForm", Raw: body})
	return nil
}

// addToPage lists the widgets among the annotations of the page.
func (e *edit) addToPage(page pdf.Object, refs []pdf.Ref) error {
	annots, err := e.f.ResolveObject(page.Value.Get("Annots"))
	if err != nil {
		return err
	}
	switch kind := annots.Value.Kind(); {
	case kind == pdf.Array && annots.Ref != (pdf.Ref{}):
		e.Set(annots.Ref, annots.Value.WithItems(refs...))
	case kind == pdf.Array || annots.Value.IsNull():
		e.Set(page.Ref, page.Value.With(pdf.Change{Key: "Annots", Raw: annots.Value.WithItems(refs...)}))
	default:
		return &pdf.RefusedError{
			Reason: pdf.ReasonBroken,
			Detail: fmt.Sprintf("the annotations of a page (object %d) are %s", page.Ref.Num, kind),
		}
	}
	return nil
}
