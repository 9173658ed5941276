//go:build judge

package judge

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/evidence"
	"countersign/signing/keys/ca"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
)

// A world has a clock, authorities that serve under it, and keys.
type world struct {
	clock   func() time.Time
	pki     *demopki.PKI
	server  *demopki.Server
	tsa     string // URL
	client  *evidence.Client
	fetcher *evidence.Fetcher
	keys    map[string]*demopki.Identity
	oneUse  *ca.CA // issues as the daemon does: no service is named
}

// newWorld makes authorities that are as old as the world. The key of the organisation's
// seal is of the given kind.
func newWorld(t testing.TB, clock func() time.Time, kind demopki.Algorithm) *world {
	t.Helper()
	w := &world{clock: clock, keys: map[string]*demopki.Identity{}}
	listener := httptest.NewUnstartedServer(nil)
	url := "http://" + listener.Listener.Addr().String()
	var err error
	w.pki, err = demopki.Make(demopki.Options{Now: clock(), Organisation: "Judged", URL: url, Algorithm: kind})
	check(t, err)
	w.server = w.pki.Server(clock)
	listener.Config.Handler = w.server
	listener.Start()
	t.Cleanup(listener.Close)
	w.tsa = url + "/tsa"
	w.oneUse, err = ca.New(ca.Options{Key: w.pki.CA, IssuerURLs: w.pki.URLsOf(w.pki.CA).Issuer})
	check(t, err)
	w.client, err = evidence.New(evidence.Options{TSAs: []evidence.TSA{{URL: w.tsa}}, Now: clock})
	check(t, err)
	w.fetcher, err = evidence.NewFetcher(evidence.FetcherOptions{
		Roots: []*x509.Certificate{w.root()}, Allow: []string{"127.0.0.1"}, Now: clock, Sources: []evidence.Source{w.own},
	})
	check(t, err)
	return w
}

func (w *world) root() *x509.Certificate {
	chain := w.pki.Root.Chain()
	return chain[len(chain)-1]
}

// own is an evidence.Source like the daemon's: the CA of one-use certificates, which name
// no service, tells of them now.
func (w *world) own(ctx context.Context, cert, _ *x509.Certificate, _ time.Time) (revocation.Data, error) {
	if len(cert.OCSPServer)+len(cert.CRLDistributionPoints) > 0 || !w.oneUse.Issued(cert) {
		return revocation.Data{}, nil
	}
	return w.oneUse.Prove(ctx, cert, w.clock())
}

// issue makes a one-use key, whose certificate lasts a day.
func (w *world) issue(t testing.TB, name string) signing.Key {
	t.Helper()
	key, err := w.oneUse.Issue(context.Background(), ca.Subject{Name: name, Address: "signer@example.org", RequestID: "r1"}, w.clock(), rand.Reader)
	check(t, err)
	return key
}

// key issues a certificate for a key of a kind, once; for the kind oneUse, for each call.
func (w *world) key(t testing.TB, kind demopki.Algorithm) signing.Key {
	t.Helper()
	if kind == oneUse {
		return w.issue(t, "Ann Archer")
	}
	k := w.keys[string(kind)]
	if k == nil {
		var err error
		k, err = w.pki.NewSigner("signer "+string(kind), kind, w.clock(), 2*365*24*time.Hour)
		check(t, err)
		w.keys[string(kind)] = k
	}
	return k
}

// prepare makes R0.
func prepare(base []byte, specs ...pades.FieldSpec) ([]byte, []string, error) {
	var out bytes.Buffer
	_, names, err := signing.Prepare(&out, io.NewSectionReader(bytes.NewReader(base), 0, int64(len(base))), specs)
	return out.Bytes(), names, err
}

// sign makes one signature, at B-B, or at B-T for all other levels.
func (w *world) sign(base []byte, key signing.Key, p signing.Params, level string) ([]byte, error) {
	out, _, err := w.signFor(base, key, p, level)
	return out, err
}

// signFor makes one signature and says what it needs evidence for.
func (w *world) signFor(base []byte, key signing.Key, p signing.Params, level string) ([]byte, []revocation.Subject, error) {
	p.SigningTime, p.Chain = w.clock(), key.Chain()
	if level != "B-B" {
		p.TokenRoom = w.client.TokenRoom()
	}
	in, err := signing.NewIntent(bytes.NewReader(base), int64(len(base)), p)
	if err != nil {
		return nil, nil, err
	}
	proof, err := w.prove(in, key, level)
	if err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	res, err := signing.Finish(&out, bytes.NewReader(base), in, proof)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.HasPrefix(out.Bytes(), base) {
		return nil, nil, errors.New("the signed file does not begin with what was signed")
	}
	if err := signing.Check(bytes.NewReader(out.Bytes()), res.Size, in); err != nil {
		return nil, nil, err
	}
	subjects, err := signing.SubjectsOf(in, proof)
	return out.Bytes(), subjects, err
}

