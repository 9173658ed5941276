package main

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
)

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestFormatsKeys compares the tables of docs/formats.md with the structs: every key,
// in order, with its type, and none besides.
func TestFormatsKeys(t *testing.T) {
	doc := readDoc(t, "formats.md")
	words := map[reflect.Type]string{
		reflect.TypeFor[mailflow.Summary](): "summary", reflect.TypeFor[mailflow.Details](): "details",
		reflect.TypeFor[mailflow.Problem](): "problem", reflect.TypeFor[mailflow.PartyStatus](): "party",
		reflect.TypeFor[mailflow.DocumentStatus](): "document", reflect.TypeFor[mailflow.Delivery](): "letter",
		reflect.TypeFor[mailflow.Finding](): "finding", reflect.TypeFor[mailflow.AttachedFile](): "attached",
		reflect.TypeFor[mailflow.Pending](): "pending", reflect.TypeFor[mailflow.AuditEntry](): "event",
	}
	for typ, name := range words {
		want := jsonKeys(typ, words)
		if got := documentedKeys(doc, strings.ToUpper(name[:1])+name[1:]); !slices.Equal(got, want) {
			t.Errorf("%s: formats.md has\n%q\nand the struct\n%q", name, got, want)
		}
	}
}

// documentedKeys reads the first two columns of the table below a heading.
func documentedKeys(doc, heading string) []string {
	_, section, _ := strings.Cut(doc, "\n### "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n#")
	var keys []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([a-z ?]+) \\|").FindAllStringSubmatch(section, -1) {
		keys = append(keys, m[1]+" "+m[2])
	}
	return keys
}

// jsonKeys lists a struct's own keys as the document writes them.
func jsonKeys(typ reflect.Type, words map[reflect.Type]string) []string {
	var keys []string
	for f := range typ.Fields() {
		if f.Anonymous { // "all keys of the summary"
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		key := name + " " + jsonType(f.Type, words)
		if options != "" {
			key += "?"
		}
		keys = append(keys, key)
	}
	return keys
}

func jsonType(typ reflect.Type, words map[reflect.Type]string) string {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return "time"
	case words[typ] != "":
		return words[typ]
	}
	switch typ.Kind() {
	case reflect.String:
		return "text"
	case reflect.Int, reflect.Int64:
		return "number"
	case reflect.Slice:
		return "list of " + jsonType(typ.Elem(), words)
	case reflect.Map:
		return "object"
	}
	return "undocumented " + typ.String()
}

// TestFormatsValues: every value that a key can have is documented, and every bucket
// of the database.
func TestFormatsValues(t *testing.T) {
	doc := readDoc(t, "formats.md")
	enums := []string{"State", "Role", "PartyState", "Level", "LetterKind", "DeliveryState", "Stage", "EffectKind", "ProblemKind"}
	found := map[string]int{}
	for _, s := range sources(t) {
		if s.pkg != "mailflow" || s.test {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 {
				return true
			}
			typ, _ := v.Type.(*ast.Ident)
			lit, _ := v.Values[0].(*ast.BasicLit)
			if typ == nil || lit == nil || !slices.Contains(enums, typ.Name) {
				return true
			}
			value, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			found[typ.Name]++
			if !strings.Contains(doc, "`"+value+"`") {
				t.Errorf("formats.md does not tell the %s %q", typ.Name, value)
			}
			return true
		})
	}
	if len(found) != len(enums) {
		t.Errorf("values found: %v", found)
	}
	code, err := os.ReadFile(filepath.Join("..", "..", "store", "boltstore", "boltstore.go"))
	if err != nil {
		t.Fatal(err)
	}
	buckets := regexp.MustCompile(`bucket\w+ += \[\]byte\("(\w+)"\)`).FindAllStringSubmatch(string(code), -1)
	if len(buckets) == 0 {
		t.Error("no buckets found")
	}
	for _, m := range buckets {
		if !strings.Contains(doc, "\n| `"+m[1]+"` |") {
			t.Errorf("formats.md does not tell the bucket %q", m[1])
		}
	}
	for _, file := range []string{databaseFile, blobsDir + "/", secretFile, socketFile} {
		if !strings.Contains(doc, "\n| `"+file) {
			t.Errorf("formats.md does not tell of %s", file)
		}
	}
}

// TestBadInputNamesTests: every row of docs/bad-input.md names tests that exist.
func TestBadInputNamesTests(t *testing.T) {
	exists := map[string]bool{}
	for _, s := range sources(t) {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test {
				exists[s.pkg+"."+f.Name.Name] = true
			}
		}
	}
	name := regexp.MustCompile("`(?:([a-z/]+)\\.)?(Test\\w+)`")
	for line := range strings.Lines(readDoc(t, "bad-input.md")) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| input") || strings.HasPrefix(line, "| **") {
			continue
		}
		found := name.FindAllStringSubmatch(line, -1)
		if len(found) == 0 {
			t.Errorf("no test for: %s", line)
		}
		for _, m := range found {
			if m[1] == "" {
				m[1] = "cmd/countersign"
			}
			if full := fmt.Sprintf("%s.%s", m[1], m[2]); !exists[full] {
				t.Errorf("there is no %s", full)
			}
		}
	}
}
