package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestPermissions: what each bit of /P allows (Table 22).
func TestPermissions(t *testing.T) {
	const none = -3904 // all bits clear that may be
	for _, c := range []struct {
		version, revision int64
		bits              int32
		create, sign      bool
	}{
		{1, 2, none, false, false},
		{1, 2, none | permitModify, false, false},
		{1, 2, none | permitAnnotate, false, true},
		{1, 2, none | permitModify | permitAnnotate, true, true},
		{1, 2, none | permitFill, false, false}, // unknown to revision 2
		{2, 3, none, false, false},
		{2, 3, none | permitFill, false, true},
		{2, 3, none | permitAnnotate, false, true},
		{2, 3, none | permitModify | permitFill, false, true},
		{2, 3, none | permitModify | permitAnnotate, true, true},
		{4, 4, none | permitFill, false, true},
		{5, 6, none, false, false},
		{5, 6, none | permitFill, false, true},
		{5, 6, -4, true, true},
	} {
		l := lockedFile{version: c.version, revision: c.revision, permissions: c.bits}
		switch c.version {
		case 4:
			l.filters = allFilters + "/StmF /A1 /StrF /A1"
		case 5:
			l.filters = aesFilters + "/StmF /StdCF /StrF /StdCF"
		}
		base := l.bytes(t, false)
		f := mustOpen(t, base)
		u := f.NewUpdate()
		field := u.Alloc()
		u.Set(field, []byte("<< /FT /Sig /T (Sig) >>"))
		u.Set(f.Catalog().Ref, f.Catalog().Value.With(Change{"AcroForm", fmt.Appendf(nil, "<< /Fields [%s] >>", field)}))
		inc, err := u.Finish()
		if err != nil {
			t.Fatal(err)
		}
		f = mustOpen(t, append(base, inc...))
		for field, allowed := range map[string]bool{"": c.create, "Other": c.create, "Sig": c.sign} {
			err := f.CheckSigning(field, 0)
			re, refused := errors.AsType[*RefusedError](err)
			if allowed != (err == nil) || !allowed && (!refused || re.Reason != ReasonPermission) {
				t.Errorf("/R %d /P %d, field %q: %v", c.revision, c.bits, field, err)
			}
		}
	}
}

