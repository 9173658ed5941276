package reply

import (
	"bytes"
	"html"
	"os"
	"slices"
	"strings"
	"testing"

	"countersign/mailflow"
	"countersign/mailflow/message"
)

// conditions are what a person may type beside a command: none may be lost.
var conditions = []string{
	"But only without clause 4, as I told ann@acme.example:",
	"But only if the price is changed to what we said at 10:30:",
	"Only valid until 1 May 2027, then void.",
	"Only valid until 1 May 2027 12:00:",
	"--- without clause 4 ---",
	"*** subject to board consent ***",
	"== only if the price is lowered ==",
	"---- not before 1 May ----",
	"____ message not original ____",
	"**not before 1 May**",
	"> but only without clause 4",
	"| but only without clause 4",
	"but> only without clause 4",
	"But not as sign@corp.test wrote on 22 Nov 2026 12:15:",
	"Not what Countersign wrote on 22 Nov 2026:",
	"Countersign wrote at 12:15 on 22 Nov 2026, but I differ:",
	"On 22 Nov 2026 Bob wrote that clause 4 goes:",
	"On 1 May 2027 12:15 Countersign wrote:",
	"On 22 Nov 2026, Bob Sender <bob@corp.test> wrote:",
	"1 May 2027",
	"on 1 May 2027 at 12:00:",
	"Countersign: 10.000,00",
	"Countersign 50 %:",
	"Countersign wrote?:",
	"From: 1 May 2027 only",
	"Subject: to board consent",
	"To: be decided by sign@corp.test",
	"Date: not before 1 May 2027",
	"From: Countersign <sign@corp.test> if the board consents",
	"Condition: see my mail of 22 Nov 2026 12:15 to sign@corp.test",
	"see https://corp.test/conditions:",
	"Sent from my iPhone, not valid",
	"Nur ohne Klausel 4, wie ich am 22.11.2026 um 12:15 an sign@corp.test schrieb:",
	"Gilt erst ab 1. Mai 2027:",
	"Seulement sans la clause 4, comme Countersign a écrit :",
	"Sólo sin la cláusula 4, como escribió Countersign:",
	"Solo senza la clausola 4, come ha scritto Countersign:",
	"Tylko bez punktu 4, jak napisał Countersign:",
	"Только без пункта 4, как Countersign писал 22.11.2026 12:15:",
	"但不包括第4条，如 Countersign 于 2026-11-22 12:15 写道：",
	"ただし第4条を除く Countersign:",
	"단, 4조 제외 Countersign 작성:",
	"فقط بدون البند 4 كتب Countersign:",
	"רק בלי סעיף 4 כתב Countersign:",
	"👍",
	"Ann",
}

