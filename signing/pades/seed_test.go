package pades

import (
	"crypto"
	"errors"
	"strings"
	"testing"

	"countersign/signing/pdf"
)

// TestSeedValues: constraints that bind are kept or refused, with what to do; others are
// passed over.
func TestSeedValues(t *testing.T) {
	agreed := SignParams{Reason: "Agreed"}
	for _, c := range []struct {
		sv   string
		in   SignParams
		want string // "" if it may be signed
	}{
		{"/Type /SV", agreed, ""},
		{"/New 1", agreed, "/New"},
		{"/Ff 512", agreed, "flags of its /SV are unknown"},
		{"/Ff -1", agreed, "flags"},
		{"/Ff true", agreed, "flags"},
		{"/Filter /Adobe.PPKLite /Ff 1", agreed, ""},
		{"/Filter /Entrust /Ff 1", agreed, "handler Entrust"},
		{"/Filter /Entrust", agreed, ""},
		{"/SubFilter [/ETSI.CAdES.detached /adbe.pkcs7.detached] /Ff 2", agreed, ""},
		{"/SubFilter [/adbe.pkcs7.detached /ETSI.CAdES.detached] /Ff 2", agreed, "format adbe.pkcs7.detached, ETSI"},
		{"/SubFilter [/adbe.pkcs7.detached]", agreed, ""},
		{"/SubFilter [] /Ff 2", agreed, "format"},
		{"/V 3 /Ff 4", agreed, ""},
		{"/V 2.5 /Ff 4", agreed, ""},
		{"/V 4 /Ff 4", agreed, "newer"},
		{"/V 4", agreed, ""},
		{"/Reasons [(Seen) (Agreed)] /Ff 8", agreed, ""},
		{"/Reasons [(Seen)] /Ff 8", agreed, `one of the reasons ["Seen"]`},
		{"/Reasons [(Seen)]", agreed, ""},
		{"/Reasons [(Seen)] /Ff 8", SignParams{}, "one of the reasons"},
		{"/Reasons [(.)] /Ff 8", agreed, "without a reason"},
		{"/Reasons [(.)] /Ff 8", SignParams{}, ""},
		{"/Reasons [] /Ff 8", agreed, "without a reason"},
		{"/Ff 8", agreed, "without a reason"},
		{"/Ff 8", SignParams{}, ""},
		{"/LegalAttestation [(x)] /Ff 16", agreed, "attestation"},
		{"/LegalAttestation [(x)]", agreed, ""},
		{"/AddRevInfo true /Ff 32", agreed, "revocation data"},
		{"/AddRevInfo false /Ff 32", agreed, ""},
		{"/DigestMethod [(SHA256) (SHA512)] /Ff 64", agreed, ""},
		{"/DigestMethod [(SHA1)] /Ff 64", agreed, "digest SHA1; this key uses SHA256"},
		{"/DigestMethod [(SHA1)]", agreed, ""},
		{"/LockDocument /true /Ff 128", agreed, "nothing may change"},
		{"/LockDocument /true /Ff 128", SignParams{Certification: 1}, ""},
		{"/LockDocument true /Ff 128", agreed, "nothing may change"},
		{"/LockDocument /false /Ff 128", SignParams{Certification: 1}, "stays open"},
		{"/LockDocument /false /Ff 128", agreed, ""},
		{"/LockDocument /auto /Ff 128", agreed, ""},
		{"/LockDocument /true", agreed, ""},
		{"/LockDocument /true /Ff 128 >> /Lock << /Action /All /P 1", agreed, ""},
		{"/AppearanceFilter (Fancy) /Ff 256", agreed, `appearance "Fancy"`},
		{"/AppearanceFilter (Fancy)", agreed, ""},
		{"/MDP << /P 0 >>", agreed, ""},
		{"/MDP << /P 0 >>", SignParams{Certification: 2}, "without a certification"},
		{"/MDP << /P 2 >>", SignParams{Certification: 2}, ""},
		{"/MDP << /P 2 >>", SignParams{Certification: 1}, "certification with P=2"},
		{"/MDP << /P 2 >>", agreed, "certification with P=2"},
		{"/MDP << /P 7 >>", agreed, "/MDP is unknown"},
		{"/TimeStamp << /URL (http://tsa.example) /Ff 1 >>", agreed, "with a timestamp"},
		{"/TimeStamp << /URL (http://tsa.example) /Ff 1 >>", SignParams{Stamped: true}, ""},
		{"/TimeStamp << /URL (http://tsa.example) >>", agreed, ""},
		{"/Cert << /Ff 1 /Subject [<00>] >>", agreed, "certain certificates"},
		{"/Cert << /URL (http://ca.example) >>", agreed, ""},
		{"/Cert (x)", agreed, "certain certificates"},
		{"/Reasons 8 0 R /Ff 9 0 R", agreed, ""},
	} {
		base := document(t, "/AcroForm << /Fields [8 0 R] >>", "[8 0 R]",
			"<< /Type /Annot /Subtype /Widget /FT /Sig /T (Theirs) /Rect [0 0 0 0] /SV << "+c.sv+" >> >>", "null")
		c.in.File, c.in.Field, c.in.Hash, c.in.Room = open(t, base), "Theirs", crypto.SHA256, 10
		_, err := Begin(c.in)
		re, refused := errors.AsType[*pdf.RefusedError](err)
		if c.want == "" && err != nil || c.want != "" && (!refused || !strings.Contains(re.Detail, c.want)) {
			t.Errorf("%s, reason %q, certification %d: %v, want %q", c.sv, c.in.Reason, c.in.Certification, err, c.want)
		}
	}
}

