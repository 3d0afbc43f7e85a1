package clients

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// exchange is one request of a client and how it was answered.
type exchange struct {
	method, path string
	query        url.Values
	header       http.Header // of the request
	sent         int64       // bytes of the request's body
	status       int         // 0 when no answer came

	open int // of request and answer, those that have not ended
}

// recorder is a relay that reads along: it parses the conversation that it passes on, and changes no byte of it either.
type recorder struct {
	*relay

	record sync.Mutex // guards list and the exchanges in it
	list   []*exchange
}

func newRecorder(t *testing.T, target string) *recorder {
	t.Helper()
	r := &recorder{relay: &relay{target: target}}
	r.relay.join = r.readAlong
	r.start(t)
	return r
}

// readAlong passes both directions on. What is read along goes first, so that a client never has an answer to a request that is
// not in the list. All ends when the two connections do.
func (r *recorder) readAlong(client, server net.Conn) {
	requests, request := io.Pipe()
	answers, answer := io.Pipe()
	asked := make(chan *exchange)
	r.wg.Go(func() {
		pass(server, io.MultiWriter(request, server), client)
		request.Close()
	})
	r.wg.Go(func() {
		pass(client, io.MultiWriter(answer, client, counter{&r.moved}), server)
		answer.Close()
	})
	r.wg.Go(func() { r.readRequests(requests, asked) })
	r.wg.Go(func() { r.readAnswers(answers, asked) })
}

func (r *recorder) readRequests(from io.Reader, asked chan<- *exchange) {
	buffered := bufio.NewReader(from)
	for {
		req, err := http.ReadRequest(buffered)
		if err != nil {
			break
		}
		e := &exchange{method: req.Method, path: req.URL.Path, query: req.URL.Query(), header: req.Header, open: 2}
		r.locked(func() { r.list = append(r.list, e) })
		asked <- e
		n, _ := io.Copy(io.Discard, req.Body) // a body that was cut counts as far as it came
		r.locked(func() { e.sent, e.open = n, e.open-1 })
	}
	close(asked)
	io.Copy(io.Discard, from)
}

func (r *recorder) readAnswers(from io.Reader, asked <-chan *exchange) {
	buffered := bufio.NewReader(from)
	for e := range asked {
		status := readAnswer(buffered, e.method)
		r.locked(func() { e.status, e.open = status, e.open-1 })
	}
	io.Copy(io.Discard, from)
}

// readAnswer returns the final status, or 0 when the connection ends first.
func readAnswer(from *bufio.Reader, method string) int {
	for {
		resp, err := http.ReadResponse(from, &http.Request{Method: method})
		if err != nil {
			return 0
		}
		io.Copy(io.Discard, resp.Body)
		if resp.StatusCode >= http.StatusOK {
			return resp.StatusCode
		}
	}
}

func (r *recorder) locked(do func()) {
	r.record.Lock()
	defer r.record.Unlock()
	do()
}

// reset forgets the exchanges so far.
func (r *recorder) reset() {
	r.moved.Store(0)
	r.locked(func() { r.list = nil })
}

// exchanges are those since the last reset. Clients that ended may have ended before their last answer was read along.
func (r *recorder) exchanges(t *testing.T) []exchange {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var all []exchange
		r.locked(func() {
			for _, e := range r.list {
				all = append(all, *e)
			}
		})
		if !slices.ContainsFunc(all, func(e exchange) bool { return e.open > 0 }) {
			return all
		}
	}
	t.Fatal("a request is still unanswered after 10 s")
	return nil
}
