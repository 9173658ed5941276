package realmail

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// patience is how long a server may take to end in good order.
const patience = 2 * time.Second

// A daemon is a server in the foreground, in a process group of its own: Postfix makes
// one by itself (and refuses to start in one that was made for it), Dovecot gets one.
type daemon struct {
	name  string
	cmd   *exec.Cmd
	out   string
	ended chan struct{} // closed when the process is gone
	err   error         // how it ended; valid then
}

func newDaemon(name, out, program string, args ...string) *daemon {
	d := &daemon{name: name, cmd: exec.Command(program, args...), out: out, ended: make(chan struct{})}
	// The signal ends the server if this process dies without a chance to end it.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return d
}

// start runs the program. Its output goes to a file: with a pipe, Wait would hang as
// long as any worker lives.
func (d *daemon) start() error {
	out, err := os.OpenFile(d.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("real mail: %w", err)
	}
	d.cmd.Stdout, d.cmd.Stderr = out, out
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the starting thread ends, so that thread has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer out.Close()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			d.err = d.cmd.Wait()
			if d.err == nil {
				d.err = errors.New("exit status 0")
			}
		}
		close(d.ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("real mail: start %s: %w", d.name, err)
	}
	return nil
}

// running reports whether the process is there.
func (d *daemon) running() bool {
	select {
	case <-d.ended:
		return false
	default:
		return d.cmd.Process != nil
	}
}

// stop ends the server in good order, or else the hard way.
func (d *daemon) stop() error {
	if !d.running() {
		return nil
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("real mail: end %s: %w", d.name, err)
	}
	select {
	case <-d.ended:
		d.sweep()
		return nil
	case <-time.After(patience):
		return d.kill()
	}
}

// kill ends the server and its workers at once.
func (d *daemon) kill() error {
	if !d.running() {
		return nil
	}
	workers := descendants(d.cmd.Process.Pid)
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("real mail: kill %s: %w", d.name, err)
	}
	for _, pid := range workers {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended with its master
	}
	<-d.ended
	d.sweep()
	return nil
}

// sweep ends workers that outlived their server, and waits until all are gone, so that
// the ports are free again. The process group is ours alone: nobody else is hit.
func (d *daemon) sweep() {
	for range 500 {
		alive := members(d.cmd.Process.Pid)
		if len(alive) == 0 {
			return
		}
		for _, pid := range alive {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may just have ended
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// members lists the living processes of a group. Ended ones that nobody has collected
// yet (state Z) don't count: they hold nothing any more.
func members(group int) []int {
	var found []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // gone
		}
		// "pid (command) state ppid pgrp …"; the command may hold anything (proc(5)).
		var pid, ppid, pgrp int
		var state string
		end := strings.LastIndexByte(string(text), ')')
		_, err1 := fmt.Sscan(string(text), &pid)
		_, err2 := fmt.Sscan(string(text[end+1:]), &state, &ppid, &pgrp)
		if err1 == nil && err2 == nil && pgrp == group && state != "Z" && state != "X" {
			found = append(found, pid)
		}
	}
	return found
}

// descendants lists the processes below pid, from /proc.
func descendants(pid int) []int {
	var found []int
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", todo[0], todo[0]))
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(text)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				found = append(found, child)
				todo = append(todo, child)
			}
		}
	}
	return found
}
