package message

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A walker builds the tree of parts in one pass over the mail. Its cost is that of
// reading every line once and comparing those that begin with "--" to the open
// boundaries, of which there are at most as many as the depth allows.
type walker struct {
	m          *Message
	lim        Limits
	in         *scanner
	headerLeft int64
	parts      int
	open       []string // the boundaries of the multiparts we are in
}

// A stop says what ended a part: a delimiter line of the multipart open[level], or
// the end of the mail (level -1).
type stop struct {
	level  int
	closed bool // "--boundary--"
	end    int64
}

func (w *walker) run() (*Part, error) {
	p, _, err := w.entity(0, "text/plain")
	if err == nil {
		err = w.in.err
	}
	if err != nil {
		return nil, err
	}
	if len(p.Fields) == 0 {
		return nil, ErrNoHeader
	}
	number(p, "")
	return p, nil
}

// number gives every part its IMAP-like path (RFC 9051, 6.4.5).
func number(p *Part, path string) {
	p.Path = path
	for i, c := range p.Children {
		n := strconv.Itoa(i + 1)
		if path != "" {
			n = path + "." + n
		}
		number(c, n)
	}
}

// entity reads one part: its header, and its body up to what ends it.
func (w *walker) entity(start int64, defaultType string) (*Part, stop, error) {
	w.parts++
	if w.parts > w.lim.Parts {
		return nil, stop{}, &LimitError{What: "parts", Limit: int64(w.lim.Parts)}
	}
	p := &Part{m: w.m, HeaderStart: start}
	s, ended, err := w.header(p)
	if err != nil {
		return nil, stop{}, err
	}
	p.describe(defaultType)
	if ended {
		return p, s, nil
	}
	if !strings.HasPrefix(p.ContentType, "multipart/") {
		s = w.skip(p.BodyStart)
		p.End = max(s.end, p.BodyStart)
		return p, s, w.in.err
	}
	s, err = w.multipart(p)
	p.End = max(s.end, p.BodyStart)
	return p, s, err
}

// header reads p's header block. If the part ended with it, it returns true.
func (w *walker) header(p *Part) (stop, bool, error) {
	end := p.HeaderStart
	for first := true; ; first = false {
		l, ok := w.in.next()
		if !ok {
			p.BodyStart, p.End = end, end
			return stop{level: -1, end: end}, true, w.fields(p, end)
		}
		if s, ok := w.delimiter(l); ok {
			w.m.defect("a part has no body")
			p.BodyStart, p.End = end, end
			return s, true, w.fields(p, end)
		}
		if l.blank() {
			p.BodyStart = l.end
			return stop{}, false, w.fields(p, end)
		}
		if first && len(w.open) > 0 && !fieldLine(l.text) {
			// No header and no empty line: what stands there is the body.
			w.m.defect("a part begins without the empty line that its missing header needs")
			p.BodyStart = l.start
			return stop{}, false, nil
		}
		end = l.end
		if end-p.HeaderStart > w.headerLeft {
			return stop{}, false, &LimitError{What: "header", Limit: w.lim.Header}
		}
	}
}

// fields parses the header block that ends at end.
func (w *walker) fields(p *Part, end int64) error {
	if w.in.err != nil {
		return w.in.err
	}
	w.headerLeft -= end - p.HeaderStart
	block := make([]byte, end-p.HeaderStart)
	if _, err := w.m.src.ReadAt(block, p.HeaderStart); err != nil && err != io.EOF {
		return fmt.Errorf("reading a header of the mail at byte %d: %w", p.HeaderStart, err)
	}
	var err error
	p.Fields, err = parseFields(w.m, block, p.HeaderStart)
	return err
}

// multipart reads the parts between p's delimiters (RFC 2046, 5.1.1).
func (w *walker) multipart(p *Part) (stop, error) {
	boundary := p.Params["boundary"]
	if boundary == "" || len(boundary) > maxBoundary-4 {
		w.m.defect("a multipart has no usable boundary: its parts cannot be told apart")
		return w.skip(p.BodyStart), w.in.err
	}
	if len(w.open) >= w.lim.Depth {
		return stop{}, &LimitError{What: "depth", Limit: int64(w.lim.Depth)}
	}
	w.open = append(w.open, boundary)
	defer func() { w.open = w.open[:len(w.open)-1] }()
	level := len(w.open) - 1

	defaultType := "text/plain"
	if p.ContentType == "multipart/digest" {
		defaultType = "message/rfc822"
	}
	s := w.skip(p.BodyStart) // the preamble
	for s.level == level && !s.closed {
		c, next, err := w.entity(w.in.off, defaultType)
		if err != nil {
			return stop{}, err
		}
		p.Children = append(p.Children, c)
		s = next
	}
	if s.level == level {
		w.open[level] = "\n" // no line has it: a second closing line means nothing
		s = w.skip(w.in.off) // the epilogue
	} else {
		w.m.defect("a multipart has no closing boundary: the mail may be cut off")
	}
	if len(p.Children) == 0 {
		w.m.defect("a multipart has no parts")
	}
	return s, w.in.err
}

// skip reads on to the next delimiter line of any open multipart. The line break
// before a delimiter belongs to it.
func (w *walker) skip(start int64) stop {
	end := start
	eol := int64(0)
	for {
		l, ok := w.in.next()
		if !ok {
			return stop{level: -1, end: end}
		}
		if s, ok := w.delimiter(l); ok {
			s.end = max(l.start-eol, start)
			return s
		}
		end, eol = l.end, l.eol
	}
}

// delimiter tells whether a line is a delimiter of an open multipart; the innermost
// counts if two have the same boundary.
func (w *walker) delimiter(l line) (stop, bool) {
	if len(w.open) == 0 || l.end-l.start >= maxBoundary {
		return stop{}, false
	}
	rest, ok := bytes.CutPrefix(l.text, []byte("--"))
	if !ok {
		return stop{}, false
	}
	rest = bytes.TrimRight(rest, " \t")
	for i := len(w.open) - 1; i >= 0; i-- {
		tail, ok := bytes.CutPrefix(rest, []byte(w.open[i]))
		if ok && (len(tail) == 0 || string(tail) == "--") {
			return stop{level: i, closed: len(tail) > 0, end: l.start}, true
		}
	}
	return stop{}, false
}
