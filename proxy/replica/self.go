package replica

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// looks is how often an address is asked: a load balancer may send one of them to the right server.
const looks = 4

// Self fails unless an address leads to this very process each time that it is asked, as other servers would ask it.
func (c *Client) Self(ctx context.Context, address string) error {
	base, err := parseAddress(address)
	if err != nil {
		return err
	}
	base.Path = "/v2/"
	for range looks {
		req := (&http.Request{Method: http.MethodGet, URL: base, Header: http.Header{Header: {c.o.ID}, "User-Agent": {"entrepot"}}}).WithContext(ctx)
		resp, err := c.pool.RoundTrip(req)
		if err != nil {
			return fmt.Errorf("ask %s: %w", base.Host, err)
		}
		resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusMisdirectedRequest: // only the process of that ID says so
		case http.StatusOK, http.StatusUnauthorized:
			return errors.New("another server answers there")
		default:
			return fmt.Errorf("something else answers there, with status %d", resp.StatusCode)
		}
	}
	return nil
}
