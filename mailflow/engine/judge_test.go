package engine_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/signing"
	"countersign/signing/cms"
	"countersign/signing/evidence"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
	"countersign/signing/timestamp"
	"countersign/store"
	"countersign/store/audit"
)

// details returns the only request.
func (h *house) details() mailflow.Details {
	h.t.Helper()
	list, err := h.engine.List(h.t.Context(), store.Filter{})
	must(h.t, err)
	if len(list) != 1 {
		h.t.Fatalf("%d requests, want 1: %v", len(list), list)
	}
	d, err := h.engine.Show(h.t.Context(), list[0].ID)
	must(h.t, err)
	return d
}

// events counts the audit entries of that event.
func (h *house) events(d mailflow.Details, event string) int {
	n := 0
	for _, a := range d.History {
		if a.Event == event {
			n++
		}
	}
	return n
}

// last returns the newest letter of a kind to a person.
func (h *house) last(p person, kind mailflow.LetterKind) *letterSeen {
	h.t.Helper()
	for _, l := range slices.Backward(h.relay.letters()) {
		if l.to == p.Addr && l.kind == kind {
			return l
		}
	}
	h.t.Fatalf("%s got no letter %q; the letters are %v", p.Addr, kind, h.kinds())
	return nil
}

// kinds lists the letters that arrived, each Message-ID once.
func (h *house) kinds() []string {
	var kinds []string
	seen := map[string]bool{}
	for _, l := range h.relay.letters() {
		if !seen[l.MessageID] {
			seen[l.MessageID] = true
			kinds = append(kinds, string(l.kind)+" to "+l.to)
		}
	}
	slices.Sort(kinds)
	return kinds
}

// A verdict is what must be true at the end.
type verdict struct {
	state      mailflow.State
	letters    []string // kind and person; each exactly once
	signatures int      // in the one signed document; 0: there is none
	copies     int      // largest number of copies of one letter
}

