// Package pades makes PAdES signatures (ETSI EN 319 142-1) as incremental
// updates of a PDF.
//
// [Prepare] adds empty, invisible signature fields. [Begin] lays out the update
// that signs one of them and computes the digest to be signed; what it returns is a
// few kilobytes, can be stored, and rebuilds the signed file to the byte with
// [Unsigned.Write]. [Unsigned.Check] reads a finished file back before it is released.
//
// The document is read as a stream; it is never held in memory. No function
// here knows a key, reads a clock or does I/O but through its arguments.
package pades
