package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/evidence"
	"countersign/signing/keys"
	"countersign/signing/keys/ca"
	"countersign/signing/keys/file"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
	"countersign/signing/stamp"
)

type signCmd struct {
	Key     string       `help:"Key to sign with: file:/path/seal.p12?password-file=/path/seal.pw" placeholder:"URI" xor:"key" required:""`
	Demo    bool         `help:"Sign with a demo key, demo CA and demo time-stamping authority made for this one run." xor:"key" required:""`
	Level   string       `help:"PAdES level: B-B, B-T, B-LT or B-LTA. Default: B-LTA where there is a time-stamping authority, else B-B."`
	PSS     bool         `name:"pss" help:"RSA keys: sign with RSASSA-PSS instead of PKCS #1 v1.5."`
	Certify certifyLevel `help:"Certify the document: afterwards only form filling and further signatures are allowed (P=2, the default), or nothing (--certify=1), or annotations, too (--certify=3). It must be the first signature."`
	Field   string       `help:"Fill this empty signature field of the document instead of adding one." placeholder:"NAME"`
	Reason  string       `help:"Reason stated in the signature."`
	Signer  []string     `sep:"none" help:"With --demo: sign for these people too, in order, each with a one-use key: 'Name <address>'. The fields of all are made first." placeholder:"PERSON"`
	Root    string       `help:"With --demo: write the demo root certificate here (PEM), to verify against." placeholder:"FILE"`
	placeFlags
	evidenceFlags
	inspectFlags
	repairFlags
	In  string `arg:"" name:"in.pdf" help:"PDF to sign."`
	Out string `arg:"" name:"out.pdf" help:"Signed PDF; it begins, byte for byte, with the input."`
}

// Run signs one file.
func (c *signCmd) Run(ctx context.Context, t terminal) (err error) {
	if err := c.checkFiles(); err != nil {
		return err
	}
	given := c.In
	if c.In, err = c.rebuild(given, t.err); err != nil {
		return err
	}
	defer func() {
		if err != nil && c.In != given { // so that the same command can be given again
			err = errors.Join(err, os.Remove(c.In))
		}
	}()
	look := c.inspect(ctx, c.In, t.err)
	defer look.end()
	j, stop, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer stop()
	j.inspected = look.wait
	res, err := j.run(ctx, c.In, c.Out)
	if err != nil {
		return refusal(fmt.Errorf("signing %s: %w", given, c.hint(err)))
	}
	fmt.Fprintf(t.out, "%s: %d signature(s) added, level %s, SHA-256 %s\n", c.Out, len(j.steps), j.level, res.SHA256)
	if !j.lasts.IsZero() {
		fmt.Fprintf(t.out, "%s: run countersign extend on it before %s, when the timestamp's certificate ends\n", c.Out, day(j.lasts))
	}
	return nil
}

// A signJob is a row of signatures over one file.
type signJob struct {
	steps []signStep
	level string
	prover
	data   revocation.Data // what proves the signatures made so far
	field  string          // existing field for the first step
	places []*pades.Place  // of the new fields, in order; nil where a field is invisible
	font   *stamp.Font     // of visible signatures; nil: the built-in one
	// inspected waits for the inspection of the document.
	inspected func() error
	lasts     time.Time // end of the document timestamp's certificate (B-LTA)
}

type signStep struct {
	key    signing.Key
	params signing.Params
}

// open gets the keys and the time-stamping authority.
func (c *signCmd) open(ctx context.Context) (*signJob, func(), error) {
	level, err := c.levelOf(c.Level, c.Demo)
	if err != nil {
		return nil, nil, err
	}
	if len(c.Signer) > 0 && (!c.Demo || c.Field != "") || c.Root != "" && !c.Demo {
		return nil, nil, errors.New("--signer and --root go with --demo only, and --signer not with --field")
	}
	if err := checkCertify(c.Certify, c.Signer); err != nil {
		return nil, nil, err
	}
	j := &signJob{level: level, field: c.Field}
	if j.places, err = c.places(c.Field, 1+len(c.Signer)); err != nil {
		return nil, nil, err
	}
	if j.font, err = c.font(); err != nil {
		return nil, nil, err
	}
	first := signing.Params{
		Reason: c.Reason, PSS: c.PSS, Certification: int(c.Certify), Name: c.Name, Location: c.Location, ContactInfo: c.Contact,
	}
	if c.Demo {
		return c.openDemo(j, first)
	}
	key, err := openKey(ctx, c.Key)
	if err != nil {
		return nil, nil, err
	}
	j.steps = []signStep{{key, first}}
	j.prover, err = c.newProver(level)
	return j, func() {}, err
}

