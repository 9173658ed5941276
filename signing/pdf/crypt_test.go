package pdf

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFileKey: known answers from files that qpdf 11.3 encrypted with the empty user
// password and the owner password "owner", and the keys that it shows of them.
func TestFileKey(t *testing.T) {
	const (
		owner2 = "C92422687FACEE686E373F10B5C7D04738053152F7E2EE30E11C69EC442576AB"
		owner3 = "566FA873EE33C797CD3B904FDADF814AFA34DF9A38F6ED41B984E2C6DA2AA6F5"
	)
	id := unhex(t, "31415926535897932384626433832795")
	for _, c := range []struct {
		name                     string
		h                        standardHandler
		owner, user, user2, perm string
		want                     string
	}{
		{
			"R2",
			standardHandler{revision: 2, lengths: []int{5}, metadata: true},
			owner2,
			"B3D9FA366906EF42F354C6DEB74C59075EAF334EB7C04356BA0D7F3DD8B51D0A", "", "", "0e7b66938a",
		},
		{
			"R3",
			standardHandler{revision: 3, lengths: []int{16}, metadata: true},
			owner3,
			"E21CC3D13B0FAA9934DB7D20F11E333E0122456A91BAE5134273A6DB134C87C4", "", "", "abe32231c5baae9679dc306bb3a7427d",
		},
		{
			"R4, clear metadata",
			standardHandler{revision: 4, lengths: []int{16}},
			owner3,
			"B7AE61AE5FE831CCD7979C155D4F926C0122456A91BAE5134273A6DB134C87C4", "", "", "1108101ea597f1f35b9393c012b8e3fe",
		},
		{
			"R5",
			standardHandler{revision: 5, metadata: true},
			"",
			"4D2A14F345B0B9B3DF94BFB3C4F884558648A86CCAA3149B8F8071AEAF3DAE3529B49F9E5477848A50A3CF61A6433F91",
			"3FBDFA15560270F36BF48F469E86FD2AB8A4CE645360DF85407F8FB951B6AEFB", "8A4AB76167722D0FD503EBE47F5268AF",
			"05b63688d26d2275ff47ba3318f95c2e8f5b32e1225de3ae8ee57dcd19fa8a8e",
		},
		{
			"R6",
			standardHandler{revision: 6, metadata: true},
			"",
			"849E976E93DB33464C25397AE1EAC34B31F47270B751FCA26FB6828B3E7A2C5F8071DB19C2283DA03E7585DB6C48DB6D",
			"DDD27471EA38DB0177D05AC1B75556D947FA388AE038306622EBDC119388ECD4", "68BC1ACF20F4EA21895118BA00E96695",
			"846c3774766442168f26ed188c1afa4446dc2867987e1ab271be92f75498c53c",
		},
	} {
		h := c.h
		h.permissions, h.id = 0xFFFFFFFC, id // -4
		h.owner, h.user, h.userKey, h.perms = unhex(t, c.owner), unhex(t, c.user), unhex(t, c.user2), unhex(t, c.perm)
		key := h.fileKey()
		if hex.EncodeToString(key) != c.want {
			t.Errorf("%s: key %x, want %s", c.name, key, c.want)
		}
		if h.revision >= 5 {
			if err := h.checkPerms(key); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			h.permissions ^= 1 << 8
			if err := h.checkPerms(key); err == nil {
				t.Errorf("%s: changed permissions were not noticed", c.name)
			}
		}
		h.user[0] ^= 1
		if h.fileKey() != nil {
			t.Errorf("%s: opened with a wrong password", c.name)
		}
	}
	// Algorithm 2.B with a password that is not empty: "user", by qpdf.
	h := standardHandler{revision: 6}
	u := unhex(t, "695d13aed09e5407333a36d99d87d3befedd8ab6b50bf2c4e58304bc9fac3e22fe3263994c24d11a5db759d4039b0546")
	if got := h.hash([]byte("user"), u[32:40]); !bytes.Equal(got, u[:32]) {
		t.Errorf("hash of a password: %x, want %x", got, u[:32])
	}
}

// A lockedFile says how a test file is encrypted with the empty user password.
type lockedFile struct {
	version, revision int64
	filters           string // /CF, /StmF, /StrF, /EFF
	clearMetadata     bool
	permissions       int32
	length            int // of the key in bytes, if it is an odd one
	edit              func(dict string) string
}

var testID = []byte("0123456789abcdef")

