package message

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// labels are the character sets that the indexes of x/text lack or map to
// something smaller than what mails contain: senders write gb2312 over four-byte
// characters.
var labels = map[string]encoding.Encoding{
	"gb2312":         simplifiedchinese.GB18030,
	"gbk":            simplifiedchinese.GB18030,
	"gb_2312-80":     simplifiedchinese.GB18030,
	"cp936":          simplifiedchinese.GB18030,
	"x-gbk":          simplifiedchinese.GB18030,
	"hz-gb-2312":     simplifiedchinese.HZGB2312,
	"cp932":          japanese.ShiftJIS,
	"ms932":          japanese.ShiftJIS,
	"cp950":          traditionalchinese.Big5,
	"cp949":          korean.EUCKR,
	"ms949":          korean.EUCKR,
	"cp50220":        japanese.ISO2022JP,
	"cp50221":        japanese.ISO2022JP,
	"iso-2022-jp-ms": japanese.ISO2022JP,
	"iso-2022-jp-1":  japanese.ISO2022JP,
	"iso-2022-jp-2":  japanese.ISO2022JP,
	"cp-850":         charmap.CodePage850,
	"cp850":          charmap.CodePage850,
}

// findCharset returns the decoder of a character set's label, or nil. UTF-7 is
// left out on purpose: it can hide text from whoever looks at the mail.
func findCharset(label string) encoding.Encoding {
	if e, ok := labels[label]; ok {
		return e
	}
	if e, err := htmlindex.Get(label); err == nil && e != encoding.Replacement {
		return e
	}
	if e, err := ianaindex.MIME.Encoding(label); err == nil && e != nil {
		return e
	}
	return nil
}

// toUTF8 decodes text of a labelled character set and reports whether that was a
// guess. The label can be a lie: valid UTF-8 with at least one character of
// several bytes is UTF-8. A text whose label is unknown is UTF-8, else
// windows-1252.
func toUTF8(label string, b []byte) (text string, guessed bool) {
	label = strings.ToLower(strings.Trim(label, " \t\"'"))
	wide := strings.HasPrefix(label, "utf-16") || strings.HasPrefix(label, "utf-32") || strings.HasPrefix(label, "ucs-2")
	ascii := isASCII(b)
	if !wide && !ascii && utf8.Valid(b) {
		return string(b), false
	}
	switch label {
	case "", "us-ascii", "ascii", "utf-8", "utf8", "utf8mb4", "utf-8mb4", "ansi_x3.4-1968", "unicode-1-1-utf-8":
		if ascii {
			return string(b), false
		}
		return decode(charmap.Windows1252, b), true
	}
	if e := findCharset(label); e != nil {
		text = decode(e, b)
		return text, strings.ContainsRune(text, utf8.RuneError)
	}
	if ascii {
		return string(b), true
	}
	return decode(charmap.Windows1252, b), true
}

// decode replaces what is not valid by U+FFFD.
func decode(e encoding.Encoding, b []byte) string {
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\ufffd")
	}
	return strings.ToValidUTF8(string(out), "\ufffd")
}

// validUTF8 gives raw header text, which is ASCII or UTF-8 (RFC 6532) or of a
// client that knows neither.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return decode(charmap.Windows1252, []byte(s))
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
