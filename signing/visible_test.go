package signing_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"countersign/signing"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	drawn "countersign/signing/stamp"
)

var ours = drawn.Text{Title: "Signed by Zoë Müller", Lines: []string{"Reason: Agreed", "2026-03-04 05:06:07 UTC"}}

// shown changes how the only page of a file is shown.
func shown(t testing.TB, base []byte, page string) []byte {
	return updated(t, base, func(f *pdf.File, u *pdf.Update) {
		o := firstPage(t, f)
		rest := bytes.TrimSuffix(o.Value.With(pdf.Change{Key: "MediaBox"}), []byte(">>"))
		u.Set(o.Ref, append(rest, page+" >>"...))
	})
}

// signVisible prepares one field in an area of page 1, with an empty appearance that has
// these entries, if any, and signs it with a stamp.
func signVisible(t testing.TB, base []byte, key *softKey, area pdf.Area, old string) []byte {
	t.Helper()
	var buf bytes.Buffer
	_, names, err := signing.Prepare(&buf, section(base), []pades.FieldSpec{{Name: "Seal", Place: &pades.Place{Page: 1, Area: area}}})
	check(t, err)
	r0 := buf.Bytes()
	if old != "" {
		r0 = updated(t, r0, func(f *pdf.File, u *pdf.Update) {
			fields, err := f.SignatureFields()
			check(t, err)
			form := u.Alloc()
			u.SetStream(form, []byte("/Type /XObject /Subtype /Form "+old), []byte("q Q"))
			u.Set(fields[0].Object.Ref, fields[0].Object.Value.With(pdf.Change{Key: "AP", Raw: []byte("<< /N " + form.String() + " >>")}))
		})
	}
	out, err := sign(t, r0, key, signing.Params{Field: names[0], Certification: 2, Appearance: ours})
	check(t, err)
	return out
}

// ink lets poppler draw page 1 at 144 dpi and returns the box of what is not white, in
// units of the page as it is shown.
func ink(t testing.TB, file []byte) pdf.Area {
	t.Helper()
	path := save(t, file)
	if code, text := tool(t, "pdftoppm", "-r", "144", "-gray", "-cropbox", path, strings.TrimSuffix(path, ".pdf")); code != 0 {
		t.Fatalf("pdftoppm: %s", text)
	}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.pgm"))
	if err != nil || len(found) != 1 {
		t.Fatalf("pdftoppm drew %v, %v", found, err)
	}
	b, err := os.ReadFile(found[0])
	check(t, err)
	var w, h, most int
	if _, err := fmt.Sscanf(string(b[:40]), "P5\n%d %d\n%d", &w, &h, &most); err != nil {
		t.Fatal(err)
	}
	pixels := b[len(b)-w*h:]
	x0, y0, x1, y1 := w, h, 0, 0
	for i, p := range pixels {
		if p < 240 {
			x0, x1, y0, y1 = min(x0, i%w), max(x1, i%w+1), min(y0, i/w), max(y1, i/w+1)
		}
	}
	return pdf.Area{X: float64(x0) / 2, Y: float64(y0) / 2, W: float64(x1-x0) / 2, H: float64(y1-y0) / 2}
}

var bboxWord = regexp.MustCompile(`<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)">(.*)</word>`)

// words lets poppler find the words of page 1 and their places.
func words(t testing.TB, file []byte) map[string]pdf.Area {
	t.Helper()
	code, text := tool(t, "pdftotext", "-bbox", "-cropbox", save(t, file), "-")
	if code != 0 {
		t.Fatalf("pdftotext: %s", text)
	}
	found := map[string]pdf.Area{}
	for _, m := range bboxWord.FindAllStringSubmatch(text, -1) {
		var n [4]float64
		for i := range n {
			n[i], _ = strconv.ParseFloat(m[i+1], 64)
		}
		found[m[5]] = pdf.Area{X: n[0], Y: n[1], W: n[2] - n[0], H: n[3] - n[1]}
	}
	return found
}

