package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// A filter decodes a transfer encoding piece by piece: fill appends at least one
// decoded byte to its argument, or returns an error.
type filter struct {
	fill func([]byte) ([]byte, error)
	buf  []byte
	out  []byte // what of buf is not read yet
	err  error
}

// Read implements io.Reader.
func (f *filter) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(f.out) == 0 {
		if f.err != nil {
			return 0, f.err
		}
		f.buf, f.err = f.fill(f.buf[:0])
		f.out = f.buf
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

// base64Value is the value of each character of base64 (RFC 2045, 6.8), 64 for the
// padding, or 255 for what is none.
var base64Value = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") {
		t[c] = byte(i)
	}
	return t
}()

// newBase64 decodes base64, skips what is none, and goes on behind padding, as
// there are mails of several pieces put together.
func newBase64(r io.Reader) io.Reader {
	in := make([]byte, 4096)
	var bits uint32
	n := 0 // characters in bits
	flush := func(out []byte) []byte {
		switch n {
		case 2:
			out = append(out, byte(bits>>4))
		case 3:
			out = append(out, byte(bits>>10), byte(bits>>2))
		}
		bits, n = 0, 0
		return out
	}
	return &filter{fill: func(out []byte) ([]byte, error) {
		k, err := r.Read(in)
		for _, c := range in[:k] {
			v := base64Value[c]
			if v == 64 {
				out = flush(out)
			}
			if v >= 64 {
				continue
			}
			bits = bits<<6 | uint32(v)
			if n++; n == 4 {
				out = append(out, byte(bits>>16), byte(bits>>8), byte(bits))
				bits, n = 0, 0
			}
		}
		if err != nil {
			out = flush(out)
		}
		return out, err
	}}
}

// newQuotedPrintable decodes quoted-printable (RFC 2045, 6.7). "=" before anything
// but two hex digits or a line break stays as it is.
func newQuotedPrintable(r io.Reader) io.Reader {
	in := bufio.NewReaderSize(r, 4096)
	var line []byte
	return &filter{fill: func(out []byte) ([]byte, error) {
		chunk, err := in.ReadSlice('\n')
		line = append(line, chunk...)
		if errors.Is(err, bufio.ErrBufferFull) {
			// Keep an escape together that the buffer's end cuts.
			n := len(line)
			if i := bytes.LastIndexByte(line, '='); i >= n-2 {
				n = i
			}
			out = unquote(out, line[:n])
			line = append(line[:0], line[n:]...)
			return out, nil
		}
		body := bytes.TrimRight(line, " \t\r\n")
		eol := line[len(bytes.TrimRight(line, "\r\n")):]
		if soft, ok := bytes.CutSuffix(body, []byte("=")); ok {
			out = unquote(out, soft)
		} else {
			out = append(unquote(out, body), eol...)
		}
		line = line[:0]
		return out, err
	}}
}

func unquote(out, in []byte) []byte {
	for i := 0; i < len(in); i++ {
		if in[i] == '=' && i+2 < len(in) && unhex(in[i+1]) >= 0 && unhex(in[i+2]) >= 0 {
			out = append(out, byte(unhex(in[i+1])<<4|unhex(in[i+2])))
			i += 2
			continue
		}
		out = append(out, in[i])
	}
	return out
}

// newUU decodes uuencode (POSIX, uuencode): lines between "begin" and "end".
func newUU(r io.Reader) io.Reader {
	in := bufio.NewReaderSize(r, 4096)
	inside := false
	return &filter{fill: func(out []byte) ([]byte, error) {
		text, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return out, nil // no such line is uuencode
		}
		text = bytes.TrimRight(text, "\r\n")
		switch {
		case bytes.HasPrefix(text, []byte("begin ")):
			inside = true
		case bytes.Equal(text, []byte("end")):
			inside = false
		case inside && len(text) > 0:
			out = append(out, uuLine(text)...)
		}
		return out, err
	}}
}

func uuLine(text []byte) []byte {
	n := int(text[0]-' ') & 63
	var out []byte
	for i := 1; i+3 < len(text); i += 4 {
		var bits uint32
		for _, c := range text[i : i+4] {
			bits = bits<<6 | uint32(c-' ')&63
		}
		out = append(out, byte(bits>>16), byte(bits>>8), byte(bits))
	}
	return out[:min(n, len(out))]
}
