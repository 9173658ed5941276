package engine_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"countersign/mailflow"
	"countersign/mailflow/engine"
	"countersign/mailflow/rules"
	"countersign/mailflow/sender"
	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/evidence"
	"countersign/signing/keys/ca"
	"countersign/signing/revocation"
	"countersign/store"
	"countersign/store/blobs"
	"countersign/store/boltstore"
	"countersign/store/memstore"
	"countersign/store/storetest"
)

// opening is when every test begins.
var opening = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

// A clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func (c *clock) advance(d time.Duration) { c.set(c.Now().Add(d)) }

// syncBuffer takes in the log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// options say how a house is built. The zero value is good.
type options struct {
	Workers int           // default 8
	Expires time.Duration // of contracts; default 30 days
	Bolt    bool          // keep the state on disk
	Dir     string        // of state and blobs; default: a new one
	// Plan fails writes.
	Plan func(op storetest.Op) storetest.Fault
	// Restart starts a new engine on the reopened store after each failed write.
	Restart bool
}

// A house is an engine with everything around it: a store whose writes fail by
// plan, blobs on disk, a CA, a time-stamping authority, a relay that keeps letters,
// and people who answer them. Nothing happens but by its methods, at the time of
// its clock.
type house struct {
	t     testing.TB
	opts  options
	clock *clock
	store *storetest.Faulty
	mem   *memstore.Store
	bolt  *boltstore.Store
	blobs *blobs.Store
	dir   string
	relay *relay
	pki   *demopki.Server
	tsa   *demopki.TSA
	// authority is the certificate that tsa signs with.
	authority *x509.Certificate
	tsaURL    string
	root      *x509.Certificate
	config    engine.Config
	engine    *engine.Engine
	log       *syncBuffer

	// mailbox holds mails that the engine has not taken in yet; incoming names
	// every mail that came, by its blob.
	mailbox  []engine.Inbound
	incoming map[string]bool
	serial   int
	// people answer the letters that they get; read says which they have read.
	people map[string]func(l *letterSeen) string
	read   map[string]bool
	// asleep: people read nothing. afterStep, if set, is called after each step with
	// the number of steps so far.
	asleep    bool
	afterStep func(n int)
	steps     int
	// forgiven says which errors of the engine are expected.
	forgiven func(err error) bool

	mu      sync.Mutex
	faults  int
	failed  bool           // since the last restart
	written []store.Change // all that was ever offered to the store
}

func newHouse(t testing.TB, o options) *house {
	t.Helper()
	h := &house{
		t: t, opts: o, clock: &clock{now: opening}, dir: o.Dir, log: &syncBuffer{}, incoming: map[string]bool{},
		people: map[string]func(*letterSeen) string{}, read: map[string]bool{},
		forgiven: func(err error) bool { return errors.Is(err, storetest.ErrInjected) },
	}
	switch {
	case h.dir != "":
	case o.Bolt:
		h.dir = t.TempDir()
	default:
		h.dir = memoryDir(t)
	}
	h.relay = &relay{clock: h.clock}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	pki, err := demopki.Make(demopki.Options{Now: opening, Organisation: "Acme Ltd", URL: server.URL})
	must(t, err)
	h.pki = pki.Server(h.clock.Now)
	mux.Handle("/", h.pki)
	h.root = pki.Root.Chain()[0]
	h.tsa, h.authority, h.tsaURL = h.pki.TSA, pki.Timestamps.Chain()[0], server.URL+"/tsa"
	client, err := evidence.New(evidence.Options{TSAs: []evidence.TSA{{URL: server.URL + "/tsa"}}, Now: h.clock.Now})
	must(t, err)
	fetcher, err := evidence.NewFetcher(evidence.FetcherOptions{Allow: []string{"127.0.0.1"}, Now: h.clock.Now})
	must(t, err)
	urls := pki.URLsOf(pki.CA)
	authority, err := ca.New(ca.Options{Key: pki.CA, CRLURLs: urls.CRL, OCSPURLs: urls.OCSP})
	must(t, err)
	secrets, err := mailflow.NewSecrets(bytes.Repeat([]byte{7}, mailflow.SecretSize))
	must(t, err)
	blobDir := filepath.Join(h.dir, "blobs")
	must(t, os.MkdirAll(blobDir, 0o700))
	h.blobs, err = blobs.Open(blobDir)
	must(t, err)
	t.Cleanup(func() { must(t, h.blobs.Close()) })
	h.store = &storetest.Faulty{Plan: h.plan}
	h.config = engine.Config{
		Store: h.store, Blobs: blobFiles{h.blobs}, Secrets: secrets, Rules: testRules(t, o.Expires),
		Organisation: "Acme Ltd", Domains: []string{ownDomain},
		Mailboxes: []engine.Mailbox{{Name: "sign", Address: signAddress, Sender: sender.Config{
			Hops: 1, AuthservID: authserv, OwnDomains: []string{ownDomain},
		}}},
		Relay: h.relay, Seals: map[string]signing.Key{"seal": pki.Seal}, Issuer: issuer{authority},
		TSA: stamper{client, h.clock}, Evidence: gatherer{fetcher}, Limits: engine.Limits{Document: 10 << 20, Mail: 20 << 20, Documents: 5},
		Now: h.clock.Now, Log: slog.New(slog.NewTextHandler(h.log, nil)), Workers: o.Workers,
	}
	h.restart()
	t.Cleanup(func() {
		must(t, h.store.Close())
		if t.Failed() {
			t.Logf("log:\n%s", h.log)
		}
	})
	return h
}

