package configs

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDepth bounds nesting; the deepest key of the reference has depth 6.
const maxDepth = 20

// decoder walks the syntax tree of a file along the struct and notes what does not
// fit, instead of stopping at the first.
type decoder struct {
	file     string
	problems []Problem
	// at has the place of every key and list item that was read, by path, for the
	// checks that come after.
	at map[string]*token.Position
}

func (d *decoder) bad(pos *token.Position, path, format string, args ...any) {
	p := Problem{File: d.file, Path: path, Text: fmt.Sprintf(format, args...)}
	if pos != nil {
		p.Line, p.Column = pos.Line, pos.Column
	}
	d.problems = append(d.problems, p)
}

// near notes a problem at the place of path or of what holds it.
func (d *decoder) near(path, format string, args ...any) {
	key := path
	for d.at[key] == nil && key != "" {
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	d.bad(d.at[key], path, format, args...)
}

// decode reads a file into c. It reports false if the text is no YAML at all.
func (d *decoder) decode(data []byte, c *Config) bool {
	f, err := parseYAML(data)
	if err != nil {
		var syn *yaml.SyntaxError
		if errors.As(err, &syn) && syn.Token != nil {
			d.bad(syn.Token.Position, "", "not valid YAML: %s", syn.Message)
		} else {
			d.bad(nil, "", "not valid YAML: %v", err)
		}
		return false
	}
	if len(f.Docs) > 1 {
		d.bad(tokenPos(f.Docs[1].Start), "", "the file holds several YAML documents; remove the line ---")
		return false
	}
	if len(f.Docs) == 0 || f.Docs[0].Body == nil {
		d.bad(nil, "", "the file is empty; begin with the output of: countersign config example")
		return false
	}
	d.at[""] = &token.Position{Line: 1, Column: 1}
	d.value(f.Docs[0].Body, reflect.ValueOf(c).Elem(), "")
	return true
}

// parseYAML parses, and turns a panic of the parser into an error: the text may be
// anything, and a wrong file must not end the program.
func parseYAML(data []byte) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the parser failed: %v", r)
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

func tokenPos(t *token.Token) *token.Position {
	if t == nil {
		return nil
	}
	return t.Position
}

// nodePos is where a value begins.
func nodePos(n ast.Node) *token.Position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return nodePos(m.Values[0].Key)
	}
	return tokenPos(n.GetToken())
}

// value reads one node into v.
func (d *decoder) value(n ast.Node, v reflect.Value, path string) {
	if strings.Count(path, ".")+strings.Count(path, "[") > maxDepth {
		d.bad(nodePos(n), path, "nested too deeply")
		return
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return // as if it were absent; need is checked afterwards
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.bad(nodePos(n), path, "anchors, aliases and tags are not supported; write the value itself")
	case *ast.MappingNode:
		d.mapping(n, v, path)
	case *ast.MappingValueNode:
		d.mapping(&ast.MappingNode{Start: n.Start, Values: []*ast.MappingValueNode{n}}, v, path)
	case *ast.SequenceNode:
		d.sequence(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) mapping(n *ast.MappingNode, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Struct:
		if _, isText := v.Addr().Interface().(encoding.TextUnmarshaler); isText && len(fieldsOf(v.Type())) == 0 {
			d.bad(nodePos(n), path, "a mapping stands here; want %s", want(v))
			return
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	default:
		d.bad(nodePos(n), path, "a mapping stands here; want %s", want(v))
		return
	}
	seen := map[string]bool{}
	for _, kv := range n.Values {
		key, ok := kv.Key.(*ast.StringNode)
		if !ok {
			d.bad(nodePos(kv.Key), path, "%q cannot be a key here", kv.Key.String())
			continue
		}
		keyPath := join(path, key.Value)
		if seen[key.Value] {
			d.bad(nodePos(key), keyPath, "given twice; keep one of them")
			continue
		}
		seen[key.Value] = true
		d.at[keyPath] = nodePos(key)
		d.entry(kv, key, v, path)
	}
}

// entry reads one key of a mapping.
func (d *decoder) entry(kv *ast.MappingValueNode, key *ast.StringNode, v reflect.Value, path string) {
	keyPath := join(path, key.Value)
	if v.Kind() == reflect.Map {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(kv.Value, item, keyPath)
		v.SetMapIndex(reflect.ValueOf(key.Value), item)
		return
	}
	fields := fieldsOf(v.Type())
	i := slices.IndexFunc(fields, func(f reflect.StructField) bool { return f.Tag.Get("yaml") == key.Value })
	if i < 0 {
		d.bad(nodePos(key), keyPath, "unknown key%s", suggest(key.Value, fields))
		return
	}
	field := v.FieldByIndex(fields[i].Index)
	before := len(d.problems)
	d.value(kv.Value, field, keyPath)
	if field.CanInt() && fields[i].Tag.Get("min") != "" && len(d.problems) == before && kv.Value.Type() == ast.IntegerType {
		d.inBounds(nodePos(kv.Value), field.Int(), fields[i].Tag, keyPath)
	}
}

func (d *decoder) inBounds(pos *token.Position, n int64, tag reflect.StructTag, path string) {
	low, _ := strconv.ParseInt(tag.Get("min"), 10, 64)
	high, _ := strconv.ParseInt(tag.Get("max"), 10, 64)
	if n < low || n > high {
		d.bad(pos, path, "%d is out of range; use %d to %d", n, low, high)
	}
}

func (d *decoder) sequence(n *ast.SequenceNode, v reflect.Value, path string) {
	if l, ok := v.Addr().Interface().(interface{ Elements() any }); ok {
		v = reflect.ValueOf(l.Elements()).Elem()
	}
	if v.Kind() != reflect.Slice {
		d.bad(nodePos(n), path, "a list stands here; want %s", want(v))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Values), len(n.Values)))
	for i, item := range n.Values {
		itemPath := fmt.Sprintf("%s[%d]", path, i)
		d.at[itemPath] = nodePos(item)
		if _, null := item.(*ast.NullNode); null {
			d.bad(nodePos(item), itemPath, "empty; remove the item or fill it in")
			continue
		}
		d.value(item, v.Index(i), itemPath)
	}
}

