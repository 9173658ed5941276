package message

import (
	"regexp"
	"slices"
	"strings"

	"countersign/mailflow"
)

// A Kind is what a mail is for.
type Kind string

// The kinds of mail. The automatic ones (bounce to calendar) are never obeyed and
// never answered.
const (
	KindDraft     Kind = "draft"     // begins a request
	KindAnswer    Kind = "answer"    // carries something that looks like a reply token
	KindVerify    Kind = "verify"    // asks to verify a document: sent to the tag "verify"
	KindBounce    Kind = "bounce"    // a delivery status (RFC 3464)
	KindAutomatic Kind = "automatic" // an automatic answer or notice (RFC 3834)
	KindReceipt   Kind = "receipt"   // a disposition notification (RFC 8098)
	KindList      Kind = "list"      // through a mailing list (RFC 2919, 2369)
	KindComplaint Kind = "complaint" // a feedback report (RFC 5965)
	KindCalendar  Kind = "calendar"  // an invitation or an answer to one (RFC 6047)
	KindOther     Kind = "other"     // not from one person
)

// Own is what is ours in a mail.
type Own struct {
	// Addresses are our own signing addresses, without tags.
	Addresses []string
	// Delimiter stands between an address and its tag; "+" if empty.
	Delimiter string
	// Header is the name of the field that every letter of ours carries; "" for
	// none.
	Header string
	// Hops is the number of Received fields that our own servers write; 0 if not
	// known: then no Delivered-To and the like is believed.
	Hops int
}

func (o Own) delimiter() string {
	if o.Delimiter == "" {
		return "+"
	}
	return o.Delimiter
}

// Tag returns what stands behind the delimiter of an address of ours, and whether
// it is one. Upper and lower case do not count.
func (o Own) Tag(addr string) (tag string, ours bool) {
	addr = strings.ToLower(addr)
	i := strings.LastIndexByte(addr, '@')
	if i < 0 {
		return "", false
	}
	for _, a := range o.Addresses {
		local, domain, _ := strings.Cut(strings.ToLower(a), "@")
		if domain != addr[i+1:] {
			continue
		}
		rest, ok := strings.CutPrefix(addr[:i], local)
		if ok && rest == "" {
			return "", true
		}
		if tag, found := strings.CutPrefix(rest, o.delimiter()); ok && found {
			return tag, true
		}
	}
	return "", false
}

