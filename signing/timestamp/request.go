package timestamp

import (
	"crypto"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"

	"countersign/signing/cms"

	"github.com/digitorus/timestamp"
)

// A Request is a TimeStampReq (RFC 3161 clause 2.4.1). certReq is always set:
// a token without its certificate is worth little in thirty years.
type Request struct {
	Hash   crypto.Hash           // SHA-256, SHA-384 or SHA-512
	Digest []byte                // Hash of what is to be stamped
	Nonce  *big.Int              // from NewNonce
	Policy asn1.ObjectIdentifier // optional: the TSA policy to ask for, and to insist on
}

// NewNonce reads 64 bits from random, the size that every TSA takes.
func NewNonce(random io.Reader) (*big.Int, error) {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("nonce for a timestamp request: %w", err)
	}
	return new(big.Int).SetUint64(binary.BigEndian.Uint64(b[:])), nil
}

// Marshal returns the DER TimeStampReq.
func (r Request) Marshal() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	// Not CreateRequest: it hashes from a reader, drops bytes that arrive with
	// io.EOF, and never returns after a read error.
	req := timestamp.Request{
		HashAlgorithm: r.Hash, HashedMessage: r.Digest,
		Nonce: r.Nonce, TSAPolicyOID: r.Policy, Certificates: true,
	}
	der, err := req.Marshal()
	if err != nil {
		return nil, fmt.Errorf("timestamp request: %w", err)
	}
	return der, nil
}

func (r Request) check() error {
	if _, err := cms.HashOID(r.Hash); err != nil {
		return fmt.Errorf("timestamp request: %w", err)
	}
	if len(r.Digest) != r.Hash.Size() {
		return fmt.Errorf("timestamp request: digest of %d bytes, %v has %d", len(r.Digest), r.Hash, r.Hash.Size())
	}
	if r.Nonce == nil {
		return fmt.Errorf("timestamp request: no nonce, an old answer could be replayed (see NewNonce)")
	}
	return nil
}
