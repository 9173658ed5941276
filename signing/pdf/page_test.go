package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// pagesFile has two pages below nodes with these entries; page 2 has those of page.
func pagesFile(root, node, page string) []byte {
	return assemble([]string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 " + root + " >>",
		"<< /Type /Page /Parent 2 0 R >>",
		"<< /Type /Pages /Kids [5 0 R] /Count 1 /Parent 2 0 R " + node + " >>",
		"<< /Type /Page /Parent 4 0 R " + page + " >>",
		"[0 0 100 200]",
		"<< /Title (x) >>",
	})
}

// TestPage: what a page inherits, and how it is shown.
func TestPage(t *testing.T) {
	const a4 = "/MediaBox [0 0 595 842]"
	for _, c := range []struct {
		root, node, page string
		want             string // box, rotation, unit, size; or an error
	}{
		{a4, "", "", "[0 0 595 842] 0 1 595x842"},
		{a4, "/MediaBox 6 0 R", "/Rotate 90", "[0 0 100 200] 90 1 200x100"},
		{a4 + " /Rotate 180", "/Rotate null", "", "[0 0 595 842] 180 1 595x842"},
		{a4 + " /Rotate 180", "/Rotate 0", "", "[0 0 595 842] 0 1 595x842"},
		{a4, "/CropBox [10 10 20 30]", "/UserUnit 2.5 /Rotate -90", "[10 10 20 30] 270 2.5 50x25"},
		{a4, "", "/CropBox [700 20 -5 800]", "[0 20 595 800] 0 1 595x780"},
		{a4 + " /UserUnit 3", "", "", "[0 0 595 842] 0 1 595x842"}, // not inherited
		{"", "", "", "MediaBox of page 2 is no rectangle"},
		{a4, "", "/MediaBox [0 0 (x) 7]", "MediaBox of page 2"},
		{a4, "", "/CropBox [1 2 3]", "CropBox of page 2"},
		{a4, "", "/CropBox [1000 1000 2000 2000]", "nothing of page 2 is shown"},
		{a4, "", "/Rotate 45", "turned by 45"},
		{a4, "", "/UserUnit 0", "UserUnit"},
		{a4, "", "/UserUnit -1", "UserUnit"},
		{"/MediaBox [0 0 1e3 5]", "", "", "broken"},
		{"/MediaBox [0 0 999999999999 5]", "", "", "MediaBox"},
	} {
		b := pagesFile(c.root, c.node, c.page)
		f, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		p, err := f.Page(2)
		if err != nil {
			re, ok := errors.AsType[*RefusedError](err)
			if !ok || !strings.Contains(re.Detail+string(re.Reason), c.want) {
				t.Errorf("%v: %v", c, err)
			}
			continue
		}
		w, h := p.Size()
		if got := fmt.Sprintf("%s %d %g %gx%g", p.Box, p.Rotate, p.Unit, w, h); got != c.want {
			t.Errorf("%v: %s", c, got)
		}
	}
	b := pagesFile("", "", "")
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Page(3); err == nil || !strings.Contains(err.Error(), "no page 3; it has 2") {
		t.Errorf("page 3: %v", err)
	}
}

// TestUserSpace: an area has its corners where a person sees them, and the frame
// for it maps its own corners onto the rectangle, upright.
func TestUserSpace(t *testing.T) {
	area := Area{X: 10, Y: 20, W: 30, H: 8}
	for rotate, want := range map[int]string{
		0: "[15 190 30 194]", 90: "[20 105 24 120]", 180: "[90 110 105 114]", 270: "[96 184 100 199]",
	} {
		p := Page{Box: Rect{10, 100, 110, 204}, Rotate: rotate, Unit: 2}
		r := p.UserSpace(area)
		if got := r.String(); got != want {
			t.Errorf("turned by %d: %s, want %s", rotate, got, want)
		}
		f := p.Frame(r)
		if f.W != area.W || f.H != area.H {
			t.Errorf("turned by %d: the frame is %g by %g", rotate, f.W, f.H)
		}
		w, h, m := p.upright(r)
		got := m.box(Rect{0, 0, w, h})
		if d := (Rect{0, 0, r.URX - r.LLX, r.URY - r.LLY}); math.Abs(got.LLX)+math.Abs(got.LLY)+math.Abs(got.URX-d.URX)+math.Abs(got.URY-d.URY) > 1e-9 {
			t.Errorf("turned by %d: the frame reaches to %s, want %s", rotate, got, d)
		}
	}
}
