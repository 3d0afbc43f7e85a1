package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// gate is a store that stops the next operations of one kind.
type gate struct {
	op      storagetest.Op
	late    bool          // it stops them at their end
	stops   atomic.Int64  // operations that are still to be stopped
	panics  atomic.Bool   // instead
	stopped chan struct{} // gets an element for each
	open    chan struct{} // lets them all go on
}

func newGate(op storagetest.Op) *gate {
	return &gate{op: op, stopped: make(chan struct{}, 100), open: make(chan struct{})}
}

func (g *gate) hook(_ context.Context, op storagetest.Op, _ string, do func() error) error {
	if op != g.op || g.stops.Add(-1) < 0 {
		return do()
	}
	if g.panics.Load() {
		panic("in a store")
	}
	var err error
	if g.late {
		err = do()
	}
	g.stopped <- struct{}{}
	<-g.open
	if !g.late {
		err = do()
	}
	return err
}

// await returns once one more operation is stopped.
func (g *gate) await(t *testing.T) {
	t.Helper()
	select {
	case <-g.stopped:
	case <-time.After(20 * time.Second):
		close(g.open)
		t.Fatal("the request does not come so far")
	}
}

// startAt is startPush over a gate.
func startAt(t *testing.T, g *gate, change func(*Options)) *running {
	t.Helper()
	return startOver(t, storagetest.Around(mem.New(time.Now), g.hook), change)
}

// sendAside is send on another goroutine, which ends with its request. The channel gets the status, 0 for none.
func (r *running) sendAside(method, path string, body io.Reader, header ...string) chan int {
	status := make(chan int, 1)
	go func() {
		res, _, err := r.try(method, path, body, header...)
		if err != nil {
			res = &http.Response{}
		}
		status <- res.StatusCode
	}()
	return status
}

// refusedFor fails unless there was no place for a request.
func (r *running) refusedFor(t *testing.T, why, method, path string, body io.Reader) {
	t.Helper()
	res, got := r.send(t, method, path, body)
	code, message := refusal(got)
	if res.StatusCode != 503 || code != string(CodeUnavailable) || !strings.Contains(message, why) || res.Header.Get("Retry-After") != "1" {
		t.Errorf("%s %s: got %d, %v, %s, want 503", method, path, res.StatusCode, res.Header, got)
	}
}

func TestLargeManifestsHaveFewPlaces(t *testing.T) {
	g := newGate(storagetest.PutIf)
	s := startAt(t, g, func(o *Options) { o.BodyTimeout = time.Second })
	const path, mediaType = "/v2/team/img/manifests/", ocispec.MediaTypeImageManifest
	large, small := manifestOf(t, s, smallManifest+1), manifestOf(t, s, smallManifest)
	g.stops.Store(mostLarge)
	var others []chan int
	for i := range mostLarge {
		others = append(others, s.sendAside("PUT", fmt.Sprintf("%slarge%d", path, i), inChunks{bytes.NewReader(large)}, "Content-Type", mediaType))
	}
	for range others {
		g.await(t)
	}
	for fact, body := range map[string]io.Reader{"small": bytes.NewReader(small), "small-in-chunks": inChunks{bytes.NewReader(small)}} {
		s.expect(t, 201, "PUT", path+fact, body, "Content-Type", mediaType)
	}
	s.refusedFor(t, "large manifests", "PUT", path+"large", bytes.NewReader(large))
	s.refusedFor(t, "large manifests", "PUT", path+"large", inChunks{bytes.NewReader(large)})
	close(g.open)
	for i, other := range others {
		if got := <-other; got != 201 {
			t.Errorf("large manifest %d: got %d", i, got)
		}
	}
	s.expect(t, 201, "PUT", path+"large", bytes.NewReader(large), "Content-Type", mediaType)
}

