package message

import (
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
)

// texts collects the text for people.
type texts struct {
	m    *Message
	left int64 // bytes of decoded text that may still be read
}

// read decodes the text parts below p, and lists the others as attachments.
func (t *texts) read(p *Part) error {
	if len(p.Children) > 0 {
		for _, c := range p.Children {
			if err := t.read(c); err != nil {
				return err
			}
		}
		return nil
	}
	shown := (p.ContentType == "text/plain" || p.ContentType == "text/html") &&
		p.Disposition != "attachment" && p.Filename == ""
	if !shown {
		if p.Filename == "" {
			p.Filename = nameless(p)
		}
		t.m.Attachments = append(t.m.Attachments, p)
		return nil
	}
	p.forRead = true
	b, err := io.ReadAll(io.LimitReader(p.Open(), t.left+1))
	if err != nil {
		return fmt.Errorf("reading the text in part %q of the mail: %w", p.Path, err)
	}
	if int64(len(b)) > t.left {
		b = b[:t.left]
		t.m.defect("the text is longer than the limit; its end was not read")
	}
	t.left -= int64(len(b))
	text, guessed := toUTF8(p.Params["charset"], b)
	if guessed {
		t.m.Guessed = true
		t.m.problem("the character set %q of the text is wrong or unknown", cut(p.Params["charset"], 40))
	}
	p.text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	if p.ContentType == "text/plain" && strings.EqualFold(p.Params["format"], "flowed") {
		p.text = Unflow(p.text, strings.EqualFold(p.Params["delsp"], "yes"))
	}
	return nil
}

// nameless is the name of an attachment that has none.
func nameless(p *Part) string {
	switch {
	case p.ContentType == "application/pdf" || p.IsPDF():
		return "attachment.pdf"
	case p.ContentType == "message/rfc822":
		return "attachment.eml"
	}
	return "attachment"
}

// plain puts the text/plain parts together, in order.
func (t *texts) plain(root *Part) string {
	var out strings.Builder
	root.walk(func(p *Part) bool {
		if p.forRead && p.ContentType == "text/plain" {
			out.WriteString(endLine(p.text))
		}
		return true
	})
	return out.String()
}

// html puts together what a client shows that prefers HTML: of alternatives those
// with HTML in them (RFC 2046, 5.1.4), everything else in order. It is empty if
// there is no HTML at all.
func (t *texts) html(root *Part) string {
	if !hasHTML(root) {
		return ""
	}
	var out strings.Builder
	var add func(p *Part)
	add = func(p *Part) {
		switch {
		case p.forRead && p.ContentType == "text/html":
			out.WriteString(endLine(p.text))
		case p.forRead:
			out.WriteString("<pre>" + html.EscapeString(p.text) + "</pre>\n")
		}
		some := p.ContentType == "multipart/alternative" && slices.ContainsFunc(p.Children, hasHTML)
		for _, c := range p.Children {
			if !some || hasHTML(c) {
				add(c)
			}
		}
	}
	add(root)
	return out.String()
}

func hasHTML(p *Part) bool {
	return !p.walk(func(p *Part) bool { return !p.forRead || p.ContentType != "text/html" })
}

func endLine(s string) string {
	if s == "" || strings.HasSuffix(s, "\n") {
		return s
	}
	return s + "\n"
}

// Unflow joins the lines of a format=flowed text (RFC 3676, 4): a line that ends in
// a space goes on in the next one of the same quote depth. Space-stuffing is
// removed, "-- " is never joined. Quoted lines come out as "> text".
func Unflow(text string, delSp bool) string {
	var out strings.Builder
	open := false // the last line goes on
	last := 0     // its quote depth
	for l := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		depth := len(l) - len(strings.TrimLeft(l, ">"))
		l = strings.TrimPrefix(l[depth:], " ")
		fixed := l == "-- " || !strings.HasSuffix(l, " ")
		if open && (depth != last || l == "-- ") {
			out.WriteByte('\n')
			open = false
		}
		if !open && depth > 0 {
			out.WriteString(strings.Repeat(">", depth) + " ")
		}
		if !fixed && delSp {
			l = strings.TrimSuffix(l, " ")
		}
		out.WriteString(l)
		if open, last = !fixed, depth; fixed {
			out.WriteByte('\n')
		}
	}
	if open {
		out.WriteByte('\n')
	}
	return out.String()
}
