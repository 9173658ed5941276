package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/cms"
	"countersign/signing/demopki"
	"countersign/signing/evidence"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

// A notary makes and extends signatures with the keys of one demo PKI.
type notary struct {
	*demopki.PKI
	t testing.TB
}

func newNotary(t testing.TB) notary {
	t.Helper()
	pki, err := demopki.New(now.AddDate(0, 0, -1), "Test")
	check(t, err)
	if dir := os.Getenv("KEEP"); dir != "" {
		root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pki.Root.Chain()[0].Raw})
		check(t, os.WriteFile(filepath.Join(dir, t.Name()+".pem"), root, 0o600))
	}
	return notary{pki, t}
}

// evidence is hand-made validation data: the chain of everybody and fresh revocation lists.
func (n notary) evidence(at time.Time) (d revocation.Data) {
	n.t.Helper()
	for _, id := range []*demopki.Identity{n.Seal, n.CA, n.Timestamps} {
		for _, c := range id.Chain() {
			d.Add(revocation.Data{Certs: [][]byte{c.Raw}})
		}
	}
	lists, err := n.CRLs(at)
	check(n.t, err)
	d.Add(revocation.Data{CRLs: lists})
	return d
}

// stampDigest gets a token over a digest.
func (n notary) stampDigest(at time.Time, digest []byte) []byte {
	n.t.Helper()
	clock := func() time.Time { return at }
	server := httptest.NewServer(n.TSA(clock))
	defer server.Close()
	client, err := evidence.New(evidence.Options{TSAs: []evidence.TSA{{URL: server.URL}}, Now: clock})
	check(n.t, err)
	token, err := client.TimestampDigest(n.t.Context(), digest, crypto.SHA256)
	check(n.t, err)
	return token.DER
}

// sign adds a B-T signature of the seal, in a field of its own.
func (n notary) sign(base []byte, p signing.Params, lock *pades.FieldLock) (out []byte, in signing.Intent, proof signing.Proof) {
	n.t.Helper()
	var r0 bytes.Buffer
	_, names, err := signing.Prepare(&r0, section(base), []pades.FieldSpec{{Name: "Signature", Lock: lock}})
	check(n.t, err)
	p.Field, p.Chain, p.SigningTime, p.TokenRoom = names[0], n.Seal.Chain(), now, 8192
	in, err = signing.NewIntent(bytes.NewReader(r0.Bytes()), int64(r0.Len()), p)
	check(n.t, err)
	ticket, err := signing.NewTicket(in)
	check(n.t, err)
	proof.Signature, err = ticket.Sign(context.Background(), n.Seal)
	check(n.t, err)
	proof.Token = stamp(n.t, n.PKI, now, proof.Signature)
	var buf bytes.Buffer
	res, err := signing.Finish(&buf, bytes.NewReader(r0.Bytes()), in, proof)
	check(n.t, err)
	check(n.t, signing.Check(bytes.NewReader(buf.Bytes()), res.Size, in))
	return buf.Bytes(), in, proof
}

// extend brings a file to B-LTA, or B-LT without room, with the extension stored as JSON in
// between.
func (n notary) extend(base []byte, at time.Time, d revocation.Data, room int) ([]byte, signing.Extension) {
	n.t.Helper()
	made, err := signing.NewExtension(bytes.NewReader(base), int64(len(base)), signing.ExtensionParams{Data: d, TokenRoom: room})
	check(n.t, err)
	stored, err := json.Marshal(made)
	check(n.t, err)
	var x signing.Extension
	check(n.t, json.Unmarshal(stored, &x))
	var token []byte
	if room > 0 {
		token = n.stampDigest(at, x.Digest)
	}
	var out bytes.Buffer
	res, err := signing.FinishExtension(&out, bytes.NewReader(base), x, token)
	check(n.t, err)
	if res.Size != int64(out.Len()) || !bytes.HasPrefix(out.Bytes(), base) {
		n.t.Fatalf("%d bytes written, said %d; or the file before is no prefix", out.Len(), res.Size)
	}
	check(n.t, signing.CheckExtension(bytes.NewReader(out.Bytes()), res.Size, x))
	return out.Bytes(), x
}

