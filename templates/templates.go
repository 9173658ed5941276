// Package templates has the words of all letters, one folder per language, and
// turns them into plain text and HTML that say the same.
//
// A template is written once, as blocks, one idea each, divided by blank lines:
//
//	# Heading
//	A paragraph, which may go on over several lines.
//	- A list item.
//	[action] The label of a button that opens an answer.
//
// Values that come from outside are single lines (the caller sees to it) and never
// begin a line of a template, so that no value can make a block of its own. Nothing
// inside a block is marked up: a word that an answer may begin with never stands
// alone in an element or a line (invariant 25).
//
// The files of a language define "<kind>" and "subject <kind>" for each kind of
// letter, and "note <note>" and "problem <kind>" for each note and problem.
package templates

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"strconv"
	"strings"
	"text/template"
)

//go:embed en layout.html
var files embed.FS

// English is the language of letters that name no other.
const English = "en"

// A BlockKind says how a block looks.
type BlockKind string

// The kinds of block.
const (
	Heading   BlockKind = "heading"
	Paragraph BlockKind = "paragraph"
	Item      BlockKind = "item"
	Button    BlockKind = "button"
)

// A Block is one piece of a letter: a single line of text.
type Block struct {
	Kind   BlockKind
	Text   string
	Action string // of a button
}

// A Letter is a letter in words, not yet in bytes.
type Letter struct {
	Language string
	Subject  string // one line
	Blocks   []Block
}

// Set is the templates of one language.
type Set struct {
	language string
	t        *template.Template
	layout   *htmltemplate.Template
}

// Open reads the templates of a language, "en" for example.
func Open(language string) (*Set, error) {
	funcs := template.FuncMap{"count": count, "inc": func(i int) int { return i + 1 }}
	t, err := template.New(language).Funcs(funcs).Option("missingkey=error").ParseFS(files, language+"/*.tmpl")
	if err != nil {
		return nil, fmt.Errorf("templates of language %q: %w", language, err)
	}
	layout, err := htmltemplate.ParseFS(files, "layout.html")
	if err != nil {
		return nil, fmt.Errorf("layout of letters: %w", err)
	}
	return &Set{language: language, t: t, layout: layout}, nil
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// Render fills in the template of a kind of letter.
func (s *Set) Render(kind string, data any) (Letter, error) {
	subject, err := s.execute("subject "+kind, data)
	if err != nil {
		return Letter{}, err
	}
	body, err := s.execute(kind, data)
	if err != nil {
		return Letter{}, err
	}
	return Letter{Language: s.language, Subject: strings.Join(strings.Fields(subject), " "), Blocks: blocks(body)}, nil
}

// Has reports whether there is a template of that name.
func (s *Set) Has(name string) bool { return s.t.Lookup(name) != nil }

// Text fills in one template and returns it as a single line, for a part of a
// letter that is chosen by name.
func (s *Set) Text(name string, data any) (string, error) {
	text, err := s.execute(name, data)
	return strings.Join(strings.Fields(text), " "), err
}

func (s *Set) execute(name string, data any) (string, error) {
	if !s.Has(name) {
		return "", fmt.Errorf("language %q has no template %q", s.language, name)
	}
	var b strings.Builder
	if err := s.t.ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("template %q: %w", name, err)
	}
	return b.String(), nil
}

// blocks reads what a template wrote.
func blocks(text string) []Block {
	var out []Block
	open := false // the last block may go on
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.Join(strings.Fields(line), " ")
		if line == "" {
			open = false
			continue
		}
		b, marked := blockOf(line)
		if !marked && open {
			out[len(out)-1].Text += " " + line
			continue
		}
		out = append(out, b)
		open = true
	}
	return out
}

// blockOf reads the mark at the beginning of a line.
func blockOf(line string) (b Block, marked bool) {
	if t, ok := strings.CutPrefix(line, "# "); ok {
		return Block{Kind: Heading, Text: t}, true
	}
	if t, ok := strings.CutPrefix(line, "- "); ok {
		return Block{Kind: Item, Text: t}, true
	}
	if t, ok := strings.CutPrefix(line, "["); ok {
		if action, label, ok := strings.Cut(t, "] "); ok {
			return Block{Kind: Button, Text: label, Action: action}, true
		}
	}
	return Block{Kind: Paragraph, Text: line}, false
}

// Plain is the letter as text: one line for each block, so that the reader's
// program wraps it, with "\n" at the end of each. Buttons are left out: the text
// says how to answer without them.
func (l Letter) Plain() string {
	var b strings.Builder
	var last BlockKind
	for _, bl := range l.Blocks {
		if bl.Kind == Button {
			continue
		}
		if last != "" && (bl.Kind != Item || last != Item) {
			b.WriteByte('\n')
		}
		if bl.Kind == Item {
			b.WriteString("- ")
		}
		b.WriteString(bl.Text + "\n")
		last = bl.Kind
	}
	return b.String()
}

// HTML is the letter as a page that needs nothing from outside. links has the
// mailto: address of each button's action; a button without one is left out.
func (l Letter) HTML(s *Set, links map[string]string) (string, error) {
	type group struct {
		Kind  BlockKind
		Texts []string
		Label string
		Link  htmltemplate.URL
	}
	var groups []group
	for _, bl := range l.Blocks {
		n := len(groups)
		switch {
		case bl.Kind == Button && links[bl.Action] == "":
		case bl.Kind == Button:
			// Made by the caller, percent-encoded throughout.
			groups = append(groups, group{Kind: Button, Label: bl.Text, Link: htmltemplate.URL(links[bl.Action])})
		case bl.Kind == Item && n > 0 && groups[n-1].Kind == Item:
			groups[n-1].Texts = append(groups[n-1].Texts, bl.Text)
		default:
			groups = append(groups, group{Kind: bl.Kind, Texts: []string{bl.Text}})
		}
	}
	var b strings.Builder
	err := s.layout.Execute(&b, map[string]any{"Language": l.Language, "Title": l.Subject, "Groups": groups})
	if err != nil {
		return "", fmt.Errorf("layout of letters: %w", err)
	}
	return b.String(), nil
}
