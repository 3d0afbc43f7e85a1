package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	leastBackoff = 5 * time.Millisecond
	mostBackoff  = time.Second
)

// listener counts connections and outlives what would end an accept loop for good: running out of file descriptors.
type listener struct {
	net.Listener
	patience time.Duration
	log      *slog.Logger

	slots  chan struct{} // holds one element for each open connection
	done   chan struct{} // closed by Close
	close  func() error
	drains sync.WaitGroup

	mu      sync.Mutex
	open    map[*conn]struct{} // guarded by mu, as is aborted
	aborted bool               // drains is being waited for
}

func newListener(l net.Listener, limit int, patience time.Duration, log *slog.Logger) *listener {
	done := make(chan struct{})
	return &listener{
		Listener: l, patience: patience, log: log,
		slots: make(chan struct{}, limit), done: done, open: make(map[*conn]struct{}),
		close: sync.OnceValue(func() error { close(done); return l.Close() }),
	}
}

// Close ends Accept. Connections stay open.
func (l *listener) Close() error { return l.close() }

// Accept waits while as many connections are open as may be. What the kernel has queued meanwhile is accepted later.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	l.mu.Lock()
	l.open[c] = struct{}{}
	l.mu.Unlock()
	return c, nil
}

func (l *listener) accept() (*conn, error) {
	for backoff := leastBackoff; ; backoff = min(2*backoff, mostBackoff) {
		raw, err := l.Listener.Accept()
		if err == nil {
			return l.wrap(raw)
		}
		if !passing(err) {
			return nil, err
		}
		l.log.Warn("accepting connections fails for now", "err", err, "again_in", backoff)
		select {
		case <-time.After(backoff):
		case <-l.done:
			return nil, net.ErrClosed
		}
	}
}

func (l *listener) wrap(raw net.Conn) (*conn, error) {
	tcp, ok := raw.(*net.TCPConn)
	if !ok {
		raw.Close()
		return nil, fmt.Errorf("listener on %s gives %T, and only TCP is served", l.Addr(), raw)
	}
	return &conn{TCPConn: tcp, owner: l, patience: l.patience, segment: leastSegment}, nil
}

// passing: the next accept may succeed.
func passing(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// forget frees the slot of a closed connection, once.
func (l *listener) forget(c *conn) {
	l.mu.Lock()
	_, open := l.open[c]
	delete(l.open, c)
	l.mu.Unlock()
	if open {
		<-l.slots
	}
}

// startDrain drains c in a goroutine that lingerTime bounds; abort ends it sooner and waits for it.
func (l *listener) startDrain(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.aborted {
		return false
	}
	l.drains.Go(c.drain)
	return true
}

// abort closes whatever is still open and waits for connections that linger.
func (l *listener) abort() {
	l.mu.Lock()
	l.aborted = true
	open := make([]*conn, 0, len(l.open))
	for c := range l.open {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		c.closed.Store(true)
		_ = c.release()
	}
	l.drains.Wait()
}
