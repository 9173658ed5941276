package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// core packages get bytes, time and randomness as arguments: they import neither
// net nor os, nor a shell, and read no clock.
var core = []string{
	"mailflow", "mailflow/message", "mailflow/sender", "mailflow/reply", "mailflow/rules", "mailflow/letter",
	"signing", "signing/pdf", "signing/cms", "signing/pades", "signing/timestamp", "signing/revocation", "signing/certpath", "signing/inventory", "signing/stamp",
	"store", "store/audit", "templates",
}

// shells own one outside library or one part of the operating system; they import
// no other shell.
var shells = []string{
	"configs",
	"mailflow/engine", "mailflow/inbox", "mailflow/outbox", "mailflow/web", "mailflow/demomail",
	"signing/evidence", "signing/inspect", "signing/keys", "signing/keys/file", "signing/keys/ca", "signing/demopki",
	"store/boltstore", "store/memstore", "store/blobs",
}

// support packages serve tests only and may import what they test.
var support = []string{"mailflow/realmail", "signing/judge", "signing/keys/keytest", "signing/bench", "store/storetest"}

// home says which packages may import an outside library.
var home = map[string][]string{
	"go.etcd.io/bbolt":                    {"store/boltstore"},
	"github.com/emersion/go-imap/v2":      {"mailflow/inbox", "mailflow/demomail"},
	"github.com/emersion/go-smtp":         {"mailflow/outbox", "mailflow/demomail"},
	"github.com/emersion/go-sasl":         {"mailflow/outbox", "mailflow/inbox", "mailflow/demomail"},
	"github.com/emersion/go-message":      {"mailflow/message"},
	"github.com/digitorus/pkcs7":          {"signing/cms"},
	"github.com/pdfcpu/pdfcpu":            {"signing/inspect"},
	"github.com/digitorus/timestamp":      {"signing/timestamp", "signing/demopki"},
	"github.com/goccy/go-yaml":            {"configs"},
	"github.com/alecthomas/kong":          {"cmd/countersign"},
	"github.com/rogpeppe/go-internal":     {"cmd/countersign"},
	"software.sslmate.com/src/go-pkcs12":  {"signing/keys/file", "signing/demopki"},
	"golang.org/x/mod":                    {"store/audit", "store/boltstore", "store/memstore"},
	"golang.org/x/net":                    {"mailflow/message", "mailflow/reply", "mailflow/sender", "mailflow/rules"},
	"golang.org/x/text":                   {"mailflow/message", "mailflow/reply", "mailflow/letter", "signing/keys/ca", "signing/stamp", "configs"},
	"golang.org/x/crypto":                 {"signing/cms", "signing/timestamp", "signing/revocation"},
	"golang.org/x/image":                  {"signing/stamp"},
	"golang.org/x/sys":                    {"store/blobs", "store/boltstore"},
	"golang.org/x/tools":                  {},
	"github.com/emersion/go-msgauth/dkim": {},
}

type source struct {
	pkg, file string
	test      bool
	ast       *ast.File
	fset      *token.FileSet
}

func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		all = append(all, source{
			pkg:  filepath.ToSlash(filepath.Dir(rel)),
			file: filepath.ToSlash(rel), test: strings.HasSuffix(path, "_test.go"), ast: f, fset: fset,
		})
		return nil
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("reading the sources: %d files, %v", len(all), err)
	}
	return all
}

func (s source) imports() []string {
	var paths []string
	for _, i := range s.ast.Imports {
		paths = append(paths, strings.Trim(i.Path.Value, `"`))
	}
	return paths
}

// TestLayers holds the import rules of docs/architecture.md.
func TestLayers(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		seen[s.pkg] = true
		for _, path := range s.imports() {
			if ours, ok := strings.CutPrefix(path, "countersign/"); ok {
				if !s.test {
					checkOurs(t, s, ours)
				}
				continue
			}
			checkOutside(t, s, path)
		}
		if !s.test && slices.Contains(core, s.pkg) {
			checkClock(t, s)
		}
	}
	for pkg := range seen {
		known := slices.Concat(core, shells, support, []string{"cmd/countersign"})
		if !slices.Contains(known, pkg) {
			t.Errorf("package %s is not in the table: is it core or a shell?", pkg)
		}
		if base := filepath.Base(pkg); base == "util" || base == "common" || base == "helpers" {
			t.Errorf("package %s: name it after what it does", pkg)
		}
	}
	for _, pkg := range slices.Concat(core, shells, support) {
		if !seen[pkg] {
			t.Errorf("package %s is in the table but not in the tree", pkg)
		}
	}
}

func checkOurs(t *testing.T, s source, path string) {
	t.Helper()
	shell := slices.Contains(shells, path)
	switch {
	case slices.Contains(support, path) && !slices.Contains(support, s.pkg):
		t.Errorf("%s imports %s, which is for tests", s.file, path)
	case s.pkg == "mailflow":
		t.Errorf("%s imports %s: package mailflow stands on the standard library alone", s.file, path)
	case slices.Contains(core, s.pkg) && shell:
		t.Errorf("%s: core imports the shell %s", s.file, path)
	case slices.Contains(shells, s.pkg) && shell && !strings.HasPrefix(s.pkg, path+"/"):
		t.Errorf("%s: a shell imports the shell %s", s.file, path)
	}
}

func checkOutside(t *testing.T, s source, path string) {
	t.Helper()
	if !strings.Contains(strings.Split(path, "/")[0], ".") { // standard library
		banned := path == "net" || path == "os" || strings.HasPrefix(path, "os/") ||
			strings.HasPrefix(path, "net/http") || path == "net/smtp" || path == "syscall"
		if banned && !s.test && slices.Contains(core, s.pkg) {
			t.Errorf("%s: core imports %s", s.file, path)
		}
		return
	}
	for lib, pkgs := range home {
		if path != lib && !strings.HasPrefix(path, lib+"/") {
			continue
		}
		if !slices.Contains(pkgs, s.pkg) {
			t.Errorf("%s imports %s, whose home is %v", s.file, path, pkgs)
		}
		return
	}
	t.Errorf("%s imports %s, which has no home yet", s.file, path)
}

// checkClock finds uses of the clock in core packages.
func checkClock(t *testing.T, s source) {
	t.Helper()
	ast.Inspect(s.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		id, ok := sel.X.(*ast.Ident)
		if ok && id.Name == "time" && slices.Contains([]string{"Now", "Sleep", "After", "Since", "Until", "NewTimer", "NewTicker", "Tick", "AfterFunc"}, sel.Sel.Name) {
			t.Errorf("%s: core reads the clock: time.%s", s.fset.Position(n.Pos()), sel.Sel.Name)
		}
		return true
	})
}
