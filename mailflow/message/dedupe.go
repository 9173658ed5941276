package message

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// DedupeKey names a mail however often it is delivered or fetched, in hex:
//
//	SHA-256(Message-ID ‖ From ‖ SHA-256(body) ‖ mailbox)
//
// each part preceded by its length. Without a Message-ID the Date stands in its
// place. The body is all behind the header, with line breaks made CRLF and those
// at its end left out, as mail servers change both; Received fields differ from
// delivery to delivery and do not count. The error is one of reading the mail.
func (m *Message) DedupeKey(mailbox string) (string, error) {
	body := sha256.New()
	if err := canonical(body, m.Raw(m.BodyStart, m.Size)); err != nil {
		return "", fmt.Errorf("reading the body of the mail: %w", err)
	}
	id := "id:" + m.MessageID
	if m.MessageID == "" {
		id = "date:" + m.Get("Date")
	}
	var from []string
	for _, a := range m.From {
		from = append(from, strings.ToLower(a.Addr))
	}
	h := sha256.New()
	for _, part := range []string{id, strings.Join(from, ","), string(body.Sum(nil)), mailbox} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// canonical copies r with every line break as CRLF and without those at the end.
func canonical(w io.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	breaks := 0 // not yet written
	for {
		chunk, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		text := strings.TrimSuffix(string(chunk), "\n")
		ended := len(text) < len(chunk)
		if ended {
			text = strings.TrimSuffix(text, "\r")
		} else if strings.HasSuffix(text, "\r") && errors.Is(err, bufio.ErrBufferFull) {
			// The buffer's end may cut a CRLF.
			if next, _ := in.Peek(1); len(next) == 1 && next[0] == '\n' {
				text = strings.TrimSuffix(text, "\r")
			}
		}
		if text != "" {
			for ; breaks > 0; breaks-- {
				if _, err := io.WriteString(w, "\r\n"); err != nil {
					return err
				}
			}
			if _, err := io.WriteString(w, text); err != nil {
				return err
			}
		}
		if ended {
			breaks++
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
}
