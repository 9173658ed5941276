package cms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// MaxRSABits is the size of the largest RSA key that signatures are checked with. The work
// grows with the cube: a key of a million bits, which fits into [MaxSize], takes minutes.
const MaxRSABits = 8192

// CheckKeySize refuses a foreign key before work is done with it: [MaxRSABits].
func CheckKeySize(pub crypto.PublicKey) error {
	if k, ok := pub.(*rsa.PublicKey); ok && k.N.BitLen() > MaxRSABits {
		return fmt.Errorf("RSA key of %d bits, at most %d are read: %w", k.N.BitLen(), MaxRSABits, ErrUnsupported)
	}
	return nil
}

// VerifySignature checks a signature over message by pub. algorithm is the DER
// AlgorithmIdentifier beside it, as in OCSP responses and revocation lists (RFC 6960
// clause 4.2.1, RFC 5280 clause 4.1.1.2); it must name the hash and fit the key. SHA-1
// and short RSA keys give [ErrWeak], whether the signature holds or not.
func VerifySignature(pub crypto.PublicKey, algorithm, message, signature []byte) error {
	s := cryptobyte.String(algorithm)
	a, err := readAlgorithm(&s)
	if err != nil || !s.Empty() {
		return malformed("signature algorithm")
	}
	h, err := a.ownHash(pub)
	if err != nil {
		return err
	}
	if k, ok := pub.(*rsa.PublicKey); ok && k.N.BitLen() < MinRSABits {
		return fmt.Errorf("RSA key of %d bits: %w", k.N.BitLen(), ErrWeak)
	}
	if h == crypto.SHA1 {
		return fmt.Errorf("signed over SHA-1: %w", ErrWeak)
	}
	return checkSignature(pub, &Parsed{Hash: h, algorithm: a, Signature: signature}, message)
}

// ownHash returns the hash that the algorithm itself names, for a key of this type.
func (a algorithm) ownHash(pub crypto.PublicKey) (crypto.Hash, error) {
	fits := false
	switch pub.(type) {
	case *rsa.PublicKey:
		if a.oid.Equal(oidPSS) {
			return pssHash(a.params)
		}
		for _, known := range hashes {
			fits = fits || known.withRSA.Equal(a.oid)
		}
	case *ecdsa.PublicKey:
		for _, known := range hashes {
			fits = fits || known.withE.Equal(a.oid)
		}
	case ed25519.PublicKey:
		if a.oid.Equal(oidEd25519) {
			return crypto.SHA512, nil // what Ed25519 uses inside; nothing is hashed before
		}
	}
	if !fits {
		return 0, fmt.Errorf("signature algorithm %v with a key of type %T: %w", a.oid, pub, ErrUnsupported)
	}
	h, _, err := a.signedHash(0)
	return h, err
}
