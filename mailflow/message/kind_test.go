package message

import (
	"slices"
	"strings"
	"testing"
)

const tok = "abcdefghijklmnopqrstuvwxyz"

var own = Own{Addresses: []string{"sign@corp.test"}, Header: "X-Countersign", Hops: 1}

func TestTags(t *testing.T) {
	for raw, want := range map[string][]string{
		"Delivered-To: Sign+A@corp.test\nReceived: x\nFrom: a@b.test\nTo: sign+b@corp.test\n\n":             {"a", "b"},
		"Received: x\nDelivered-To: sign+forged@corp.test\nFrom: a@b.test\nTo: sign@corp.test\n\n":          nil,
		"X-Original-To: sign+x@corp.test\nEnvelope-To: <sign+y@corp.test>\nReceived: x\nFrom: a@b.test\n\n": {"x", "y"},
		"Received: x\nFrom: a@b.test\nTo: x@y.test\nCc: Sign <sign+" + tok + "@corp.test>\n\n":              {tok},
		"Received: x\nFrom: a@b.test\nTo: signer+x@corp.test, sign+x@other.test\n\n":                        nil,
		"Delivered-To: sign+a@corp.test\nFrom: a@b.test\n\n":                                                nil,
	} {
		if got := Tags(parse(t, raw), own); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", raw, got, want)
		}
	}
	o := own
	o.Delimiter = "--"
	if got := Tags(parse(t, "Received: x\nFrom: a@b.test\nTo: sign--q@corp.test\n\n"), o); !slices.Equal(got, []string{"q"}) {
		t.Errorf("another delimiter: %v", got)
	}
}

func TestClassify(t *testing.T) {
	h := "Received: x\nFrom: a@b.test\nTo: sign@corp.test\n"
	report := func(kind, part string) string {
		return h + "Content-Type: multipart/report; report-type=" + kind + "; boundary=b\n\n--b\n\nx\n--b\nContent-Type: " + part + "\n\nx: y\n--b--\n"
	}
	for raw, want := range map[string]Kind{
		h + "Subject: Contract\n\nx\n":                                                           KindDraft,
		strings.Replace(h, "sign@", "sign+"+tok+"@", 1) + "\nAPPROVE\n":                          KindAnswer,
		strings.Replace(h, "sign@", "sign+b-"+tok+"@", 1) + "\nx\n":                              KindAutomatic,
		strings.Replace(h, "sign@", "sign+verify@", 1) + "\nx\n":                                 KindVerify,
		report("delivery-status", "message/delivery-status"):                                     KindBounce,
		report("disposition-notification", "message/disposition-notification"):                   KindReceipt,
		report("feedback-report", "message/feedback-report"):                                     KindComplaint,
		report("other", "text/plain"):                                                            KindAutomatic,
		h + "X-Failed-Recipients: a@b\n\nx\n":                                                    KindBounce,
		"From: MAILER-DAEMON@b.test\n\nx\n":                                                      KindBounce,
		"Return-Path: <>\n" + h + "\nx\n":                                                        KindAutomatic,
		h + "Auto-Submitted: auto-replied\n\nx\n":                                                KindAutomatic,
		h + "Auto-Submitted: no\n\nx\n":                                                          KindDraft,
		h + "X-Auto-Response-Suppress: All\n\nx\n":                                               KindDraft,
		h + "X-Countersign: 1\n\nx\n":                                                            KindAutomatic,
		h + "Precedence: bulk\n\nx\n":                                                            KindAutomatic,
		h + "List-Id: <x>\n\nx\n":                                                                KindList,
		h + "Resent-From: a@b\n\nx\n":                                                            KindAutomatic,
		h + "Subject: Automatische Antwort: weg\n\nx\n":                                          KindAutomatic,
		h + "Subject: =?utf-8?B?6Ieq5Yqo5Zue5aSNOiB4?=\n\nx\n":                                   KindAutomatic,
		h + "Subject: Out of office rules\nContent-Type: application/octet-stream\n\n%PDF-1.7\n": KindDraft,
		h + "Subject: Reading list\n\nx\n":                                                       KindDraft,
		h + "Content-Type: text/calendar; method=REQUEST\n\nx\n":                                 KindCalendar,
		"From: sign+x@corp.test\n\nx\n":                                                          KindAutomatic,
		"From: a@b.test, c@d.test\n\nx\n":                                                        KindOther,
	} {
		c := Classify(parse(t, raw), own)
		if c.Kind != want || c.Why == "" {
			t.Errorf("%q: %s (%s), want %s", raw, c.Kind, c.Why, want)
		}
		if c.Automatic() != (want != KindDraft && want != KindAnswer && want != KindVerify) {
			t.Errorf("%s: automatic %v", c.Kind, c.Automatic())
		}
	}
}
