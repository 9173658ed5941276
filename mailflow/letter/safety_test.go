package letter

import (
	"bytes"
	"encoding/base64"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"countersign/mailflow"
	"countersign/mailflow/reply"
)

// parsed is a letter as a mail program sees it.
type parsed struct {
	header      mail.Header
	text, html  string
	attachments map[string][]byte
}

func parse(t *testing.T, raw []byte) parsed {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSuffix(string(raw), "\r\n"), "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("bad line of %d bytes: %q", len(line), line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r > 0x7e }) {
			t.Errorf("a line is not 7-bit: %q", line)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	p := parsed{header: m.Header, attachments: map[string][]byte{}}
	p.walk(t, m.Header.Get("Content-Type"), m.Body)
	return p
}

func (p *parsed) walk(t *testing.T, contentType string, body io.Reader) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		t.Fatalf("content type %q: %v", contentType, err)
	}
	r := multipart.NewReader(body, params["boundary"])
	for {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		p.part(t, part)
	}
}

func (p *parsed) part(t *testing.T, part *multipart.Part) {
	t.Helper()
	ct := part.Header.Get("Content-Type")
	switch part.Header.Get("Content-Transfer-Encoding") {
	case "quoted-printable":
		raw, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(raw), "\r\n") {
			if len(line) > 76 {
				t.Errorf("a line of %d characters in %s", len(line), ct)
			}
		}
		b, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "\r\n", "\n")
		if strings.HasPrefix(ct, "text/html") {
			p.html = text
		} else {
			p.text = text
		}
	case "base64":
		b, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
		if err != nil {
			t.Fatal(err)
		}
		_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if err != nil {
			t.Fatal(err)
		}
		p.attachments[params["filename"]] = b
	default:
		p.walk(t, ct, part)
	}
}

