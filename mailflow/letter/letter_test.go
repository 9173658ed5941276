package letter

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/templates"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var (
	begun = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)
	pdf   = []byte("%PDF-1.7 " + strings.Repeat("not really a document ", 20))
)

const (
	token    = "abcdefghijklmnopqrstuvwxyz"
	theCode  = mailflow.Code("48151623")
	digest   = "3f2a9c0d17e845b6a1c2d3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f5061728"
	boundary = "00112233445566778899aabbccddeeff"
)

// sample is a request in which everything that a letter could tell is told.
func sample() mailflow.Request {
	r := mailflow.Request{
		ID: "01", Ref: "7K3F9Q", State: mailflow.StateSigning, Created: begun, Expires: begun.AddDate(0, 0, 30),
		Address: "sign@acme.example", Subject: "Delivery contract 2026", H: digest,
		Terms: mailflow.Terms{Organisation: "Acme Ltd", CodeDigits: 8, CodeTries: 5, Codes: 3},
		Documents: []mailflow.Document{{
			Name: "contract.pdf", R0: digest, R0Size: 123456, Pages: 3, Revision: mailflow.Blob(strings.Repeat("ab", 32)), RevisionSize: 150000,
			Signatures: []mailflow.Attempt{
				{Slot: mailflow.SealSlot, Stage: mailflow.StageDone, Stamped: begun.Add(time.Hour)},
				{Slot: "p2", Stage: mailflow.StageDone, Stamped: begun.Add(2 * time.Hour)},
				{Slot: "p3", Stage: mailflow.StageSign},
			},
		}},
		Parties: []mailflow.Party{
			{ID: "p0", Role: mailflow.RoleSender, Address: mailflow.Address{Name: "Ann Able", Addr: "ann@acme.example"}},
			{ID: "p1", Role: mailflow.RoleApprover, Address: mailflow.Address{Name: "Lena Lang", Addr: "lena@acme.example"}, State: mailflow.PartyAsked},
			{ID: "p2", Role: mailflow.RoleSigner, Order: 1, Address: mailflow.Address{Name: "Bob Baker", Addr: "bob@partner.example"}, State: mailflow.PartyAsked},
			{ID: "p3", Role: mailflow.RoleSigner, Order: 2, Address: mailflow.Address{Addr: "carol@partner.example"}, State: mailflow.PartyAsked},
			{ID: "p4", Role: mailflow.RoleViewer, Address: mailflow.Address{Addr: "archive@acme.example"}},
		},
	}
	r.Parties[2].Challenges = []mailflow.Challenge{{N: 1, Issued: begun, Expires: begun.Add(30 * time.Minute), Wrong: 1}}
	return r
}

var openWords = sync.OnceValues(func() (*templates.Set, error) { return templates.Open(templates.English) })

// acme is who the letters of the tests speak for.
func acme(t testing.TB) Org {
	t.Helper()
	words, err := openWords()
	if err != nil {
		t.Fatal(err)
	}
	return Org{Name: "Acme Ltd", Words: words}
}

// kase is one letter of the golden files.
type kase struct {
	name    string
	letter  mailflow.Letter
	request mailflow.Request
}

func to(r mailflow.Request, party string, l mailflow.Letter) mailflow.Letter {
	if p := r.Party(party); p != nil {
		l.Party, l.To = p.ID, p.Address
	}
	l.From, l.Date, l.Boundary = "sign@acme.example", begun, boundary
	l.MessageID = "cs.7K3F9Q." + party + ".1.aaaabbbbccccdddd@acme.example"
	l.References = []string{"draft@acme.example"}
	return l
}

func preview() []mailflow.Attachment {
	return []mailflow.Attachment{{Name: "contract.pdf", Type: "application/pdf", Blob: digest, Size: int64(len(pdf))}}
}

