package mailflow

import (
	"testing"
	"time"
)

// TestCancelWhileDelivering: once the signatures exist they are owed to everyone.
func TestCancelWhileDelivering(t *testing.T) {
	r := Request{ID: "r", State: StateDelivering, Parties: []Party{{ID: "p0", Role: RoleSender}}}
	d, err := Step(r, Event{Body: Cancel{Reason: "too late"}}, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	if d.Next.State != StateDelivering || len(d.Effects) != 0 || len(d.Audit) != 1 {
		t.Errorf("the request is %s, with %d effects and %d audit entries", d.Next.State, len(d.Effects), len(d.Audit))
	}
}

// TestCodeLetterOfAnotherTime: a letter that waits is moot once its challenge was
// given new time, as it would tell another code than it was written with; and only
// the newest letter's fate gives a challenge new time.
func TestCodeLetterOfAnotherTime(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).UTC()
	challenge := Challenge{N: 1, Issued: now, Expires: now.Add(time.Hour)}
	r := Request{
		ID: "r", State: StateSigning,
		Parties: []Party{{ID: "p0", Role: RoleSender}, {
			ID: "p1", Role: RoleSigner, Address: Address{Addr: "carla@partner.example"}, State: PartyCoding, Challenges: []Challenge{challenge},
		}},
		Deliveries: []Delivery{
			{Key: "old", Kind: LetterCode, Party: "p1", State: DeliveryQueued},
			{Key: "new", Kind: LetterCode, Party: "p1", State: DeliveryQueued},
		},
	}
	l := Letter{Kind: LetterCode, Party: "p1", Challenge: 1, Date: now}
	if Moot(r, l, now) {
		t.Error("the newest letter is moot")
	}
	l.Date = now.Add(-time.Minute)
	if !Moot(r, l, now) {
		t.Error("a letter of an earlier code is not moot")
	}
	for key, renewed := range map[string]bool{"old": false, "new": true} {
		d, err := Step(r, Event{Body: LetterMoot{Key: key}}, now.Add(2*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(d.Effects) == 1; got != renewed {
			t.Errorf("the letter %q becomes moot: %d effects", key, len(d.Effects))
		}
	}
}
