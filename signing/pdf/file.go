package pdf

import (
	"bytes"
	"errors"
	"io"
)

// A File is an opened PDF. It reads from the io.ReaderAt it was opened on, keeps
// no more than what was asked for, and is not safe for concurrent use.
type File struct {
	r        io.ReaderAt
	size     int64
	memory   []byte // the end of the file, if that is in memory, or all of it
	memoryAt int64  // where memory begins

	version   string
	start     int64 // what the last startxref says
	sections  []*section
	index     []segment // which section speaks for which object
	maxObject uint32
	crypt     *encryption // nil: the file is not encrypted
	catalog   Object
	warnings  []string
	irregular string // why common readers would repair the file; empty if they would not
	faulty    string // what every update mends in a file that nobody has signed, else empty
	untyped   bool   // the catalog had no type; it has one in catalog
	odd       string // why some validators refuse the cross-reference chain, else empty

	blocks   [4]block // read last
	scan     *scan    // while a scan is under way
	oldest   int      // index of the block to be replaced next
	open     []Value  // room for parsers
	parser   parser   // of parseAt
	streams  []*objectStream
	work     int64 // bytes read, parsed and decompressed so far
	rowBytes int64 // entries kept of cross-reference streams and irregular tables
	runs     int
	decoding int
	form     *form  // the fields, once read
	acroForm Object // once read, if it is small
	before   *File  // while it is reopened: what it was
}

// Open reads the structure of a PDF: header, tail, cross-reference chain, encryption
// and catalog. It refuses what cannot be signed with a [RefusedError].
func Open(r io.ReaderAt, size int64) (*File, error) { return (&File{r: r, size: size}).structure() }

// OpenTail is Open of a file of which the last bytes are in memory, too. They must not
// change as long as the File, or a value read from it, is used.
func OpenTail(r io.ReaderAt, size int64, tail []byte) (*File, error) {
	return (&File{r: r, size: size, memory: tail, memoryAt: size - int64(len(tail))}).structure()
}

// OpenBytes is Open of a file that is in memory. Nothing of it is copied: it must not
// change as long as the File, or a value read from it, is used.
func OpenBytes(b []byte) (*File, error) {
	return (&File{r: bytes.NewReader(b), size: int64(len(b)), memory: b}).structure()
}

func (f *File) structure() (*File, error) {
	if err := f.readHeader(); err != nil {
		return nil, err
	}
	return f, f.readStructure()
}

// readStructure reads all but the header.
func (f *File) readStructure() error {
	start, err := f.readTail()
	if err != nil {
		return err
	}
	f.start = start
	if err := f.readChain(start); err != nil {
		return err
	}
	if err := f.readEncryption(); err != nil {
		return err
	}
	return f.readCatalog()
}

// readHeader demands "%PDF-m.n" as the first bytes (7.5.2).
func (f *File) readHeader() error {
	b, _, err := f.window(0, 1024)
	if err != nil {
		return err
	}
	i := bytes.Index(b, []byte("%PDF-"))
	switch {
	case i < 0:
		return refuse(ReasonNotPDF, "it does not start with %%PDF")
	case i > 0:
		return refuse(ReasonJunk, "%d bytes stand before its header", i)
	case len(b) < 9 || !isDigit(b[5]) || b[6] != '.' || !isDigit(b[7]) || !isSpace(b[8]):
		return broken("its header names no PDF version")
	}
	f.version = string(b[5:8])
	return nil
}

func (f *File) readCatalog() error {
	root, ok := f.Trailer().Get("Root").Ref()
	if !ok {
		return broken("its trailer names no catalog")
	}
	o, err := f.Object(root)
	if err != nil {
		return err
	}
	if o.Value.kind != Dict {
		return broken("its catalog is %s, not a dictionary", o.Value.kind)
	}
	if o.Value.Get("Type").Name() != "Catalog" { // readers go by /Root, validators by both
		f.faulty, f.untyped = "its catalog is not of the type /Catalog", true
		p := newParser(o.Value.With(Change{"Type", []byte("/Catalog")}), true)
		if o.Value, err = p.value(0); err != nil {
			return err
		}
	}
	f.catalog = f.kept(o)
	return nil
}

// Size returns the size of the file in bytes.
func (f *File) Size() int64 { return f.size }

