package signing_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/pdf"
)

// encryptions are the ways in which qpdf encrypts, without a user password.
var encryptions = map[string][]string{
	"RC4-40":                  {"40"},
	"RC4-128":                 {"128", "--use-aes=n"},
	"V4, RC4":                 {"128", "--use-aes=n", "--force-V4"},
	"AES-128":                 {"128", "--use-aes=y"},
	"AES-128, clear metadata": {"128", "--use-aes=y", "--cleartext-metadata"},
	"AES-256, R5":             {"256", "--force-R5"},
	"AES-256":                 {"256"},
	"AES-256, clear metadata": {"256", "--cleartext-metadata"},
}

// encrypted lets qpdf encrypt a file with a user password (may be empty).
func encrypted(t testing.TB, base []byte, user string, how []string, args ...string) []byte {
	t.Helper()
	all := append([]string{"--allow-weak-crypto", "--encrypt", user, "owner"}, how...)
	return rewritten(t, base, slices.Concat(all, []string{"--"}, args)...)
}

// decrypted lets qpdf write a file in plain form.
func decrypted(t testing.TB, base []byte) string {
	t.Helper()
	return string(rewritten(t, base, "--qdf", "--decrypt"))
}

// TestEncrypted: files of every kind of encryption are sealed and signed twice; the
// signatures are good, and what was in the file and what they say can be read.
func TestEncrypted(t *testing.T) {
	keys := newKeys(t, "p256", "p384", "rsa")
	base := pdf.Sample("Contract", []string{"Party A and Party B agree."})
	form := withForm(t, base, true)
	for name, how := range encryptions {
		for shape, b := range map[string][]byte{
			"plain":               encrypted(t, base, "", how),
			"linearized":          encrypted(t, base, "", how, "--linearize"),
			"form":                encrypted(t, form, "", how),
			"form, objstm":        encrypted(t, form, "", how, "--object-streams=generate"),
			"form added to it":    withForm(t, encrypted(t, base, "", how), false),
			"form added, streams": withForm(t, encrypted(t, base, "", how, "--object-streams=generate"), true),
		} {
			t.Run(name+", "+shape, func(t *testing.T) {
				out, err := signChain(t, b, keys, 2)
				check(t, err)
				judged(t, b, out, len(wanted), keys[0].root())
				for _, secret := range []string{"Agreed", "Signature1", "D:2026"} {
					if bytes.Contains(out[len(b):], []byte(secret)) {
						t.Errorf("%q is not encrypted", secret)
					}
				}
				plain := decrypted(t, out)
				for _, want := range []string{"/Title (Contract)", "/Reason (Agreed)", "/M (D:20260304050607Z)", "/T (Signature2)", "Party A"} {
					if !strings.Contains(plain, want) {
						t.Errorf("qpdf finds no %s", want)
					}
				}
				_, text := pdfsig(t, out)
				if !strings.Contains(text, "Name: Signature1\n") || !strings.Contains(text, "Name: Signature2\n") {
					t.Errorf("pdfsig does not name the signers' fields: %s", text)
				}
				checkLock(t, out)
			})
		}
	}
}

// checkLock: the seal's lock, written and copied as strings, reads back as it was meant.
func checkLock(t *testing.T, out []byte) {
	t.Helper()
	for _, fd := range fieldsOf(t, out) {
		if fd.DocMDP != 2 {
			continue
		}
		// All that is there, but the signers' fields (and there is no document timestamp yet).
		listed := func(name string) bool {
			return len(fd.Locks) == 2 && slices.Contains(fd.Locks[0].Fields, name) && slices.Contains(fd.Locks[1].Fields, name)
		}
		if !listed(fd.Name) || listed("Signature1") || listed("Signature2") {
			t.Errorf("the locks of %s are %v", fd.Name, fd.Locks)
		}
		return
	}
	t.Error("no field certifies")
}

// TestEncryptedTwice: the same signature, laid out twice, is the same to the byte.
func TestEncryptedTwice(t *testing.T) {
	key := newKeys(t, "p256")[0]
	base := encrypted(t, withForm(t, pdf.Sample("x", nil), false), "", encryptions["AES-256"])
	var r0 [2]bytes.Buffer
	for i := range r0 {
		_, _, err := signing.Prepare(&r0[i], section(base), wanted)
		check(t, err)
	}
	if !bytes.Equal(r0[0].Bytes(), r0[1].Bytes()) {
		t.Fatal("R0 differs")
	}
	p := signing.Params{Field: "Signature1", Chain: key.chain, SigningTime: now, Reason: "Agreed"}
	b := r0[0].Bytes()
	one, err := signing.NewIntent(bytes.NewReader(b), int64(len(b)), p)
	check(t, err)
	two, err := signing.NewIntent(bytes.NewReader(b), int64(len(b)), p)
	check(t, err)
	if !bytes.Equal(one.Head, two.Head) || !bytes.Equal(one.Tail, two.Tail) || !bytes.Equal(one.SignedAttrs, two.SignedAttrs) {
		t.Error("the intents differ")
	}
}

