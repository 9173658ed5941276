package revocation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"testing"
	"time"

	"countersign/signing/cms"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// A holder is a certificate with its key.
type holder struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// made counts the holders. Each gets its own key, the same in every run, so that a fuzzer's
// workers and seeds agree.
var made int

func newHolder(t testing.TB, name string, issuer *holder, change func(*x509.Certificate)) *holder {
	t.Helper()
	made++
	secret := sha256.Sum256(fmt.Appendf(nil, "key %d", made))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), secret[:])
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(secret[:12]), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: now.Add(-day), NotAfter: now.Add(10 * day), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if issuer == nil {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	}
	if change != nil {
		change(c)
	}
	self := &holder{c, key}
	if issuer == nil {
		issuer = self
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer.cert, key.Public(), issuer.key)
	if err == nil {
		self.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// A response is an OCSP response to be made, good as it stands.
type response struct {
	cert, issuer *holder
	signer       *holder // nil: the issuer
	byKey        bool
	hash         crypto.Hash // zero: SHA-256
	status       byte        // 0 good, 2 unknown
	this, next   time.Time
	produced     time.Time // zero: this
	extra        []pkix.Extension
	single       []pkix.Extension
	twice        bool
	kind         asn1.ObjectIdentifier
}

func (r response) der(t testing.TB) []byte {
	t.Helper()
	if r.hash == 0 {
		r.hash = crypto.SHA256
	}
	if r.signer == nil {
		r.signer = r.issuer
	}
	if r.produced.IsZero() {
		r.produced = r.this
	}
	if r.kind == nil {
		r.kind = oidBasic
	}
	var tbs cryptobyte.Builder
	tbs.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { r.data(t, b) })
	data := tbs.BytesOrPanic()
	signature, err := r.signer.key.Sign(rand.Reader, digest(crypto.SHA256, data), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0)
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(r.kind)
				b.AddASN1(casn1.OCTET_STRING, func(b *cryptobyte.Builder) {
					b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddBytes(data)
						b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
							b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2})
						})
						b.AddASN1BitString(signature)
						b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
							b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(r.signer.cert.Raw) })
						})
					})
				})
			})
		})
	})
	return b.BytesOrPanic()
}

// data writes the fields of ResponseData.
func (r response) data(t testing.TB, b *cryptobyte.Builder) {
	point, err := publicKeyBits(r.signer.cert)
	if err != nil {
		t.Fatal(err)
	}
	if r.byKey {
		b.AddASN1(explicit(2), func(b *cryptobyte.Builder) { b.AddASN1OctetString(digest(crypto.SHA1, point)) })
	} else {
		b.AddASN1(explicit(1), func(b *cryptobyte.Builder) { b.AddBytes(r.signer.cert.RawSubject) })
	}
	b.AddASN1GeneralizedTime(r.produced)
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		r.one(t, b)
		if r.twice {
			r.one(t, b)
		}
	})
	addExtensions(b, r.extra)
}

func (r response) one(t testing.TB, b *cryptobyte.Builder) {
	point, err := publicKeyBits(r.issuer.cert)
	if err != nil {
		t.Fatal(err)
	}
	hashes := map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA1: oidSHA1}
	if r.hash != crypto.SHA1 {
		if hashes[r.hash], err = cms.HashOID(r.hash); err != nil {
			t.Fatal(err)
		}
	}
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(hashes[r.hash]) })
			b.AddASN1OctetString(digest(r.hash, r.issuer.cert.RawSubject))
			b.AddASN1OctetString(digest(r.hash, point))
			b.AddASN1BigInt(r.cert.cert.SerialNumber)
		})
		b.AddBytes([]byte{0x80 | r.status, 0})
		b.AddASN1GeneralizedTime(r.this)
		if !r.next.IsZero() {
			b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(r.next) })
		}
		addExtensions(b, r.single)
	})
}

func addExtensions(b *cryptobyte.Builder, list []pkix.Extension) {
	if len(list) == 0 {
		return
	}
	b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, e := range list {
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(e.Id)
					if e.Critical {
						b.AddASN1Boolean(true)
					}
					b.AddASN1OctetString(e.Value)
				})
			}
		})
	})
}

// crl makes a revocation list, dated at and good for a week.
func crl(t testing.TB, issuer *holder, at time.Time, change func(*x509.RevocationList)) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: at, NextUpdate: at.Add(7 * day)}
	if change != nil {
		change(l)
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, issuer.cert, issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func generalized(t testing.TB, at time.Time) []byte {
	t.Helper()
	der, err := asn1.MarshalWithParams(at.UTC(), "generalized")
	if err != nil {
		t.Fatal(err)
	}
	return der
}
