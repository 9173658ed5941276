package main

import (
	"os"

	"countersign/signing/inspect"
)

// inspectWorkerCmd is what the children of an inspection run; nobody calls it by hand.
type inspectWorkerCmd struct{}

// Run reads documents from standard input and answers on standard output.
func (*inspectWorkerCmd) Run(t terminal) error {
	return inspect.Worker(os.Stdin, t.out, inspect.DefaultLimits)
}
