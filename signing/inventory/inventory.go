// Package inventory lists what a PDF holds besides its pages: what can act when it
// is opened, what a viewer draws by itself, what is hidden, attached, or comes from
// elsewhere. A signature covers all of it, and a reader sees little of it.
//
// [Take] reads through [pdf.File] whatever the catalog leads to, and reports it as
// [Finding]s, each of one [Class]. It finds things by what they are and not only by
// where they should stand: a dictionary that is a JavaScript action counts wherever it
// hangs. The work is bounded; what could not be looked at is a finding of its own
// ([NotInspected]). Policies say per class whether a finding refuses the document, is
// told to those who decide, or neither. [Compare] holds the reading against that of
// a second reader.
//
// What content streams draw is not looked at, but for the appearances of fields.
//
// Texts of findings are plain English, one line, and safe to print: names out of the
// document are shortened, and control and bidirectional characters taken out.
//
// Clause numbers are those of ISO 32000-2:2020.
package inventory

import (
	"strings"
	"unicode"
)

// A Class says what kind of thing was found, in one stable word for rules.
type Class string

// The classes.
const (
	JavaScript         Class = "javascript"          // scripts (12.6.4.17) outside of field formats
	Launch             Class = "launch"              // starts a program or opens a file (12.6.4.6)
	SubmitForm         Class = "submit-form"         // sends the form's values (12.7.6.2)
	ImportData         Class = "import-data"         // fills the form from a file (12.7.6.4)
	RemoteGoto         Class = "remote-goto"         // opens another document (12.6.4.3, 12.6.4.4)
	URI                Class = "uri"                 // a web link (12.6.4.8)
	RichMedia          Class = "rich-media"          // video, sound, 3D (13)
	XFA                Class = "xfa"                 // a second form, of XML (12.7.8)
	ExternalStream     Class = "external-stream"     // content of another file (7.3.8.2, 8.10.4)
	EmbeddedFile       Class = "embedded-file"       // attached files (7.11.4)
	HiddenContent      Class = "hidden-content"      // layers, annotations, images not always shown
	PreparedAppearance Class = "prepared-appearance" // a field that looks otherwise than its value
	NeedAppearances    Class = "need-appearances"    // the viewer draws the fields anew (12.7.3)
	CalculatedField    Class = "calculated-field"    // values that scripts compute or format
	FontNotEmbedded    Class = "font-not-embedded"   // the viewer takes a font of its own (9.9)
	StandardFont       Class = "standard-font"       // one of the standard 14 fonts, not embedded
	Unreferenced       Class = "unreferenced-object" // objects that nothing leads to
	NotInspected       Class = "not-inspected"       // too large, or not readable
	ReaderDisagreement Class = "reader-disagreement" // two readers see different documents
	SecondReaderFailed Class = "second-reader-failed"
	Rebuilt            Class = "rebuilt" // it came broken; what people see was put in order
)

// A Policy says what becomes of a document with a finding of a class.
type Policy string

// The policies.
const (
	Refuse Policy = "refuse" // it is not signed
	Warn   Policy = "warn"   // those who decide are told
	Allow  Policy = "allow"  // nothing is said
)

// class is one row of the table of classes.
type class struct {
	Class
	policy Policy
	words  string // what it is, for a list: "scripts"
}

// table has all classes, the most dangerous first, with their defaults. Refused is
// what acts by itself or makes the document depend on other files; what ordinary
// contracts, forms and invoices have is told, and what nearly every document has is
// passed over.
var table = [...]class{
	{ReaderDisagreement, Refuse, "readers that disagree"},
	{JavaScript, Refuse, "scripts (JavaScript)"},
	{Launch, Refuse, "actions that start programs"},
	{SubmitForm, Refuse, "actions that send form data"},
	{ImportData, Refuse, "actions that import form data"},
	{ExternalStream, Refuse, "content of other files"},
	{RichMedia, Refuse, "video, sound or 3D"},
	{XFA, Warn, "a second form (XFA)"},
	{HiddenContent, Warn, "content that is not always shown"},
	{PreparedAppearance, Warn, "fields that look otherwise than their value"},
	{NeedAppearances, Warn, "fields drawn by the viewer"},
	{CalculatedField, Warn, "calculated fields"},
	{EmbeddedFile, Warn, "attached files"},
	{RemoteGoto, Warn, "links into other documents"},
	{NotInspected, Warn, "parts that could not be inspected"},
	{Rebuilt, Warn, "damage that was mended"},
	{SecondReaderFailed, Warn, "not readable for the second reader"},
	{FontNotEmbedded, Warn, "fonts that are not embedded"},
	{URI, Allow, "web links"},
	{StandardFont, Allow, "standard fonts"},
	{Unreferenced, Allow, "unused objects"},
}

