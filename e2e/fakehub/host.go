package fakehub

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/entrepot/entrepot/e2e/loopback"
)

// host is one service: a listener that can go away and come back at the same address.
type host struct {
	hub     *Hub
	handler http.HandlerFunc

	mu     sync.Mutex // guards what follows
	addr   string     // "" for a free port, before the first open
	server *http.Server
	done   chan struct{} // closed when server has returned
}

func (s *host) address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

func (s *host) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return nil
	}
	plain, err := s.listen()
	if err != nil {
		return fmt.Errorf("fake hub: %w", err)
	}
	s.addr = plain.Addr().String()
	s.server = &http.Server{Handler: s.handler, ErrorLog: log.New(io.Discard, "", 0)}
	s.done = make(chan struct{})
	go s.serve(s.server, pacedListener{plain, s.hub}, s.done) // ends when close closes the server
	return nil
}

func (s *host) listen() (net.Listener, error) {
	if s.addr == "" {
		return loopback.Listen()
	}
	return net.Listen("tcp", s.addr)
}

func (s *host) serve(server *http.Server, l net.Listener, done chan struct{}) {
	defer close(done)
	if s.hub.ca == nil {
		server.Serve(l)
		return
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{s.hub.ca.leaf}}
	server.ServeTLS(l, "", "")
}

func (s *host) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return
	}
	s.server.Close()
	<-s.done
	s.server = nil
}

// pacedListener bounds what each connection may send.
type pacedListener struct {
	net.Listener
	hub *Hub
}

func (l pacedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &pacedConn{Conn: c, hub: l.hub}, nil
}

// pacedConn sends at the Hub's bandwidth. Only one goroutine writes to a connection at a time.
type pacedConn struct {
	net.Conn
	hub  *Hub
	next time.Time // when the next byte may go out
}

func (c *pacedConn) Write(p []byte) (int, error) {
	bandwidth := c.hub.current().Bandwidth
	if bandwidth <= 0 {
		return c.Conn.Write(p)
	}
	const step = 64 << 10
	sent := 0
	for sent < len(p) {
		part := p[sent:min(sent+step, len(p))]
		c.pace(len(part), bandwidth)
		n, err := c.Conn.Write(part)
		sent += n
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// pace waits until n bytes may go out. A connection that was idle has saved nothing up.
func (c *pacedConn) pace(n int, bandwidth int64) {
	now := time.Now()
	if c.next.Before(now.Add(-10 * time.Millisecond)) {
		c.next = now
	}
	c.next = c.next.Add(time.Duration(int64(n) * int64(time.Second) / bandwidth))
	time.Sleep(c.next.Sub(now))
}