// TestEncryptedRefused: what needs a password, or what its author does not allow.
func TestEncryptedRefused(t *testing.T) {
	base := pdf.Sample("x", nil)
	for name, c := range map[string]struct {
		user string
		how  []string
		want pdf.Reason
	}{
		"password, RC4":     {"user", []string{"128", "--use-aes=n"}, pdf.ReasonEncrypted},
		"password, AES-256": {"user", []string{"256"}, pdf.ReasonEncrypted},
		"no changes, R2":    {"", []string{"40", "--modify=n"}, pdf.ReasonPermission},
		"no changes, R6":    {"", []string{"256", "--modify=none"}, pdf.ReasonPermission},
		"form filling only": {"", []string{"256", "--modify=form"}, pdf.ReasonPermission}, // we have to add fields
		"annotations only":  {"", []string{"128", "--use-aes=y", "--modify=annotate"}, pdf.ReasonPermission},
		"everything else":   {"", []string{"256", "--print=none", "--extract=n", "--accessibility=n", "--assemble=n"}, ""},
	} {
		_, _, err := signing.Prepare(io.Discard, section(encrypted(t, base, c.user, c.how)), wanted)
		re, refused := errors.AsType[*pdf.RefusedError](err)
		if c.want == "" && err != nil || c.want != "" && (!refused || re.Reason != c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestEncryptedFormFilling: where the author allows to fill in and to sign fields, but
// not to add any, the fields that the form has can be signed.
func TestEncryptedFormFilling(t *testing.T) {
	key := newKeys(t, "p256")[0]
	var r0 bytes.Buffer
	_, names, err := signing.Prepare(&r0, section(pdf.Sample("x", nil)), wanted)
	check(t, err)
	base := encrypted(t, r0.Bytes(), "", []string{"256", "--modify=form"})
	out, err := sign(t, base, key, signing.Params{Field: names[1], Reason: "Agreed"})
	check(t, err)
	judged(t, base, out, 1, key.root())
	if !strings.Contains(decrypted(t, out), "/Reason (Agreed)") {
		t.Error("qpdf finds no reason")
	}
	_, err = signing.NewExtension(bytes.NewReader(out), int64(len(out)), signing.ExtensionParams{TokenRoom: 8192})
	if re, refused := errors.AsType[*pdf.RefusedError](err); !refused || re.Reason != pdf.ReasonPermission {
		t.Errorf("a timestamp, which needs another field: %v", err)
	}
}

// TestEncryptedExtend: an encrypted file becomes B-LTA, twice; the validation data, which
// are streams, are encrypted, and OpenSSL accepts the document timestamps.
func TestEncryptedExtend(t *testing.T) {
	n := newNotary(t)
	for name, how := range encryptions {
		for _, objects := range []string{"disable", "generate"} {
			t.Run(name+", object streams: "+objects, func(t *testing.T) {
				n := notary{n.PKI, t}
				base := encrypted(t, pdf.Sample("x", nil), "", how, "--object-streams="+objects)
				bt, _, _ := n.sign(base, signing.Params{Certification: 2, Reason: "Agreed"}, nil)
				lta, _ := n.extend(bt, now, n.evidence(now), 8192)
				n.judgeExtended(bt, lta, 1)
				later, x := n.extend(lta, now.Add(time.Hour), n.evidence(now), 8192)
				n.judgeExtended(lta, later, 1)
				if x.Added.CRLs != 2 || x.Added.Certs != 0 { // it reads back what it has
					t.Errorf("added %+v", x.Added)
				}
				root := n.Root.Chain()[0].Raw
				if bytes.Contains(lta, root) || !strings.Contains(decrypted(t, lta), string(root)) {
					t.Error("the certificates are not encrypted, or qpdf does not find them")
				}
			})
		}
	}
}

// TestEncryptedStamp: a visible signature in an encrypted file is seen, where it was
// placed, and can be read.
func TestEncryptedStamp(t *testing.T) {
	key := newKeys(t, "p256")[0]
	area := pdf.Area{X: 60, Y: 90, W: 180, H: 60}
	for name, how := range encryptions {
		base := encrypted(t, pdf.Sample("", nil), "", how)
		out := signVisible(t, base, key, area, "")
		judged(t, base, out, 1, key.root())
		at := words(t, out)
		if signed := at["Signed"]; signed.X < area.X || signed.Y < area.Y || signed.Y > area.Y+area.H || at["Müller"].W == 0 {
			t.Errorf("%s: the words are at %v", name, at)
		}
		if got := ink(t, out); got.W < area.W-1 || got.W > area.W+1 {
			t.Errorf("%s: the stamp is seen at %v", name, got)
		}
	}
}
