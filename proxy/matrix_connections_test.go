package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// A connection is nobody's: proxies send the requests of many clients over one, and each request proves itself.
func TestAnIdentityIsOfOneRequest(t *testing.T) {
	f := build(t, nil)
	token := "Bearer " + f.token("alice", "password of alice", "repository:vault/app:pull")
	p := placeOf("vault/app")
	kinds := []struct {
		authorization string
		status        int
	}{
		{basicAuth("alice", "password of alice"), 200}, {"", 401}, {token, 200}, {basicAuth("carol", "password of carol"), 401}, {token + "x", 401}, {"", 401}, {token, 200},
	}
	var clients sync.WaitGroup
	for n := range 8 {
		c := f.dial(t)
		clients.Go(func() { // ends with its answers
			var requests strings.Builder
			for i := range 70 {
				authorization := ""
				if kind := kinds[(i+n)%len(kinds)]; kind.authorization != "" {
					authorization = "Authorization: " + kind.authorization + "\r\n"
				}
				fmt.Fprintf(&requests, "GET /v2/vault/app/manifests/v1 HTTP/1.1\r\nHost: x\r\n%s\r\n", authorization)
			}
			if _, err := io.WriteString(c, requests.String()); err != nil {
				t.Error(err)
				return
			}
			answers := bufio.NewReader(c)
			for i := range 70 {
				want := kinds[(i+n)%len(kinds)]
				res, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(res.Body)
				if err != nil || res.StatusCode != want.status || strings.Contains(string(body), p.marker) != (want.status == 200) {
					t.Errorf("request %d of %d, by %.10q: %d %s, %v; want %d", i, n, want.authorization, res.StatusCode, body, err, want.status)
				}
			}
		})
	}
	clients.Wait()
}

// Whoever waits before sending a body hears of a refusal instead of being told to go on.
func TestARefusedBodyIsNotAskedFor(t *testing.T) {
	f := build(t, nil)
	body, d := emptyIndex("x")
	for _, c := range []struct {
		who, target string
		status      int
	}{
		{"", "PUT /v2/team/app/manifests/x", 401}, {"carol", "PUT /v2/team/app/manifests/x", 403}, {"bob", "PUT /v2/team/app/manifests/" + d + "?tag=v1", 403},
		{"", "POST /v2/team/app/blobs/uploads/?digest=" + d, 401}, {"carol", "PATCH /v2/team/app/blobs/uploads/none", 403}, {"", "PUT /v2/team/app/blobs/uploads/none?digest=" + d, 401},
		{"nobody", "PUT /v2/team/app/manifests/x", 401}, {"alice", "PUT /v2/hidden/app/manifests/x", 403},
	} {
		authorization := ""
		if c.who != "" {
			authorization = "Authorization: " + basicAuth(c.who, "password of "+c.who) + "\r\n"
		}
		before := f.asked.Load()
		got := f.halfClosed(fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n", c.target, authorization, len(body)))
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", c.status)) || strings.Contains(got, "100 Continue") || f.asked.Load() > before {
			t.Errorf("%s by %q: %.100q after %d questions, want %d", c.target, c.who, got, f.asked.Load()-before, c.status)
		}
	}
}
