package reply

import (
	"strings"
	"testing"
	"time"

	"countersign/mailflow"
)

const letter = `Dear Ann,

Bob Sender asks you to sign this document for Example Ltd.

Document: contract.pdf, 3 pages
Fingerprint: 0f1e2d3c4b5a6978

Answer this mail and write one word into the first line, above the quoted text.
To sign, the word is the one that the subject names, and nothing else beside it.
Your code: 123 456 (for the first line of your answer)

Countersign for Example Ltd
`

func quoteOf(s string) string {
	return "> " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n> ") + "\n"
}

// answerTo is an answer to the letter.
func answerTo(text, html string) Input {
	return Input{
		Text: text, HTML: html, Sent: letter, CodeDigits: 6,
		From:    mailflow.Address{Name: "Countersign", Addr: "sign@corp.test"},
		Dates:   []time.Time{time.Date(2026, 11, 22, 11, 15, 0, 0, time.UTC)},
		Person:  mailflow.Address{Name: "Ann Signer", Addr: "ann@corp.test"},
		Subject: "Re: [#7K3F9Q] Please sign",
	}
}

const cite = "\n\nOn 22 Nov 2026 12:15, Countersign <sign+tok@corp.test> wrote:\n"

func TestReadText(t *testing.T) {
	q := cite + quoteOf(letter)
	outlook := "\n\n________________________________\nFrom: Countersign <sign@corp.test>\nSent: Sunday, 22 November 2026 12:15\nTo: Ann <ann@corp.test>\nSubject: [#7K3F9Q] Please sign\n\n" + letter
	for _, c := range []struct {
		name, text string
		want       mailflow.Command
		cause      Cause
	}{
		{"bare", "APPROVE", mailflow.CommandApprove, ""},
		{"top posting", "approve" + q, mailflow.CommandApprove, ""},
		{"blank lines before", "\n\n  Approve.\n" + q, mailflow.CommandApprove, ""},
		{"emphasis", "*I approve!*\n" + q, mailflow.CommandApprove, ""},
		{"full width", "ＡＰＰＲＯＶＥ\n" + q, mailflow.CommandApprove, ""},
		{"zero width", "APP\u200bROVE\n", mailflow.CommandApprove, ""},
		{"agree", "I agree\n", mailflow.CommandAgree, ""},
		{"code", "123456\n" + q, mailflow.CommandCode, ""},
		{"code with blanks", "123 456\n" + q, mailflow.CommandCode, ""},
		{"code with word", "Code: 123-456\n" + q, mailflow.CommandCode, ""},
		{"code, other digits", "１２３ ٤٥٦\n" + q, mailflow.CommandCode, ""},
		{"signature", "APPROVE\n\n-- \nAnn Signer\nTel. 030 123456\n" + q, mailflow.CommandApprove, ""},
		{"footer", "APPROVE\n\nSent from my iPhone\n" + q, mailflow.CommandApprove, ""},
		{"footer with link", "APPROVE\n\nGet Outlook for iOS<https://aka.ms/o0ukef>\n" + q, mailflow.CommandApprove, ""},
		{"Outlook", "APPROVE" + outlook, mailflow.CommandApprove, ""},
		{"original message", "APPROVE\n\n-----Original Message-----\nFrom: Countersign <sign@corp.test>\nSent: Sunday, 22 November 2026 12:15\nTo: Ann\n\n" + letter, mailflow.CommandApprove, ""},
		{"quoted without marks", "APPROVE\n\n" + letter, mailflow.CommandApprove, ""},
		{"wrapped anew", "APPROVE\n" + cite + "> Answer this mail and write one word into\n> the first line, above\nthe quoted text.\n", mailflow.CommandApprove, ""},
		{"attribution over two lines", "APPROVE\n\nOn Sun, Nov 22, 2026 at 12:15 PM Countersign\n<sign+tok@corp.test> wrote:\n" + quoteOf(letter), mailflow.CommandApprove, ""},
		{"attribution in an unknown language", "APPROVE\n\nsign@corp.test 於 2026-11-22 12:15 寫到:\n" + quoteOf(letter), mailflow.CommandApprove, ""},
		{"below our quote", strings.TrimSpace(cite) + "\n" + quoteOf(letter) + "\nAPPROVE\n", mailflow.CommandApprove, ""},
		{"reject", "REJECT\nThe price is wrong.\nAsk Bob.\n" + q, mailflow.CommandReject, ""},
		{"do not sign", "Do not sign.\n" + q, mailflow.CommandReject, ""},

		{"empty", q, mailflow.CommandUnclear, CauseEmpty},
		{"nothing", "", mailflow.CommandUnclear, CauseEmpty},
		{"greeting", "Hello,\nAPPROVE\n" + q, mailflow.CommandUnclear, CauseNoCommand},
		{"ok", "ok\n" + q, mailflow.CommandUnclear, CauseNoCommand},
		{"yes", "Yes, thanks!\n" + q, mailflow.CommandUnclear, CauseNoCommand},
		{"question", "approve?\n" + q, mailflow.CommandUnclear, CauseNoCommand},
		{"sentence", "I agree to sign\n" + q, mailflow.CommandUnclear, CauseNoCommand},
		{"negation", "I can not approve this yet\n" + q, mailflow.CommandUnclear, CauseNoCommand},
		{"homograph", "АPPROVE\n" + q, mailflow.CommandUnclear, CauseNoCommand},
		{"struck with combining signs", "A\u0336P\u0336P\u0336R\u0336O\u0336V\u0336E\u0336\n", mailflow.CommandUnclear, CauseNoCommand},
		{"condition", "APPROVE, but only if the price is lower\n" + q, mailflow.CommandUnclear, CauseNoCommand},
		{"condition below", "APPROVE\nbut only if the price is lower\n" + q, mailflow.CommandRemark, CauseRemark},
		{"condition right above the attribution", "APPROVE\nbut only if it is cheaper\nOn 22 Nov 2026 12:15, Countersign <sign+tok@corp.test> wrote:\n" + quoteOf(letter), mailflow.CommandRemark, CauseRemark},
		{"condition between quotes", "APPROVE" + q + "but only if page 3 goes\n> " + "Document: contract.pdf, 3 pages\n", mailflow.CommandRemark, CauseRemark},
		{"condition indented", "APPROVE\n\n> but only if it is cheaper\n", mailflow.CommandRemark, CauseRemark},
		{"condition below a drawn line", "APPROVE\n----------\nbut only if it is cheaper\n", mailflow.CommandRemark, CauseRemark},
		{"condition like a footer", "APPROVE\nSent from my iPhone, not valid\n" + q, mailflow.CommandRemark, CauseRemark},
		{"condition with an address above the quote", "APPROVE\nBut only without clause 4, as I told ann@acme.example:\n" + quoteOf(letter), mailflow.CommandRemark, CauseRemark},
		{"condition with a time above the quote", "APPROVE\nBut only if the price is changed to what we said at 10:30:\n" + quoteOf(letter), mailflow.CommandRemark, CauseRemark},
		{"condition with a date above an attribution without", "APPROVE\nOnly valid until 1 May 2027, then void.\nCountersign <sign@corp.test> wrote:\n" + quoteOf(letter), mailflow.CommandRemark, CauseRemark},
		{"date above an attribution without", "APPROVE\n1 May 2027\nCountersign <sign@corp.test> wrote:\n" + quoteOf(letter), mailflow.CommandRemark, CauseRemark},
		{"condition between dashes", "APPROVE\n--- without clause 4 ---\n" + letter, mailflow.CommandRemark, CauseRemark},
		{"condition between stars", "APPROVE\n*** subject to board consent ***\n" + letter, mailflow.CommandRemark, CauseRemark},
		{"emoji", "APPROVE\n👍\n" + q, mailflow.CommandRemark, CauseRemark},
		{"signature without delimiter", "APPROVE\n\nAnn Signer\n" + q, mailflow.CommandRemark, CauseRemark},
		{"same again", "APPROVE\nApproved\n" + q, mailflow.CommandRemark, CauseRemark},
		{"both", "APPROVE\nREJECT\n" + q, mailflow.CommandUnclear, CauseContradict},
		{"reject and approve", "REJECT\napprove\n" + q, mailflow.CommandUnclear, CauseContradict},
		{"reject in the signature", "AGREE\n-- \nreject\n" + q, mailflow.CommandUnclear, CauseContradict},
		{"agree and code", "AGREE\n123456\n" + q, mailflow.CommandUnclear, CauseContradict},
		{"two codes", "123456\n654321\n" + q, mailflow.CommandUnclear, CauseContradict},
		{"short code", "12345\n" + q, mailflow.CommandUnclear, CauseDigits},
		{"two separators", "123  --  456\n" + q, mailflow.CommandUnclear, CauseNoCommand},
		{"below a foreign quote", "> Something else was written here\n> by somebody\n\nAPPROVE\n", mailflow.CommandUnclear, CauseNoCommand},
		{"between quotes", quoteOf(letter[:strings.Index(letter, "Fingerprint")]) + "APPROVE\n" + quoteOf(letter[strings.Index(letter, "Fingerprint"):]), mailflow.CommandUnclear, CauseQuoteAbove},
		{"quoted", "> APPROVE\n", mailflow.CommandUnclear, CauseNoCommand},
		{"too long", "APPROVE\n" + strings.Repeat("x", maxText), mailflow.CommandUnclear, CauseTooLong},
		{"too many lines", "APPROVE\n" + strings.Repeat("\n", maxLines), mailflow.CommandUnclear, CauseTooLong},
	} {
		a := Read(answerTo(c.text, ""))
		if a.Command != c.want || a.Cause != c.cause {
			t.Errorf("%s: %s (%s) %q, want %s (%s); typed %q", c.name, a.Command, a.Cause, a.Problem, c.want, c.cause, a.Typed)
		}
		if strings.Contains(a.Typed+a.Reason+a.Word, "123456") {
			t.Errorf("%s: the code shows in %q", c.name, a.Typed)
		}
	}
}

