package pades

import (
	"crypto"
	"fmt"
	"slices"
	"strings"

	"countersign/signing/pdf"
)

// Flags of a seed value dictionary that make a constraint binding (ISO 32000-2,
// Table 237, /Ff).
const (
	bindFilter = 1 << iota
	bindSubFilter
	bindVersion
	bindReasons
	bindAttestation
	bindRevocation
	bindDigest
	bindLock
	bindAppearance
)

const (
	filter    = "Adobe.PPKLite"
	subFilter = "ETSI.CAdES.detached"
)

// A seed checks what a field prescribes for its signature in its seed value
// dictionary (/SV, 12.7.5.5). What does not bind is passed over; what binds is kept or refused
// with [pdf.ReasonUnsupported]; so is what this package does not know.
type seed struct {
	in      SignParams
	field   pdf.Field
	level   int // permission that the signature will leave: 1, 2, 3, or 0 for what there was
	binding int64
}

func (s seed) no(format string, args ...any) error {
	return &pdf.RefusedError{
		Reason: pdf.ReasonUnsupported,
		Detail: fmt.Sprintf("the field %q prescribes how it must be signed: %s", s.field.Name, fmt.Sprintf(format, args...)),
	}
}

// checkSeed checks the seed values of a field; lock is what the signature will lock.
func checkSeed(in SignParams, field pdf.Field, lock *pdf.Lock) error {
	sv, err := in.File.Resolve(field.Object.Value.Get("SV"))
	if err != nil || sv.IsNull() {
		return err
	}
	s := seed{in: in, field: field, level: in.Certification}
	if lock != nil && lock.Level > 0 && s.level == 0 {
		s.level = lock.Level
	}
	if sv.Kind() != pdf.Dict {
		return s.no("its /SV is %s", sv.Kind())
	}
	flags, err := in.File.Resolve(sv.Get("Ff"))
	if err != nil {
		return err
	}
	if n, ok := flags.Int(); ok && n >= 0 && n < 1<<9 {
		s.binding = n
	} else if !flags.IsNull() {
		return s.no("the flags of its /SV are unknown")
	}
	if s.binding&bindReasons != 0 && sv.Get("Reasons").IsNull() && in.Reason != "" {
		return s.no("without a reason")
	}
	for k, v := range sv.Entries() {
		if v, err = in.File.Resolve(v); err != nil {
			return err
		}
		check, known := seedChecks[k.Name()]
		if !known {
			return s.no("its /SV has the entry /%s", k.Name())
		}
		if check != nil && !v.IsNull() {
			if err := check(s, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// seedChecks are the entries of Table 237.
var seedChecks = map[string]func(seed, pdf.Value) error{
	"Type": nil, "Ff": nil,
	"Filter": func(s seed, v pdf.Value) error {
		if s.binding&bindFilter != 0 && v.Name() != filter {
			return s.no("with the handler %s", v.Name())
		}
		return nil
	},
	"SubFilter": seed.subFilter,
	"V": func(s seed, v pdf.Value) error {
		if n, ok := v.Float(); s.binding&bindVersion != 0 && (!ok || n > 3) {
			return s.no("by a program newer than PDF 2.0")
		}
		return nil
	},
	"Reasons":      seed.reasons,
	"DigestMethod": seed.digest,
	"MDP":          seed.mdp,
	"TimeStamp":    seed.timestamp,
	"LockDocument": seed.lock,
	"Cert": func(s seed, v pdf.Value) error {
		flags, err := s.in.File.Resolve(v.Get("Ff"))
		if n, _ := flags.Int(); err == nil && (n != 0 || v.Kind() != pdf.Dict) {
			return s.no("with certain certificates only (/Cert)")
		}
		return err
	},
	"LegalAttestation": func(s seed, _ pdf.Value) error {
		if s.binding&bindAttestation != 0 {
			return s.no("with a legal attestation")
		}
		return nil
	},
	"AddRevInfo": func(s seed, v pdf.Value) error {
		if s.binding&bindRevocation != 0 && v.True() { // only adbe.pkcs7.detached has them
			return s.no("with revocation data inside of the signature")
		}
		return nil
	},
	"AppearanceFilter": func(s seed, v pdf.Value) error {
		if s.binding&bindAppearance != 0 {
			return s.no("with the appearance %q", v.Text())
		}
		return nil
	},
}

// texts returns the names or text strings of an array.
func (s seed) texts(v pdf.Value) ([]string, error) {
	var out []string
	for _, it := range v.Items() {
		it, err := s.in.File.Resolve(it)
		if err != nil {
			return nil, err
		}
		if len(out) == 100 {
			return nil, s.no("by a list of more than 100 entries")
		}
		if it.Kind() == pdf.Name {
			out = append(out, it.Name())
		} else {
			out = append(out, it.Text())
		}
	}
	return out, nil
}

// subFilter: of the formats listed, the first that a program supports is to be used;
// validators demand the very first.
func (s seed) subFilter(v pdf.Value) error {
	all, err := s.texts(v)
	if err == nil && s.binding&bindSubFilter != 0 && (len(all) == 0 || all[0] != subFilter) {
		err = s.no("in the format %s; here it would be %s", strings.Join(all, ", "), subFilter)
	}
	return err
}

// reasons: an empty list, and one of a single full stop, forbid a reason.
func (s seed) reasons(v pdf.Value) error {
	all, err := s.texts(v)
	if err != nil || s.binding&bindReasons == 0 {
		return err
	}
	none := len(all) == 0 || len(all) == 1 && all[0] == "."
	switch {
	case none && s.in.Reason != "":
		return s.no("without a reason")
	case !none && !slices.Contains(all, s.in.Reason):
		return s.no("with one of the reasons %q", all)
	}
	return nil
}

func (s seed) digest(v pdf.Value) error {
	all, err := s.texts(v)
	if err != nil || s.binding&bindDigest == 0 {
		return err
	}
	own := map[crypto.Hash]string{crypto.SHA256: "SHA256", crypto.SHA384: "SHA384", crypto.SHA512: "SHA512"}[s.in.Hash]
	same := func(name string) bool { return strings.EqualFold(name, own) } // pyHanko writes lower case
	if own == "" || !slices.ContainsFunc(all, same) {
		return s.no("with the digest %s; this key uses %s", strings.Join(all, ", "), own)
	}
	return nil
}

// mdp: 0 is an approval signature, 1 to 3 a certification; always binding.
func (s seed) mdp(v pdf.Value) error {
	p, err := s.in.File.Resolve(v.Get("P"))
	if err != nil {
		return err
	}
	n, ok := p.Int()
	switch {
	case !ok && !p.IsNull() || n < 0 || n > 3:
		return s.no("its /MDP is unknown")
	case n == 0 && s.in.Certification > 0:
		return s.no("without a certification")
	case n > 0 && int64(s.in.Certification) != n:
		return s.no("as a certification with P=%d", n)
	}
	return nil
}

func (s seed) timestamp(v pdf.Value) error {
	flag, err := s.in.File.Resolve(v.Get("Ff"))
	if err != nil {
		return err
	}
	if n, _ := flag.Int(); n != 0 && !s.in.Stamped {
		return s.no("with a timestamp")
	}
	return nil
}

// lock: whether the document must, or must not, be closed by this signature.
func (s seed) lock(v pdf.Value) error {
	if s.binding&bindLock == 0 {
		return nil
	}
	name := v.Name()
	if v.Kind() == pdf.Bool { // as some programs write it
		name = fmt.Sprint(v.True())
	}
	switch {
	case name == "auto", name == "true" && s.level == 1, name == "false" && s.level != 1:
		return nil
	case name == "true":
		return s.no("so that nothing may change afterwards (P=1)")
	}
	return s.no("so that the document stays open")
}
