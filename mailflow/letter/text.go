package letter

import (
	"bytes"
	"fmt"
	"strings"

	"countersign/mailflow"
	"countersign/mailflow/message"
	"countersign/mailflow/reply"
)

// KindHeader is the header field by which letters of ours are known; its value is
// the kind of letter.
const KindHeader = "X-Countersign-Letter"

// Text returns the letter's text as its reader sees it, without its secrets.
func (r Recipe) Text() (string, error) {
	m, err := r.read()
	if err != nil {
		return "", err
	}
	return m.Text, nil
}

// Quotable returns all words of the letter, plain and HTML, without its secrets: what
// an answer quotes of it is known by that; see [reply.SentText].
func (r Recipe) Quotable() (string, error) {
	m, err := r.read()
	if err != nil {
		return "", err
	}
	return reply.SentText(m.Text, m.HTML), nil
}

// read parses the letter, without its documents and with blanks for its secrets.
func (r Recipe) read() (*message.Message, error) {
	texts := Recipe{CodeDigits: r.CodeDigits}
	for _, p := range r.Pieces {
		if p.Blob == "" {
			texts.Pieces = append(texts.Pieces, p)
		}
	}
	var fill Fill
	if r.NeedsToken() {
		fill.Token = strings.Repeat("a", mailflow.TokenLen)
	}
	if r.NeedsCode() {
		fill.Code = mailflow.Code(strings.Repeat("0", r.CodeDigits))
	}
	var b bytes.Buffer
	if err := texts.Write(&b, fill, nil); err != nil {
		return nil, fmt.Errorf("the text of a letter: %w", err)
	}
	m, err := message.Parse(bytes.NewReader(b.Bytes()), int64(b.Len()), message.Limits{})
	if err != nil {
		return nil, fmt.Errorf("the text of a letter: %w", err)
	}
	return m, nil
}