// memoryDir is a directory in memory where the system has one: thousands of blobs are
// synced in these tests, and only those with the state on disk too need a disk.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "countersign-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testRules are those of the demo: a contract that Ben approves, and a notice.
func testRules(t testing.TB, expires time.Duration) *rules.Set {
	t.Helper()
	set, err := rules.Compile(rules.World{
		Organisation: "Acme Ltd", Domains: []string{ownDomain}, Mailboxes: []rules.Mailbox{{Name: "sign", Address: signAddress}},
		Limits: rules.Limits{PDF: 10 << 20, Documents: 5}, Keys: []string{"seal", "signing_ca"}, TSA: []string{"http://127.0.0.1/"},
	}, []rules.Rule{
		{Name: "notices", Match: rules.Match{Tag: "notice", From: []rules.Pattern{"@" + ownDomain}}},
		{
			Name: "contracts", Match: rules.Match{From: []rules.Pattern{rules.Pattern(ann.Addr)}},
			Approvers: rules.People{List: []rules.Person{{Address: rules.Address{Name: ben.Name, Addr: ben.Addr}}}},
			Signers:   rules.People{From: rules.FromDraft},
			Open:      rules.Open{Viewer: []rules.Pattern{"*"}},
			Reason:    "Contract agreed",
			Expires:   rules.Duration(expires),
		},
	})
	must(t, err)
	return set
}

// restart is the end of the process and a new start: the store is opened again, and
// what was in memory only is lost.
func (h *house) restart() {
	h.t.Helper()
	switch {
	case h.opts.Bolt:
		if h.bolt != nil {
			must(h.t, h.bolt.Close())
		}
		var err error
		h.bolt, err = boltstore.Open(filepath.Join(h.dir, "state.db"), boltstore.Options{})
		must(h.t, err)
		h.store.Store = h.bolt
	case h.mem == nil:
		h.mem = memstore.New()
		h.store.Store = h.mem
	default:
		h.mem = h.mem.Reopen()
		h.store.Store = h.mem
	}
	var err error
	h.engine, err = engine.New(h.config)
	must(h.t, err)
	h.failed = false
}

// plan remembers every change and fails those that the options say.
func (h *house) plan(op storetest.Op) storetest.Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.written = append(h.written, op.Changes...)
	if h.opts.Plan == nil {
		return storetest.Fault{}
	}
	f := h.opts.Plan(op)
	if f.Fail {
		h.faults++
		h.failed = true
	}
	return f
}

// settle lets everything happen that can: mails are taken in, effects run, people
// answer, and the clock moves on to each effect that is due within span.
func (h *house) settle(span time.Duration) {
	h.t.Helper()
	end := h.clock.Now().Add(span)
	for range 10_000 {
		if h.step() {
			continue
		}
		due, err := h.store.NextDue(h.t.Context(), nil)
		must(h.t, err)
		if due.IsZero() || due.After(end) {
			h.clock.set(end)
			return
		}
		if now := h.clock.Now(); due.After(now) {
			h.clock.set(due)
		}
	}
	h.t.Fatal("the house does not come to rest")
}

// step does one thing, if there is something to do: one mail is taken in, or the
// effects that are due now are run and their letters read.
func (h *house) step() bool {
	h.t.Helper()
	worked := true
	if len(h.mailbox) > 0 {
		h.receive()
	} else {
		n, err := h.engine.RunDue(h.t.Context())
		if err != nil && !h.forgiven(err) {
			h.t.Fatalf("claiming: %v", err)
		}
		h.answer()
		worked = n > 0 || err != nil || len(h.mailbox) > 0
	}
	if h.failed && h.opts.Restart {
		h.restart()
	}
	if worked {
		h.steps++
		if h.afterStep != nil {
			h.afterStep(h.steps)
		}
	}
	return worked
}

// receive offers the oldest mail to the engine; it stays where it is until the
// engine has taken it in, as in a mailbox.
func (h *house) receive() {
	h.t.Helper()
	in := h.mailbox[0]
	if _, err := h.engine.Receive(h.t.Context(), in); err != nil {
		if !h.forgiven(err) {
			h.t.Fatalf("receiving: %v", err)
		}
		return
	}
	h.mailbox = h.mailbox[1:]
}

