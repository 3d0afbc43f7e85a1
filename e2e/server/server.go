// Package server runs the real program for tests: a process of its own, on free ports, with a data folder that goes away
// with the test.
package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/loopback"
)

// Upstream is a registry that the server pulls from.
type Upstream struct {
	Host       string // "docker.io"
	URL        string // "http://127.0.0.1:7301"
	CA         string // certificate file; "" for the system's
	Username   string
	Password   string
	TokenHosts string // where the credentials may go beside the URL's host
}

// Options say how the server runs. The zero value has no upstreams.
type Options struct {
	Upstreams []Upstream
	Data      string            // the data folder; a temporary one unless set
	Env       map[string]string // settings by name without ENTREPOT_, over all others
	Others    []string          // variables of others, as "AWS_REGION=eu"
	Listen    string            // a free port of 127.0.0.1 unless set
	Dir       string            // the working directory; the test's unless set
}

// Server is a running entrepôt, or one that was stopped. Its methods are for one goroutine, but for Log and what asks the
// running server.
type Server struct {
	Addr  string // "127.0.0.1:34567"
	URL   string // "http://127.0.0.1:34567"
	Admin string // "http://127.0.0.1:34568"
	Data  string

	t   testing.TB
	env []string
	dir string
	log Output
	cmd *exec.Cmd
	end chan struct{} // closed when the process has ended
}

// Start runs the server and waits until it is ready. It is killed with the test; a failed test prints its log.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := New(t, o)
	s.Start()
	return s
}

// New prepares a server that is not running yet.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Data == "" {
		o.Data = t.TempDir()
	}
	if o.Listen == "" {
		o.Listen = FreeAddr(t)
	}
	admin := FreeAddr(t)
	scheme := "http://"
	if o.Env["TLS_CERT"] != "" {
		scheme = "https://"
	}
	s := &Server{Addr: o.Listen, URL: scheme + o.Listen, Admin: "http://" + admin, Data: o.Data, t: t, dir: o.Dir}
	s.env = environment(o, admin, t.TempDir())
	t.Cleanup(func() {
		s.Kill()
		for _, bug := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
			if strings.Contains(s.Log(), bug) {
				t.Errorf("the server's log has %q", bug)
			}
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log.Tail(16<<10))
		}
	})
	return s
}

// environment leaves the user's own settings, credentials and proxies out.
func environment(o Options, admin, home string) []string {
	vars := map[string]string{"LISTEN": o.Listen, "ADMIN_LISTEN": admin, "DATA": o.Data, "DISK_SIZE": "4GiB"}
	var list []string
	for i, u := range o.Upstreams {
		list = append(list, u.Host+"="+u.URL)
		block := fmt.Sprintf("UPSTREAM_%d_", i)
		vars[block+"HOST"] = u.Host
		optional := map[string]string{"CA": u.CA, "USERNAME": u.Username, "PASSWORD": u.Password, "TOKEN_HOSTS": u.TokenHosts}
		for name, value := range optional {
			if value != "" {
				vars[block+name] = value
			}
		}
	}
	if list != nil {
		vars["UPSTREAMS"] = strings.Join(list, ",")
	}
	maps.Copy(vars, o.Env)
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir()}
	env = append(env, o.Others...)
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, "ENTREPOT_"+name+"="+vars[name])
	}
	return env
}

// Set changes a setting for the next start; the name is without ENTREPOT_.
func (s *Server) Set(name, value string) {
	prefix := "ENTREPOT_" + name + "="
	s.env = slices.DeleteFunc(s.env, func(v string) bool { return strings.HasPrefix(v, prefix) })
	s.env = append(s.env, prefix+value)
}

// Start runs the process and waits until it is ready.
func (s *Server) Start() {
	s.t.Helper()
	program := Binary(s.t)
	began := time.Now()
	s.spawn(program)
	for time.Since(began) < 30*time.Second {
		select {
		case <-s.end:
			s.t.Fatalf("the server ended before it was ready: %v\n%s", s.cmd.ProcessState, s.Log())
		case <-time.After(2 * time.Millisecond):
		}
		if s.Ready() {
			return
		}
	}
	s.t.Fatalf("the server is not ready after 30 s\n%s", s.Log())
}

func (s *Server) spawn(program string) {
	s.t.Helper()
	s.cmd = exec.Command(program)
	s.cmd.Env, s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.env, s.dir, &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start the server: %v", err)
	}
	s.end = make(chan struct{})
	go func(cmd *exec.Cmd, end chan struct{}) { // ends with the process
		cmd.Wait()
		close(end)
	}(s.cmd, s.end)
}

// Ready asks /readyz.
func (s *Server) Ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Admin+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Stop asks the process to end, waits until it did, and gives its exit code.
func (s *Server) Stop() int {
	s.t.Helper()
	s.Signal(syscall.SIGTERM)
	select {
	case <-s.end:
	case <-time.After(60 * time.Second):
		s.Signal(syscall.SIGQUIT) // the log then holds every goroutine's stack
		<-s.end
		s.t.Fatalf("the server did not end within 60 s of SIGTERM")
	}
	return s.cmd.ProcessState.ExitCode()
}

// Kill ends the process at once, as a power cut would; nothing happens when it has ended.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.Signal(syscall.SIGKILL)
	<-s.end
}

// Signal sends a signal to the running process.
func (s *Server) Signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("signal the server: %v", err)
	}
}

// Running reports whether the process lives.
func (s *Server) Running() bool {
	select {
	case <-s.end:
		return false
	default:
		return s.cmd != nil
	}
}

// PID is the process's number.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Log is everything the process has printed, over all its starts.
func (s *Server) Log() string { return s.log.String() }

// Run runs a subcommand ("ls", "purge", "config") with the server's settings, for at most a minute.
func (s *Server) Run(args ...string) (output string, code int) {
	s.t.Helper()
	program := Binary(s.t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = s.env, s.dir
	b, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("run entrepot %v: %v", args, err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// FreeAddr is an address of 127.0.0.1 that no other test uses.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, err := loopback.Addr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// Output collects what a process writes, from a goroutine of os/exec.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Tail is the last n bytes of it.
func (o *Output) Tail(n int) string {
	s := o.String()
	return s[max(len(s)-n, 0):]
}
