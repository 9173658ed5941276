package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"countersign/configs"
	"countersign/mailflow/demomail"
	"countersign/signing/demopki"
)

// A world is everything outside the daemon that the demo needs, on loopback: mail
// servers with sample people, a CA, a time-stamping authority, and a configuration
// that joins the daemon to them.
type world struct {
	dir    string
	mail   *demomail.Server
	pki    *demopki.PKI
	tsa    *demopki.TSA
	tsaURL string
	config string // path of the configuration file
	stops  []func() error
}

// The people of the demo. Ann and Ben belong to the organisation, Carla and Dan to
// its customer.
const (
	demoDomain    = "demo.example"
	partnerDomain = "partner.example"
	demoPassword  = "demo"
	signAddress   = "sign@" + demoDomain
)

var (
	ann   = demomail.Person{Name: "Ann Archer", Addr: "ann@" + demoDomain, Password: demoPassword}
	ben   = demomail.Person{Name: "Ben Boss", Addr: "ben@" + demoDomain, Password: demoPassword}
	carla = demomail.Person{Name: "Carla Client", Addr: "carla@" + partnerDomain, Password: demoPassword}
	dan   = demomail.Person{Name: "Dan Director", Addr: "dan@" + partnerDomain, Password: demoPassword}
	desk  = demomail.Person{Name: "Countersign", Addr: signAddress, Password: demoPassword}
)

// demoConfig is an ordinary configuration file; only its addresses are the demo's.
var demoConfig = template.Must(template.New("config").Parse(`# Made by countersign demo. Everything in it runs on this machine only.
organisation: {name: Demo Ltd, domains: [{{.Domain}}]}
state: {{.State}}
admin: ann@{{.Domain}}
mailboxes:
  - name: sign
    address: {{.Sign}}
    imap: {server: "{{.IMAP}}", tls: none, username: {{.Sign}}, password_file: {{.Password}}, poll: 5s}
    hops: 1
    authserv_id: mail.{{.Domain}}
smtp: {server: "{{.SMTP}}", tls: none, username: {{.Sign}}, password_file: {{.Password}}, hello: mail.{{.Domain}}}
keys:
  seal: {file: {{.PKI}}/seal.pem}
  signing_ca: {file: {{.PKI}}/ca.pem, issuer_url: {{.Issuer}}}
tsa:
  - url: {{.TSA}}
evidence: {allow: [127.0.0.1]}
rules:
  - name: notices # mail to sign+notice@: sealed and sent back at once
    match: {tag: notice, from: [ann@{{.Domain}}]}
    reason: Issued by Demo Ltd
  - name: contracts # Ben approves, then those sign whom the draft names
    match: {from: ["@{{.Domain}}"]}
    approvers: ["Ben Boss <ben@{{.Domain}}>"]
    signers: draft
    open: {viewer: ["*"]}
    reason: Contract agreed
`))

// worldOptions are where the servers of a world listen; empty means any free port.
type worldOptions struct {
	Dir        string
	IMAP, SMTP string
	Keep       int // how many mails the servers remember, see demomail.Options
	Log        *slog.Logger
	Clock      func() time.Time
}

// newWorld starts the servers and writes the configuration. Keys that are in the
// directory already are used again.
func newWorld(o worldOptions) (*world, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir, config: filepath.Join(dir, "config.yaml")}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if err := w.start(o); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

func (w *world) start(o worldOptions) error {
	pkiDir, err := w.startPKI(o)
	if err != nil {
		return fmt.Errorf("demo keys: %w", err)
	}
	w.mail, err = demomail.Start(demomail.Options{
		Domains: []string{demoDomain, partnerDomain}, People: []demomail.Person{desk, ann, ben, carla, dan},
		IMAPAddr: o.IMAP, SMTPAddr: o.SMTP, Keep: o.Keep, AuthServID: "mail." + demoDomain, Log: o.Log, Clock: o.Clock,
	})
	if err != nil {
		return fmt.Errorf("demo mail servers: %w", err)
	}
	w.stops = append(w.stops, w.mail.Close)
	password := filepath.Join(w.dir, "password")
	if err := os.WriteFile(password, []byte(demoPassword+"\n"), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(w.config, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = demoConfig.Execute(f, map[string]string{
		"Domain": demoDomain, "Sign": signAddress, "State": filepath.Join(w.dir, "state"), "Password": password, "PKI": pkiDir,
		"IMAP": w.mail.IMAPAddr(), "SMTP": w.mail.SMTPAddr(), "TSA": w.tsaURL, "Issuer": w.pki.URLsOf(w.pki.CA).Issuer[0],
	})
	return errors.Join(err, f.Close())
}

// startPKI makes the keys, or reads those of an earlier start, and serves what proves
// them: timestamps, OCSP responses and revocation lists. The certificates name the place, so
// it stays the same.
func (w *world) startPKI(o worldOptions) (dir string, err error) {
	dir = filepath.Join(w.dir, "pki")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	addr := "127.0.0.1:0"
	w.pki, err = demopki.Load(dir)
	if err == nil {
		addr = strings.TrimPrefix(w.pki.URL(), "http://")
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	mux := http.NewServeMux()
	url, stop, err := serveLoopback(addr, mux)
	if err != nil {
		return "", fmt.Errorf("the certificates in %s say that their services are at %s: %w; give another --dir", dir, addr, err)
	}
	w.stops = append(w.stops, func() error { stop(); return nil })
	if w.pki == nil {
		if w.pki, err = demopki.Make(demopki.Options{Now: o.Clock(), Organisation: "Demo Ltd", URL: url}); err != nil {
			return "", err
		}
		if err := w.pki.Write(dir); err != nil {
			return "", err
		}
	}
	server := w.pki.Server(o.Clock)
	mux.Handle("/", server)
	w.tsa, w.tsaURL = server.TSA, url+"/tsa"
	return dir, nil
}

// stop ends the servers.
func (w *world) stop() error {
	var errs []error
	for _, stop := range w.stops {
		errs = append(errs, stop())
	}
	return errors.Join(errs...)
}

// daemon makes a daemon from the world's configuration, as serve does.
func (w *world) daemon(log io.Writer) (*daemon, error) {
	cfg, err := configs.Load(w.config)
	if err != nil {
		return nil, err
	}
	return newDaemon(cfg, slog.New(slog.NewTextHandler(log, nil)))
}

// client is the mail program of a person.
func (w *world) client(p demomail.Person) *demomail.Client {
	return &demomail.Client{Person: p, IMAP: w.mail.IMAPAddr(), SMTP: w.mail.SMTPAddr()}
}

// serveLoopback serves HTTP on a loopback address; stop ends it.
func serveLoopback(addr string, h http.Handler) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }() // ends with ErrServerClosed by stop
	return "http://" + l.Addr().String(), func() { _ = srv.Close() }, nil
}
