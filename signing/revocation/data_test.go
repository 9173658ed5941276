package revocation

import (
	"reflect"
	"testing"
)

func TestAddOnce(t *testing.T) {
	a, b, c := []byte("a"), []byte("b"), []byte("c")
	d := Data{Certs: [][]byte{a}}
	d.Add(Data{Certs: [][]byte{b, a, b}, OCSPs: [][]byte{c, c}, CRLs: [][]byte{a}})
	want := Data{Certs: [][]byte{a, b}, OCSPs: [][]byte{c}, CRLs: [][]byte{a}}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("got %q", d)
	}
}