// answer lets people read their new letters and answer them.
func (h *house) answer() {
	h.t.Helper()
	if h.asleep {
		return
	}
	for _, l := range h.relay.letters() {
		if h.read[l.MessageID] {
			continue
		}
		h.read[l.MessageID] = true
		if say := h.people[l.to]; say != nil {
			if typed := say(l); typed != "" {
				h.replies(l, typed)
			}
		}
	}
}

// blobFiles, issuer and stamper join the parts to the engine, as cmd/countersign
// does.
type blobFiles struct{ *blobs.Store }

func (b blobFiles) Create() (store.BlobWriter, error)      { return b.Store.Create() }
func (b blobFiles) Open(digest string) (store.Blob, error) { return b.Store.Open(digest) }
func (b blobFiles) put(raw []byte) (digest string, err error) {
	digest, _, err = b.Put(context.Background(), bytes.NewReader(raw))
	return digest, err
}

type issuer struct{ ca *ca.CA }

func (i issuer) Issue(s engine.Signatory, now time.Time) (signing.Key, time.Time, error) {
	key, err := i.ca.Issue(context.Background(), ca.Subject{Name: s.Name, Address: s.Address, RequestID: s.Request}, now, rand.Reader)
	if err != nil {
		return nil, time.Time{}, err
	}
	return key, key.Chain()[0].NotAfter, nil
}

type stamper struct {
	client *evidence.Client
	clock  *clock
}

func (s stamper) Timestamp(ctx context.Context, _ []string, signature []byte) ([]byte, time.Time, error) {
	token, err := s.client.Timestamp(ctx, signature, crypto.SHA256)
	return token.DER, token.Time, err
}

func (s stamper) TimestampDigest(ctx context.Context, _ []string, digest []byte, h crypto.Hash) (engine.Stamp, error) {
	token, err := s.client.TimestampDigest(ctx, digest, h)
	if err != nil {
		return engine.Stamp{}, err
	}
	return engine.Stamp{DER: token.DER, Time: token.Time, Lasts: token.Signer.NotAfter}, nil
}

func (s stamper) Ready(ctx context.Context, _ []string) error {
	if s.clock.Now().Sub(s.client.LastOK()) < time.Minute {
		return nil
	}
	return s.client.Probe(ctx)
}

func (s stamper) Room([]string) int { return s.client.TokenRoom() }

func (s stamper) Authority([]string) (revocation.Subject, bool) { return s.client.Authority() }

// gatherer gets evidence from the responders and lists of the house's own PKI.
type gatherer struct{ *evidence.Fetcher }

func (g gatherer) Gather(ctx context.Context, subjects []revocation.Subject, known revocation.Data) (revocation.Data, error) {
	data, err := g.Fetcher.Gather(ctx, subjects, known)
	if wait, ok := errors.AsType[*evidence.NotYetError](err); ok {
		return data, &engine.WaitError{Until: wait.RetryAt, Err: err}
	}
	if errors.Is(err, evidence.ErrRevoked) {
		return data, fmt.Errorf("%w: %w", engine.ErrRevoked, err)
	}
	return data, err
}

// A relay keeps the letters that it took over.
type relay struct {
	clock *clock
	mu    sync.Mutex
	sent  []*letterSeen
	// fate says what becomes of a letter; nil means that all are accepted.
	fate  func(l *letterSeen) engine.Outcome
	tries int
}

// Send implements engine.Relay. A letter of unknown outcome has arrived.
func (r *relay) Send(_ context.Context, p engine.Posting) (engine.Outcome, string) {
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		return engine.Later, err.Error()
	}
	if int64(b.Len()) != p.Size {
		return engine.Refused, "the letter has another size than was announced"
	}
	l, err := readLetter(b.Bytes())
	if err != nil {
		return engine.Refused, err.Error()
	}
	l.from, l.to, l.at = p.From, p.To, r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	outcome := engine.Accepted
	if r.fate != nil {
		outcome = r.fate(l)
	}
	switch outcome {
	case engine.Refused:
		return outcome, "550 5.1.1 no such person here"
	case engine.Later:
		return outcome, "451 4.3.0 try again later"
	}
	r.sent = append(r.sent, l)
	if outcome == engine.Unknown {
		return outcome, "the connection was lost after the final dot"
	}
	return outcome, "250 2.0.0 Ok: queued"
}

// letters returns all copies of all letters, in the order in which they came.
func (r *relay) letters() []*letterSeen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*letterSeen(nil), r.sent...)
}

// becomes sets what happens to letters from now on.
func (r *relay) becomes(fate func(l *letterSeen) engine.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fate = fate
}

// always is a fate for all letters.
func always(o engine.Outcome) func(*letterSeen) engine.Outcome {
	return func(*letterSeen) engine.Outcome { return o }
}

func readAll(t testing.TB, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	must(t, err)
	return b
}
