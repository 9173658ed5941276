package reply

import (
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// maxHTML is the most HTML that is looked at, in bytes.
const maxHTML = 1 << 20

// An htmlDoc is an HTML text as lines.
type htmlDoc struct {
	lines  []line
	size   int    // bytes of text
	unsafe string // why it may show something else than it says; "" if it does not
}

// A htmlState is what holds for a place in the document.
type htmlState struct {
	quoted, boxed, sig, hidden, pre bool
}

// An htmlReader turns elements into lines.
type htmlReader struct {
	doc   htmlDoc
	cur   strings.Builder
	flags line // of the current line
	own   bool // it has text outside quotations
	loose bool // it has text outside containers for quotes
	tail  bool // all from here on is boxed
	probe int  // how many elements headed may still look into
	hides []selector
}

// parseHTML converts HTML into lines as a mail client shows them, each with what is
// known of it: quoted, in a signature block, partly hidden.
func parseHTML(src string) htmlDoc {
	root, err := html.ParseWithOptions(strings.NewReader(src), html.ParseOptionEnableScripting(false))
	if err != nil {
		// Nested deeper than any client writes.
		return htmlDoc{unsafe: "HTML that cannot be read"}
	}
	r := &htmlReader{probe: 50}
	r.styles(root)
	r.node(root, htmlState{})
	r.end()
	return r.doc
}

// node reads one node and all below it. The parser bounds the depth.
func (r *htmlReader) node(n *html.Node, s htmlState) {
	switch n.Type {
	case html.TextNode:
		r.text(n.Data, s)
		return
	case html.ElementNode:
		if skipped[n.DataAtom] {
			return
		}
		s = r.enter(n, s)
	case html.CommentNode, html.DoctypeNode:
		return
	}
	isBlock := n.Type == html.ElementNode && !inline[n.DataAtom]
	if isBlock {
		r.end()
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		r.node(c, s)
	}
	if isBlock {
		r.end()
	}
	if n.DataAtom == atom.P {
		r.blankLine()
	}
}

// skipped elements show nothing.
var skipped = map[atom.Atom]bool{
	atom.Head: true, atom.Style: true, atom.Script: true, atom.Title: true, atom.Meta: true, atom.Link: true,
	atom.Template: true, atom.Base: true, atom.Map: true, atom.Colgroup: true, atom.Col: true,
}

// inline elements do not break the line.
var inline = map[atom.Atom]bool{
	atom.A: true, atom.Abbr: true, atom.B: true, atom.Big: true, atom.Bdi: true, atom.Bdo: true, atom.Cite: true,
	atom.Code: true, atom.Del: true, atom.Dfn: true, atom.Em: true, atom.Font: true, atom.I: true, atom.Img: true,
	atom.Ins: true, atom.Kbd: true, atom.Label: true, atom.Mark: true, atom.Q: true, atom.S: true, atom.Samp: true,
	atom.Small: true, atom.Span: true, atom.Strike: true, atom.Strong: true, atom.Sub: true, atom.Sup: true,
	atom.Time: true, atom.Tt: true, atom.U: true, atom.Var: true, atom.Wbr: true, 0: true, // 0: "o:p" and the like
}

// odd elements show something else than their text.
var odd = map[atom.Atom]bool{
	atom.Del: true, atom.S: true, atom.Strike: true, atom.Bdo: true, atom.Svg: true, atom.Math: true, atom.Iframe: true,
	atom.Object: true, atom.Embed: true, atom.Canvas: true, atom.Textarea: true, atom.Select: true, atom.Button: true,
	atom.Ruby: true, atom.Details: true, atom.Dialog: true, atom.Marquee: true, atom.Video: true, atom.Audio: true,
}

var (
	// quoteName are classes and ids of containers that clients make for quotes. In
	// answers they say nothing: people type into them.
	quoteName = regexp.MustCompile(`(?i)^(gmail_quote(_container)?|gmail_attr|gmail_extra|yahoo_quoted(_.*)?|ydp.*yahoo_quoted|protonmail_quote|moz-cite-prefix|divrplyfwdmsg|x_divrplyfwdmsg|appendonsend|x_appendonsend|olk_src_body_section|zmail_extra|tutanota_quote|reply-intro|isreplycontent|ms-outlook-mobile-reference-message|mail-quote-collapse|bloop_original_html|oriMsgHtmlSeperator)$`)
	// tailName are those behind which all is quoted.
	tailName = regexp.MustCompile(`(?i)^(x_)?(divrplyfwdmsg|appendonsend|mail-editor-reference-message-container|ms-outlook-mobile-reference-message|zwchr)$`)
	sigName  = regexp.MustCompile(`(?i)^(x_)?(gmail_signature(_prefix)?|moz-signature|signature|applemailsignature|ms-outlook-mobile-signature|protonmail_signature_block.*)$`)
	// hiding declarations, in a style without blanks.
	hiding = regexp.MustCompile(strings.Join([]string{
		`display:none`, `visibility:(hidden|collapse)`, `line-through`, `mso-hide:all`, `max-height:0(px)?(;|!|$)`, `bidi-override`,
		`font-size:0+(\.0+)?(px|pt|em|rem|%)?(;|!|$)`, `font-size:[01]?(\.\d+)?(px|pt)(;|!|$)`, `(^|;)opacity:0*(\.0\d*)?(;|!|$)`,
		`text-indent:-\d{3}`, `(^|;)color:transparent`, `(^|;)(height|width):0(px|pt)?(;|!|$)`, `(^|;)clip(-path)?:`,
		`(^|;)(left|top|margin-left|margin-top):-\d{3}`, `(^|;)transform:`,
	}, "|"))
	borderTop   = regexp.MustCompile(`border-top(:|-[a-z]+:)[^;]*solid|border:[^;]*;border-top:solid`)
	generated   = regexp.MustCompile(`(^|[;{\s])content\s*:`)
	cssRule     = regexp.MustCompile(`([^{}]+)\{([^{}]*)\}`)
	cssComment  = regexp.MustCompile(`(?s)/\*.*?\*/|<!--|-->`)
	cssCompound = regexp.MustCompile(`[.#]?[A-Za-z_][A-Za-z0-9_-]*`)
	cssOther    = regexp.MustCompile(`\[[^\]]*\]|::?[a-z-]+(\([^)]*\))?`)
)

func squeeze(style string) string {
	return strings.ToLower(strings.Join(strings.Fields(style), ""))
}

// enter works out what an element changes.
func (r *htmlReader) enter(n *html.Node, s htmlState) htmlState {
	class, id, style := attr(n, "class"), attr(n, "id"), squeeze(attr(n, "style"))
	for _, name := range append(strings.Fields(class), id) {
		switch {
		case tailName.MatchString(name):
			r.end()
			r.tail = true
		case quoteName.MatchString(name):
			s.boxed = true
		case sigName.MatchString(name):
			s.sig = true
		}
	}
	if attr(n, "data-marker") == "__QUOTED_TEXT__" || attr(n, "data-marker") == "__DIVIDER__" {
		r.end()
		r.tail = true
	}
	if r.probe > 0 && !r.tail && borderTop.MatchString(style) {
		r.probe--
		if headed(n) {
			r.end()
			r.tail = true
		}
	}
	switch n.DataAtom {
	case atom.Blockquote:
		s.quoted = true
	case atom.Pre:
		s.pre = true
	case atom.Br:
		r.lineBreak()
	case atom.Hr:
		r.end()
		r.text("________", s)
		r.end()
	}
	_, hidden := lookup(n, "hidden")
	s.hidden = s.hidden || hidden || odd[n.DataAtom] || hiding.MatchString(style) || r.hiddenByStyle(n)
	return s
}

// headed tells whether an element begins with "Key: value" lines, as what Outlook
// puts below a border does.
func headed(n *html.Node) bool {
	h := &htmlReader{}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		h.node(c, htmlState{})
	}
	h.end()
	ls := h.doc.lines[:min(len(h.doc.lines), 20)]
	for i := range ls {
		if ls[i].norm == "" {
			ls[i].class = blank
		}
	}
	if first := nextLine(ls, 0); first >= 0 {
		return anyHeaderBlock(ls[first:])
	}
	return false
}

