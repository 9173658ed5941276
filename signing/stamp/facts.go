package stamp

import "time"

// Facts are what a signature states and its stamp repeats. Empty ones are left out.
type Facts struct {
	Name, Reason, Location string
	Note                   string // one line more: the request, an address
	Time                   time.Time
}

// Text writes the facts in English, each on a line of its own, with the time in the zone
// that it has.
func (f Facts) Text() Text {
	t := Text{Title: "Signed by " + f.Name}
	for _, l := range []struct{ label, text string }{{"Reason: ", f.Reason}, {"Location: ", f.Location}, {"", f.Note}} {
		if l.text != "" {
			t.Lines = append(t.Lines, l.label+l.text)
		}
	}
	if !f.Time.IsZero() {
		format := "2006-01-02 15:04:05 -07:00"
		if _, offset := f.Time.Zone(); offset == 0 {
			format = "2006-01-02 15:04:05 UTC"
		}
		t.Lines = append(t.Lines, f.Time.Format(format))
	}
	return t
}
