// Package s3 holds what the S3 store must do with real servers. E2E_LONG=1 runs it with full sizes and with more of them;
// E2E_S3_ENDPOINT runs it with a server of yours (see docs/providers.md).
package s3

import (
	"bytes"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/entrepot/entrepot/e2e/loopback"
	"github.com/entrepot/entrepot/e2e/tools"
	"github.com/entrepot/entrepot/storage/s3"
)

const (
	bucket     = "warehouse"
	accessKey  = "entrepot-id"
	secretKey  = "entrepot-secret"
	startLimit = 30 * time.Second
)

var long = os.Getenv("E2E_LONG") != ""

// TestMain lets the SDK find these credentials and nothing of the machine's.
func TestMain(m *testing.M) {
	id, secret := accessKey, secretKey
	if yours.endpoint != "" {
		id, secret = os.Getenv("E2E_S3_ACCESS_KEY"), os.Getenv("E2E_S3_SECRET_KEY")
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_REGION": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// open makes a store at a server, in pieces as small as S3 allows.
func open(t *testing.T, endpoint, prefix string, change ...func(*s3.Options)) *s3.Store {
	t.Helper()
	options := s3.Options{Bucket: bucket, Prefix: prefix, Endpoint: endpoint, PathStyle: true, Piece: 5 << 20, Spool: t.TempDir(), Now: time.Now}
	for _, change := range change {
		change(&options)
	}
	if yours.endpoint != "" {
		yours.change(t, &options)
	}
	s, err := s3.New(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // gives back idle connections
	return s
}

// versitygw runs the server until the test ends. Its buckets are folders.
func versitygw(t *testing.T) (endpoint string) {
	t.Helper()
	notYours(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	addr := address(t)
	run(t, addr, tools.Versitygw(), "versitygw", "--access", accessKey, "--secret", secretKey, "--port", addr, "--keep-alive", "--quiet", "posix", dir)
	return "http://" + addr
}

// rclone runs its server until the test ends.
func rclone(t *testing.T) (endpoint string) {
	t.Helper()
	notYours(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	addr := address(t)
	run(t, addr, tools.Rclone(), "rclone", "serve", "s3", "--addr", addr, "--auth-key", accessKey+","+secretKey, "--config", os.DevNull, dir)
	return "http://" + addr
}

// gofake is a server in this process.
func gofake(t *testing.T) (endpoint string) {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket(bucket); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	return server.URL
}

func address(t *testing.T) string {
	t.Helper()
	addr, err := loopback.Addr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// run starts a program and waits until it listens.
func run(t *testing.T, addr string, tool tools.Tool, program string, args ...string) {
	t.Helper()
	dir, err := tools.Dir(t.Context(), tool)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, program), args...) // the context ends before the cleanups
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s: %.4000s", program, log.String())
		}
	})
	for end := time.Now().Add(startLimit); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen: %v", program, err)
		}
	}
}
