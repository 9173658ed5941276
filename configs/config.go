// Package configs reads the configuration of the gateway, one YAML file.
//
// The struct Config is the reference: its tags give each key's meaning, default and
// bounds, and [Reference] writes docs/configuration.md from them. Parse is pure and
// tells all problems of a file at once, each with line, column, the key's path and
// what to write; Load reads the file; CheckFiles looks whether the key and password
// files that it names can be read.
//
// Anchors, aliases, tags and merge keys of YAML are refused: a configuration that
// decides who may seal says what it means where it stands.
package configs

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"countersign/mailflow/rules"
)

// Config is the whole configuration. In the tags, yaml is the key, doc its meaning,
// default what an absent key means, need why it cannot be absent (and what to
// write), min and max bound numbers.
type Config struct {
	Organisation Organisation   `yaml:"organisation" need:"give name and domains" doc:"Whom the gateway signs for."`
	State        string         `yaml:"state" need:"give a directory, for example /var/lib/countersign" doc:"Directory of the database and the documents. Only the gateway's user needs access."`
	Admin        string         `yaml:"admin" need:"give an address, for example postmaster@acme.example" doc:"Address that is told when a request fails for technical reasons."`
	Mailboxes    []Mailbox      `yaml:"mailboxes" need:"add at least one" doc:"Where drafts and answers arrive. Each has its own signing address."`
	SMTP         SMTP           `yaml:"smtp" need:"give server, username and password_file of your mail relay" doc:"The relay through which letters leave."`
	Keys         map[string]Key `yaml:"keys" need:"add at least seal and signing_ca" doc:"Signing keys by name. seal is the organisation's own; signing_ca issues the signers' short-lived certificates. Rules may name further ones."`
	TSA          []TSA          `yaml:"tsa" doc:"Timestamp authorities (RFC 3161), tried in this order."`
	Evidence     Evidence       `yaml:"evidence" doc:"Where to get what proves certificates: OCSP responses, revocation lists and the certificates above. Levels B-LT and B-LTA need them; the certificates say where they are."`
	Secrets      Secrets        `yaml:"secrets" doc:"The master secret of codes and reply addresses."`
	Limits       Limits         `yaml:"limits" doc:"What a draft may carry. Sizes are written 10MB, 500KB or in bytes."`
	Rules        []rules.Rule   `yaml:"rules" need:"add at least one" doc:"What may be signed, by whom. The first rule that matches a draft decides."`
}

// Organisation is whom the gateway signs for.
type Organisation struct {
	Name    string   `yaml:"name" need:"give the name that letters and seals speak for, for example Acme Ltd" doc:"Name in letters and in the seal's reason."`
	Domains []string `yaml:"domains" need:"list your mail domains, for example [acme.example]" doc:"Mail domains of the organisation, without subdomains: whoever has an address there is one of yours."`
}

// Mailbox is one signing address and how it is read.
type Mailbox struct {
	Name    string        `yaml:"name" need:"give a short name, for example sign" doc:"Name that rules and logs use."`
	Address rules.Address `yaml:"address" need:"give the signing address, for example sign@acme.example" doc:"The signing address. Mail to sign+anything@ must arrive here too."`
	IMAP    IMAP          `yaml:"imap" need:"give server, username and password_file" doc:"How the mailbox is read."`
	Hops    int           `yaml:"hops" default:"1" min:"1" max:"20" doc:"How many Received headers your own servers put on top of a mail. Nothing below them is believed."`
	// AuthservID may be absent: level A does not exist then.
	AuthservID  string `yaml:"authserv_id" doc:"Name with which your border server signs Authentication-Results (RFC 8601). Without it such headers are not believed."`
	LoginDomain string `yaml:"login_domain" default:"the domain of address" doc:"Domain of logins that your submission server records without one: ann is then ann@ this domain."`
}

// IMAP is how a mailbox is read.
type IMAP struct {
	Server       string         `yaml:"server" need:"give host:port, for example imap.example.org:993" doc:"Server as host:port."`
	TLS          string         `yaml:"tls" default:"implicit" doc:"implicit, starttls, or none (loopback only)."`
	Username     string         `yaml:"username" need:"give the login of the mailbox" doc:"Login."`
	PasswordFile string         `yaml:"password_file" need:"give the path of a file with the password" doc:"File with the password; a line end at its end does not count."`
	Folder       string         `yaml:"folder" default:"INBOX" doc:"Folder that is read."`
	Processed    string         `yaml:"processed" default:"Processed" doc:"Folder for mails that are dealt with."`
	Failed       string         `yaml:"failed" default:"Failed" doc:"Folder for mails that could not be read."`
	CAFile       string         `yaml:"ca_file" default:"the system's" doc:"PEM file of the CAs to trust instead."`
	Poll         rules.Duration `yaml:"poll" default:"1m" doc:"How often to look where the server does not announce new mail, at least 5s."`
}