// TestEncryptionRefused: what does not open, and what is damaged or unknown.
func TestEncryptionRefused(t *testing.T) {
	for name, c := range map[string]struct {
		kind, old, with string
		want            Reason
	}{
		"user password":     {"AES-256", "/U <", "/U <00", ReasonEncrypted},
		"password, RC4":     {"RC4-128", "/O <6F", "/O <00", ReasonEncrypted},
		"recipients":        {"RC4-128", "/Filter /Standard", "/Filter /Adobe.PubSec", ReasonEncrypted},
		"recipients, other": {"RC4-128", "/Filter /Standard", "/Filter /Foo.Bar /SubFilter /adbe.pkcs7.s5", ReasonEncrypted},
		"unknown handler":   {"RC4-128", "/Filter /Standard", "/Filter /Foo.Bar", ReasonEncrypted},
		"no handler":        {"RC4-128", "/Filter /Standard", "", ReasonBroken},
		"unknown version":   {"RC4-128", "/V 2", "/V 3", ReasonUnsupported},
		"unknown revision":  {"AES-256", "/R 6", "/R 7", ReasonUnsupported},
		"versions mixed":    {"AES-256", "/R 6", "/R 4", ReasonUnsupported},
		"no version":        {"RC4-128", "/V 2", "", ReasonBroken},
		"no permissions":    {"RC4-128", "/P -4", "", ReasonBroken},
		"permissions moved": {"AES-256", "/P -4", "/P -8", ReasonBroken},
		"permissions lost":  {"AES-256", "/Perms <", "/Perms <00", ReasonBroken},
		"short owner":       {"RC4-128", "/O <6F", "/O <", ReasonBroken},
		"short user":        {"AES-256", "/U <", "/U <00> /UU <", ReasonBroken},
		"user is a name":    {"AES-256", "/U <", "/U /X /UU <", ReasonBroken},
		"odd key length":    {"RC4-128", "/Length 128", "/Length 41", ReasonBroken},
		"long key":          {"RC4-128", "/Length 128", "/Length 256", ReasonBroken},
		"key length a name": {"RC4-128", "/Length 128", "/Length /X", ReasonBroken},
		"unknown method":    {"AES-256", "/AESV3", "/AESV4", ReasonUnsupported},
		"foreign method":    {"AES-256", "/AESV3", "/AESV2", ReasonUnsupported},
		"no method":         {"V4, AES", "/CFM /AESV2", "", ReasonUnsupported},
		"filter missing":    {"V4, AES", "/StmF /A1", "/StmF /A2", ReasonBroken},
		"filter no name":    {"V4, AES", "/StmF /A1", "/StmF (A1)", ReasonBroken},
		"part missing":      {"AES-256", "/P -4", "/P 99 0 R", ReasonBroken},
		"part in a loop":    {"AES-256", "/P -4", "/P 9 0 R", ReasonBroken},
		"no dictionary":     {"AES-256", "<<", "[<<>>] <<", ReasonBroken},
		"metadata differs":  {"AES-256", "/P -4", "/P -4 /EncryptMetadata false", ReasonBroken},
	} {
		t.Run(name, func(t *testing.T) {
			l := lockedFiles()[c.kind]
			l.edit = func(dict string) string {
				out := strings.Replace(dict, c.old, c.with, 1)
				if out == dict {
					t.Fatalf("%q is not in %s", c.old, dict)
				}
				return out
			}
			_, err := open(t, l.bytes(t, false))
			re, ok := errors.AsType[*RefusedError](err)
			if !ok || re.Reason != c.want {
				t.Fatalf("got %v, want the reason %s", err, c.want)
			}
		})
	}
	good := lockedFiles()["AES-256"].bytes(t, false)
	for name, b := range map[string][]byte{
		"dictionary a stream":  bytes.Replace(good, []byte("/Encrypt 9"), []byte("/Encrypt 6"), 1),
		"dictionary free":      bytes.Replace(good, []byte("/Encrypt 9"), []byte("/Encrypt 0"), 1),
		"two dictionaries":     append(bytes.Clone(good), bytes.ReplaceAll(increment(t, good), []byte("/Encrypt 9"), []byte("/Encrypt 8"))...),
		"dictionary a list":    bytes.Replace(good, []byte("/Encrypt 9 0 R"), []byte("/Encrypt [9]"), 1),
		"later revision plain": append(bytes.Clone(good), bytes.ReplaceAll(increment(t, good), []byte("/Encrypt 9 0 R"), nil)...),
	} {
		if re, ok := errors.AsType[*RefusedError](errorOf(open(t, b))); !ok || re.Reason != ReasonBroken {
			t.Errorf("%s: %v", name, re)
		}
	}
	withCode := bytes.Replace(good, []byte("/Encrypt 9"), []byte("/AuthCode << >> /Encrypt 9"), 1)
	if re, ok := errors.AsType[*RefusedError](errorOf(open(t, withCode))); !ok || re.Reason != ReasonUnsupported {
		t.Errorf("an integrity code: %v", re)
	}
	// A string that is not encrypted as the rest of the file is.
	bad := bytes.Replace(good, []byte("/Extra [<"), []byte("/Extra [<00"), 1)
	if re, ok := errors.AsType[*RefusedError](errorOf(open(t, bad))); !ok || re.Reason != ReasonBroken {
		t.Errorf("a plain string: %v", re)
	}
}

func errorOf(_ *File, err error) error { return err }

func increment(t *testing.T, b []byte) []byte {
	t.Helper()
	inc, _, err := extend(mustOpen(t, b))
	if err != nil {
		t.Fatal(err)
	}
	return inc
}

// FuzzEncryption: no encryption dictionary panics, and what opens can be extended and
// is read again.
func FuzzEncryption(f *testing.F) {
	for _, l := range lockedFiles() {
		f.Add([]byte(l.dict()), []byte("<< /Type /Catalog /Pages 2 0 R /Lang (x) >>"), false)
		f.Add([]byte(l.dict()), []byte{}, false)
		f.Add([]byte(l.dict()), []byte("<< /Type /Catalog /Pages 2 0 R /Sig << /Type /Sig /Contents (x) /T (y) >> >>"), true)
	}
	f.Fuzz(func(t *testing.T, dict, catalog []byte, packed bool) {
		b := newBuild()
		plain(b, 1, "", "")
		trailer := fmt.Sprintf("/Encrypt 9 0 R /ID [<%X>]", testID)
		b.obj(1, string(catalog))
		b.obj(9, string(dict))
		var base []byte
		if packed {
			base = b.xrefStream(10, nil, trailer)
		} else {
			base = b.table(10, trailer, " \n")
		}
		file, err := open(t, base)
		if err != nil || file.crypt == nil {
			return
		}
		file.CheckSigning("x", 0)
		inc, ref, err := extend(file)
		if err != nil {
			return
		}
		g, err := open(t, append(base, inc...))
		if err != nil {
			t.Fatalf("the update cannot be opened: %v", err)
		}
		if o, err := g.Object(ref); err != nil || o.Value.Get("Hello").Text() != "world" {
			t.Errorf("new object: %s, %v", o.Value.Raw(), err)
		}
		if file.Catalog().Value.Get("Lang").Text() != g.Catalog().Value.Get("Lang").Text() {
			t.Error("a string of the catalog changed")
		}
	})
}
