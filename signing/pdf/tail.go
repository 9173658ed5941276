package pdf

import "bytes"

// tailBytes is how much of the end is searched for the last startxref; up to
// maxPadding of white space may follow.
const (
	tailBytes  = 2048
	maxPadding = 1 << 20
)

const (
	space   = "\x00\t\n\f\r "
	padding = space + "\x1a"
)

// readTail reads "startxref N %%EOF" (7.5.5). What follows may be white space, also
// the ^Z of old systems, and comments; an end mark once more is a comment, too.
func (f *File) readTail() (int64, error) {
	var b []byte
	for end := f.size; len(b) == 0 && end > max(0, f.size-maxPadding); end -= tailBytes {
		from := max(0, end-tailBytes)
		window, _, err := f.window(from, int(end-from))
		if err != nil {
			return 0, err
		}
		last := len(bytes.TrimRight(window, padding))
		if b = window[:last]; from > 0 && last > 0 && last < tailBytes/2 {
			end = from + int64(last)
			from = max(0, end-tailBytes)
			if b, _, err = f.window(from, int(end-from)); err != nil {
				return 0, err
			}
		}
	}
	at := bytes.LastIndex(b, []byte("startxref"))
	if at < 0 {
		return 0, broken("its end is missing (no startxref and %%%%EOF); it may have been cut off on its way")
	}
	return f.readEnd(b[at+len("startxref"):])
}

// readEnd reads what stands behind the last startxref.
func (f *File) readEnd(b []byte) (int64, error) {
	b = bytes.TrimLeft(b, space)
	rest := bytes.TrimLeft(b, "0123456789")
	start, ok := parseUint(b[:len(b)-len(rest)], 1<<62)
	if !ok {
		return 0, broken("its last startxref names no place in the file")
	}
	mark, found := bytes.CutPrefix(bytes.TrimLeft(rest, space), []byte("%%EOF"))
	if found && onlyComments(mark) {
		return start, nil
	}
	if !found && damagedMark(bytes.TrimSpace(rest), b[:len(b)-len(rest)]) {
		f.irregular = "its end mark (%%EOF) is damaged"
		return start, nil
	}
	if bytes.Contains(rest, []byte("%%EOF")) {
		return 0, refuse(ReasonJunk, "something else stands after its end mark")
	}
	return 0, broken("its end is missing (no %%%%EOF); it may have been cut off on its way")
}

func onlyComments(b []byte) bool {
	for {
		b = bytes.TrimLeft(b, padding)
		if len(b) == 0 {
			return true
		}
		if b[0] != '%' {
			return false
		}
		b = b[max(0, bytes.IndexAny(b, "\r\n")):]
		if b[0] == '%' { // no end of line
			return true
		}
	}
}

// damagedMark reports whether b is nothing but a misspelt or missing end mark, after the
// number of startxref once more or not. Common readers look for startxref only, so
// they agree on such a file, and our increment gives it a sound end.
func damagedMark(b, number []byte) bool {
	const long = 8
	if again, ok := bytes.CutPrefix(b, number); ok {
		b = bytes.TrimSpace(again)
	}
	return len(b) == 0 || len(b) <= long && bytes.HasSuffix(b, []byte("EOF")) && !bytes.ContainsAny(b, space)
}

// endsRevision reads the last lines of a revision and returns the offset there.
func endsRevision(b []byte) (int64, bool) {
	b, ok := bytes.CutSuffix(bytes.TrimRight(b, space), []byte("%%EOF"))
	if !ok {
		return 0, false
	}
	b = bytes.TrimRight(b, space)
	digits := b[len(bytes.TrimRight(b, "0123456789")):]
	n, ok := parseUint(digits, 1<<62)
	b = bytes.TrimRight(b[:len(b)-len(digits)], space)
	return n, ok && bytes.HasSuffix(b, []byte("startxref"))
}
