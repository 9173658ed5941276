package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha1" // verification of ESSCertID and of old signatures
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// MinRSABits is the smallest RSA key that may sign (ETSI TS 119 312 clause 6).
const MinRSABits = 2048

// ErrUnsupported is an algorithm or key type that this package does not know.
var ErrUnsupported = errors.New("unsupported algorithm")

var (
	oidSHA1   = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	oidSHA512 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}

	oidRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidMGF1    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidPSS     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidEC      = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
)

// hashes holds what is known about each hash: its own identifier and the ones
// of the signature algorithms that contain it (RFC 5754, RFC 4055, RFC 5758).
var hashes = []struct {
	hash                crypto.Hash
	oid, withRSA, withE asn1.ObjectIdentifier
}{
	{crypto.SHA256, oidSHA256, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
	{crypto.SHA384, oidSHA384, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}},
	{crypto.SHA512, oidSHA512, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}},
	{crypto.SHA1, oidSHA1, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}},
}

// HashFor returns the hash that fits a signer's public key: SHA-256 for RSA
// and P-256, SHA-384 for P-384, SHA-512 for P-521 and Ed25519 (which demands
// it, RFC 8419 clause 2.3). A key that must not sign gives [ErrUnsupported].
func HashFor(pub crypto.PublicKey) (crypto.Hash, error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < MinRSABits {
			return 0, fmt.Errorf("RSA key of %d bits, at least %d are needed: %w", n, MinRSABits, ErrUnsupported)
		}
		return crypto.SHA256, nil
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return crypto.SHA256, nil
		case 384:
			return crypto.SHA384, nil
		case 521:
			return crypto.SHA512, nil
		}
	case ed25519.PublicKey:
		return crypto.SHA512, nil
	}
	return 0, fmt.Errorf("key of type %T (use P-256, P-384, P-521, RSA or Ed25519): %w", pub, ErrUnsupported)
}

// HashOID returns the identifier of SHA-256, SHA-384 or SHA-512.
func HashOID(h crypto.Hash) (asn1.ObjectIdentifier, error) {
	for _, known := range hashes {
		if known.hash == h && h != crypto.SHA1 {
			return known.oid, nil
		}
	}
	return nil, fmt.Errorf("hash %v (use SHA-256, SHA-384 or SHA-512): %w", h, ErrUnsupported)
}

// HashByOID is the reverse of [HashOID]; it also knows SHA-1.
func HashByOID(oid asn1.ObjectIdentifier) (crypto.Hash, error) {
	for _, known := range hashes {
		if known.oid.Equal(oid) {
			return known.hash, nil
		}
	}
	return 0, fmt.Errorf("hash %v: %w", oid, ErrUnsupported)
}

// maxSignature is the length of the longest signature that pub can verify. An
// ECDSA signature is a SEQUENCE of two INTEGERs (RFC 3279 clause 2.2.3), each as
// long as the curve's order, plus a zero octet if its top bit can be set.
func maxSignature(pub crypto.PublicKey) (int, error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return k.Size(), nil
	case *ecdsa.PublicKey:
		integer := 2 + k.Curve.Params().N.BitLen()/8 + 1
		return len(appendHeader(nil, []byte{0x30}, 2*integer)) + 2*integer, nil
	case ed25519.PublicKey:
		return ed25519.SignatureSize, nil
	}
	return 0, fmt.Errorf("key of type %T: %w", pub, ErrUnsupported)
}

// digestAlgorithm writes the identifier without parameters (RFC 5754
// clause 2: implementations should omit them).
func (d *der) digestAlgorithm(h crypto.Hash) error {
	oid, err := HashOID(h)
	if err == nil {
		d.sequence(func() { d.oid(oid) })
	}
	return err
}

// signatureAlgorithm writes the algorithm of a signature by pub over h.
func (d *der) signatureAlgorithm(pub crypto.PublicKey, h crypto.Hash, pss bool) {
	d.sequence(func() {
		for _, known := range hashes {
			if known.hash != h {
				continue
			}
			switch pub.(type) {
			case *rsa.PublicKey:
				if pss {
					d.pss(h, known.oid)
					return
				}
				d.oid(known.withRSA)
				d.raw([]byte{byte(casn1.NULL), 0}) // RFC 4055 clause 5 demands it
			case *ecdsa.PublicKey:
				d.oid(known.withE)
			case ed25519.PublicKey:
				d.oid(oidEd25519)
			}
			return
		}
	})
}

// pss writes id-RSASSA-PSS with MGF1 over the same hash and a salt as long
// as the hash (RFC 4056 clause 3).
func (d *der) pss(h crypto.Hash, oid asn1.ObjectIdentifier) {
	hashAlgorithm := func() { d.sequence(func() { d.oid(oid) }) }
	d.oid(oidPSS)
	d.sequence(func() {
		d.element(explicit(0), hashAlgorithm)
		d.element(explicit(1), func() {
			d.sequence(func() {
				d.oid(oidMGF1)
				hashAlgorithm()
			})
		})
		d.element(explicit(2), func() { d.small(byte(h.Size())) })
	})
}

