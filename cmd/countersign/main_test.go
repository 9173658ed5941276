package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// childVariable makes the test binary be the program itself: tests that kill the
// daemon run it as a process of its own.
const childVariable = "COUNTERSIGN_TEST_CHILD"

func TestMain(m *testing.M) {
	// The second reader runs this program, too, and without any environment.
	reader := len(os.Args) > 1 && os.Args[1] == "inspect-worker"
	if reader || os.Getenv(childVariable) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"countersign": main})
}
