package bench

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	serverCore = 0
	loadCore   = 1
	anyCore    = -1
)

// onCore runs start with processes that it starts bound to a processor: they inherit it from this thread. The processes see
// one processor from their first moment on, as they would under taskset.
func onCore(b testing.TB, core int, start func()) {
	b.Helper()
	if core == anyCore {
		start()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		b.Fatalf("ask for the processors: %v", err)
	}
	only.Set(core)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		b.Fatalf("bind to processor %d: %v", core, err)
	}
	defer unix.SchedSetaffinity(0, &before)
	start()
}

// process is a peer that runs for as long as the benchmark.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	log   string
}

// launch starts a peer on a processor and waits until ready answers anything by HTTP.
func launch(b testing.TB, core int, env []string, ready, program string, args ...string) *process {
	b.Helper()
	log, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close() // the peer has it
	p := &process{cmd: exec.Command(program, args...), ended: make(chan struct{}), log: log.Name()}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.TempDir()}, env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	onCore(b, core, func() { err = p.cmd.Start() })
	if err != nil {
		b.Fatalf("start %s: %v", program, err)
	}
	go func() { // ends with the process, which the cleanup ends
		p.cmd.Wait()
		close(p.ended)
	}()
	b.Cleanup(func() { p.end(b) })
	p.await(b, ready)
	return p
}

func (p *process) await(b testing.TB, ready string) {
	b.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(ready); err == nil {
			resp.Body.Close()
			return
		}
	}
	text, _ := os.ReadFile(p.log) // the failure is told without it too
	b.Fatalf("%s is not ready\n%s", p.cmd.Path, text)
}

func (p *process) end(b testing.TB) {
	p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		b.Errorf("%s does not end", p.cmd.Path)
		p.cmd.Process.Kill()
		<-p.ended
	}
}

// family is a process and its children: nginx works in a child.
func family(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return []int{pid}
	}
	all := []int{pid}
	for _, child := range strings.Fields(string(text)) {
		if n, err := strconv.Atoi(child); err == nil {
			all = append(all, family(n)...)
		}
	}
	return all
}

// used is the processor time of a process and its children.
func used(b testing.TB, pid int) time.Duration {
	b.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux there is
	var sum time.Duration
	for _, p := range family(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			b.Fatalf("read processor time: %v", err)
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the state on, field 3 of proc(5)
		for _, field := range fields[11:13] {
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				b.Fatalf("read processor time: %v", err)
			}
			sum += time.Duration(ticks) * tick
		}
	}
	return sum
}

// peak is the most memory that a process and its children ever had resident, in bytes.
func peak(b testing.TB, pid int) int64 {
	b.Helper()
	var sum int64
	for _, p := range family(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			b.Fatalf("read memory: %v", err)
		}
		var kb int64
		if _, after, ok := strings.Cut(string(text), "VmHWM:"); ok {
			fmt.Sscan(after, &kb)
		}
		if kb == 0 {
			b.Fatalf("no VmHWM of process %d", p)
		}
		sum += kb << 10
	}
	return sum
}
