package cms

import (
	"encoding/asn1"
	"math/big"

	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A der is DER that is being written, in one buffer (X.690).
type der []byte

// element writes an element with the content that is written meanwhile.
func (d *der) element(tag casn1.Tag, content func()) {
	*d = append(*d, byte(tag), 0)
	at := len(*d)
	content()
	n := len(*d) - at
	if n < 0x80 {
		(*d)[at-1] = byte(n)
		return
	}
	// The length takes more than the octet that was kept free: content moves up.
	more := 0
	for v := n; v > 0; v >>= 8 {
		more++
	}
	var zeros [8]byte
	*d = append(*d, zeros[:more]...)
	copy((*d)[at+more:], (*d)[at:at+n])
	(*d)[at-1] = 0x80 | byte(more)
	for i := range more {
		(*d)[at+i] = byte(n >> (8 * (more - 1 - i)))
	}
}

// raw writes elements that are DER already.
func (d *der) raw(elements []byte) { *d = append(*d, elements...) }

func (d *der) sequence(content func()) { d.element(casn1.SEQUENCE, content) }

func (d *der) octets(b []byte) { d.element(casn1.OCTET_STRING, func() { d.raw(b) }) }

// small writes an INTEGER from 0 to 127.
func (d *der) small(n byte) { *d = append(*d, byte(casn1.INTEGER), 1, n) }

// serial writes the serial number of a certificate as an INTEGER; a negative one, which RFC 5280
// forbids, in two's complement as it stands in the certificate.
func (d *der) serial(n *big.Int) error {
	if n.Sign() < 0 {
		b, err := asn1.Marshal(n)
		d.raw(b)
		return err
	}
	d.element(casn1.INTEGER, func() {
		size := n.BitLen()/8 + 1 // with room for the sign bit
		*d = append(*d, make([]byte, size)...)
		n.FillBytes((*d)[len(*d)-size:])
	})
	return nil
}

// oid writes an OBJECT IDENTIFIER (clause 8.19).
func (d *der) oid(oid asn1.ObjectIdentifier) {
	d.element(casn1.OBJECT_IDENTIFIER, func() {
		d.arc(40*oid[0] + oid[1])
		for _, n := range oid[2:] {
			d.arc(n)
		}
	})
}

func (d *der) arc(n int) {
	shift := 0
	for n>>shift >= 0x80 {
		shift += 7
	}
	for ; shift > 0; shift -= 7 {
		*d = append(*d, 0x80|byte(n>>shift))
	}
	*d = append(*d, byte(n)&0x7f)
}
