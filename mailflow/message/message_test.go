package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, raw string) *Message {
	t.Helper()
	m, err := Parse(strings.NewReader(raw), int64(len(raw)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const pdf = "%PDF-1.7\n%âãÏÓ\nnot much of a document\n%%EOF\n"

var draft = crlf(`Return-Path: <ann@corp.test>
Delivered-To: sign+nda@corp.test
Received: from laptop (laptop [192.0.2.1]) by mail.corp.test (Postfix) with ESMTPSA id 1; Sun, 22 Nov 2026 12:16:08 +0100
From: =?UTF-8?B?QW5uIE3DvGxs?= =?UTF-8?B?ZXI=?= <ann@CORP.test>
To: Sign <sign+nda@corp.test>, "Doe, Jo" <jo@x.test>
Subject: =?iso-8859-1?Q?Vertrag_=FCber?= =?iso-8859-1?Q?_Miete?=
Message-ID: <id1@corp.test>
References: <a@x.test>
	<b@x.test>
Date: Sun, 22 Nov 2026 12:16:08 +0100
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=utf-8; format=flowed

Signer: Bob 
<bob@x.test>
-- 
Ann
--inner
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<p>Signer=3A Bob &lt;bob@x.test&gt;</p>=

--inner--

--outer
Content-Type: application/x-nonsense
Content-Transfer-Encoding: x-unknown

kept
--outer
Content-Type: application/pdf
Content-Disposition: attachment;
	filename*0*=UTF-8''%2e%2e%2fVertr;
	filename*1*=%C3%A4ge%E2%80%AE;
	filename*2=" 1.pdf"
Content-Transfer-Encoding: base64

` + base64.StdEncoding.EncodeToString([]byte(pdf)) + `
--outer--
epilogue
`)

func TestParse(t *testing.T) {
	m := parse(t, draft)
	if len(m.From) != 1 || m.From[0].Name != "Ann Müller" || m.From[0].Addr != "ann@corp.test" {
		t.Errorf("From %+v", m.From)
	}
	if a, err := m.Sender(); err != nil || a.Addr != "ann@corp.test" {
		t.Errorf("Sender %v, %v", a, err)
	}
	if len(m.To) != 2 || m.To[1].Name != "Doe, Jo" || m.Subject != "Vertrag über Miete" || m.MessageID != "id1@corp.test" || !slices.Equal(m.References, []string{"a@x.test", "b@x.test"}) {
		t.Errorf("To %v, Subject %q, id %q, references %v", m.To, m.Subject, m.MessageID, m.References)
	}
	if !m.Date.Equal(time.Date(2026, 11, 22, 11, 16, 8, 0, time.UTC)) {
		t.Errorf("Date %v", m.Date)
	}
	if m.Text != "Signer: Bob <bob@x.test>\n-- \nAnn\n" {
		t.Errorf("Text %q", m.Text)
	}
	if strings.TrimSpace(m.HTML) != "<p>Signer: Bob &lt;bob@x.test&gt;</p>" {
		t.Errorf("HTML %q", m.HTML)
	}
	if len(m.Attachments) != 2 || m.Attachments[1].Filename != "Verträge 1.pdf" || !m.Attachments[1].IsPDF() || m.Attachments[1].Path != "3" {
		t.Fatalf("attachments %+v", m.Attachments)
	}
	p := m.Attachments[1]
	got, err := io.ReadAll(p.Open())
	if err != nil || string(got) != pdf {
		t.Errorf("the PDF is %q, %v", got, err)
	}
	if n := p.Size(); n < int64(len(pdf)) || n > int64(len(pdf))+10 {
		t.Errorf("its size is estimated as %d, not %d", n, len(pdf))
	}
	whole, _ := io.ReadAll(m.Raw(m.Root.Children[0].HeaderStart, m.Root.Children[0].End))
	if !bytes.HasPrefix(whole, []byte("Content-Type: multipart/alternative")) || !bytes.HasSuffix(whole, []byte("--inner--\r\n")) {
		t.Errorf("the raw first part is %q", whole)
	}
	if !m.Defective || len(m.Problems) != 1 {
		t.Errorf("problems %q", m.Problems) // the unknown transfer encoding
	}
	for _, f := range m.Fields {
		raw, _ := io.ReadAll(m.Raw(f.Start, f.End))
		if string(raw) != f.Name+":"+f.Raw {
			t.Errorf("field %s stands elsewhere: %q", f.Name, raw)
		}
	}
}

// Defects do not fail; the parts behind them are there.
func TestDefects(t *testing.T) {
	h := "From: a@b.test\n"
	for name, raw := range map[string]string{
		"two Content-Types":     h + "Content-Type: text/plain\nContent-Type: text/html\n\nx\n",
		"no closing boundary":   h + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n",
		"no boundary":           h + "Content-Type: multipart/mixed\n\n--b\n\nx\n",
		"boundary twice":        h + "Content-Type: multipart/mixed; boundary=b; boundary=c\n\n--b\n\nx\n--b--\n",
		"no parts":              h + "Content-Type: multipart/mixed; boundary=b\n\nx\n",
		"a bad header line":     h + "nonsense\n\nx\n",
		"two From fields":       h + h + "\nx\n",
		"unknown encoding":      h + "Content-Transfer-Encoding: base65\n\nx\n",
		"part without its line": h + "Content-Type: multipart/mixed; boundary=b\n\n--b\nx y z\n--b--\n",
	} {
		m := parse(t, raw)
		if !m.Defective || len(m.Problems) == 0 {
			t.Errorf("%s: not seen", name)
		}
	}
	for name, raw := range map[string]string{
		"plain":        h + "\nx\n",
		"no body":      h,
		"mbox":         "From a@b Sun Nov 22 12:16:08 2026\n" + h + "\nx\n",
		"base64 (x)":   h + "Content-Transfer-Encoding: base64 (x)\n\neA==\n",
		"8-bit":        h + "Content-Transfer-Encoding: 8-bit\n\nx\n",
		"closed twice": h + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--b--\n",
	} {
		m := parse(t, raw)
		if m.Defective {
			t.Errorf("%s: %q", name, m.Problems)
		}
		if name != "no body" && strings.TrimSpace(m.Text) != "x" {
			t.Errorf("%s: text %q", name, m.Text)
		}
	}
}

func TestSender(t *testing.T) {
	for raw, want := range map[string]string{
		"From: a@b.test\n\n":                         "a@b.test",
		"From: \"x, y\" <A.b@B.test>\n\n":            "A.b@b.test",
		"From: a@bücher.test\n\n":                    "a@xn--bcher-kva.test",
		"From: a@b.test, c@d.test\n\n":               "",
		"From: a@b.test\nFrom: a@b.test\n\n":         "",
		"From: a@b.test\nFrom : c@d.test\n\n":        "",
		"Subject: x\n\n":                             "",
		"From: <a@b.test> <c@d.test>\n\n":            "",
		"From: \"a b\"@b.test\n\n":                   "",
		"From: \"alice@corp.test,\"@evil.test\n\n":   "",
		"From: a@[192.0.2.1]\n\n":                    "",
		"From: group: a@b.test;\n\n":                 "a@b.test",
		"From: \u212aate@b.test\n\n":                 "",
		"From: ann@corp.test (<mallory@b.test>)\n\n": "ann@corp.test",
	} {
		a, err := parse(t, raw).Sender()
		if a.Addr != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", raw, a.Addr, err)
		}
	}
}

func TestCharsets(t *testing.T) {
	for _, c := range []struct {
		label, in, want string
		guessed         bool
	}{
		{"utf-8", "ä", "ä", false},
		{"big5", "é, so UTF-8", "é, so UTF-8", false},
		{"gb2312", "\x81\x30\x81\x30\xc4\xe3", "\u0080你", false},
		{"cp932", "\x93\xfa\x96\x7b", "日本", false},
		{"iso-8859-1", "\xfc", "ü", false},
		{"iso-2022-jp", "\x1b$BF|K\\\x1b(B", "日本", false},
		{"cp50221", "\x1b$BF|K\\\x1b(B", "日本", false},
		{"cp949", "\xc7\xd1", "한", false},
		{"cp-850", "\x81", "ü", false},
		{"utf-16le", "a\x00b\x00", "ab", false},
		{"", "x", "x", false},
		{"us-ascii", "\xfc", "ü", true},
		{"x-unknown", "ä", "ä", false},
		{"x-unknown", "\xe4", "ä", true},
		{"utf-7", "+AEE-", "+AEE-", true},
		{"utf-8", "a\xff", "aÿ", true},
		{"euc-kr", "\xff\xff", "\ufffd\ufffd", true},
	} {
		if got, guessed := toUTF8(c.label, []byte(c.in)); got != c.want || guessed != c.guessed {
			t.Errorf("%s %q: %q %v, want %q %v", c.label, c.in, got, guessed, c.want, c.guessed)
		}
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		"=?utf-8?Q?a_b=C3=A4?=":           "a bä",
		"=?utf-8?B?w?= =?utf-8?B?6Q==?=":  "=?utf-8?B?w?= \u00e9",
		"=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=": "ä",
		"x =?utf-8?Q?a?= y":               "x a y",
		"=?utf-8*en?Q?a?=":                "a",
		"=?x?":                            "=?x?", "=?=?=?": "=?=?=?", "=?utf-8?X?a?=": "=?utf-8?X?a?=",
		"=?utf-8?Q?a=0D=0AX-Evil:_1?=": "a  X-Evil: 1",
	} {
		if got := decodeField(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		`C:\docs\a.pdf`: "a.pdf", "../../etc/passwd": "passwd", "a\x00b\u202egpj.pdf": "abgpj.pdf", ".hidden": "hidden",
		"/": "", "..": "", strings.Repeat("ä", 300) + ".pdf": strings.Repeat("ä", 98) + ".pdf",
	} {
		if got := safeName(in); got != want || len(got) > maxName {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		`attachment; filename=a b.pdf`:                            "a b.pdf",
		`attachment; filename="=?utf-8?Q?=C3=A4.pdf?="`:           "ä.pdf",
		`attachment; filename*=iso-8859-1'de'%FC.pdf; filename=x`: "ü.pdf",
		`attachment (c;) ; filename="a\"b.pdf"`:                   `a"b.pdf`,
	} {
		p := &Part{m: &Message{}, Fields: []Field{{Name: "Content-Disposition", Raw: in}}}
		p.describe("text/plain")
		if p.Filename != want || p.Disposition != "attachment" {
			t.Errorf("%s: %q %q", in, p.Filename, p.Disposition)
		}
	}
}

func TestTransfer(t *testing.T) {
	long := strings.Repeat("=C3=A4", 3000)
	for _, c := range []struct{ encoding, in, want string }{
		{"base64", "aGVs\r\nbG8=", "hello"},
		{"base64", "aGVsbG8=aGVsbG8", "hellohello"},
		{"base64", "a*G*V*s", "hel"},
		{"quoted-printable", "a=3Db=\r\nc \t\r\nd=zz", "a=bc\r\nd=zz"},
		{"quoted-printable", long, strings.Repeat("ä", 3000)},
		{"x-uuencode", "x\nbegin 644 a\n#0V%T\n`\nend\ny\n", "Cat"},
		{"7bit", "x", "x"},
	} {
		m := parse(t, "From: a@b.test\nContent-Type: application/x\nContent-Transfer-Encoding: "+c.encoding+"\n\n"+c.in)
		got, err := io.ReadAll(m.Root.Open())
		if err != nil || string(got) != c.want {
			t.Errorf("%s %.40q: %.80q, %v", c.encoding, c.in, got, err)
		}
	}
}

func TestUnflow(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a \nb\n", "a b\n"},
		{">a \n>b\nc\n", "> a b\nc\n"},
		{">a \n>>b\n", "> a \n>> b\n"},
		{"x \n-- \ny\n", "x \n-- \ny\n"},
		{" >x\n From\n", ">x\nFrom\n"},
		{"a ", "a \n"},
	} {
		if got := Unflow(c.in, false); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	if got := Unflow("a \nb\n", true); got != "ab\n" {
		t.Errorf("DelSp: %q", got)
	}
}

// The text of all visible parts counts: a condition in a second one is seen.
func TestTextOfSeveralParts(t *testing.T) {
	m := parse(t, "From: a@b.test\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nAPPROVE\n--b\nContent-Type: text/html\n\n<p>only page 1\n--b\n\nand so on\n--b--\n")
	if m.Text != "APPROVE\nand so on\n" || !strings.Contains(m.HTML, "<pre>APPROVE") || !strings.Contains(m.HTML, "only page 1") || !strings.Contains(m.HTML, "and so on") {
		t.Errorf("text %q, HTML %q", m.Text, m.HTML)
	}
}

func TestLimits(t *testing.T) {
	var deep strings.Builder
	deep.WriteString("From: a@b.test\nContent-Type: multipart/mixed; boundary=0000\n\n")
	for i := range 5000 {
		deep.WriteString("--" + itoa(i) + "\nContent-Type: multipart/mixed; boundary=" + itoa(i+1) + "\n\n")
	}
	for what, raw := range map[string]string{
		"depth":  deep.String(),
		"parts":  "From: a@b.test\nContent-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n", 200000),
		"header": "From: a@b.test\nX: " + strings.Repeat("x", 1<<20) + "\n\n",
		"fields": "From: a@b.test\n" + strings.Repeat("X:\n", 50000) + "\n",
	} {
		start := time.Now()
		_, err := Parse(strings.NewReader(raw), int64(len(raw)), Limits{})
		if le, ok := errors.AsType[*LimitError](err); !ok || le.What != what {
			t.Errorf("%s: %v", what, err)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s: took %v", what, d)
		}
	}
	if _, err := Parse(strings.NewReader("x"), 51<<20, Limits{}); err == nil {
		t.Error("a mail beyond the size is read")
	}
	for _, raw := range []string{"", "\n", "no header\n\nx", "\r\nFrom: a@b.test\r\n"} {
		if _, err := Parse(strings.NewReader(raw), int64(len(raw)), Limits{}); !errors.Is(err, ErrNoHeader) {
			t.Errorf("%q: %v", raw, err)
		}
	}
	m := parse(t, "From: a@b.test\n\n"+strings.Repeat("x", 2<<20))
	if !m.Defective || len(m.Text) > 1<<20+1 {
		t.Errorf("a text of %d bytes is read", len(m.Text))
	}
}

func itoa(i int) string {
	return string([]byte{byte('0' + i/1000), byte('0' + i/100%10), byte('0' + i/10%10), byte('0' + i%10)})
}

func TestDedupeKey(t *testing.T) {
	key := func(raw, mailbox string) string {
		k, err := parse(t, raw).DedupeKey(mailbox)
		if err != nil || len(k) != 64 {
			t.Fatal(k, err)
		}
		return k
	}
	a := "Received: x\nFrom: a@b.test\nMessage-ID: <1@b.test>\n\nbody\n\nmore " + strings.Repeat("x", 70000) + "\n"
	same := []string{crlf(a), strings.Replace(a, "x\n", "another hop\n", 1), a + "\n\n", strings.TrimRight(a, "\n"), strings.Replace(a, "<1@b.test>", "< 1@b.test >", 1)}
	for i, raw := range same {
		if key(raw, "in") != key(a, "in") {
			t.Errorf("variant %d has another key", i)
		}
	}
	for i, raw := range []string{strings.Replace(a, "1@", "2@", 1), strings.Replace(a, "a@", "c@", 1), a + "y", strings.Replace(a, "body\n\n", "body\n", 1)} {
		if key(raw, "in") == key(a, "in") {
			t.Errorf("variant %d has the same key", i)
		}
	}
	if key(a, "in") == key(a, "other") {
		t.Error("the mailbox does not count")
	}
}

func TestCorpus(t *testing.T) {
	dir := os.Getenv("CORPUS")
	var files []string
	if dir != "" {
		err := filepath.WalkDir(filepath.Join(dir, "mail"), func(path string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(path, ".eml") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m := parse(t, string(raw))
		if _, err := m.Sender(); err != nil || m.Defective || m.Guessed {
			t.Errorf("%s: %v, problems %q", path, err, m.Problems)
		}
	}
	t.Logf("%d mails parsed", len(files))
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(draft))
	f.Add([]byte("From: a@b.test\nContent-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n--b--x\n--b--"))
	f.Add([]byte("A: =?utf-8?Q?=?=\nContent-Type: text/plain; charset*0*=a'b'%; x=\"\\\n\n\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Parse(bytes.NewReader(raw), int64(len(raw)), Limits{})
		if err != nil {
			return
		}
		m.Parts(func(p *Part) bool {
			if p.HeaderStart > p.BodyStart || p.BodyStart > p.End || p.End > m.Size {
				t.Errorf("part %q: %d %d %d", p.Path, p.HeaderStart, p.BodyStart, p.End)
			}
			for _, c := range p.Children {
				if c.HeaderStart < p.BodyStart || c.End > p.End {
					t.Errorf("part %q stands outside its parent", c.Path)
				}
			}
			if _, err := io.Copy(io.Discard, p.Open()); err != nil {
				t.Error(err)
			}
			if strings.ContainsAny(p.Filename, "/\\\r\n\x00") || len(p.Filename) > maxName {
				t.Errorf("file name %q", p.Filename)
			}
			return true
		})
		if _, err := m.DedupeKey("x"); err != nil {
			t.Error(err)
		}
		own := Own{Addresses: []string{"sign@corp.test"}, Hops: 1}
		Classify(m, own)
	})
}
