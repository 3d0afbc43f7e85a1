package sandbox

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/entrepot/entrepot/e2e/server"
)

const (
	startLimit = 60 * time.Second
	stopLimit  = 30 * time.Second
)

// Daemon runs a program until the test or end ends it, and waits until ready succeeds. When the test fails, the program's
// log stays in e2e/out.
func (b *Sandbox) Daemon(ready func() error, name string, args ...string) (end func()) {
	b.t.Helper()
	cmd, err := b.command(context.Background(), name, args...)
	if err != nil {
		b.t.Fatal(err)
	}
	logFile, err := os.Create(filepath.Join(b.Dir, name+".log"))
	if err != nil {
		b.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = logFile, logFile
	dieWithTest(cmd)
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends with the program, which the cleanup ends
		cmd.Wait()
		close(ended)
	}()
	end = func() { b.stop(cmd, ended) }
	b.t.Cleanup(func() {
		end()
		b.keepLog(logFile)
	})
	b.await(name, ready, ended)
	return end
}

// await polls, for none of the daemons says when it is ready.
func (b *Sandbox) await(name string, ready func() error, ended <-chan struct{}) {
	b.t.Helper()
	deadline := time.After(startLimit)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-ended:
			b.t.Fatalf("%s ended at its start: %v", name, err)
		case <-deadline:
			b.t.Fatalf("%s is not ready: %v", name, err)
		case <-tick.C:
		}
	}
}

func (b *Sandbox) stop(cmd *exec.Cmd, ended <-chan struct{}) {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		b.t.Errorf("stop %s: %v", cmd.Path, err)
	}
	select {
	case <-ended:
	case <-time.After(stopLimit):
		b.t.Errorf("%s does not end", cmd.Path)
		cmd.Process.Kill()
		<-ended
	}
}

func (b *Sandbox) keepLog(logFile *os.File) {
	logFile.Close()
	if !b.t.Failed() {
		return
	}
	text, err := os.ReadFile(logFile.Name())
	if err == nil {
		kept := filepath.Join(server.Root(), "e2e", "out", strings.ReplaceAll(b.t.Name(), "/", "-")+"-"+filepath.Base(logFile.Name()))
		err = errors.Join(os.MkdirAll(filepath.Dir(kept), 0o755), os.WriteFile(kept, text, 0o644))
		b.t.Logf("log kept: %s", kept)
	}
	if err != nil {
		b.t.Logf("keep the log: %v", err)
	}
}
