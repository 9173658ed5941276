package engine_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/engine"
	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/pades"
	"countersign/signing/revocation"
)

// signedElsewhere returns a draft that somebody of another PKI has signed, without a timestamp.
// Where that PKI serves what proves it nobody of the tests may ask.
func signedElsewhere(t testing.TB) []byte {
	t.Helper()
	pki, err := demopki.Make(demopki.Options{Now: opening.Add(-time.Hour), Organisation: "Partner", URL: "http://10.1.2.3"})
	must(t, err)
	base := contract().pdf
	var r0, out bytes.Buffer
	_, names, err := signing.Prepare(&r0, io.NewSectionReader(bytes.NewReader(base), 0, int64(len(base))), []pades.FieldSpec{{Name: "Partner"}})
	must(t, err)
	in, err := signing.NewIntent(bytes.NewReader(r0.Bytes()), int64(r0.Len()), signing.Params{
		Field: names[0], Chain: pki.Seal.Chain(), SigningTime: opening.Add(-time.Hour),
	})
	must(t, err)
	ticket, err := signing.NewTicket(in)
	must(t, err)
	signature, err := ticket.Sign(context.Background(), pki.Seal)
	must(t, err)
	_, err = signing.Finish(&out, bytes.NewReader(r0.Bytes()), in, signing.Proof{Signature: signature})
	must(t, err)
	return out.Bytes()
}

// TestSignedElsewhere: earlier signatures that nobody can prove any more, by their kind or
// because nobody answers, keep nobody waiting. That they are not proven is told.
func TestSignedElsewhere(t *testing.T) {
	whole := signedElsewhere(t)
	for name, draft := range map[string][]byte{
		"nobody to ask": whole,
		"an old kind":   bytes.Replace(whole, []byte("/ETSI.CAdES.detached"), []byte("/adbe.x509.rsa_sha1 "), 1),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, options{})
			h.people[ben.Addr], h.people[carla.Addr] = approves, agrees
			m := contract(signs(carla))
			m.pdf = draft
			h.sends(m)
			h.settle(time.Minute)
			code := h.last(carla, mailflow.LetterCode)
			h.replies(code, code.code())
			h.settle(time.Hour)
			d := h.wantState(mailflow.StateCompleted)
			if got := detail(d, "evidence stored", "unproved"); !strings.Contains(got, `the signature in field "Partner"`) {
				t.Errorf("not proven, by the log: %q", got)
			}
		})
	}
}

// limitOf remembers the limit within which evidence about others was asked for.
type limitOf struct {
	engine.Evidence
	others *time.Duration
}

func (l limitOf) Gather(ctx context.Context, subjects []revocation.Subject, known revocation.Data) (revocation.Data, error) {
	if at, limited := ctx.Deadline(); limited && strings.Contains(subjects[0].What, "Partner") {
		*l.others = time.Until(at)
	}
	return l.Evidence.Gather(ctx, subjects, known)
}

// TestSilenceElsewhere: however long the responders of others are silent, a request waits a few
// minutes for all of them together.
func TestSilenceElsewhere(t *testing.T) {
	h := newHouse(t, options{Workers: 1})
	l := limitOf{h.config.Evidence, new(time.Duration)}
	h.config.Evidence = l
	h.restart()
	m := notice()
	m.pdf = signedElsewhere(t)
	h.sends(m)
	h.settle(time.Hour)
	h.wantState(mailflow.StateCompleted)
	if *l.others <= 0 || *l.others > 5*time.Minute {
		t.Errorf("others have %v", *l.others)
	}
}

// TestCrowdedStore: a draft brings along hundreds of certificates with the name and the key
// identifier of our own CA. They stand in nobody's way.
func TestCrowdedStore(t *testing.T) {
	h := newHouse(t, options{})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	var crowd revocation.Data
	for i := range 200 {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), RawSubject: h.root.RawSubject, SubjectKeyId: h.root.SubjectKeyId, IsCA: true,
			BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: opening.Add(time.Hour), NotAfter: h.root.NotAfter,
		}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		must(t, err)
		crowd.Certs = append(crowd.Certs, der)
	}
	base := signedElsewhere(t)
	x, err := signing.NewExtension(bytes.NewReader(base), int64(len(base)), signing.ExtensionParams{Data: crowd})
	must(t, err)
	var draft bytes.Buffer
	_, err = signing.FinishExtension(&draft, bytes.NewReader(base), x, nil)
	must(t, err)
	m := notice()
	m.pdf = draft.Bytes()
	h.sends(m)
	h.settle(time.Hour)
	d := h.wantState(mailflow.StateCompleted)
	if got := detail(d, "evidence stored", "unproved"); got != `the signature in field "Partner"` {
		t.Errorf("not proven: %q", got)
	}
}
