package pdf

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
)

// A method says how strings or streams are encrypted (Table 25, /CFM).
type method uint8

const (
	identity method = iota // not at all
	rc4Cipher
	aesOfObject // AES-128 with a key of each object
	aesOfFile   // AES-256 with the key of the file
	foreign     // in a way that is not known here
)

// An encryption is how the strings and streams of a file are encrypted (7.6).
type encryption struct {
	ref      Ref // the encryption dictionary, whose strings are not encrypted
	key      []byte
	filters  map[string]method // crypt filters by name
	strings  method            // /StrF
	streams  method            // /StmF
	embedded method            // /EFF: embedded files without a crypt filter of their own
	metadata bool              // metadata streams are encrypted, too

	revision    int64
	permissions uint32
}

// objectKey is algorithm 1, and 1.A for AES-256 (7.6.3.1, 7.6.3.2).
func (c *encryption) objectKey(m method, ref Ref) []byte {
	if m == aesOfFile {
		return c.key
	}
	b := append(bytes.Clone(c.key), byte(ref.Num), byte(ref.Num>>8), byte(ref.Num>>16), byte(ref.Gen), byte(ref.Gen>>8))
	if m == aesOfObject {
		b = append(b, "sAlT"...)
	}
	sum := md5.Sum(b)
	return sum[:min(len(c.key)+5, len(sum))]
}

// decrypt returns the plain bytes of a string in the object ref.
func (c *encryption) decrypt(m method, ref Ref, b []byte) ([]byte, error) {
	if m == identity || len(b) == 0 {
		return b, nil
	}
	key := c.objectKey(m, ref)
	if m == rc4Cipher {
		return rc4With(key, b), nil
	}
	if len(b) < aes.BlockSize || len(b)%aes.BlockSize != 0 {
		return nil, notSealed(ref.Num)
	}
	out := make([]byte, len(b)-aes.BlockSize)
	cipher.NewCBCDecrypter(newAES(key), b[:aes.BlockSize]).CryptBlocks(out, b[aes.BlockSize:])
	out, err := unpad(out)
	if err != nil {
		return nil, notSealed(ref.Num)
	}
	return out, nil
}

// streamPosition is the position of the data of a stream for [encryption.encrypt].
const streamPosition = math.MaxUint32

// encrypt is the reverse of decrypt. The initialization vector is derived from the key,
// the place (pos tells the strings of an object apart) and the plain bytes: the same
// increment made again is the same to the byte, and two different texts never share one.
func (c *encryption) encrypt(m method, ref Ref, pos uint32, b []byte) []byte {
	if m == identity {
		return b
	}
	key := c.objectKey(m, ref)
	if m == rc4Cipher {
		return rc4With(key, b)
	}
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte("initialization vector"))
	mac.Write(binary.BigEndian.AppendUint32(nil, ref.Num))
	mac.Write(binary.BigEndian.AppendUint16(nil, ref.Gen))
	mac.Write(binary.BigEndian.AppendUint32(nil, pos))
	mac.Write(b)
	out := mac.Sum(nil)[:aes.BlockSize:aes.BlockSize]
	pad := aes.BlockSize - len(b)%aes.BlockSize
	out = append(append(out, b...), bytes.Repeat([]byte{byte(pad)}, pad)...)
	data := out[aes.BlockSize:]
	cipher.NewCBCEncrypter(newAES(key), out[:aes.BlockSize]).CryptBlocks(data, data)
	return out
}

// streamMethod says how the data of a stream are encrypted: as its own crypt filter
// says (7.4.10), else by its type, else as all streams are.
func (c *encryption) streamMethod(dict Value) (method, error) {
	filter, parms := dict.Get("Filter"), dict.Get("DecodeParms")
	if filter.kind == Array && len(filter.list) > 0 {
		filter = filter.list[0] // no other place is allowed
		if parms.kind == Array && len(parms.list) > 0 {
			parms = parms.list[0]
		}
	}
	switch typ := dict.Get("Type").Name(); {
	case typ == "XRef": // 7.5.8.2
		return identity, nil
	case filter.Name() == "Crypt":
		name := parms.Get("Name").Name()
		if name == "" {
			name = "Identity"
		}
		return c.filter(name)
	case typ == "Metadata" && !c.metadata:
		return identity, nil
	case typ == "EmbeddedFile":
		return c.embedded, nil
	}
	return c.streams, nil
}

