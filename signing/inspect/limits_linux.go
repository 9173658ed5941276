package inspect

import "syscall"

// confine limits the process for good. RLIMIT_DATA counts private writable memory and
// not what the runtime merely reserves (setrlimit(2), since Linux 4.7).
func confine(l Limits) error {
	for _, r := range []struct {
		what  int
		limit uint64
	}{
		{syscall.RLIMIT_DATA, uint64(l.Memory)},
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
