package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// errNoServer says that no server answers on the socket.
var errNoServer = errors.New("no server runs")

// client talks to a running server over its socket.
type client struct {
	socket string
	http   http.Client
}

func dialServer(data string) *client {
	path := socketPath(data)
	return &client{path, http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}
}

// do gives the body of a good answer; the caller closes it. errNoServer where nobody listens.
func (c *client) do(ctx context.Context, method, path string, query url.Values) (io.ReadCloser, error) {
	return c.send(ctx, method, path, query, nil)
}

// send is do with a body, which may be nil.
func (c *client) send(ctx context.Context, method, path string, query url.Values, body io.Reader) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://entrepot"+path+"?"+query.Encode(), body)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, errNoServer
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%s: permission denied: a server runs there; run this as its user", c.socket)
	}
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10)) // as much of the reason as arrives
		if response.StatusCode == http.StatusUnprocessableEntity {  // the mistake is in what was asked for
			return nil, errors.New(strings.TrimSpace(string(text)))
		}
		return nil, fmt.Errorf("the server says %s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	return response.Body, nil
}
