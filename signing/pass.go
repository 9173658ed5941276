package signing

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"countersign/signing/cms"
	"countersign/signing/pades"
	"countersign/signing/pdf"
	"countersign/signing/timestamp"
)

// A Job is a signature to be made in one go.
type Job struct {
	Params     // Chain may be left out, and Base is not used
	Key    Key // signs
	// Stamp returns the timestamp token over a signature, at most TokenRoom bytes of
	// DER; nil: level B-B.
	Stamp func(ctx context.Context, signature []byte) ([]byte, error)
}

// A Pass signs a file in one go, where no intent is stored in between: a file on the
// command line, or one of thousands that are sealed without people. The base is read
// once for all signatures, and each result is read back (see [pades.Pass]) before
// its Result is returned.
//
// After any error the output must be thrown away. A Pass is for one goroutine and must
// be closed, which does not touch the output.
type Pass struct {
	pass *pades.Pass
	// foreign: the base was signed by others; nil: not looked at yet
	foreign *bool
	newest  time.Time // of the timestamps made here
}

// Signed is a signature made in a [Pass].
type Signed struct {
	Result
	Intent Intent // with Proof, for [SubjectsOf]
	Proof  Proof
}

// NewPass begins to sign. The output is empty. A small base is read, nothing is written.
func NewPass(out pades.Output, base *io.SectionReader) (*Pass, error) {
	p, err := pades.NewPass(out, base, base.Size())
	if err != nil {
		return nil, err
	}
	return &Pass{pass: p}, nil
}

// Close gives the memory back.
func (p *Pass) Close() { p.pass.Close() }

// Prepare adds empty signature fields, as the function of that name does.
func (p *Pass) Prepare(fields []pades.FieldSpec) (Result, []string, error) {
	names, err := p.pass.Prepare(fields)
	if err != nil {
		return Result{}, nil, err
	}
	res, err := newResult(p.pass.Hashed())
	return res, names, err
}

// Sign makes one signature. The key is asked once, and what it returns is verified
// before an authority is asked, unless the key is [SelfChecked]; a token must stamp it as [Finish] demands.
func (p *Pass) Sign(ctx context.Context, j Job) (Signed, error) {
	if j.Chain == nil {
		j.Chain = j.Key.Chain()
	}
	if j.Stamp != nil && j.TokenRoom == 0 {
		return Signed{}, errors.New("signing: no room for the timestamp that is wanted")
	}
	if err := p.look(); err != nil {
		return Signed{}, err
	}
	t, err := p.ticket(j.Params)
	if err != nil {
		return Signed{}, err
	}
	signature, err := t.Sign(ctx, j.Key)
	if err != nil {
		return Signed{}, err
	}
	d := t.data
	d.Signature = signature
	if j.Stamp != nil {
		at, err := j.stamp(ctx, &d)
		if err != nil {
			return Signed{}, err
		}
		p.newest = later(p.newest, at)
	}
	if err := p.write(&t.in, d); err != nil {
		return Signed{}, err
	}
	res, err := newResult(p.pass.Hashed())
	return Signed{res, t.in, Proof{d.Signature, d.Token}}, err
}

// ticket lays the signature out over the newest revision.
func (p *Pass) ticket(params Params) (*Ticket, error) {
	l, err := newLayout(params)
	if err != nil {
		return nil, err
	}
	u, err := p.pass.Begin(l)
	if err != nil {
		return nil, err
	}
	in, err := params.intent(u, l.Room)
	if err != nil {
		return nil, err
	}
	return newTicket(in, cms.SignedData{Attrs: in.SignedAttrs, Hash: in.Hash, Chain: params.Chain, PSS: in.PSS})
}

// stamp gets the timestamp over a signature and tells its time.
func (j *Job) stamp(ctx context.Context, d *cms.SignedData) (at time.Time, err error) {
	if d.Token, err = j.Stamp(ctx, d.Signature); err != nil {
		return at, fmt.Errorf("timestamp: %w", err)
	}
	if err := checkToken(d.Token, d.Signature, d.Chain[0]); err != nil {
		return at, err
	}
	t, err := timestamp.ParseToken(d.Token)
	return t.Time, err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// write appends the signature.
func (p *Pass) write(in *Intent, d cms.SignedData) error {
	der, err := cms.Assemble(d)
	if err != nil {
		return err
	}
	return p.pass.Sign(&in.Unsigned, der)
}

// look finds out, once and before anything is added, whether others have signed.
func (p *Pass) look() error {
	if p.foreign != nil {
		return nil
	}
	f, err := p.pass.File()
	if err != nil {
		return err
	}
	fields, err := f.SignatureFields()
	if err != nil {
		return err
	}
	foreign := slices.ContainsFunc(fields, func(fd pdf.Field) bool { return fd.Signed })
	p.foreign = &foreign
	return nil
}

// CheckTimestamp fails with [pades.ErrLocks] if a strict extension with a timestamp would fail
// once these empty fields of the newest revision are signed.
func (p *Pass) CheckTimestamp(fields []string) error {
	f, err := p.pass.File()
	if err != nil {
		return err
	}
	return pades.CheckTimestamp(f, fields)
}

// A Stamping asks an authority for the token over a digest that was made with h.
type Stamping func(ctx context.Context, digest []byte, h crypto.Hash) ([]byte, error)

// Extend adds validation data and, if there is room for a token, a document timestamp,
// as [NewExtension], [FinishExtension] and [CheckExtension] do. The signatures made
// in this pass were verified in it; only if the base had others is it read once more. With
// [pades.ErrNoRoom] for the token nothing was written, and it may be called once more.
func (p *Pass) Extend(ctx context.Context, params ExtensionParams, stamp Stamping) (Extension, Result, error) {
	x, err := p.extension(params)
	if err != nil {
		return x, Result{}, err
	}
	var token []byte
	if x.Timestamped() {
		if token, err = stamp(ctx, x.Digest, x.Hash); err != nil {
			return x, Result{}, fmt.Errorf("timestamp: %w", err)
		}
	}
	if err := x.checkToken(token); err != nil {
		return x, Result{}, err
	}
	if err := p.pass.Extend(&x.Extension, token); err != nil {
		return x, Result{}, err
	}
	res, err := newResult(p.pass.Hashed())
	return x, res, err
}

// extension lays an extension of the newest revision out.
func (p *Pass) extension(params ExtensionParams) (Extension, error) {
	if err := p.look(); err != nil {
		return Extension{}, err
	}
	f, err := p.pass.File()
	if err != nil {
		return Extension{}, err
	}
	if err := f.CheckExtending(); err != nil {
		return Extension{}, err
	}
	in := pades.ExtendParams{File: f, Data: params.Data, Room: params.TokenRoom, Strict: params.Strict}
	newest := p.newest
	if *p.foreign {
		v, err := verifyAll(f)
		if err == nil {
			err = f.CheckStructure()
		}
		if err != nil {
			return Extension{}, err
		}
		in.Digests, newest = v.digests, v.newest()
	} else {
		in.Digests = p.pass.Hashed().Digests()
	}
	x, err := pades.Extend(in)
	if err != nil {
		return Extension{}, err
	}
	return Extension{Extension: *x, NotBefore: newest}, nil
}