func lookup(n *html.Node, key string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

func attr(n *html.Node, key string) string {
	v, _ := lookup(n, key)
	return v
}

// text adds text to the current line; blanks are joined unless preformatted.
func (r *htmlReader) text(data string, s htmlState) {
	if s.pre {
		first := true
		for part := range strings.SplitSeq(strings.ReplaceAll(data, "\r\n", "\n"), "\n") {
			if !first {
				r.lineBreak()
			}
			first = false
			r.add(part, s)
		}
		return
	}
	words := strings.Join(strings.FieldsFunc(data, func(c rune) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }), " ")
	if data != "" && strings.IndexByte(" \t\n\r\f", data[0]) >= 0 && r.cur.Len() > 0 && !strings.HasSuffix(r.cur.String(), " ") {
		r.add(" ", s)
	}
	r.add(words, s)
	if words != "" && strings.IndexByte(" \t\n\r\f", data[len(data)-1]) >= 0 {
		r.add(" ", s)
	}
}

func (r *htmlReader) add(text string, s htmlState) {
	if text == "" || r.doc.size > 4*maxText {
		r.doc.size += len(text)
		return
	}
	r.doc.size += len(text)
	r.cur.WriteString(text)
	if strings.Trim(text, " \u00a0") == "" {
		return
	}
	r.own = r.own || !s.quoted
	r.loose = r.loose || !s.boxed && !r.tail
	r.flags.sig = r.flags.sig || s.sig
	r.flags.hidden = r.flags.hidden || s.hidden
	r.flags.quoted = true
}

