package pdf

import (
	"bytes"
	"strings"
)

// readEncryption reads the encryption dictionary, if there is one, and opens the file
// with the empty user password.
func (f *File) readEncryption() error {
	v := f.Trailer().Get("Encrypt")
	for _, s := range f.sections {
		other := s.trailer.Get("Encrypt")
		if !other.IsNull() && !sameValue(v, other) {
			return broken("its revisions do not agree on how it is encrypted")
		}
	}
	if v.IsNull() {
		return nil
	}
	if !f.Trailer().Get("AuthCode").IsNull() { // ISO/TS 32004
		return refuse(ReasonUnsupported, "it is protected by an integrity code, which any change breaks (/AuthCode)")
	}
	dict, err := f.unencrypted(v)
	if err != nil {
		return err
	}
	if dict.kind != Dict {
		return broken("its encryption dictionary is %s", dict.kind)
	}
	c, err := f.openEncryption(dict)
	if err != nil {
		return err
	}
	c.ref, _ = v.Ref()
	f.crypt = c
	return nil
}

func sameValue(a, b Value) bool {
	r, ok := a.Ref()
	s, ok2 := b.Ref()
	return ok && ok2 && r == s || bytes.Equal(a.raw, b.raw)
}

// unencrypted resolves a value that must be known before anything can be decrypted,
// and so cannot be in an object stream.
func (f *File) unencrypted(v Value) (Value, error) {
	ref, ok := v.Ref()
	if !ok {
		return v, nil
	}
	e, err := f.lookup(ref.Num)
	if err != nil {
		return Value{}, err
	}
	if e.kind != inFile {
		return Value{}, broken("a part of its encryption dictionary (object %d) is missing or encrypted itself", ref.Num)
	}
	o, err := f.Object(ref)
	if err == nil && o.Value.kind == Reference {
		err = broken("a part of its encryption dictionary (object %d) is %s", ref.Num, o.Value.kind)
	}
	return o.Value, err
}

// openEncryption derives the file key.
func (f *File) openEncryption(dict Value) (*encryption, error) {
	d := &cryptDict{f: f, dict: dict}
	h, err := d.handler()
	if err != nil {
		return nil, err
	}
	c := &encryption{revision: h.revision, permissions: h.permissions, metadata: h.metadata}
	if err := d.filters(c, h.version); err != nil {
		return nil, err
	}
	if c.key = h.fileKey(); c.key == nil {
		what := "it opens only with a password"
		if c.strings == identity && c.streams == identity {
			what = "its attachments open only with a password"
		}
		return nil, refuse(ReasonEncrypted, "%s", what)
	}
	if h.revision >= 5 {
		return c, h.checkPerms(c.key)
	}
	return c, nil
}

// A cryptDict reads entries of an encryption dictionary; the first error stays.
type cryptDict struct {
	f    *File
	dict Value
	err  error
}

func (d *cryptDict) get(v Value, key string) Value {
	if d.err != nil {
		return Value{}
	}
	v, d.err = d.f.unencrypted(v.Get(key))
	return v
}

// integer reads a number that must be there.
func (d *cryptDict) integer(key string) int64 {
	n, ok := d.get(d.dict, key).Int()
	if !ok && d.err == nil {
		d.err = broken("its encryption dictionary has no usable /%s", key)
	}
	return n
}

// bytes reads a string of at least n bytes. Programs append zeros to some.
func (d *cryptDict) bytes(key string, n int) []byte {
	b := d.get(d.dict, key).Bytes()
	if len(b) < n && d.err == nil {
		d.err = broken("its encryption dictionary has no usable /%s", key)
	}
	if d.err != nil {
		return nil
	}
	return b[:n:n]
}