// An algorithm is an AlgorithmIdentifier as read.
type algorithm struct {
	oid    asn1.ObjectIdentifier
	params []byte // DER, nil if absent
}

// signedHash returns the hash inside a signature algorithm; digest is the hash
// of the signer info, used where the algorithm names none. isPSS tells PSS.
func (a algorithm) signedHash(digest crypto.Hash) (h crypto.Hash, isPSS bool, err error) {
	if a.oid.Equal(oidRSA) || a.oid.Equal(oidEC) || a.oid.Equal(oidEd25519) {
		return digest, false, nil
	}
	if a.oid.Equal(oidPSS) {
		h, err = pssHash(a.params)
		return h, true, err
	}
	for _, known := range hashes {
		if known.withRSA.Equal(a.oid) || known.withE.Equal(a.oid) {
			return known.hash, false, nil
		}
	}
	return 0, false, fmt.Errorf("signature algorithm %v: %w", a.oid, ErrUnsupported)
}

// pssHash reads RSASSA-PSS-params (RFC 4055 clause 3.1). Both hashes must be
// the same, as everywhere in practice and as Go's verifier demands.
func pssHash(params []byte) (crypto.Hash, error) {
	s := cryptobyte.String(params)
	var seq, f cryptobyte.String
	var present bool
	if !s.ReadASN1(&seq, casn1.SEQUENCE) {
		return 0, fmt.Errorf("RSASSA-PSS parameters: %w", ErrEncoding)
	}
	h, mgf := crypto.SHA1, crypto.SHA1 // defaults
	if !seq.ReadOptionalASN1(&f, &present, explicit(0)) {
		return 0, fmt.Errorf("RSASSA-PSS hash: %w", ErrEncoding)
	}
	if present {
		alg, err := readAlgorithm(&f)
		if err != nil {
			return 0, err
		}
		if h, err = HashByOID(alg.oid); err != nil {
			return 0, err
		}
	}
	if !seq.ReadOptionalASN1(&f, &present, explicit(1)) {
		return 0, fmt.Errorf("RSASSA-PSS mask generation: %w", ErrEncoding)
	}
	if present {
		outer, err := readAlgorithm(&f)
		if err != nil {
			return 0, err
		}
		inner := cryptobyte.String(outer.params)
		alg, err := readAlgorithm(&inner)
		if err != nil {
			return 0, err
		}
		if mgf, err = HashByOID(alg.oid); err != nil || !outer.oid.Equal(oidMGF1) {
			return 0, fmt.Errorf("RSASSA-PSS mask generation %v: %w", outer.oid, ErrUnsupported)
		}
	}
	if h != mgf {
		return 0, fmt.Errorf("RSASSA-PSS with %v and MGF1 over %v: %w", h, mgf, ErrUnsupported)
	}
	return h, nil
}

// checkSignature verifies the signature over message, the DER SET OF the
// signed attributes.
func checkSignature(pub crypto.PublicKey, p *Parsed, message []byte) error {
	h, isPSS, err := p.algorithm.signedHash(p.Hash)
	if err != nil {
		return err
	}
	if h != p.Hash {
		return fmt.Errorf("signature over %v, attributes over %v: %w", h, p.Hash, ErrInvalid)
	}
	if err := CheckKeySize(pub); err != nil {
		return err
	}
	digest := sum(h, message)
	valid := false
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if isPSS {
			valid = rsa.VerifyPSS(k, h, digest, p.Signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil
		} else {
			valid = rsa.VerifyPKCS1v15(k, h, digest, p.Signature) == nil
		}
	case *ecdsa.PublicKey:
		valid = ecdsa.VerifyASN1(k, digest, p.Signature)
	case ed25519.PublicKey:
		valid = ed25519.Verify(k, message, p.Signature)
	default:
		return fmt.Errorf("signer's key of type %T: %w", pub, ErrUnsupported)
	}
	if !valid {
		return fmt.Errorf("the signature does not match the signed attributes: %w", ErrInvalid)
	}
	return nil
}

func sum(h crypto.Hash, message []byte) []byte {
	w := h.New()
	w.Write(message)
	return w.Sum(nil)
}

func explicit(n uint8) casn1.Tag { return casn1.Tag(n).Constructed().ContextSpecific() }

// readAlgorithm reads an AlgorithmIdentifier; a NULL parameter counts as none.
func readAlgorithm(s *cryptobyte.String) (algorithm, error) {
	var seq cryptobyte.String
	var a algorithm
	if !s.ReadASN1(&seq, casn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&a.oid) {
		return algorithm{}, fmt.Errorf("algorithm identifier: %w", ErrEncoding)
	}
	if !bytes.Equal(seq, []byte{5, 0}) && len(seq) > 0 {
		a.params = seq
	}
	return a, nil
}
