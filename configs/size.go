package configs

import (
	"fmt"
	"strconv"
	"strings"
)

// A Size is a number of bytes, written 10MB, 500KB, 1GB (powers of ten) or plain.
type Size int64

var units = []struct {
	name  string
	bytes int64
}{{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}, {"", 1}}

// UnmarshalText reads a size; it is between 1 byte and 100 GB.
func (s *Size) UnmarshalText(b []byte) error {
	text := strings.ToUpper(strings.ReplaceAll(string(b), " ", ""))
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			break
		}
		if n < 1 || n > 100e9/u.bytes {
			return fmt.Errorf("%q is out of range; use at least 1 byte and at most 100GB", b)
		}
		*s = Size(n * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size; write for example 10MB", b)
}
