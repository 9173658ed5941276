package signing_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"countersign/signing/pdf"
)

// corpus returns the samples and the PDFs in the folder that CORPUS names, if it is set.
func corpus(t testing.TB) (files []string) {
	own := t.TempDir()
	for name, b := range samples(t) {
		path := filepath.Join(own, name+".pdf")
		check(t, os.WriteFile(path, b, 0o600))
		files = append(files, path)
	}
	dir := os.Getenv("CORPUS")
	if dir == "" {
		return files
	}
	before := len(files)
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.EqualFold(filepath.Ext(path), ".pdf") {
			files = append(files, path)
		}
		return err
	}))
	if len(files) == before {
		t.Fatalf("there is no PDF in %s, which CORPUS names", dir)
	}
	return files
}

// A tally counts what became of the files of a corpus.
type tally struct {
	sync.Mutex
	files, signed, bad, crashed int
	rebuilt                     int // of those refused: rebuilt, and then signed
	clean, cleanSigned          int
	refused                     map[pdf.Reason]int
}

// fate is what became of one file.
type fate struct {
	refused *pdf.RefusedError
	rebuilt bool   // and what was made of it was signed
	bad     string // what the judges found
	crashed bool
	clean   bool // qpdf finds no fault, not even that it is encrypted, and no signature locks it
}

func (c *tally) add(t *testing.T, name string, f fate) {
	c.Lock()
	defer c.Unlock()
	c.files++
	switch {
	case f.crashed:
		c.crashed++
		t.Errorf("%s: %s", name, f.bad)
	case f.bad != "":
		c.bad++
		t.Errorf("%s: %s", name, f.bad)
	case f.refused != nil:
		if f.rebuilt {
			c.rebuilt++
		}
		c.refused[f.refused.Reason]++
		f.clean = f.clean && !slices.Contains([]pdf.Reason{pdf.ReasonLocked, pdf.ReasonEncrypted, pdf.ReasonPermission}, f.refused.Reason)
		if f.clean {
			t.Logf("clean but refused: %s: %v", name, f.refused)
		}
	default:
		c.signed++
	}
	if f.clean {
		c.clean++
		if f == (fate{clean: true}) {
			c.cleanSigned++
		}
	}
}

// String is the table that the test prints.
func (c *tally) String() string {
	var b strings.Builder
	refused := c.files - c.signed - c.bad - c.crashed
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range []struct {
		what string
		n    int
	}{
		{"files", c.files},
		{"signed", c.signed},
		{"refused", refused},
		{"signed but bad", c.bad},
		{"crashed", c.crashed},
		{"clean", c.clean},
		{"clean and signed", c.cleanSigned},
	} {
		fmt.Fprintf(w, "%s\t%d\t\n", row.what, row.n)
		if row.what == "refused" {
			for _, r := range slices.Sorted(maps.Keys(c.refused)) {
				fmt.Fprintf(w, "%s\t%d\t\n", r, c.refused[r])
			}
			fmt.Fprintf(w, "rebuilt and signed\t%d\t\n", c.rebuilt)
		}
	}
	w.Flush()
	fmt.Fprintf(&b, "of the clean files %.2f %% were signed; all signed files begin with what was sent", c.percent())
	return b.String()
}

func (c *tally) percent() float64 { return 100 * float64(c.cleanSigned) / float64(max(c.clean, 1)) }

// wantClean is how many of the clean files must be signed, in percent.
const wantClean = 99

// TestCorpus signs every file three times. Nothing may be signed and bad: what we
// cannot sign so that outside readers agree must be refused.
func TestCorpus(t *testing.T) {
	keys := newKeys(t, "p256", "p384", "rsa")
	files := corpus(t)
	own := len(samples(t))
	c := tally{refused: map[pdf.Reason]int{}}
	t.Run("files", func(t *testing.T) {
		workers := runtime.GOMAXPROCS(0)
		for w := range workers {
			t.Run(strconv.Itoa(w), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				for i := w; i < len(files); i += workers {
					f := signOne(t, trial{path: files[i], dir: dir, keys: keys, thorough: i < own || i%16 == 0})
					c.add(t, strings.TrimPrefix(files[i], os.Getenv("CORPUS")), f)
				}
			})
		}
	})
	t.Logf("\n%s", c.String())
	if c.percent() < wantClean {
		t.Errorf("of %d clean files only %d were signed, want %d %%", c.clean, c.cleanSigned, wantClean)
	}
}

