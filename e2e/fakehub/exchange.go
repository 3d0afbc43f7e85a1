package fakehub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// exchange is one request on its way through a service.
type exchange struct {
	hub     *Hub
	w       *recorder
	r       *http.Request
	options Options // as they were when the request came
	began   time.Time
	kind    Kind
	digest  digest.Digest // of what is asked for, where the request names one
	alter   func(*body)   // a fault's change to the body, or nil
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	sent   int64
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

// begin counts the request and waits as long as the Hub is away. The caller must end the exchange.
func (h *Hub) begin(w http.ResponseWriter, r *http.Request, kind Kind) *exchange {
	x := &exchange{hub: h, w: &recorder{ResponseWriter: w}, r: r, kind: kind, options: h.current(), began: time.Now()}
	if d, err := digest.Parse(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]); err == nil {
		x.digest = d
	}
	h.count(kind)
	x.sleep(x.options.Latency)
	return x
}

// sleep ends early when the client leaves.
func (x *exchange) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.r.Context().Done():
	}
}

// end records the request, whether it was answered or broken off.
func (x *exchange) end() {
	done := Request{Time: x.began, Kind: x.kind, Method: x.r.Method, URI: x.r.URL.RequestURI(), Host: x.r.Host,
		Header: x.r.Header, Remote: x.r.RemoteAddr, Status: x.w.status, Sent: x.w.sent}
	x.hub.record(done)
	if x.hub.log != nil {
		fmt.Fprintf(x.hub.log, "%s %-13s %s %s range=%q -> %d, %d bytes, %s\n", done.Time.Format("15:04:05.000"), done.Kind,
			done.Method, done.URI, x.r.Header.Get("Range"), done.Status, done.Sent, time.Since(x.began).Round(time.Millisecond))
	}
}

// fail answers with the registry's JSON for errors.
func (x *exchange) fail(status int, code, message string) {
	x.w.Header().Set("Content-Type", "application/json")
	x.w.WriteHeader(status)
	if x.r.Method == http.MethodHead {
		return
	}
	type problem struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	json.NewEncoder(x.w).Encode(map[string][]problem{"errors": {{code, message}}})
}

// abort breaks the connection (in HTTP/2, the stream) after what was written has left.
func (x *exchange) abort() {
	http.NewResponseController(x.w).Flush()
	panic(http.ErrAbortHandler)
}
