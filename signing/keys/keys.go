// Package keys opens signing keys by URI. It knows no kind of key itself: the
// program passes in one opener per scheme, so each kind stays the business of
// the package that owns its library. Every key keeps the contract of signing.Key,
// hands out a copy of its chain, gives up when the context ends, and is safe for
// concurrent use; package keytest tests all of it.
package keys

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"countersign/signing"
)

// Secrets reads the secret that a URI names by path: a password or PIN without
// its line end. The URI itself never holds a secret.
type Secrets func(path string) ([]byte, error)

// An Opener opens keys of one scheme, for example "file" or "pkcs11".
type Opener func(ctx context.Context, uri *url.URL, secrets Secrets) (signing.Key, error)

// Openers holds an Opener for each scheme.
type Openers map[string]Opener

// Open opens the key that uri names, for example
//
//	file:/etc/countersign/seal.p12?password-file=/etc/countersign/seal.pass
//
// Errors name the scheme only, as a mistaken URI may contain a secret.
func (o Openers) Open(ctx context.Context, uri string, secrets Secrets) (signing.Key, error) {
	known := strings.Join(slices.Sorted(maps.Keys(o)), ", ")
	scheme, _, found := strings.Cut(uri, ":")
	if !found || scheme == "" {
		return nil, fmt.Errorf("open key: no scheme; write for example file:/path/to/key.pem (known schemes: %s)", known)
	}
	open, ok := o[scheme]
	if !ok {
		// A text without a scheme may have a colon anywhere, also after a secret.
		return nil, fmt.Errorf("open key: unknown scheme; known ones are: %s", known)
	}
	u, err := url.Parse(uri)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the text of the URI
		}
		return nil, fmt.Errorf("open %s key: not a URI: %w", scheme, err)
	}
	key, err := open(ctx, u, secrets)
	if err != nil {
		return nil, fmt.Errorf("open %s key: %w", scheme, err)
	}
	return key, nil
}