// A trial is one file to be signed.
type trial struct {
	path     string
	dir      string // for the signed file
	keys     []*softKey
	thorough bool // OpenSSL judges as well
}

// signOne signs a file and asks the judges.
func signOne(t *testing.T, tr trial) (f fate) {
	base, err := os.ReadFile(tr.path)
	check(t, err)
	before, _ := qpdfFile(t, tr.path)
	f.clean = before == 0
	defer func() {
		if r := recover(); r != nil {
			f.crashed, f.bad = true, fmt.Sprintf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	file, err := pdf.Open(bytes.NewReader(base), int64(len(base)))
	if err == nil {
		_, err = file.SignatureFields()
	}
	certification := 2
	if err == nil && file.CheckSigning("", 2) != nil {
		certification = 0 // others have signed before
	}
	var out []byte
	if err == nil {
		out, err = signChain(t, base, tr.keys, certification)
	}
	switch {
	case errors.As(err, &f.refused):
		if pdf.Repairable(err) {
			f.rebuilt, f.bad = tr.rebuild(t, base)
		}
	case err != nil:
		f.bad = "neither signed nor refused: " + err.Error()
	default:
		f.bad = tr.judge(t, base, out, before)
	}
	return f
}

// rebuild signs what can be made of a broken file, and asks the judges about that.
func (tr trial) rebuild(t *testing.T, broken []byte) (signed bool, bad string) {
	var rebuilt bytes.Buffer
	if _, err := pdf.Repair(&rebuilt, bytes.NewReader(broken), int64(len(broken))); err != nil {
		return false, ""
	}
	base := rebuilt.Bytes()
	tr.path = filepath.Join(tr.dir, "rebuilt.pdf")
	check(t, os.WriteFile(tr.path, base, 0o600))
	before, _ := qpdfFile(t, tr.path)
	out, err := signChain(t, base, tr.keys, 2)
	if errors.As(err, new(*pdf.RefusedError)) {
		return false, ""
	}
	if err != nil {
		return false, "rebuilt, and neither signed nor refused: " + err.Error()
	}
	return true, tr.judge(t, base, out, before)
}

// judge says what is wrong with a signed file; before is what qpdf said of the base.
func (tr trial) judge(t *testing.T, base, out []byte, before int) (bad string) {
	signed := filepath.Join(tr.dir, "signed.pdf")
	check(t, os.WriteFile(signed, out, 0o600))
	if !bytes.HasPrefix(out, base) {
		return "it does not begin with what was sent"
	}
	after, text := qpdfFile(t, signed)
	if after != before && (before == 0 || after == 2) {
		return "qpdf: " + text
	}
	if tr.thorough {
		if n, text := openssl(t, base, out, tr.keys[0].root()); n != len(wanted) || text != "" {
			return fmt.Sprintf("openssl: %d signatures: %s", n, text)
		}
	}
	valid, text := pdfsigFile(t, signed)
	if valid == len(wanted) && !bytes.Contains(base, []byte("ByteRange")) {
		return ""
	}
	validBefore, was := pdfsigFile(t, tr.path)
	if validBefore < 0 { // no verdict on the input is none on us
		t.Logf("pdfsig fails on the input: %.200s", was)
		return ""
	}
	if valid != validBefore+len(wanted) {
		return fmt.Sprintf("pdfsig: %d valid, %d before: %s", valid, validBefore, text)
	}
	for name, verdict := range verdicts(was) { // each earlier one holds as it did
		if now := verdicts(text)[name]; now != verdict {
			return fmt.Sprintf("pdfsig on field %q: %q, before %q", name, now, verdict)
		}
	}
	return ""
}

// verdicts returns what pdfsig says of each signature, by the name of its field.
func verdicts(text string) map[string]string {
	out := map[string]string{}
	field := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "- Signature Field Name:"); ok {
			field = strings.TrimSpace(name)
		}
		if v, ok := strings.CutPrefix(line, "- Signature Validation:"); ok {
			out[field] = strings.TrimSpace(v)
		}
	}
	return out
}
