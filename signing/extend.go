package signing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"countersign/signing/cms"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/revocation"
	"countersign/signing/timestamp"
)

// maxSkew is how far a new timestamp may be older than one before it: authorities and
// their clocks differ.
const maxSkew = 5 * time.Minute

// ExtensionParams says what to add to a signed file.
type ExtensionParams struct {
	Data      revocation.Data // for its Document Security Store; what is there already is left out
	TokenRoom int             // bytes for the token of a document timestamp; 0: none, level B-LT
	// Strict refuses with [pades.ErrLocks] a timestamp that the locks in the file permit but
	// some validators do not.
	Strict bool
}

// An Extension is one increment that brings a signed file to level B-LT or B-LTA, laid out
// but for the token. Like [Intent] it is plain data to be stored as JSON. Digest and
// Hash are what the authority stamps; empty if no timestamp is wanted.
type Extension struct {
	pades.Extension
	// NotBefore is the time of the newest timestamp in the file; the new one must be no
	// older. Zero: there is none.
	NotBefore time.Time `json:"not_before,omitzero"`
}

// Subjects returns what the signatures and timestamps of a file need evidence for, and
// the validation data that the file has already. Every signature is verified on the way
// (but trusted for nothing): one that is broken is an [ErrBroken], and one of a kind that
// cannot be extended is refused. The file is read once, as a stream.
//
// A signature's time is that of its own timestamp, else of the first document timestamp
// that covers it, else zero: now.
func Subjects(r io.ReaderAt, size int64) ([]revocation.Subject, revocation.Data, error) {
	f, err := pdf.Open(r, size)
	if err != nil {
		return nil, revocation.Data{}, err
	}
	v, err := verifyAll(f)
	if err == nil {
		err = v.checkKinds()
	}
	if err != nil {
		return nil, revocation.Data{}, err
	}
	known, err := pades.ReadDSS(f)
	if err != nil {
		return nil, revocation.Data{}, err
	}
	return v.subjects(), known, nil
}

// ForeignSubjects is [Subjects] for a file that others signed before us: signatures of kinds that cannot
// be extended are not refused but named in others, as Subject.What names them.
func ForeignSubjects(r io.ReaderAt, size int64) (subjects []revocation.Subject, known revocation.Data, others []string, err error) {
	f, err := pdf.Open(r, size)
	if err != nil {
		return nil, known, nil, err
	}
	v, err := verifyAll(f)
	if err != nil {
		return nil, known, nil, err
	}
	if known, err = pades.ReadDSS(f); err != nil {
		return nil, known, nil, err
	}
	for i := range v.all {
		if v.all[i].foreign() {
			others = append(others, v.all[i].what())
		}
	}
	return v.subjects(), known, others, nil
}

// SubjectsOf returns what a signature just made needs evidence for: its signer and, if
// it has a timestamp, the authority.
func SubjectsOf(in Intent, p Proof) ([]revocation.Subject, error) {
	chain, err := in.chain()
	if err != nil {
		return nil, err
	}
	s := signed{field: in.Field, certs: chain}
	if p.Token != nil {
		if err := checkToken(p.Token, p.Signature, chain[0]); err != nil {
			return nil, err
		}
		t, err := timestamp.ParseToken(p.Token)
		if err != nil {
			return nil, err
		}
		s.token = &t
	}
	return s.subjects(), nil
}

// AuthorityOf returns what the authority that made a token needs evidence for. It is to be in the
// file before the token of a document timestamp is, as nothing follows that.
func AuthorityOf(token []byte) (revocation.Subject, error) {
	t, err := timestamp.ParseToken(token)
	if err != nil {
		return revocation.Subject{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	s := signed{subFilter: subFilterDocStamp, token: &t}
	all := s.subjects()
	all[0].What = "the time-stamping authority"
	return all[0], nil
}

// CheckExtendable fails if a signature that is in a file already would make [NewExtension]
// fail once ours is there, too; it is asked before a key is. A file that nobody has signed
// yet is fine.
func CheckExtendable(base io.ReaderAt, size int64) error {
	f, err := pdf.Open(base, size)
	if err != nil {
		return err
	}
	_, err = verifyAll(f)
	if no, refused := errors.AsType[*pdf.RefusedError](err); refused && no.Reason == pdf.ReasonUnsigned {
		return nil
	}
	return err
}

// NewExtension lays an extension out. It verifies the signatures that are there, as
// [Subjects] does, but those of unknown kinds, in the same single pass over the file that
// computes what is to be stamped. It fails with [pades.ErrNothingToAdd] if there is nothing to do.
func NewExtension(base io.ReaderAt, size int64, p ExtensionParams) (Extension, error) {
	f, err := pdf.Open(base, size)
	if err != nil {
		return Extension{}, err
	}
	v, err := verifyAll(f)
	if err == nil {
		err = f.CheckStructure() // for the numbers that it mentions, too
	}
	if err != nil {
		return Extension{}, err
	}
	x, err := pades.Extend(pades.ExtendParams{File: f, Digests: v.digests, Data: p.Data, Room: p.TokenRoom, Strict: p.Strict})
	if err != nil {
		return Extension{}, err
	}
	return Extension{Extension: *x, NotBefore: v.newest()}, nil
}

// FinishExtension writes the extended file: the base, checked while it is copied, and the
// increment with the token, which must stamp it (nil if no timestamp is wanted), else
// [ErrToken]. The caller throws away what was written if an error comes back, and runs
// [CheckExtension] on the rest.
func FinishExtension(w io.Writer, base io.ReaderAt, x Extension, token []byte) (Result, error) {
	if err := x.checkToken(token); err != nil {
		return Result{}, err
	}
	written, err := x.Write(w, base, token)
	if err != nil {
		return Result{}, err
	}
	return newResult(written)
}

// CheckExtension reads an extended file back and fails unless it is exactly base and
// increment, all validation data can be read from it, the timestamp covers the whole file
// and holds, and the signatures before are what they were. (It does not know the token:
// what in it proves nothing, a root say, is not compared.)
func CheckExtension(result io.ReaderAt, size int64, x Extension) error {
	padded, err := x.Check(result, size)
	if err != nil || !x.Timestamped() {
		return err
	}
	token, err := cms.Trim(padded)
	if err != nil {
		return fmt.Errorf("%w: %w", pades.ErrResult, err)
	}
	return x.checkToken(token)
}

// checkToken checks that a token stamps this extension and is no older than the
// timestamps before it; ParseToken has seen to its certificate.
func (x *Extension) checkToken(der []byte) error {
	if !x.Timestamped() {
		if der != nil {
			return fmt.Errorf("%w: none was asked for", ErrToken)
		}
		return nil
	}
	t, err := timestamp.ParseToken(der)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrToken, err)
	case t.Weak != nil:
		return fmt.Errorf("%w: %w", ErrToken, t.Weak)
	case t.Hash != x.Hash || !bytes.Equal(t.Digest, x.Digest):
		return fmt.Errorf("%w: it stamps something else", ErrToken)
	case t.Time.Add(t.Accuracy + maxSkew).Before(x.NotBefore):
		return fmt.Errorf("%w: it says %s, and a timestamp already in the file says %s; check the clock of the authority",
			ErrToken, t.Time.UTC().Format(time.RFC3339), x.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}