// judge checks everything that must hold once all is over.
func (h *house) judge(want verdict) {
	h.t.Helper()
	d := h.details()
	if d.State != want.state {
		h.t.Fatalf("the request is %s, want %s; it waits for %q", d.State, want.state, d.Waits)
	}
	if len(d.Pending) > 0 {
		h.t.Errorf("still in the outbox: %v", d.Pending)
	}
	want.letters = slices.Sorted(slices.Values(want.letters))
	if got := h.kinds(); !slices.Equal(got, want.letters) {
		h.t.Errorf("letters:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want.letters, "\n"))
	}
	h.judgeCopies(max(1, want.copies))
	h.judgeSigned(d, want.signatures)
	h.judgeAudit()
	h.judgeSecrets()
}

// judgeCopies compares the copies of each letter.
func (h *house) judgeCopies(limit int) {
	h.t.Helper()
	first, copies := map[string]*letterSeen{}, map[string]int{}
	for _, l := range h.relay.letters() {
		if copies[l.MessageID]++; copies[l.MessageID] == 1 {
			first[l.MessageID] = l
		}
		if one := first[l.MessageID]; !bytes.Equal(one.raw, l.raw) || one.to != l.to || one.from != l.from {
			h.t.Errorf("two copies of the letter %s to %s differ", l.kind, l.to)
		}
	}
	for id, n := range copies {
		if n > limit {
			h.t.Errorf("%d copies of the letter %s, want at most %d", n, id, limit)
		}
	}
}

// judgeSigned checks that everyone got the same document, once, with so many
// signatures, each good, over what people saw.
func (h *house) judgeSigned(d mailflow.Details, signatures int) {
	h.t.Helper()
	var signed []byte
	for _, l := range h.relay.letters() {
		if l.kind != mailflow.LetterResult {
			continue
		}
		docs := l.pdfs(h.t)
		if len(docs) != 1 {
			h.t.Fatalf("%d documents in a result", len(docs))
		}
		if signed == nil {
			signed = docs[0]
		}
		if !bytes.Equal(signed, docs[0]) {
			h.t.Errorf("%s got another document", l.to)
		}
	}
	if (signed != nil) != (signatures > 0) {
		h.t.Fatalf("a signed document was released: %t", signed != nil)
	}
	if signed == nil {
		return
	}
	r0 := h.blob(d.Documents[0].R0)
	for _, l := range h.relay.letters() {
		if l.kind == mailflow.LetterApprove || l.kind == mailflow.LetterInvite {
			if seen := l.pdfs(h.t); len(seen) != 1 || !bytes.Equal(seen[0], r0) {
				h.t.Errorf("%s saw another document than R0", l.to)
			}
		}
	}
	if !bytes.HasPrefix(signed, r0) {
		h.t.Error("the signed document does not begin with R0")
	}
	judgePDF(h.t, signed, signatures)
}

func (h *house) blob(b mailflow.Blob) []byte {
	h.t.Helper()
	f, err := h.blobs.Open(string(b))
	must(h.t, err)
	defer f.Close()
	return readAll(h.t, f)
}

// judgePDF verifies each signature over its byte range, and that the file alone proves them:
// with what it holds, and no network, a validator finds every certificate good.
func judgePDF(t testing.TB, signed []byte, signatures int) {
	t.Helper()
	if n := len(signers(t, signed)); n != signatures {
		t.Errorf("%d signatures, want %d", n, signatures)
	}
	subjects, known, err := signing.Subjects(bytes.NewReader(signed), int64(len(signed)))
	must(t, err)
	last := slices.MaxFunc(subjects, func(a, b revocation.Subject) int { return a.At.Compare(b.At) })
	offline, err := evidence.NewFetcher(evidence.FetcherOptions{Now: func() time.Time { return last.At.Add(time.Hour) }})
	must(t, err)
	stamps := 0
	for _, s := range subjects {
		if s.TimeStamping {
			stamps++
		}
		if strings.Contains(s.What, "DocTimeStamp") {
			s.At, s.Current = s.At.Add(-2*time.Minute), false // what proves the last timestamp was gathered just before it
		}
		if _, err := offline.Gather(t.Context(), []revocation.Subject{s}, known); err != nil {
			t.Errorf("the file does not prove %s: %v", s.What, err)
		}
	}
	if stamps != 2*signatures {
		t.Errorf("%d timestamps, want one of each signature and one over its evidence", stamps)
	}
}

// signers verifies each signature over its byte range and returns the certificates; a
// document timestamp must stamp its own. The last one of all must cover the whole file.
func signers(t testing.TB, signed []byte) []*x509.Certificate {
	t.Helper()
	f, err := pdf.Open(bytes.NewReader(signed), int64(len(signed)))
	must(t, err)
	must(t, f.CheckStructure())
	fields, err := f.SignatureFields()
	must(t, err)
	var certs []*x509.Certificate
	end := int64(0)
	for _, field := range fields {
		if !field.Signed {
			continue
		}
		r := field.ByteRange
		digest := sha256.Sum256(slices.Concat(signed[r[0]:r[0]+r[1]], signed[r[2]:r[2]+r[3]]))
		end = max(end, r[2]+r[3])
		der, err := hex.DecodeString(string(field.ContentsHex))
		must(t, err)
		der, err = cms.Trim(der)
		must(t, err)
		if field.Kind == pdf.TimestampField {
			token, err := timestamp.ParseToken(der)
			must(t, err)
			must(t, token.Covers(slices.Concat(signed[r[0]:r[0]+r[1]], signed[r[2]:r[2]+r[3]])))
			continue
		}
		parsed, err := cms.Parse(der)
		must(t, err)
		if err := cms.Verify(parsed, digest[:]); err != nil {
			t.Errorf("signature %s: %v", field.Name, err)
		}
		certs = append(certs, parsed.Signer)
	}
	if end != int64(len(signed)) {
		t.Errorf("the signatures cover %d bytes of %d", end, len(signed))
	}
	return certs
}

// judgeAudit checks that the audit log has no gap.
func (h *house) judgeAudit() {
	h.t.Helper()
	if h.bolt != nil {
		must(h.t, h.bolt.Check(h.t.Context()))
		return
	}
	size, root, err := h.mem.Tree(h.t.Context())
	must(h.t, err)
	entries, err := h.store.Events(h.t.Context(), 0, int(size)+1)
	must(h.t, err)
	all := func(yield func(store.Entry, error) bool) {
		for _, en := range entries {
			if !yield(en, nil) {
				return
			}
		}
	}
	if err := audit.Verify(all, h.mem, audit.Head{Size: size, Root: root}); err != nil {
		h.t.Errorf("the audit log: %v", err)
	}
}

// judgeSecrets looks for the codes and tokens of all letters in everything that was
// ever written: changes, audit entries, blobs other than the mails that came, logs.
func (h *house) judgeSecrets() {
	h.t.Helper()
	s := newSearch(h.relay.letters())
	for _, l := range h.relay.letters() { // the search itself must find what is there
		if (l.code() != "" || l.token() != "") && s.find(l.raw) == "" {
			h.t.Fatal("the search finds no secret in a letter that has one")
		}
	}
	h.mu.Lock()
	written := h.written
	h.mu.Unlock()
	for _, c := range written {
		for where, b := range changeBytes(c) {
			if kind := s.findDeep(b); kind != "" {
				h.t.Errorf("a %s is in %s", kind, where)
			}
		}
	}
	if kind := s.find([]byte(h.log.String())); kind != "" {
		h.t.Errorf("a %s is in the log", kind)
	}
	must(h.t, filepath.WalkDir(filepath.Join(h.dir, "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || h.incoming[e.Name()] {
			return err
		}
		b, err := os.ReadFile(path)
		if kind := s.find(b); kind != "" {
			h.t.Errorf("a %s is in the blob %s", kind, e.Name())
		}
		return err
	}))
}

