package fakehub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// client pulls as a registry client does: tokens on demand, redirects without credentials.
type client struct {
	*http.Client
	user, password string
	token          string
}

func newClient(t *testing.T, h *Hub) *client {
	t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: true, DisableCompression: true}
	if h.CAFile() != "" {
		pem, err := os.ReadFile(h.CAFile())
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	t.Cleanup(transport.CloseIdleConnections)
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{Client: &http.Client{Transport: transport, CheckRedirect: stay, Timeout: 20 * time.Second}}
}

// do asks once and reads the answer; "Range" is the only header that tests give.
func (c *client) do(method, address, span string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, address, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "*/*")
	if span != "" {
		req.Header.Set("Range", span)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, b, err
}

// fetch follows a challenge and a redirect, once each.
func (c *client) fetch(t *testing.T, method, address, span string) (*http.Response, []byte) {
	t.Helper()
	resp, b, err := c.do(method, address, span)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		c.login(t, resp.Header.Get("Www-Authenticate"))
		resp, b, err = c.do(method, address, span)
	}
	if err == nil && resp.StatusCode == http.StatusTemporaryRedirect {
		bare := client{Client: c.Client}
		resp, b, err = bare.do(method, resp.Header.Get("Location"), span)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, address, err)
	}
	return resp, b
}

func (c *client) login(t *testing.T, challenge string) {
	t.Helper()
	field := func(name string) string {
		_, rest, _ := strings.Cut(challenge, name+`="`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	query := url.Values{"service": {field("service")}, "scope": {field("scope")}}
	req, err := http.NewRequest(http.MethodGet, field("realm")+"?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	c.token = answer.Token
}