func tsas(urls []string, trusted *x509.CertPool) []evidence.TSA {
	var list []evidence.TSA
	for _, u := range urls {
		list = append(list, evidence.TSA{URL: u, Roots: trusted})
	}
	return list
}

// openKey opens a key by its URI.
func openKey(ctx context.Context, uri string) (signing.Key, error) {
	openers := keys.Openers{"file": func(_ context.Context, u *url.URL, secrets keys.Secrets) (signing.Key, error) {
		return file.OpenURI(u, secrets, time.Now())
	}}
	key, err := openers.Open(ctx, uri, file.Secret)
	if err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	return key, nil
}

// openDemo serves on loopback what proves the keys that [signCmd.demoSteps] makes.
func (c *signCmd) openDemo(j *signJob, first signing.Params) (*signJob, func(), error) {
	mux := http.NewServeMux()
	url, stop, err := serveLoopback("127.0.0.1:0", mux)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	pki, err := demopki.Make(demopki.Options{Now: now, Organisation: "Countersign Demo", URL: url})
	if err == nil {
		mux.Handle("/", pki.Server(time.Now))
		j.steps, err = c.demoSteps(pki, first, now)
	}
	if err == nil {
		own := c.evidenceFlags
		own.AllowPrivate = append(own.AllowPrivate, "127.0.0.1")
		if len(own.TSA) == 0 {
			own.TSA = []string{url + "/tsa"}
		}
		j.prover, err = own.newProver(j.level)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return j, stop, nil
}

// demoSteps makes keys for one run: the seal's and one for each signer.
func (c *signCmd) demoSteps(pki *demopki.PKI, first signing.Params, now time.Time) ([]signStep, error) {
	if c.Root != "" {
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pki.Root.Chain()[0].Raw})
		if err := os.WriteFile(c.Root, block, 0o644); err != nil {
			return nil, err
		}
	}
	steps := []signStep{{pki.Seal, first}}
	for _, person := range c.Signer {
		a, err := mail.ParseAddress(person)
		if err != nil {
			return nil, fmt.Errorf("--signer %q: write it as 'Name <address>': %w", person, err)
		}
		key, err := demoSigner(pki, a, now)
		if err != nil {
			return nil, fmt.Errorf("--signer %q: %w", person, err)
		}
		steps = append(steps, signStep{key, signing.Params{Name: a.Name, ContactInfo: a.Address, Reason: c.Reason}})
	}
	return steps, nil
}

// demoSigner issues a one-use key to a person.
func demoSigner(pki *demopki.PKI, a *mail.Address, now time.Time) (signing.Key, error) {
	urls := pki.URLsOf(pki.CA)
	authority, err := ca.New(ca.Options{Key: pki.CA, CRLURLs: urls.CRL, OCSPURLs: urls.OCSP, IssuerURLs: urls.Issuer})
	if err != nil {
		return nil, err
	}
	return authority.Issue(context.Background(), ca.Subject{Name: a.Name, Address: a.Address, RequestID: "demo"}, now, rand.Reader)
}

// run makes the signed file in a scratch directory beside the output, and moves it into
// place once all of it is checked.
func (j *signJob) run(ctx context.Context, in, out string) (res signing.Result, err error) {
	err = inScratch(out, func(dir string) (string, error) {
		if err := j.checkIn(ctx, in); err != nil {
			return "", err
		}
		path := filepath.Join(dir, "signed.pdf")
		return path, rewrite(in, path, func(w, base *os.File, size int64) error {
			p, err := signing.NewPass(w, io.NewSectionReader(base, 0, size))
			if err != nil {
				return err
			}
			defer p.Close()
			res, err = j.sign(ctx, p)
			return err
		})
	})
	return res, err
}