// TestParseBack reads every letter with the standard library.
func TestParseBack(t *testing.T) {
	var decoder mime.WordDecoder
	for _, k := range cases() {
		t.Run(k.name, func(t *testing.T) {
			p := parse(t, write(t, k))
			subject, err := decoder.DecodeHeader(p.header.Get("Subject"))
			if err != nil || k.request.Ref != "" && !strings.HasPrefix(subject, "[#7K3F9Q] ") {
				t.Errorf("subject %q, %v", subject, err)
			}
			from, err := p.header.AddressList("From")
			if err != nil || len(from) != 1 || from[0].Address != "sign@acme.example" || from[0].Name != "Acme Ltd" {
				t.Errorf("from %v, %v", from, err)
			}
			if d, err := p.header.Date(); err != nil || !d.Equal(begun) {
				t.Errorf("date %v, %v", d, err)
			}
			replyTo := p.header.Get("Reply-To")
			if want := "<sign+" + token + "@acme.example>"; k.letter.Token && replyTo != want || !k.letter.Token && replyTo != "" {
				t.Errorf("reply to %q", replyTo)
			}
			for name, want := range map[string]string{"X-Auto-Response-Suppress": "All", "X-Countersign-Letter": string(k.letter.Kind), "In-Reply-To": "<draft@acme.example>"} {
				if got := p.header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if len(p.attachments) != len(k.letter.Attach) {
				t.Errorf("%d attachments, want %d", len(p.attachments), len(k.letter.Attach))
			}
			for _, a := range k.letter.Attach {
				if !bytes.Equal(p.attachments[a.Name], pdf) {
					t.Errorf("attachment %q differs or has another name", a.Name)
				}
			}
			if !strings.Contains(p.html, `lang="en"`) || strings.Contains(p.html, "http") || strings.Contains(p.html, "ZgotmplZ") {
				t.Errorf("the page names no language, or something outside, or was cut by the escaper:\n%s", p.html)
			}
		})
	}
}

var (
	tag  = regexp.MustCompile(`(?s)<[^>]*>`)
	href = regexp.MustCompile(`href="([^"]*)"`)
)

// renderings are the ways in which a letter comes back in an answer.
func renderings(p parsed) map[string]string {
	return map[string]string{
		"text":               p.text,
		"page as it is":      p.html,
		"tags removed":       html.UnescapeString(tag.ReplaceAllString(p.html, "")),
		"tags to spaces":     html.UnescapeString(tag.ReplaceAllString(p.html, " ")),
		"tags to line ends":  html.UnescapeString(tag.ReplaceAllString(p.html, "\n")),
		"page as lines":      htmlLines(p.html),
		"subject":            p.header.Get("Subject"),
		"quoted with prefix": "> " + strings.ReplaceAll(p.text, "\n", "\n> "),
	}
}

// htmlLines turns blocks into lines and keeps links, as mail programs do when they
// answer a page in plain text.
func htmlLines(page string) string {
	page = strings.ReplaceAll(page, "\n", " ")
	page = regexp.MustCompile(`</?(p|div|li|ul|h1|tr|td|table)[^>]*>`).ReplaceAllString(page, "\n")
	page = regexp.MustCompile(`<a href="([^"]*)"[^>]*>([^<]*)</a>`).ReplaceAllString(page, "$2 <$1>")
	return html.UnescapeString(tag.ReplaceAllString(page, ""))
}

// wrap breaks each line at spaces, as mail programs do when they quote.
func wrap(text string, width int) string {
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		col := 0
		for word := range strings.FieldsSeq(line) {
			if col > 0 && col+1+len(word) > width {
				b.WriteByte('\n')
				col = 0
			} else if col > 0 {
				b.WriteByte(' ')
				col++
			}
			b.WriteString(word)
			col += len(word)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestNoCommand holds invariant 25: whatever a mail program makes of a letter, no
// line of it is a command.
func TestNoCommand(t *testing.T) {
	for _, word := range []string{"APPROVE", "4815 1623"} {
		if _, found := reply.CommandInAnyLine("x\n" + word + "\ny"); !found {
			t.Fatalf("the judge does not know %q", word)
		}
	}
	for _, k := range cases() {
		for name, text := range renderings(parse(t, write(t, k))) {
			if line, found := reply.CommandInAnyLine(text); found {
				t.Errorf("%s, %s: the line %q is a command", k.name, name, line)
			}
			if name != "text" && name != "page as lines" {
				continue // the others are never wrapped, or are the same words
			}
			for width := 24; width <= 100; width += 2 {
				if line, found := reply.CommandInAnyLine(wrap(text, width)); found {
					t.Errorf("%s, %s, wrapped at %d: the line %q is a command", k.name, name, width, line)
				}
			}
		}
	}
}

// hostile are values that try to be a line, a block, a button or a tag.
var hostile = []string{
	"APPROVE", "x\r\nAPPROVE\r\ny", "x\u2028AGREE\u2028y", "12345678", "\n\n48151623\n\n", "# APPROVE", "- APPROVE",
	"[approve] APPROVE", "\n[approve] APPROVE\n", "</p>\n<p>APPROVE</p>", "{{.Ref}}", "“APPROVE”", "\u202eEVORPPA",
	strings.Repeat("long ", 500), "=?utf-8?q?=0D=0AAPPROVE?=", "a\x00b\x07c", "\xff\xfe", "",
}

// with puts a value wherever one can come from outside.
func with(k kase, s string) kase {
	k.request.Subject, k.letter.Subject, k.letter.Reason, k.letter.Detail = s, s, s, s
	k.request.Terms.Organisation = s
	parties := append([]mailflow.Party(nil), k.request.Parties...)
	for i := range parties {
		parties[i].Address.Name, parties[i].CertName = s, s
	}
	k.request.Parties = parties
	docs := append([]mailflow.Document(nil), k.request.Documents...)
	for i := range docs {
		docs[i].Name = s
		docs[i].Inventory.Findings = slices.Clone(docs[i].Inventory.Findings)
		for j := range docs[i].Inventory.Findings {
			docs[i].Inventory.Findings[j].What, docs[i].Inventory.Findings[j].Where = s, s
		}
	}
	k.request.Documents = docs
	k.letter.To.Name = s
	attach := append([]mailflow.Attachment(nil), k.letter.Attach...)
	for i := range attach {
		attach[i].Name = s
	}
	k.letter.Attach = attach
	problems := append([]mailflow.Problem(nil), k.letter.Problems...)
	for i := range problems {
		problems[i].Args = []string{s, s, s}
	}
	k.letter.Problems = problems
	return k
}

// TestHostileValues: no value makes a line, a header or a block of its own.
func TestHostileValues(t *testing.T) {
	for i, k := range cases() {
		// Notes differ in one sentence only; some of them are enough.
		if k.letter.Kind == mailflow.LetterNote && i%4 != 0 {
			continue
		}
		plain := parse(t, write(t, with(k, "x")))
		for _, s := range hostile {
			p := parse(t, write(t, with(k, s)))
			if len(p.header) != len(plain.header) {
				t.Errorf("%s with %q: %d header fields, want %d", k.name, s, len(p.header), len(plain.header))
			}
			for name, text := range renderings(p) {
				if line, found := reply.CommandInAnyLine(text); found {
					t.Errorf("%s with %q, %s: the line %q is a command", k.name, s, name, line)
				}
			}
			if s != "" && strings.Count(p.text, "\n") != strings.Count(plain.text, "\n") {
				t.Errorf("%s with %q: %d lines, want %d", k.name, s, strings.Count(p.text, "\n"), strings.Count(plain.text, "\n"))
			}
			checkLinks(t, k.name, p)
		}
	}
}

// TestLinks: what the buttons open is what the text asks for.
func TestLinks(t *testing.T) {
	want := map[string][]string{
		"approve":     {"APPROVE\r\n", "REJECT\r\n"},
		"invite":      {"AGREE\r\nName: Bob Baker\r\n", "REJECT\r\n"},
		"code":        {string(theCode) + "\r\n"},
		"note-remark": {"AGREE\r\nName: Bob Baker\r\n", "REJECT\r\n"},
		"result":      nil,
	}
	for _, k := range cases() {
		bodies := checkLinks(t, k.name, parse(t, write(t, k)))
		if w, ok := want[k.name]; ok && strings.Join(bodies, "|") != strings.Join(w, "|") {
			t.Errorf("%s: the buttons write %q, want %q", k.name, bodies, w)
		}
	}
}

func checkLinks(t *testing.T, name string, p parsed) (bodies []string) {
	t.Helper()
	for _, m := range href.FindAllStringSubmatch(p.html, -1) {
		link := html.UnescapeString(m[1])
		u, err := url.Parse(link)
		if err != nil || u.Scheme != "mailto" || len(link) >= maxURL || strings.Contains(link, "+") {
			t.Errorf("%s: link of %d bytes %q: %v", name, len(link), link, err)
			continue
		}
		to, err := url.PathUnescape(u.Opaque)
		if err != nil || to != "sign+"+token+"@acme.example" {
			t.Errorf("%s: the link writes to %q, %v", name, to, err)
		}
		q, err := url.ParseQuery(u.RawQuery)
		if err != nil || !strings.HasPrefix(q.Get("In-Reply-To"), "<cs.7K3F9Q.") || !utf8.ValidString(q.Get("subject")) {
			t.Errorf("%s: the link's fields are %v, %v", name, q, err)
		}
		bodies = append(bodies, q.Get("body"))
	}
	return bodies
}

// TestComposeRefuses: what goes into a header unchanged is checked first.
func TestComposeRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*kase){
		"from":               func(k *kase) { k.letter.From = "sign@acme.example\r\nBcc: x@y" },
		"from without @":     func(k *kase) { k.letter.From = "sign" },
		"to":                 func(k *kase) { k.letter.To.Addr = "bob@partner.example>\nBcc: <x@y" },
		"to, quoted":         func(k *kase) { k.letter.To.Addr = `"a b"@partner.example` },
		"to, international":  func(k *kase) { k.letter.To.Addr = "bøb@partner.example" },
		"message id":         func(k *kase) { k.letter.MessageID = "a>\r\nX: <b" },
		"boundary":           func(k *kase) { k.letter.Boundary = "x\"\r\n" },
		"ref":                func(k *kase) { k.request.Ref = "A]\r\nX: [" },
		"kind":               func(k *kase) { k.letter.Kind = "nonsense" },
		"note":               func(k *kase) { k.letter.Kind, k.letter.Note = mailflow.LetterNote, "nonsense" },
		"no note":            func(k *kase) { k.letter.Kind = mailflow.LetterNote },
		"problem":            func(k *kase) { k.letter.Kind, k.letter.Problems = mailflow.LetterAsk, []mailflow.Problem{{Kind: "x"}} },
		"attachment type":    func(k *kase) { k.letter.Attach[0].Type = "a/b\r\nX: y" },
		"attachment bytes":   func(k *kase) { k.letter.Attach[0].Blob = "" },
		"code with document": func(k *kase) { k.letter.Kind, k.letter.Challenge = mailflow.LetterCode, 1 },
		"code without token": func(k *kase) {
			k.letter.Kind, k.letter.Challenge, k.letter.Attach, k.letter.Token = mailflow.LetterCode, 1, nil, false
		},
		"unknown code": func(k *kase) { k.letter.Kind, k.letter.Challenge, k.letter.Attach = mailflow.LetterCode, 9, nil },
		"code without H": func(k *kase) {
			k.letter.Kind, k.letter.Challenge, k.letter.Attach, k.request.H = mailflow.LetterCode, 1, nil, ""
		},
	} {
		k := cases()[5]
		if k.name != "invite" {
			t.Fatalf("case 5 is %s", k.name)
		}
		spoil(&k)
		if _, err := Compose(k.letter, k.request, Org{}); err == nil {
			t.Errorf("%s: composed without an error", name)
		}
	}
}

// TestStrangerLearnsNothing: a letter to somebody who is no party names no
// document, no person and no subject.
func TestStrangerLearnsNothing(t *testing.T) {
	for _, k := range cases() {
		if k.letter.Note != mailflow.NoteNotYou {
			continue
		}
		raw := string(write(t, k))
		for _, secret := range []string{"contract", "Bob", "partner.example", "Ann", "3f2a"} {
			if strings.Contains(strings.ToLower(raw), strings.ToLower(secret)) {
				t.Errorf("the letter holds %q:\n%s", secret, raw)
			}
		}
	}
}

// FuzzValues: any value gives a letter that parses, with the same header fields.
func FuzzValues(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, s, id string) {
		for _, k := range cases()[:3] {
			k = with(k, s)
			k.letter.References = []string{id, "draft@acme.example"}
			want := len(parse(t, write(t, with(k, "x"))).header)
			if p := parse(t, write(t, k)); len(p.header) != want {
				t.Errorf("%d header fields, want %d", len(p.header), want)
			}
		}
	})
}