// Classes returns all classes, the most dangerous first.
func Classes() []Class {
	var all []Class
	for _, row := range table {
		all = append(all, row.Class)
	}
	return all
}

// Words says in plain English what the class is, in the plural, for a list.
func (c Class) Words() string {
	for _, row := range table {
		if row.Class == c {
			return row.words
		}
	}
	return string(c)
}

// Policies give classes a policy. A class that is not there has its default.
type Policies map[Class]Policy

// Defaults returns the policies of a rule that says nothing.
func Defaults() Policies {
	p := Policies{}
	for _, row := range table {
		p[row.Class] = row.policy
	}
	return p
}

// Of returns the policy of a class. What is no class at all is refused.
func (p Policies) Of(c Class) Policy {
	if policy, ok := p[c]; ok {
		return policy
	}
	for _, row := range table {
		if row.Class == c {
			return row.policy
		}
	}
	return Refuse
}

// A Finding is something that was found, as often as it was found alike.
type Finding struct {
	Class Class  `json:"class"`
	What  string `json:"what"`            // one line of plain English
	Where string `json:"where,omitempty"` // "page 3", "field “Total”", or the document as a whole
	Times int    `json:"times"`           // 1, and one more for each like it elsewhere
}

// String returns the finding as one line.
func (f Finding) String() string {
	s := f.What
	if f.Where != "" {
		s += " (" + f.Where + ")"
	}
	return s
}

// An Attached file is one that the document carries within it.
type Attached struct {
	Name   string `json:"name"` // safe to print
	Size   int64  `json:"size"` // in bytes
	SHA256 string `json:"sha256"`
}

// A Reading is what two readers of one document must agree on.
type Reading struct {
	Catalog uint32  `json:"catalog"` // object number
	Pages   int     `json:"pages"`   // leaves of the page tree
	Fields  []Field `json:"fields,omitempty"`
}

// A Field is a node of the field tree that has a name (12.7.4.2): fully qualified, in
// the bytes of the document, and its type, /FT, as far as it has or inherits one.
type Field struct {
	Name []byte `json:"name"`
	Type string `json:"type,omitempty"`
}

// A Report is the inventory of one document.
type Report struct {
	Reading  Reading
	Findings []Finding     // at most maxOfClass of a class, those of a class together
	Counts   map[Class]int // how many there are of each class
	Attached []Attached    // at most maxAttached
}

// Bounds of a report, so that one document cannot fill a letter or a database.
const (
	maxOfClass  = 6
	maxAttached = 20
)

// Add adds findings, those of a later look for example.
func (r *Report) Add(found ...Finding) {
	for _, f := range found {
		f.Times = max(f.Times, 1)
		r.add(f)
	}
}

func (r *Report) add(f Finding) {
	if r.Counts == nil {
		r.Counts = map[Class]int{}
	}
	r.Counts[f.Class] += f.Times
	last, n := 0, 0
	for i := range r.Findings {
		g := &r.Findings[i]
		if g.Class != f.Class {
			continue
		}
		if g.What == f.What {
			g.Times += f.Times
			return
		}
		last, n = i+1, n+1
	}
	switch {
	case n >= maxOfClass:
	case n == 0:
		r.Findings = append(r.Findings, f)
	default:
		r.Findings = append(r.Findings[:last], append([]Finding{f}, r.Findings[last:]...)...)
	}
}

// Under returns the findings whose class has a policy.
func (r *Report) Under(p Policies, want Policy) []Finding {
	var out []Finding
	for _, row := range table {
		for _, f := range r.Findings {
			if f.Class == row.Class && p.Of(f.Class) == want {
				out = append(out, f)
			}
		}
	}
	return out
}

// clean makes a text out of a document safe to print on one line, in quotation marks.
func clean(s string) string { return "“" + safe(s) + "”" }

// safe takes out what is not safe to print on one line, and shortens.
func safe(s string) string {
	const most = 60
	var out []rune
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r) || strings.ContainsRune("“”\"", r):
			continue // control, bidirectional and invisible characters
		}
		if r == ' ' && (len(out) == 0 || out[len(out)-1] == ' ') {
			continue
		}
		if len(out) == most {
			out = append(out[:most-1], '…')
			break
		}
		out = append(out, r)
	}
	return strings.TrimRight(string(out), " ")
}
