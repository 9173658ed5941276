package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"countersign/signing"
	"countersign/signing/pades"
)

// TestScripts runs the program as users do.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": scriptExits, "judge": scriptJudge, "prefix": scriptPrefix, "sample": scriptSample, "field": scriptField,
			"pki": scriptPKI, "locked": scriptLocked,
		},
	})
}

// scriptUsage ends a script that uses a command of ours wrongly.
func scriptUsage(ts *testscript.TestScript, neg bool, args []string, n int, usage string) {
	if neg || len(args) != n {
		ts.Fatalf("usage: %s", usage)
	}
}

// scriptExits runs a program that must end with just this exit code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// scriptJudge asks outside programs about a signed PDF.
func scriptJudge(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, neg, args, 2, "judge FILE SIGNATURES")
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(verdict(ts.MkAbs(args[0]), n, ""))
}

// scriptPrefix checks that one file begins with all of another and goes on.
func scriptPrefix(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, neg, args, 2, "prefix SHORT LONG")
	short, long := ts.ReadFile(args[0]), ts.ReadFile(args[1])
	if len(short) == 0 || len(long) <= len(short) || !strings.HasPrefix(long, short) {
		ts.Fatalf("%s (%d bytes) does not begin with %s (%d bytes)", args[1], len(long), args[0], len(short))
	}
}

// scriptSample writes an unsigned PDF.
func scriptSample(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, neg, args, 1, "sample FILE")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), samplePDF("Sample"), 0o600))
}

// scriptField adds an empty signature field to a PDF, as form designers do.
func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	scriptUsage(ts, neg, args, 3, "field IN OUT NAME")
	ts.Check(rewrite(ts.MkAbs(args[0]), ts.MkAbs(args[1]), func(w, base *os.File, size int64) error {
		_, _, err := signing.Prepare(w, io.NewSectionReader(base, 0, size), []pades.FieldSpec{{Name: args[2]}})
		return err
	}))
}