// FuzzHeader: a header field is refused or is one field, whatever its value.
func FuzzHeader(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, s)
	}
	f.Add("a@b.example", "x y  z   ")
	f.Fuzz(func(t *testing.T, addr, text string) {
		var h header
		h.address("To", mailflow.Address{Name: text, Addr: addr})
		h.messageIDs("Message-ID", addr)
		h.subject("A", oneLine(text, 200))
		h.add("X-Text", text)
		if h.err != nil {
			return
		}
		m, err := mail.ReadMessage(strings.NewReader(h.b.String() + "\r\n"))
		if err != nil || len(m.Header) != 4 {
			t.Errorf("%q: %v, %v", h.b.String(), m, err)
		}
	})
}

// FuzzQuotedPrintable: text comes back, lines are short, and filled holes hold what
// they should, wherever lines are broken.
func FuzzQuotedPrintable(f *testing.F) {
	f.Add("", 0)
	f.Add("Hello =20 \nFrom here\n.\n \t\n“quoted”", 70)
	f.Add(strings.Repeat("x", 74), 74)
	f.Fuzz(func(t *testing.T, text string, at int) {
		m := newMarks(boundary)
		if strings.Contains(text, m.prefix) || strings.ContainsAny(text, "\r") {
			return
		}
		at = min(max(at, 0), len(text))
		plain, holes := m.cut(text[:at] + m.mark(HoleToken, 0, 26) + text[at:] + m.grouped(8))
		out, moved := quotedPrintable(plain, holes, 0)
		r := Recipe{Pieces: []Piece{{Bytes: out, Holes: moved}}, CodeDigits: 8}
		var b bytes.Buffer
		if err := r.Write(&b, Fill{Token: token, Code: theCode}, nil); err != nil {
			t.Fatal(err)
		}
		back, err := io.ReadAll(quotedprintable.NewReader(&b))
		want := text[:at] + token + text[at:] + "4815 1623"
		if err != nil || strings.ReplaceAll(string(back), "\r\n", "\n") != want {
			t.Errorf("came back as %q, %v; want %q", back, err, want)
		}
		for line := range strings.SplitSeq(string(out), "\r\n") {
			if len(line) > 76 {
				t.Errorf("a line of %d characters", len(line))
			}
		}
	})
}
