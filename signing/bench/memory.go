package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// memory prints the peak memory of processes that sign one file each.
func memory(o options, scratch string) error {
	size, err := parseSize(o.sizes[len(o.sizes)-1])
	if err != nil {
		return err
	}
	const many = 300_000
	files := []struct {
		name  string
		write func(*writer) error
	}{
		{o.sizes[len(o.sizes)-1], func(w *writer) error { return w.document(size) }},
		{fmt.Sprintf("%d objects", many), func(w *writer) error { return w.objects(many) }},
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	ways := []string{"B-B", "B-LTA", "stored steps"}
	fmt.Fprint(w, "peak memory\t")
	for _, way := range ways {
		fmt.Fprintf(w, "%s\ttime\t", way)
	}
	fmt.Fprintln(w)
	for _, f := range files {
		path := filepath.Join(scratch, "memory.pdf")
		if err := writeFile(path, f.write); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t", f.name)
		for _, way := range ways {
			peak, took, err := inChild(way, path)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", f.name, way, err)
			}
			fmt.Fprintf(w, "%.1f MB\t%s\t", float64(peak)/(1<<20), show(took))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// inChild signs a file in a process of its own and returns that process' peak memory
// in bytes and how long it ran.
func inChild(way, path string) (int64, time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	for _, name := range []string{path + ".out", path + ".r0"} {
		_ = os.Remove(name) // of the run before; if it stays, the child says so
	}
	cmd := exec.CommandContext(context.Background(), self, "-child", way, "-path", path)
	cmd.Stderr = os.Stderr
	start := time.Now()
	told, err := cmd.Output()
	if err != nil {
		return 0, 0, err
	}
	took := time.Since(start)
	var kb int64
	if _, err := fmt.Sscan(string(told), &kb); err != nil {
		return 0, 0, fmt.Errorf("the child told no peak memory: %w", err)
	}
	return kb << 10, took, nil
}

// tellPeak prints the most memory in KiB that this process has had. The rusage of a child
// would count what its parent had when it was started.
func tellPeak() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("peak memory: %w", err)
	}
	_, peak, ok := strings.Cut(string(status), "VmHWM:")
	if !ok {
		return errors.New("this system does not tell the memory of a process")
	}
	fmt.Println(strings.Fields(peak)[0])
	return nil
}

func runChild(way, path string) error {
	if err := signOne(way, path); err != nil {
		return err
	}
	return tellPeak()
}

// signOne signs one file in one way.
func signOne(way, path string) error {
	k, err := newKey("P-256")
	if err != nil {
		return err
	}
	j := job{key: k, in: path, out: path + ".out"}
	switch way {
	case "B-B":
		return j.add()
	case "B-LTA":
		return j.withAuthority(j.lasting)
	}
	if err := j.prepare(path + ".r0"); err != nil {
		return err
	}
	return j.stored()
}
