package inventory

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/signing/pdf"
)

// TestCorpus takes the inventory of every PDF in the folder that CORPUS names, and
// of our own, and prints how many files have what, under the default policies.
func TestCorpus(t *testing.T) {
	files := map[string][]byte{"sample.pdf": pdf.Sample("Title", []string{"a line"})}
	for _, c := range cases {
		files[c.name] = c.paper.bytes()
	}
	if dir := os.Getenv("CORPUS"); dir != "" {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.EqualFold(filepath.Ext(path), ".pdf") {
				files[strings.TrimPrefix(path, dir)], err = os.ReadFile(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	with := map[Class]int{}
	read, refused, told := 0, 0, 0
	for name, b := range files {
		f, err := pdf.Open(bytes.NewReader(b), int64(len(b)))
		var r Report
		if err == nil {
			r, err = Take(f)
		}
		if err != nil {
			if !errors.As(err, new(*pdf.RefusedError)) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		read++
		for c := range r.Counts {
			with[c]++
		}
		if no := r.Under(nil, Refuse); len(no) > 0 {
			refused++
		} else if len(r.Under(nil, Warn)) > 0 {
			told++
		}
		for _, found := range r.Findings {
			if r := []rune(found.String()); len(r) > 300 {
				t.Errorf("%s: a finding of %d characters", name, len(r))
			}
			if strings.HasSuffix(strings.ToLower(name), ".pdf") && Policies(nil).Of(found.Class) == Refuse {
				t.Logf("%s: %s: %s", name, found.Class, found)
			}
		}
	}
	for _, c := range Classes() {
		t.Logf("%-22s %-6s %4d files", c, Policies(nil).Of(c), with[c])
	}
	t.Logf("of %d files, %d could be read; of these %d would be refused for what is in them, %d told of", len(files), read, refused, told)
}
