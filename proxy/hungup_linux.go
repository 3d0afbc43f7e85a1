package proxy

import "golang.org/x/sys/unix"

// hungUp asks the kernel whether the client has sent its FIN. Unlike a peek it sees that behind unread bytes too: a TLS
// close notification, or a pipelined request.
func (c *conn) hungUp() (gone bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(poll, 0)
		gone = err == nil && n > 0
	})
	return gone || err != nil
}
