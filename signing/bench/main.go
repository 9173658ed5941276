// Command bench measures signing against its floor: a copy of the file, its SHA-256 and
// one bare signature, which is what any program must do.
//
//	go run ./signing/bench [-sizes 50KB,1MB,10MB,100MB] [-rounds 15] [-dir DIR] [-rss=false]
//
// Floor and signing take turns in the same run, from the same input file into new files
// in the same directory; the tables show medians over all rounds, of small files those of
// the fastest of many runs of a round, and the floor in percent of ours. Time is that of the clock; CPU is the processor time of all threads, which
// says how many files a busy machine signs, however many cores it has. Each result was
// read back and checked. The columns:
//
//	field   one pass that signs a field that is there, as of a file prepared at intake
//	new     one pass that reads every object, adds a field and signs it
//	steps   intent, ticket, signature and file as separate steps, with the hash state kept
//
// B-LTA is compared with B-B by the same key, less the time that the authority took. Peak
// memory is that of a process of its own that signs one file.
//
// "make bench" runs it; docs/benchmarks.md has results.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	sizes := flag.String("sizes", "50KB,1MB,10MB,100MB", "file sizes to measure")
	rounds := flag.Int("rounds", 15, "rounds of which the median counts")
	dir := flag.String("dir", defaultDir(), "directory for the files; one in memory shows the program and not the disk")
	rss := flag.Bool("rss", true, "measure peak memory, too")
	child := flag.String("child", "", "internal: sign the file at this path in this way, once")
	path := flag.String("path", "", "internal: the file for -child")
	flag.Parse()
	var err error
	if *child != "" {
		err = runChild(*child, *path)
	} else {
		err = run(options{strings.Split(*sizes, ","), *rounds, *dir, *rss})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// defaultDir prefers a file system in memory.
func defaultDir() string {
	const shared = "/dev/shm"
	if st, err := os.Stat(shared); err == nil && st.IsDir() {
		return shared
	}
	return os.TempDir()
}

type options struct {
	sizes  []string
	rounds int
	dir    string
	rss    bool
}

// run prints all tables.
func run(o options) (err error) {
	scratch, err := os.MkdirTemp(o.dir, "countersign-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	fmt.Printf("%s, %d CPUs, %s/%s, files in %s, medians of %d rounds\n\n",
		runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, o.dir, o.rounds)
	for _, kind := range []string{"P-256", "RSA-2048", "RSA-3072"} {
		if err := speed(o, scratch, kind); err != nil {
			return err
		}
	}
	if err := lasting(o, scratch); err != nil {
		return err
	}
	if o.rss {
		return memory(o, scratch)
	}
	return nil
}

// input makes the file of a size, once, and the job of signing it.
func input(name, scratch string, k *key) (*job, error) {
	size, err := parseSize(name)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(scratch, name+".pdf")
	if _, err := os.Stat(path); err != nil {
		if err := writeFile(path, func(w *writer) error { return w.document(size) }); err != nil {
			return nil, err
		}
	}
	j := &job{key: k, in: path, out: filepath.Join(scratch, "out.pdf")}
	return j, j.prepare(filepath.Join(scratch, "r0.pdf"))
}

// speed prints the table of one kind of key.
func speed(o options, scratch, kind string) error {
	k, err := newKey(kind)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "B-B, %s", kind)
	for _, what := range []string{"time", "CPU"} {
		fmt.Fprintf(w, "\t%s: floor\tfield\t\tnew\t\tsteps\t", what)
	}
	fmt.Fprintln(w, "\t")
	for _, name := range o.sizes {
		j, err := input(name, scratch, k)
		if err != nil {
			return err
		}
		wall, cpu, err := race(o.rounds, j.out, j.floor, j.fill, j.add, j.stored)
		if err != nil {
			return err
		}
		fmt.Fprint(w, name)
		for _, t := range [][]time.Duration{wall, cpu} {
			fmt.Fprintf(w, "\t%s", show(t[0]))
			for _, ours := range t[1:] {
				fmt.Fprintf(w, "\t%s\t%s", show(ours), percent(t[0], ours))
			}
		}
		fmt.Fprintln(w, "\t")
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// lasting prints what level B-LTA costs beyond B-B.
func lasting(o options, scratch string) error {
	k, err := newKey("P-256")
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "B-LTA\ttime: B-B\tB-LTA\tauthority\tB-LTA without it\tof B-B\t")
	for _, name := range o.sizes {
		j, err := input(name, scratch, k)
		if err != nil {
			return err
		}
		err = j.withAuthority(func() error {
			var waits []time.Duration
			lta := func() error {
				j.authority.spent = 0
				err := j.lasting()
				waits = append(waits, j.authority.spent)
				return err
			}
			t, _, err := race(o.rounds, j.out, j.plain, lta)
			if err != nil {
				return err
			}
			wait := median(waits)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t\n", name, show(t[0]), show(t[1]), show(wait), show(t[1]-wait), percent(t[1]-wait, t[0]))
			return nil
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// race lets the ways take turns, run by run, and returns the time and processor time of each:
// the median over all rounds. A round of a fast one is many runs, of which the fastest counts, as
// a busy machine and the scheduler can only add to it; processor time is that of all of them.
func race(rounds int, out string, ways ...func() error) (wall, cpu []time.Duration, err error) {
	const enough = 40 * time.Millisecond
	walls, cpus := make([][]time.Duration, len(ways)), make([][]time.Duration, len(ways))
	runs := 1
	for round := range rounds + 1 {
		fastest, used := make([]time.Duration, len(ways)), make([]time.Duration, len(ways))
		for run := range runs {
			for i, f := range ways {
				took, busy, err := once(out, f)
				if err != nil {
					return nil, nil, err
				}
				if used[i] += busy; run == 0 || took < fastest[i] {
					fastest[i] = took
				}
			}
		}
		if round == 0 { // it warms up
			runs = int(max(1, enough/fastest[0]))
			continue
		}
		for i := range ways {
			walls[i], cpus[i] = append(walls[i], fastest[i]), append(cpus[i], used[i]/time.Duration(runs))
		}
	}
	for i := range ways {
		wall, cpu = append(wall, median(walls[i])), append(cpu, median(cpus[i]))
	}
	return wall, cpu, nil
}

// once runs one way into a new file and returns its time and processor time.
func once(out string, f func() error) (took, busy time.Duration, err error) {
	if err := os.Remove(out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, err
	}
	start, before := time.Now(), processorTime()
	err = f()
	return time.Since(start), processorTime() - before, err
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// processorTime is the time that all threads of this process have run so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // cannot fail for the process itself
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func show(d time.Duration) string {
	if d < time.Millisecond {
		return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
	}
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

func percent(a, b time.Duration) string {
	return fmt.Sprintf("%.0f %%", 100*float64(a)/float64(b))
}

func parseSize(s string) (n int64, err error) {
	var unit string
	if _, err := fmt.Sscanf(s, "%d%s", &n, &unit); err != nil || n < 1 {
		return 0, fmt.Errorf("size %q: write it as 50KB or 10MB", s)
	}
	switch unit {
	case "KB":
		return n << 10, nil
	case "MB":
		return n << 20, nil
	}
	return 0, fmt.Errorf("size %q: write it as 50KB or 10MB", s)
}
