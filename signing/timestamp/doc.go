// Package timestamp speaks the client side of RFC 3161: it builds requests,
// checks what a time-stamping authority (TSA) answers, and reads tokens found
// in signed documents.
//
// A [Token] only ever exists checked: well-formed within the limits of
// cms.Guard, signed by exactly one signer whose certificate it carries, names
// in its signing-certificate attribute (RFC 5816), and which was valid at the
// token's own time with extended key usage timeStamping, critical and alone
// (RFC 3161 clause 2.3). [CheckResponse] adds what only the requester knows:
// digest, nonce, policy, trusted roots. It does no revocation checking.
//
// Nothing here does I/O, reads a clock, or panics on any input.
package timestamp