var everyProblem = []mailflow.Problem{
	{Kind: mailflow.ProblemNoPDF},
	{Kind: mailflow.ProblemNoSigner, Args: []string{"cc"}},
	{Kind: mailflow.ProblemNoSigner, Args: []string{"draft"}},
	{Kind: mailflow.ProblemNoApprover, Args: []string{"@acme.example"}},
	{Kind: mailflow.ProblemNoApprover},
	{Kind: mailflow.ProblemRoleClosed, Args: []string{"Signer: Mal <mal@evil.example>", "signer"}},
	{Kind: mailflow.ProblemNotInList, Args: []string{"signer", "mal@evil.example", "@partner.example"}},
	{Kind: mailflow.ProblemBadLine, Args: []string{"Signer: nobody"}},
	{Kind: mailflow.ProblemTwice, Args: []string{"signer", "bob@partner.example"}},
	{Kind: mailflow.ProblemOwnApproval, Args: []string{"ann@acme.example", "@acme.example"}},
	{Kind: mailflow.ProblemOwnApproval, Args: []string{"ann@acme.example"}},
	{Kind: mailflow.ProblemSelfAddressed, Args: []string{"sign@acme.example"}},
	{Kind: mailflow.ProblemUnfitPDF, Args: []string{"contract.pdf", "it is encrypted"}},
	{Kind: mailflow.ProblemUnsafePDF, Args: []string{"contract.pdf", "a script that runs when the document is opened; a part of it is read from the file “logo.jpg” (page 2)", "javascript external-stream"}},
	{Kind: mailflow.ProblemTooLarge, Args: []string{"contract.pdf", "12.3 MB", "10.0 MB"}},
	{Kind: mailflow.ProblemMailTooLarge, Args: []string{"60.0 MB", "50.0 MB"}},
	{Kind: mailflow.ProblemTooMany, Args: []string{"30", "20"}},
	{Kind: mailflow.ProblemUnreadable, Args: []string{"scan.zip", "it is no PDF"}},
}

// cases are letters of every kind, with every note and every problem.
func cases() []kase {
	var ks []kase
	add := func(name string, r mailflow.Request, party string, l mailflow.Letter) {
		ks = append(ks, kase{name, to(r, party, l), r})
	}
	r := sample()
	coding := sample()
	coding.Parties[2].State = mailflow.PartyCoding
	two := sample()
	two.Documents = append(two.Documents, two.Documents[0])
	two.Documents[1].Name = "Anlage Nr. 1 – Preise & Lieferbedingungen für das Jahr 2026 (überarbeitete Fassung).pdf"
	ended := sample()
	ended.State = mailflow.StateRejected

	add("ask", r, "p0", mailflow.Letter{Kind: mailflow.LetterAsk, Token: true, Problems: everyProblem})
	refused := to(mailflow.Request{}, "", mailflow.Letter{Kind: mailflow.LetterRefused, Subject: "Contract", Detail: "needs sender level S or I"})
	refused.To = mailflow.Address{Name: "Ann Able", Addr: "ann@acme.example"}
	ks = append(ks, kase{"refused", refused, mailflow.Request{}})
	add("approve", r, "p1", mailflow.Letter{Kind: mailflow.LetterApprove, Token: true, Attach: preview()})
	both := append(preview(), mailflow.Attachment{Name: two.Documents[1].Name, Type: "application/pdf", Blob: digest, Size: int64(len(pdf))})
	add("approve-two", two, "p1", mailflow.Letter{Kind: mailflow.LetterApprove, Token: true, Attach: both})
	sealOnly := sample()
	sealOnly.Parties = sealOnly.Parties[:2]
	add("approve-seal-only", sealOnly, "p1", mailflow.Letter{Kind: mailflow.LetterApprove, Token: true, Attach: preview()})
	add("invite", r, "p2", mailflow.Letter{Kind: mailflow.LetterInvite, Token: true, Attach: preview()})
	add("invite-no-name", r, "p3", mailflow.Letter{Kind: mailflow.LetterInvite, Token: true, Attach: preview()})
	add("code", coding, "p2", mailflow.Letter{Kind: mailflow.LetterCode, Token: true, Challenge: 1})
	add("locked", r, "p2", mailflow.Letter{Kind: mailflow.LetterLocked})
	for _, k := range []mailflow.LetterKind{mailflow.LetterRejected, mailflow.LetterExpired, mailflow.LetterCancelled, mailflow.LetterFailed} {
		add(string(k), ended, "p1", mailflow.Letter{Kind: k, Reason: "The price in section 3 is wrong.", About: "p2"})
	}
	add("result", r, "p2", mailflow.Letter{Kind: mailflow.LetterResult, Attach: preview()})
	lasting := sample()
	lasting.Documents = append(lasting.Documents, lasting.Documents[0])
	lasting.Documents[0].Lasts = time.Date(2036, 3, 2, 9, 0, 0, 0, time.UTC)
	lasting.Documents[1].Lasts = time.Date(2034, 3, 2, 9, 0, 0, 0, time.UTC)
	add("result-lasting", lasting, "p2", mailflow.Letter{Kind: mailflow.LetterResult, Attach: both})
	add("undeliverable", r, "p0", mailflow.Letter{Kind: mailflow.LetterUndeliverable, About: "p2", Detail: "550 5.1.1 no such user"})
	for _, n := range []mailflow.Note{mailflow.NoteUnproven, mailflow.NoteStranger, mailflow.NoteLocked} {
		add("owner-"+string(n), r, "p0", mailflow.Letter{Kind: mailflow.LetterOwner, Note: n, About: "p2", Detail: "mal@evil.example"})
	}
	for _, n := range []mailflow.Note{mailflow.NoteUnclear, mailflow.NoteRemark, mailflow.NoteNotTurn, mailflow.NoteNoCode, mailflow.NoteBadName} {
		add("note-"+string(n), r, "p2", mailflow.Letter{Kind: mailflow.LetterNote, Note: n, Token: true})
	}
	add("note-unclear-approver", r, "p1", mailflow.Letter{Kind: mailflow.LetterNote, Note: mailflow.NoteUnclear, Token: true})
	for _, n := range []mailflow.Note{mailflow.NoteWrongCode, mailflow.NoteExpiredCode, mailflow.NoteOldCode} {
		add("note-"+string(n), coding, "p2", mailflow.Letter{Kind: mailflow.LetterNote, Note: n, Token: true, Tries: 4})
	}
	for _, n := range []mailflow.Note{mailflow.NoteUsedCode, mailflow.NoteAnswered, mailflow.NoteEnded} {
		add("note-"+string(n), ended, "p2", mailflow.Letter{Kind: mailflow.LetterNote, Note: n})
	}
	found := sample()
	found.Documents[0].Inventory = mailflow.Inventory{
		Findings: []mailflow.Finding{
			{Class: "hidden-content", What: "the layer “Draft” is switched off", Times: 1},
			{Class: "calculated-field", What: "a script that computes, checks or formats a field", Where: "field “Total”", Times: 12},
			{Class: "embedded-file", What: "the attached file “invoice.xml”", Where: "page 3", Times: 1},
		},
		Unlisted: 4,
	}
	add("approve-found", found, "p1", mailflow.Letter{Kind: mailflow.LetterApprove, Token: true, Attach: preview()})
	add("invite-found", found, "p2", mailflow.Letter{Kind: mailflow.LetterInvite, Token: true, Attach: preview()})
	foundTwo := found
	foundTwo.Documents = append([]mailflow.Document{two.Documents[1]}, found.Documents[0])
	add("approve-found-two", foundTwo, "p1", mailflow.Letter{Kind: mailflow.LetterApprove, Token: true, Attach: both})
	stranger := to(r, "", mailflow.Letter{Kind: mailflow.LetterNote, Note: mailflow.NoteNotYou, About: "p2"})
	stranger.To = mailflow.Address{Addr: "mal@evil.example"}
	ks = append(ks, kase{"note-not-you", stranger, r})
	return ks
}