// dict writes the encryption dictionary.
func (l lockedFile) dict() string {
	h := standardHandler{
		version: l.version, revision: l.revision, permissions: uint32(l.permissions), metadata: !l.clearMetadata,
		owner: bytes.Repeat([]byte("o"), 48), id: testID,
	}
	extra, length := "", 16
	switch {
	case l.version == 1:
		length = 5
	case l.length > 0:
		length = l.length
		extra = fmt.Sprintf(" /Length %d", 8*length)
	case l.version == 2:
		extra = " /Length 128"
	}
	if l.revision < 5 {
		h.owner = h.owner[:32]
		h.user = append(h.checkValue(h.legacyKey(length)), make([]byte, 32)...)[:32]
	} else {
		key := bytes.Repeat([]byte("k"), 32)
		salts := "validateencrypts"
		h.user = append(h.hash(nil, []byte(salts[:8])), salts...)
		ue := bytes.Clone(key)
		cipher.NewCBCEncrypter(newAES(h.hash(nil, []byte(salts[8:]))), make([]byte, aes.BlockSize)).CryptBlocks(ue, ue)
		perms := binary.LittleEndian.AppendUint32(nil, h.permissions)
		perms = append(perms, 0xff, 0xff, 0xff, 0xff, 'T', 'a', 'd', 'b', 1, 2, 3, 4)
		if l.clearMetadata {
			perms[8] = 'F'
		}
		newAES(key).Encrypt(perms, perms)
		extra = fmt.Sprintf(" /OE <%X> /UE <%X> /Perms <%X>", make([]byte, 32), ue, perms)
	}
	if l.clearMetadata {
		extra += " /EncryptMetadata false"
	}
	return fmt.Sprintf("<< /Filter /Standard /V %d /R %d /P %d /O <%X> /U <%X> %s%s >>",
		l.version, l.revision, l.permissions, h.owner, h.user, l.filters, extra)
}

// The plain text of what the test files hold.
var lockedText = []string{"en-GB", "in an array", "words on the page", "<metadata/>", "left as it is"}