// scalar reads a text, number or boolean.
func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) {
	text, isString := n.GetToken().Value, false
	switch n := n.(type) {
	case *ast.StringNode:
		text, isString = n.Value, true
	case *ast.LiteralNode:
		text, isString = n.Value.Value, true
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			d.bad(nodePos(n), path, "%v", err)
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		if !isString {
			d.bad(nodePos(n), path, "%s is not text here; write it in quotes: %q", text, text)
			return
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			d.bad(nodePos(n), path, "must be one line without control characters")
			return
		}
		v.SetString(text)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.bad(nodePos(n), path, "%q is not true or false", text)
			return
		}
		v.SetBool(b.Value)
	case reflect.Int:
		i, err := strconv.Atoi(text)
		if err != nil || n.Type() != ast.IntegerType {
			d.bad(nodePos(n), path, "%q is not a whole number", text)
			return
		}
		v.SetInt(int64(i))
	default:
		d.bad(nodePos(n), path, "%q stands here; want %s", text, want(v))
	}
}

// need notes the required keys that are absent, below v.
func (d *decoder) need(v reflect.Value, path string) {
	if slices.ContainsFunc(d.problems, func(p Problem) bool { return p.Path == path }) {
		return // the whole value is wrong already
	}
	if v.CanAddr() {
		if l, ok := v.Addr().Interface().(interface{ Elements() any }); ok {
			v = reflect.ValueOf(l.Elements()).Elem()
		}
	}
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			d.need(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Map:
		for _, k := range sortedKeys(v) {
			d.need(v.MapIndex(k), join(path, k.String()))
		}
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			field, keyPath := v.FieldByIndex(f.Index), join(path, f.Tag.Get("yaml"))
			remedy := f.Tag.Get("need")
			if remedy != "" && empty(field) && !d.told(keyPath) {
				d.near(keyPath, "missing; %s", remedy)
				continue
			}
			d.need(field, keyPath)
		}
	}
}

func empty(v reflect.Value) bool {
	return v.IsZero() || (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0
}

// told reports whether there is a problem already with a key, or with one inside it.
func (d *decoder) told(path string) bool {
	return slices.ContainsFunc(d.problems, func(p Problem) bool {
		rest, ok := strings.CutPrefix(p.Path, path)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// fieldsOf are the fields of a struct that are keys.
func fieldsOf(t reflect.Type) []reflect.StructField {
	var out []reflect.StructField
	for f := range t.Fields() {
		if f.Tag.Get("yaml") != "" {
			out = append(out, f)
		}
	}
	return out
}

// want says what stands in a key, for people.
func want(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "a mapping of names"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a number"
	case reflect.Struct:
		if len(fieldsOf(v.Type())) > 0 {
			var keys []string
			for _, f := range fieldsOf(v.Type()) {
				keys = append(keys, f.Tag.Get("yaml"))
			}
			return "a mapping with " + strings.Join(keys, ", ")
		}
	}
	return "text"
}

// suggest names the key that was probably meant.
func suggest(got string, fields []reflect.StructField) string {
	best, bestDist := "", 3
	var all []string
	for _, f := range fields {
		key := f.Tag.Get("yaml")
		all = append(all, key)
		if dist := distance(strings.ToLower(got), key); dist < bestDist {
			best, bestDist = key, dist
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return "; the keys here are " + strings.Join(all, ", ")
}

// distance is the number of letters to add, remove or change (Levenshtein). Long
// words are not compared.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, diag+1)
		}
	}
	return row[len(b)]
}
