// Package loopback gives tests ports of 127.0.0.1 that stay free until they are used, and free again after a restart: ports
// below those that the kernel hands to outgoing connections.
package loopback

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// Ports of tests. Linux hands out 32768 and above by default, macOS 49152 and above.
const (
	first = 10_000
	count = 22_000
)

// used is how many ports this process has tried. Processes begin at different places, so that they rarely meet.
var used atomic.Uint32

// Listen listens on a port that this process has not given out before.
func Listen() (net.Listener, error) {
	for range count {
		n := uint32(os.Getpid())*7919 + used.Add(1)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+n%count))
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
