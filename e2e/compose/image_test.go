package compose

import (
	"bufio"
	"debug/elf"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/entrepot/entrepot/e2e/server"
)

// anotherArchitecture has BuildKit build the Dockerfile for two architectures, as whoever publishes the image does. What is
// compiled is a program of one line in the place of this project's: the Dockerfile is what is tried.
func (e *engine) anotherArchitecture() {
	t := e.t
	t.Helper()
	e.File("project/go.mod", "module example\n\ngo 1.26\n")
	e.File("project/go.sum", "")
	e.File("project/cmd/entrepot/main.go", "package main\n\nvar version, commit string\n\nfunc main() { println(version, commit) }\n")
	e.File("base/etc/passwd", "nonroot:x:65532:65532:nonroot:/home/nonroot:/bin/false\n")
	out := filepath.Join(e.Dir, "images")
	e.Run("buildctl", "--addr", "unix://"+e.buildkit(), "build", "--frontend", "dockerfile.v0", "--progress", "plain",
		"--opt", "platform=linux/amd64,linux/arm64", "--opt", "build-arg:VERSION=3",
		"--local", "dockerfile="+server.Root(), "--local", "context="+filepath.Join(e.Dir, "project"),
		"--opt", "context:gcr.io/distroless/static-debian12:nonroot=local:base", "--local", "base="+filepath.Join(e.Dir, "base"),
		"--output", "type=local,dest="+out)
	for platform, machine := range map[string]elf.Machine{"linux_amd64": elf.EM_X86_64, "linux_arm64": elf.EM_AARCH64} {
		program, err := elf.Open(filepath.Join(out, platform, "entrepot"))
		if err != nil {
			t.Error(err)
			continue
		}
		if libraries, err := program.ImportedLibraries(); program.Machine != machine || len(libraries) > 0 || program.Section(".interp") != nil {
			t.Errorf("%s has a program for %v with the libraries %v %v", platform, program.Machine, libraries, err)
		}
		program.Close()
	}
}

// buildkit is a socket of the BuildKit inside the daemon.
func (e *engine) buildkit() (socket string) {
	e.t.Helper()
	socket = filepath.Join(e.Dir, "buildkit.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		e.t.Fatal(err)
	}
	var open sync.WaitGroup
	e.t.Cleanup(func() { l.Close(); open.Wait() })
	open.Go(func() { // ends with the listener
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { // ends with either side
				if err := e.join(client); err != nil {
					e.t.Errorf("reach BuildKit: %v", err)
				}
			})
		}
	})
	return socket
}

// join joins a connection to BuildKit, which is behind an upgrade of the daemon's own protocol.
func (e *engine) join(client net.Conn) error {
	defer client.Close()
	daemon, err := net.Dial("unix", strings.TrimPrefix(e.DockerHost(), "DOCKER_HOST=unix://"))
	if err != nil {
		return err
	}
	defer daemon.Close()
	fmt.Fprint(daemon, "POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	answers := bufio.NewReader(daemon)
	resp, err := http.ReadResponse(answers, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("%v %w", resp, err)
	}
	go func() { // ends when the client has said all, or the caller closes both
		io.Copy(daemon, client)
		daemon.(*net.UnixConn).CloseWrite()
	}()
	io.Copy(client, answers) // to the end of whoever leaves first
	return nil
}
