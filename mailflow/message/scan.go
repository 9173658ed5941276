package message

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxBoundary is more than a boundary line may have (RFC 2046, 5.1.1: 70
// characters and dashes).
const maxBoundary = 300

// A line of the raw mail. Text is its beginning, at most maxBoundary bytes, and is
// valid until the next call.
type line struct {
	start, end int64 // end is behind the line break
	eol        int64 // bytes of the line break: 0 at the end of the mail, 1 or 2
	text       []byte
}

func (l line) blank() bool { return l.end-l.start == l.eol }

// A scanner reads a mail line by line, lines of any length in bounded memory.
type scanner struct {
	r   *bufio.Reader
	off int64
	err error // of the source, not io.EOF
	buf [maxBoundary]byte
}

func newScanner(r io.ReaderAt, size int64) *scanner {
	return &scanner{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10)}
}

// next returns the next line, or false at the end or after an error.
func (s *scanner) next() (line, bool) {
	l := line{start: s.off}
	n := 0
	var before byte // the byte before the last one, over chunks
	for {
		chunk, err := s.r.ReadSlice('\n')
		s.off += int64(len(chunk))
		n += copy(s.buf[n:], chunk)
		if k := len(chunk); k > 0 && chunk[k-1] == '\n' {
			l.eol = 1
			if k > 1 {
				before = chunk[k-2]
			}
			if before == '\r' {
				l.eol = 2
			}
		} else if k > 0 {
			before = chunk[k-1]
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			s.err = fmt.Errorf("reading the mail at byte %d: %w", s.off, err)
			return line{}, false
		}
		break
	}
	l.end = s.off
	l.text = bytes.TrimRight(s.buf[:n], "\r\n")
	return l, l.end > l.start
}
