package letter

import "strings"

// maxURL bounds mailto: addresses; some mail programs cut longer ones off.
const maxURL = 1900

// links are the mailto: addresses (RFC 6068) behind the buttons: each opens an
// answer that is written already, and is sent by the reader or not.
func (c *composer) links() map[string]string {
	if !c.letter.Token {
		return nil
	}
	agree := "AGREE\r\n"
	if name := c.signerName(); name != "" {
		agree += "Name: " + name + "\r\n"
	}
	links := map[string]string{
		"approve": c.mailto("APPROVE\r\n"),
		"reject":  c.mailto("REJECT\r\n"),
		"agree":   c.mailto(agree),
	}
	if c.tellsCode() {
		links["code"] = c.mailto(c.marks.mark(HoleCode, 0, c.request.Terms.CodeDigits) + "\r\n")
	}
	return links
}

func (c *composer) mailto(body string) string {
	local, domain := splitAddr(c.replyAddress())
	// A mark is letters and digits, which percent leaves alone.
	url := "mailto:" + percent(local, "-._~") + "@" + percent(domain, "-._~") +
		"?body=" + percent(body, "-._~") +
		"&In-Reply-To=" + percent("<"+c.letter.MessageID+">", "-._~")
	subject := "Re: " + c.words.Subject
	if c.request.Ref != "" {
		subject = "Re: [#" + c.request.Ref + "] " + c.words.Subject
	}
	for {
		s := "&subject=" + percent(subject, "-._~")
		if len(url)+len(s) < maxURL {
			return url + s
		}
		if subject == "" {
			return url
		}
		subject = strings.TrimSpace(truncate(subject, len(subject)*3/4))
	}
}
