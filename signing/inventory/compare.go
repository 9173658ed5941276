package inventory

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
)

// ErrNoReading says that the second reader could not read a document, died of it, or
// exceeded its limits. It says nothing against the document.
var ErrNoReading = errors.New("the second reader gives no reading")

// Compare adds what the two readers disagree on, or that the second one has nothing to
// say ([ErrNoReading]). Other errors of the second reading come back.
func (r *Report) Compare(second Reading, err error) error {
	switch {
	case errors.Is(err, ErrNoReading):
		r.Add(Finding{Class: SecondReaderFailed, What: "a second reader cannot read it, or it is too large for one"})
		return nil
	case err != nil:
		return err
	}
	r.Add(Compare(r.Reading, second)...)
	return nil
}

// Compare holds our reading of a document against a second reader's, and returns
// what they disagree on.
func Compare(own, second Reading) []Finding {
	var out []Finding
	say := func(what string) {
		out = append(out, Finding{Class: ReaderDisagreement, What: what, Times: 1})
	}
	if own.Catalog != second.Catalog {
		say("two readers take different objects for its beginning")
	}
	if own.Pages != second.Pages {
		say("two readers find different numbers of pages in it")
	}
	if !slices.EqualFunc(sorted(own.Fields), sorted(second.Fields), equal) {
		say("two readers find different form fields in it")
	}
	return out
}

func equal(a, b Field) bool { return a.Type == b.Type && bytes.Equal(a.Name, b.Name) }

func sorted(fields []Field) []Field {
	out := slices.Clone(fields)
	slices.SortFunc(out, func(a, b Field) int {
		return cmp.Or(bytes.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type))
	})
	return out
}