// quotations are how clients announce and quote our letter. @ is our address, Q the
// letter with quote marks, U the letter without.
var quotations = map[string]string{
	"Gmail en":            "On Sun, Nov 22, 2026 at 12:15 PM Countersign <@> wrote:\n\nQ",
	"Gmail en, wrapped":   "On Sun, Nov 22, 2026 at 12:15 PM Countersign\n<@> wrote:\n\nQ",
	"Gmail de":            "Am So., 22. Nov. 2026 um 12:15 Uhr schrieb Countersign <@>:\n\nQ",
	"Gmail fr":            "Le dim. 22 nov. 2026 à 12:15, Countersign <@> a écrit :\n\nQ",
	"Gmail es":            "El dom, 22 nov 2026 a las 12:15, Countersign (<@>) escribió:\n\nQ",
	"Gmail it":            "Il giorno dom 22 nov 2026 alle ore 12:15 Countersign <@> ha scritto:\n\nQ",
	"Gmail pt":            "Em dom., 22 de nov. de 2026 às 12:15, Countersign <@> escreveu:\n\nQ",
	"Gmail nl":            "Op zo 22 nov 2026 om 12:15 schreef Countersign <@>:\n\nQ",
	"Gmail pl":            "niedz., 22 lis 2026 o 12:15 Countersign <@> napisał(a):\n\nQ",
	"Gmail ru":            "вс, 22 нояб. 2026 г. в 12:15, Countersign <@>:\n\nQ",
	"Gmail uk":            "нд, 22 лист. 2026 р. о 12:15 Countersign <@> пише:\n\nQ",
	"Gmail cs":            "ne 22. 11. 2026 v 12:15 odesílatel Countersign <@> napsal:\n\nQ",
	"Gmail tr":            "Countersign <@>, 22 Kas 2026 Paz, 12:15 tarihinde şunu yazdı:\n\nQ",
	"Gmail zh-CN":         "Countersign <@> 于2026年11月22日周日 12:15写道：\n\nQ",
	"Gmail zh-TW":         "Countersign <@> 於 2026年11月22日週日 下午12:15寫道：\n\nQ",
	"Gmail ja":            "2026年11月22日(日) 12:15 Countersign <@>:\n\nQ",
	"Gmail ko":            "2026년 11월 22일 (일) 오후 12:15, Countersign <@>님이 작성:\n\nQ",
	"Gmail ar":            "في الأحد، 22 نوفمبر 2026 في 12:15 م تمت كتابة ما يلي بواسطة \u202aCountersign\u202c\u200f <\u202a@\u202c\u200f>:\n\nQ",
	"Gmail he":            "\u202bבתאריך יום א׳, 22 בנוב׳ 2026 ב-12:15 מאת \u202aCountersign\u202c\u200f <\u202a@\u202c\u200f>:\u202c\n\nQ",
	"Apple en":            "> On 22 Nov 2026, at 12:15, Countersign <@> wrote:\n> \nQ",
	"Apple de":            "> Am 22.11.2026 um 12:15 schrieb Countersign <@>:\n> \nQ",
	"Apple ja":            "> 2026/11/22 12:15、Countersign <@>のメール:\n> \nQ",
	"Thunderbird en":      "On 11/22/26 12:15, Countersign wrote:\nQ",
	"Thunderbird de":      "Am 22.11.26 um 12:15 schrieb Countersign:\nQ",
	"Thunderbird fr":      "Le 22/11/2026 à 12:15, Countersign a écrit :\nQ",
	"Thunderbird, author": "Countersign wrote:\nQ",
	"mutt":                "On Sun, Nov 22, 2026 at 12:15:03PM +0100, Countersign wrote:\nQ",
	"Proton":              "On Sunday, November 22nd, 2026 at 12:15 PM, Countersign <@> wrote:\n\nQ",
	"Yahoo":               "On Sunday, November 22, 2026 at 12:15:03 PM GMT+1, Countersign <@> wrote:\n\nU",
	"Outlook Mac":         "On 22/11/2026, 12:15, \"Countersign\" <@> wrote:\n\nU",
	"Outlook en":          "________________________________\nFrom: Countersign <@>\nSent: Sunday, November 22, 2026 12:15 PM\nTo: Ann Signer <ann@corp.test>\nSubject: [#7K3F9Q] Please sign\n\nU",
	"Outlook en, names":   "-----Original Message-----\nFrom: Countersign <@>\nSent: Sunday, November 22, 2026 12:15 PM\nTo: Signer, Ann\nSubject: [#7K3F9Q] Please sign\n\nU",
	"Outlook de":          "Von: Countersign <@>\nGesendet: Sonntag, 22. November 2026 12:15\nAn: Ann Signer\nBetreff: [#7K3F9Q] Please sign\n\nU",
	"Outlook fr":          "De : Countersign <@>\nEnvoyé : dimanche 22 novembre 2026 12:15\nÀ : Ann Signer\nObjet : [#7K3F9Q] Please sign\n\nU",
	"Outlook zh":          "发件人: Countersign <@>\n发送时间: 2026年11月22日 12:15\n收件人: Ann Signer <ann@corp.test>\n主题: [#7K3F9Q] Please sign\n\nU",
	"Outlook ja":          "差出人: Countersign <@>\n送信日時: 2026年11月22日 12:15\n宛先: ann@corp.test\n件名: [#7K3F9Q] Please sign\n\nU",
	"GMX":                 "Gesendet: Sonntag, 22. November 2026 um 12:15 Uhr\nVon: \"Countersign\" <@>\nAn: ann@corp.test\nBetreff: [#7K3F9Q] Please sign\nU",
	"QQ":                  "------------------ 原始邮件 ------------------\n发件人: \"Countersign\" <@>;\n发送时间: 2026年11月22日(星期日) 中午12:15\n收件人: \"Ann Signer\"<ann@corp.test>;\n主题: [#7K3F9Q] Please sign\n\nU",
	"163":                 "在 2026-11-22 12:15:03，\"Countersign\" <@> 写道：\n\nQ",
	"Yandex":              "22.11.2026, 12:15, \"Countersign\" <@>:\n\nQ",
	"Yandex, today":       "22.11.2026, 12:15, \"Countersign\" <@> пишет:\nU",
}

