package stamp

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/font/gofont/gobold"

	"countersign/signing/pdf"
)

// page draws a stamp on the sample page and returns the file.
func page(t testing.TB, text Text, w, h float64) ([]byte, error) {
	t.Helper()
	base := pdf.Sample("", nil)
	f, err := pdf.Open(bytes.NewReader(base), int64(len(base)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Page(1)
	if err != nil {
		t.Fatal(err)
	}
	rect := p.UserSpace(pdf.Area{X: 50, Y: 50, W: w, H: h})
	u := f.NewUpdate()
	form, err := text.Draw(u, p.Frame(rect))
	if err != nil {
		return nil, err
	}
	annot := u.Alloc()
	u.Set(annot, []byte("<< /Type /Annot /Subtype /Stamp /F 4 /Rect "+rect.String()+" /AP << /N "+form.String()+" >> >>"))
	u.Set(p.Ref, p.Value.With(pdf.Change{Key: "Annots", Raw: []byte("[" + annot.String() + "]")}))
	inc, err := u.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return append(base, inc...), nil
}

func run(t testing.TB, file []byte, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pdf")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, a := range args {
		if a == "FILE" {
			args[i] = path
		}
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

// TestText: what was asked for can be read back, in all scripts of the built-in font,
// with composed and composite characters, and the font is an embedded subset.
func TestText(t *testing.T) {
	text := Text{
		Title: "Signed by Zoe\u0308 Müller-Łódź",
		Lines: []string{"Договор № 7 — Ελληνικά", "Ǻçñ€ ﬁ\t\u202Eend\r\nof line (x) \\"},
	}
	file, err := page(t, text, 220, 70)
	if err != nil {
		t.Fatal(err)
	}
	run(t, file, "qpdf", "--check", "FILE")
	got := run(t, file, "pdftotext", "-enc", "UTF-8", "FILE", "-")
	for _, want := range []string{"Signed by Zoë Müller-Łódź", "Договор № 7 — Ελληνικά", `Ǻçñ€ ﬁ end of line (x) \`} {
		if !strings.Contains(got, want) && !strings.Contains(got, strings.ReplaceAll(want, "ﬁ", "fi")) {
			t.Errorf("poppler reads %q, want %q in it", got, want)
		}
	}
	fonts := run(t, file, "pdffonts", "FILE")
	if !strings.Contains(fonts, "+GoRegular") || !strings.Contains(fonts, "CID TrueType      Identity-H       yes yes yes") {
		t.Errorf("pdffonts: %s", fonts)
	}
	if grown := len(file) - len(pdf.Sample("", nil)); grown > 20_000 {
		t.Errorf("the stamp takes %d bytes", grown)
	}
	again, err := page(t, text, 220, 70)
	if err != nil || !bytes.Equal(file, again) {
		t.Errorf("the same stamp is drawn in another way: %v", err)
	}
}

// TestCharacters: what cannot be shown right is refused, by name.
func TestCharacters(t *testing.T) {
	for text, want := range map[string]string{
		"山田":            "GoRegular does not have '山' (U+5C71), '田' (U+7530)",
		"سلام":          "script that cannot be set yet",
		"שלום":          "script that cannot be set yet",
		"q\u0307\u0323": "cannot be set yet",
		"🙂":             "U+1F642",
	} {
		_, err := page(t, Text{Title: text}, 200, 60)
		if _, ok := errors.AsType[*CharacterError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := page(t, Text{Lines: []string{" ", "\u200d"}}, 200, 60); err == nil {
		t.Error("an empty stamp was drawn")
	}
}

// TestFit: text is as large as it may be, is broken at words, then within them, and
// refused where it could not be read.
func TestFit(t *testing.T) {
	f, err := regular()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		w, h float64
		want string // rows, "" for an error
		size float64
	}{
		{"one two three", 200, 50, "one two three", 12},
		{"one two three", 45, 50, "one two|three", 12},
		{"one two three", 30, 44, "one|two|three", 12},
		{"one two three", 200, 9, "one two three", 7.5},
		{"abcdefghijklmnopqrstuvwxyz", 40, 50, "abcdefg|hijklmno|pqrstuv|wxyz", 10},
		{"one two three", 200, 4, "", 0},
		{"one two three", 1, 400, "", 0},
	} {
		rows, err := layout(f, []paragraph{{[]rune(c.text), 1}}, c.w, c.h)
		var lines []string
		for _, r := range rows {
			lines = append(lines, string(r.text))
			if r.size != c.size {
				t.Errorf("%q in %g by %g: size %g, want %g", c.text, c.w, c.h, r.size, c.size)
			}
		}
		if got := strings.Join(lines, "|"); got != c.want || c.want == "" && !errors.Is(err, ErrSmall) {
			t.Errorf("%q in %g by %g: %q (%v), want %q", c.text, c.w, c.h, got, err, c.want)
		}
	}
}

// TestOtherFont: a font that is given is the one that is embedded.
func TestOtherFont(t *testing.T) {
	f, err := ParseFont(gobold.TTF)
	if err != nil {
		t.Fatal(err)
	}
	file, err := page(t, Text{Title: "Bold", Font: f}, 100, 30)
	if err != nil {
		t.Fatal(err)
	}
	if fonts := run(t, file, "pdffonts", "FILE"); !strings.Contains(fonts, "+Go-Bold") {
		t.Errorf("pdffonts: %s", fonts)
	}
}

// TestBadFonts: fonts that cannot or must not be embedded are refused.
func TestBadFonts(t *testing.T) {
	patched := func(tag string, at int, b ...byte) []byte {
		out := bytes.Clone(gobold.TTF)
		for i := range u16(out, 4) {
			if e := out[12+16*i:]; string(e[:4]) == tag {
				copy(out[int(u32(e, 8))+at:], b)
			}
		}
		return out
	}
	for want, b := range map[string][]byte{
		"no TrueType font":       []byte("%PDF-1.7 and so on"),
		"CFF outlines":           append([]byte("OTTO"), make([]byte, 100)...),
		"is cut off":             gobold.TTF[:len(gobold.TTF)/2],
		"forbids to embed":       patched("OS/2", 8, 0, 2),
		"metrics are damaged":    patched("hhea", 34, 0xff, 0xff),
		"table for Unicode":      patched("cmap", 2, 0, 0),
		"lies outside of the fo": patched("loca", 2, 0xff, 0xff),
	} {
		if _, err := ParseFont(b); !errors.Is(err, errFont) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// FuzzFont: no font makes the parser or the subsetter panic, and what comes out of the
// subsetter is a font again.
func FuzzFont(f *testing.F) {
	f.Add(gobold.TTF)
	f.Add([]byte("ttcf\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		font, err := ParseFont(b)
		if err != nil {
			return
		}
		s := newSubset(font)
		for r := range font.runes {
			if s.use(r); len(s.runes) > 300 {
				break
			}
		}
		out, err := s.program()
		if err != nil {
			return
		}
		if _, err := tables(append(bytes.Clone(out), 0)); err != nil && !strings.Contains(err.Error(), `"cmap"`) {
			t.Errorf("the subset is no font: %v", err)
		}
	})
}
