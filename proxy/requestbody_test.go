package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
)

// To the HTTP library a body that was cut off is whole, wherever it was cut.
func TestACutBodyIsNoWholeOne(t *testing.T) {
	s := startPush(t, nil)
	manifest := string(s.image(t, "team/img", nil))
	for _, c := range []struct {
		fact, method, path, framing string
	}{
		{"an upload with a length", "PATCH", "", "Content-Length: 100\r\n\r\n12345"},
		{"a long one", "PATCH", "", "Content-Length: 1000000\r\n\r\n" + strings.Repeat("x", 50_000)},
		{"its first byte", "PATCH", "", "Content-Length: 100\r\n\r\n1"},
		{"nothing of it", "PATCH", "", "Content-Length: 100\r\n\r\n"}, // never reaches a handler
		{"between two chunks", "PATCH", "", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"},
		{"within a chunk", "PATCH", "", "Transfer-Encoding: chunked\r\n\r\n5\r\n123"},
		{"within a chunk's size", "PATCH", "", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n1"},
		{"before the first chunk", "PATCH", "", "Transfer-Encoding: chunked\r\n\r\n"},
		{"before the last line", "PATCH", "", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n"},
		{"the end of an upload", "PUT", "?digest=" + digest.FromString("12345").String(), "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"},
		{"a whole blob", "POST", "/v2/team/img/blobs/uploads/?digest=" + digest.FromString("12345").String(), "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"},
		{"a manifest with a length", "PUT", "/v2/team/img/manifests/cut", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(manifest)+1, manifest)},
		{"a manifest in chunks", "PUT", "/v2/team/img/manifests/cut", fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(manifest), manifest)},
	} {
		id := s.begin(t, "team/img")
		path := c.path
		if !strings.HasPrefix(path, "/") {
			path = id + path
		}
		client := s.dial(t)
		if _, err := io.WriteString(client, c.method+" "+path+" HTTP/1.1\r\nHost: x\r\n"+c.framing); err != nil {
			t.Fatal(err)
		}
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(client)
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 400 ") || !strings.Contains(string(got), string(CodeSizeInvalid)) && c.fact != "nothing of it" {
			t.Errorf("%s: got %.300q, %v", c.fact, got, err)
		}
		if got := s.expect(t, 204, "GET", id, nil).Get("Range"); got != "0-0" {
			t.Errorf("%s: the upload has got %s", c.fact, got)
		}
	}
	s.expect(t, 404, "GET", "/v2/team/img/blobs/"+digest.FromString("12345").String(), nil)
	s.expect(t, 404, "GET", "/v2/team/img/manifests/cut", nil)
}

// held keeps what is written until it is let go, so that it arrives at once.
type held struct {
	net.Conn
	bytes.Buffer
	holding bool
}

func (h *held) Read(p []byte) (int, error) { return h.Conn.Read(p) }

func (h *held) Write(p []byte) (int, error) {
	if h.holding {
		return h.Buffer.Write(p)
	}
	return h.Conn.Write(p)
}

// A client that ends TLS properly in the middle of a body has not sent all of it either.
func TestACutBodyOverTLSIsNoWholeOne(t *testing.T) {
	files := writePair(t, t.TempDir(), "x")
	s := startPush(t, func(o *Options) { o.TLS = &files })
	d := digest.FromString("12345").String()
	head := "POST /v2/team/img/blobs/uploads/?digest=" + d + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"
	for rest, want := range map[string]string{"": "HTTP/1.1 400 ", "0\r\n\r\n": "HTTP/1.1 201 "} {
		below := &held{Conn: s.dial(t)}
		client := tls.Client(below, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}) // which sees the end together with the bytes before
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		below.holding = true
		if _, err := io.WriteString(client, head+rest); err != nil {
			t.Fatal(err)
		}
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := below.SetWriteDeadline(time.Now().Add(20 * time.Second)); err != nil { // CloseWrite has set one that is over
			t.Fatal(err)
		}
		if _, err := below.Conn.Write(below.Bytes()); err != nil {
			t.Fatal(err)
		}
		got, err := bufio.NewReader(client).ReadString('\n')
		if err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%q at the end: got %q, %v", rest, got, err)
		}
	}
}