// judgeExtended asks the outside judges about a file with some signatures of the seal and
// document timestamps.
func (n notary) judgeExtended(base, out []byte, signatures int) {
	n.t.Helper()
	if code, text := qpdf(n.t, out); code != 0 {
		n.t.Errorf("qpdf --check: %s", text)
	}
	if valid, text := pdfsig(n.t, out); valid != signatures {
		n.t.Errorf("pdfsig: %d valid, want %d: %s", valid, signatures, text)
	}
	if bad := n.opensslTS(base, out); bad != "" {
		n.t.Error(bad)
	}
}

// opensslTS lets OpenSSL verify the document timestamps that out has and base has not.
func (n notary) opensslTS(base, out []byte) (bad string) {
	n.t.Helper()
	dir := n.t.TempDir()
	ca := filepath.Join(dir, "root.pem")
	check(n.t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.Root.Chain()[0].Raw}), 0o600))
	old := map[string]bool{}
	for _, fd := range fieldsOf(n.t, base) {
		old[fd.Name] = true
	}
	for _, fd := range fieldsOf(n.t, out) {
		if fd.Kind != pdf.TimestampField || old[fd.Name] {
			continue
		}
		padded, err := hex.DecodeString(string(fd.ContentsHex))
		check(n.t, err)
		der, err := cms.Trim(padded)
		check(n.t, err)
		r := fd.ByteRange
		check(n.t, os.WriteFile(filepath.Join(dir, "token"), der, 0o600))
		check(n.t, os.WriteFile(filepath.Join(dir, "data"), slices.Concat(out[:r[1]], out[r[2]:r[2]+r[3]]), 0o600))
		code, text := tool(n.t, "openssl", "ts", "-verify", "-token_in", "-in", filepath.Join(dir, "token"),
			"-data", filepath.Join(dir, "data"), "-CAfile", ca, "-attime", strconv.FormatInt(now.Unix(), 10))
		if code != 0 || !strings.Contains(text, "Verification: OK") {
			bad += "openssl ts, field " + fd.Name + ": " + text
		}
	}
	return bad
}

// TestExtend: every form of file becomes B-LTA, and again, in the eyes of outside readers.
func TestExtend(t *testing.T) {
	n := newNotary(t)
	for name, base := range samples(t) {
		t.Run(name, func(t *testing.T) {
			n := notary{n.PKI, t}
			bt, _, _ := n.sign(base, signing.Params{Certification: 2, Reason: "Agreed"}, nil)
			lta, _ := n.extend(bt, now, n.evidence(now), 8192)
			n.judgeExtended(bt, lta, 1)
			later, x := n.extend(lta, now.Add(time.Hour), n.evidence(now), 8192)
			n.judgeExtended(lta, later, 1)
			if x.Added.CRLs != 2 || x.Added.Certs != 0 { // the lists are signed anew
				t.Errorf("added %+v", x.Added)
			}
			keep(t, name, later)
		})
	}
}

// keep leaves a file for other judges in the folder that the environment names.
func keep(t testing.TB, name string, b []byte) {
	t.Helper()
	if dir := os.Getenv("KEEP"); dir != "" {
		check(t, os.WriteFile(filepath.Join(dir, strings.ReplaceAll(t.Name()+"-"+name, "/", "-")+".pdf"), b, 0o600))
	}
}

// TestExtendLocked: neither a certification that forbids all changes nor locks forbid to
// extend.
func TestExtendLocked(t *testing.T) {
	n := newNotary(t)
	for name, c := range map[string]struct {
		certification int
		lock          *pades.FieldLock
	}{
		"P=1":         {1, nil},
		"P=2, all":    {2, &pades.FieldLock{Lock: pdf.Lock{Action: pdf.LockAll}}},
		"P=3":         {3, nil},
		"all":         {0, &pades.FieldLock{Lock: pdf.Lock{Action: pdf.LockAll}}},
		"P=1, listed": {1, &pades.FieldLock{Lock: pdf.Lock{Action: pdf.LockInclude, Fields: []string{"DocTimeStamp"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			n := notary{n.PKI, t}
			bt, _, _ := n.sign(pdf.Sample("x", nil), signing.Params{Certification: c.certification, Reason: name}, c.lock)
			lta, _ := n.extend(bt, now, n.evidence(now), 8192)
			n.judgeExtended(bt, lta, 1)
			later, _ := n.extend(lta, now.Add(time.Hour), n.evidence(now), 8192)
			n.judgeExtended(lta, later, 1)
			keep(t, name, later)
		})
	}
}