// TestJoinedLocks: what the field prescribes and what the caller wants hold both.
func TestJoinedLocks(t *testing.T) {
	include := func(names ...string) *pdf.Lock { return &pdf.Lock{Action: pdf.LockInclude, Fields: names} }
	all := &pdf.Lock{Action: pdf.LockAll}
	for _, c := range []struct {
		field string
		ours  *pdf.Lock
		want  string
	}{
		{"", nil, ""},
		{"", include("Theirs"), "/Action /Include /Fields [(Theirs)] /V"},
		{"", all, "/Action /Include /Fields [(Other) (Theirs)] /V"},
		{"", &pdf.Lock{Action: pdf.LockExclude, Fields: []string{"Other"}}, "/Action /Include /Fields [(Theirs)] /V"},
		{"/Lock << /Action /All >>", include("Theirs"), "/Action /All /V"},
		{"/Lock << /Action /Include /Fields [(Other)] >>", nil, "/Action /Include /Fields [(Other)] /V"},
		{"/Lock << /Action /Include /Fields [(x)] /P 2 >>", include("Theirs"), "/Action /Include /Fields [(x) (Theirs)] /V"},
		{"/Lock << /Action /Exclude /Fields [(x)] >>", nil, "/Action /Exclude /Fields [(x)] /V"},
		{"/Lock << /Action /Exclude /Fields [(x)] >>", include("Theirs"), "error"},
		{"", &pdf.Lock{Action: "Some"}, "error"},
	} {
		base := document(t, "/AcroForm << /Fields [8 0 R 9 0 R] >>", "[8 0 R]",
			"<< /Type /Annot /Subtype /Widget /FT /Sig /T (Theirs) /Rect [0 0 0 0] "+c.field+" >>", "<< /FT /Tx /T (Other) >>")
		u, err := Begin(SignParams{File: open(t, base), Field: "Theirs", Hash: crypto.SHA256, Room: 10, Lock: c.ours})
		if c.want == "error" {
			if err == nil {
				t.Errorf("%s and %v: signed", c.field, c.ours)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s and %v: %v", c.field, c.ours, err)
			continue
		}
		if head := string(u.Head); !strings.Contains(head, c.want) || (c.want == "") == strings.Contains(head, "FieldMDP") {
			t.Errorf("%s and %v: %s, want %s", c.field, c.ours, head, c.want)
		}
	}
}
