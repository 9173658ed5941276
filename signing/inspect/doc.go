// Package inspect reads a PDF with a second reader, pdfcpu, in child processes.
//
// Two readers that see different documents in one file are how forgeries work, so a
// reading is compared ([inventory.Compare]) with that of our own reader before
// anything is signed. The second reader takes files apart without our limits and may
// be made to fail by a file; it therefore never runs in the process that signs:
//
//   - [Worker] is what a child process runs. It limits its own memory and processor
//     time (on Linux by the kernel), reads documents from its standard input and
//     writes answers to its standard output; it needs no file, no network and no
//     environment.
//   - A [Pool] keeps a few of them ready, gives each document a time limit, and
//     replaces a child that failed, grew, or has read many documents.
//
// A document goes to the child as 8 bytes of length, big-endian, and its bytes; the
// answer comes back as 4 bytes of length and JSON.
package inspect

import (
	"time"

	"countersign/signing/inventory"
)

// Limits bound one child process.
type Limits struct {
	Memory int64         // bytes of private memory, beyond what the process starts with
	CPU    time.Duration // processor time in its life, to whole seconds
}

// DefaultLimits are more than ordinary documents need by far. With what the process
// starts with, it stays below 200 MB whatever the document.
var DefaultLimits = Limits{Memory: 160 << 20, CPU: 60 * time.Second}

// Bounds of the messages between parent and child.
const (
	maxDocument = 256 << 20
	maxAnswer   = 64 << 20
)

// answer is what a child says of one document.
type answer struct {
	Reading inventory.Reading `json:"reading"`
	Error   string            `json:"error,omitempty"`
	Memory  uint64            `json:"memory"` // obtained from the system so far, in bytes
}
