// Package sender judges who really sent a mail, from the fields that our own mail
// servers put above everything the sender wrote.
//
// It promises: whatever stands below the ingress Received field changes nothing;
// a field that is not understood to its last character is not believed; no input
// makes it panic. Position, not a name, makes a field believable: a sender can
// write any Received or Authentication-Results of ours, but only below our own.
package sender

import (
	"fmt"
	"slices"
	"strings"

	"countersign/mailflow"
	"countersign/mailflow/message"
)

// Config says how mail reaches us.
type Config struct {
	// Hops is the number of Received fields that our own servers write; the last
	// of them, counted from the top, is the ingress. 1 is a server that delivers
	// itself, 2 one that hands over by LMTP.
	Hops int
	// AuthservID is the authserv-id of our border in Authentication-Results (RFC
	// 8601, 2.5); empty: there is none, and level A is never given.
	AuthservID string
	// OwnDomains are the domains whose people submit through our own server.
	OwnDomains []string
	// LoginDomain is put behind logins without one.
	LoginDomain string
	// Logins lists further addresses that a login may write as, by login in lower
	// case.
	Logins map[string][]string
}

// A Verdict is who sent a mail, and on what grounds.
type Verdict struct {
	// Level is S, D, A, I or 0. Level T is for the caller to give: it knows the
	// tokens.
	Level mailflow.Level
	// Address is the one address of the From field, also at level 0; empty if
	// there is not exactly one.
	Address mailflow.Address
	// Header is the raw field that gave the level: evidence.
	Header string
	// Why says in plain English what was found, both for and against.
	Why string
}

// Judge tells who sent the mail. The level is the strongest that holds: an
// authenticated submission by the same person (I) proves the person, while
// Authentication-Results (A) prove the domain. A mail that somebody else submitted
// is never believed, whatever the domain's signature says.
func Judge(m *message.Message, cfg Config) Verdict {
	from, err := m.Sender()
	if err != nil {
		return Verdict{Level: mailflow.LevelNone, Why: err.Error()}
	}
	v := Verdict{Level: mailflow.LevelNone, Address: from}
	ingress := m.Ingress(cfg.Hops)
	if ingress < 0 {
		v.Why = fmt.Sprintf("the mail has fewer than %d Received fields; set the number of own hops", cfg.Hops)
		return v
	}
	sub := cfg.submission(m.Fields[ingress], from.Addr)
	res := cfg.results(m.Fields[:ingress], mailflow.Domain(from.Addr))
	v.Why = sub.why + "; " + res.why
	switch {
	case sub.denies:
	case sub.holds:
		v.Level, v.Header = mailflow.LevelSubmission, sub.header
	case res.holds && sub.doubt && cfg.own(from.Addr):
		v.Why += "; a mail of an own domain counts only if it is known who submitted it"
	case res.holds:
		v.Level, v.Header = mailflow.LevelResults, res.header
	}
	return v
}

// A finding is what one kind of evidence says.
type finding struct {
	holds  bool // it proves the sender
	denies bool // it proves somebody else
	doubt  bool // somebody authenticated, it is not known who
	header string
	why    string
}

// submission judges the ingress Received field (RFC 5321, 4.4).
func (cfg Config) submission(f message.Field, from string) finding {
	r, err := parseReceived(f.Raw)
	if err != nil {
		// It is ours all the same: if it speaks of authentication, somebody of
		// ours may have submitted the mail.
		up := strings.ToUpper(f.Raw)
		return finding{
			doubt: strings.Contains(up, "ESMTPA") || strings.Contains(up, "ESMTPSA") || strings.Contains(up, "AUTHENTICATED SENDER"),
			why:   fmt.Sprintf("the ingress Received field is not understood (%v)", err),
		}
	}
	switch {
	case !r.authenticated && r.sender == "":
		return finding{why: "not submitted with authentication"}
	case r.sender == "":
		return finding{doubt: true, why: "submitted with authentication, but the Received field does not say by whom (Postfix: smtpd_sasl_authenticated_header = yes)"}
	case !r.authenticated:
		return finding{denies: true, why: "the ingress Received field names an authenticated sender, but no authenticated protocol"}
	case !cfg.writesAs(r.sender, from):
		return finding{denies: true, why: fmt.Sprintf("submitted by %s, says %s", r.sender, from)}
	}
	return finding{holds: true, header: f.Name + ":" + f.Raw, why: fmt.Sprintf("submitted by %s with %s", r.sender, r.with)}
}

// writesAs reports whether a login may write as that address.
func (cfg Config) writesAs(login, from string) bool {
	addr := login
	if !strings.Contains(addr, "@") && cfg.LoginDomain != "" {
		addr += "@" + cfg.LoginDomain
	}
	if sameAddr(addr, from) {
		return true
	}
	for _, a := range cfg.Logins[strings.ToLower(login)] {
		if sameAddr(a, from) {
			return true
		}
	}
	return false
}

func sameAddr(a, b string) bool {
	// message.ParseAddr lets no address pass whose letters fold to others.
	x, errX := message.ParseAddr(a)
	y, errY := message.ParseAddr(b)
	return errX == nil && errY == nil && mailflow.SameAddr(x, y)
}

func (cfg Config) own(addr string) bool {
	return slices.ContainsFunc(cfg.OwnDomains, func(d string) bool { return strings.EqualFold(d, mailflow.Domain(addr)) })
}

// results judges the Authentication-Results field of our border among the fields
// above the ingress (RFC 8601).
func (cfg Config) results(above []message.Field, domain string) finding {
	if cfg.AuthservID == "" {
		return finding{why: "no authserv-id is configured"}
	}
	var ours []message.Field
	for _, f := range above {
		if f.Is("Authentication-Results") && strings.EqualFold(authservID(f.Raw), cfg.AuthservID) {
			ours = append(ours, f)
		}
	}
	if len(ours) != 1 {
		return finding{why: fmt.Sprintf("%d Authentication-Results fields of %s above the ingress, want one", len(ours), cfg.AuthservID)}
	}
	r, err := parseResults(ours[0].Raw)
	if err != nil {
		return finding{why: fmt.Sprintf("the Authentication-Results field is not understood (%v)", err)}
	}
	why, ok := r.proves(domain)
	return finding{holds: ok, header: ours[0].Name + ":" + ours[0].Raw, why: why}
}
