package rules

import (
	"reflect"
	"testing"

	"countersign/signing/inventory"
)

// TestInspectClasses: each class of finding has a key of its name, with the default
// that its tag tells.
func TestInspectClasses(t *testing.T) {
	defaults := Inspect{}.withDefaults().terms()
	keys := map[string]bool{}
	for f := range reflect.TypeFor[Inspect]().Fields() {
		key := f.Tag.Get("yaml")
		keys[key] = true
		if got := defaults[key]; got != f.Tag.Get("default") || got != string(inventory.Defaults()[inventory.Class(key)]) {
			t.Errorf("%s: the default is %q, its tag says %q", key, got, f.Tag.Get("default"))
		}
	}
	for _, c := range inventory.Classes() {
		if !keys[string(c)] || defaults[string(c)] == "" {
			t.Errorf("there is no key for %s", c)
		}
	}
	if len(keys) != len(inventory.Classes()) || len(defaults) != len(keys) {
		t.Errorf("%d keys, %d defaults, %d classes", len(keys), len(defaults), len(inventory.Classes()))
	}
}

func TestInspectTerms(t *testing.T) {
	plain := compile(t, Rule{Name: "r"})
	s := compile(t, Rule{Name: "r", Inspect: Inspect{JavaScript: inventory.Warn, EmbeddedFile: inventory.Allow}})
	got := s.Match(draft()).Plan.Terms.Inspect
	if got["javascript"] != "warn" || got["embedded-file"] != "allow" || got["launch"] != "refuse" {
		t.Errorf("%v", got)
	}
	if s.Hash() == plain.Hash() {
		t.Error("rules that inspect otherwise have the same hash")
	}
	if same := compile(t, Rule{Name: "r", Inspect: Inspect{URI: inventory.Allow}}); same.Hash() != plain.Hash() {
		t.Error("a default that is written out changes the hash")
	}
	w := world()
	if faults := Check(Rule{Name: "r", Inspect: Inspect{URI: "no"}}.WithDefaults(w.Domains), w); len(faults) != 1 || faults[0].Path != "inspect.uri" {
		t.Errorf("%v", faults)
	}
}