// bytes writes the file, with an object stream if packed.
func (l lockedFile) bytes(t testing.TB, packed bool) []byte {
	t.Helper()
	dict := l.dict()
	if l.edit != nil {
		dict = l.edit(dict)
	}
	trailer := fmt.Sprintf("/Encrypt 9 0 R /ID [<%X><%X>]", testID, testID)
	stub := newBuild()
	plain(stub, 1, "", "")
	stub.obj(9, dict)
	f, err := open(t, stub.table(9, trailer, " \n"))
	if err != nil {
		return stub.Bytes() // as its opening tells
	}
	b := newBuild()
	seal := func(num int, body string) string {
		out, err := f.crypt.sealed(Ref{Num: uint32(num)}, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	stream := func(num int, entries, data string) {
		sealed, err := f.crypt.sealedData(Ref{Num: uint32(num)}, []byte("<<"+entries+">>"), []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		b.stream(num, entries, sealed)
	}
	stream(4, "", "% words on the page")
	crypt := ""
	if l.version >= 4 {
		crypt = "/Filter [/Crypt] /DecodeParms [<< /Type /CryptFilterDecodeParms /Name /Identity >>]"
	}
	stream(5, crypt, "left as it is")
	stream(6, "/Type /Metadata /Subtype /XML", "<metadata/>")
	stream(7, "/Type /EmbeddedFile", "an attachment")
	b.obj(8, seal(8, "<< /Type /Filespec /F (a.txt) /UF (a.txt) /EF << /F 7 0 R >> >>"))
	b.obj(9, dict)
	bodies := []string{
		"<< /Type /Catalog /Pages 2 0 R /Lang (en-GB) /Metadata 6 0 R /Names << /EmbeddedFiles << /Names [(a) 8 0 R] >> >>" +
			" /Extra [(in an array) << /K (\\(nested\\)) /E () >> 5 0 R] >>",
		"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Contents 4 0 R /Resources << >> >>",
	}
	if !packed {
		for i, body := range bodies {
			b.obj(i+1, seal(i+1, body))
		}
		return b.table(9, trailer, " \n")
	}
	var index, data strings.Builder
	rows := map[int][3]int{}
	for i, body := range bodies {
		fmt.Fprintf(&index, "%d %d ", i+1, data.Len())
		data.WriteString(body + " ")
		rows[i+1] = [3]int{2, 10, i}
	}
	entries := fmt.Sprintf("/Type /ObjStm /N 3 /First %d /Filter /FlateDecode", index.Len())
	stream(10, entries, string(deflate([]byte(index.String()+data.String()))))
	return b.xrefStream(11, rows, trailer)
}

const (
	allFilters = "/CF << /RC << /CFM /V2 >> /A1 << /CFM /AESV2 >> >> "
	aesFilters = "/CF << /StdCF << /CFM /AESV3 /AuthEvent /DocOpen /Length 32 >> >> "
)

func lockedFiles() map[string]lockedFile {
	return map[string]lockedFile{
		"RC4-40":                     {version: 1, revision: 2, permissions: -4},
		"RC4-40, R3":                 {version: 1, revision: 3, permissions: -4},
		"RC4-128":                    {version: 2, revision: 3, permissions: -4},
		"RC4-88":                     {version: 2, revision: 3, permissions: -4, length: 11},
		"V4, RC4":                    {version: 4, revision: 4, permissions: -4, filters: allFilters + "/StmF /RC /StrF /RC"},
		"V4, AES":                    {version: 4, revision: 4, permissions: -4, filters: allFilters + "/StmF /A1 /StrF /A1"},
		"V4, strings RC4":            {version: 4, revision: 4, permissions: -4, filters: allFilters + "/StmF /A1 /StrF /RC"},
		"V4, strings plain":          {version: 4, revision: 4, permissions: -4, filters: allFilters + "/StmF /A1"},
		"V4, streams plain":          {version: 4, revision: 4, permissions: -4, filters: allFilters + "/StrF /A1 /StmF /Identity"},
		"V4, attachments only":       {version: 4, revision: 4, permissions: -4, filters: allFilters + "/EFF /A1"},
		"V4, attachments plain":      {version: 4, revision: 4, permissions: -4, filters: allFilters + "/StmF /A1 /StrF /A1 /EFF /Identity"},
		"V4, AES, clear metadata":    {version: 4, revision: 4, permissions: -4, clearMetadata: true, filters: allFilters + "/StmF /A1 /StrF /A1"},
		"AES-256, R5":                {version: 5, revision: 5, permissions: -4, filters: aesFilters + "/StmF /StdCF /StrF /StdCF"},
		"AES-256":                    {version: 5, revision: 6, permissions: -4, filters: aesFilters + "/StmF /StdCF /StrF /StdCF"},
		"AES-256, clear metadata":    {version: 5, revision: 6, permissions: -4, clearMetadata: true, filters: aesFilters + "/StmF /StdCF /StrF /StdCF"},
		"AES-256, unused odd filter": {version: 5, revision: 6, permissions: -4, filters: "/CF << /StdCF << /CFM /AESV3 >> /Odd << /CFM /AESV9 >> >> /StmF /StdCF /StrF /StdCF"},
	}
}

// decrypted lets qpdf write a file in plain form.
func decrypted(t testing.TB, b []byte) string {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pdf"), filepath.Join(dir, "out.pdf")
	if err := os.WriteFile(in, b, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), "qpdf", "--qdf", "--decrypt", "--static-id", in, out).CombinedOutput()
	if err != nil {
		t.Fatalf("qpdf --decrypt (missing? make deps): %v\n%s", err, text)
	}
	plain, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// extendLocked replaces the catalog and adds a dictionary, a signature and streams.
func extendLocked(f *File) ([]byte, *Update, error) {
	u := f.NewUpdate()
	ref, sig, data, clear := u.Alloc(), u.Alloc(), u.Alloc(), u.Alloc()
	u.Set(ref, []byte("<< /Hello (world) /Same [(twice) (twice)] /Empty () >>"))
	u.Set(sig, []byte("<< /Type /Sig /Reason (the reason) /ByteRange [0 0 0 0]   /Contents <00C0FFEE00> >>"))
	u.SetStream(data, []byte("/Note (a note)"), []byte("% new words"))
	u.SetStream(clear, []byte("/Type /Metadata /Subtype /XML"), []byte("<new/>"))
	c := f.Catalog()
	u.Set(c.Ref, c.Value.With(Change{"New", fmt.Appendf(nil, "[%s %s %s %s]", ref, sig, data, clear)}))
	inc, err := u.Finish()
	return inc, u, err
}

// TestEncrypted: files of every kind of encryption are read, and extended so that qpdf
// reads all that was in them and all that was added.
func TestEncrypted(t *testing.T) {
	for name, l := range lockedFiles() {
		for _, packed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, packed %v", name, packed), func(t *testing.T) {
				base := l.bytes(t, packed)
				qpdfClean(t, base)
				for range 2 {
					f := mustOpen(t, base)
					checkExtra(t, f)
					inc, u, err := extendLocked(f)
					if err != nil {
						t.Fatal(err)
					}
					if again, _, err := extendLocked(mustOpen(t, base)); err != nil || !bytes.Equal(inc, again) {
						t.Errorf("the same increment, made again, differs: %v", err)
					}
					checkSealed(t, f, inc, u)
					base = append(base, inc...)
				}
				qpdfClean(t, base)
				plain := decrypted(t, base)
				for _, want := range append(lockedText, "(world)", "(twice)", "the reason", "00c0ffee00", "(a note)", "% new words", "<new/>", `\(nested\)`) {
					if !strings.Contains(plain, want) {
						t.Errorf("qpdf does not find %q", want)
					}
				}
			})
		}
	}
}

