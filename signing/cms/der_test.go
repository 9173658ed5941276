package cms

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"testing"

	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// TestDER: what is written is what encoding/asn1 writes.
func TestDER(t *testing.T) {
	same := func(what string, got der, v any) {
		t.Helper()
		want, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %x… of %d bytes, want %x… of %d", what, got[:min(8, len(got))], len(got), want[:min(8, len(want))], len(want))
		}
	}
	for _, n := range []int{0, 1, 127, 128, 129, 255, 256, 257, 65535, 65536, 1 << 24} {
		content := bytes.Repeat([]byte{0xa5}, n)
		var d der
		d.octets(content)
		same("octets", d, content)
		inner := d
		var outer der
		outer.sequence(func() { outer.sequence(func() { outer.raw(inner) }) })
		same("nested", outer, struct{ A struct{ B []byte } }{struct{ B []byte }{content}})
	}
	for _, oid := range []asn1.ObjectIdentifier{oidSHA256, oidSigningCertificateV2, oidEd25519, {2, 999, 127, 128, 16383, 16384, 1 << 30}} {
		var d der
		d.oid(oid)
		same(oid.String(), d, oid)
	}
	for shift := range 180 {
		for _, change := range []int64{-1, 0, 1} {
			n := new(big.Int).Lsh(big.NewInt(1), uint(shift))
			n.Add(n, big.NewInt(change))
			for _, n := range []*big.Int{n, new(big.Int).Neg(n)} {
				var d der
				if err := d.serial(n); err != nil {
					t.Fatal(err)
				}
				same(n.String(), d, n)
			}
		}
	}
	var d der
	d.element(casn1.SET, func() { d.small(64) })
	if !bytes.Equal(d, []byte{0x31, 3, 2, 1, 64}) {
		t.Errorf("a set of a small number: %x", []byte(d))
	}
}
