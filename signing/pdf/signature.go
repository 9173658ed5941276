package pdf

import (
	"bytes"
	"slices"
)

// readSignature checks a signature dictionary (12.8.1) and fills in fd.
func (f *File) readSignature(fd *Field, sig Object) error {
	d := sig.Value
	if d.kind != Dict {
		return refuse(ReasonSignature, "the value of signature field %q is %s", fd.Name, d.kind)
	}
	typ, err := f.Resolve(d.Get("Type"))
	if err != nil {
		return err
	}
	if typ.Name() == "DocTimeStamp" {
		fd.Kind = TimestampField
	}
	sub, err := f.Resolve(d.Get("SubFilter"))
	if err != nil {
		return err
	}
	fd.SubFilter = sub.Name()
	if err := f.readByteRange(fd, sig); err != nil {
		return err
	}
	return f.readReferences(fd, d)
}

// readByteRange checks that the byte range is the whole revision without the
// hexadecimal string of /Contents and its brackets (12.8.1).
func (f *File) readByteRange(fd *Field, sig Object) error {
	br, err := f.Resolve(sig.Value.Get("ByteRange"))
	if err != nil {
		return err
	}
	items := br.Items()
	if len(items) != 4 {
		return refuse(ReasonSignature, "the signature in field %q has no byte range of four numbers", fd.Name)
	}
	for i, it := range items {
		n, ok := it.Int()
		if !ok || n < 0 || n > f.size {
			return refuse(ReasonSignature, "the byte range of the signature in field %q is no range of this file", fd.Name)
		}
		fd.ByteRange[i] = n
	}
	contents := sig.Value.Get("Contents")
	if sig.base < 0 || contents.kind != String || contents.raw[0] != '<' {
		return refuse(ReasonSignature, "the signature in field %q is not a hexadecimal string in place", fd.Name)
	}
	b, at := fd.ByteRange, sig.offset(contents)
	if b[0] != 0 || b[1] != at || b[2] != at+int64(len(contents.raw)) {
		return refuse(ReasonSignature, "the gap in the byte range of field %q is not exactly its signature", fd.Name)
	}
	fd.ContentsHex = contents.raw[1 : len(contents.raw)-1 : len(contents.raw)-1]
	if !f.inMemory(sig.base) {
		fd.ContentsHex = bytes.Clone(fd.ContentsHex)
	}
	return f.checkRevisionEnd(fd.Name, b[2]+b[3])
}

// checkRevisionEnd checks that a revision of this file ends at the offset end.
func (f *File) checkRevisionEnd(name string, end int64) error {
	if end <= f.size {
		from := max(0, end-64)
		b, _, err := f.window(from, int(end-from))
		if err != nil {
			return err
		}
		start, ok := endsRevision(b)
		if ok && slices.ContainsFunc(f.sections, func(s *section) bool { return s.offset == start }) {
			return nil
		}
	}
	return refuse(ReasonSignature, "the signature in field %q does not cover its whole revision", name)
}

// readReferences reads what the signature forbids (12.8.2).
func (f *File) readReferences(fd *Field, d Value) error {
	refs, err := f.Resolve(d.Get("Reference"))
	if err != nil {
		return err
	}
	for _, it := range refs.Items() {
		r, err := f.Resolve(it)
		if err != nil {
			return err
		}
		method, err := f.Resolve(r.Get("TransformMethod"))
		if err != nil {
			return err
		}
		params, err := f.Resolve(r.Get("TransformParams"))
		if err != nil {
			return err
		}
		switch method.Name() {
		case "DocMDP":
			p, err := f.Resolve(params.Get("P"))
			if err != nil {
				return err
			}
			fd.DocMDP = level(p, 2) // the default of Table 257
		case "FieldMDP":
			l, err := f.lock(params)
			if err != nil {
				return err
			}
			fd.Locks = append(fd.Locks, l)
		}
	}
	return nil
}

// level reads a permission; what is none of 1, 2, 3 forbids everything.
func level(p Value, fallback int) int {
	n, ok := p.Int()
	switch {
	case p.IsNull():
		return fallback
	case !ok || n < 1 || n > 3:
		return 1
	}
	return int(n)
}

// CheckSigning refuses, with [ReasonLocked], to sign the field name if a
// signature in the file forbids it: a certification with P=1, a lock on the field, and, for
// a certification (level 1 to 3; 0 for an approval signature), any signature at
// all (12.8.2.2). An empty name stands for a field that is yet to be made. If the author of
// an encrypted file forbids it, the reason is [ReasonPermission].
func (f *File) CheckSigning(name string, certification int) error {
	if err := f.checkFieldPermission(name); err != nil {
		return err
	}
	fields, err := f.SignatureFields()
	if err != nil {
		return err
	}
	for _, s := range fields {
		if !s.Signed {
			continue
		}
		if certification > 0 {
			return refuse(ReasonLocked, "it is signed in field %q already, and a seal that certifies must come first", s.Name)
		}
		if s.DocMDP == 1 {
			return refuse(ReasonLocked, "the certification in field %q forbids all changes", s.Name)
		}
		for _, l := range s.Locks {
			if l.Level == 1 {
				return refuse(ReasonLocked, "the signature in field %q forbids all later changes", s.Name)
			}
			if name != "" && l.Covers(name) {
				return refuse(ReasonLocked, "the signature in field %q locks the field %q", s.Name, name)
			}
		}
	}
	return f.checkPerms(fields)
}

// checkPerms checks that /Perms /DocMDP names a signature that was found in a field.
func (f *File) checkPerms(fields []Field) error {
	perms, err := f.Resolve(f.catalog.Value.Get("Perms"))
	if err != nil {
		return err
	}
	mdp := perms.Get("DocMDP")
	if mdp.IsNull() {
		return nil
	}
	ref, ok := mdp.Ref()
	if ok && slices.ContainsFunc(fields, func(s Field) bool { return s.Signed && s.Signature == ref }) {
		return nil
	}
	return refuse(ReasonSignature, "it claims a certification that is in none of its fields")
}
