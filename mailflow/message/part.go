package message

import (
	"bytes"
	"io"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A Part is one node of a mail's tree.
type Part struct {
	// Path is the part's number as in IMAP: "2.1"; that of the root is "".
	Path   string
	Fields []Field
	// ContentType is in lower case: "application/pdf". Params are its parameters,
	// names in lower case.
	ContentType string
	Params      map[string]string
	// Disposition is "inline", "attachment" or "", in lower case.
	Disposition string
	// Filename is decoded and safe to show and to store: a bare name without
	// control or format characters, at most 200 bytes; "" if there is none.
	Filename  string
	ContentID string // without angle brackets
	// Encoding is "7bit", "8bit", "binary", "base64", "quoted-printable",
	// "x-uuencode", or the unknown one as written.
	Encoding string
	// HeaderStart to End are the part's raw bytes, without the line break before
	// the delimiter; its body begins at BodyStart.
	HeaderStart, BodyStart, End int64
	// Children are the parts of a multipart.
	Children []*Part

	m       *Message
	text    string // the decoded text of a part for people
	forRead bool   // text is set
}

// describe reads what the header says about the body.
func (p *Part) describe(defaultType string) {
	p.ContentType, p.Params = defaultType, map[string]string{}
	if raw, ok := p.first("Content-Type"); ok {
		ct := parseParams(unfold(raw))
		p.Params = ct.params
		if ct.twice != "" {
			p.m.defect("Content-Type has two parameters %q", cut(ct.twice, 40))
		}
		if kind, sub, ok := strings.Cut(ct.value, "/"); ok && kind != "" && sub != "" && !strings.ContainsAny(ct.value, " \t") {
			p.ContentType = ct.value
		} else {
			p.m.problem("Content-Type %q cannot be read", cut(ct.value, 60))
		}
	}
	disposition, _ := p.first("Content-Disposition")
	cd := parseParams(unfold(disposition))
	p.Disposition = cd.value
	for _, name := range []string{cd.params["filename"], p.Params["name"]} {
		if p.Filename == "" {
			p.Filename = safeName(decodeWords(validUTF8(name)))
		}
	}
	if id, ok := p.first("Content-ID"); ok {
		p.ContentID = strings.Trim(unfold(id), "<> \t")
	}
	p.Encoding = "7bit"
	if raw, ok := p.first("Content-Transfer-Encoding"); ok {
		p.Encoding = p.encoding(unfold(raw))
	}
	for _, name := range []string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition"} {
		if n := p.count(name); n > 1 {
			p.m.defect("a part has %d %s fields; the first counts", n, name)
		}
	}
}

// encoding normalises a transfer encoding (RFC 2045, 6.1).
func (p *Part) encoding(raw string) string {
	in := paramScanner{s: raw}
	e := strings.ToLower(in.until("; "))
	switch e {
	case "base64", "quoted-printable", "7bit", "8bit", "binary":
		return e
	case "7-bit", "":
		return "7bit"
	case "8-bit":
		return "8bit"
	case "x-uuencode", "uuencode", "x-uue", "uue":
		return "x-uuencode"
	}
	p.m.defect("transfer encoding %q is unknown; the part is taken as it is", cut(e, 40))
	return e
}

func (p *Part) first(name string) (string, bool) {
	for _, f := range p.Fields {
		if f.Is(name) {
			return f.Raw, true
		}
	}
	return "", false
}

func (p *Part) count(name string) int {
	n := 0
	for _, f := range p.Fields {
		if f.Is(name) {
			n++
		}
	}
	return n
}

// walk calls f for p and all below it, until f returns false.
func (p *Part) walk(f func(*Part) bool) bool {
	if !f(p) {
		return false
	}
	for _, c := range p.Children {
		if !c.walk(f) {
			return false
		}
	}
	return true
}

// Open returns a reader of the decoded body. What is not valid in the encoding is
// skipped, as RFC 2045, 6.7 and 6.8, say; errors are those of the source.
func (p *Part) Open() io.Reader {
	raw := p.Raw()
	switch p.Encoding {
	case "base64":
		return newBase64(raw)
	case "quoted-printable":
		return newQuotedPrintable(raw)
	case "x-uuencode":
		return newUU(raw)
	}
	return raw
}

// Raw returns a reader of the body as it stands in the mail.
func (p *Part) Raw() *io.SectionReader { return p.m.Raw(p.BodyStart, p.End) }

// Size estimates the size of the decoded body, in bytes, from above for base64 of
// 76 characters a line.
func (p *Part) Size() int64 {
	n := p.End - p.BodyStart
	switch p.Encoding {
	case "base64":
		return (n/78*76 + n%78) / 4 * 3
	case "x-uuencode":
		return n / 62 * 45
	}
	return n
}

// IsPDF reports whether "%PDF-" stands within the first 1024 bytes, where readers
// look for it (ISO 32000-2, annex I note), whatever type the mail gives.
func (p *Part) IsPDF() bool {
	head := make([]byte, 1024)
	n, _ := io.ReadFull(p.Open(), head)
	return bytes.Contains(head[:n], []byte("%PDF-"))
}

// maxName is the most that a file name may have, in bytes.
const maxName = 200

// safeName makes a bare file name of whatever a mail gives: no folder, nothing
// invisible, no more than maxName bytes. The result may be "".
func safeName(name string) string {
	name = norm.NFC.String(name)
	name = strings.Map(func(r rune) rune {
		switch {
		case r == '\\':
			return '/'
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp), r == utf8.RuneError:
			return -1
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, name)
	name = strings.Trim(name[strings.LastIndexByte(name, '/')+1:], " .")
	if len(name) <= maxName {
		return name
	}
	ext := path.Ext(name)
	if len(ext) > 20 {
		ext = ""
	}
	stem := name[:maxName-len(ext)]
	for !utf8.ValidString(stem) {
		stem = stem[:len(stem)-1]
	}
	return strings.TrimRight(stem, " .") + ext
}
