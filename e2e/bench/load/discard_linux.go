package main

import (
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// scratch is never written to: it tells the kernel how much to drop.
var scratch [8 << 20]byte

// discard drops up to n bytes that arrived, without copying them out of the kernel (MSG_TRUNC of tcp(7)).
func discard(c *net.TCPConn, n int64) (dropped int64, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var got int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			got, _, failed = unix.Recvfrom(int(fd), scratch[:min(n, int64(len(scratch)))], unix.MSG_TRUNC)
			if failed != unix.EINTR {
				return failed != unix.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, failed
	case got == 0:
		return 0, io.ErrUnexpectedEOF
	}
	return int64(got), nil
}
