package compose

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/e2e/sandbox"
	"github.com/entrepot/entrepot/e2e/server"
)

// newBalancer runs deploy/replicas/haproxy.cfg before two servers. Only addresses are changed, and what edit changes.
func newBalancer(t *testing.T, edit *strings.Replacer, first, second *httptest.Server) (url string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(server.Root(), "deploy", "replicas", "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	front := server.FreeAddr(t)
	cfg := edit.Replace(strings.NewReplacer(
		"bind :5000", "bind "+front, "127.0.0.1:8404", server.FreeAddr(t),
		"entrepot-1:5000", first.Listener.Addr().String(), "entrepot-2:5000", second.Listener.Addr().String(),
	).Replace(string(text)))
	b := sandbox.New(t)
	b.Daemon(func() error {
		resp, err := http.Get("http://" + front + "/v2/")
		if err == nil {
			resp.Body.Close()
		}
		return err
	}, "haproxy", "-db", "-f", b.File("haproxy.cfg", cfg))
	return "http://" + front
}

func newBackend(t *testing.T, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

var asItIs = strings.NewReplacer()

func newSayer(t *testing.T, text string) *httptest.Server {
	return newBackend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(content)
}

// TestBalancerStreams would wait for ever if bodies were collected.
func TestBalancerStreams(t *testing.T) {
	arrived := make(chan string)
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPatch {
			return
		}
		beginning := make([]byte, 5)
		if _, err := io.ReadFull(r.Body, beginning); err != nil {
			t.Error(err)
		}
		arrived <- string(beginning)
		rest, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, "begun")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-arrived
		fmt.Fprint(w, len(rest))
	}
	url := newBalancer(t, asItIs, newBackend(t, h), newBackend(t, h))
	body, client := io.Pipe()
	go func() { // ends with the request
		fmt.Fprint(client, "first")
		if got := <-arrived; got != "first" {
			t.Errorf("%q arrived", got)
		}
		client.CloseWithError(func() error { _, err := client.Write(make([]byte, 1<<20)); return err }())
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, url+"/v2/x/blobs/uploads/1", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	beginning := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, beginning); err != nil || string(beginning) != "begun" {
		t.Fatalf("%q %v", beginning, err)
	}
	arrived <- ""
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "1048576" {
		t.Errorf("%q %v", rest, err)
	}
}

// TestBalancerWithoutOneServer is over before the balancer has checked twice whether the server is there.
func TestBalancerWithoutOneServer(t *testing.T) {
	first := newSayer(t, "first")
	url := newBalancer(t, asItIs, first, newSayer(t, "second"))
	first.Close()
	for range 20 {
		if status, body := get(t, url+"/v2/x/manifests/1"); status != http.StatusOK || body != "second" {
			t.Fatalf("%d %s", status, body)
		}
	}
}

// TestBalancerAsksForHealth: who wants a login is well.
func TestBalancerAsksForHealth(t *testing.T) {
	checked, enough := make(chan string), make(chan struct{})
	answer := func(name string, health int) *httptest.Server {
		return newBackend(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "entrepot" {
				fmt.Fprint(w, name)
				return
			}
			w.WriteHeader(health)
			select {
			case checked <- name:
			case <-enough:
			}
		})
	}
	url := newBalancer(t, asItIs, answer("first", http.StatusUnauthorized), answer("second", http.StatusBadGateway))
	times := map[string]int{}
	for times["first"] < 3 || times["second"] < 3 { // a third check is after the second one counts
		times[<-checked]++
	}
	close(enough)
	for range 20 {
		if _, body := get(t, url+"/v2/x/manifests/1"); body != "first" {
			t.Fatalf("%s answers", body)
		}
	}
}

func TestBalancerNamesTheClient(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Proto"], r.Header["X-Forwarded-Host"])
	}
	url := newBalancer(t, asItIs, newBackend(t, h), newBackend(t, h))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "registry.example"
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"} {
		req.Header.Set(name, "made-up")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	const want = "registry.example[made-up 127.0.0.1] [http] []" // the last name counts
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != want {
		t.Errorf("%s %v, want %s", body, err, want)
	}
}

func TestBalancerByDigest(t *testing.T) {
	option := strings.NewReplacer("    balance leastconn\n", "", "    #balance", "    balance", "    #hash", "    hash")
	url := newBalancer(t, option, newSayer(t, "first"), newSayer(t, "second"))
	var used []string
	for i := range 20 {
		d := digest.FromString(fmt.Sprint(i))
		var answers []string
		for _, path := range []string{"team/app/blobs/", "library/nginx/blobs/", "localhost:5000/x/blobs/", "team/app/manifests/"} {
			status, body := get(t, url+"/v2/"+path+d.String()+"?ns=docker.io")
			if status != http.StatusOK {
				t.Fatal(status)
			}
			answers = append(answers, body)
		}
		if slices.Sort(answers); answers[0] != answers[len(answers)-1] {
			t.Errorf("%s is at %v", d, answers)
		}
		used = append(used, answers[0])
	}
	if !slices.Contains(used, "first") || !slices.Contains(used, "second") {
		t.Errorf("not all servers are used: %v", used)
	}
}
