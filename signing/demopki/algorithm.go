package demopki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
)

// An Algorithm is a kind of key.
type Algorithm string

// The kinds of keys that can be made.
const (
	P256    Algorithm = "" // the default
	P384    Algorithm = "P-384"
	RSA2048 Algorithm = "RSA-2048"
	RSA3072 Algorithm = "RSA-3072"
	Ed25519 Algorithm = "Ed25519"
)

func (a Algorithm) generate(random io.Reader) (crypto.Signer, error) {
	switch a {
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), random)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), random)
	case RSA2048:
		return rsa.GenerateKey(random, 2048)
	case RSA3072:
		return rsa.GenerateKey(random, 3072)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(random)
		return key, err
	}
	return nil, fmt.Errorf("unknown algorithm %q", string(a))
}

// algorithmOf returns the algorithm that key was made with.
func algorithmOf(key crypto.Signer) Algorithm {
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() > 2048 {
			return RSA3072
		}
		return RSA2048
	case ed25519.PublicKey:
		return Ed25519
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P384() {
			return P384
		}
	}
	return P256
}

func signsMessages(key crypto.Signer) bool { return algorithmOf(key) == Ed25519 }

func samePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// signBytes signs a message; the AlgorithmIdentifier is that of RFC 4055, RFC 5758 or RFC
// 8410.
func (i *Identity) signBytes(message []byte) (pkix.AlgorithmIdentifier, []byte, error) {
	var id pkix.AlgorithmIdentifier
	h := crypto.SHA256
	switch algorithmOf(i.key) {
	case RSA2048, RSA3072:
		id.Algorithm, id.Parameters = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, asn1.NullRawValue
	case P384:
		id.Algorithm, h = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, crypto.SHA384
	case Ed25519:
		id.Algorithm, h = asn1.ObjectIdentifier{1, 3, 101, 112}, 0
	default:
		id.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	}
	if h != 0 {
		w := h.New()
		w.Write(message)
		message = w.Sum(nil)
	}
	signature, err := i.key.Sign(rand.Reader, message, h)
	return id, signature, err
}
