// Package replica asks the other servers of a bucket for what they are fetching just now, by the same requests that clients
// send. Whatever is wrong with an answer, nothing is lost but a second: the upstream has it too, so nothing is asked twice,
// and no error here says anything of the content.
package replica

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/entrepot/entrepot/cache"
)

// Header names the process that asks, so that the one that is asked asks no other, and knows its own requests.
const Header = "Entrepot-Replica"

// patience is how long a connection, the head of an answer, and each further byte of it may be in coming.
const patience = time.Second

// Options: ID is needed, the rest is optional.
type Options struct {
	ID    string                                      // of this process, sent with each request
	Token func(registry, name string) (string, error) // a token to pull that repository there; nil: none is needed
	Roots *x509.CertPool                              // whom to believe who the servers are; nil: the system's
}

// Client has the connections to all other servers. It is safe for concurrent use.
type Client struct {
	o        Options
	pool     *http.Transport
	patience time.Duration
}

// New makes a client. Nothing is dialled yet.
func New(o Options) *Client { return newClient(o, patience) }

// newClient: HTTP/1.1 only and no compression, as towards upstreams. The servers are near, so no proxy stands between.
func newClient(o Options, patience time.Duration) *Client {
	return &Client{o: o, patience: patience, pool: &http.Transport{
		DialContext:            (&net.Dialer{Timeout: patience}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
		TLSHandshakeTimeout:    patience,
		ResponseHeaderTimeout:  patience,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
		DisableCompression:     true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        time.Minute, // less than that of the servers
		MaxResponseHeaderBytes: 16 << 10,
		ReadBufferSize:         64 << 10,
	}}
}

// Close drops idle connections. Running requests end with their own contexts.
func (c *Client) Close() { c.pool.CloseIdleConnections() }

// At is one repository at the server of that address, which comes from a record that the server has written: where it is no
// address, every request is an error and nothing is dialled.
func (c *Client) At(address string, repo cache.Repo) cache.Peer {
	base, err := parseAddress(address)
	return &peer{client: c, base: base, err: err, repo: repo}
}

// parseAddress takes a scheme and a host and nothing else. Its error does not repeat what may hold a password.
func parseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Scheme+"://"+u.Host != address {
		return nil, errors.New("its address is not http:// or https:// and a host")
	}
	return u, nil
}
