package main

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// asked counts requests to S3 by kind.
type asked struct {
	mu sync.Mutex
	n  map[string]int
}

// counting lets a fake count what it is asked from now on.
func (f *fakeS3) counting() *asked {
	a := &asked{n: map[string]int{}}
	f.fails(func(_ http.ResponseWriter, r *http.Request) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		kind := r.Method
		if r.URL.Query().Has("list-type") {
			kind = "LIST"
		}
		a.n[kind]++
		return false
	})
	return a
}

// take gives what was asked since the last time: "2 GET, 1 PUT", or "0".
func (a *asked) take() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(a.n)) {
		all = append(all, fmt.Sprintf("%d %s", a.n[kind], kind))
	}
	a.n = map[string]int{}
	if all == nil {
		return "0"
	}
	return strings.Join(all, ", ")
}

// stored waits until the bucket has so many objects of the cache: servers put them there behind their answers.
func (f *fakeS3) stored(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		there := 0
		for info, err := range f.objects.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(info.Key, "cache/") {
				there++
			}
		}
		if there >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the bucket has %d objects of the cache, want %d", there, n)
		}
	}
}

// The figures are those of docs/scaling.md, which people reckon with.
func TestWhatS3IsAsked(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "scaling.md"))
	if err != nil {
		t.Fatal(err)
	}
	f, u := newFakeS3(t), newUpstreamRegistry(t)
	one, other := f.startOn(t, "UPSTREAMS=docker.io="+u.URL, "HOSTED=own"), f.startOn(t, "UPSTREAMS=docker.io="+u.URL, "HOSTED=own")
	layer, config := strings.Repeat("layer ", 10<<10), "{}"
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		digest.FromString(config), digest.FromString(layer), len(layer))
	one.pushLikeDocker(config, 1)
	a := f.counting()
	for _, c := range []struct {
		work string // as the page has it
		do   func()
		want string
	}{
		{"push of a blob as docker does it (HEAD, POST, PATCH, PUT), up to 16 MiB", func() { one.pushLikeDocker(layer, 1) }, "7 GET, 10 PUT"},
		{"push of a manifest that names two blobs", func() {
			one.wants(http.StatusCreated, http.MethodPut, "/v2/own/app/manifests/1", manifest, "Content-Type", "application/vnd.oci.image.manifest.v1+json")
		}, "13 GET, 4 PUT"},
		{"pull of a hosted manifest by tag", func() { one.wants(http.StatusOK, http.MethodGet, "/v2/own/app/manifests/1", "") }, "2 GET"},
		{"pull of a hosted manifest by digest", func() {
			one.wants(http.StatusOK, http.MethodGet, "/v2/own/app/manifests/"+digest.FromString(manifest).String(), "")
		}, "1 GET"},
		{"pull of a hosted blob", func() {
			one.wants(http.StatusOK, http.MethodGet, "/v2/own/app/blobs/"+digest.FromString(layer).String(), "")
		}, "3 GET"},
		{"first pull of a manifest by tag and one blob, from upstream", func() { one.pull(u); f.stored(t, 5) }, "6 GET, 1 HEAD, 5 PUT"},
		{"pull of what is cached", func() { one.pull(u) }, "0"},
		{"first pull of both at another server, from the bucket", func() { other.pull(u) }, "5 GET"},
	} {
		a.take()
		c.do()
		if got := a.take(); got != c.want {
			t.Errorf("%s: %s, want %s", c.work, got, c.want)
		}
		if !strings.Contains(string(page), "| "+c.work+" | "+c.want) {
			t.Errorf("docs/scaling.md does not say that a %s is %s", c.work, c.want)
		}
	}

	three := layer + "of three requests"
	one.pushLikeDocker(three, 3)
	a.take()
	one.wants(http.StatusOK, http.MethodGet, "/v2/own/app/blobs/"+digest.FromString(three).String(), "")
	if got := a.take(); got != "5 GET" {
		t.Errorf("a pull of a blob that was pushed with three requests: %s", got)
	}
}

// wants asks, and gives the header of the answer.
func (r *running) wants(status int, method, path, body string, header ...string) http.Header {
	r.t.Helper()
	got, answered := r.ask(method, path, body, header...)
	if got != status {
		r.t.Fatalf("%s %s: %d, want %d", method, path, got, status)
	}
	return answered
}

// pushLikeDocker looks for a blob, and sends it in so many requests.
func (r *running) pushLikeDocker(blob string, requests int) {
	r.t.Helper()
	d := digest.FromString(blob).String()
	r.wants(http.StatusNotFound, http.MethodHead, "/v2/own/app/blobs/"+d, "")
	at := r.wants(http.StatusAccepted, http.MethodPost, "/v2/own/app/blobs/uploads/", "").Get("Location")
	for i := range requests {
		part := blob[len(blob)*i/requests : len(blob)*(i+1)/requests]
		at = r.wants(http.StatusAccepted, http.MethodPatch, at, part).Get("Location")
	}
	r.wants(http.StatusCreated, http.MethodPut, at+"?digest="+d, "")
}