// parts gives what announces the quotation, and the quotation.
func parts(layout string) (head, tail string) {
	head = strings.NewReplacer("@", "sign+tok@corp.test").Replace(layout[:len(layout)-1])
	head = strings.ReplaceAll(head, "ann"+"sign+tok@corp.test"+"corp.test", "ann@corp.test")
	if strings.HasSuffix(layout, "U") {
		return head, letter
	}
	return head, quoteOf(letter)
}

// places puts a text into an answer wherever a person could type it.
func places(command, head, tail, text string) []string {
	var out []string
	for _, before := range []string{"\n", "\n\n"} {
		for _, after := range []string{"\n", "\n\n", "\n\n\n"} {
			typed := text + after
			out = append(out,
				command+before+typed+head+tail,        // below the command, or right above the quote
				command+"\n\n"+head+before+typed+tail, // between attribution and quote
				command+before+typed+tail,             // no attribution
				command+before+typed,                  // no quote
			)
		}
	}
	// Into the attribution, and below the quote.
	for i := range head {
		if head[i] == '\n' {
			out = append(out, command+"\n\n"+head[:i+1]+text+"\n"+head[i+1:]+tail)
		}
	}
	return append(out, command+"\n\n"+head+tail+"\n"+text+"\n")
}

// marked tells whether a text is written as a quote: below an attribution it is one.
func marked(text string) bool { return quotePrefix.MatchString(text) }

func TestClients(t *testing.T) {
	for name, layout := range quotations {
		head, tail := parts(layout)
		for _, c := range []struct {
			command string
			want    mailflow.Command
		}{{"APPROVE", mailflow.CommandApprove}, {"AGREE\nName: Ann Signer", mailflow.CommandAgree}, {"123456", mailflow.CommandCode}} {
			for _, sig := range []string{"", "\n-- \nAnn Signer\nTel. 030 123456\n"} {
				in := answerTo(c.command+"\n"+sig+"\n"+head+tail, "")
				in.WantName = true
				if a := Read(in); a.Command != c.want {
					t.Errorf("%s: %s, typed %q", name, a.Command, a.Typed)
				}
				if in.Dates = nil; Read(in).Command != c.want && !strings.Contains(name, "wrapped") {
					t.Errorf("%s, no date known: %s", name, Read(in).Command)
				}
			}
		}
	}
}