// prove signs an intent and has the signature stamped.
func (w *world) prove(in signing.Intent, key signing.Key, level string) (signing.Proof, error) {
	ticket, err := signing.NewTicket(in)
	if err != nil {
		return signing.Proof{}, err
	}
	signature, err := ticket.Sign(context.Background(), key)
	if err != nil || level == "B-B" {
		return signing.Proof{Signature: signature}, err
	}
	token, err := w.client.Timestamp(context.Background(), signature, crypto.SHA256)
	return signing.Proof{Signature: signature, Token: token.DER}, err
}

// extend adds the evidence for all that is in a file, as far as it is not known, and for
// B-LTA a document timestamp. Signatures without a timestamp get one of the document
// first, as evidence must be younger than what it is about.
func (w *world) extend(base []byte, level string, known revocation.Data) (out []byte, timestamps int, err error) {
	subjects, inside, err := signing.Subjects(bytes.NewReader(base), int64(len(base)))
	if err != nil {
		return nil, 0, err
	}
	if slices.ContainsFunc(subjects, func(s revocation.Subject) bool { return s.At.IsZero() }) {
		if base, err = w.increment(base, revocation.Data{}, true); err != nil {
			return nil, 0, err
		}
		out, timestamps, err = w.extend(base, level, known)
		return out, timestamps + 1, err
	}
	known.Add(inside)
	if level == "B-LTA" {
		if err := w.client.Probe(context.Background()); err != nil {
			return nil, 0, err
		}
		if authority, ok := w.client.Authority(); ok {
			subjects = append(subjects, authority)
		}
	}
	data, err := w.fetcher.Gather(context.Background(), subjects, known)
	if err != nil {
		return nil, 0, err
	}
	if level == "B-LTA" {
		timestamps = 1
	}
	out, err = w.increment(base, data, level == "B-LTA")
	return out, timestamps, err
}

// increment adds evidence, and a document timestamp if stamp is set.
func (w *world) increment(base []byte, data revocation.Data, stamp bool) ([]byte, error) {
	p := signing.ExtensionParams{Data: data}
	if stamp {
		p.TokenRoom = w.client.TokenRoom()
	}
	x, err := signing.NewExtension(bytes.NewReader(base), int64(len(base)), p)
	if err != nil {
		return nil, err
	}
	var token []byte
	if stamp {
		t, err := w.client.TimestampDigest(context.Background(), x.Digest, x.Hash)
		if err != nil {
			return nil, err
		}
		token = t.DER
	}
	var out bytes.Buffer
	if _, err := signing.FinishExtension(&out, bytes.NewReader(base), x, token); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(out.Bytes(), base) {
		return nil, errors.New("the extended file does not begin with what was extended")
	}
	return out.Bytes(), signing.CheckExtension(bytes.NewReader(out.Bytes()), int64(out.Len()), x)
}

// exhibit is a file of this world, judged a minute later. For a signature below B-LT
// the validator gets the revocation lists of now.
func (w *world) exhibit(t testing.TB, b []byte, timestamps int, signatures ...wanted) exhibit {
	t.Helper()
	e := exhibit{pdf: b, at: w.clock().Add(time.Minute), root: w.root(), signatures: signatures, timestamps: timestamps}
	for _, s := range signatures {
		e.trailer = s.level == "B-LT"
		if s.level == "B-B" || s.level == "B-T" {
			var err error
			e.crls, err = w.pki.CRLs(w.clock())
			check(t, err)
		}
	}
	return e
}

// rewritten lets qpdf write a file in another form.
func rewritten(t testing.TB, base []byte, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pdf"), filepath.Join(dir, "out.pdf")
	check(t, os.WriteFile(in, base, 0o600))
	code, text, err := tool(append([]string{"qpdf", "--static-id", in, out}, args...)...)
	check(t, err)
	if code != 0 {
		t.Fatalf("qpdf %v: %s", args, text)
	}
	b, err := os.ReadFile(out)
	check(t, err)
	return b
}

// updated adds and replaces objects in an increment.
func updated(t testing.TB, base []byte, change func(*pdf.File, *pdf.Update)) []byte {
	t.Helper()
	f, err := pdf.Open(bytes.NewReader(base), int64(len(base)))
	check(t, err)
	u := f.NewUpdate()
	change(f, u)
	increment, err := u.Finish()
	check(t, err)
	return append(bytes.Clone(base), increment...)
}
