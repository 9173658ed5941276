package letter

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"countersign/mailflow"
)

// A Recipe is a letter whose bytes are fixed, but for its secrets and documents:
// pieces in order, as JSON in the outbox. It holds neither token nor code, only the
// places where they go.
type Recipe struct {
	Pieces []Piece `json:"pieces"`
	// CodeDigits is the length of the code, 0 if the letter tells none.
	CodeDigits int `json:"code_digits,omitempty"`
}

// A Piece is either literal bytes with holes, or a blob that is written in base64,
// in lines of 76 characters (RFC 2045, 6.8).
type Piece struct {
	Bytes []byte        `json:"bytes,omitempty"`
	Holes []Hole        `json:"holes,omitempty"`
	Blob  mailflow.Blob `json:"blob,omitempty"`
	Size  int64         `json:"size,omitempty"` // of the blob, in bytes
}

// A HoleKind says which secret goes into a hole.
type HoleKind string

// The kinds of hole.
const (
	HoleToken HoleKind = "token"
	HoleCode  HoleKind = "code"
)

// A Hole is a place in a piece's bytes: characters From to From+Len of the secret
// go to Offset. One mention of a secret is several holes where a line is broken in
// its middle, or digits are grouped.
type Hole struct {
	Offset int      `json:"offset"`
	Kind   HoleKind `json:"kind"`
	From   int      `json:"from"`
	Len    int      `json:"len"`
}

// Fill is the secrets of one letter. It never reaches a log line or a stored value.
type Fill struct {
	Token string // 26 characters
	Code  mailflow.Code
}

// LogValue implements slog.LogValuer.
func (Fill) LogValue() slog.Value { return slog.StringValue("[secrets of a letter]") }

// String keeps the secrets out of formatted text.
func (Fill) String() string { return "[secrets of a letter]" }

// MarshalJSON keeps the secrets out of anything stored.
func (Fill) MarshalJSON() ([]byte, error) { return []byte(`"[secrets of a letter]"`), nil }

// NeedsToken reports whether the letter has a place for a token.
func (r Recipe) NeedsToken() bool { return r.has(HoleToken) }

// NeedsCode reports whether the letter has a place for a code.
func (r Recipe) NeedsCode() bool { return r.has(HoleCode) }

func (r Recipe) has(k HoleKind) bool {
	for _, p := range r.Pieces {
		for _, h := range p.Holes {
			if h.Kind == k {
				return true
			}
		}
	}
	return false
}

// Size is the number of bytes that Write writes.
func (r Recipe) Size() int64 {
	var n int64
	for _, p := range r.Pieces {
		n += int64(len(p.Bytes))
		if p.Blob != "" {
			n += base64Size(p.Size)
		}
	}
	return n
}

const lineBytes = 57 // 76 characters of base64

func base64Size(n int64) int64 {
	lines := (n + lineBytes - 1) / lineBytes
	return (n+2)/3*4 + 2*lines
}

// Write streams the final bytes of the letter. The same recipe, secrets and blobs
// give the same bytes each time. open gives the stored bytes of a blob; it is an
// error if they are more or fewer than the recipe says, as the letter was announced
// with its size.
func (r Recipe) Write(w io.Writer, fill Fill, open func(mailflow.Blob) (io.ReadCloser, error)) error {
	if err := r.check(fill); err != nil {
		return err
	}
	for _, p := range r.Pieces {
		if p.Blob != "" {
			if err := writeBlob(w, p, open); err != nil {
				return fmt.Errorf("document %s of the letter: %w", p.Blob, err)
			}
			continue
		}
		b, err := p.filled(fill)
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("writing the letter: %w", err)
		}
	}
	return nil
}

// check refuses secrets of a wrong length or with other characters than a secret
// has: they go into headers too.
func (r Recipe) check(f Fill) error {
	if r.NeedsToken() && (len(f.Token) != mailflow.TokenLen || strings.Trim(f.Token, "abcdefghijklmnopqrstuvwxyz234567") != "") {
		return errors.New("the letter needs a token of 26 base32 characters")
	}
	if r.NeedsCode() && (len(f.Code) != r.CodeDigits || strings.Trim(string(f.Code), "0123456789") != "") {
		return fmt.Errorf("the letter needs a code of %d digits", r.CodeDigits)
	}
	return nil
}

func (p Piece) filled(f Fill) ([]byte, error) {
	b := append([]byte(nil), p.Bytes...)
	for _, h := range p.Holes {
		secret := string(f.Code)
		if h.Kind == HoleToken {
			secret = f.Token
		}
		if h.From < 0 || h.Len < 0 || h.Offset < 0 || h.From > len(secret)-h.Len || h.Offset > len(b)-h.Len {
			return nil, errors.New("the stored recipe of the letter is damaged: a hole lies outside")
		}
		copy(b[h.Offset:h.Offset+h.Len], secret[h.From:])
	}
	return b, nil
}

func writeBlob(w io.Writer, p Piece, open func(mailflow.Blob) (io.ReadCloser, error)) error {
	f, err := open(p.Blob)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(io.LimitReader(f, p.Size+1), 64<<10)
	const lines = 128
	raw := make([]byte, lines*lineBytes)
	out := make([]byte, 0, lines*78)
	var total int64
	for {
		n, err := io.ReadFull(in, raw)
		total += int64(n)
		if total > p.Size {
			return fmt.Errorf("it is longer than the %d bytes it had", p.Size)
		}
		out = out[:0]
		for rest := raw[:n]; len(rest) > 0; {
			k := min(len(rest), lineBytes)
			out = base64.StdEncoding.AppendEncode(out, rest[:k])
			out = append(out, "\r\n"...)
			rest = rest[k:]
		}
		if _, werr := w.Write(out); werr != nil {
			return fmt.Errorf("writing: %w", werr)
		}
		switch {
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			if total != p.Size {
				return fmt.Errorf("it has %d bytes instead of %d", total, p.Size)
			}
			return nil
		case err != nil:
			return fmt.Errorf("reading: %w", err)
		}
	}
}
