package configs

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/token"

	"countersign/mailflow"
	"countersign/mailflow/rules"
)

// Parse reads a configuration. It opens no file: name is only for the problems. The
// Config has its defaults filled in and is of use only if there are no problems.
func Parse(name string, data []byte) (*Config, []Problem) {
	d := &decoder{file: name, at: map[string]*token.Position{}}
	c := &Config{}
	if !d.decode(data, c) {
		return c, d.problems
	}
	d.need(reflect.ValueOf(c).Elem(), "")
	c.defaults()
	check := checker{decoder: d, config: c}
	check.organisation()
	check.mailboxes()
	check.relay()
	check.keys()
	check.timestamps()
	check.limits()
	check.rules()
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return c, d.problems
}

// defaults fills in what the file leaves out, as the default tags say.
func (c *Config) defaults() {
	for i := range c.Mailboxes {
		m := &c.Mailboxes[i]
		m.Hops = cmp.Or(m.Hops, 1)
		m.LoginDomain = cmp.Or(m.LoginDomain, mailflow.Domain(m.Address.Addr))
		m.IMAP.TLS = cmp.Or(m.IMAP.TLS, "implicit")
		m.IMAP.Folder = cmp.Or(m.IMAP.Folder, "INBOX")
		m.IMAP.Processed = cmp.Or(m.IMAP.Processed, "Processed")
		m.IMAP.Failed = cmp.Or(m.IMAP.Failed, "Failed")
		m.IMAP.Poll = cmp.Or(m.IMAP.Poll, rules.Duration(time.Minute))
	}
	c.SMTP.TLS = cmp.Or(c.SMTP.TLS, "starttls")
	if len(c.Mailboxes) > 0 {
		_, domain, _ := strings.Cut(c.Mailboxes[0].Address.Addr, "@")
		c.SMTP.Hello = cmp.Or(c.SMTP.Hello, domain)
	}
	for i := range c.TSA {
		c.TSA[i].Timeout = cmp.Or(c.TSA[i].Timeout, rules.Duration(10*time.Second))
	}
	if c.Secrets.File == "" && c.State != "" {
		c.Secrets.File = filepath.Join(c.State, "secret.key")
	}
	c.Limits.PDF = cmp.Or(c.Limits.PDF, 10e6)
	c.Limits.Mail = cmp.Or(c.Limits.Mail, 50e6)
	c.Limits.Documents = cmp.Or(c.Limits.Documents, 20)
	for i := range c.Rules {
		c.Rules[i] = c.Rules[i].WithDefaults(c.Organisation.Domains)
	}
}

// checker tells what is wrong with values that fit their keys.
type checker struct {
	*decoder
	config *Config
}

func (k checker) organisation() {
	for i, d := range k.config.Organisation.Domains {
		if !isDomain(d) {
			k.near(fmt.Sprintf("organisation.domains[%d]", i), "%q is not a domain; write for example acme.example", d)
		}
	}
	var a rules.Address
	if c := k.config; c.Admin != "" && a.UnmarshalText([]byte(c.Admin)) != nil {
		k.near("admin", "%q is not an address; write for example postmaster@acme.example", c.Admin)
	}
	if len(k.config.Organisation.Name) > 100 {
		k.near("organisation.name", "longer than 100 bytes; shorten it")
	}
}

