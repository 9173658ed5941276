package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"

	"countersign/signing"
	"countersign/signing/keys/file"
	"countersign/signing/pades"
)

// A key is one from a file, with a chain of two certificates.
type key struct {
	*file.Key
	bare crypto.Signer // the same key, for the floor
}

func newSigner(kind string) (crypto.Signer, error) {
	switch kind {
	case "P-256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RSA-2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "RSA-3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	}
	return nil, fmt.Errorf("no key of kind %q", kind)
}

func newKey(kind string) (*key, error) {
	rootKey, err := newSigner("P-256")
	if err != nil {
		return nil, err
	}
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Bench Root"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Bench " + kind},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
	}
	signer, err := newSigner(kind)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, err
	}
	pems := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range []struct {
		cert   *x509.Certificate
		public crypto.PublicKey
	}{{leaf, signer.Public()}, {root, rootKey.Public()}} {
		der, err := x509.CreateCertificate(rand.Reader, c.cert, root, c.public, rootKey)
		if err != nil {
			return nil, err
		}
		pems = append(pems, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	opened, err := openKey(pems, now)
	return &key{opened, signer}, err
}

// openKey opens a key as the program does, from a file.
func openKey(pems []byte, now time.Time) (k *file.Key, err error) {
	f, err := os.CreateTemp("", "countersign-bench-*.pem") // with mode 0600
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	if _, err := f.Write(pems); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return file.Open(file.Options{Path: f.Name(), Now: now})
}

// A job is one file to be signed, in several ways.
type job struct {
	key     *key
	in, out string
	r0      string // the input with an empty field
	base    signing.Result

	authority *authority // for level B-LTA
}

var field = pades.FieldSpec{Name: "Seal"}

// prepare writes R0, for the stored steps.
func (j *job) prepare(r0 string) error {
	j.r0 = r0
	if err := os.Remove(r0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return open(j.in, r0, func(in, out *os.File, size int64) (err error) {
		j.base, _, err = signing.Prepare(out, io.NewSectionReader(in, 0, size), []pades.FieldSpec{field})
		return err
	})
}

// open opens one file and makes another.
func open(in, out string, work func(in, out *os.File, size int64) error) error {
	r, err := os.Open(in)
	if err != nil {
		return err
	}
	defer r.Close()
	st, err := r.Stat()
	if err != nil {
		return err
	}
	w, err := os.OpenFile(out, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(work(r, w, st.Size()), w.Close())
}

var floorBuffer = make([]byte, 128<<10)

// floor copies, hashes and signs.
func (j *job) floor() error {
	return open(j.in, j.out, func(in, out *os.File, _ int64) error {
		h := sha256.New()
		for {
			n, err := in.Read(floorBuffer)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			h.Write(floorBuffer[:n])
			if _, err := out.Write(floorBuffer[:n]); err != nil {
				return err
			}
		}
		_, err := j.key.bare.Sign(rand.Reader, h.Sum(nil), crypto.SHA256)
		return err
	})
}

// stored signs R0 in the steps of a request: intent, ticket, signature, file.
func (j *job) stored() error {
	return open(j.r0, j.out, func(in, out *os.File, size int64) error {
		intent, err := signing.NewIntent(in, size, signing.Params{
			Field: field.Name, Certification: 1, SigningTime: time.Now(), Chain: j.key.Chain(), Base: &j.base,
		})
		if err != nil {
			return err
		}
		ticket, err := signing.NewTicket(intent)
		if err != nil {
			return err
		}
		signature, err := ticket.Sign(context.Background(), j.key)
		if err != nil {
			return err
		}
		_, err = signing.Release(out, in, intent, signing.Proof{Signature: signature})
		return err
	})
}