// changeBytes names all that a change writes.
func changeBytes(c store.Change) map[string][]byte {
	all := map[string][]byte{"a handled key": []byte(strings.Join(c.Handled, "\n"))}
	if c.Row != nil {
		all["the request"] = c.Row.Data
	}
	for hash, ref := range c.Tokens {
		all["the index of tokens "+hash[:4]] = []byte(hash + " " + ref)
	}
	for _, e := range c.Add {
		all["the effect "+e.Key] = slices.Concat([]byte(e.Key+"\n"), e.Payload)
	}
	for _, st := range c.Settle {
		all["the note on "+st.Key] = []byte(st.Note)
	}
	for i, e := range c.Audit {
		all[fmt.Sprintf("audit entry %d", i)] = e.Data
	}
	return all
}

// A search knows the secrets of letters.
type search struct{ codes, tokens [][]byte }

func newSearch(letters []*letterSeen) search {
	var s search
	seen := map[string]bool{}
	for _, l := range letters {
		if c := strings.ReplaceAll(l.code(), " ", ""); c != "" && !seen[c] {
			half := len(c) / 2
			s.codes = append(s.codes, []byte(c), []byte(c[:half]+" "+c[half:]), []byte(c[:half]+"-"+c[half:]))
			seen[c] = true
		}
		if tok := l.token(); tok != "" && !seen[tok] {
			s.tokens = append(s.tokens, bytes.ToLower([]byte(tok)))
			seen[tok] = true
		}
	}
	return s
}

// find says which kind of secret is in b, or "". Soft line breaks (RFC 2045, 6.7)
// hide nothing. A code counts only where it stands alone: digests hold any digits.
func (s search) find(b []byte) string {
	if bytes.Contains(b, []byte("=\r\n")) {
		b = bytes.ReplaceAll(b, []byte("=\r\n"), nil)
	}
	for _, code := range s.codes {
		for rest := b; ; {
			i := bytes.Index(rest, code)
			if i < 0 {
				break
			}
			end := i + len(code)
			if (i == 0 || !alphanumeric(rest[i-1])) && (end == len(rest) || !alphanumeric(rest[end])) {
				return "code"
			}
			rest = rest[i+1:]
		}
	}
	lower := bytes.ToLower(b)
	for _, tok := range s.tokens {
		if bytes.Contains(lower, tok) {
			return "token"
		}
	}
	return ""
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// findDeep also looks into the base64 strings of JSON, as the pieces of a recipe
// are kept.
func (s search) findDeep(b []byte) string {
	if kind := s.find(b); kind != "" {
		return kind
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	for {
		tok, err := dec.Token()
		if err != nil {
			return ""
		}
		if text, ok := tok.(string); ok && len(text) >= 8 {
			if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
				if kind := s.find(raw); kind != "" {
					return kind
				}
			}
		}
	}
}
