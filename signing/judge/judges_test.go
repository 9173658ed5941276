//go:build judge

package judge

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// setUp is where scripts/judges puts the judges.
const setUp = "../../bin/judge"

// answerTime is what a judge has for one file, its start included.
const answerTime = 2 * time.Minute

// A judgeProcess answers requests, one JSON line each, see pyhanko/judge.py and
// dss/src/main/java/Judge.java. It is started when it is first asked.
type judgeProcess struct {
	name    string
	command []string

	mu      sync.Mutex
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Reader
}

// Both are limited in memory; that DSS gets a small heap also keeps it from using the machine up.
var (
	pyhanko = &judgeProcess{name: "pyHanko", command: []string{
		"sh", "-c", `ulimit -v 4000000; exec "$0" "$@"`, setUp + "/pyhanko/bin/python", "-I", "pyhanko/judge.py",
	}}
	dss = &judgeProcess{name: "EU DSS", command: []string{
		"java", "-Xmx768m", "-Xss4m", "-XX:+UseSerialGC", "-Djava.awt.headless=true", "-Duser.language=en",
		"-cp", setUp + "/dss/classes:" + setUp + "/dss/lib/*", "Judge",
	}}
)

func (j *judgeProcess) start() error {
	j.cmd = exec.Command(j.command[0], j.command[1:]...)
	j.cmd.Stderr = os.Stderr
	in, err := j.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	j.in, j.answers = in, bufio.NewReaderSize(out, 1<<20)
	return j.cmd.Start()
}

// stop ends the judge.
func (j *judgeProcess) stop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cmd == nil {
		return
	}
	_ = j.in.Close()
	kill := time.AfterFunc(10*time.Second, func() { _ = j.cmd.Process.Kill() })
	_ = j.cmd.Wait()
	kill.Stop()
	j.cmd = nil
}

// ask sends a request and reads the answer into answer. A judge that gives none in time
// is ended; the next request starts it anew.
func (j *judgeProcess) ask(request, answer any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if j.cmd == nil {
		if err := j.start(); err != nil {
			return fmt.Errorf("%s: %w (run it by make judge)", j.name, err)
		}
	}
	kill := time.AfterFunc(answerTime, func() { _ = j.cmd.Process.Kill() })
	defer kill.Stop()
	_, err = j.in.Write(append(line, '\n'))
	var text []byte
	if err == nil {
		text, err = j.answers.ReadBytes('\n')
	}
	if err != nil {
		_ = j.cmd.Process.Kill()
		_ = j.cmd.Wait()
		j.cmd = nil
		return fmt.Errorf("%s gave no answer (run it by make judge): %w", j.name, err)
	}
	var failed struct{ Error, Trace string }
	if err := errors.Join(json.Unmarshal(text, &failed), json.Unmarshal(text, answer)); err != nil {
		return fmt.Errorf("%s: %w: %s", j.name, err, text)
	}
	if failed.Error != "" {
		return fmt.Errorf("%s: %s\n%s", j.name, failed.Error, failed.Trace)
	}
	return nil
}

// judgeRequest asks for the verdicts on a file.
type judgeRequest struct {
	Op      string            `json:"op"`
	File    string            `json:"file"`
	Roots   []string          `json:"roots"`
	CRLs    []string          `json:"crls"`
	OCSPs   []string          `json:"ocsps"`
	Time    time.Time         `json:"time"`
	Levels  map[string]string `json:"levels"` // by field
	Lenient bool              `json:"lenient"`
}

// foreignRequest lets a judge sign.
type foreignRequest struct {
	Op      string       `json:"op"`
	In      string       `json:"in"`
	Out     string       `json:"out"`
	Key     string       `json:"key"`
	Field   string       `json:"field"` // pyHanko only; DSS names its fields itself
	Certify int          `json:"certify"`
	Lock    *foreignLock `json:"lock"` // pyHanko only
	Level   string       `json:"level"`
	TSA     string       `json:"tsa"`
	Roots   []string     `json:"roots"`
	CRLs    []string     `json:"crls"`
	Visible bool         `json:"visible"` // DSS only
	Lenient bool         `json:"lenient"` // pyHanko only
	PSS     bool         `json:"pss"`     // pyHanko only
}

type foreignLock struct {
	Action string   `json:"action"`
	Fields []string `json:"fields"`
}

// A pyVerdict is what pyHanko says of one signature or document timestamp.
type pyVerdict struct {
	Field, Kind, Covers string
	Intact, Valid       bool
	Modification        string // NONE, LTA_UPDATES, FORM_FILLING, ANNOTATIONS or SUSPICIOUS: …
	Permitted           bool   // by DocMDP and FieldMDP
	Status, Reason      string // of a signature: PASSED, INDETERMINATE, FAILED
	Stamped             bool   // its signature timestamp passed
	Proven              string // time of the oldest document timestamp that proves it
}

// A dssVerdict is what EU DSS says of a signature, signature timestamp or document timestamp.
type dssVerdict struct {
	Field, Kind, Level        string
	Status, Reason            string // TOTAL_PASSED or PASSED for timestamps, …
	Errors, Warnings, Changes []string
	Stamps                    int // signature timestamps
	Intact                    bool
}

type pyAnswer struct{ Signatures []pyVerdict }

type dssAnswer struct{ Signatures []dssVerdict }

// A mark is what a judge gave a file.
type mark int

const (
	passed mark = iota
	known       // it complains of what docs/testing.md explains
	failed
)

// The marks for the summary.
var scores = struct {
	sync.Mutex
	order []string
	marks map[string]*[3]int
	files int
}{marks: map[string]*[3]int{}}

func score(judge string, m mark) {
	scores.Lock()
	defer scores.Unlock()
	if scores.marks[judge] == nil {
		scores.order = append(scores.order, judge)
		scores.marks[judge] = new([3]int)
	}
	scores.marks[judge][m]++
}

func TestMain(m *testing.M) {
	for _, need := range []string{"/pyhanko.stamp", "/dss.stamp"} {
		if _, err := os.Stat(filepath.FromSlash(setUp + need)); err != nil {
			fmt.Fprintln(os.Stderr, "the judges are not set up; run make judge:", err)
			os.Exit(1)
		}
	}
	code := m.Run()
	pyhanko.stop()
	dss.stop()
	fmt.Printf("\n%d files judged\n%-28s %8s %8s %8s\n", scores.files, "judge", "pass", "gap", "fail")
	for _, name := range scores.order {
		m := scores.marks[name]
		fmt.Printf("%-28s %8d %8d %8d\n", name, m[passed], m[known], m[failed])
	}
	os.Exit(code)
}