// sign makes R0, then one revision after the other, in one pass.
func (j *signJob) sign(ctx context.Context, p *signing.Pass) (res signing.Result, err error) {
	fields := []string{j.field}
	if j.field == "" {
		if res, fields, err = p.Prepare(j.specs()); err != nil {
			return res, err
		}
	}
	if j.level == "B-LTA" { // found out before a key is asked
		if err := p.CheckTimestamp(fields); err != nil {
			return res, err
		}
	}
	if err := j.inspected(); err != nil {
		return res, err
	}
	for i, s := range j.steps {
		s.params.Unprepared = i == 0 && j.field != ""
		s.params.Field, s.params.Lock = fields[i], lockStep(fields, i, s.params.Certification > 0)
		if res, err = j.signOne(ctx, p, s); err != nil {
			return res, err
		}
	}
	if atLeast(j.level, "B-LT") {
		return j.lasting(ctx, p)
	}
	return res, nil
}

// checkIn finds out, before a key is asked, whether the level can be had: that signatures in
// the file stand, that an authority stamps, and how long its tokens are.
func (j *signJob) checkIn(ctx context.Context, in string) error {
	if atLeast(j.level, "B-LT") {
		if err := withFile(in, signing.CheckExtendable); err != nil {
			return err
		}
	}
	return j.ready(ctx)
}

// specs says which fields to make.
func (j *signJob) specs() []pades.FieldSpec {
	var specs []pades.FieldSpec
	for i, s := range j.steps {
		name := fmt.Sprintf("Signature%d", i+1)
		if s.params.Certification > 0 {
			name = "Seal"
		}
		spec := pades.FieldSpec{Name: name, Place: j.places[i]}
		if s.params.Certification > 0 && len(j.steps) > 1 {
			// As in a request: the seal locks all fields but those of the signers.
			spec.Lock = &pades.FieldLock{Lock: pdf.Lock{Action: pdf.LockExclude}, New: true}
		}
		specs = append(specs, spec)
	}
	return specs
}

// rewrite opens one file and writes another from it.
func rewrite(in, out string, write func(w, base *os.File, size int64) error) error {
	base, err := os.Open(in)
	if err != nil {
		return err
	}
	defer base.Close()
	st, err := base.Stat()
	if err != nil {
		return err
	}
	w, err := os.OpenFile(out, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(write(w, base, st.Size()), w.Close())
}

// signOne makes one signature, with its timestamp.
func (j *signJob) signOne(ctx context.Context, p *signing.Pass, s signStep) (signing.Result, error) {
	s.state(time.Now(), j.font)
	job := signing.Job{Params: s.params, Key: s.key}
	if j.client != nil {
		job.TokenRoom = j.client.TokenRoom()
		job.Stamp = func(ctx context.Context, signature []byte) ([]byte, error) {
			token, err := j.client.Timestamp(ctx, signature, crypto.SHA256)
			return token.DER, err
		}
	}
	made, err := p.Sign(ctx, job)
	if err != nil {
		return made.Result, err
	}
	return made.Result, j.addEvidence(ctx, made.Intent, made.Proof)
}

// lasting adds what proves the signatures and, but at level B-LT, a document timestamp. Should
// another authority step in whose tokens are larger, it is laid out anew, with room for them.
func (j *signJob) lasting(ctx context.Context, p *signing.Pass) (res signing.Result, err error) {
	params := signing.ExtensionParams{Data: j.data, Strict: j.strict}
	if j.level == "B-LT" {
		_, res, err = p.Extend(ctx, params, nil)
		return res, err
	}
	if err := j.ready(ctx); err != nil {
		return res, err
	}
	stamp := func(ctx context.Context, digest []byte, h crypto.Hash) ([]byte, error) {
		token, err := j.client.TimestampDigest(ctx, digest, h)
		if err == nil {
			j.lasts = token.Signer.NotAfter
		}
		return token.DER, err
	}
	for range 2 {
		params.TokenRoom = j.client.TokenRoom()
		if _, res, err = p.Extend(ctx, params, stamp); !errors.Is(err, pades.ErrNoRoom) {
			break
		}
	}
	return res, err
}

// addEvidence gathers what proves a signature just made, before its certificate ends.
func (j *signJob) addEvidence(ctx context.Context, in signing.Intent, p signing.Proof) error {
	if j.fetcher == nil {
		return nil
	}
	subjects, err := signing.SubjectsOf(in, p)
	if err != nil {
		return err
	}
	more, err := j.gather(ctx, subjects, j.data)
	if err != nil {
		return err
	}
	j.data.Add(more)
	return nil
}