// end ends the current line, if there is something in it.
func (r *htmlReader) end() {
	if strings.TrimSpace(r.cur.String()) != "" {
		r.lineBreak()
	}
	r.cur.Reset()
}

// lineBreak ends the current line.
func (r *htmlReader) lineBreak() {
	l := r.flags
	l.html = true
	l.raw = strings.TrimRight(r.cur.String(), " ")
	if strings.HasPrefix(r.cur.String(), "-- ") && l.raw == "--" {
		l.raw = "-- "
	}
	l.norm = normalise(l.raw)
	l.boxed = l.quoted && !r.loose
	l.quoted = l.quoted && !r.own
	r.doc.lines = append(r.doc.lines, l)
	r.cur.Reset()
	r.flags, r.own, r.loose = line{}, false, false
}

func (r *htmlReader) blankLine() {
	if n := len(r.doc.lines); n > 0 && r.doc.lines[n-1].norm != "" {
		r.doc.lines = append(r.doc.lines, line{})
	}
}

// A selector is the last part of a CSS selector whose rule hides things.
type selector struct {
	tag     string
	classes []string
	id      string
}

// styles reads the style sheets: which elements they hide, and whether they make
// text.
func (r *htmlReader) styles(n *html.Node) {
	if n.Type == html.ElementNode && n.DataAtom == atom.Style && n.FirstChild != nil {
		css := strings.ToLower(cssComment.ReplaceAllString(n.FirstChild.Data, " "))
		for _, m := range cssRule.FindAllStringSubmatch(css, 500) {
			if generated.MatchString(m[2]) {
				r.doc.unsafe = "a style sheet that adds text"
			}
			if !hiding.MatchString(squeeze(m[2])) {
				continue
			}
			for sel := range strings.SplitSeq(m[1], ",") {
				r.addSelector(sel)
			}
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		r.styles(c)
	}
}

func (r *htmlReader) addSelector(sel string) {
	fields := strings.FieldsFunc(cssOther.ReplaceAllString(sel, ""), func(c rune) bool { return strings.ContainsRune(" \t\r\n>+~", c) })
	if len(fields) == 0 || len(r.hides) >= 200 {
		return
	}
	var s selector
	for _, part := range cssCompound.FindAllString(fields[len(fields)-1], 20) {
		switch part[0] {
		case '.':
			s.classes = append(s.classes, part[1:])
		case '#':
			s.id = part[1:]
		default:
			s.tag = part
		}
	}
	r.hides = append(r.hides, s)
}

func (r *htmlReader) hiddenByStyle(n *html.Node) bool {
	if len(r.hides) == 0 {
		return false
	}
	classes := strings.Fields(strings.ToLower(attr(n, "class")))
	id := strings.ToLower(attr(n, "id"))
	for _, s := range r.hides {
		if s.tag != "" && s.tag != n.Data || s.id != "" && s.id != id {
			continue
		}
		all := true
		for _, c := range s.classes {
			found := false
			for _, have := range classes {
				found = found || have == c
			}
			all = all && found
		}
		if all {
			return true
		}
	}
	return false
}
