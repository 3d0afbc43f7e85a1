package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// errNoServer says that no server answers on the socket.
var errNoServer = errors.New("no server runs")

// client talks to a running server over its socket.
type client struct{ http http.Client }

func dialServer(data string) *client {
	path := socketPath(data)
	return &client{http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}
}

// do gives the body of a good answer; the caller closes it. errNoServer where nobody listens.
func (c *client) do(ctx context.Context, method, path string, query url.Values) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://entrepot"+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, errNoServer
	}
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10)) // as much of the reason as arrives
		return nil, fmt.Errorf("the server says %s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	return response.Body, nil
}