// As many failures as there are places leave the places free.
func TestLargeManifestsLeaveTheirPlaces(t *testing.T) {
	g := newGate(storagetest.PutIf)
	s := startAt(t, g, func(o *Options) { o.BodyTimeout = 2 * time.Second })
	const path, mediaType = "/v2/team/img/manifests/", ocispec.MediaTypeImageManifest
	large := manifestOf(t, s, 2*smallManifest)
	cut := fmt.Sprintf("PUT %sx HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, len(large)+1, large)
	for _, c := range []struct {
		fact   string
		status int
		push   func() int
	}{
		{"another digest", 400, func() int {
			res, _ := s.send(t, "PUT", path+sha256, bytes.NewReader(large), "Content-Type", mediaType)
			return res.StatusCode
		}},
		{"more than the limit", 413, func() int {
			res, _ := s.send(t, "PUT", path+"x", inChunks{&zeros{manifestLimit + 1}}, "Content-Type", mediaType)
			return res.StatusCode
		}},
		{"a body that was cut off", 400, func() int { return s.askCut(t, cut) }},
		{"a panic", 500, func() int {
			g.panics.Store(true)
			g.stops.Store(1)
			res, _ := s.send(t, "PUT", path+"x", bytes.NewReader(large), "Content-Type", mediaType)
			return res.StatusCode
		}},
	} {
		for range mostLarge {
			if got := c.push(); got != c.status {
				t.Errorf("%s: got %d, want %d", c.fact, got, c.status)
			}
		}
		s.expect(t, 201, "PUT", path+"x", bytes.NewReader(large), "Content-Type", mediaType)
	}
}

// askCut is ask by a client that ends its side, and gives the status.
func (r *running) askCut(t *testing.T, request string) (status int) {
	t.Helper()
	client := r.dial(t)
	if _, err := io.WriteString(client, request); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(got), "HTTP/1.1 %d ", &status); err != nil {
		t.Fatalf("got %q: %v", got, err)
	}
	return status
}

func TestUploadsHaveFewPlaces(t *testing.T) {
	g := newGate(storagetest.Put)
	s := startAt(t, g, func(o *Options) { o.BodyTimeout, o.MaxUploads = 500*time.Millisecond, 2 })
	d := digest.FromString("12345").String()
	whole, id, other := "/v2/team/img/blobs/uploads/?digest="+d, s.begin(t, "team/img"), s.begin(t, "team/img")
	s.expect(t, 202, "PATCH", id, strings.NewReader("12345"))
	image := s.image(t, "team/img", nil)
	g.stops.Store(2)
	first, second := s.sendAside("POST", whole, strings.NewReader("12345")), s.sendAside("PATCH", other, inChunks{strings.NewReader("12345")})
	g.await(t)
	g.await(t)
	s.refusedFor(t, "uploads", "POST", whole, strings.NewReader("12345"))
	s.refusedFor(t, "uploads", "PATCH", id, strings.NewReader("6"))
	s.refusedFor(t, "uploads", "PATCH", id, inChunks{strings.NewReader("6")})
	s.refusedFor(t, "uploads", "PUT", id+"?digest="+d, strings.NewReader("6"))
	s.expect(t, 204, "GET", id, nil)
	s.expect(t, 201, "PUT", id+"?digest="+d, nil)
	s.expect(t, 202, "POST", "/v2/team/img/blobs/uploads/", nil)
	s.expect(t, 201, "PUT", "/v2/team/img/manifests/x", bytes.NewReader(image), "Content-Type", ocispec.MediaTypeImageManifest)
	close(g.open)
	if a, b := <-first, <-second; a != 201 || b != 202 {
		t.Errorf("the uploads under way: got %d and %d", a, b)
	}
	s.expect(t, 201, "PUT", other+"?digest="+digest.FromString("123456").String(), strings.NewReader("6"))
}