// Without the letter that is answered, only an attribution shows what is quoted.
func TestReadUnknownLetter(t *testing.T) {
	for text, want := range map[string]Cause{
		"On 22 Nov 2026 12:15, Countersign wrote:\n> Something\n\nAPPROVE\n": CauseQuoteAbove,
		"> Something was written\n\nAPPROVE\n":                               CauseNoCommand,
		"APPROVE\n\n> Something was written\n":                               CauseRemark,
		"APPROVE\n> but only without clause 4\n":                             CauseRemark,
		"APPROVE\n\nOn 22 Nov at 12:15 Countersign wrote:\n> Something\n":    "",
		"APPROVE\n\nOn 22 Nov at 12:15 Somebody wrote:\n> Something\n":       CauseRemark,
		"APPROVE\nSomething was written\n":                                   CauseRemark,
		"APPROVE\n\nFrom: sign@corp.test\nSent: 2026\nTo: c\n\nold letter\n": CauseRemark,
	} {
		in := answerTo(text, "")
		in.Sent = ""
		if a := Read(in); a.Cause != want {
			t.Errorf("%q: %s (%s), want (%s)", text, a.Command, a.Cause, want)
		}
	}
	// Nor does anything announce a quote if we do not know who sent the letter.
	if a := Read(Input{Text: "APPROVE" + cite + quoteOf(letter), Sent: letter}); a.Command != mailflow.CommandRemark {
		t.Errorf("without From: %s", a.Command)
	}
}

