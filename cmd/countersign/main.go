// Countersign signs documents by mail: staff mail a PDF to a signing address,
// approvers and signers answer by mail, and everyone gets the signed PDF.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes: the answer is yes, no, or could not be found out.
const (
	exitYes     = 0
	exitNo      = 1
	exitUnknown = 2
)

// A noError is a clear "no": a refused document, a wrong setting.
type noError struct{ error }

func (e noError) Unwrap() error { return e.error }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// cli is the command line.
type cli struct {
	Demo    demoCmd    `cmd:"" help:"Show everything at work on this machine: mail servers, CA, TSA, sample people."`
	Serve   serveCmd   `cmd:"" help:"Run the gateway."`
	Config  configCmd  `cmd:"" help:"Check a configuration, or print an example."`
	Sign    signCmd    `cmd:"" help:"Sign one PDF now."`
	Extend  extendCmd  `cmd:"" help:"Add to one signed PDF what proves its signatures for long (levels B-LT and B-LTA), or do so again."`
	Request requestCmd `cmd:"" help:"List, show or cancel requests."`

	InspectWorker inspectWorkerCmd `cmd:"" hidden:"" help:"Read PDFs from standard input for another process of this program."`
}

// terminal is where a command writes.
type terminal struct{ out, err io.Writer }

// exited is how kong's own exit (after --help) leaves run.
type exited int

func run(args []string, out, errOut io.Writer) (code int) {
	var c cli
	defer func() {
		switch x := recover().(type) {
		case nil:
		case exited:
			code = int(x)
		default:
			panic(x)
		}
	}()
	parser, err := kong.New(&c, kong.Name("countersign"), kong.Writers(out, errOut), kong.UsageOnError(),
		kong.Description("An e-signature gateway that lives in mail."),
		kong.Exit(func(code int) { panic(exited(code)) }))
	if err != nil {
		fmt.Fprintln(errOut, "countersign:", err)
		return exitUnknown
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(errOut, "countersign: %v\nTry countersign --help.\n", err)
		return exitUnknown
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	k.BindTo(ctx, (*context.Context)(nil))
	err = k.Run(terminal{out, errOut})
	if err == nil {
		return exitYes
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w", err)
	}
	fmt.Fprintln(errOut, "countersign:", err)
	if errors.As(err, new(noError)) {
		return exitNo
	}
	return exitUnknown
}
