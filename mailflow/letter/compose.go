// Package letter makes the bytes of a letter.
//
// Compose fixes them once, as a [Recipe] for the outbox: header fields and texts in
// their final encoding, with fixed-width holes for the reply token and the code, and
// references to the documents. Write fills and streams them, so that each attempt to
// send sends the same bytes, while the store holds no secret and no second copy of a
// document. The same letter, request and organisation always give the same recipe:
// there is no clock, no randomness and no map order in it.
//
// It promises that no value from outside ends a header line or makes a line of text
// of its own; that no line of a letter, in any rendering, is itself a command
// (invariant 25, held by test); that lines have at most 76 characters wherever they
// can be broken, and never more than 998 (RFC 5322, 2.1.1); and that all is 7-bit.
package letter

import (
	"errors"
	"fmt"
	"strings"

	"countersign/mailflow"
	"countersign/templates"
)

// Org is who the letters speak for, when the request does not say: a refusal belongs
// to no request. Words are the templates, opened once by [templates.Open] and shared
// by all letters; without them each letter opens the English ones, which is slow.
type Org struct {
	Name  string
	Words *templates.Set
}

// Compose makes the recipe of a letter, as its request now stands.
func Compose(l mailflow.Letter, r mailflow.Request, org Org) (Recipe, error) {
	c := composer{letter: l, request: r, org: org, marks: newMarks(l.Boundary)}
	if err := c.check(); err != nil {
		return Recipe{}, fmt.Errorf("letter %q to %q: %w", l.Kind, l.To.Addr, err)
	}
	recipe, err := c.compose()
	if err != nil {
		return Recipe{}, fmt.Errorf("letter %q to %q: %w", l.Kind, l.To.Addr, err)
	}
	return recipe, nil
}

// Envelope gives the SMTP envelope of a letter (RFC 5321, 3.3): the return path with
// the letter's own tag, or "" for the null path, and the recipient.
func Envelope(l mailflow.Letter) (from, to string, err error) {
	if err := errors.Join(checkAddr(l.From), checkAddr(l.To.Addr)); err != nil {
		return "", "", fmt.Errorf("envelope: %w", err)
	}
	if l.Bounce == "" {
		return "", l.To.Addr, nil
	}
	if mailflow.ClassifyTag(l.Bounce) != mailflow.TagBounce {
		return "", "", fmt.Errorf("envelope: %q is no bounce tag", l.Bounce)
	}
	local, domain := splitAddr(l.From)
	return local + "+" + l.Bounce + "@" + domain, l.To.Addr, nil
}

// composer makes one letter.
type composer struct {
	letter  mailflow.Letter
	request mailflow.Request
	org     Org
	marks   marks

	set    *templates.Set
	words  templates.Letter
	pieces []Piece
	buf    []byte // of the piece being written
	holes  []Hole
}