func openPDF(mailflow.Blob) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(pdf)), nil }

// write composes a letter and streams it, through JSON as the outbox does.
func write(t *testing.T, k kase) []byte {
	t.Helper()
	recipe, err := Compose(k.letter, k.request, acme(t))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := json.Marshal(recipe)
	if err != nil {
		t.Fatal(err)
	}
	var back Recipe
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := back.Write(&b, Fill{Token: token, Code: theCode}, openPDF); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != recipe.Size() {
		t.Errorf("Size says %d, Write wrote %d", recipe.Size(), b.Len())
	}
	return b.Bytes()
}

// TestGolden compares the exact bytes of every kind of letter.
func TestGolden(t *testing.T) {
	for _, k := range cases() {
		t.Run(k.name, func(t *testing.T) {
			got := write(t, k)
			if again := write(t, k); !bytes.Equal(got, again) {
				t.Error("the same letter twice gives different bytes")
			}
			file := filepath.Join("testdata", k.name+".eml")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from %s; rewrite it with -update, then read the difference", file)
			}
		})
	}
}

// TestEveryKind holds the list of cases against the vocabulary.
func TestEveryKind(t *testing.T) {
	kinds, notes := map[mailflow.LetterKind]bool{}, map[mailflow.Note]bool{}
	for _, k := range cases() {
		kinds[k.letter.Kind] = true
		notes[k.letter.Note] = true
	}
	for _, c := range constants(t, "LetterKind") {
		if !kinds[mailflow.LetterKind(c)] {
			t.Errorf("no golden letter of kind %q", c)
		}
	}
	for _, c := range constants(t, "Note") {
		if !notes[mailflow.Note(c)] {
			t.Errorf("no golden letter with note %q", c)
		}
	}
	for _, c := range constants(t, "ProblemKind") {
		if !slices.ContainsFunc(everyProblem, func(p mailflow.Problem) bool { return string(p.Kind) == c }) {
			t.Errorf("no golden letter with problem %q", c)
		}
	}
}

