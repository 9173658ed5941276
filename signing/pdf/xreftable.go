package pdf

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// readTable reads a classic table (7.5.4). The entries of a regular one are 20
// bytes each and stay in the file, to be found by counting. Where that fails, all
// entries are read and kept, and the file is marked as irregular.
func (f *File) readTable(s *section, off int64) error {
	s.kind = XRefTable
	off += int64(len("xref"))
	runs, highest := f.runs, f.maxObject
	err := f.readRuns(s, off, false)
	if re, ok := errors.AsType[*RefusedError](err); ok && re.Reason == ReasonIrregular {
		f.runs, f.maxObject, f.irregular = runs, highest, re.Detail
		s.runs, s.w = nil, looseRow
		err = f.readRuns(s, off, true)
	}
	return err
}

// readRuns reads the subsections and the trailer.
func (f *File) readRuns(s *section, off int64, loose bool) error {
	for {
		buf, eof, err := f.window(off, 128)
		if err != nil {
			return err
		}
		p := newParser(buf, eof)
		p.space()
		if bytes.HasPrefix(buf[p.pos:], []byte("trailer")) {
			return f.readTrailer(s, off+int64(p.pos+len("trailer")))
		}
		first, err1 := p.word()
		p.space()
		count, err2 := p.word()
		a, ok := parseUint(first, maxObjectNumber)
		n, ok2 := parseUint(count, maxObjectNumber)
		switch valid := err1 == nil && err2 == nil && ok && ok2; {
		case !valid && loose:
			return broken("its cross-reference table at offset %d is damaged", s.offset)
		case !valid:
			return refuse(ReasonIrregular, "its cross-reference table at offset %d does not consist of 20-byte entries", s.offset)
		}
		p.space()
		off += int64(p.pos)
		at := off
		if loose {
			at = int64(len(s.rows))
		}
		if err := f.addRun(s, a, n, at); err != nil {
			return err
		}
		if off, err = f.readEntries(s, off, n, loose); err != nil {
			return err
		}
	}
}

// readEntries passes the n entries of a subsection at off and returns the offset
// behind them. Of a regular table it looks at the first and the last.
func (f *File) readEntries(s *section, off, n int64, loose bool) (int64, error) {
	if loose {
		return f.looseEntries(s, off, n)
	}
	for i := int64(0); i < n; i += max(1, n-1) {
		if _, err := f.tableEntry(off + 20*i); err != nil {
			return 0, err
		}
	}
	return off + 20*n, nil
}

// looseRow is the form in which entries of an irregular table are kept: that of a
// cross-reference stream.
var looseRow = [3]int{1, 8, 2}

// looseEntries reads n entries whatever white space there is between their parts.
func (f *File) looseEntries(s *section, off, n int64) (int64, error) {
	var end int64
	rows := len(s.rows)
	const width = 1 + 8 + 2
	if n*width > maxXRefBytes-f.rowBytes {
		return 0, refuse(ReasonTooLarge, "cross-reference tables of more than %d MB", maxXRefBytes>>20)
	}
	err := f.parseAt(off, func(p *parser) error {
		s.rows = s.rows[:rows]
		for range n {
			at, err := p.unsigned(1 << 62)
			if err != nil {
				return err
			}
			gen, err := p.unsigned(99999)
			if err != nil {
				return err
			}
			p.space()
			kind, err := p.word()
			if err != nil {
				return err
			}
			used := string(kind) == "n" && gen <= 65535
			if !used && string(kind) != "f" {
				return broken("its cross-reference table has an entry of the kind %q", clip(kind))
			}
			s.rows = append(s.rows, 0)
			if used {
				s.rows[len(s.rows)-1] = 1
			}
			s.rows = binary.BigEndian.AppendUint64(s.rows, uint64(at))
			s.rows = binary.BigEndian.AppendUint16(s.rows, uint16(gen))
		}
		end = off + int64(p.pos)
		return nil
	})
	f.rowBytes += n * width
	return end, err
}

// unsigned reads white space and a number.
func (p *parser) unsigned(limit int64) (int64, error) {
	p.space()
	w, err := p.word()
	if err != nil {
		return 0, err
	}
	n, ok := parseUint(w, limit)
	if !ok {
		return 0, broken("its cross-reference table has %q where a number should be", clip(w))
	}
	return n, nil
}

func (f *File) readTrailer(s *section, off int64) error {
	err := f.parseAt(off, func(p *parser) (err error) {
		s.trailer, err = p.value(0)
		return err
	})
	if err != nil {
		return f.at(off, err)
	}
	if s.trailer.kind != Dict {
		return broken("the trailer at offset %d is %s", off, s.trailer.kind)
	}
	return f.noteSize(s.trailer)
}

// noteSize checks /Size, from which new object numbers are counted, too.
func (f *File) noteSize(trailer Value) error {
	n, ok := trailer.Get("Size").Int()
	if !ok || n < 1 || n > maxObjectNumber+1 {
		return broken("a trailer has no usable /Size")
	}
	f.maxObject = max(f.maxObject, uint32(n-1))
	return nil
}

// tableEntry reads one 20-byte entry (7.5.4).
func (f *File) tableEntry(at int64) (entry, error) {
	b, _, err := f.window(at, 20)
	if err != nil {
		return entry{}, err
	}
	if len(b) == 20 && b[10] == ' ' && b[16] == ' ' {
		off, ok := parseUint(b[:10], 1<<62)
		gen, ok2 := parseUint(b[11:16], 65535)
		eol := string(b[18:])
		switch ok = ok && ok2 && (eol == " \n" || eol == " \r" || eol == "\r\n"); {
		case ok && b[17] == 'n' && off > 0:
			return entry{inFile, off, gen}, nil
		case ok && (b[17] == 'f' || b[17] == 'n'): // nothing is where the header is
			return entry{kind: free, gen: gen}, nil
		}
	}
	return entry{}, refuse(ReasonIrregular, "the cross-reference entry at offset %d does not have the 20-byte form", at)
}
