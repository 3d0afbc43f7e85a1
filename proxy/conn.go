package proxy

import (
	"errors"
	"io"
	"math"
	"net"
	"sync/atomic"
	"time"
)

const (
	leastSegment = 256 << 10 // with a patience of a minute: a floor of 4 KB/s
	mostSegment  = 4 << 20   // what the kernel takes at once for a client that is fast
	fastSegment  = 100 * time.Millisecond
	slowSegment  = time.Second

	lingerTime  = 500 * time.Millisecond
	lingerBytes = 64 << 20
)

var errClientGone = errors.New("the client has gone")

// conn is a TCP connection whose write deadline moves on as bytes leave: the server's own is one absolute deadline for a
// whole answer, and a large blob takes longer than any such deadline may be. It has ReadFrom, without which the server
// falls back from sendfile to copying by 4 KiB. For TLS it lies below the TLS connection.
type conn struct {
	*net.TCPConn
	owner     *listener
	patience  time.Duration // a segment must leave within it
	segment   int64         // used only by the goroutine that serves the connection
	sawEOF    atomic.Bool   // the client has ended its side; a cut request body looks the same as a whole one otherwise
	lingering atomic.Bool
	closed    atomic.Bool
}

// connOf finds our connection below what the server was given; nil if there is none, which only tests see.
func connOf(c net.Conn) (below *conn, plain bool) {
	if s, ok := c.(*secured); ok {
		return s.below, false
	}
	below, plain = c.(*conn)
	return below, plain
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if err == io.EOF {
		c.sawEOF.Store(true)
	}
	return n, err
}

// Write sends long bodies by segments, each with a deadline of its own; short ones are under the server's.
func (c *conn) Write(p []byte) (n int, err error) {
	for int64(len(p)-n) > leastSegment {
		part := p[n:min(int64(len(p)), int64(n)+c.segment)]
		c.extend()
		start := time.Now()
		m, err := c.TCPConn.Write(part)
		n += m
		if err != nil {
			return n, err
		}
		c.adapt(time.Since(start))
	}
	if n == len(p) {
		return n, nil
	}
	if n > 0 {
		c.extend()
	}
	m, err := c.TCPConn.Write(p[n:])
	return n + m, err
}

// ReadFrom sends r by segments. A *os.File, alone or in one LimitedReader, goes by sendfile.
func (c *conn) ReadFrom(r io.Reader) (sent int64, err error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: r, N: math.MaxInt64}
	}
	for limited.N > 0 {
		part := io.LimitedReader{R: limited.R, N: min(limited.N, c.segment)}
		want := part.N
		c.extend()
		start := time.Now()
		n, err := c.TCPConn.ReadFrom(&part)
		sent += n
		limited.N -= n
		if err != nil || n < want {
			return sent, err
		}
		c.adapt(time.Since(start))
	}
	return sent, nil
}

// adapt makes segments large for the fast, to save system calls, and small for the slow, to give them time.
func (c *conn) adapt(took time.Duration) {
	switch {
	case took < fastSegment:
		c.segment = min(2*c.segment, mostSegment)
	case took > slowSegment:
		c.segment = leastSegment
	}
}

// extend gives the next bytes their time. A connection that is broken says so when it is written to.
func (c *conn) extend() { _ = c.SetWriteDeadline(time.Now().Add(c.patience)) }

// linger makes Close wait for the client to read the answer. A connection that is closed while a request body still
// arrives is reset, and the reset overtakes the answer: most Go clients would see no 403 but a broken connection.
func (c *conn) linger() { c.lingering.Store(true) }

func (c *conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	if c.lingering.Load() && !c.sawEOF.Load() && c.owner.startDrain(c) {
		return nil
	}
	return c.release()
}

// drain ends our side and drops what the client still sends until it has read the answer and closes too.
func (c *conn) drain() {
	if c.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, c.TCPConn, lingerBytes)
	}
	_ = c.release()
}

func (c *conn) release() error {
	err := c.TCPConn.Close()
	c.owner.forget(c)
	return err
}

// check is an error once the client has closed its side. A client that only half-closes while it waits for bytes that
// the cache does not have yet counts as gone too: the two look alike.
func (c *conn) check() error {
	if c.hungUp() {
		return errClientGone
	}
	return nil
}