// isDomain is a plain check: ASCII labels with a dot, no @ (RFC 1123, 2.1).
func isDomain(d string) bool {
	if len(d) > 253 || !strings.Contains(d, ".") {
		return false
	}
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

func (k checker) mailboxes() {
	names, addrs, folders := map[string]bool{}, map[string]bool{}, map[[3]string]bool{}
	for i, m := range k.config.Mailboxes {
		path := fmt.Sprintf("mailboxes[%d].", i)
		if m.Name != "" && names[m.Name] {
			k.near(path+"name", "%q is used by another mailbox; choose another name", m.Name)
		}
		addr := strings.ToLower(m.Address.Addr)
		if addr != "" && addrs[addr] {
			k.near(path+"address", "%s is the address of another mailbox", addr)
		}
		if local, _, _ := strings.Cut(addr, "@"); strings.Contains(local, "+") {
			k.near(path+"address", "give the address without the plus sign and what follows it")
		}
		folder := [3]string{strings.ToLower(m.IMAP.Server), m.IMAP.Username, m.IMAP.Folder}
		if m.IMAP.Server != "" && folders[folder] {
			k.near(path+"imap", "reads the same folder as another mailbox, so each mail would count twice; give every signing address a folder of its own")
		}
		if addr != "" && !addrs[addr] && strings.EqualFold(addr, k.config.Admin) {
			k.near("admin", "%s is a signing address, whose own letters it ignores; give the address of a person", k.config.Admin)
		}
		if m.LoginDomain != "" && !isDomain(m.LoginDomain) {
			k.near(path+"login_domain", "%q is not a domain; write for example acme.example", m.LoginDomain)
		}
		names[m.Name], addrs[addr], folders[folder] = true, true, true
		k.server(path+"imap.", m.IMAP.Server, m.IMAP.TLS)
		if m.IMAP.Poll < rules.Duration(5*time.Second) || m.IMAP.Poll > rules.Duration(time.Hour) {
			k.near(path+"imap.poll", "%v is out of range; use 5s to 1h", m.IMAP.Poll)
		}
		if f := m.IMAP; f.Folder == f.Processed || f.Folder == f.Failed {
			k.near(path+"imap.folder", "is also processed or failed; mails would never leave it")
		}
	}
}

func (k checker) relay() {
	s := k.config.SMTP
	if s == (SMTP{TLS: s.TLS, Hello: s.Hello}) {
		return // told as missing
	}
	k.server("smtp.", s.Server, s.TLS)
	if (s.Username == "") != (s.PasswordFile == "") {
		k.near("smtp", "give both username and password_file, or neither")
	}
	if s.Hello != "" && !isDomain(s.Hello) {
		k.near("smtp.hello", "%q is not a host name; write for example sign.acme.example", s.Hello)
	}
}

// server checks the keys server and tls below prefix.
func (k checker) server(prefix, server, tls string) {
	host, ok := splitHostPort(server)
	if server != "" && !ok {
		k.near(prefix+"server", "%q is not host:port; write for example mail.example.org:993", server)
	}
	switch tls {
	case "implicit", "starttls":
	case "none":
		if ok && !isLoopback(host) {
			k.near(prefix+"tls", "none would send the password in the clear to %s; use implicit or starttls", host)
		}
	default:
		k.near(prefix+"tls", "%q is not known; write implicit, starttls or none", tls)
	}
}

// splitHostPort takes "host:port" and "[IPv6]:port" and returns the host.
func splitHostPort(s string) (string, bool) {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 {
		return "", false
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	host := s[:i]
	if v6, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(v6, "]")
		a, err := netip.ParseAddr(host)
		return host, err == nil && a.Is6() && port > 0
	}
	return host, err == nil && port > 0 && !strings.ContainsAny(host, ":/ @")
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func (k checker) keys() {
	if len(k.config.Keys) == 0 {
		return // told as missing
	}
	for name, what := range map[string]string{
		"seal":       "the organisation's own key",
		"signing_ca": "the CA that issues the signers' certificates",
	} {
		if _, ok := k.config.Keys[name]; !ok {
			k.near("keys."+name, "missing; give the file of %s", what)
		}
	}
	for name, key := range k.config.Keys {
		if key.IssuerURL != "" && !isWeb(key.IssuerURL) {
			k.near("keys."+name+".issuer_url", "%q is not a web address; write for example http://pki.example.org/ca.crt", key.IssuerURL)
		}
	}
}

func isWeb(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func (k checker) timestamps() {
	for i, t := range k.config.TSA {
		path := fmt.Sprintf("tsa[%d].", i)
		u, _ := url.Parse(t.URL)
		if t.URL != "" && !isWeb(t.URL) {
			k.near(path+"url", "%q is not a web address; write for example https://tsa.example.org", t.URL)
		} else if u != nil && u.User != nil {
			k.near(path+"url", "holds a login; move it to username and password_file")
		}
		if t.Timeout < rules.Duration(time.Second) || t.Timeout > rules.Duration(2*time.Minute) {
			k.near(path+"timeout", "%v is out of range; use 1s to 2m", t.Timeout)
		}
		if (t.Username == "") != (t.PasswordFile == "") {
			k.near(path+"url", "give both username and password_file, or neither")
		}
		if _, err := x509.ParseOID(t.Policy); t.Policy != "" && err != nil {
			k.near(path+"policy", "%q is not an object identifier; write for example 1.3.6.1.4.1.601.10.3.1, or leave it out", t.Policy)
		}
	}
}

func (k checker) limits() {
	if l := k.config.Limits; l.Mail < l.PDF {
		k.near("limits.mail", "is smaller than limits.pdf, so that the largest PDF could never arrive; raise it")
	}
}

func (k checker) rules() {
	world := k.config.World()
	names := map[string]bool{}
	for i, r := range k.config.Rules {
		path := fmt.Sprintf("rules[%d]", i)
		if r.Name != "" && names[r.Name] {
			k.near(path+".name", "%q is used by another rule; choose another name", r.Name)
		}
		names[r.Name] = true
		for _, f := range rules.Check(r, world) {
			if f.Path == "match.from" && len(r.Match.From) == 0 && k.told("organisation") {
				continue // there are no domains to begin with
			}
			if full := join(path, f.Path); !k.told(full) {
				k.near(full, "%s", f.Text)
			}
		}
	}
}
