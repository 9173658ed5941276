package templates

import (
	"encoding/hex"
	"io/fs"
	"math"
	"path"
	"regexp"
	"strings"
	"testing"
)

func open(t *testing.T) *Set {
	t.Helper()
	s, err := Open(English)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBlocks(t *testing.T) {
	got := blocks("\n# A title\n\nOne\n  two\n\n\n- first\ngoes on\n- second\n[act] Press here\n\nEnd # not a title\n[not a button]\n")
	want := []Block{
		{Kind: Heading, Text: "A title"},
		{Kind: Paragraph, Text: "One two"},
		{Kind: Item, Text: "first goes on"},
		{Kind: Item, Text: "second"},
		{Kind: Button, Text: "Press here", Action: "act"},
		{Kind: Paragraph, Text: "End # not a title [not a button]"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %d blocks: %+v", len(got), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("block %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestPlainAndHTML(t *testing.T) {
	l := Letter{Language: "en", Subject: `a "b" <c>`, Blocks: blocks("# Title\n\nText & <more>\n\n- one\n- two\n\n[go] Open it\n\n[none] Left out\n\nEnd.")}
	if got, want := l.Plain(), "Title\n\nText & <more>\n\n- one\n- two\n\nEnd.\n"; got != want {
		t.Errorf("plain is %q, want %q", got, want)
	}
	page, err := l.HTML(open(t), map[string]string{"go": "mailto:a%2Bb@c.example?body=X%0D%0A&subject=Y"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<html lang="en">`, `<title>a &#34;b&#34; &lt;c&gt;</title>`, `Text &amp; &lt;more&gt;`, `role="presentation"`,
		`href="mailto:a%2Bb@c.example?body=X%0D%0A&amp;subject=Y"`, `font-size:16px`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s:\n%s", want, page)
		}
	}
	for _, bad := range []string{"Left out", "display:none", "visibility", "opacity", "content:", "http", "<img", "<script", "<style"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
}

// TestContrast: the button's colours have a contrast of at least 4.5 (WCAG 2.2,
// 1.4.3); all other text has the reader's own colours.
func TestContrast(t *testing.T) {
	layout, err := files.ReadFile("layout.html")
	if err != nil {
		t.Fatal(err)
	}
	colours := regexp.MustCompile(`#[0-9a-f]{6}`).FindAllString(string(layout), -1)
	seen := map[string]bool{}
	for _, c := range colours {
		seen[c] = true
	}
	if len(seen) != 2 || !seen["#ffffff"] || !seen["#0b4f9e"] {
		t.Fatalf("the layout has other colours than the pair that is checked: %v", colours)
	}
	if ratio := (luminance(t, "ffffff") + 0.05) / (luminance(t, "0b4f9e") + 0.05); ratio < 4.5 {
		t.Errorf("contrast %.2f", ratio)
	}
}

// luminance is the relative luminance of a colour (WCAG 2.2, terms).
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	rgb, err := hex.DecodeString(colour)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		v := float64(rgb[i]) / 255
		if v <= 0.04045 {
			sum += weight * v / 12.92
		} else {
			sum += weight * math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return sum
}

// TestValuesNeverBeginALine: in the files, a line of a letter begins with words or a
// mark, so that a value cannot look like a mark.
func TestValuesNeverBeginALine(t *testing.T) {
	names, err := fs.Glob(files, "*/*.tmpl")
	if err != nil || len(names) < 5 {
		t.Fatalf("found %v, %v", names, err)
	}
	action := regexp.MustCompile(`^\{\{-? *(if|else|end|range|with|define|template|/\*)`)
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			// Control actions write nothing; what comes behind them begins the line.
			for action.MatchString(line) {
				_, line, _ = strings.Cut(line, "}}")
			}
			if strings.HasPrefix(line, "{{.") && !strings.HasPrefix(line, "{{.NoteText}}") {
				t.Errorf("%s: a value begins the line %q", path.Base(name), line)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	if _, err := Open("xx"); err == nil {
		t.Error("a language that does not exist opens")
	}
	s := open(t)
	if _, err := s.Render("nonsense", nil); err == nil {
		t.Error("a letter that does not exist renders")
	}
	if _, err := s.Render("approve", map[string]any{}); err == nil {
		t.Error("a letter renders without its values")
	}
}
