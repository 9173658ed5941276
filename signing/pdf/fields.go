package pdf

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxFields = 200_000
	maxNames  = 16 << 20 // bytes in the fully qualified names of all fields
)

// FieldKind says what a signature field holds.
type FieldKind uint8

// The kinds of signature fields; an empty one is a SignatureField.
const (
	SignatureField FieldKind = iota
	TimestampField           // a document timestamp (12.8.5)
)

// A Field is a signature field (12.7.5.5), checked: a signed one has a byte range
// that covers its whole revision but for exactly its /Contents.
type Field struct {
	Name   string // fully qualified, UTF-8 (12.7.4.2)
	Object Object // the field dictionary
	Kind   FieldKind
	Signed bool

	// Of a signed field only:
	Signature   Ref // the signature dictionary; zero if it is in the field
	SubFilter   string
	ByteRange   [4]int64
	ContentsHex []byte // the digits between the brackets of /Contents
	DocMDP      int    // 1, 2 or 3 if it certifies the document, else 0 (12.8.2.2)
	Locks       []Lock
}

// form is what one walk over the field tree learns.
type form struct {
	fields []Field
	names  map[string]bool // true: all fully qualified names, inner nodes included

	renamed []node // fields that an update has to give the name in node.name
}

// AcroForm returns the interactive form dictionary (12.7.3), with the zero Ref
// if it is a direct value of the catalog, and the null value if there is none.
func (f *File) AcroForm() (Object, error) {
	const small = 4 << 10
	if f.acroForm.Value.kind == Dict { // never one that stands in the catalog
		return f.acroForm, nil
	}
	o, err := f.ResolveObject(f.catalog.Value.Get("AcroForm"))
	if err != nil {
		return o, err
	}
	if !o.Value.IsNull() && o.Value.kind != Dict {
		return o, broken("its form (/AcroForm) is %s", o.Value.kind)
	}
	if o.Ref != (Ref{}) && len(o.Value.raw) <= small {
		f.acroForm = f.kept(o)
	}
	return o, nil
}

// SignatureFields returns all signature fields in the order of the field tree.
// It walks every field once and refuses dynamic XFA forms, a tree that is
// no tree, and signatures that do not cover what they must.
func (f *File) SignatureFields() ([]Field, error) {
	if err := f.readForm(); err != nil {
		return nil, err
	}
	return f.form.fields, nil
}

// signed reports whether anybody has signed the file.
func (f *File) signed() (bool, error) {
	fields, err := f.SignatureFields()
	return slices.ContainsFunc(fields, func(fd Field) bool { return fd.Signed }), err
}

// HasField reports whether a field of any type, or an inner node of the field
// tree, has this fully qualified name, or a name that goes on behind it with a full
// stop, so that a lock that lists the name would list that field as well.
func (f *File) HasField(name string) (bool, error) {
	if err := f.readForm(); err != nil {
		return false, err
	}
	_, ok := f.form.names[name]
	return ok, nil
}

func (f *File) readForm() error {
	if f.form != nil {
		return nil
	}
	o, err := f.AcroForm()
	if err != nil {
		return err
	}
	w := formWalk{f: f}
	w.form.names = map[string]bool{}
	if err := w.checkForm(o.Value); err != nil {
		return err
	}
	roots, err := f.Resolve(o.Value.Get("Fields"))
	if err != nil {
		return err
	}
	if !roots.IsNull() && roots.kind != Array {
		return broken("the list of form fields is %s", roots.kind)
	}
	refs := make([]Ref, 0, len(roots.Items()))
	for _, v := range roots.Items() {
		if ref, ok := v.Ref(); ok {
			refs = append(refs, ref)
		} else if err := w.direct(v); err != nil {
			return err
		}
	}
	o, roots = Object{}, Value{} // a hundred times as large as the list of references
	for _, r := range refs {
		if err := w.root(r); err != nil {
			return err
		}
	}
	w.rename()
	f.form = &w.form
	return nil
}

type formWalk struct {
	form
	f      *File
	seen   bitset // fields and widgets
	count  int    // of them
	twins  []node
	named  int    // bytes in all names
	values bitset // signature dictionaries
}

