package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/stamp"
)

// placeFlags say where signatures are seen and what they state.
type placeFlags struct {
	Page     []int    `sep:"none" help:"Page of the rectangle; the first is 1, which is the default." placeholder:"N"`
	Rect     []string `sep:"none" help:"Make the signature visible in this rectangle: x, y of its upper left corner, width and height, in points (1/72 inch) from the upper left corner of the page as you see it. With --signer: once for each signature, the organisation's first." placeholder:"X,Y,W,H"`
	Font     string   `type:"existingfile" help:"TrueType font for visible signatures. Default: Go Regular (Latin, Greek, Cyrillic)." placeholder:"FILE"`
	Name     string   `help:"Name stated in the signature. Default in a visible one: the name in the certificate."`
	Location string   `help:"Place stated in the signature."`
	Contact  string   `help:"How to reach the signer, stated in the signature."`
}

// places returns where the signatures are seen, in order; nil where they are not.
func (p placeFlags) places(field string, count int) ([]*pades.Place, error) {
	if len(p.Page) > len(p.Rect) {
		return nil, errors.New("--page needs --rect: where on the page?")
	}
	if len(p.Rect) > 0 && field != "" {
		return nil, fmt.Errorf("--rect does not go with --field: the field %q has its own place", field)
	}
	if len(p.Rect) > count {
		return nil, fmt.Errorf("%d times --rect for %d signature(s)", len(p.Rect), count)
	}
	places := make([]*pades.Place, count)
	page := 1
	for i, r := range p.Rect {
		area, err := parseArea(r)
		if err != nil {
			return nil, err
		}
		if i < len(p.Page) {
			page = p.Page[i]
		}
		places[i] = &pades.Place{Page: page, Area: area}
	}
	return places, nil
}

func parseArea(s string) (pdf.Area, error) {
	var n [4]float64
	parts := strings.Split(s, ",")
	if len(parts) == len(n) {
		for i, part := range parts {
			var err error
			if n[i], err = strconv.ParseFloat(strings.TrimSpace(part), 64); err != nil {
				return pdf.Area{}, fmt.Errorf("--rect %s: %q is no number", s, part)
			}
		}
		return pdf.Area{X: n[0], Y: n[1], W: n[2], H: n[3]}, nil
	}
	return pdf.Area{}, fmt.Errorf("--rect %s: write x,y,width,height in points, for example 60,700,180,50", s)
}

// font reads the font of visible signatures; nil is the built-in one.
func (p placeFlags) font() (*stamp.Font, error) {
	if p.Font == "" {
		return nil, nil
	}
	b, err := os.ReadFile(p.Font)
	if err != nil {
		return nil, fmt.Errorf("--font: %w", err)
	}
	f, err := stamp.ParseFont(b)
	if err != nil {
		return nil, fmt.Errorf("--font %s: %w", p.Font, err)
	}
	return f, nil
}

// state completes the parameters of the step's signature by what depends on its time.
func (s *signStep) state(now time.Time, font *stamp.Font) {
	p := &s.params
	p.SigningTime, p.Chain = now, s.key.Chain()
	name := p.Name
	if len(p.Chain) > 0 {
		name = cmp.Or(name, p.Chain[0].Subject.CommonName)
	}
	text := stamp.Facts{
		Name: name, Reason: p.Reason, Location: p.Location, Note: p.ContactInfo, Time: now.UTC(),
	}.Text()
	text.Font = font
	p.Appearance = text
}

// lockStep returns what signature i of a row over the same file locks beyond its field's own
// lock: its own field, the last one all. A signature that is alone locks nothing, as
// others may be meant to follow.
func lockStep(fields []string, i int, seal bool) *pdf.Lock {
	switch {
	case len(fields) == 1 || seal:
		return nil
	case i == len(fields)-1:
		return &pdf.Lock{Action: pdf.LockAll}
	}
	return &pdf.Lock{Action: pdf.LockInclude, Fields: fields[i : i+1]}
}

// A certifyLevel is the DocMDP level of a certification, 0 for none. The flag without a
// value means 2.
type certifyLevel int

// Decode implements kong.MapperValue.
func (c *certifyLevel) Decode(ctx *kong.DecodeContext) error {
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		*c = 2
		return nil
	}
	switch v := fmt.Sprint(ctx.Scan.Pop().Value); v {
	case "1", "2", "3":
		*c = certifyLevel(v[0] - '0')
		return nil
	default:
		return fmt.Errorf("%q is none of 1 (no changes), 2 (form filling and signatures), 3 (annotations, too)", v)
	}
}

// IsBool says that the flag needs no value.
func (*certifyLevel) IsBool() bool { return true }

// checkCertify refuses a certification that would lock out the job's own signers.
func checkCertify(level certifyLevel, signers []string) error {
	if level == 1 && len(signers) > 0 {
		return errors.New("--certify=1 forbids all changes, so nobody can sign after it; use --certify=2 with --signer")
	}
	return nil
}