// checkExtra reads strings in the catalog of a test file.
func checkExtra(t *testing.T, f *File) {
	t.Helper()
	c := f.Catalog().Value
	extra := c.Get("Extra").Items()
	if len(extra) != 3 || c.Get("Lang").Text() != "en-GB" || extra[0].Text() != "in an array" ||
		extra[1].Get("K").Text() != "(nested)" || extra[1].Get("E").Text() != "" {
		t.Errorf("the catalog is %s", c.Raw())
	}
	again, err := newParser(c.Raw(), true).value(0)
	if err != nil || again.Get("Extra").Items()[1].Get("K").Text() != "(nested)" {
		t.Errorf("the raw catalog is %s, %v", c.Raw(), err)
	}
	for num, want := range map[uint32]string{
		4: "% words on the page", 5: "left as it is", 6: "<metadata/>", 7: "an attachment",
	} {
		o, err := f.Object(Ref{Num: num})
		if err != nil {
			t.Fatal(err)
		}
		if data, err := f.decode(o, 1000); err != nil || string(data) != want {
			t.Errorf("stream %d is %q, %v", num, data, err)
		}
	}
}

// checkSealed: no new string is in the clear unless the strings of the file are.
func checkSealed(t *testing.T, f *File, inc []byte, u *Update) {
	t.Helper()
	for _, s := range []string{"world", "twice", "the reason", "a note", "en-GB", "nested", hex.EncodeToString([]byte("en-GB"))} {
		if f.crypt.strings != identity && bytes.Contains(bytes.ToLower(inc), []byte(strings.ToLower(s))) {
			t.Errorf("%q is not encrypted", s)
		}
	}
	if f.crypt.streams != identity && bytes.Contains(inc, []byte("new words")) {
		t.Error("a stream is not encrypted")
	}
	clear := f.crypt.streams == identity || !f.crypt.metadata
	if bytes.Contains(inc, []byte("<new/>")) != clear {
		t.Errorf("metadata in the clear: %v", !clear)
	}
	sig := Ref{Num: f.MaxObject() + 2}
	body := inc[u.Offset(sig)-f.Size() : u.End(sig)-f.Size()]
	if !bytes.HasSuffix(body, []byte(" /ByteRange [0 0 0 0]   /Contents <00C0FFEE00> >>")) {
		t.Errorf("the end of the signature dictionary changed: %s", body)
	}
	if f.crypt.strings == aesOfObject || f.crypt.strings == aesOfFile {
		v, err := newParser(inc[u.Offset(Ref{Num: f.MaxObject() + 1})-f.Size():], true).value(0)
		if same := v.Get("Same").Items(); err != nil || bytes.Equal(same[0].Raw(), same[1].Raw()) {
			t.Error("equal strings at two places are encrypted alike")
		}
	}
}

// TestShortKey: some programs write keys with crypt filters that are too short, which
// qpdf does not open, but others do; and a /U without its arbitrary half.
func TestShortKey(t *testing.T) {
	l := lockedFile{version: 4, revision: 4, permissions: -4, filters: allFilters + "/StmF /RC /StrF /RC", length: 5}
	checkExtra(t, mustOpen(t, l.bytes(t, true)))
	l = lockedFiles()["RC4-128"]
	l.edit = func(dict string) string { return strings.Replace(dict, strings.Repeat("0", 32)+">", ">", 1) }
	checkExtra(t, mustOpen(t, l.bytes(t, false)))
}