// Reader returns a new reader over the whole file.
func (f *File) Reader() *io.SectionReader { return io.NewSectionReader(f.r, 0, f.size) }

// HeaderVersion returns the version in the header, "1.7"; the catalog's /Version
// may say more.
func (f *File) HeaderVersion() string { return f.version }

// XRefKind returns the form of the newest cross-reference section, which an
// update has to keep.
func (f *File) XRefKind() XRefKind { return f.sections[0].kind }

// Trailer returns the newest trailer dictionary; of a cross-reference stream, the
// stream's dictionary.
func (f *File) Trailer() Value { return f.sections[0].trailer }

// MaxObject returns the highest object number that the file mentions in any
// revision, used or free, as far as it was read: after [File.CheckStructure] also by a
// reference that leads nowhere. New objects are numbered above it.
func (f *File) MaxObject() uint32 { return f.maxObject }

// Catalog returns the document catalog (7.7.2).
func (f *File) Catalog() Object { return f.catalog }

// Warnings tells what [File.SignatureFields] found odd but no reason to refuse.
func (f *File) Warnings() []string { return f.warnings }

// FirstPage returns the first page (7.7.3): the first leaf of the page tree.
func (f *File) FirstPage() (Object, error) {
	var page Object
	err := f.walkPages(func(o Object) bool {
		page = o
		return false
	})
	if err == nil && page.Value.kind != Dict {
		err = broken("it has no page")
	}
	return page, err
}

// NumPages counts the pages by walking the whole tree; it does not believe /Count.
func (f *File) NumPages() (int, error) {
	n := 0
	err := f.walkPages(func(Object) bool {
		n++
		return true
	})
	return n, err
}

// walkPages calls visit for each page in order until it returns false.
func (f *File) walkPages(visit func(Object) bool) error {
	w := newPageWalk(f)
	w.visit = visit
	return w.run()
}

// errStop ends a walk early.
var errStop = errors.New("stop")

type pageWalk struct {
	f     *File
	visit func(Object) bool
	seen  bitset
	above []Object // what pages inherit from the nodes over them (7.7.3.4), the root first
}

func newPageWalk(f *File) *pageWalk { return &pageWalk{f: f} }

func (w *pageWalk) run() error {
	root, ok := w.f.catalog.Value.Get("Pages").Ref()
	if !ok {
		return broken("its catalog names no page tree")
	}
	err := w.node(root, 0)
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// inheritable returns a node with nothing but what decides how its pages are shown.
func inheritable(o Object) Object {
	var list []Value
	for k, v := range o.Value.Entries() {
		if k.is("MediaBox") || k.is("CropBox") || k.is("Rotate") {
			list = append(list, k, v)
		}
	}
	o.Value = Value{kind: Dict, list: list}
	return o
}

func (w *pageWalk) node(ref Ref, depth int) error {
	if !w.seen.add(ref.Num) {
		return broken("its page tree reaches object %d twice", ref.Num)
	}
	if depth > maxDepth {
		return refuse(ReasonTooLarge, "its page tree is more than %d deep", maxDepth)
	}
	o, err := w.f.Object(ref)
	if err != nil {
		return err
	}
	kids, err := w.f.Resolve(o.Value.Get("Kids"))
	if err != nil {
		return err
	}
	switch typ := o.Value.Get("Type").Name(); {
	case o.Value.kind != Dict:
		return broken("object %d in its page tree is %s", ref.Num, o.Value.kind)
	case typ == "Pages" && kids.kind == Array:
		refs, err := references(kids)
		if err != nil {
			return err
		}
		w.above = append(w.above, inheritable(o))
		o, kids = Object{}, Value{} // a hundred times as large as the list of references
		for _, k := range refs {
			if err := w.node(k, depth+1); err != nil {
				return err
			}
		}
		w.above = w.above[:len(w.above)-1]
		return nil
	case typ == "Page" && kids.IsNull() && depth > 0:
		if !w.visit(o) {
			return errStop
		}
		return nil
	}
	return broken("object %d in its page tree is neither a page nor a node with pages", ref.Num)
}

// references returns the kids of a node.
func references(kids Value) ([]Ref, error) {
	refs := make([]Ref, 0, len(kids.Items()))
	for _, k := range kids.Items() {
		ref, ok := k.Ref()
		if !ok {
			return nil, broken("its page tree has %s where a page should be", k.kind)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}