// checkForm refuses forms that a program lays out and notes what a viewer redraws.
func (w *formWalk) checkForm(acroForm Value) error {
	dynamic, err := w.f.Resolve(w.f.catalog.Value.Get("NeedsRendering"))
	if err != nil {
		return err
	}
	if dynamic.True() {
		return refuse(ReasonXFA, "it is laid out by a program when it is opened (/NeedsRendering)")
	}
	if !acroForm.Get("XFA").IsNull() {
		w.f.warnings = append(w.f.warnings, "the form has an XFA part, which viewers may show instead of the pages")
	}
	need, err := w.f.Resolve(acroForm.Get("NeedAppearances"))
	if err != nil {
		return err
	}
	if need.True() {
		w.f.warnings = append(w.f.warnings, "the viewer draws the form fields itself (/NeedAppearances)")
	}
	return nil
}

// A node is a field on the way down, with what it inherits (12.7.4.1).
type node struct {
	obj   Object
	name  string // of the parents, then of the field
	typ   string // /FT
	depth int
	twin  bool // another field had the name before
}

// kids returns the entries of /Kids.
func (w *formWalk) kids(list Value) ([]Ref, error) {
	refs := make([]Ref, 0, len(list.Items()))
	for _, v := range list.Items() {
		ref, ok := v.Ref()
		if !ok {
			return nil, broken("the form lists %s where a field should be", v.kind)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// root handles an entry of /Fields. One that leads nowhere is passed over, as programs
// that delete fields leave such behind; so is a widget, which is not a field.
func (w *formWalk) root(ref Ref) error {
	obj, err := w.f.Object(ref)
	if err != nil {
		return err
	}
	if v := obj.Value; v.kind == Dict && v.Get("T").IsNull() {
		if v.Get("Kids").IsNull() {
			return w.noSignature(obj)
		}
		return broken("form field %d has no name", obj.Ref.Num)
	}
	if err := w.enter(obj); err != nil || obj.Value.IsNull() {
		return err
	}
	return w.field(node{obj: obj})
}

// noSignature refuses a signature where only some readers find it: in a widget without a
// name of its own, or in a field above others, from which they inherit it. What it
// locks could not be kept.
func (w *formWalk) noSignature(o Object) error {
	v := o.Value.Get("V")
	if v.kind != Reference && v.kind != Dict {
		return nil
	}
	v, err := w.f.Resolve(v)
	if err == nil && v.kind == Dict && v.isSignature() {
		err = refuse(ReasonSignature, "object %d holds one, and is no field with a name", o.Ref.Num)
	}
	return err
}

// direct handles an entry of /Fields that should be an object of its own (Table 224).
// Whoever adds a field to the list makes it one.
func (w *formWalk) direct(v Value) error {
	if v.IsNull() {
		return nil
	}
	if v.kind != Dict || v.Get("T").IsNull() || !v.Get("Kids").IsNull() || v.Get("FT").Name() == "Sig" {
		return broken("the form lists %s where a field should be", v.kind)
	}
	w.f.faulty = "its form has a field that is no object of its own"
	return w.field(node{obj: Object{Value: v, base: -1}})
}

// load reads a field or widget, which must be reached by exactly one way.
func (w *formWalk) load(ref Ref) (Object, error) {
	o, err := w.f.Object(ref)
	if err == nil {
		err = w.enter(o)
	}
	return o, err
}

// enter counts a field or widget.
func (w *formWalk) enter(o Object) error {
	if !w.seen.add(o.Ref.Num) {
		return broken("the form reaches field %d twice", o.Ref.Num)
	}
	if w.count++; w.count > maxFields {
		return refuse(ReasonTooLarge, "more than %d form fields", maxFields)
	}
	if !o.Value.IsNull() && o.Value.kind != Dict {
		return broken("form field %d is %s", o.Ref.Num, o.Value.kind)
	}
	return nil
}

// field handles a node that has a name of its own.
func (w *formWalk) field(n node) error {
	if n.depth > maxDepth {
		return refuse(ReasonTooLarge, "form fields nested more than %d deep", maxDepth)
	}
	if err := w.inherit(&n); err != nil {
		return err
	}
	kids, err := w.f.Resolve(n.obj.Value.Get("Kids"))
	if err != nil {
		return err
	}
	refs, err := w.kids(kids)
	if err != nil {
		return err
	}
	kids = Value{}
	terminal := true
	for _, k := range refs {
		obj, err := w.load(k)
		if err == nil && obj.Value.IsNull() {
			err = broken("form field %d lists object %d, which does not exist", n.obj.Ref.Num, obj.Ref.Num)
		}
		if err != nil {
			return err
		}
		if obj.Value.Get("T").IsNull() { // a widget of this field
			if err := w.noSignature(obj); err != nil {
				return err
			}
			continue
		}
		if terminal {
			if err := w.noSignature(n.obj); err != nil {
				return err
			}
			terminal, n.obj.Value = false, Value{} // only the way down counts from here
		}
		if err := w.field(node{obj: obj, name: n.name, typ: n.typ, depth: n.depth + 1}); err != nil {
			return err
		}
	}
	if n.twin {
		if err := w.addTwin(n, terminal); err != nil {
			return err
		}
	}
	if terminal && n.typ == "Sig" {
		return w.signatureField(n)
	}
	return nil
}

// inherit completes name and type and keeps the name.
func (w *formWalk) inherit(n *node) error {
	t, err := w.f.Resolve(n.obj.Value.Get("T"))
	if err != nil {
		return err
	}
	if t.kind != String {
		return broken("the name of form field %d is %s", n.obj.Ref.Num, t.kind)
	}
	ft, err := w.f.Resolve(n.obj.Value.Get("FT"))
	if err != nil {
		return err
	}
	if n.depth > 0 {
		n.name += "."
	}
	n.name += t.Text()
	if ft.kind == Name {
		n.typ = ft.Name()
	}
	if w.named += len(n.name); w.named > maxNames {
		return refuse(ReasonTooLarge, "names of form fields of more than %d MB", maxNames>>20)
	}
	names := w.form.names
	n.twin = names[n.name]
	names[n.name] = true
	if top, _, dotted := strings.Cut(n.name, "."); dotted && !names[top] {
		names[top] = false // a full stop within /T, against 12.7.4.2
	}
	return nil
}

// maxTwins is how many fields are renamed.
const maxTwins = 1000

// addTwin notes a second field of the same name. Viewers take both for one field
// (12.7.4.2), whatever their values, and validators refuse the form; so an update gives
// it a name of its own. Not where the names have a meaning elsewhere.
func (w *formWalk) addTwin(n node, terminal bool) error {
	form, err := w.f.AcroForm()
	if err != nil {
		return err
	}
	if !terminal || n.typ == "Sig" || n.obj.Ref == (Ref{}) || !form.Value.Get("XFA").IsNull() || len(w.twins) == maxTwins {
		return broken("two form fields have the name %q", clip([]byte(n.name)))
	}
	w.f.faulty = "two of its form fields have the same name"
	n.obj = n.obj.compact()
	w.twins = append(w.twins, n)
	return nil
}

// rename finds names for the twins.
func (w *formWalk) rename() {
	used := map[string]int{}
	for _, n := range w.twins {
		partial, _ := w.f.Resolve(n.obj.Value.Get("T")) // read before
		for i := max(2, used[n.name]); ; i++ {
			tail := fmt.Sprintf("_%d", i)
			if _, ok := w.form.names[n.name+tail]; !ok {
				w.form.names[n.name+tail], used[n.name] = true, i+1
				n.name = partial.Text() + tail
				break
			}
		}
		w.form.renamed = append(w.form.renamed, n)
	}
}

// signatureField reads one signature field and, if it is signed, its signature.
func (w *formWalk) signatureField(n node) error {
	fd := Field{Name: n.name, Object: w.f.kept(n.obj)}
	v, err := w.f.ResolveObject(n.obj.Value.Get("V"))
	if err != nil {
		return err
	}
	if v.Value.IsNull() {
		w.fields = append(w.fields, fd)
		return nil
	}
	if v.Ref == (Ref{}) { // the signature dictionary stands in the field itself
		v.base = n.obj.base
	} else if !w.values.add(v.Ref.Num) {
		return refuse(ReasonSignature, "two fields share one signature (object %d)", v.Ref.Num)
	}
	if w.f.irregular != "" {
		return refuse(ReasonIrregular, "%s, and it is signed in field %q already", w.f.irregular, n.name)
	}
	fd.Signed, fd.Signature = true, v.Ref
	if err := w.f.readSignature(&fd, v); err != nil {
		return err
	}
	lock, err := w.f.Resolve(n.obj.Value.Get("Lock"))
	if err != nil {
		return err
	}
	if lock.kind == Dict {
		l, err := w.f.lock(lock)
		if err != nil {
			return err
		}
		fd.Locks = append(fd.Locks, l)
	}
	w.fields = append(w.fields, fd)
	return nil
}
