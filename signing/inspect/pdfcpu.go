package inspect

import (
	"errors"
	"fmt"
	"io"

	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"

	"countersign/signing/inventory"
)

// Bounds of the walks, as our own reader has them.
const (
	maxDepth = 64
	maxNodes = 200_000
)

// A document is one as pdfcpu sees it.
type document struct {
	table *model.XRefTable
	seen  map[int]bool
	out   inventory.Reading
}

// open reads a document with the empty password, and without the library's directory
// of settings.
func open(doc io.ReadSeeker) (*document, error) {
	model.ConfigPath = "disable"
	conf := model.NewDefaultConfiguration()
	conf.Cmd, conf.Offline = model.LISTINFO, true
	ctx, err := pdfcpu.Read(doc, conf)
	if err != nil {
		return nil, err
	}
	return &document{table: ctx.XRefTable, seen: map[int]bool{}}, nil
}

// reading finds what both readers must agree on.
func (d *document) reading() (inventory.Reading, error) {
	if d.table.Root == nil {
		return d.out, errors.New("it has no catalog")
	}
	d.out.Catalog = uint32(d.table.Root.ObjectNumber)
	catalog, err := d.table.DereferenceDict(*d.table.Root)
	if err != nil || catalog == nil {
		return d.out, fmt.Errorf("its catalog cannot be read: %w", err)
	}
	pages, _ := catalog.Find("Pages")
	if err := d.pages(pages, 0); err != nil {
		return d.out, err
	}
	form, err := d.dict(catalog, "AcroForm")
	if err != nil {
		return d.out, err
	}
	return d.out, d.fields(form, "Fields", inventory.Field{}, 0)
}

// dict reads a dictionary under a key; nil if there is none.
func (d *document) dict(of types.Dict, key string) (types.Dict, error) {
	o, ok := of.Find(key)
	if !ok || o == nil {
		return nil, nil
	}
	v, err := d.table.DereferenceDict(o)
	if err != nil {
		return nil, fmt.Errorf("/%s: %w", key, err)
	}
	return v, nil
}

func (d *document) array(of types.Dict, key string) (types.Array, error) {
	o, ok := of.Find(key)
	if !ok || o == nil {
		return nil, nil
	}
	v, err := d.table.DereferenceArray(o)
	if err != nil {
		return nil, fmt.Errorf("/%s: %w", key, err)
	}
	return v, nil
}

// visit notes an object as seen; it gives nil for one that was seen before.
func (d *document) visit(o types.Object, depth int) (types.Dict, error) {
	ref, ok := o.(types.IndirectRef)
	if !ok {
		return nil, fmt.Errorf("a tree has %T where a reference should be", o)
	}
	n := int(ref.ObjectNumber)
	if d.seen[n] {
		return nil, nil
	}
	if depth > maxDepth || len(d.seen) > maxNodes {
		return nil, errors.New("a tree is too large")
	}
	d.seen[n] = true
	return d.table.DereferenceDict(o)
}

// pages counts the leaves of the page tree; it does not believe /Count.
func (d *document) pages(node types.Object, depth int) error {
	v, err := d.visit(node, depth)
	if err != nil {
		return fmt.Errorf("its page tree: %w", err)
	}
	if v == nil {
		return errors.New("its page tree leads nowhere, or in a circle")
	}
	kids, err := d.array(v, "Kids")
	if err != nil {
		return err
	}
	if kids == nil {
		d.out.Pages++
		return nil
	}
	for _, k := range kids {
		if err := d.pages(k, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// fields lists the named nodes of the field tree below a key.
func (d *document) fields(of types.Dict, key string, parent inventory.Field, depth int) error {
	kids, err := d.array(of, key)
	if err != nil {
		return err
	}
	for _, k := range kids {
		if k == nil {
			continue
		}
		v, err := d.visit(k, depth)
		if err != nil {
			return fmt.Errorf("its form: %w", err)
		}
		if v == nil {
			continue
		}
		field, err := d.field(v, parent)
		if err != nil {
			return err
		}
		if err := d.fields(v, "Kids", field, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// field reads name and type of one node, and notes it if it has a name of its own.
func (d *document) field(v types.Dict, parent inventory.Field) (inventory.Field, error) {
	f := parent
	if o, ok := v.Find("FT"); ok {
		o, err := d.table.Dereference(o)
		if err != nil {
			return f, err
		}
		if name, ok := o.(types.Name); ok {
			f.Type = name.Value()
		}
	}
	name, err := d.table.DereferenceStringEntryBytes(v, "T")
	if err != nil {
		return f, fmt.Errorf("the name of a field: %w", err)
	}
	o, _ := v.Find("T")
	if o, err = d.table.Dereference(o); err != nil || o == nil {
		return f, err
	}
	f.Name = nil
	if parent.Name != nil {
		f.Name = append(append(f.Name, parent.Name...), '.')
	}
	f.Name = append(append(make([]byte, 0, len(f.Name)+len(name)), f.Name...), name...)
	d.out.Fields = append(d.out.Fields, f)
	return f, nil
}