// SMTP is the relay.
type SMTP struct {
	Server       string `yaml:"server" need:"give host:port, for example mail.example.org:587" doc:"Relay as host:port."`
	TLS          string `yaml:"tls" default:"starttls" doc:"starttls, implicit, or none (loopback only)."`
	Username     string `yaml:"username" doc:"Login, if the relay wants one."`
	PasswordFile string `yaml:"password_file" doc:"File with the password."`
	CAFile       string `yaml:"ca_file" default:"the system's" doc:"PEM file of the CAs to trust instead."`
	Hello        string `yaml:"hello" default:"the domain of the first mailbox" doc:"Name given in EHLO."`
}

// Key is one signing key in a file.
type Key struct {
	File         string `yaml:"file" need:"give the path of a PKCS#12 or PEM file" doc:"PKCS#12 file, or PEM file of the private key."`
	Chain        string `yaml:"chain" doc:"PEM file of the certificate and those above it, if they are not in file."`
	PasswordFile string `yaml:"password_file" doc:"File with the password of the key file."`
	IssuerURL    string `yaml:"issuer_url" doc:"For signing_ca: where its certificate can be fetched, http or https. The signers' certificates then name it; EU DSS warns where they do not. The file has it anyway."`
}

// TSA is one timestamp authority.
type TSA struct {
	URL          string         `yaml:"url" need:"give the address of the service, for example https://tsa.example.org" doc:"Address of the service, http or https."`
	Timeout      rules.Duration `yaml:"timeout" default:"10s" doc:"How long to wait for an answer, at most 2m."`
	CAFile       string         `yaml:"ca_file" default:"the system's" doc:"PEM file of the CAs to trust for the connection instead."`
	Username     string         `yaml:"username" doc:"Login, if the service wants one."`
	PasswordFile string         `yaml:"password_file" doc:"File with the password."`
	Policy       string         `yaml:"policy" default:"the authority's" doc:"Policy to ask for, as an OID like 1.2.3.4; a timestamp under another one is not taken."`
}

// Evidence is how the status of certificates is found out.
type Evidence struct {
	Allow []string `yaml:"allow" doc:"Hosts, addresses and networks (10.1.0.0/16) that may be asked although they are not public, such as the responder of your own CA. All other private addresses are refused, as foreign certificates could name any."`
	Trust string   `yaml:"trust" default:"any root that comes with a certificate" doc:"PEM file of the roots at which the paths of all certificates must end, those of timestamps too."`
}

// Secrets is where the master secret is.
type Secrets struct {
	File string `yaml:"file" default:"secret.key in the state directory" doc:"File of 32 random bytes, made at the first start. Whoever has it can compute codes: keep it out of backups of the state."`
}

// Limits bound what a draft may carry.
type Limits struct {
	PDF       Size `yaml:"pdf" default:"10MB" doc:"Largest PDF."`
	Mail      Size `yaml:"mail" default:"50MB" doc:"Largest mail."`
	Documents int  `yaml:"documents" default:"20" min:"1" max:"1000" doc:"Documents in one draft."`
}

//go:embed example.yaml
var example []byte

// Example returns a complete configuration to begin with.
func Example() []byte { return slices.Clone(example) }

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0 if the problem has no place
	Path         string // of the key: mailboxes[0].imap.server
	Text         string // what is wrong and what to write
}

// String writes "file:line:column: path: text".
func (p Problem) String() string {
	s := p.File + ": "
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	}
	if p.Path != "" {
		s += p.Path + ": "
	}
	return s + p.Text
}

// Problems is all that is wrong with a configuration, in the order of the file.
type Problems []Problem

// Error writes one problem a line.
func (ps Problems) Error() string {
	var lines []string
	for _, p := range ps {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// World is what the rules refer to.
func (c *Config) World() rules.World {
	w := rules.World{
		Organisation: c.Organisation.Name, Domains: c.Organisation.Domains,
		Limits: rules.Limits{PDF: int64(c.Limits.PDF), Documents: c.Limits.Documents},
	}
	for _, m := range c.Mailboxes {
		w.Mailboxes = append(w.Mailboxes, rules.Mailbox{Name: m.Name, Address: m.Address.Addr})
	}
	for name := range c.Keys {
		w.Keys = append(w.Keys, name)
	}
	slices.Sort(w.Keys)
	for _, t := range c.TSA {
		w.TSA = append(w.TSA, t.URL)
	}
	return w
}

// CompileRules makes the rules ready for use.
func (c *Config) CompileRules() (*rules.Set, error) { return rules.Compile(c.World(), c.Rules) }
