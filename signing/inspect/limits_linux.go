package inspect

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// confine limits the process for good. RLIMIT_DATA counts private writable memory and
// not what the runtime merely reserves (setrlimit(2), since Linux 4.7); what the
// process has of it before it reads anything comes on top.
func confine(l Limits) error {
	data, err := private()
	if err != nil {
		return err
	}
	for _, r := range []struct {
		what  int
		limit uint64
	}{
		{syscall.RLIMIT_DATA, data + uint64(l.Memory)},
		{syscall.RLIMIT_CPU, uint64(l.CPU.Seconds())},
		{syscall.RLIMIT_FSIZE, 0}, // it writes no file
		{syscall.RLIMIT_CORE, 0},
	} {
		if err := syscall.Setrlimit(r.what, &syscall.Rlimit{Cur: r.limit, Max: r.limit}); err != nil {
			return err
		}
	}
	return nil
}

// private returns the private writable memory of this process in bytes: the sixth
// number of /proc/self/statm, in pages (proc(5)).
func private() (uint64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(b)
	if len(fields) < 6 {
		return 0, fmt.Errorf("/proc/self/statm says %q", b)
	}
	pages, err := strconv.ParseUint(string(fields[5]), 10, 64)
	return pages * uint64(os.Getpagesize()), err
}