func TestABodyMustGoOnArriving(t *testing.T) {
	s := startPush(t, func(o *Options) { o.BodyTimeout = 50 * time.Millisecond })
	got := s.ask(t, "PATCH "+s.begin(t, "team/img")+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n12345")
	if !strings.HasPrefix(got, "HTTP/1.1 408 ") {
		t.Errorf("got %q", got)
	}
}

// One deadline for a whole request would end every large upload.
func TestABodyMayTakeLongerThanTheReadTimeout(t *testing.T) {
	const patience = 100 * time.Millisecond
	s := startPush(t, func(o *Options) { o.ReadTimeout = patience })
	client := s.dial(t)
	fmt.Fprintf(client, "PATCH %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n", s.begin(t, "team/img"))
	for range 4 {
		<-time.After(patience / 2) // the client is slow
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := io.ReadAll(client); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 202 ") {
		t.Errorf("got %q, %v", got, err)
	}
}

// What comes after a body's announced end is the next request, and no part of the body.
func TestABodyEndsWhereItWasAnnounced(t *testing.T) {
	s := startPush(t, nil)
	d := digest.FromString("12345").String()
	next := "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for fact, framing := range map[string]string{
		"a length": "Content-Length: 5\r\n\r\n12345",
		"chunks":   "Transfer-Encoding: chunked\r\n\r\n3\r\n123\r\n2\r\n45\r\n0\r\n\r\n",
	} {
		got := s.ask(t, "POST /v2/team/img/blobs/uploads/?digest="+d+" HTTP/1.1\r\nHost: x\r\n"+framing+next)
		if !strings.HasPrefix(got, "HTTP/1.1 201 ") || strings.Count(got, "HTTP/1.1 200 ") != 1 {
			t.Errorf("%s: got %q", fact, got)
		}
	}
	got := s.ask(t, "POST /v2/team/img/blobs/uploads/?digest="+d+" HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n123456789\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 201 ") || strings.Count(got, "HTTP/1.1 ") != 2 || !strings.Contains(got, "HTTP/1.1 400 ") {
		t.Errorf("a body longer than its length: got %q", got)
	}
}

func TestConnectionsAfterPushes(t *testing.T) {
	s := startPush(t, func(o *Options) { o.NoDelete.Blobs = true })
	id := s.begin(t, "team/img")
	image := s.image(t, "team/img", nil)
	large := bytes.Repeat([]byte("x"), 1<<20)
	for _, c := range []struct {
		fact, method, path string
		body               []byte
		status             int
		kept               bool
	}{
		{"a start", "POST", "/v2/team/img/blobs/uploads/", nil, 202, true},
		{"a chunk", "PATCH", id, large, 202, true},
		{"a blob", "POST", "/v2/team/img/blobs/uploads/?digest=" + digest.FromBytes(large).String(), large, 201, true},
		{"the blob again", "POST", "/v2/team/img/blobs/uploads/?digest=" + digest.FromBytes(large).String(), large, 201, true},
		{"a manifest", "PUT", "/v2/team/img/manifests/x", image, 201, true},
		{"an invalid manifest", "PUT", "/v2/team/img/manifests/x", []byte("{}"), 400, true},
		{"a wrong digest", "PUT", id + "?digest=" + sha256, []byte("y"), 400, true},
		{"a deletion", "DELETE", "/v2/team/img/manifests/x", nil, 202, true},
		{"a deletion that is switched off", "DELETE", "/v2/team/img/blobs/" + sha256, nil, 405, true},
		{"an unknown upload", "PATCH", "/v2/team/img/blobs/uploads/nope", large, 404, false},
		{"an upstream's name", "PUT", "/v2/grafana/grafana/manifests/x", image, 403, false},
		{"a body that nobody wants", "POST", "/v2/team/img/blobs/uploads/", large, 202, false},
		{"a body of a pull", "GET", "/v2/team/img/tags/list", []byte("x"), 200, false},
	} {
		transport := &http.Transport{}
		client := &http.Client{Transport: transport}
		ask := func(method, path string, body []byte) (status int, reused bool) {
			trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
			req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), method, "http://"+s.addr+path, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", c.fact, err)
			}
			defer res.Body.Close()
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatalf("%s: %v", c.fact, err)
			}
			return res.StatusCode, reused
		}
		if status, _ := ask(c.method, c.path, c.body); status != c.status {
			t.Errorf("%s: got %d, want %d", c.fact, status, c.status)
		}
		if _, reused := ask("GET", "/v2/", nil); reused != c.kept {
			t.Errorf("%s: the connection was kept: %v", c.fact, reused)
		}
		transport.CloseIdleConnections()
	}
}