// check refuses what could not be a letter of ours.
func (c *composer) check() error {
	l := c.letter
	if _, _, err := Envelope(l); err != nil {
		return err
	}
	if len(l.Boundary) != 32 || strings.Trim(l.Boundary, "0123456789abcdef") != "" {
		return errors.New("the boundary is not 32 hex digits")
	}
	if l.Kind == mailflow.LetterCode && len(l.Attach) > 0 {
		return errors.New("a letter with a code never carries documents")
	}
	if l.Kind == mailflow.LetterCode && (c.request.Terms.CodeDigits < 4 || c.request.Terms.CodeDigits > 12) {
		return fmt.Errorf("codes of %d digits are not possible", c.request.Terms.CodeDigits)
	}
	if l.Kind == mailflow.LetterCode && !l.Token {
		return errors.New("a letter with a code needs a token, as it is answered")
	}
	for _, a := range l.Attach {
		if a.Blob == "" || a.Size < 0 {
			return fmt.Errorf("the attachment %q has no stored bytes", a.Name)
		}
		if strings.Trim(a.Type, "abcdefghijklmnopqrstuvwxyz0123456789/.+-") != "" || strings.Count(a.Type, "/") != 1 {
			return fmt.Errorf("the attachment %q has the type %q", a.Name, a.Type)
		}
	}
	if ref := c.request.Ref; strings.Trim(ref, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || len(ref) > 20 {
		return fmt.Errorf("the request has the reference %q", ref)
	}
	return nil
}

func (c *composer) compose() (Recipe, error) {
	if c.set = c.org.Words; c.set == nil {
		set, err := templates.Open(templates.English)
		if err != nil {
			return Recipe{}, err
		}
		c.set = set
	}
	v, err := c.view()
	if err != nil {
		return Recipe{}, err
	}
	if c.words, err = c.set.Render(string(c.letter.Kind), v); err != nil {
		return Recipe{}, err
	}
	html, err := c.words.HTML(c.set, c.links())
	if err != nil {
		return Recipe{}, err
	}
	if err := c.header(); err != nil {
		return Recipe{}, err
	}
	c.body(html)
	recipe := Recipe{Pieces: c.pieces}
	if recipe.NeedsCode() {
		recipe.CodeDigits = c.request.Terms.CodeDigits
	}
	return recipe, nil
}

// text appends literal text with marks.
func (c *composer) text(s string) {
	plain, holes := c.marks.cut(s)
	for _, h := range holes {
		h.Offset += len(c.buf)
		c.holes = append(c.holes, h)
	}
	c.buf = append(c.buf, plain...)
}

// flush ends a piece.
func (c *composer) flush() {
	c.pieces = append(c.pieces, Piece{Bytes: c.buf, Holes: c.holes})
	c.buf, c.holes = nil, nil
}

func (c *composer) organisation() string {
	if name := c.request.Terms.Organisation; name != "" {
		return oneLine(name, 100)
	}
	return oneLine(c.org.Name, 100)
}

// header writes the header fields up to Content-Type.
func (c *composer) header() error {
	l := c.letter
	var h header
	h.address("From", mailflow.Address{Name: c.organisation(), Addr: l.From})
	h.address("To", l.To)
	h.subject(c.request.Ref, c.words.Subject)
	h.add("Date", l.Date.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	h.messageIDs("Message-ID", l.MessageID)
	if refs := usableIDs(l.References); len(refs) > 0 {
		h.messageIDs("In-Reply-To", refs[len(refs)-1])
		h.messageIDs("References", refs...)
	}
	// RFC 3834, 5; nobody's absence notice shall answer it.
	h.add("Auto-Submitted", autoSubmitted(l.Kind))
	h.add("X-Auto-Response-Suppress", "All")
	h.add("X-Countersign-Letter", string(l.Kind))
	h.add("MIME-Version", "1.0")
	if h.err != nil {
		return h.err
	}
	c.text(h.b.String())
	if l.Token {
		c.text("Reply-To: <" + c.replyAddress() + ">\r\n")
	}
	return nil
}

// usableIDs are the references that can be repeated: those of foreign mails may hold
// anything, and at most the first and the last nineteen are kept (RFC 5322, 3.6.4
// sets no limit, mail programs do).
func usableIDs(ids []string) []string {
	var out []string
	for _, id := range ids {
		if checkID(id) == nil && len(id) <= 250 {
			out = append(out, id)
		}
	}
	if n := len(out); n > 20 {
		out = append(out[:1:1], out[n-19:]...)
	}
	return out
}

// autoSubmitted tells answers from letters that we begin (RFC 3834, 5.1).
func autoSubmitted(k mailflow.LetterKind) string {
	switch k {
	case mailflow.LetterAsk, mailflow.LetterRefused, mailflow.LetterNote, mailflow.LetterCode, mailflow.LetterLocked:
		return "auto-replied"
	}
	return "auto-generated"
}

// replyAddress is the signing address with the token's mark.
func (c *composer) replyAddress() string {
	local, domain := splitAddr(c.letter.From)
	return local + "+" + c.marks.mark(HoleToken, 0, mailflow.TokenLen) + "@" + domain
}

// body writes alternative{text, html}, inside mixed if there are documents. The
// boundaries begin with "=_", which neither encoding can produce (RFC 2045, 6.7).
func (c *composer) body(html string) {
	mixed, alt := "=_m_"+c.letter.Boundary, "=_a_"+c.letter.Boundary
	if len(c.letter.Attach) == 0 {
		c.alternative(alt, html)
		c.flush()
		return
	}
	c.text("Content-Type: multipart/mixed;\r\n boundary=\"" + mixed + "\"\r\n\r\n--" + mixed + "\r\n")
	c.alternative(alt, html)
	for _, a := range c.letter.Attach {
		c.text("\r\n--" + mixed + "\r\n")
		name := oneLine(a.Name, 120)
		if name == "" {
			name = "document.pdf"
		}
		c.text(paramField("Content-Type: "+a.Type, fileName("name", name)))
		c.text(paramField("Content-Disposition: attachment", fileName("filename", name)))
		c.text("Content-Transfer-Encoding: base64\r\n\r\n")
		c.flush()
		c.pieces = append(c.pieces, Piece{Blob: a.Blob, Size: a.Size})
	}
	c.text("\r\n--" + mixed + "--\r\n")
	c.flush()
}

// paramField writes a field with its parameters, each on a line of its own.
func paramField(field, params string) string {
	return field + ";\r\n " + strings.ReplaceAll(params, "; ", ";\r\n ") + "\r\n"
}

func (c *composer) alternative(boundary, html string) {
	c.text("Content-Type: multipart/alternative;\r\n boundary=\"" + boundary + "\"\r\n")
	c.part(boundary, "text/plain", c.words.Plain())
	c.part(boundary, "text/html", html)
	c.text("\r\n--" + boundary + "--\r\n")
}

func (c *composer) part(boundary, mediaType, text string) {
	c.text("\r\n--" + boundary + "\r\nContent-Type: " + mediaType + "; charset=utf-8\r\n" +
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	plain, holes := c.marks.cut(text)
	encoded, moved := quotedPrintable(plain, holes, len(c.buf))
	c.buf = append(c.buf, encoded...)
	c.holes = append(c.holes, moved...)
}
