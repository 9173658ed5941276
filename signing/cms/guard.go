package cms

import (
	"errors"
	"fmt"
)

// Limits on foreign bytes. A B-T signature with a chain of three certificates
// takes about 7 KiB; the largest ones in the wild embed CRLs.
const (
	MaxSize  = 256 << 10 // bytes in one CMS, token, response or certificate bundle
	MaxDepth = 64        // constructed elements open at the same time
)

// The ways in which bytes fail [Guard].
var (
	ErrSize     = errors.New("larger than 256 KiB")
	ErrDepth    = errors.New("nested deeper than 64 levels")
	ErrEncoding = errors.New("not well-formed BER or DER")
)

// Guard checks that der is exactly one BER or DER element within [MaxSize] and
// [MaxDepth] whose lengths all add up (ITU-T X.690 clause 8.1). It takes time
// linear in len(der), and memory that does not depend on it. No parser, ours or
// a library's, may see foreign bytes that have not passed.
func Guard(der []byte) error {
	if len(der) > MaxSize {
		return fmt.Errorf("ASN.1 of %d bytes: %w", len(der), ErrSize)
	}
	end, _, err := walk(der)
	if err != nil {
		return err
	}
	if end != len(der) {
		return fmt.Errorf("%d bytes after the ASN.1 element: %w", len(der)-end, ErrEncoding)
	}
	return nil
}

// Trim returns the one element at the start of a padded /Contents string. All
// bytes after it must be zero (ISO 32000-2, 12.8.1): anything else there is not
// signed by anybody. The result passes [Guard].
func Trim(padded []byte) ([]byte, error) {
	end, _, err := walk(padded[:min(len(padded), MaxSize)])
	if err != nil {
		return nil, err
	}
	for i, c := range padded[end:] {
		if c != 0 {
			return nil, fmt.Errorf("byte %#02x at offset %d, after the ASN.1 element: %w", c, end+i, ErrEncoding)
		}
	}
	return padded[:end], nil
}

// A header is the start of one element, without its content.
type header struct {
	tag        byte // first identifier octet
	body, end  int  // content is [body, end); end is the outer limit if indefinite
	indefinite bool
	strict     bool // DER: definite, shortest length
}

const constructed = 0x20 // bit 6 of the identifier octet

// readHeader reads the header at pos; the element must end at or before limit.
func readHeader(b []byte, pos, limit int) (header, error) {
	bad := func(what string) (header, error) {
		return header{}, fmt.Errorf("%s at offset %d: %w", what, pos, ErrEncoding)
	}
	p := pos
	if limit-p < 2 {
		return bad("truncated header")
	}
	h := header{tag: b[p]}
	p++
	if h.tag == 0 {
		return bad("end-of-contents outside an indefinite length")
	}
	if h.tag&0x1f == 0x1f { // high tag number: up to four more octets
		for n := 1; ; n++ {
			if p >= limit || n > 4 {
				return bad("tag number too long")
			}
			p++
			if b[p-1]&0x80 == 0 {
				break
			}
		}
		if p >= limit {
			return bad("truncated header")
		}
	}
	first := b[p]
	p++
	length := int(first)
	h.strict = true
	switch {
	case first == 0x80:
		if h.tag&constructed == 0 {
			return bad("indefinite length of a primitive")
		}
		h.indefinite, h.strict, length = true, false, limit-p
	case first > 0x84:
		return bad("length of more than four octets")
	case first > 0x80:
		n := int(first & 0x7f)
		if limit-p < n {
			return bad("truncated length")
		}
		length = 0
		for _, c := range b[p : p+n] {
			length = length<<8 | int(c)
		}
		h.strict = b[p] != 0 && length >= 0x80
		p += n
	}
	if length < 0 || length > limit-p {
		return bad("length past the end")
	}
	h.body, h.end = p, p+length
	return h, nil
}

// A frame is a constructed element whose children are being walked.
type frame struct {
	end        int
	indefinite bool
}

// walk checks the first element of b and returns where it ends, and whether it
// has the shape of DER (definite shortest lengths, octet strings in one piece).
func walk(b []byte) (end int, strict bool, err error) {
	stack := make([]frame, 0, MaxDepth)
	pos, strict := 0, true
	for {
		limit := len(b)
		if n := len(stack); n > 0 {
			limit = stack[n-1].end
		}
		h, err := readHeader(b, pos, limit)
		if err != nil {
			return 0, false, err
		}
		strict = strict && h.strict && h.tag != tagOctetStringPieces
		if h.tag&constructed == 0 {
			pos = h.end
		} else {
			if len(stack) == MaxDepth {
				return 0, false, fmt.Errorf("ASN.1 at offset %d: %w", pos, ErrDepth)
			}
			stack = append(stack, frame{h.end, h.indefinite})
			pos = h.body
		}
		pos, stack = closeFrames(b, pos, stack)
		if len(stack) == 0 {
			return pos, strict, nil
		}
	}
}

// closeFrames leaves every constructed element that ends at pos.
func closeFrames(b []byte, pos int, stack []frame) (int, []frame) {
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		switch {
		case !top.indefinite && pos == top.end:
		case top.indefinite && atEndOfContents(b, pos, top.end):
			pos += 2
		default:
			return pos, stack
		}
		stack = stack[:len(stack)-1]
	}
	return pos, stack
}

func atEndOfContents(b []byte, pos, limit int) bool {
	return limit-pos >= 2 && b[pos] == 0 && b[pos+1] == 0
}