// The deadline of a body ends with it.
func TestAConnectionOutlivesTheBodyTimeout(t *testing.T) {
	const patience = 100 * time.Millisecond
	files := writePair(t, t.TempDir(), "x")
	for fact, certificate := range map[string]*TLS{"plain": nil, "TLS": &files} {
		s := startPush(t, func(o *Options) { o.TLS, o.BodyTimeout = certificate, patience })
		var client net.Conn = s.dial(t)
		if certificate != nil {
			client = tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		}
		answers := bufio.NewReader(client)
		for _, c := range []struct{ request, body string }{
			{"POST /v2/team/img/blobs/uploads/?digest=" + digest.FromString("12345").String(), "12345"},
			{"PUT /v2/team/img/manifests/x", "no manifest"},
			{"PUT /v2/team/img/manifests/x", strings.Repeat("x", 2*smallManifest)},
			{"GET /v2/", ""},
		} {
			fmt.Fprintf(client, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", c.request, len(c.body), c.body)
			res, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Errorf("%s, %s: %v", fact, c.request, err)
				break
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.Close || res.StatusCode == 408 {
				t.Errorf("%s, %s: got %d, closed: %v, %v", fact, c.request, res.StatusCode, res.Close, err)
			}
			<-time.After(patience + patience/2) // the client has nothing to ask
		}
	}
}

func TestExpectContinue(t *testing.T) {
	s := startPush(t, nil)
	id := s.begin(t, "team/img")
	image := string(s.image(t, "team/img", nil))
	for _, c := range []struct {
		fact, request, body string
		goOn                bool
		status              int
	}{
		{"an upload", "PATCH " + id, "12345", true, 202},
		{"a manifest", "PUT /v2/team/img/manifests/x", image, true, 201},
		{"a manifest that proves invalid", "PUT /v2/team/img/manifests/x", "{}", true, 400},
		{"a pull", "GET /v2/", "x", true, 200},
		{"an upstream's name", "PUT /v2/grafana/grafana/manifests/x", image, false, 403},
		{"the name of an unknown upstream", "PUT /v2/quay.io/a/manifests/x", image, false, 403},
		{"a manifest that is too long", "PUT /v2/team/img/manifests/x", strings.Repeat("x", manifestLimit+1), false, 413},
		{"no method of this path", "POST /v2/team/img/manifests/x", "x", false, 405},
		{"no name", "PUT /v2/TEAM/manifests/x", "x", false, 400},
	} {
		client := s.dial(t)
		fmt.Fprintf(client, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", c.request, len(c.body))
		answers := bufio.NewReader(client)
		if c.goOn {
			if line, err := answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
				t.Errorf("%s: got %q, %v, want 100", c.fact, line, err)
				continue
			}
			if _, err := answers.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(client, c.body); err != nil {
				t.Fatal(err)
			}
		}
		got, err := io.ReadAll(answers)
		if err != nil || !strings.HasPrefix(string(got), fmt.Sprintf("HTTP/1.1 %d ", c.status)) || strings.Count(string(got), "HTTP/1.1 ") != 1 {
			t.Errorf("%s: got %.200q, %v, want %d", c.fact, got, err, c.status)
		}
	}
}

// Some clients send the body although they have asked whether they should.
func TestARefusalReachesAClientThatDidNotWait(t *testing.T) {
	s := startPush(t, nil)
	transport := &http.Transport{ExpectContinueTimeout: time.Nanosecond}
	defer transport.CloseIdleConnections()
	for range 20 {
		req, err := http.NewRequest("PUT", "http://"+s.addr+"/v2/grafana/grafana/manifests/x", bytes.NewReader(make([]byte, 10<<20)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Expect", "100-continue")
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != 403 {
			t.Errorf("got %d", res.StatusCode)
		}
	}
}

func TestAPanicInAPushClosesTheConnection(t *testing.T) {
	s := startOver(t, storagetest.Around(mem.New(time.Now), func(_ context.Context, op storagetest.Op, _ string, do func() error) error {
		if op == storagetest.Put {
			panic("in a store")
		}
		return do()
	}), nil)
	inner := "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
	got := s.ask(t, fmt.Sprintf("POST /v2/team/img/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", sha256, len(inner), inner))
	if !strings.HasPrefix(got, "HTTP/1.1 500 ") || strings.Count(got, "HTTP/1.1 ") != 1 || strings.Contains(got, "in a store") {
		t.Errorf("got %q", got)
	}
}