func TestReadFields(t *testing.T) {
	a := Read(Input{Text: "REJECT\n\nToo dear. My code was\n123456\n", CodeDigits: 7})
	if a.Reason != "Too dear. My code was\n[code]" || a.Word != "REJECT" {
		t.Errorf("reject: %+v", a)
	}
	a = Read(Input{Text: "code: ١٢٣ 456", CodeDigits: 6})
	if string(a.Code) != "123456" || a.Word != "code" || a.Typed != "[code]" {
		t.Errorf("code: %q %q %q", string(a.Code), a.Word, a.Typed)
	}
	if a := Read(Input{Text: "REJECT\n" + strings.Repeat("ä", 5000)}); len([]rune(a.Reason)) != maxReason {
		t.Errorf("the reason has %d characters", len([]rune(a.Reason)))
	}
	if a := Read(Input{Text: "123456"}); a.Command != mailflow.CommandUnclear {
		t.Errorf("a code although none is expected: %s", a.Command)
	}
}

func TestReadName(t *testing.T) {
	for _, c := range []struct {
		text, name string
		want       mailflow.Command
		cause      Cause
	}{
		{"AGREE\nName: Ann Signer\n", "Ann Signer", mailflow.CommandAgree, ""},
		{"AGREE\n\nNAME：王小明\n", "王小明", mailflow.CommandAgree, ""},
		{"AGREE\nName: Jose\u0301\n", "José", mailflow.CommandAgree, ""},
		{"AGREE\n", "", mailflow.CommandAgree, ""},
		{"AGREE\nName: A\nName: B\n", "", mailflow.CommandUnclear, CauseTwoNames},
		{"AGREE\nName:\n", "", mailflow.CommandUnclear, CauseBadName},
		{"AGREE\nName: " + strings.Repeat("a", 65), "", mailflow.CommandUnclear, CauseBadName},
		{"AGREE\nName: Ann\u202eeve\n", "", mailflow.CommandUnclear, CauseBadName},
		{"AGREE\nName: Ann\x00\n", "", mailflow.CommandUnclear, CauseBadName},
		{"AGREE\nName: 12345\n", "", mailflow.CommandUnclear, CauseBadName},
		{"AGREE\nName: Ann\nbut not page 2\n", "", mailflow.CommandRemark, CauseRemark},
		{"AGREE\nas agreed\nName: Ann\n", "", mailflow.CommandRemark, CauseRemark},
		{"APPROVE\nName: Ann\n", "", mailflow.CommandRemark, CauseRemark},
	} {
		a := Read(Input{Text: c.text, CodeDigits: 6, WantName: true})
		if a.Command != c.want || a.Cause != c.cause || a.Name != c.name {
			t.Errorf("%q: %s (%s) name %q, want %s (%s) %q", c.text, a.Command, a.Cause, a.Name, c.want, c.cause, c.name)
		}
	}
	if a := Read(Input{Text: "AGREE\nName: Ann"}); a.Command != mailflow.CommandRemark {
		t.Errorf("a name that is not wanted: %s", a.Command)
	}
}

