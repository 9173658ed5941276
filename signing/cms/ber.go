package cms

import "fmt"

const (
	tagOctetString       = 0x04
	tagOctetStringPieces = 0x24 // constructed: BER only
)

// toDER guards b and returns it with definite, shortest lengths and octet
// strings in one piece. What has this shape already comes back as it is, so
// bytes that somebody signed keep their encoding.
func toDER(b []byte) ([]byte, error) {
	if err := Guard(b); err != nil {
		return nil, err
	}
	if _, strict, err := walk(b); strict || err != nil {
		return b, err
	}
	out, _, err := appendDER(make([]byte, 0, len(b)), b, 0, len(b))
	return out, err
}

// appendDER appends the element of b at pos and returns the offset after it.
// Guard has bounded the depth of this recursion.
func appendDER(dst, b []byte, pos, limit int) ([]byte, int, error) {
	h, err := readHeader(b, pos, limit)
	if err != nil {
		return nil, 0, err
	}
	if h.tag&constructed == 0 {
		dst = appendHeader(dst, identifier(b, pos), h.end-h.body)
		return append(dst, b[h.body:h.end]...), h.end, nil
	}
	var inner []byte
	p := h.body
	for p < h.end && (!h.indefinite || !atEndOfContents(b, p, h.end)) {
		if inner, p, err = appendDER(inner, b, p, h.end); err != nil {
			return nil, 0, err
		}
	}
	if h.indefinite {
		p += 2
	}
	id := identifier(b, pos)
	if h.tag == tagOctetStringPieces {
		if inner, err = join(inner); err != nil {
			return nil, 0, err
		}
		id = []byte{tagOctetString}
	}
	return append(appendHeader(dst, id, len(inner)), inner...), p, nil
}

// join concatenates the contents of the octet strings in pieces (X.690, 8.7.3).
func join(pieces []byte) ([]byte, error) {
	var out []byte
	for pos := 0; pos < len(pieces); {
		h, err := readHeader(pieces, pos, len(pieces))
		if err != nil {
			return nil, err
		}
		if h.tag != tagOctetString {
			return nil, fmt.Errorf("tag %#02x inside an octet string: %w", h.tag, ErrEncoding)
		}
		out = append(out, pieces[h.body:h.end]...)
		pos = h.end
	}
	return out, nil
}

// identifier returns the identifier octets at pos; the header was read before.
func identifier(b []byte, pos int) []byte {
	n := 1
	if b[pos]&0x1f == 0x1f {
		for b[pos+n]&0x80 != 0 {
			n++
		}
		n++
	}
	return b[pos : pos+n]
}

func appendHeader(dst, id []byte, length int) []byte {
	dst = append(dst, id...)
	switch {
	case length < 0x80:
		return append(dst, byte(length))
	case length < 1<<8:
		return append(dst, 0x81, byte(length))
	case length < 1<<16:
		return append(dst, 0x82, byte(length>>8), byte(length))
	default: // Guard allows no more than 256 KiB
		return append(dst, 0x83, byte(length>>16), byte(length>>8), byte(length))
	}
}
