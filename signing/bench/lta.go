package main

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"countersign/signing"
	"countersign/signing/demopki"
	"countersign/signing/evidence"
	"countersign/signing/revocation"
)

// An authority is a time-stamping authority on loopback and what proves a seal for long.
type authority struct {
	pki    *demopki.PKI
	client *evidence.Client
	data   revocation.Data
	spent  time.Duration // waited for timestamps
	server *http.Server
}

func newAuthority() (*authority, error) {
	now := time.Now()
	pki, err := demopki.New(now, "Bench")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &authority{pki: pki, server: &http.Server{Handler: pki.TSA(time.Now), ReadHeaderTimeout: time.Minute}}
	go func() { _ = a.server.Serve(listener) }() // ends with close
	if a.data.CRLs, err = pki.CRLs(now); err != nil {
		return nil, err
	}
	for _, id := range []*demopki.Identity{pki.Seal, pki.Timestamps} {
		for _, c := range id.Chain() {
			a.data.Add(revocation.Data{Certs: [][]byte{c.Raw}})
		}
	}
	a.client, err = evidence.New(evidence.Options{TSAs: []evidence.TSA{{URL: "http://" + listener.Addr().String()}}})
	if err != nil {
		return nil, err
	}
	return a, a.client.Probe(context.Background())
}

func (a *authority) close() error { return a.server.Close() }

// stamp gets a token and counts the time that it takes.
func (a *authority) stamp(ctx context.Context, digest []byte, h crypto.Hash) ([]byte, error) {
	start := time.Now()
	defer func() { a.spent += time.Since(start) }()
	token, err := a.client.TimestampDigest(ctx, digest, h)
	return token.DER, err
}

// lasting signs at level B-LTA, with a timestamp of the signature, validation data and
// a timestamp of the document.
func (j *job) lasting() error {
	return open(j.in, j.out, func(in, out *os.File, size int64) error {
		p, err := signing.NewPass(out, io.NewSectionReader(in, 0, size))
		if err != nil {
			return err
		}
		defer p.Close()
		room := j.authority.client.TokenRoom()
		_, err = p.Sign(context.Background(), signing.Job{
			Params: signing.Params{NewField: &field, Certification: 1, SigningTime: time.Now(), TokenRoom: room},
			Key:    j.authority.pki.Seal,
			Stamp: func(ctx context.Context, signature []byte) ([]byte, error) {
				digest := sha256.Sum256(signature)
				return j.authority.stamp(ctx, digest[:], crypto.SHA256)
			},
		})
		if err != nil {
			return err
		}
		_, _, err = p.Extend(context.Background(), signing.ExtensionParams{Data: j.authority.data, TokenRoom: room}, j.authority.stamp)
		return err
	})
}

// fill signs at level B-B the empty field of R0, whose structure was checked when it was
// made.
func (j *job) fill() error { return j.sign(j.r0, signing.Params{Field: field.Name}, j.key) }

// add signs at level B-B in a new field, after a check of the whole structure.
func (j *job) add() error { return j.sign(j.in, signing.Params{NewField: &field}, j.key) }

// plain is add with the key of lasting.
func (j *job) plain() error {
	return j.sign(j.in, signing.Params{NewField: &field}, j.authority.pki.Seal)
}

func (j *job) sign(path string, params signing.Params, key signing.Key) error {
	return open(path, j.out, func(in, out *os.File, size int64) error {
		p, err := signing.NewPass(out, io.NewSectionReader(in, 0, size))
		if err != nil {
			return err
		}
		defer p.Close()
		params.Certification, params.SigningTime = 1, time.Now()
		_, err = p.Sign(context.Background(), signing.Job{Params: params, Key: key})
		return err
	})
}

// withAuthority lends the job an authority.
func (j *job) withAuthority(work func() error) error {
	a, err := newAuthority()
	if err != nil {
		return err
	}
	j.authority = a
	return errors.Join(work(), a.close())
}