func TestReadHTML(t *testing.T) {
	lines := strings.ReplaceAll(letter, "\n", "<br>")
	quoted := `<blockquote type="cite"><p>` + lines + `</p></blockquote>`
	for _, c := range []struct {
		name, html string
		want       mailflow.Command
		cause      Cause
	}{
		{"Gmail", `<div dir="ltr">APPROVE</div><br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">On Sun, Nov 22, 2026 at 12:15 PM Countersign &lt;<a href="mailto:sign@corp.test">sign@corp.test</a>&gt; wrote:<br></div><blockquote class="gmail_quote">` + lines + `</blockquote></div>`, mailflow.CommandApprove, ""},
		{"Gmail with signature", `<div dir="ltr">APPROVE<br clear="all"><div><br></div><span class="gmail_signature_prefix">-- </span><br><div class="gmail_signature">Ann Signer</div></div><div class="gmail_quote">` + lines + `</div>`, mailflow.CommandApprove, ""},
		{"Thunderbird", `<html><body><p>APPROVE</p><div class="moz-cite-prefix">On 22/11/2026 12:15, Countersign wrote:<br></div>` + quoted + `<pre class="moz-signature">-- 
Ann</pre></body></html>`, mailflow.CommandApprove, ""},
		{"Outlook", `<html><head><style>p.MsoNormal{margin:0cm;font-size:11.0pt}</style></head><body><div class="WordSection1"><p class="MsoNormal">APPROVE<o:p></o:p></p><p class="MsoNormal"><o:p>&nbsp;</o:p></p><div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm"><p class="MsoNormal"><b>From:</b> Countersign &lt;sign@corp.test&gt;<br><b>Sent:</b> 22 November 2026 12:15<br><b>To:</b> Ann Signer<br><b>Subject:</b> [#7K3F9Q] Please sign</p></div><p class="MsoNormal">` + lines + `</p></div></body></html>`, mailflow.CommandApprove, ""},
		{"Outlook on the web", `<div>APPROVE</div><div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>From:</b> Countersign<br><b>Sent:</b> 22 November 2026 12:15<br><b>To:</b> ann@corp.test<br></div><div>` + lines + `</div>`, mailflow.CommandApprove, ""},
		{"Apple", `<html><body>APPROVE<br><div><br><blockquote type="cite"><div>On 22 Nov 2026, at 12:15, Countersign wrote:</div><div>` + lines + `</div></blockquote></div></body></html>`, mailflow.CommandApprove, ""},
		{"bold", `<p><b>A</b>PPROVE</p>`, mailflow.CommandApprove, ""},
		{"struck", `<p><s>APPROVE</s></p>`, mailflow.CommandUnclear, CauseHidden},
		{"struck by style", `<p style="text-decoration : line-through">APPROVE</p>`, mailflow.CommandUnclear, CauseHidden},
		{"hidden condition", `<p>APPROVE</p><p style="display: none">but only if</p>`, mailflow.CommandUnclear, CauseHidden},
		{"hidden by sheet", `<style>.x , p .y{ display:none }</style><p>APPROVE</p><p><span class="y">but only if</span></p>`, mailflow.CommandUnclear, CauseHidden},
		{"made by sheet", `<style>p::after{content:" not"}</style><p>APPROVE</p>`, mailflow.CommandUnclear, CauseHidden},
		{"size nought", `<p>APPROVE<span style="font-size:0px">d by nobody</span></p>`, mailflow.CommandUnclear, CauseHidden},
		{"hidden in the quote only", `<p>APPROVE</p><blockquote type="cite"><div style="display:none">Document: contract.pdf, 3 pages</div>` + lines + `</blockquote>`, mailflow.CommandApprove, ""},
		{"table", `<table><tr><td>APPROVE</td><td>only page 1</td></tr></table>`, mailflow.CommandRemark, CauseRemark},
		{"condition below a border", `<p>APPROVE</p><div style="border-top:solid 1px">but only if</div>`, mailflow.CommandRemark, CauseRemark},
		{"reversed", `<p><bdo dir="rtl">APPROVE</bdo></p>`, mailflow.CommandUnclear, CauseHidden},
		{"in a comment", `<!-- APPROVE --><p>no</p>`, mailflow.CommandUnclear, CauseNoCommand},
		{"indented condition", `<p>APPROVE</p><blockquote>but only if it is cheaper</blockquote>`, mailflow.CommandRemark, CauseRemark},
		{"condition in the quotation", `<p>APPROVE</p><div>On 22/11/2026 12:15, Countersign wrote:</div><blockquote>` + lines + `<b>not page 3</b></blockquote>`, mailflow.CommandRemark, CauseRemark},
		{"condition in a container", `<p>APPROVE</p><div class="gmail_quote">but not page 3` + quoted + `</div>`, mailflow.CommandRemark, CauseRemark},
		{"condition as an attribution", `<p>APPROVE</p><div class="gmail_attr">but not page 3, as I wrote to sign@corp.test:</div>` + quoted, mailflow.CommandRemark, CauseRemark},
		{"long signature block", `<p>APPROVE</p><div id="Signature">` + strings.Repeat("but not page 3<br>", 20) + `</div>`, mailflow.CommandRemark, CauseRemark},
		{"deep", strings.Repeat("<div>", 5000) + "APPROVE", mailflow.CommandUnclear, CauseHidden},
	} {
		a := Read(answerTo("", c.html))
		if a.Command != c.want || a.Cause != c.cause {
			t.Errorf("%s: %s (%s), want %s (%s); typed %q", c.name, a.Command, a.Cause, c.want, c.cause, a.Typed)
		}
	}
}

