package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/s3"
)

type fault = func(w http.ResponseWriter, r *http.Request, serve func(w http.ResponseWriter))

// first applies bad to the first n requests of a kind.
func first(n int64, of string, bad fault) fault {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, serve func(w http.ResponseWriter)) {
		if kind(r) != of || seen.Add(1) > n {
			serve(w)
			return
		}
		bad(w, r, serve)
	}
}

const always = 1 << 40

func status(code int, name string) fault {
	return func(w http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) {
		_, _ = io.Copy(io.Discard, r.Body) // a client that is gone is what is tested elsewhere
		refuse(w, code, name)
	}
}

// lost does what was asked and breaks the connection.
func lost(_ http.ResponseWriter, _ *http.Request, serve func(http.ResponseWriter)) {
	serve(httptest.NewRecorder())
	panic(http.ErrAbortHandler)
}

// half announces all and sends half.
func half(w http.ResponseWriter, serve func(http.ResponseWriter)) {
	whole := httptest.NewRecorder()
	serve(whole)
	for name, values := range whole.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(whole.Code)
	_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
	_ = http.NewResponseController(w).Flush() // or the client is gone
}

// cutAnswer breaks the connection in the middle of an answer.
func cutAnswer(w http.ResponseWriter, _ *http.Request, serve func(http.ResponseWriter)) {
	half(w, serve)
	panic(http.ErrAbortHandler)
}

// stall sends half and then nothing.
func stall(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter)) {
	half(w, serve)
	<-r.Context().Done()
}

// cutBody breaks the connection in the middle of a request.
func cutBody(_ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) {
	_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
	panic(http.ErrAbortHandler)
}

// hang answers nothing until the client has gone.
func hang(_ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) {
	_, _ = io.Copy(io.Discard, r.Body) // the server hears of a client that goes only after its body
	<-r.Context().Done()
}

func encryptionSeen(asked *[]string) fault {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, serve func(w http.ResponseWriter)) {
		const name = "X-Amz-Server-Side-Encryption"
		mu.Lock()
		*asked = append(*asked, fmt.Sprintf("%s %s %s", kind(r), r.Header.Get(name), r.Header.Get(name+"-Aws-Kms-Key-Id")))
		mu.Unlock()
		serve(w)
	}
}

func quick(o *s3.Options) { o.Timeout = 100 * time.Millisecond }

// operations does each of them to object "a" and gives its error, all at once.
func operations(ctx context.Context, s storage.Store) map[string]error {
	ops := map[string]func() error{
		"stat":   func() error { _, err := s.Stat(ctx, "a"); return err },
		"open":   func() error { return opens(ctx, s, 0, -1) },
		"range":  func() error { return opens(ctx, s, 2, 3) },
		"get":    func() error { _, _, err := s.Get(ctx, "a"); return err },
		"put":    func() error { return s.Put(ctx, "a", strings.NewReader("x"), 1) },
		"stream": func() error { return s.Put(ctx, "a", io.LimitReader(zeros{}, 6<<20), 6<<20) },
		"create": func() error { _, err := s.PutIf(ctx, "a", []byte("x"), storage.Absent); return err },
		"putif":  func() error { _, err := s.PutIf(ctx, "a", []byte("x"), "v"); return err },
		"delete": func() error { return s.Delete(ctx, "a") },
		"list": func() (err error) {
			for _, err = range s.List(ctx, "", "") {
			}
			return err
		},
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	result := make(map[string]error)
	for name, op := range ops {
		all.Go(func() {
			err := op()
			mu.Lock()
			defer mu.Unlock()
			result[name] = err
		})
	}
	all.Wait()
	return result
}

func opens(ctx context.Context, s storage.Store, off, n int64) error {
	r, _, err := s.Open(ctx, "a", off, n)
	if err != nil {
		return err
	}
	return r.Close()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAServerThatFailsIsNoAnswerAboutAnObject(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault fault
		want  string // in the error
	}{
		{"no bucket", status(404, "NoSuchBucket"), "NoSuchBucket"},
		{"forbidden", status(403, "AccessDenied"), "403"},
		{"not S3", func(w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) {
			http.Error(w, "nothing here", 404)
		}, "404"},
		{"another region", status(301, "PermanentRedirect"), "301"},
		{"always busy", status(503, "SlowDown"), "503"},
		{"broken connections", func(http.ResponseWriter, *http.Request, func(http.ResponseWriter)) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, quirks{})
			s := f.open(t)
			f.fail(c.fault)
			for op, err := range operations(t.Context(), s) {
				if err == nil || errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrRange) {
					t.Errorf("%s: %v", op, err)
					continue
				}
				head := op == "stat" // has only its status
				if !head && !strings.Contains(err.Error(), c.want) && !strings.Contains(err.Error(), "reset") {
					t.Errorf("%s: %v, want %s in it", op, err, c.want)
				}
				if dump := fmt.Sprintf("%v %+v", err, err); strings.Contains(dump, secret) || strings.Contains(dump, "Signature") || strings.Contains(dump, "AWS4") {
					t.Errorf("%s tells what signs requests: %s", op, dump)
				}
			}
		})
	}
}

