package mailflow

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is the upper bound of a common name (RFC 5280, appendix A).
const maxName = 64

// CheckName reports whether a name can go into a signer's certificate and be shown:
// at most 64 characters that print, a letter among them, no sign of an address. What
// passes here the signing CA accepts too.
func CheckName(name string) error {
	switch {
	case !utf8.ValidString(name) || strings.ContainsRune(name, utf8.RuneError):
		return errors.New("the name cannot be read")
	case name != strings.TrimSpace(name) || name == "":
		return errors.New("the name is empty, or has blanks around it")
	case utf8.RuneCountInString(name) > maxName:
		return fmt.Errorf("the name has more than %d characters", maxName)
	case strings.ContainsAny(name, "<>@\""):
		return errors.New("the name has signs that no name has")
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("the name has invisible characters")
	case !strings.ContainsFunc(name, unicode.IsLetter):
		return errors.New("the name has no letters")
	}
	return nil
}
