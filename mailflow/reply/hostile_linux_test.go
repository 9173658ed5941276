package reply

import (
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"countersign/mailflow"
)

// What is made to be slow is not.
func TestHostile(t *testing.T) {
	border := `<div style="border-top:solid"><table style="border-top:solid">`
	runtime.LockOSThread() // its processor time is measured: others may be busy meanwhile
	defer runtime.UnlockOSThread()
	sheet := "<style>" + strings.Repeat(".a .b:hover > p.c{display:none}", 500) + "</style>"
	for name, in := range map[string]Input{
		"blank lines":     {Text: "APPROVE\n" + strings.Repeat("---- x ----\n\n\n", 600)},
		"attributions":    {Text: "APPROVE\n" + strings.Repeat("12:15 a@b:\n> x\n", 900)},
		"wrapped names":   {Text: "APPROVE\n" + strings.Repeat("a a a a wrote:\n", 1900)},
		"long particles":  {Text: "APPROVE\n" + strings.Repeat("a "+strings.Repeat("日月", 20)+" wrote:\n> x\n", 600)},
		"header blocks":   {Text: strings.Repeat("From: a@b 2026 12:15\n", 1900)},
		"quote marks":     {Text: strings.Repeat(">", 60000)},
		"one long line":   {Text: strings.Repeat("a:b@ ", 13000)},
		"role lines":      {Text: strings.Repeat("Signer: a\n", 1900)},
		"nested borders":  {HTML: strings.Repeat(border, 200) + strings.Repeat("<p>From: a@b", 20000)},
		"many borders":    {HTML: strings.Repeat(`<div style="border-top:solid">a</div>`, 20000)},
		"many selectors":  {HTML: sheet + strings.Repeat(`<i class="a b">x</i>`, 40000)},
		"open formatting": {HTML: strings.Repeat("<b><i><p>", 100000)},
		"big styles":      {HTML: `<p style="` + strings.Repeat("clip :", 150000) + `">APPROVE`},
		"long letter":     {Text: "APPROVE\n" + strings.Repeat("a x c ", 9000), Sent: strings.Repeat("a b c d ", 100000)},
	} {
		in.From, in.Dates = mailflow.Address{Name: "a", Addr: "a@b"}, []time.Time{time.Unix(1e9, 0)}
		before := worked(t)
		a := Read(in)
		Lines(in)
		if d := worked(t) - before; d > 10*time.Second {
			t.Errorf("%s: took %v of processor time", name, d)
		}
		if obeyed(a.Command) {
			t.Errorf("%s: %s is obeyed", name, a.Command)
		}
	}
}

// worked is the processor time that this thread has taken so far.
func worked(t *testing.T) time.Duration {
	t.Helper()
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
