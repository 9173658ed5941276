package message

import (
	"bytes"
	"net/mail"
	"strings"
	"time"
	"unicode"
)

// fieldName returns the field name at the beginning of a line (RFC 5322, 2.2:
// printable ASCII without a colon; 4.5 allows blanks before the colon), or "".
func fieldName(text []byte) string {
	name, _, ok := bytes.Cut(text, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 {
		return ""
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return ""
		}
	}
	return string(name)
}

func fieldLine(text []byte) bool { return fieldName(text) != "" }

// parseFields splits a header block, which stands at off in the mail, into its
// fields. Lines that are none are noted and skipped.
func parseFields(m *Message, block []byte, off int64) ([]Field, error) {
	var fs []Field
	bad := 0
	skipping := false // the last line was skipped, and its folds with it
	for start := 0; start < len(block); {
		end := len(block)
		if i := bytes.IndexByte(block[start:], '\n'); i >= 0 {
			end = start + i + 1
		}
		text := block[start:end]
		name := fieldName(text)
		switch {
		case text[0] == ' ' || text[0] == '\t':
			if len(fs) > 0 && !skipping {
				fs[len(fs)-1].Raw += string(text)
				fs[len(fs)-1].End = off + int64(end)
			} else {
				bad++
			}
		case name == "" || (off == 0 && start == 0 && bytes.HasPrefix(text, []byte("From "))):
			skipping = true
			if off != 0 || start != 0 || !bytes.HasPrefix(text, []byte("From ")) {
				bad++ // anything but the line that mbox files put on top
			}
		default:
			if len(fs) == maxFields {
				return nil, &LimitError{What: "fields", Limit: maxFields}
			}
			skipping = false
			_, raw, _ := bytes.Cut(text, []byte(":"))
			fs = append(fs, Field{Name: name, Raw: string(raw), Start: off + int64(start), End: off + int64(end)})
		}
		start = end
	}
	if bad > 0 && len(fs) > 0 {
		m.defect("%d lines in a header are no header fields", bad)
	}
	for i := range fs {
		fs[i].Value = decodeField(fs[i].Raw)
	}
	return fs, nil
}

// decodeField gives a field's value for people.
func decodeField(raw string) string {
	return clean(decodeWords(unfold(raw)))
}

// unfold removes the line breaks of a folded field (RFC 5322, 2.2.3).
func unfold(raw string) string {
	return strings.TrimSpace(strings.NewReplacer("\r\n", "", "\n", "").Replace(raw))
}

// clean makes control characters and line separators blanks, so that a decoded
// value can never break out of its line.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s))
}

// messageIDs returns the identifiers of a Message-ID, In-Reply-To or References
// field, without their angle brackets (RFC 5322, 3.6.4).
func messageIDs(value string) []string {
	var ids []string
	for len(ids) < 200 {
		i := strings.IndexByte(value, '<')
		if i < 0 {
			break
		}
		id, rest, ok := strings.Cut(value[i+1:], ">")
		if !ok {
			break
		}
		if id = strings.Join(strings.Fields(id), ""); id != "" && !strings.Contains(id, "<") {
			ids = append(ids, id)
		}
		value = rest
	}
	return ids
}

func parseDate(value string) (time.Time, error) { return mail.ParseDate(value) }