// constants reads the values of a string type from the source of the vocabulary.
func constants(t *testing.T, typ string) []string {
	t.Helper()
	var out []string
	for _, file := range []string{"../effect.go", "../event.go"} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(src), "\n") {
			if f := strings.Fields(line); len(f) >= 4 && f[1] == typ && f[2] == "=" {
				out = append(out, strings.Trim(f[3], `"`))
			}
		}
	}
	if len(out) < 10 {
		t.Fatalf("found only %d constants of type %s", len(out), typ)
	}
	return out
}

// TestSecretsStayOut: neither secret is in the stored recipe, and each is in the
// letter as often as in one whose lines are not broken.
func TestSecretsStayOut(t *testing.T) {
	for _, k := range cases() {
		recipe, err := Compose(k.letter, k.request, acme(t))
		if err != nil {
			t.Fatal(err)
		}
		if recipe.NeedsToken() != k.letter.Token || recipe.NeedsCode() != (k.letter.Kind == mailflow.LetterCode) {
			t.Errorf("%s: needs token %v, code %v", k.name, recipe.NeedsToken(), recipe.NeedsCode())
		}
		for _, p := range recipe.Pieces {
			for _, h := range p.Holes {
				if got := string(p.Bytes[h.Offset : h.Offset+h.Len]); strings.Trim(got, "0") != "" {
					t.Errorf("%s: the hole %+v holds %q", k.name, h, got)
				}
			}
		}
		if bytes.Contains(write(t, k), []byte(newMarks(boundary).prefix)) {
			t.Errorf("%s: a mark is left over", k.name)
		}
	}
	if got := fmt.Sprintf("%v %+v %s", Fill{token, theCode}, Fill{token, theCode}, Fill{token, theCode}); strings.Contains(got, token) {
		t.Errorf("a Fill prints as %q", got)
	}
	if b, err := json.Marshal(Fill{token, theCode}); err != nil || strings.Contains(string(b), token) {
		t.Errorf("a Fill is stored as %s, error %v", b, err)
	}
}

func TestWriteRefuses(t *testing.T) {
	k := cases()[slices.IndexFunc(cases(), func(k kase) bool { return k.name == "approve" })]
	recipe, err := Compose(k.letter, k.request, Org{})
	if err != nil {
		t.Fatal(err)
	}
	short := func(mailflow.Blob) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(pdf[1:])), nil }
	long := func(mailflow.Blob) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(append(pdf[:len(pdf):len(pdf)], 'x'))), nil
	}
	lost := func(mailflow.Blob) (io.ReadCloser, error) { return nil, os.ErrNotExist }
	for name, c := range map[string]struct {
		fill Fill
		open func(mailflow.Blob) (io.ReadCloser, error)
	}{
		"no token": {Fill{}, openPDF}, "CRLF in token": {Fill{Token: "abcdefghijklmnopqrstuvwx\r\n"}, openPDF},
		"short blob": {Fill{Token: token}, short}, "long blob": {Fill{Token: token}, long}, "lost blob": {Fill{Token: token}, lost},
	} {
		if err := recipe.Write(io.Discard, c.fill, c.open); err == nil {
			t.Errorf("%s: written without an error", name)
		}
	}
	recipe.Pieces[0].Holes = []Hole{{Offset: 1 << 30, Kind: HoleToken, Len: 26}}
	if err := recipe.Write(io.Discard, Fill{Token: token}, openPDF); err == nil {
		t.Error("a damaged recipe is written without an error")
	}
}

func TestEnvelope(t *testing.T) {
	l := to(sample(), "p2", mailflow.Letter{})
	from, rcpt, err := Envelope(l)
	if from != "" || rcpt != "bob@partner.example" || err != nil {
		t.Errorf("null path: %q, %q, %v", from, rcpt, err)
	}
	l.Bounce = "b-" + token
	from, rcpt, err = Envelope(l)
	if from != "sign+b-"+token+"@acme.example" || rcpt != "bob@partner.example" || err != nil {
		t.Errorf("bounce tag: %q, %q, %v", from, rcpt, err)
	}
	l.Bounce = "b-x>\r\nRCPT TO:<"
	if _, _, err = Envelope(l); err == nil {
		t.Error("a bounce tag with CRLF is taken")
	}
}

func BenchmarkCompose(b *testing.B) {
	k, org := cases()[2], acme(b)
	for b.Loop() {
		if _, err := Compose(k.letter, k.request, org); err != nil {
			b.Fatal(err)
		}
	}
}
