//go:build judge

package judge

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/signing/demopki"
)

// program builds countersign.
var program = sync.OnceValues(func() (string, error) {
	path, err := filepath.Abs(filepath.FromSlash(setUp + "/countersign"))
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/countersign")
	cmd.Stderr = os.Stderr
	return path, cmd.Run()
})

// countersign runs the program.
func countersign(t *testing.T, args ...string) {
	t.Helper()
	path, err := program()
	check(t, err)
	cmd := exec.CommandContext(t.Context(), path, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("countersign %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// made is the exhibit of a file that the program made just now: with whatever signatures
// and document timestamps it has, all signatures at one level.
func made(t *testing.T, path, level string, roots ...*x509.Certificate) exhibit {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	all, err := parts(b)
	check(t, err)
	slices.SortFunc(all, func(x, y part) int { return cmp.Compare(x.ByteRange[2], y.ByteRange[2]) })
	e := exhibit{pdf: b, at: time.Now().Add(time.Minute), root: roots[0], others: roots[1:], trailer: level == "B-LT"}
	for _, p := range all {
		if p.SubFilter == documentTimestamp {
			e.timestamps++
		} else {
			e.signatures = append(e.signatures, wanted{field: p.Name, level: level})
		}
	}
	return e
}

// count fails the test unless a file has so many signatures, and a document timestamp if it
// is to last.
func (e exhibit) count(t *testing.T, signatures int) {
	t.Helper()
	lasting := e.signatures[0].level == "B-LTA"
	if len(e.signatures) != signatures || (e.timestamps > 0) != lasting {
		t.Errorf("%d signatures and %d document timestamps, want %d signatures at %s", len(e.signatures), e.timestamps, signatures, e.signatures[0].level)
	}
}

func certificateOf(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("%s has no certificate", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	check(t, err)
	return c
}

// TestProgramFlow: what people get from the daemon, and that file extended.
func TestProgramFlow(t *testing.T) {
	dir := t.TempDir()
	countersign(t, "demo", "--auto", "--dir", dir)
	pki, err := demopki.Load(filepath.Join(dir, "pki"))
	check(t, err)
	root := certificateOf(t, filepath.Join(dir, "pki", demopki.RootFile))
	listener, err := net.Listen("tcp", strings.TrimPrefix(pki.URL(), "http://")) // where the certificates say
	check(t, err)
	server := &http.Server{Handler: pki.Server(time.Now), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	files, err := filepath.Glob(filepath.Join(dir, "signed", "*", "*.pdf"))
	check(t, err)
	seen := map[string]bool{}
	kinds := map[int]int{} // files by the number of their signatures
	for _, path := range files {
		b, err := os.ReadFile(path)
		check(t, err)
		if seen[string(b)] {
			continue // the same file to somebody else
		}
		seen[string(b)] = true
		t.Run(filepath.Base(path), func(t *testing.T) {
			e := made(t, path, "B-LTA", root)
			kinds[len(e.signatures)]++
			judged(t, e)
			longer := filepath.Join(dir, "longer.pdf")
			countersign(t, "extend", "--tsa", pki.URL()+"/tsa", "--allow-private", "127.0.0.1", "--trust", filepath.Join(dir, "pki", demopki.RootFile), path, longer)
			after := made(t, longer, "B-LTA", root)
			if after.timestamps != e.timestamps+1 {
				t.Errorf("%d document timestamps became %d", e.timestamps, after.timestamps)
			}
			judged(t, after)
		})
	}
	if len(kinds) != 2 || kinds[1] != 1 || kinds[3] != 1 {
		t.Errorf("signed files by number of signatures: %v, want a notice with one and a contract with three", kinds)
	}
}

// A run of "countersign sign --demo".
type demoRun struct {
	sample     string
	args       []string
	signatures int
}

var (
	people   = []string{"--signer", "Ann Archer <a@x.example>", "--signer", "Bo Müller <b@x.example>"}
	three    = []string{"--rect", "60,60,220,60", "--rect", "60,140,220,60", "--rect", "60,220,220,60"}
	demoRuns = []demoRun{
		{"table", append([]string{"--certify"}, people...), 3},
		{"form", append([]string{"--certify", "--reason", "Agreed"}, people...), 3},
		{"object streams", append(append([]string{"--certify", "--page", "2"}, people...), three...), 3},
		{"rotated", append([]string{"--certify"}, append(people[:2:2], three[:4]...)...), 2},
		{"rotated", append([]string{"--name", "Zoë", "--location", "Łódź"}, three[:2]...), 1},
		{"AES-256, object streams", append(append([]string{"--certify"}, people...), three...), 3},
		{"RC4-40", append([]string{"--certify"}, three[:2]...), 1},
		{"hybrid", []string{"--certify=3"}, 1},
		{"linearized", []string{"--certify=1"}, 1},
		{"broken", append(append([]string{"--certify"}, people[:2]...), three[:2]...), 2},
		{"PDF 2.0", append(append([]string{}, people...), three...), 3},
	}
)

// broken points startxref elsewhere.
func broken(t testing.TB, base []byte) []byte {
	t.Helper()
	i := bytes.LastIndex(base, []byte("startxref\n"))
	if i < 0 {
		t.Fatal("the sample has no startxref")
	}
	return append(bytes.Clone(base[:i]), "startxref\n17\n%%EOF\n"...)
}

// TestProgramDemo: files signed by "sign --demo" on one authority's time, and extended by it.
func TestProgramDemo(t *testing.T) {
	w := newWorld(t, time.Now, demopki.P256)
	inputs := map[string]sample{}
	for _, s := range samples(t) {
		inputs[s.name] = s
	}
	inputs["broken"] = sample{name: "broken", pdf: broken(t, inputs["table"].pdf)}
	for _, r := range demoRuns {
		t.Run(r.sample+" "+strings.Join(r.args, " "), func(t *testing.T) {
			dir := t.TempDir()
			at := func(name string) string { return filepath.Join(dir, name) }
			check(t, os.WriteFile(at("in.pdf"), inputs[r.sample].pdf, 0o600))
			args := append([]string{"sign", "--demo", "--root", at("root.pem"), "--tsa", w.tsa}, r.args...)
			if r.sample == "broken" {
				args = append(args, "--repair", at("rebuilt.pdf"))
			}
			countersign(t, append(args, at("in.pdf"), at("out.pdf"))...)
			root := certificateOf(t, at("root.pem"))
			e := made(t, at("out.pdf"), "B-LTA", root, w.root())
			e.lenient = inputs[r.sample].lenient
			e.count(t, r.signatures)
			judged(t, e)
			countersign(t, "extend", "--tsa", w.tsa, "--allow-private", "127.0.0.1", at("out.pdf"), at("longer.pdf"))
			e = made(t, at("longer.pdf"), "B-LTA", root, w.root())
			e.lenient = inputs[r.sample].lenient
			e.count(t, r.signatures)
			judged(t, e)
		})
	}
}

// TestProgramLevels: a key file at each level, and the file brought to B-LTA.
func TestProgramLevels(t *testing.T) {
	for _, kind := range []demopki.Algorithm{demopki.P256, demopki.RSA3072} {
		w := newWorld(t, time.Now, kind)
		dir := t.TempDir()
		check(t, w.pki.Write(dir))
		at := func(name string) string { return filepath.Join(dir, name) }
		check(t, os.WriteFile(at("in.pdf"), samples(t)[0].pdf, 0o600))
		for i, level := range levels {
			t.Run(string(kind)+", "+level, func(t *testing.T) {
				out, longer := at(level+".pdf"), at(level+"-longer.pdf")
				args := []string{"sign", "--key", "file:" + at(demopki.SealFile), "--level", level, "--allow-private", "127.0.0.1"}
				if level != "B-B" {
					args = append(args, "--tsa", w.tsa)
				}
				if i%2 == 1 {
					args = append(args, "--certify", "--rect", "60,60,200,60")
				}
				kindOf := keyKind{kind, false}
				if kind == demopki.RSA3072 {
					args, kindOf.pss = append(args, "--pss"), true
				}
				countersign(t, append(args, at("in.pdf"), out)...)
				e := made(t, out, level, w.root())
				e.count(t, 1)
				if level == "B-B" || level == "B-T" {
					var err error
					e.crls, err = w.pki.CRLs(time.Now())
					check(t, err)
				}
				e.gaps = gaps[kindOf]
				judged(t, e)
				countersign(t, "extend", "--tsa", w.tsa, "--allow-private", "127.0.0.1", "--trust", at(demopki.RootFile), out, longer)
				e = made(t, longer, "B-LTA", w.root())
				e.count(t, 1)
				e.signatures[0].unstamped = level == "B-B"
				e.gaps = gaps[kindOf]
				judged(t, e)
			})
		}
	}
}