func TestAServerThatRefusesConnections(t *testing.T) {
	t.Parallel()
	f := newFake(t, quirks{})
	s := f.open(t, func(o *s3.Options) { o.Endpoint = "http://127.0.0.1:1" })
	for op, err := range operations(t.Context(), s) {
		if err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestAServerThatIsBusyTwiceIsAskedAgain(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"HEAD", "GET", "PUT", "DELETE", "GET list", "POST upload", "PUT part"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, quirks{})
			s := f.open(t)
			if err := s.Put(t.Context(), "a", strings.NewReader("0123456789"), 10); err != nil {
				t.Fatal(err)
			}
			f.fail(first(2, kind, status(503, "SlowDown")))
			for op, err := range operations(t.Context(), s) {
				if err != nil && op != "create" && op != "putif" && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrRange) {
					t.Errorf("%s: %v", op, err)
				}
			}
			if n := f.count(kind); n < 3 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestAServerThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	f := newFake(t, quirks{})
	s := f.open(t, quick)
	f.fail(hang)
	for op, err := range operations(t.Context(), s) {
		if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want os.ErrDeadlineExceeded", op, err)
		}
	}
}

func TestACallerWhoLeavesWaitsForNothing(t *testing.T) {
	f := newFake(t, quirks{})
	s := f.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	f.fail(func(w http.ResponseWriter, r *http.Request, serve func(w http.ResponseWriter)) {
		if kind(r) == "DELETE upload" {
			serve(w)
			return
		}
		if asked.Add(1) == 10 { // all operations wait
			cancel()
		}
		hang(w, r, serve)
	})
	for op, err := range operations(ctx, s) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", op, err)
		}
	}
}

func TestAFullServerIsNoSpace(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
	}{{403, "QuotaExceeded"}, {507, "InsufficientStorage"}, {507, "XMinioStorageFull"}, {400, "XMinioAdminBucketQuotaExceeded"}} {
		f := newFake(t, quirks{})
		s := f.open(t)
		f.fail(func(w http.ResponseWriter, r *http.Request, serve func(w http.ResponseWriter)) {
			if r.Method != http.MethodPut {
				serve(w)
				return
			}
			status(c.status, c.code)(w, r, serve)
		})
		result := operations(t.Context(), s)
		for _, op := range []string{"put", "stream", "create", "putif"} {
			if !errors.Is(result[op], storage.ErrNoSpace) {
				t.Errorf("%s: %s: %v, want ErrNoSpace", c.code, op, result[op])
			}
		}
		if objects, uploads := f.left(); objects+uploads != 0 {
			t.Errorf("%s: %d objects and %d uploads left behind", c.code, objects, uploads)
		}
	}
}
