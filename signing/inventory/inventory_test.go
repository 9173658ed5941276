package inventory

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"countersign/signing/pdf"
)

const (
	font14 = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
	js     = "<< /S /JavaScript /JS (app.alert\\(1\\)) >>"
	widget = "/Type /Annot /Subtype /Widget /Rect [10 10 90 30] /P 3 0 R "
)

func form(fields string) string { return "/AcroForm << /Fields [" + fields + "] >>" }

// cases has, for each class, documents that show it; want are parts of the findings.
var cases = []struct {
	name  string
	paper paper
	want  []string // "class: what (where)", each a part of one finding
}{
	{"open action", paper{catalog: "/OpenAction " + js}, []string{"javascript: a script that runs when the document is opened"}},
	{"document script", paper{catalog: "/Names << /JavaScript << /Names [(a) 10 0 R] >> >>", more: map[int]string{10: js}}, []string{"javascript: a script that runs when"}},
	{"page script", paper{page: "/AA << /O " + js + " >>"}, []string{"javascript: a script (page 1)"}},
	{"page script at C", paper{page: "/AA << /C " + js + " >>"}, []string{"javascript: a script (page 1)"}},
	{"catalog script", paper{catalog: "/AA << /WS 10 0 R >>", more: map[int]string{10: js}}, []string{"javascript: a script"}},
	{"annotation script", paper{page: "/Annots [10 0 R]", more: map[int]string{10: "<< /Subtype /Link /Rect [0 0 9 9] /A " + js + " >>"}}, []string{"javascript: a script that runs at a click (page 1)"}},
	{"outline script", paper{catalog: "/Outlines 10 0 R", more: map[int]string{10: "<< /First 11 0 R /Last 11 0 R >>", 11: "<< /Title (x) /Parent 10 0 R /A 12 0 R >>", 12: js}}, []string{"javascript: "}},
	{"escaped names", paper{catalog: "/#4fpen#41ction << /#53 /J#61vaScript /#4aS 10 0 R >>", more: map[int]string{10: stream("", "app.alert(1)")}}, []string{"javascript: "}},
	{"indirect type", paper{catalog: "/OpenAction << /S 10 0 R >>", more: map[int]string{10: "11 0 R", 11: "/Launch"}}, []string{"launch: "}},
	{"indirect chain", paper{catalog: "/OpenAction 10 0 R", more: map[int]string{10: "11 0 R", 11: "12 0 R", 12: js}}, []string{"javascript: "}},
	{"next", paper{catalog: "/OpenAction << /S /GoTo /D [3 0 R /Fit] /Next 10 0 R >>", more: map[int]string{10: "<< /S /Named /N /NextPage /Next [11 0 R << /S /Launch /F (x.exe) >>] >>", 11: js}}, []string{"javascript: ", "launch: an action that starts a program or opens the file “x.exe”"}},
	{"next loop", paper{catalog: "/OpenAction 10 0 R", more: map[int]string{10: "<< /S /GoTo /D [3 0 R /Fit] /Next 11 0 R >>", 11: "<< /S /URI /URI (https://a.example/) /Next 10 0 R >>"}}, []string{"uri: a link to “https://a.example/”"}},
	{"rendition script", paper{page: "/Annots [<< /Subtype /Screen /Rect [0 0 9 9] /A << /S /Rendition /JS (x) >> >>]"}, []string{"javascript: ", "rich-media: an action that plays", "rich-media: an area that plays"}},
	{"orphan widget", paper{page: "/Annots [10 0 R]", more: map[int]string{10: "<< " + widget + "/FT /Tx /T (x) /AA << /C " + js + " >> >>"}}, []string{"javascript: a script (page 1)"}},
	{"launch on Windows", paper{catalog: "/OpenAction << /S /Launch /Win << /F (c:\\\\cmd.exe) >> >>"}, []string{"launch: an action that starts a program or opens the file “c:\\cmd.exe”"}},
	{"submit", paper{page: "/Annots [<< /Subtype /Widget /Rect [0 0 9 9] /A << /S /SubmitForm /F << /FS /URL /F (https://a.example/) >> >> >>]"}, []string{"submit-form: an action that sends the form's values to “https://a.example/” (page 1)"}},
	{"import", paper{catalog: "/OpenAction << /S /ImportData /F (a.fdf) >>"}, []string{"import-data: "}},
	{"remote", paper{catalog: "/OpenAction [3 0 R /Fit]", page: "/Annots [<< /Subtype /Link /Rect [0 0 9 9] /A << /S /GoToR /F (b.pdf) /D [0 /Fit] >> >> << /Subtype /Link /Rect [0 0 9 9] /A << /S /GoToE /F << /UF (c.pdf) >> >> >>]"}, []string{"remote-goto: a link into the document “b.pdf” (page 1)", "remote-goto: a link into the document “c.pdf” (page 1)"}},
	{"3D", paper{page: "/Annots [<< /Subtype /3D /Rect [0 0 9 9] >>]"}, []string{"rich-media: an area"}},
	{"xfa", paper{catalog: "/AcroForm << /Fields [] /XFA 10 0 R >>", more: map[int]string{10: stream("", "<xdp/>")}}, []string{"xfa: a second form"}},
	{"external stream", paper{page: "/X 10 0 R", more: map[int]string{10: stream("/F (\\\\\\\\host\\\\x)", "")}}, []string{`external-stream: a part of it is read from the file “\\host\x” (page 1)`}},
	{"reference XObject", paper{page: "/X << /A 10 0 R >>", more: map[int]string{10: stream("/Type /XObject /Subtype /Form /BBox [0 0 1 1] /Ref << /F (o.pdf) /Page 0 >>", "")}}, []string{"external-stream: a page of another file"}},
	{"OPI", paper{page: "/X << /A 10 0 R >>", more: map[int]string{10: stream("/Subtype /Image /OPI << >>", "")}}, []string{"external-stream: an image that printers replace"}},
	{"colour profile", paper{catalog: "/OutputIntents [<< /S /GTS_PDFX /DestOutputProfileRef << /URLs [] >> >>]"}, []string{"external-stream: its colours"}},
	{"embedded", paper{catalog: "/Names << /EmbeddedFiles << /Names [(a) 10 0 R] >> >>", more: map[int]string{10: "<< /Type /Filespec /F (C:\\\\x\\\\a.xml) /EF << /F 11 0 R /UF 11 0 R >> >>", 11: flate("/Type /EmbeddedFile", []byte("<a/>"))}}, []string{"embedded-file: the attached file “a.xml”"}},
	{"attachment", paper{page: "/Annots [<< /Subtype /FileAttachment /Rect [0 0 9 9] /FS << /UF <FEFF00E4> /EF << /F 11 0 R >> >> >>]", more: map[int]string{11: stream("", "x")}}, []string{"embedded-file: the attached file “ä” (page 1)"}},
	{"associated in the structure", paper{catalog: "/StructTreeRoot << /K 10 0 R >>", more: map[int]string{10: "<< /S /JavaScript /AF [<< /F (b) /EF << /F 11 0 R >> >>] >>", 11: stream("", "y")}}, []string{"embedded-file: the attached file “b”"}},
	{"portfolio", paper{catalog: "/Collection << >>"}, []string{"embedded-file: it is a portfolio"}},
	{"layer off", paper{catalog: "/OCProperties << /OCGs [10 0 R] /D << /OFF [10 0 R] >> >>", more: map[int]string{10: "<< /Type /OCG /Name (Draft) >>"}}, []string{"hidden-content: the layer “Draft” is switched off"}},
	{"layers off", paper{catalog: "/OCProperties << /OCGs [10 0 R] /D << /BaseState /OFF >> >>", more: map[int]string{10: "<< /Type /OCG /Name (Draft) >>"}}, []string{"hidden-content: its layers"}},
	{"print only", paper{catalog: "/OCProperties << /OCGs [10 0 R] /D << /AS [<< /Event /Print /Category [/Print] /OCGs [10 0 R] >>] >> >>", more: map[int]string{10: "<< /Type /OCG /Name (P) /Usage << /Print << /PrintState /ON >> /View << /ViewState /OFF >> >> >>"}}, []string{"hidden-content: the layer “P” shows in print only"}},
	{"screen only", paper{catalog: "/OCProperties << /OCGs [10 0 R] /D << /AS [<< /Event /Print /OCGs [10 0 R] >>] >> >>", more: map[int]string{10: "<< /Type /OCG /Name (P) /Usage << /Print << /PrintState /OFF >> >> >>"}}, []string{"hidden-content: the layer “P” shows on the screen only"}},
	{"inverted layer", paper{page: "/X << /A << /Type /OCMD /P /AllOff /OCGs [] >> >>"}, []string{"hidden-content: content that shows only while"}},
	{"hidden annotation", paper{page: "/Annots [<< /Subtype /FreeText /F 2 /Rect [0 0 9 9] /AP << /N 10 0 R >> >>]", more: map[int]string{10: stream("/Subtype /Form", "")}}, []string{"hidden-content: a hidden annotation (page 1)"}},
	{"layer switch", paper{catalog: "/OpenAction << /S /SetOCGState /State [] >>"}, []string{"hidden-content: an action that shows"}},
	{"alternate image", paper{page: "/X << /A 10 0 R >>", more: map[int]string{10: stream("/Subtype /Image /Alternates []", "")}}, []string{"hidden-content: an image in whose place"}},
	{"prepared signature", paper{catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Sig /T (S) /AP << /N 11 0 R >> >>", 11: stream("/Subtype /Form", "BT (Ann) Tj ET")}}, []string{"prepared-appearance: a signature field that is not signed but shows something already (field “S”)"}},
	{"prepared signature with states", paper{catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Sig /T (S) /AS /X /AP << /N << /X 11 0 R >> >> >>", 11: stream("/Subtype /Form", "BT (Ann) Tj ET")}}, []string{"prepared-appearance: a signature field that is not signed but shows something already (field “S”)"}},
	{"text in hexadecimal", paper{catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Tx /T (T) /V (100) /AP << /N 11 0 R >> >>", 11: stream("/Subtype /Form", "BT <3939 39> Tj ET")}}, []string{"prepared-appearance: a field that shows another text than its value (field “T”)"}},
	{"choice", paper{catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Ch /Ff 131072 /Opt [(100) (999)] /T (T) /V (100) /AP << /N 11 0 R >> >>", 11: stream("/Subtype /Form", "BT (999) Tj ET")}}, []string{"prepared-appearance: a field that shows another text than its value (field “T”)"}},
	{"script behind another generation", paper{catalog: "/A 10 1 R /OpenAction 10 0 R", more: map[int]string{10: js}}, []string{"javascript: a script that runs when"}},
	{"text without value", paper{catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Tx /T (T) /AP << /N 11 0 R >> >>", 11: flate("/Subtype /Form", []byte("/Tx BMC BT (1 000) Tj ET EMC"))}}, []string{"prepared-appearance: a field without a value that shows a text (field “T”)"}},
	{"inherited type", paper{catalog: form("10 0 R"), more: map[int]string{10: "<< /T (A) /FT /Tx /V (one) /Kids [12 0 R] >>", 12: "<< /T (B) /Parent 10 0 R /Kids [13 0 R] >>", 13: "<< " + widget + "/Parent 12 0 R /AP << /N 11 0 R >> >>", 11: stream("/Subtype /Form", "BT (two) Tj ET")}}, []string{"prepared-appearance: a field that shows another text than its value (field “A.B”)"}},
	{"ticked box", paper{catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Btn /T (B) /AS /Yes /AP << /N << /Yes 11 0 R >> >> >>", 11: stream("/Subtype /Form", "")}}, []string{"prepared-appearance: a box that shows as ticked"}},
	{"empty box", paper{catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Btn /T (B) /V /Yes /AS /Off /AP << /N << /Yes 11 0 R >> >> >>", 11: stream("/Subtype /Form", "")}}, []string{"prepared-appearance: a box that shows as empty"}},
	{"need appearances", paper{catalog: "/AcroForm << /Fields [] /NeedAppearances true >>"}, []string{"need-appearances: "}},
	{"calculation order", paper{catalog: "/AcroForm << /Fields [10 0 R] /CO [10 0 R] >>", more: map[int]string{10: "<< " + widget + "/FT /Tx /T (Sum) >>"}}, []string{"calculated-field: a field whose value is computed from others (form)"}},
	{"calculating script", paper{catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Tx /T (Sum) /AA << /C 11 0 R >> >>", 11: "<< /S /JavaScript /JS (x) /Next " + js + " >>"}}, []string{"calculated-field: a script that computes, checks or formats a field (field “Sum”)"}},
	{"script of focus", paper{catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Tx /T (Sum) /AA << /Fo " + js + " >> >>"}}, []string{"javascript: a script (field “Sum”)"}},
	{"format that is a page's script, too", paper{catalog: form("10 0 R"), page: "/AA << /O 11 0 R >>", more: map[int]string{10: "<< " + widget + "/FT /Tx /T (Sum) /AA << /C 11 0 R >> >>", 11: js}}, []string{"javascript: a script (page 1)"}},
	{"font", paper{page: "/X << /A << /Type /Font /Subtype /TrueType /BaseFont /Arial#4dT >> >>"}, []string{"font-not-embedded: the font “ArialMT” is not embedded (page 1)"}},
	{"composite font", paper{page: "/X << /A << /Type /Font /Subtype /Type0 /DescendantFonts [<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Song >>] >> >>"}, []string{"font-not-embedded: the font “Song”"}},
	{"standard font", paper{page: "/X << /A " + font14 + " >>"}, []string{"standard-font: the standard font “Helvetica” (page 1)"}},
	{"unreferenced", paper{more: map[int]string{20: "<< /Type /Page >>"}}, []string{"unreferenced-object: a page or a catalog that nothing leads to"}},
	{"unreadable", paper{page: "/X 20 0 R", more: map[int]string{20: "<< /A (b >>"}}, []string{"not-inspected: something in it cannot be read (page 1)"}},
}

func TestClasses(t *testing.T) {
	covered := map[Class]bool{ReaderDisagreement: true, SecondReaderFailed: true, Rebuilt: true} // not of the inventory itself
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := take(t, c.paper.bytes())
			var got []string
			for _, f := range r.Findings {
				covered[f.Class] = true
				got = append(got, string(f.Class)+": "+f.String())
			}
			for _, want := range c.want {
				if !slices.ContainsFunc(got, func(g string) bool { return strings.Contains(g, want) }) {
					t.Errorf("no %q in %q", want, got)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("%d findings, want %d: %q", len(got), len(c.want), got)
			}
		})
	}
	for _, c := range Classes() {
		if !covered[c] {
			t.Errorf("no case for %s", c)
		}
		if c.Words() == string(c) {
			t.Errorf("no words for %s", c)
		}
	}
}

// TestClean: what ordinary documents have is no finding.
func TestClean(t *testing.T) {
	filled := stream("/Subtype /Form /Resources << >>", "/Tx BMC q BT /F1 12 Tf 2 2 Td (one \\(two\\)) Tj 0 -12 Td (three) Tj ET Q EMC")
	for name, p := range map[string]paper{
		"plain":    {},
		"goto":     {catalog: "/OpenAction << /S /GoTo /D [3 0 R /Fit] >> /PageLabels << /Nums [0 << /S /D >>] >>"},
		"choice":   {catalog: form("10 0 R"), page: "/Annots [10 0 R]", more: map[int]string{10: "<< " + widget + "/F 4 /FT /Ch /Ff 131072 /Opt [[(de) (Germany)] [(fr) (France)]] /T (T) /V (de) /AP << /N 11 0 R >> >>", 11: stream("/Subtype /Form", "BT <4765726d616e79> Tj ET")}},
		"layer":    {catalog: "/OCProperties << /OCGs [10 0 R] /D << /ON [10 0 R] /Order [10 0 R] >> >>", more: map[int]string{10: "<< /Type /OCG /Name (x) /Usage << /Print << /PrintState /OFF >> >> >>"}},
		"field":    {catalog: form("10 0 R"), page: "/Annots [10 0 R]", more: map[int]string{10: "<< " + widget + "/F 4 /FT /Tx /T (T) /V (one \\(two\\)\\nthree) /AP << /N 11 0 R >> >>", 11: filled}},
		"empty":    {catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Tx /T (T) /AP << /N 11 0 R >> >>", 11: stream("/Subtype /Form", "/Tx BMC EMC")}},
		"box":      {catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Btn /T (B) /V /Yes /AS /Yes /AP << /N << /Yes 11 0 R /Off 11 0 R >> >> >>", 11: stream("/Subtype /Form", "f")}},
		"radio":    {catalog: form("10 0 R"), more: map[int]string{10: "<< /FT /Btn /Ff 32768 /T (R) /V /1 /Kids [12 0 R 13 0 R] >>", 12: "<< " + widget + "/Parent 10 0 R /AS /Off /AP << /N << /0 11 0 R >> >> >>", 13: "<< " + widget + "/Parent 10 0 R /AS /1 /AP << /N << /1 11 0 R >> >> >>", 11: stream("/Subtype /Form", "f")}},
		"sig":      {catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Sig /T (S) /AP << /N 11 0 R >> >>", 11: stream("/Subtype /Form", "% blank\nq Q")}},
		"popup":    {page: "/Annots [<< /Subtype /Popup /F 2 /Rect [0 0 9 9] /AP << >> >>]"},
		"tags":     {catalog: "/StructTreeRoot << /K [<< /S /Sound /K 0 >>] /RoleMap << /JavaScript /P >> >>"},
		"loop":     {catalog: "/X 10 0 R", more: map[int]string{10: "[10 0 R << /A 10 0 R >>]"}},
		"password": {catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Tx /Ff 8192 /T (T) /V (secret) /AP << /N 11 0 R >> >>", 11: stream("/Subtype /Form", "BT (******) Tj ET")}},
	} {
		if r := take(t, p.bytes()); len(r.Findings) > 0 {
			t.Errorf("%s: %v", name, r.Findings)
		}
	}
}

func TestReading(t *testing.T) {
	r := take(t, paper{catalog: form("10 0 R 14 0 R"), more: map[int]string{
		10: "<< /T (A) /FT /Tx /Kids [12 0 R] >>", 12: "<< /T <42> /Parent 10 0 R /Kids [13 0 R] >>", 13: "<< " + widget + ">>", 14: "<< /T (S) /FT /Sig >>",
	}}.bytes())
	want := Reading{Catalog: 1, Pages: 1, Fields: []Field{{[]byte("A"), "Tx"}, {[]byte("A.B"), "Tx"}, {[]byte("S"), "Sig"}}}
	if fmt.Sprint(r.Reading) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", r.Reading, want)
	}
	same := r.Reading
	same.Fields = []Field{want.Fields[2], want.Fields[0], want.Fields[1]}
	if got := Compare(r.Reading, same); len(got) != 0 {
		t.Errorf("the same in another order: %v", got)
	}
	if got := Compare(r.Reading, Reading{Catalog: 7, Pages: 2}); len(got) != 3 {
		t.Errorf("all different: %v", got)
	}
}

func TestSecondReading(t *testing.T) {
	r := take(t, paper{}.bytes())
	disk := errors.New("disk")
	if err := r.Compare(Reading{}, disk); !errors.Is(err, disk) || len(r.Findings) > 0 {
		t.Errorf("a fault of the disk: %v, %v", err, r.Findings)
	}
	if err := r.Compare(r.Reading, nil); err != nil || len(r.Findings) > 0 {
		t.Errorf("the same: %v, %v", err, r.Findings)
	}
	if err := r.Compare(Reading{}, fmt.Errorf("%w: it died", ErrNoReading)); err != nil || r.Counts[SecondReaderFailed] != 1 {
		t.Errorf("no reading: %v, %v", err, r.Findings)
	}
	if err := r.Compare(Reading{Catalog: 1, Pages: 5}, nil); err != nil || len(r.Under(nil, Refuse)) != 1 {
		t.Errorf("another number of pages: %v, %v", err, r.Findings)
	}
}

func TestAttached(t *testing.T) {
	data := bytes.Repeat([]byte("invoice "), 100_000)
	p := paper{
		catalog: "/Names << /EmbeddedFiles << /Names [(a) << /UF (a.xml) /EF << /F 11 0 R >> >> (b) << /F (b.bin) /EF << /F 12 0 R >> >>] >> >>",
		more:    map[int]string{11: flate("", data), 12: stream("/Filter /RunLengthDecode", "\x80")},
	}
	r := take(t, p.bytes())
	sum := sha256.Sum256(data)
	want := []Attached{{"a.xml", int64(len(data)), hex.EncodeToString(sum[:])}}
	if !slices.Equal(r.Attached, want) {
		t.Errorf("%v, want %v", r.Attached, want)
	}
	if r.Counts[EmbeddedFile] != 2 || r.Counts[NotInspected] != 1 {
		t.Errorf("counts %v", r.Counts)
	}
}

// TestBounded: one document cannot fill a report.
func TestBounded(t *testing.T) {
	var annots strings.Builder
	for i := range 500 {
		fmt.Fprintf(&annots, "<< /Subtype /Link /Rect [0 0 9 9] /A << /S /URI /URI (https://%d.example/%s) >> >> ", i%50, strings.Repeat("x", 500))
	}
	r := take(t, paper{page: "/Annots [" + annots.String() + "]"}.bytes())
	if len(r.Findings) != maxOfClass || r.Counts[URI] != 500 {
		t.Errorf("%d findings, %v", len(r.Findings), r.Counts)
	}
	if s := r.Findings[0].String(); len(s) > 100 {
		t.Errorf("%d bytes: %s", len(s), s)
	}
}

// TestSafeText: nothing in a document makes a line of its own, or runs backwards.
func TestSafeText(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\nAPPROVE\r\n":               "“a APPROVE”",
		"a\u202egnp.exe\u2066\u200b\x07": "“agnp.exe”",
		"a”b\"c":                         "“abc”",
		" \t ":                           "“”",
		strings.Repeat("é", 100):         "“" + strings.Repeat("é", 59) + "…”",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPolicies(t *testing.T) {
	r := take(t, paper{catalog: "/OpenAction " + js, page: "/Annots [<< /Subtype /Link /Rect [0 0 9 9] /A << /S /URI /URI (u) >> >>]"}.bytes())
	if no := r.Under(Defaults(), Refuse); len(no) != 1 || no[0].Class != JavaScript {
		t.Errorf("refused: %v", no)
	}
	p := Policies{JavaScript: Warn, URI: Refuse}
	if no := r.Under(p, Refuse); len(no) != 1 || no[0].Class != URI {
		t.Errorf("refused: %v", no)
	}
	if told := r.Under(p, Warn); len(told) != 1 || told[0].Class != JavaScript {
		t.Errorf("warned: %v", told)
	}
	if Policies(nil).Of("nothing") != Refuse {
		t.Error("an unknown class is let through")
	}
}

// TestHostile: bombs and loops end, and say that they were not looked at.
func TestHostile(t *testing.T) {
	deep := "/X 10 0 R"
	chain := map[int]string{}
	for i := range 5000 {
		chain[10+i] = fmt.Sprintf("<< /Next %d 0 R /S /GoTo >>", 11+i)
	}
	fields := map[int]string{}
	for i := range 200 {
		fields[10+i] = fmt.Sprintf("<< /T (a) /Kids [%d 0 R] >>", 11+i)
	}
	fields[210] = "<< /T (b) >>"
	for name, p := range map[string]paper{
		"long chain":   {catalog: deep, more: chain},
		"deep fields":  {catalog: form("10 0 R"), more: fields},
		"field loop":   {catalog: form("10 0 R"), more: map[int]string{10: "<< /T (a) /Kids [10 0 R 10 0 R] >>"}},
		"zip bomb":     {catalog: "/X << /F (b) /EF << /F 10 0 R >> >>", more: map[int]string{10: flate("", make([]byte, maxHashed+1))}},
		"big picture":  {catalog: form("10 0 R"), more: map[int]string{10: "<< " + widget + "/FT /Tx /T (T) /AP << /N 11 0 R >> >>", 11: flate("/Subtype /Form", make([]byte, 8<<20))}},
		"self as kind": {catalog: "/X << /S 10 0 R /Type 10 0 R >>", more: map[int]string{10: "10 0 R"}},
	} {
		r := take(t, p.bytes())
		if (name == "deep fields" || name == "zip bomb" || name == "self as kind") && r.Counts[NotInspected] == 0 {
			t.Errorf("%s: %v", name, r.Findings)
		}
	}
}

// FuzzTake: no document makes the inventory fail but by a refusal, nor say what is
// not safe to print.
func FuzzTake(f *testing.F) {
	for _, c := range cases {
		f.Add(c.paper.bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := pdf.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		r, err := Take(file)
		if err != nil {
			return
		}
		for _, found := range r.Findings {
			if s := found.String(); len(s) > 1000 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%q", s)
			}
		}
	})
}