// Tags returns the tags of our addresses that the mail was sent to, most reliable
// first and each once: from Delivered-To, X-Original-To and Envelope-To above the
// ingress Received field (a forged one below stays in the mail), then from To and
// Cc. That they contradict each other is for the caller to see.
func Tags(m *Message, own Own) []string {
	var tags []string
	add := func(addr string) {
		if tag, ours := own.Tag(addr); ours && tag != "" && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	above := m.Fields[:max(m.Ingress(own.Hops), 0)]
	for _, name := range []string{"Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To"} {
		for _, f := range above {
			if f.Is(name) {
				add(bareAddr(f.Value))
			}
		}
	}
	for _, a := range slices.Concat(m.To, m.Cc) {
		add(a.Addr)
	}
	return tags
}

// A Class is a mail's kind, and why.
type Class struct {
	Kind Kind
	Why  string // in plain English; for a log line, without text of the mail
}

// Automatic reports whether the mail must be neither obeyed nor answered.
func (c Class) Automatic() bool {
	switch c.Kind {
	case KindDraft, KindAnswer, KindVerify:
		return false
	}
	return true
}

// Classify tells what a mail is for. Whether the token of an answer is one that we
// gave out, the caller knows.
func Classify(m *Message, own Own) Class {
	for _, rule := range []func(*Message, Own) (Class, bool){
		byStructure, bySystem, byList, byAutomatic, bySender, bySubject,
	} {
		if c, ok := rule(m, own); ok {
			return c
		}
	}
	tags := Tags(m, own)
	for _, tag := range tags {
		switch mailflow.ClassifyTag(tag) {
		case mailflow.TagToken:
			return Class{KindAnswer, "sent to an address with a reply token"}
		case mailflow.TagBounce:
			return Class{KindAutomatic, "sent to a return path, but no delivery status"}
		}
	}
	if slices.Contains(tags, "verify") {
		return Class{KindVerify, "sent to the tag verify"}
	}
	return Class{KindDraft, "from a person, without a reply token"}
}

// byStructure looks at the parts: reports (RFC 6522) and calendars.
func byStructure(m *Message, _ Own) (Class, bool) {
	var c Class
	m.Parts(func(p *Part) bool {
		kind := p.ContentType
		if kind == "multipart/report" {
			kind = "message/" + strings.ToLower(p.Params["report-type"])
		}
		switch {
		case kind == "message/delivery-status" || kind == "message/global-delivery-status":
			c = Class{KindBounce, "it has a delivery status"}
		case kind == "message/disposition-notification" || kind == "message/global-disposition-notification":
			c = Class{KindReceipt, "it has a disposition notification"}
		case kind == "message/feedback-report":
			c = Class{KindComplaint, "it has a feedback report"}
		case p.ContentType == "multipart/report":
			c = Class{KindAutomatic, "it is a report"}
		case kind == "text/calendar" && p.Params["method"] != "":
			c = Class{KindCalendar, "it has a calendar method"}
		default:
			return true
		}
		return false
	})
	return c, c.Kind != ""
}

// bySystem looks for what mail systems send.
func bySystem(m *Message, _ Own) (Class, bool) {
	if m.has("X-Failed-Recipients") {
		return Class{KindBounce, "it has X-Failed-Recipients"}, true
	}
	for _, a := range m.From {
		local, _, _ := strings.Cut(strings.ToLower(a.Addr), "@")
		if local == "mailer-daemon" || local == "postmaster" {
			return Class{KindBounce, "it is from " + local}, true
		}
	}
	if f := m.All("Return-Path"); len(f) > 0 && strings.Join(strings.Fields(f[0].Value), "") == "<>" {
		return Class{KindAutomatic, "its return path is empty"}, true
	}
	return Class{}, false
}

// byList looks for mailing lists.
func byList(m *Message, _ Own) (Class, bool) {
	for _, name := range []string{"List-Id", "List-Post", "List-Unsubscribe", "X-Mailing-List", "X-BeenThere"} {
		if m.has(name) {
			return Class{KindList, "it has " + name}, true
		}
	}
	if strings.EqualFold(m.Get("Precedence"), "list") {
		return Class{KindList, "its Precedence is list"}, true
	}
	return Class{}, false
}

// automaticFields stand in mails of machines. X-Auto-Response-Suppress is not among
// them: Exchange puts it on normal mail.
var automaticFields = []string{
	"X-Autoreply", "X-Autorespond", "X-Auto-Response", "X-Mail-Autoreply",
	"X-MS-Exchange-Inbox-Rules-Loop", "X-MS-Exchange-Generated-Message-Source",
	"Resent-From", "Resent-Sender", "Resent-To", "Resent-Date", "Resent-Message-ID",
}

// byAutomatic looks for the marks of automatic mail.
func byAutomatic(m *Message, own Own) (Class, bool) {
	for _, f := range m.All("Auto-Submitted") {
		word, _, _ := strings.Cut(f.Value, ";")
		word, _, _ = strings.Cut(word, "(")
		if !strings.EqualFold(strings.TrimSpace(word), "no") {
			return Class{KindAutomatic, "it has Auto-Submitted"}, true
		}
	}
	for _, name := range automaticFields {
		if m.has(name) {
			return Class{KindAutomatic, "it has " + name}, true
		}
	}
	switch p := strings.ToLower(m.Get("Precedence")); p {
	case "bulk", "junk", "auto_reply":
		return Class{KindAutomatic, "its Precedence is " + p}, true
	}
	if own.Header != "" && m.has(own.Header) {
		return Class{KindAutomatic, "it is a letter of ours"}, true
	}
	return Class{}, false
}

// bySender looks for ourselves, and for mails without one sender.
func bySender(m *Message, own Own) (Class, bool) {
	from := slices.Clone(m.From)
	for _, f := range m.All("Sender") {
		from = append(from, mailflow.Address{Addr: bareAddr(f.Value)})
	}
	for _, a := range from {
		if _, ours := own.Tag(a.Addr); ours {
			return Class{KindAutomatic, "it is from an address of ours"}, true
		}
	}
	if _, err := m.Sender(); err != nil {
		return Class{KindOther, err.Error()}, true
	}
	return Class{}, false
}

// automaticSubject matches the beginnings of subjects that mail systems write.
var automaticSubject = regexp.MustCompile(`(?i)^\s*(` + strings.Join([]string{
	`auto(matic|mated)?[ -]?(reply|response|answer)\s*[:：-]`, `auto\s*:`, `autoreply\b`, `out of (the )?office\b`,
	`abwesen(d|heits?)[^:]{0,30}[:：]`, `automatische (antwort|beantwortung)\s*[:：]`, `r[ée]ponse automatique\s*[:：]`,
	`respuesta autom[áa]tica\s*[:：]`, `risposta automatica\s*[:：]`, `resposta autom[áa]tica\s*[:：]`,
	`automatisch antwoord\s*[:：]`, `autosvar\s*[:：]`, `自动回复`, `自動回覆`, `自動応答`, `자동 회신`, `автоматический ответ`,
	`undeliver(able|ed mail)\b`, `unzustellbar\s*[:：]`, `(mail|message) delivery (failed|failure|status)`,
	`delivery status notification`, `returned mail\s*[:：]`, `(not )?read\s*:`, `(un)?gelesen\s*:`, `lu\s*:`,
}, "|") + `)`)

// bySubject looks at the subject alone, as some machines leave no other mark. A
// mail that brings a PDF is believed to be from a person: no draft shall be lost.
func bySubject(m *Message, _ Own) (Class, bool) {
	if !automaticSubject.MatchString(m.Subject) || slices.ContainsFunc(m.Attachments, (*Part).IsPDF) {
		return Class{}, false
	}
	return Class{KindAutomatic, "its subject is that of an automatic mail"}, true
}

func (m *Message) has(name string) bool {
	return slices.ContainsFunc(m.Fields, func(f Field) bool { return f.Is(name) })
}