// handler reads what Tables 20 and 21 list.
func (d *cryptDict) handler() (*standardHandler, error) {
	sub := d.get(d.dict, "SubFilter").Name()
	switch name := d.get(d.dict, "Filter").Name(); {
	case d.err != nil:
		return nil, d.err
	case name == "Adobe.PubSec" || strings.HasPrefix(sub, "adbe.pkcs7."):
		return nil, refuse(ReasonEncrypted, "it opens only with the certificate of one of its recipients")
	case name == "":
		return nil, broken("its encryption dictionary names no security handler")
	case name != "Standard":
		return nil, refuse(ReasonEncrypted, "it opens only with a certain program (security handler %q)", clip([]byte(name)))
	}
	h := &standardHandler{version: d.integer("V"), revision: d.integer("R")}
	if d.err != nil {
		return nil, d.err
	}
	if v, r := h.version, h.revision; (v < 1 || v == 3 || v > 5) || (r < 2 || r > 6) || (v == 5) != (r >= 5) {
		return nil, refuse(ReasonUnsupported, "it is encrypted in a way that is not known here (/V %d /R %d)", v, r)
	}
	h.permissions = uint32(d.integer("P"))
	v := d.get(d.dict, "EncryptMetadata")
	h.metadata = h.version < 4 || v.kind != Bool || v.True()
	if h.version == 5 {
		h.owner, h.user = d.bytes("O", 48), d.bytes("U", 48)
		h.ownerKey, h.userKey, h.perms = d.bytes("OE", 32), d.bytes("UE", 32), d.bytes("Perms", 16)
		return h, d.err
	}
	h.owner, h.user = d.bytes("O", 32), d.bytes("U", userLength(h.revision))
	h.lengths = d.keyLengths(h.version)
	id := d.get(d.f.Trailer(), "ID")
	if len(id.list) > 0 && id.kind == Array {
		h.id = id.list[0].Bytes()
	}
	return h, d.err
}

// userLength says how much of /U counts (7.6.4.4).
func userLength(revision int64) int {
	if revision == 2 {
		return 32
	}
	return 16
}

// keyLengths returns the lengths in bytes that the key may have (Table 20). With crypt
// filters it has 16, but some programs use what they write in /Length.
func (d *cryptDict) keyLengths(version int64) []int {
	bits := int64(40)
	if v := d.get(d.dict, "Length"); version > 1 && !v.IsNull() {
		bits = d.integer("Length")
	}
	if (bits < 40 || bits > 128 || bits%8 != 0) && version == 2 && d.err == nil {
		d.err = broken("its encryption key has %d bits", bits)
	}
	switch {
	case version == 4 && (bits < 40 || bits > 128 || bits%8 != 0):
		return []int{16}
	case version == 4:
		return []int{16, int(bits / 8)}
	}
	return []int{int(bits / 8)}
}

// filters reads the crypt filters (7.6.6) and which of them applies to what.
func (d *cryptDict) filters(c *encryption, version int64) error {
	if version < 4 {
		c.strings, c.streams, c.embedded = rc4Cipher, rc4Cipher, rc4Cipher
		c.filters = map[string]method{"Identity": identity}
		return nil
	}
	c.filters = map[string]method{}
	cf := d.get(d.dict, "CF")
	for k := range cf.Entries() {
		c.filters[k.Name()] = d.cryptFilter(d.get(cf, k.Name()), version)
	}
	c.filters["Identity"] = identity // a standard name, not to be given another meaning
	if d.err != nil {
		return d.err
	}
	var err error
	if c.streams, err = d.chosen(c, "StmF", "Identity"); err != nil {
		return err
	}
	if c.strings, err = d.chosen(c, "StrF", "Identity"); err != nil {
		return err
	}
	stmf := "Identity"
	if name := d.get(d.dict, "StmF").Name(); name != "" {
		stmf = name
	}
	c.embedded, err = d.chosen(c, "EFF", stmf)
	return err
}

// chosen returns the crypt filter that the dictionary names under a key.
func (d *cryptDict) chosen(c *encryption, key, fallback string) (method, error) {
	v := d.get(d.dict, key)
	if d.err != nil {
		return identity, d.err
	}
	if v.IsNull() {
		return c.filter(fallback)
	}
	return c.filter(v.Name())
}

// cryptFilter reads the method of a crypt filter (Table 25).
func (d *cryptDict) cryptFilter(v Value, version int64) method {
	switch name := d.get(v, "CFM").Name(); {
	case name == "V2" && version == 4:
		return rc4Cipher
	case name == "AESV2" && version == 4:
		return aesOfObject
	case name == "AESV3" && version == 5:
		return aesOfFile
	}
	return foreign
}
