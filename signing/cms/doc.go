// Package cms builds and reads the CMS SignedData (RFC 5652) that a PAdES
// signature keeps in /Contents, and that an RFC 3161 token is.
//
// What it builds is a detached DER SignedData with exactly one signer and the
// signed attributes of a CAdES baseline signature in PAdES form (ETSI EN 319
// 122-1 clause 5, EN 319 142-1 clause 6.3): content-type id-data,
// message-digest and signing-certificate-v2; never signing-time, whose place in
// PAdES is the signature dictionary's /M. A signature-time-stamp unsigned
// attribute holds the token of level B-T. The caller hashes the content and
// asks the key; this package sees neither the document nor a private key:
//
//	attrs, _ := SignedAttributes(AttrParams{Digest: d, Hash: h, Chain: chain})
//	msg, opts, _ := ToSign(SignedData{Attrs: attrs, Hash: h, Chain: chain})
//	sig, _ := key.Sign(ctx, msg, opts)
//	der, _ := Assemble(SignedData{Attrs: attrs, Signature: sig, Hash: h, Chain: chain, Token: token})
//
// [Room] says, before anything is signed, how large that can get.
//
// Foreign bytes pass [Guard] before anything else looks at them: a size cap, a
// nesting cap and one linear walk over all lengths. Parse then accepts BER too
// (indefinite lengths, strings in pieces) by rewriting it as DER first.
//
// Encoding and decoding use golang.org/x/crypto/cryptobyte and not
// digitorus/pkcs7: that library signs a dummy first and has its unexported
// fields overwritten afterwards to lose signing-time, neither sorts the
// replaced attributes nor writes RSA-PSS, cannot read signers named by subject
// key identifier, does not hand out the signed attribute bytes, and its BER
// reader recurses without limit, which kills the process. It stays as an
// outside reader in the tests.
//
// Nothing here reads a clock, does I/O, or panics on any input.
package cms
