package mailflow

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Finding is something that a document holds besides the pages that people see, in
// words for them. The classes and what each means are those of signing/inventory.
type Finding struct {
	Class string `json:"class"`
	What  string `json:"what"`
	Where string `json:"where,omitempty"` // "page 3", "field “Total”"; empty: the document
	Times int    `json:"times"`           // how often it was found alike
}

// An AttachedFile is a file that a document carries within it.
type AttachedFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // in bytes
	SHA256 Blob   `json:"sha256"`
}

// An Inventory is what was found in a document when it was prepared.
type Inventory struct {
	// Counts has the number of findings of each class, also of those allowed.
	Counts map[string]int `json:"counts,omitempty"`
	// Findings are those to be told, the worst first; Unlisted is how many more.
	Findings []Finding      `json:"findings,omitempty"`
	Unlisted int            `json:"unlisted,omitempty"`
	Attached []AttachedFile `json:"attached,omitempty"`
}

// maxHashes bounds the digests of attached files in one audit entry.
const maxHashes = 50

// audited writes the inventories of documents for the audit log: classes and counts,
// and the digests of attached files, but no text of a document.
func audited(docs []Document) []string {
	var found, hashes []string
	for i, d := range docs {
		for _, class := range slices.Sorted(maps.Keys(d.Inventory.Counts)) {
			found = append(found, fmt.Sprintf("%d/%s=%d", i+1, class, d.Inventory.Counts[class]))
		}
		for _, a := range d.Inventory.Attached {
			if len(hashes) < maxHashes {
				hashes = append(hashes, string(a.SHA256))
			}
		}
	}
	var pairs []string
	if len(found) > 0 {
		pairs = append(pairs, "found", strings.Join(found, " "))
	}
	if len(hashes) > 0 {
		pairs = append(pairs, "attached", strings.Join(hashes, " "))
	}
	return pairs
}

// refusedFor lists the classes of findings for which documents were refused.
func refusedFor(problems []Problem) string {
	var classes []string
	for _, p := range problems {
		if p.Kind == ProblemUnsafePDF && len(p.Args) > 2 {
			classes = append(classes, p.Args[2])
		}
	}
	return strings.Join(classes, " ")
}
