package pdf

import "testing"

// TestDocEncoding: a lock and a field may write the same name in different encodings.
func TestDocEncoding(t *testing.T) {
	for raw, want := range map[string]string{
		"(\\240 5 \\222\\237)": "\u20ac 5 \u2122\u009f", "(\\030\\037)": "\u02d8\u02dc", "(\\201\\236)": "\u2020\u017e", "(\\344\\255)": "\u00e4\u00ad",
	} {
		v, err := newParser([]byte(raw), true).value(0)
		if err != nil || v.Text() != want {
			t.Errorf("%s: %q, %v, want %q", raw, v.Text(), err, want)
		}
	}
	euro, _ := newParser([]byte("<FEFF20AC>"), true).value(0)
	if l := (Lock{Action: LockInclude, Fields: []string{Value{kind: String, raw: []byte("(\xa0)")}.Text()}}); !l.Covers(euro.Text()) {
		t.Error("a lock on € does not cover €")
	}
}
