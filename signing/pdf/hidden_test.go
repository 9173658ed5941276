package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestHiddenSignature: a signature that only some readers find is no reason to go on as
// if the file had none.
func TestHiddenSignature(t *testing.T) {
	const w = "/Type /Annot /Subtype /Widget /Rect [0 0 0 0] /P 3 0 R"
	for name, c := range map[string]struct {
		field, below string
		want         Reason
	}{
		"a field":             {"<< /FT /Sig /T (S) /V 7 0 R >>", "", ReasonLocked},
		"a field of no name":  {"<< /FT /Sig /V 7 0 R >>", "", ReasonSignature},
		"a widget of a field": {"<< /FT /Sig /T (S) /Kids [8 0 R] >>", "<< " + w + " /Parent 6 0 R /V 7 0 R >>", ReasonSignature},
		"a node over a field": {"<< /FT /Sig /T (S) /V 7 0 R /Kids [8 0 R] >>", "<< " + w + " /Parent 6 0 R /T (k) >>", ReasonSignature},
		"no signature at all": {"<< /FT /Tx /T (S) /V 9 0 R /Kids [8 0 R] >>", "<< " + w + " /Parent 6 0 R /V 9 0 R /T (k) >>", ""},
	} {
		b := newBuild()
		plain(b, 1, "/AcroForm << /Fields [6 0 R] >>", "")
		b.obj(6, c.field)
		if c.below != "" {
			b.obj(8, c.below)
		}
		b.obj(9, "(text)")
		b.obj(7, fmt.Sprintf("<< /Type /Sig /SubFilter /ETSI.CAdES.detached /Reference [<< /TransformMethod /DocMDP /TransformParams << /P 1 >> >>]"+
			" /ByteRange [0 %010d %010d %010d] /Contents <%s> >>", 1, 2, 3, strings.Repeat("0", 100)))
		in := b.table(9, "", " \n")
		open := bytes.Index(in, []byte("/Contents <00")) + len("/Contents ")
		for i, n := range []int{open, open + 102, len(in) - open - 102} {
			in = bytes.Replace(in, fmt.Appendf(nil, "%010d", i+1), fmt.Appendf(nil, "%010d", n), 1)
		}
		err := mustOpen(t, in).CheckSigning("Signature1", 0)
		re, _ := errors.AsType[*RefusedError](err)
		if c.want == "" && err != nil || c.want != "" && (re == nil || re.Reason != c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestReferenceOnly: an object that is a reference is followed by some readers only.
func TestReferenceOnly(t *testing.T) {
	b := newBuild()
	plain(b, 1, "", "/Annots 6 0 R")
	b.obj(6, "7 0 R")
	b.obj(7, "[]")
	if err := mustOpen(t, b.table(7, "", " \n")).CheckStructure(); err == nil || !strings.Contains(err.Error(), "nothing but a reference") {
		t.Errorf("in the file: %v", err)
	}
	b = newBuild()
	plain(b, 1, "", "/Annots 6 0 R")
	rows := b.packed(8, []int{6, 7}, []string{"7 0 R", "[]"})
	if err := mustOpen(t, b.xrefStream(9, rows, "")).CheckStructure(); err == nil || !strings.Contains(err.Error(), "nothing but a reference") {
		t.Errorf("in an object stream: %v", err)
	}
}

// TestLargeEntry: of an entry too large for any file, no reader takes the lower bits.
func TestLargeEntry(t *testing.T) {
	s := section{w: [3]int{1, 8, 0}}
	if e, err := s.row([]byte{1, 0, 0, 0, 2, 0, 0, 0, 9}); err != nil || e != (entry{inFile, 2<<32 + 9, 0}) {
		t.Errorf("%v, %v", e, err)
	}
	if e, err := s.row([]byte{1, 0x80, 0, 0, 0, 0, 0, 0, 9}); err == nil {
		t.Errorf("taken for %v", e)
	}
}
