// Command load asks one URL over many connections for a time and drops what comes, and prints how much that was. It costs as
// little as it can, so that the server is what is measured: bodies are dropped in the kernel.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// Total is what is printed, as JSON.
type Total struct {
	Bytes   int64   // of bodies, whole or not
	Whole   int64   // bodies
	Seconds float64 // from the first request to the last byte
}

func main() {
	connections := flag.Int("connections", 8, "how many at once")
	duration := flag.Duration("duration", 2*time.Second, "for how long")
	flag.Parse()
	total, err := run(flag.Arg(0), *connections, *duration)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(total)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(address string, connections int, duration time.Duration) (Total, error) {
	target, err := url.Parse(address)
	if err != nil {
		return Total{}, err
	}
	began := time.Now()
	var group errgroup.Group
	clients := make([]client, connections)
	for i := range clients {
		clients[i] = client{target: target, end: began.Add(duration)}
		group.Go(clients[i].run)
	}
	err = group.Wait()
	total := Total{Seconds: time.Since(began).Seconds()}
	for _, c := range clients {
		total.Bytes += c.bytes
		total.Whole += c.whole
	}
	return total, err
}

// client is one connection, which asks again and again.
type client struct {
	target *url.URL
	end    time.Time

	bytes, whole int64
}

func (c *client) run() error {
	for time.Now().Before(c.end) {
		if err := c.connection(); err != nil {
			return err
		}
	}
	return nil
}

// connection asks over one connection until the server closes it or the time is over.
func (c *client) connection() error {
	tcp, err := net.Dial("tcp", c.target.Host)
	if err != nil {
		return err
	}
	defer tcp.Close()
	if err := tcp.SetDeadline(c.end); err != nil {
		return err
	}
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", c.target.RequestURI(), c.target.Host)
	for last := false; !last; {
		if last, err = c.ask(tcp.(*net.TCPConn), request); err != nil {
			break
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// ask sends one request and drops its answer. last tells that the server closes the connection after it.
func (c *client) ask(tcp *net.TCPConn, request []byte) (last bool, err error) {
	if _, err := tcp.Write(request); err != nil {
		return false, err
	}
	h, err := readHead(tcp)
	if err != nil {
		return false, err
	}
	c.bytes += h.early
	left := h.length - h.early
	for left > 0 {
		n, err := discard(tcp, left)
		c.bytes += n
		left -= n
		if err != nil {
			return false, err
		}
	}
	c.whole++
	return bytes.Contains(h.text, []byte("\r\nConnection: close\r\n")), nil
}
