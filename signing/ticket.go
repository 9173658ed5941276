package signing

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"

	"countersign/signing/cms"
)

// ErrUsed: the ticket has been spent, whether or not a signature came of it.
var ErrUsed = errors.New("this ticket has been used; a signature may exist already")

// A Ticket is the right to sign one intent once.
type Ticket struct {
	in   Intent
	data cms.SignedData
	opts crypto.SignerOpts

	mu     sync.Mutex
	digest []byte // nil once it was handed to a key
}

// NewTicket makes the ticket of an intent that has been stored. Nothing but the
// intent's bytes goes into the signature.
func NewTicket(in Intent) (*Ticket, error) {
	d, err := in.signedData()
	if err != nil {
		return nil, err
	}
	return newTicket(in, d)
}

// newTicket makes a ticket of an intent and its parts.
func newTicket(in Intent, d cms.SignedData) (*Ticket, error) {
	message, opts, err := cms.ToSign(d)
	if err != nil {
		return nil, err
	}
	return &Ticket{in: in, data: d, opts: opts, digest: message}, nil
}

// Sign asks the key for the signature, once: a second call fails with ErrUsed,
// also after an error, because a key that answered too late may have signed. A key
// that does not belong to the intent's certificate is refused before it is asked. What
// comes back is verified under that certificate, unless the key is [SelfChecked].
func (t *Ticket) Sign(ctx context.Context, key Key) ([]byte, error) {
	signature, err := t.ask(ctx, key)
	if err == nil && !selfChecked(key) {
		err = t.verify(signature)
	}
	if err != nil {
		return nil, err
	}
	return signature, nil
}

// ask returns what the key gave, not yet verified.
func (t *Ticket) ask(ctx context.Context, key Key) ([]byte, error) {
	own, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !own.Equal(t.data.Chain[0].PublicKey) {
		return nil, fmt.Errorf("signing: the key is not the one of the certificate of %q", t.data.Chain[0].Subject)
	}
	digest, err := t.spend()
	if err != nil {
		return nil, err
	}
	signature, err := key.Sign(ctx, digest, t.opts)
	if err != nil {
		return nil, fmt.Errorf("sign field %q: %w", t.in.Field, err)
	}
	return signature, nil
}

// verify notices a key that signs wrongly.
func (t *Ticket) verify(signature []byte) error {
	d := t.data
	d.Signature = signature
	if err := d.Verify(); err != nil {
		return fmt.Errorf("the key returned a bad signature for field %q: %w", t.in.Field, err)
	}
	return nil
}

// spend hands the digest out, once.
func (t *Ticket) spend() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.digest == nil {
		return nil, ErrUsed
	}
	d := t.digest
	t.digest = nil // before the key is asked, so an error cannot sign twice
	return d, nil
}
