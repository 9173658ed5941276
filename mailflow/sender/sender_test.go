package sender

import (
	"strings"
	"testing"

	"countersign/mailflow"
	"countersign/mailflow/message"
)

const (
	date = "; Sun, 22 Nov 2026 11:16:08 +0000 (UTC)\n"
	// submitted is what Postfix writes; HELO, TCP-info and sender to be put in.
	submitted = "Received: from laptop (host.corp.test [192.0.2.7])\n" +
		"\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\n" +
		"\t key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)\n" +
		"\t(No client certificate requested)\n" +
		"\t(Authenticated sender: alice@corp.test)\n" +
		"\tby mail.corp.test (Postfix) with ESMTPSA id 89361986008\n" +
		"\tfor <sign+tok@corp.test>" + date
	loopback = "Received: from laptop (localhost [127.0.0.1])\n\t(Authenticated sender: alice@corp.test)\n" +
		"\tby mail.corp.test (Postfix) with ESMTPA id 1\n\tfor <sign@corp.test>" + date
	outside = "Received: from mx.partner.test (mx.partner.test [198.51.100.3])\n\tby mail.corp.test (Postfix) with ESMTPS id 2\n\tfor <sign@corp.test>" + date
	lmtp    = "Return-Path: <alice@corp.test>\nDelivered-To: sign+tok@corp.test\nReceived: from mail.corp.test ([127.0.0.1])\n\tby vm with LMTP\n\tid uOl6JPjOAmsWIQAAg+zDdQ\n\t(envelope-from <alice@corp.test>)\n\tfor <sign+tok@corp.test>" + date
	ar      = "Authentication-Results: mail.corp.test; "
	alice   = "From: Alice <alice@corp.test>\n"
	pat     = "From: pat@partner.test\n"
)