// A single place is enough for one upload after the other, however they end.
func TestUploadsLeaveTheirPlaces(t *testing.T) {
	g := newGate(storagetest.Put)
	s := startAt(t, g, func(o *Options) { o.BodyTimeout, o.MaxUploads = 500*time.Millisecond, 1 })
	d := digest.FromString("12345").String()
	whole, id := "/v2/team/img/blobs/uploads/?digest="+d, s.begin(t, "team/img")
	long := make([]byte, 1<<20) // which nobody reads to its end
	head := "PATCH " + id + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n12345"
	for _, c := range []struct {
		fact   string
		status int
		push   func() int
	}{
		{"whole", 201, func() int { return <-s.sendAside("POST", whole, strings.NewReader("12345")) }},
		{"another digest", 400, func() int { return <-s.sendAside("POST", whole, strings.NewReader("x")) }},
		{"out of order", 416, func() int { return <-s.sendAside("PATCH", id, strings.NewReader("x"), "Content-Range", "7-7") }},
		{"of another length", 400, func() int { return <-s.sendAside("PATCH", id, strings.NewReader("x"), "Content-Range", "0-7") }},
		{"unknown", 404, func() int { return <-s.sendAside("PATCH", id+"x", bytes.NewReader(long)) }},
		{"cut off", 400, func() int { return s.askCut(t, head) }},
		{"stalled", 408, func() int {
			var status int
			_, err := fmt.Sscanf(s.ask(t, head), "HTTP/1.1 %d ", &status)
			if err != nil {
				t.Error(err)
			}
			return status
		}},
		{"a panic", 500, func() int {
			g.panics.Store(true)
			g.stops.Store(1)
			return <-s.sendAside("PATCH", id, bytes.NewReader(long))
		}},
		{"the end", 201, func() int { return <-s.sendAside("PUT", id+"?digest="+d, strings.NewReader("12345")) }},
	} {
		if got := c.push(); got != c.status {
			t.Errorf("%s: got %d, want %d", c.fact, got, c.status)
		}
		g.stops.Store(0)
		s.expect(t, 201, "POST", whole, strings.NewReader("12345"))
	}
}

// What waits for a place is taken in once there is one.
func TestUploadsWaitForAPlace(t *testing.T) {
	g := newGate(storagetest.Put)
	s := startAt(t, g, func(o *Options) { o.MaxUploads = 1 })
	whole := "/v2/team/img/blobs/uploads/?digest=" + digest.FromString("12345").String()
	g.stops.Store(1)
	first := s.sendAside("POST", whole, strings.NewReader("12345"))
	g.await(t)
	all := []chan int{first}
	for range 8 {
		all = append(all, s.sendAside("POST", whole, strings.NewReader("12345")))
		s.expect(t, 200, "GET", "/v2/", nil) // which gives it time to come
	}
	close(g.open)
	for i, one := range all {
		if got := <-one; got != 201 {
			t.Errorf("upload %d: got %d", i, got)
		}
	}
}

// Only bytes that are being read take a place, not what is done with them.
func TestUploadsThatHaveArrivedHoldNoPlace(t *testing.T) {
	g := newGate(storagetest.Put)
	g.late = true
	s := startAt(t, g, func(o *Options) { o.BodyTimeout, o.MaxUploads = 500*time.Millisecond, 1 })
	first, second := s.begin(t, "team/img"), s.begin(t, "team/img")
	g.stops.Store(1)
	patched := s.sendAside("PATCH", first, strings.NewReader("12345"))
	g.await(t)
	s.expect(t, 202, "PATCH", second, strings.NewReader("12345"))
	close(g.open)
	if got := <-patched; got != 202 {
		t.Errorf("got %d", got)
	}
}

// The bytes of a blob may come slowly for hours; those of a manifest are kept in memory meanwhile.
func TestAManifestMustArriveInTime(t *testing.T) {
	s := startPush(t, func(o *Options) { o.BodyTimeout = 200 * time.Millisecond })
	client := s.dial(t)
	fmt.Fprint(client, "PUT /v2/team/img/manifests/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	answered := make(chan struct{})
	go func() { // ends once the answer has come, or the connection's deadline
		for {
			select {
			case <-answered:
				return
			case <-time.After(20 * time.Millisecond): // the client is slow
			}
			if _, err := io.WriteString(client, "1\r\nx\r\n"); err != nil {
				return
			}
		}
	}()
	got := make([]byte, len("HTTP/1.1 408 "))
	_, err := io.ReadFull(client, got)
	close(answered)
	if err != nil || string(got) != "HTTP/1.1 408 " {
		t.Errorf("got %q, %v", got, err)
	}
}