// TestNestedStrings: a large object full of nested strings costs no more memory than a
// few times its size.
func TestNestedStrings(t *testing.T) {
	l := lockedFiles()["AES-256"]
	c := mustOpen(t, l.bytes(t, false)).crypt
	text := strings.Repeat("(0123456789)", 10_000)
	body := strings.Repeat("[", maxDepth) + text + strings.Repeat("] "+text, 8) + strings.Repeat("]", maxDepth-8)
	sealed, err := c.sealed(Ref{Num: 5}, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	v, err := newParser(sealed, true).value(0)
	if err != nil {
		t.Fatal(err)
	}
	o, err := c.plain(Object{Ref: Ref{Num: 5}, Value: v})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(body, "(0123456789)", "<30313233343536373839>")
	if string(o.Value.Raw()) != want {
		t.Error("the object did not come back")
	}
	inner := o.Value
	for items := inner.Items(); items[0].kind == Array; items = inner.Items() {
		inner = items[0]
	}
	if &inner.raw[0] != &o.Value.raw[maxDepth-1] {
		t.Error("the parts of an object have bytes of their own")
	}
	if sealed, err = c.sealed(Ref{Num: 5}, []byte("[(0123456789) (0123456789)]")); err != nil {
		t.Fatal(err)
	}
	v, _ = newParser(sealed, true).value(0)
	if o, err = c.plain(Object{Ref: Ref{Num: 5}, Value: v}); err != nil {
		t.Fatal(err)
	}
	if at := o.Value.list[1].pos - o.Value.list[0].pos; at <= uint32(len("<30313233343536373839>")) {
		t.Errorf("a position is not that of the file: %d", at)
	}
}

// TestCBCReader: data of all lengths around the borders of its buffer are read back,
// however they come, and damaged data are refused.
func TestCBCReader(t *testing.T) {
	c := &encryption{key: bytes.Repeat([]byte("k"), 32), streams: aesOfFile}
	o := Object{Ref: Ref{Num: 5}, Value: Value{kind: Dict}}
	read := func(r io.Reader) ([]byte, error) {
		r, err := c.plainData(o, r)
		if err != nil {
			t.Fatal(err)
		}
		return io.ReadAll(r)
	}
	for _, n := range []int{0, 1, 15, 16, 17, 4079, 4080, 4081, 4095, 4096, 4097, 4111, 4112, 8191, 8192, 20_000} {
		want := bytes.Repeat([]byte("0123456789abc"), n/13+1)[:n]
		sealed := c.encrypt(aesOfFile, o.Ref, streamPosition, want)
		for _, r := range []io.Reader{bytes.NewReader(sealed), iotest.OneByteReader(bytes.NewReader(sealed)), iotest.DataErrReader(bytes.NewReader(sealed))} {
			if got, err := read(r); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes came back as %d, %v", n, len(got), err)
			}
		}
		bad := bytes.Clone(sealed)
		bad[len(bad)-1] ^= 1
		for name, b := range map[string][]byte{"cut": sealed[:len(sealed)-1], "longer": append(bytes.Clone(sealed), 0), "changed": bad} {
			if _, err := read(bytes.NewReader(b)); err == nil {
				t.Errorf("%d bytes, %s: accepted", n, name)
			}
		}
		fire := errors.New("disk on fire")
		if _, err := read(io.MultiReader(bytes.NewReader(sealed), iotest.ErrReader(fire))); !errors.Is(err, fire) {
			t.Errorf("%d bytes: a disk error came back as %v", n, err)
		}
	}
	for _, empty := range []string{"", "0123456789abcdef"} {
		if got, err := read(strings.NewReader(empty)); err != nil || len(got) != 0 {
			t.Errorf("%q: %q, %v", empty, got, err)
		}
	}
}

// TestSetStream: in a file that is not encrypted a stream is written as it was given.
func TestSetStream(t *testing.T) {
	base := Sample("x", nil)
	f := mustOpen(t, base)
	u := f.NewUpdate()
	ref := u.Alloc()
	u.SetStream(ref, []byte("/Filter /FlateDecode"), deflate([]byte("some data")))
	inc, err := u.Finish()
	if err != nil {
		t.Fatal(err)
	}
	out := append(base, inc...)
	qpdfClean(t, out)
	g := mustOpen(t, out)
	o, err := g.Object(ref)
	if err != nil || !o.Stream {
		t.Fatalf("%s, %v", o.Value.Raw(), err)
	}
	if data, err := g.decode(o, 100); err != nil || string(data) != "some data" {
		t.Errorf("%q, %v", data, err)
	}
	if end := u.End(ref) - f.Size(); !bytes.HasSuffix(inc[:end], []byte("endstream")) {
		t.Error("its end is not where End says")
	}
}

// TestBadBody: what is no value is not written into an encrypted file.
func TestBadBody(t *testing.T) {
	f := mustOpen(t, lockedFiles()["AES-256"].bytes(t, false))
	for _, body := range []string{"<< /A (x >>", "", "<< >> stream", "1 2"} {
		u := f.NewUpdate()
		u.Set(u.Alloc(), []byte(body))
		if _, err := u.Finish(); err == nil {
			t.Errorf("%q was written", body)
		}
	}
}