func judge(t *testing.T, raw string, hops int) Verdict {
	t.Helper()
	raw += "To: sign@corp.test\n\nAPPROVE\n"
	m, err := message.Parse(strings.NewReader(raw), int64(len(raw)), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return Judge(m, config(hops))
}

func config(hops int) Config {
	return Config{
		Hops: hops, AuthservID: "MAIL.corp.test", OwnDomains: []string{"corp.test"},
		LoginDomain: "corp.test", Logins: map[string][]string{"pool7": {"alice@corp.test"}},
	}
}

func TestJudge(t *testing.T) {
	pass := ar + "dmarc=pass (p=reject dis=none) header.from=partner.test\n"
	for _, c := range []struct {
		name string
		raw  string
		hops int
		want mailflow.Level
	}{
		{"Postfix submission", submitted + alice, 1, "I"},
		{"loopback", loopback + alice, 1, "I"},
		{"Dovecot LMTP, two hops", lmtp + submitted + alice, 2, "I"},
		{"other case", loopback + "From: ALICE@Corp.test\n", 1, "I"},
		{"login without domain", strings.Replace(loopback, "alice@corp.test", "alice", 1) + alice, 1, "I"},
		{"login with an alias", strings.Replace(loopback, "alice@corp.test", "pool7", 1) + alice, 1, "I"},
		{"without for", strings.Replace(loopback, "\n\tfor <sign@corp.test>", "", 1) + alice, 1, "I"},
		{"dmarc", pass + outside + pat, 1, "A"},
		{"dkim", ar + "dkim=fail header.d=x.test; dkim=pass (2048-bit key; secure) header.d=partner.test header.i=@partner.test header.b=\"a/b=\"; spf=none smtp.mailfrom=<>\n" + outside + pat, 1, "A"},
		{"version", "Authentication-Results: (x) mail.corp.test 1;\n\tdmarc/1 = pass header . from = partner.test;\n" + outside + pat, 1, "A"},
		{"own domain from outside, dmarc", ar + "dmarc=pass header.from=corp.test\n" + outside + alice, 1, "A"},
		{"submission goes before results", ar + "dmarc=pass header.from=corp.test\n" + submitted + alice, 1, "I"},
		{"other servers' results beside", "Authentication-Results: other.test; dmarc=fail\n" + pass + outside + pat, 1, "A"},

		{"a colleague", strings.Replace(submitted, "alice@", "mallory@", 1) + alice, 1, "0"},
		{"a colleague, dmarc passes", ar + "dmarc=pass header.from=corp.test\n" + strings.Replace(submitted, "alice@", "mallory@", 1) + alice, 1, "0"},
		{"somebody unnamed, dmarc passes", ar + "dmarc=pass header.from=corp.test\n" + strings.Replace(loopback, "\n\t(Authenticated sender: alice@corp.test)", "", 1) + alice, 1, "0"},
		{"authenticated sender without an authenticated protocol", strings.Replace(loopback, "ESMTPA", "ESMTP", 1) + alice, 1, "0"},
		{"outside, nothing", outside + alice, 1, "0"},
		{"forged Received below the ingress", outside + submitted + alice, 1, "0"},
		{"too few hops", submitted + alice, 2, "0"},
		{"hops not configured", submitted + alice, 0, "0"},
		{"two From", submitted + alice + alice, 1, "0"},
		{"two addresses", submitted + "From: alice@corp.test, b@corp.test\n", 1, "0"},
		{"Kelvin sign", strings.Replace(loopback, "alice@", "kate@", 1) + "From: \u212aate@corp.test\n", 1, "0"},

		{"results below the ingress", outside + pass + pat, 1, "0"},
		{"two of ours above", pass + pass + outside + pat, 1, "0"},
		{"two of ours above, one broken", ar + "dmarc=(\n" + pass + outside + pat, 1, "0"},
		{"another server's", strings.Replace(pass, "mail.corp", "evil", 1) + outside + pat, 1, "0"},
		{"id in a comment", "Authentication-Results: (mail.corp.test) evil.test; dmarc=pass header.from=partner.test\n" + outside + pat, 1, "0"},
		{"in a comment", ar + "spf=fail (sender; dmarc=pass header.from=partner.test) smtp.mailfrom=x@y.test\n" + outside + pat, 1, "0"},
		{"in a quoted local part", ar + "spf=fail smtp.mailfrom=\"x; dmarc=pass header.from=partner.test \"@evil.test\n" + outside + pat, 1, "0"},
		{"in a quoted reason", ar + "spf=fail reason=\"x; dmarc=pass header.from=partner.test\" smtp.mailfrom=x@y.test\n" + outside + pat, 1, "0"},
		{"in an unquoted local part", ar + "spf=fail smtp.mailfrom=x; dmarc=pass header.from=partner.test @evil.test\n" + outside + pat, 1, "0"},
		{"glued to the domain", ar + "spf=fail smtp.mailfrom=x; dmarc=pass header.from=partner.test@evil.test\n" + outside + pat, 1, "0"},
		{"two dmarc results", ar + "dmarc=fail header.from=partner.test; dmarc=pass header.from=partner.test\n" + outside + pat, 1, "0"},
		{"dmarc fails, dkim passes", ar + "dmarc=fail header.from=partner.test; dkim=pass header.d=partner.test\n" + outside + pat, 1, "0"},
		{"another domain", ar + "dmarc=pass header.from=evil.test\n" + outside + pat, 1, "0"},
		{"a domain below", ar + "dkim=pass header.d=mail.partner.test\n" + outside + pat, 1, "0"},
		{"header.from twice", ar + "dmarc=pass header.from=evil.test header.from=partner.test\n" + outside + pat, 1, "0"},
		{"open comment", ar + "dmarc=pass (x header.from=partner.test\n" + outside + pat, 1, "0"},
		{"unknown version", "Authentication-Results: mail.corp.test 2; dmarc=pass header.from=partner.test\n" + outside + pat, 1, "0"},
		{"trailing text", ar + "dmarc=pass header.from=partner.test oops\n" + outside + pat, 1, "0"},
		{"none", ar + "none\n" + outside + pat, 1, "0"},
		{"arc only", strings.Replace(pass, "Auth", "ARC-Auth", 1) + outside + pat, 1, "0"},
	} {
		v := judge(t, c.raw, c.hops)
		if v.Level != c.want || v.Why == "" || (c.want == "0") != (v.Header == "") {
			t.Errorf("%s: level %s, want %s: %s", c.name, v.Level, c.want, v.Why)
		}
	}
	v := judge(t, strings.Replace(submitted, "alice@", "mallory@", 1)+alice, 1)
	if !strings.Contains(v.Why, "submitted by mallory@corp.test, says alice@corp.test") || v.Address.Addr != "alice@corp.test" {
		t.Errorf("why: %s", v.Why)
	}
}

// What an attacker can put into the ingress Received field: HELO, the reverse name,
// a certificate, the recipient, the login's own text. None may make level I.
func TestForgedInsideTheIngress(t *testing.T) {
	auth := "(Authenticated sender: alice@corp.test)"
	for _, raw := range []string{
		"from x " + auth + " (evil [192.0.2.9]) by mail.corp.test (Postfix) with ESMTP id 1",
		"from x (h [192.0.2.9]) " + auth + " (evil [192.0.2.9]) by mail.corp.test (Postfix) with ESMTPSA id 1",
		"from " + auth + " (evil [192.0.2.9]) by mail.corp.test (Postfix) with ESMTPSA id 1",
		"from x(Authenticated (evil [192.0.2.9]) by mail.corp.test with ESMTPA id 1",
		"from x (" + auth + " [192.0.2.9]) by mail.corp.test with ESMTPSA id 1",
		"from x (evil.test [192.0.2.9] " + auth + ") by mail.corp.test with ESMTPSA id 1",
		"from x (evil [192.0.2.9]) (Client CN \"" + auth + "\", Issuer \"x\" (not verified)) by mail.corp.test with ESMTPSA id 1",
		"from x (evil [192.0.2.9]) (Client CN \"a\", Issuer \"x\" (not verified) " + auth + ") by mail.corp.test with ESMTPSA id 1",
		"from x (evil [192.0.2.9]) (Authenticated sender: mallory@corp.test) " + auth + " by mail.corp.test with ESMTPSA id 1",
		"from x (evil [192.0.2.9]) (Authenticated sender: mallory (Authenticated sender: alice@corp.test)) by mail.corp.test with ESMTPSA id 1",
		"from x (evil [192.0.2.9]) (Authenticated sender: alice@corp.test mallory@corp.test) by mail.corp.test with ESMTPSA id 1",
		"from x (evil [192.0.2.9]) (Authenticated sender: \\alice@corp.test) by mail.corp.test with ESMTPSA id 1",
		"from x (evil [192.0.2.9]) by mail.corp.test " + auth + " with ESMTPSA id 1",
		"from x (evil [192.0.2.9]) by mail.corp.test with ESMTPSA " + auth + " id 1",
		"from x (evil [192.0.2.9]) by mail.corp.test with ESMTPSA id 1 " + auth,
		"from x (evil [192.0.2.9]) by mail.corp.test with ESMTPSA id 1 for <\"" + auth + "\"@corp.test>",
		"from x (evil [192.0.2.9]) " + auth + " by mail.corp.test with (ESMTPSA) ESMTP id 1",
		"from x (evil [192.0.2.9]) " + auth + " by mail.corp.test (with ESMTPSA) with ESMTP id 1",
		"from x (evil [192.0.2.9]) " + auth + " by y with ESMTPSA id 2; Sun, 22 Nov 2026 11:16:08 +0000 (h [192.0.2.9]) by mail.corp.test with ESMTP id 1",
		"from x (evil [192.0.2.9]) " + auth + " by mail.corp.test with ESMTP id 1 for <ESMTPSA@corp.test>",
		"by mail.corp.test (Postfix, from userid 0) " + auth + " id 1",
	} {
		v := judge(t, "Received: "+raw+date+alice, 1)
		if v.Level != mailflow.LevelNone {
			t.Errorf("%s: level %s (%s)", raw, v.Level, v.Why)
		}
		// Nor does it help beside a domain that passes.
		if v := judge(t, ar+"dmarc=pass header.from=corp.test\nReceived: "+raw+date+alice, 1); v.Level != mailflow.LevelNone {
			t.Errorf("with dmarc, %s: level %s (%s)", raw, v.Level, v.Why)
		}
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(strings.TrimPrefix(submitted, "Received:"), " mail.corp.test; dmarc=pass (a(b\\)c)) header.from=partner.test; spf=fail smtp.mailfrom=\"a\"@b")
	f.Add(" from x ([::1]) by y with ESMTPA id 1; x", " x 1; none")
	f.Fuzz(func(t *testing.T, rec, res string) {
		// A field that parses still does so with a comment or blanks put behind it.
		if r, err := parseResults(res); err == nil {
			again, err := parseResults(res + " (x)")
			if err != nil || len(again.list) != len(r.list) {
				t.Errorf("%q with a comment: %v", res, err)
			}
			if authservID(res) != r.id {
				t.Errorf("%q has two ids", res)
			}
		}
		if r, err := parseReceived(rec); err == nil && r.sender != "" && strings.Count(rec, "Authenticated sender: ") == 0 && strings.Count(strings.Join(strings.Fields(rec), " "), "Authenticated sender: ") == 0 {
			t.Errorf("%q has a sender from nowhere", rec)
		}
		raw := "Authentication-Results:" + res + "\nReceived:" + rec + "\n" + alice + "\n"
		m, err := message.Parse(strings.NewReader(raw), int64(len(raw)), message.Limits{})
		if err == nil {
			Judge(m, config(1))
		}
	})
}