// No condition is lost, wherever it stands and however the letter is quoted.
func TestConditions(t *testing.T) {
	n := 0
	for name, layout := range quotations {
		head, tail := parts(layout)
		for _, text := range sample(name) {
			for i, mail := range places("APPROVE", head, tail, text) {
				in := answerTo(mail, "")
				for _, sent := range []string{letter, ""} {
					in.Sent = sent
					n++
					a := Read(in)
					if obeyed(a.Command) && !(marked(text) && excused(mail, head, tail, text)) {
						t.Errorf("%s, place %d, letter known %v: %s although %q was typed:\n%s", name, i, sent != "", a.Command, text, mail)
					}
				}
			}
		}
	}
	t.Logf("%d answers", n)
}

// sample is what is tried with a layout: all if there is time for it, as with a
// corpus, or the layout is the one that says least; else a part of it, always the
// same.
func sample(layout string) []string {
	if os.Getenv("CORPUS") != "" || layout == "Thunderbird, author" {
		return conditions
	}
	var some []string
	for i := len(layout) % 9; i < len(conditions); i += 9 {
		some = append(some, conditions[i])
	}
	return some
}

// excused tells whether a text with quote marks stands among the quoted lines, where
// it cannot be told from one.
func excused(mail, head, tail, text string) bool {
	at, attribution := strings.Index(mail, text+"\n"), strings.Index(mail, strings.TrimSpace(head))
	return attribution >= 0 && at > attribution || strings.HasPrefix(head, ">") && strings.Contains(mail, tail)
}

// The same in HTML, where people also type into the quotation.
func TestConditionsHTML(t *testing.T) {
	body := strings.ReplaceAll(strings.TrimSpace(letter), "\n", "<br>")
	n := 0
	for name, page := range map[string]string{
		"Gmail":       `<div dir="ltr">APPROVE^</div>^<br><div class="gmail_quote gmail_quote_container">^<div dir="ltr" class="gmail_attr">^On Sun, Nov 22, 2026 at 12:15 PM Countersign &lt;<a href="mailto:sign@corp.test">sign@corp.test</a>&gt; wrote:<br>^</div>^<blockquote class="gmail_quote" style="margin:0">^` + body + `^</blockquote>^</div>^`,
		"Thunderbird": `<p>APPROVE</p>^<p>^</p><div class="moz-cite-prefix">^On 11/22/26 12:15, Countersign wrote:<br>^</div>^<blockquote type="cite" cite="mid:x">^<p>^` + body + `</p>^</blockquote>^<p>^</p>`,
		"Outlook":     `<div class="WordSection1"><p class="MsoNormal">APPROVE</p>^<p class="MsoNormal">&nbsp;</p>^<div>^<div style="border:none;border-top:solid #E1E1E1 1.0pt">^<p class="MsoNormal"><b>From:</b> Countersign &lt;sign@corp.test&gt;<br>^<b>Sent:</b> Sunday, November 22, 2026 12:15 PM<br><b>To:</b> Ann Signer<br><b>Subject:</b> [#7K3F9Q] Please sign</p>^</div></div>^<p class="MsoNormal">^` + body + `^</p>^</div>`,
		"Outlook web": `<div>APPROVE^</div>^<div id="appendonsend">^</div><hr>^<div id="divRplyFwdMsg">^<b>From:</b> Countersign &lt;sign@corp.test&gt;<br><b>Sent:</b> Sunday, November 22, 2026 12:15 PM<br><b>To:</b> Ann Signer &lt;ann@corp.test&gt;<br><b>Subject:</b> [#7K3F9Q] Please sign^</div>^<div>^` + body + `^</div>^`,
		"Apple":       `APPROVE<div>^<br><blockquote type="cite">^<div>On 22 Nov 2026, at 12:15, Countersign &lt;sign@corp.test&gt; wrote:</div>^<br>^<div>` + body + `^</div></blockquote></div>^`,
		"Yahoo":       `<div>APPROVE</div>^<div id="ydp1yahoo_quoted_1" class="ydp1yahoo_quoted">^<div>^<div>On Sunday, November 22, 2026 at 12:15:03 PM GMT+1, Countersign &lt;sign@corp.test&gt; wrote:</div>^<div>^` + body + `^</div></div></div>^`,
	} {
		at := strings.Split(page, "^")
		if a := Read(answerTo("", strings.Join(at, ""))); a.Command != mailflow.CommandApprove {
			t.Errorf("%s: %s, typed %q", name, a.Command, a.Typed)
		}
		for i := 1; i < len(at); i++ {
			for k, text := range conditions {
				if (i+k)%4 != 0 && os.Getenv("CORPUS") == "" {
					continue
				}
				for _, wrap := range [][2]string{{"<div>", "</div>"}, {"<br>", "<br>"}, {"<p><b>", "</b></p>"}, {`<div class="gmail_quote">`, "</div>"}, {`<div class="gmail_attr">`, "</div>"}} {
					in := answerTo("", strings.Join(at[:i], "")+wrap[0]+html.EscapeString(text)+wrap[1]+strings.Join(at[i:], ""))
					n++
					if a := Read(in); obeyed(a.Command) {
						t.Errorf("%s, place %d, %s: %s although %q was typed", name, i, wrap[0], a.Command, text)
					}
				}
			}
		}
	}
	t.Logf("%d answers", n)
}