var pageForms = map[string]struct {
	page string  // entries of the page
	unit float64 // what poppler, which passes over UserUnit, makes smaller
}{
	"plain":                 {"/MediaBox [0 0 595 842]", 1},
	"turned by 90":          {"/MediaBox [0 0 595 842] /Rotate 90", 1},
	"turned by 180":         {"/MediaBox [0 0 595 842] /Rotate 180", 1},
	"turned by 270":         {"/MediaBox [0 0 595 842] /Rotate 270", 1},
	"turned by -90":         {"/MediaBox [0 0 595 842] /Rotate -90", 1},
	"turned by 450":         {"/MediaBox [0 0 595 842] /Rotate 450", 1},
	"corners swapped":       {"/MediaBox [595 842 0 0]", 1},
	"box elsewhere":         {"/MediaBox [-100 200 495 1042]", 1},
	"cropped":               {"/MediaBox [0 0 700 900] /CropBox [50 40 645.5 882]", 1},
	"cropped, 180":          {"/MediaBox [0 0 700 900] /CropBox [50 40 645.5 882] /Rotate 180", 1},
	"cropped, unit 2, 270":  {"/MediaBox [0 0 700 900] /CropBox [50 40 645.5 882] /Rotate 270 /UserUnit 2.0", 2},
	"cropped, unit 1.5, 90": {"/MediaBox [0 0 700 900] /CropBox [50 40 645.5 882] /Rotate 90 /UserUnit 1.5", 1.5},
	"unit 0.5":              {"/MediaBox [0 0 1200 1700] /UserUnit .5", 0.5},
}

// TestVisibleSignature: on every form of page the stamp fills just the area that was asked
// for, as a person sees the page, and is upright; so it is in a field that has an
// appearance already, whose box and matrix stay.
func TestVisibleSignature(t *testing.T) {
	key := newKeys(t, "p256")[0]
	area := pdf.Area{X: 60, Y: 90, W: 180, H: 60}
	for name, c := range pageForms {
		for _, old := range []string{"", "/BBox [0 60 200 0]", "/BBox [-10 5 30 105] /Matrix [0 2 -1 .5 50 7.25]", "/BBox [0 0 0 0]"} {
			t.Run(name+" "+old, func(t *testing.T) {
				base := shown(t, pdf.Sample("", nil), c.page)
				out := signVisible(t, base, key, area, old)
				judged(t, base, out, 1, key.root())
				checkStamp(t, out, pdf.Area{X: area.X / c.unit, Y: area.Y / c.unit, W: area.W / c.unit, H: area.H / c.unit})
				if keep := old != "" && !strings.Contains(old, "0 0 0 0"); keep && bytes.Count(out, []byte(old)) != 2 {
					t.Error("the box of the appearance was changed")
				}
			})
		}
	}
}

func checkStamp(t testing.TB, file []byte, want pdf.Area) {
	t.Helper()
	got := ink(t, file)
	for _, d := range []float64{got.X - want.X, got.Y - want.Y, got.W - want.W, got.H - want.H} {
		if math.Abs(d) > 1 {
			t.Fatalf("the stamp is seen at %+v, want %+v", got, want)
		}
	}
	at := words(t, file)
	signed, zoe, date := at["Signed"], at["Zoë"], at["2026-03-04"]
	upright := signed.W > signed.H && signed.X < zoe.X && math.Abs(signed.Y-zoe.Y) < 0.5 && date.Y > signed.Y+signed.H/2
	inside := signed.X >= want.X && signed.Y >= want.Y && date.Y+date.H <= want.Y+want.H
	if !upright || !inside {
		t.Errorf("the words are at %+v, want them upright in %+v", at, want)
	}
}

// TestMisplaced: a field that would not be on a page is refused; the error says why.
func TestMisplaced(t *testing.T) {
	at := func(page int, x, y, w, h float64) *pades.Place {
		return &pades.Place{Page: page, Area: pdf.Area{X: x, Y: y, W: w, H: h}}
	}
	for want, places := range map[string][]*pades.Place{
		"no page 2; the PDF has 1":    {at(2, 0, 0, 10, 10)},
		"no page 0":                   {at(0, 0, 0, 10, 10)},
		"page 1 is 842 by 595 points": {at(1, 800, 0, 50, 10)},
		"reaches from -1,0":           {at(1, -1, 0, 50, 10)},
		"10 by 0 points":              {at(1, 0, 0, 10, 0)},
		"by NaN points":               {at(1, 0, 0, 10, math.NaN())},
		"from 0,NaN":                  {at(1, 0, math.NaN(), 10, 10)},
		`fields "A" and "B" overlap`:  {at(1, 0, 0, 10, 10), at(1, 9, 9, 10, 10)},
	} {
		base := shown(t, pdf.Sample("", nil), "/MediaBox [0 0 595 842] /Rotate 90")
		var specs []pades.FieldSpec
		for i, p := range places {
			specs = append(specs, pades.FieldSpec{Name: string(rune('A' + i)), Place: p})
		}
		_, _, err := signing.Prepare(new(bytes.Buffer), section(base), specs)
		if place, ok := errors.AsType[*pades.PlaceError](err); !ok || !strings.Contains(place.Detail, want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
