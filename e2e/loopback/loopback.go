// Package loopback gives tests ports of 127.0.0.1 that stay free until they are used, and free again after a restart: ports
// below those that the kernel hands to outgoing connections.
package loopback

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
)

// Ports of tests. Linux hands out 32768 and above by default, macOS 49152 and above. Each process has a block of its own.
const (
	first  = 10_000
	blocks = 11
	block  = 2_000
)

// used is how many ports this process has tried.
var used atomic.Uint32

// reserved is a block of ports.
type reserved struct {
	from int
	lock *os.File // it is this process's as long as this is open
}

// mine is the block of this process.
var mine = sync.OnceValues(func() (reserved, error) {
	dir := filepath.Join(os.TempDir(), "entrepot-e2e-ports")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return reserved{}, err
	}
	for n := range blocks {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(n)), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return reserved{}, err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return reserved{first + n*block, f}, nil
		}
		f.Close()
	}
	return reserved{}, fmt.Errorf("%d test processes have all ports", blocks)
})

// Listen listens on a port that this process has not given out for long.
func Listen() (net.Listener, error) {
	ports, err := mine()
	if err != nil {
		return nil, err
	}
	for range block {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports.from+int(used.Add(1)%block)))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
	}
	return nil, errors.New("no free port on 127.0.0.1")
}

// Addr is the address of a port that nobody listened on a moment ago.
func Addr() (string, error) {
	l, err := Listen()
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
