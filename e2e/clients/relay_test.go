package clients

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// relay passes TCP connections on and counts what flows to the clients. It stands before the server, so that tests know
// what a client took without changing a byte of the conversation.
type relay struct {
	addr  string // of the relay
	moved atomic.Int64

	join   func(client, server net.Conn) // passes both directions on, in goroutines of wg that end with the connections
	wg     sync.WaitGroup
	mu     sync.Mutex // guards what follows
	target string
	open   map[net.Conn]bool
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	r := &relay{target: target}
	r.join = r.pass
	r.start(t)
	return r
}

// start listens until the end of the test.
func (r *relay) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr, r.open = l.Addr().String(), map[net.Conn]bool{}
	r.wg.Go(func() { r.accept(l) }) // ends when the cleanup closes the listener
	t.Cleanup(func() {
		l.Close()
		r.hangUp()
		r.wg.Wait()
	})
}

func (r *relay) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := r.dial()
		if err != nil {
			client.Close()
			continue
		}
		r.keep(client, server)
		r.join(client, server)
	}
}

func (r *relay) dial() (net.Conn, error) {
	r.mu.Lock()
	target := r.target
	r.mu.Unlock()
	return net.Dial("tcp", target)
}

// lead is where connections go from then on.
func (r *relay) lead(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}

// pass changes nothing. Each direction ends when its reader ends or when hangUp closes both connections.
func (r *relay) pass(client, server net.Conn) {
	r.wg.Go(func() { pass(server, server, client) })
	r.wg.Go(func() { pass(client, io.MultiWriter(client, counter{&r.moved}), server) })
}

// pass copies from one connection into w until it ends, and then ends the other one's input.
func pass(to net.Conn, w io.Writer, from net.Conn) {
	io.Copy(w, from)
	to.(*net.TCPConn).CloseWrite()
}

func (r *relay) keep(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		r.open[c] = true
	}
}

func (r *relay) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.open {
		c.Close()
	}
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}
