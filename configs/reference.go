package configs

import (
	"fmt"
	"reflect"
	"strings"

	"countersign/mailflow"
	"countersign/mailflow/rules"
	"countersign/signing/inventory"
)

// Reference writes docs/configuration.md from the tags of the structs.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

One YAML file. Check it with ` + "`countersign config check FILE`" + `: all problems are told at once, each with its place
and what to write. Unknown keys are refused. Anchors, aliases and tags of YAML are not supported.

- A duration is written 30d, 12h, 45m or 1d12h; a size 10MB, 500KB or in bytes (powers of ten).
- An address is written ann@acme.example or "Ann Able <ann@acme.example>".
- A pattern is an address, @acme.example for all of a domain, or "*" for everyone.

An example to begin with, also printed by ` + "`countersign config example`" + `:

` + "```yaml\n" + string(example) + "```\n")
	section(&b, "", reflect.TypeFor[Config]())
	return b.String()
}

// section writes one table, then those of the structs inside it.
func section(b *strings.Builder, path string, t reflect.Type) {
	title := path
	if path == "" {
		title = "top of the file"
	}
	fmt.Fprintf(b, "\n## %s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", title)
	for _, f := range fieldsOf(t) {
		def := f.Tag.Get("default")
		switch {
		case f.Tag.Get("need") != "":
			def = "required"
		case def == "":
			def = "none"
		}
		doc := f.Tag.Get("doc")
		if lo := f.Tag.Get("min"); lo != "" {
			doc += fmt.Sprintf(" From %s to %s.", lo, f.Tag.Get("max"))
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.Tag.Get("yaml"), kindOf(f.Type), cell(def), cell(doc))
	}
	for _, f := range fieldsOf(t) {
		if inner, suffix := structOf(f.Type); inner != nil {
			section(b, join(path, f.Tag.Get("yaml"))+suffix, inner)
		}
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// structOf finds the struct of keys inside a type, and how its path goes on.
func structOf(t reflect.Type) (reflect.Type, string) {
	switch t.Kind() {
	case reflect.Slice:
		if t.Elem() == reflect.TypeFor[rules.Person]() {
			return nil, ""
		}
		inner, _ := structOf(t.Elem())
		return inner, "[]"
	case reflect.Map:
		inner, _ := structOf(t.Elem())
		return inner, ".<name>"
	case reflect.Struct:
		if len(fieldsOf(t)) > 0 {
			return t, ""
		}
	}
	return nil, ""
}

// kindOf says what stands in a key.
func kindOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[rules.Duration]():
		return "duration"
	case reflect.TypeFor[Size]():
		return "size"
	case reflect.TypeFor[rules.Address](), reflect.TypeFor[rules.Person]():
		return "address"
	case reflect.TypeFor[rules.Pattern]():
		return "pattern"
	case reflect.TypeFor[mailflow.Level]():
		return "level"
	case reflect.TypeFor[inventory.Policy]():
		return "refuse, warn or allow"
	case reflect.TypeFor[rules.People]():
		return "word, or list of address or {address, order}"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list of " + kindOf(t.Elem())
	case reflect.Map:
		return "mapping of names"
	case reflect.Struct:
		return "mapping"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "number"
	}
	return "text"
}