// filter finds a crypt filter by its name.
func (c *encryption) filter(name string) (method, error) {
	m, ok := c.filters[name]
	switch {
	case !ok:
		return m, broken("its encryption dictionary has no crypt filter %q", clip([]byte(name)))
	case m == foreign:
		return m, refuse(ReasonUnsupported, "it is encrypted in a way that is not known here (crypt filter %q)", clip([]byte(name)))
	}
	return m, nil
}

// plain returns an object read from the file itself with its strings decrypted. Its
// values keep the positions they have in the file; what encloses a string is rebuilt.
func (c *encryption) plain(o Object) (Object, error) {
	if c == nil || c.strings == identity || o.Ref == c.ref || o.Stream && o.Value.Get("Type").Name() == "XRef" {
		return o, nil
	}
	return c.decrypted(o)
}

func (c *encryption) decrypted(o Object) (Object, error) {
	raw, err := o.Value.withStrings(func(s Value) ([]byte, error) {
		b, err := c.decrypt(c.strings, o.Ref, s.Bytes())
		return hexString(b), err
	})
	if err != nil || raw == nil {
		return o, err
	}
	v, err := newParser(raw, true).value(0)
	if err != nil {
		return o, err
	}
	v.moveTo(o.Value)
	o.Value, o.rebuilt = v, true
	return o, nil
}

// sealed returns the bytes of a new body of the object ref with its strings encrypted.
func (c *encryption) sealed(ref Ref, body []byte) ([]byte, error) {
	if c == nil || c.strings == identity {
		return body, nil
	}
	p := newParser(body, true)
	v, err := p.value(0)
	if err != nil {
		return nil, fmt.Errorf("pdf: the new body of object %d: %w", ref.Num, err)
	}
	if p.skip(); p.pos != len(body) {
		return nil, fmt.Errorf("pdf: the new body of object %d is more than one value; use SetStream for streams", ref.Num)
	}
	raw, err := v.withStrings(func(s Value) ([]byte, error) {
		return hexString(c.encrypt(c.strings, ref, s.pos, s.Bytes())), nil
	})
	if raw == nil {
		return body, err
	}
	return raw, err
}

// sealedData returns the data of a new stream encrypted.
func (c *encryption) sealedData(ref Ref, dict, data []byte) ([]byte, error) {
	if c == nil {
		return data, nil
	}
	v, err := newParser(dict, true).value(0)
	if err != nil {
		return nil, fmt.Errorf("pdf: the dictionary of the new stream %d: %w", ref.Num, err)
	}
	m, err := c.streamMethod(v)
	return c.encrypt(m, ref, streamPosition, data), err
}

func hexString(b []byte) []byte { return fmt.Appendf(nil, "<%X>", b) }

// withStrings returns the bytes of v with others for each string in it but the /Contents
// of signatures, which are never encrypted (7.6.2). All bytes between are kept. If
// there is no such string, it returns nil.
func (v Value) withStrings(change func(Value) ([]byte, error)) ([]byte, error) {
	s := splice{src: v.raw, base: v.pos, change: change}
	if err := s.walk(v); err != nil {
		return nil, err
	}
	if s.out == nil {
		return nil, nil
	}
	return append(s.out, s.src[s.done:]...), nil
}

type splice struct {
	src    []byte
	base   uint32 // the position of src
	change func(Value) ([]byte, error)
	out    []byte // what was made of src[:done]
	done   int
}

func (s *splice) walk(v Value) error {
	if v.kind == String {
		b, err := s.change(v)
		at := int(v.pos - s.base)
		s.out = append(append(s.out, s.src[s.done:at]...), b...)
		s.done = at + len(v.raw)
		return err
	}
	signature := v.isSignature()
	parts := v.parts()
	for i, it := range parts {
		if v.kind == Dict && (i%2 == 0 || signature && parts[i-1].is("Contents")) {
			continue
		}
		if err := s.walk(it); err != nil {
			return err
		}
	}
	return nil
}

// moveTo gives v and all that is held in it the positions of another value of the same
// structure.
func (v *Value) moveTo(other Value) {
	v.pos = other.pos
	for i := range v.list {
		v.list[i].moveTo(other.list[i])
	}
}

// isSignature recognises a signature dictionary, whose /Type may be missing (Table 255).
func (v Value) isSignature() bool {
	typ := v.Get("Type").Name()
	return typ == "Sig" || typ == "DocTimeStamp" || v.Get("ByteRange").kind == Array
}
