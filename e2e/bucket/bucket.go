// Package bucket runs a real S3 server for tests: versitygw, whose objects are files of a folder that goes away with the
// test.
package bucket

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

// What the servers of a test find at an S3 server.
const (
	Name      = "warehouse" // of the bucket
	Prefix    = "one"
	AccessKey = "somebody"
	SecretKey = "not-in-any-log-9d1c"
)

// Server is an S3 server with one bucket, or one that was stopped. Its methods are for one goroutine.
type Server struct {
	Addr   string // "127.0.0.1:34567"
	Folder string // its buckets are folders of this one

	t       testing.TB
	program string
	log     server.Output
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has ended
}

// Start runs an S3 server and waits until it takes requests. It is killed with the test; a failed test prints the end of
// its log.
func Start(t testing.TB) *Server {
	t.Helper()
	dir, err := tools.Dir(t.Context(), tools.Versitygw())
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: server.FreeAddr(t), t: t, program: filepath.Join(dir, "versitygw"), Folder: t.TempDir()}
	if err := os.Mkdir(filepath.Join(s.Folder, Name), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("the S3 server's log ends with:\n%s", s.log.Tail(4<<10))
		}
	})
	return s
}

// Start runs the process again and waits until it takes requests.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = exec.Command(s.program, "--port", s.Addr, "--keep-alive", "posix", s.Folder)
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Folder, "ROOT_ACCESS_KEY=" + AccessKey, "ROOT_SECRET_KEY=" + SecretKey}
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { // ends with the process
		_ = cmd.Wait()
		close(ended)
	}(s.cmd, s.ended)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get("http://" + s.Addr + "/"); err == nil {
			resp.Body.Close()
			return
		}
	}
	s.t.Fatalf("the S3 server does not start:\n%s", s.log.Tail(4<<10))
}

// Stop ends the process at once, also one that stands still.
func (s *Server) Stop() {
	s.Signal(syscall.SIGCONT)
	s.Signal(syscall.SIGKILL)
	<-s.ended
}

// Signal sends a signal to the process.
func (s *Server) Signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("signal the S3 server: %v", err)
	}
}

// Settings are what an entrepôt needs to find the bucket at an endpoint: variables without ENTREPOT_, and those of others.
func Settings(endpoint string) (env map[string]string, others []string) {
	return map[string]string{"S3_BUCKET": Name, "S3_PREFIX": Prefix, "S3_ENDPOINT": endpoint, "S3_PATH_STYLE": "true"},
		[]string{"AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey, "AWS_EC2_METADATA_DISABLED=true"}
}

// Objects gives the files of the objects that are there, by their keys without the prefix. Objects that are deleted
// meanwhile may be in it or not.
func (s *Server) Objects() map[string]string {
	s.t.Helper()
	files, root := map[string]string{}, filepath.Join(s.Folder, Name, Prefix)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.Type().IsRegular() {
			files[filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))] = path
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}