func TestReadBoth(t *testing.T) {
	for _, c := range []struct {
		text, html string
		want       mailflow.Command
		cause      Cause
	}{
		{"APPROVE\n", "<p>APPROVE</p>", mailflow.CommandApprove, ""},
		{"APPROVE\n", "<p>REJECT</p>", mailflow.CommandUnclear, CauseDisagree},
		{"123456\n", "<p>123457</p>", mailflow.CommandUnclear, CauseDisagree},
		{"APPROVE\n", "<p>APPROVE</p><p>only page 1</p>", mailflow.CommandRemark, CauseRemark},
		{"APPROVE\nAnn\n", "<p>APPROVE</p><div id=Signature>Ann</div>", mailflow.CommandRemark, CauseRemark},
		{" \n", "<p>APPROVE</p>", mailflow.CommandApprove, ""},
		{"This mail needs HTML.\n", "<p>APPROVE</p>", mailflow.CommandUnclear, CauseDisagree},
	} {
		a := Read(Input{Text: c.text, HTML: c.html, CodeDigits: 6})
		if a.Command != c.want || a.Cause != c.cause {
			t.Errorf("%q and %q: %s (%s)", c.text, c.html, a.Command, a.Cause)
		}
	}
}

// A label that only the HTML part of our letter has is known too.
func TestSentText(t *testing.T) {
	html := "<p>Please answer by mail.</p><p><a href='mailto:x'>Open an answer that agrees</a></p>"
	in := Input{Text: "AGREE\n\nPlease answer by mail.\nOpen an answer that agrees\n", Sent: SentText("Please answer by mail.\n", html)}
	if a := Read(in); a.Command != mailflow.CommandAgree {
		t.Errorf("%s: %q", a.Command, a.Typed)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct {
		in   Input
		want Cause
	}{
		{Input{Guessed: true}, CauseGuessed},
		{Input{Defective: true}, CauseDefective},
		{Input{Attachments: []Attachment{{"x.bin", "application/pdf"}}}, CauseAttachment},
		{Input{Attachments: []Attachment{{"Contract.DOCX", "application/octet-stream"}}}, CauseAttachment},
		{Input{Attachments: []Attachment{{"image001.png", "image/png"}, {"smime.p7s", "application/pkcs7-signature"}}}, ""},
	} {
		c.in.Text = "APPROVE"
		if a := Read(c.in); a.Cause != c.want || (c.want == "") != (a.Command == mailflow.CommandApprove) || a.Typed != "APPROVE" {
			t.Errorf("%+v: %s (%s), typed %q", c.in, a.Command, a.Cause, a.Typed)
		}
	}
}

func TestCommandInAnyLine(t *testing.T) {
	if l, ok := CommandInAnyLine(letter); ok {
		t.Errorf("%q is taken for a command", l)
	}
	for _, s := range []string{"x\n> I agree\n", "Hello\n*Reject.*", "123 456", "a\ncode: 12345678\n", "| 1234-5678"} {
		if _, ok := CommandInAnyLine(s); !ok {
			t.Errorf("no command found in %q", s)
		}
	}
	for _, s := range []string{"12345", "Agree: opens an answer to send", "2026-11-22 12:15"} {
		if l, ok := CommandInAnyLine(s); ok {
			t.Errorf("%q is taken for a command", l)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("APPROVE"+cite+quoteOf(letter), "<p>APPROVE</p>", letter)
	f.Add("> x\n\nREJECT\n-- \nAnn", "<s>a</s><table><td>b", "")
	f.Add("-----Original Message-----\nFrom: a@b\nDate: 2026\nTo: c\n", "<div style='border-top:solid'><div style='border-top:solid'>From: a", "x")
	f.Fuzz(func(t *testing.T, text, html, sent string) {
		in := Input{Text: text, HTML: html, Sent: sent, CodeDigits: 6, WantName: true}
		a := Read(in)
		switch a.Command {
		case mailflow.CommandApprove, mailflow.CommandAgree, mailflow.CommandReject, mailflow.CommandCode:
			// Whatever is obeyed stands alone in a line somewhere.
			if a.Cause != "" {
				t.Errorf("%s with cause %s", a.Command, a.Cause)
			}
			if _, ok := CommandInAnyLine(a.Word); !ok && a.Command != mailflow.CommandCode {
				t.Errorf("obeyed %q", a.Word)
			}
		case mailflow.CommandRemark, mailflow.CommandUnclear:
			if a.Problem == "" || a.Cause == "" {
				t.Errorf("%s without a reason", a.Command)
			}
		default:
			t.Errorf("command %q", a.Command)
		}
		Lines(in)
	})
}
