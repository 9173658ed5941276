package pdf

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// The actions of a [Lock] (Table 236).
const (
	LockAll     = "All"     // it covers all fields
	LockInclude = "Include" // those it lists
	LockExclude = "Exclude" // all but those it lists
)

// A Lock says which fields a signature forbids to change (12.8.2.4, 12.7.5.5).
type Lock struct {
	Action string // [LockAll], [LockInclude] or [LockExclude]
	Fields []string
	Level  int // /P of a signature field lock: 1, 2, 3, or 0 if not given
}

// lock reads FieldMDP parameters or a signature field lock, which look alike.
func (f *File) lock(d Value) (Lock, error) {
	action, err := f.Resolve(d.Get("Action"))
	if err != nil {
		return Lock{}, err
	}
	p, err := f.Resolve(d.Get("P"))
	if err != nil {
		return Lock{}, err
	}
	names, err := f.Resolve(d.Get("Fields"))
	if err != nil {
		return Lock{}, err
	}
	l := Lock{Action: action.Name(), Level: level(p, 0)}
	for _, it := range names.Items() {
		s, err := f.Resolve(it)
		if err != nil {
			return l, err
		}
		l.Fields = append(l.Fields, s.Text())
	}
	return l, nil
}

// Covers reports whether the lock forbids changes of a field. A name stands for
// everything below it; an unknown action covers every field.
func (l Lock) Covers(name string) bool {
	listed := slices.ContainsFunc(l.Fields, func(s string) bool {
		return s == name || strings.HasPrefix(name, s+".")
	})
	switch l.Action {
	case LockInclude:
		return listed
	case LockExclude:
		return !listed
	}
	return true
}

// Entries writes /Action and /Fields, which signature field locks and FieldMDP
// parameters have in common (Tables 236 and 259).
func (l Lock) Entries() []byte {
	out := []byte("/Action /" + l.Action)
	if l.Action == LockAll {
		return out
	}
	out = append(out, " /Fields ["...)
	for i, name := range l.Fields {
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(out, TextString(name)...)
	}
	return append(out, ']')
}

// maxLockFields bounds what signing a field copies from its lock.
const maxLockFields = 1000

// Check fails unless the lock has a known action, no level, and names that all
// readers take for the same text.
func (l Lock) Check() error {
	if l.Action != LockAll && l.Action != LockInclude && l.Action != LockExclude {
		return fmt.Errorf("a lock with the action %q; use %s, %s or %s", l.Action, LockAll, LockInclude, LockExclude)
	}
	if l.Level != 0 || len(l.Fields) > maxLockFields {
		return fmt.Errorf("a lock of %d names and with permission level %d; use at most %d and 0", len(l.Fields), l.Level, maxLockFields)
	}
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	for _, name := range l.Fields {
		if name == "" || strings.ContainsFunc(name, odd) {
			return fmt.Errorf("a lock on the name %q, which is empty or not printable", name)
		}
	}
	return nil
}

// Listed returns a lock of the same fields as a list (/Include) of those that the form has now
// and of the more that are being added; a lock that cannot be written so comes back as it
// is. Fields that are added later are free then, as they must be for the
// document timestamps of the years to come: EU DSS counts those among the fields that
// /All and /Exclude lock.
func (f *File) Listed(l Lock, more ...string) (Lock, error) {
	if l.Action == LockInclude {
		return l, nil
	}
	if err := f.readForm(); err != nil {
		return l, err
	}
	if len(f.form.names)+len(more) > maxLockFields {
		return l, nil
	}
	names := slices.AppendSeq(slices.Clone(more), maps.Keys(f.form.names))
	slices.Sort(names)
	out := Lock{Action: LockInclude}
	for _, name := range slices.Compact(names) {
		above := func(s string) bool { return strings.HasPrefix(s, name+".") }
		free := l.Action == LockExclude && slices.ContainsFunc(l.Fields, above)
		if l.Covers(name) && !free { // a name stands for all below it
			out.Fields = append(out.Fields, name)
		}
	}
	if len(out.Fields) == 0 || out.Check() != nil {
		return l, nil
	}
	return out, nil
}

// FieldLock returns the lock that an empty field prescribes for its signature
// (12.7.5.5), nil if there is none. What it cannot express it refuses with
// [ReasonUnsupported]. A level (/P) in it is in force once the field is signed.
func (f *File) FieldLock(fd Field) (*Lock, error) {
	no := func(why string) error {
		return refuse(ReasonUnsupported, "the field %q prescribes how it must be signed: %s", fd.Name, why)
	}
	d, err := f.Resolve(fd.Object.Value.Get("Lock"))
	if err != nil || d.IsNull() {
		return nil, err
	}
	if d.kind != Dict {
		return nil, no("its /Lock is " + d.kind.String())
	}
	for k := range d.Entries() {
		if !slices.Contains([]string{"Type", "Action", "Fields", "P"}, k.Name()) {
			return nil, no("its /Lock has the entry /" + k.Name())
		}
	}
	names, err := f.Resolve(d.Get("Fields"))
	if err != nil {
		return nil, err
	}
	if len(names.Items()) > maxLockFields {
		return nil, no("its /Lock is too long")
	}
	l, err := f.lock(d)
	if err != nil {
		return nil, err
	}
	if l.Action != LockAll && names.kind != Array {
		return nil, no("its /Lock lists no fields")
	}
	p, err := f.Resolve(d.Get("P"))
	if err != nil {
		return nil, err
	}
	if n, ok := p.Int(); !p.IsNull() && (!ok || n < 1 || n > 3) {
		return nil, no("the permission in its /Lock is unknown")
	}
	plain := l
	plain.Level = 0
	if err := plain.Check(); err != nil {
		return nil, no(err.Error())
	}
	return &l, nil
}