// The same in mails that real clients wrote, as far as there are some.
func TestConditionsCorpus(t *testing.T) {
	n, understood := 0, 0
	for path, raw := range mails(t) {
		m, err := message.Parse(bytes.NewReader(raw), int64(len(raw)), message.Limits{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		in := From(m)
		in.From.Addr = "sign@mail.test"
		ls := strings.Split(strings.ReplaceAll(in.Text, "\r", ""), "\n")
		q := slices.IndexFunc(ls, func(l string) bool { return strings.HasPrefix(l, ">") })
		if q < 1 || in.HTML != "" {
			continue
		}
		sent := strings.ReplaceAll(strings.Join(ls[q:], "\n"), "> ", "")
		head, tail := ls[q-1]+"\n", strings.Join(ls[q:], "\n")
		for _, known := range []string{sent, ""} {
			in.Sent, in.Text = known, "APPROVE\n\n"+head+tail
			if a := Read(in); a.Command == mailflow.CommandApprove {
				understood++
			} else {
				t.Errorf("%s: %s, typed %q", path, a.Command, a.Typed)
			}
			for _, text := range conditions {
				for _, mail := range places("APPROVE", head, tail, text) {
					in.Text = mail
					n++
					if a := Read(in); obeyed(a.Command) && !(marked(text) && excused(mail, head, tail, text)) {
						t.Errorf("%s: %s although %q was typed:\n%s", path, a.Command, text, mail)
					}
				}
			}
		}
	}
	t.Logf("%d answers with a condition, %d without understood", n, understood)
}

// A single word above an attribution was typed, whatever else it may mean.
func TestWordAboveAttribution(t *testing.T) {
	for _, tc := range []struct{ word, attribution string }{
		{"Nie", "W dniu 22.11.2026 o 12:15, Countersign napisał:"},
		{"Ne", "Dne 22.11.2026 v 12:15 Countersign napsal:"},
		{"Friday", "On 22 Nov 2026, at 12:15, Countersign <sign@corp.test> wrote:"},
		{":)", "On 22 Nov 2026, at 12:15, Countersign <sign@corp.test> wrote:"},
	} {
		mail := "APPROVE\n" + tc.word + "\n" + tc.attribution + "\n> " + strings.ReplaceAll(strings.TrimSpace(letter), "\n", "\n> ") + "\n"
		if a := Read(answerTo(mail, "")); obeyed(a.Command) {
			t.Errorf("%s although %q was typed", a.Command, tc.word)
		}
		plain := strings.Replace(mail, tc.word+"\n", "", 1)
		if a := Read(answerTo(plain, "")); a.Command != mailflow.CommandApprove {
			t.Errorf("%s without it: %s", a.Command, tc.attribution)
		}
	}
}
