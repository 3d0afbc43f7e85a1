package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/s3"
)

func TestAWriteWhoseAnswerWasLostIsReadBack(t *testing.T) {
	t.Parallel()
	storedAnd := func(code int) fault {
		return func(w http.ResponseWriter, _ *http.Request, serve func(http.ResponseWriter)) {
			serve(httptest.NewRecorder())
			refuse(w, code, "InternalError")
		}
	}
	for _, c := range []struct {
		name  string
		fault fault
	}{
		{"the connection broke once", first(1, "PUT", lost)},
		{"it broke each time", first(always, "PUT", lost)},
		{"the server failed after it had stored", first(always, "PUT", storedAnd(500))},
		{"it said that it was busy", first(1, "PUT", storedAnd(503))},
		{"it hung", first(always, "PUT", func(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter)) {
			serve(httptest.NewRecorder())
			<-r.Context().Done()
		})},
		{"it gave no ETag", first(1, "PUT", func(w http.ResponseWriter, _ *http.Request, serve func(http.ResponseWriter)) {
			serve(httptest.NewRecorder())
			w.WriteHeader(http.StatusOK)
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, quirks{})
			s := f.open(t, func(o *s3.Options) { o.Timeout = 2 * time.Second })
			f.fail(c.fault)
			version, err := s.PutIf(t.Context(), "r", []byte("nonce 1"), storage.Absent)
			if err != nil {
				t.Fatalf("create: %v", err)
			}
			f.fail(nil)
			record, now, err := s.Get(t.Context(), "r")
			if string(record) != "nonce 1" || now != version || err != nil {
				t.Fatalf("Get = %q, %q, %v; want version %q", record, now, err, version)
			}
			if _, err := s.PutIf(t.Context(), "r", []byte("nonce 2"), version); err != nil {
				t.Errorf("at the version that was given: %v", err)
			}
		})
	}
}

func TestAWriteThatLostIsNeverTakenForOneThatWon(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		fault    fault
		conflict bool // or else unknown
		reads    int
	}{
		{"refused at once", nil, true, 0},
		{"refused after a connection broke", first(1, "PUT", cutBody), true, 1},
		{"refused after the server was busy", first(1, "PUT", status(503, "SlowDown")), true, 1},
		{"another is being written", first(1, "PUT", status(409, "ConditionalRequestConflict")), true, 0},
		{"the server fails", first(always, "PUT", status(500, "InternalError")), false, 1},
		{"forbidden", first(always, "PUT", status(403, "AccessDenied")), false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, quirks{})
			s := f.open(t)
			if _, err := s.PutIf(t.Context(), "r", []byte("theirs"), storage.Absent); err != nil {
				t.Fatal(err)
			}
			f.fail(c.fault)
			_, err := s.PutIf(t.Context(), "r", []byte("ours"), storage.Absent)
			if err == nil || errors.Is(err, storage.ErrConflict) != c.conflict {
				t.Errorf("PutIf = %v, conflict %t", err, c.conflict)
			}
			if n := f.count("GET"); n != c.reads {
				t.Errorf("read back %d times, want %d", n, c.reads)
			}
		})
	}
}

func TestAConflictWithAnAbsentRecordIsNothingElse(t *testing.T) {
	f := newFake(t, quirks{})
	_, err := f.open(t).PutIf(t.Context(), "r", []byte("ours"), "v")
	if !errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrNotFound) {
		t.Errorf("PutIf = %v", err)
	}
	if n := f.count("GET"); n != 0 {
		t.Errorf("read back %d times", n)
	}
}

func TestAnUploadWhoseAnswersWereLost(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"PUT", "PUT part", "POST upload"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, quirks{})
			s := f.open(t)
			if kind == "POST upload" {
				f.fail(first(1, "POST upload", func(w http.ResponseWriter, _ *http.Request, serve func(http.ResponseWriter)) {
					serve(w) // the beginning, whose answer can only be lost with its parts
					f.fail(first(1, "POST upload", lost))
				}))
			} else {
				f.fail(first(2, kind, lost))
			}
			content := strings.Repeat("0123456789abcdef", 1<<20)
			if kind == "PUT" {
				content = "small"
			}
			if err := (streams{s}).Put(t.Context(), "a", strings.NewReader(content), -1); err != nil {
				t.Fatal(err)
			}
			f.fail(nil)
			if got, err := read(s, 0, -1); got != content || err != nil {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestAnUploadThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	broken := io.MultiReader(io.LimitReader(zeros{}, 13<<20), failing{})
	for _, c := range []struct {
		name  string
		fault fault
		body  io.Reader
		want  error
	}{
		{"body breaks", nil, broken, errBody},
		{"body is too short", nil, io.LimitReader(zeros{}, 13<<20), storage.ErrSize},
		{"body is too long", nil, zeros{}, storage.ErrSize},
		{"a piece is cut each time", first(always, "PUT part", cutBody), io.LimitReader(zeros{}, 16<<20), nil},
		{"a piece of a file is cut each time", first(always, "PUT part", cutBody), bytes.NewReader(make([]byte, 16<<20)), nil},
		{"a piece is refused", first(1, "PUT part", status(403, "AccessDenied")), io.LimitReader(zeros{}, 16<<20), nil},
		{"the end is refused", first(always, "POST upload", endRefused), io.LimitReader(zeros{}, 16<<20), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, quirks{})
			spool := t.TempDir()
			s := f.open(t, func(o *s3.Options) { o.Spool = spool })
			f.fail(c.fault)
			err := s.Put(t.Context(), "a", c.body, 16<<20)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("Put = %v, want %v", err, c.want)
			}
			if objects, uploads := f.left(); objects+uploads != 0 {
				t.Errorf("%d objects and %d uploads left behind", objects, uploads)
			}
			if files, err := os.ReadDir(spool); err != nil || len(files) != 0 {
				t.Errorf("in the spool: %v, %v", files, err)
			}
		})
	}
}

func endRefused(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter)) {
	if r.URL.Query().Has("uploads") {
		serve(w)
		return
	}
	status(400, "InvalidPart")(w, r, serve)
}

var errBody = errors.New("body broke")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBody }

func TestAPieceThatIsCutIsSentAgain(t *testing.T) {
	t.Parallel()
	f := newFake(t, quirks{})
	s := f.open(t)
	f.fail(first(2, "PUT part", cutBody))
	content := strings.Repeat("0123456789abcdef", 1<<20)
	if err := (streams{s}).Put(t.Context(), "a", strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
	if got, err := read(s, 0, -1); got != content || err != nil {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func TestAPieceIsNotOverwrittenWhileItIsSent(t *testing.T) {
	t.Parallel()
	const piece = 5 << 20
	f := newFake(t, quirks{})
	s := f.open(t)
	third := make(chan struct{}) // closed when a byte of the third piece is read
	body := &telling{io.LimitReader(zeros{}, 4*piece), 2 * piece, third}
	f.fail(first(1, "PUT part", func(w http.ResponseWriter, _ *http.Request, serve func(http.ResponseWriter)) {
		select {
		case <-third:
			t.Error("the third piece takes the place of the first, which is being sent")
		case <-time.After(300 * time.Millisecond): // long enough for one that is read too early
		}
		serve(w)
	}))
	if err := s.Put(t.Context(), "a", body, 4*piece); err != nil {
		t.Fatal(err)
	}
}

// telling closes a channel when so many bytes have been read.
type telling struct {
	io.Reader
	left int64
	told chan struct{}
}

func (r *telling) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if before := r.left; before >= 0 && before < int64(n) {
		close(r.told)
	}
	r.left -= int64(n)
	return n, err
}

func TestAnAnswerThatIsNotWholeIsAnError(t *testing.T) {
	t.Parallel()
	shortened := func(w http.ResponseWriter, _ *http.Request, serve func(http.ResponseWriter)) {
		whole := httptest.NewRecorder()
		serve(whole)
		w.Header().Set("Content-Range", whole.Header().Get("Content-Range"))
		w.Header().Set("ETag", whole.Header().Get("ETag"))
		w.WriteHeader(whole.Code)
		_, _ = w.Write(whole.Body.Bytes()[:2]) // and a length to match
	}
	unmeasured := func(w http.ResponseWriter, _ *http.Request, serve func(http.ResponseWriter)) {
		whole := httptest.NewRecorder()
		serve(whole)
		w.Header().Set("ETag", whole.Header().Get("ETag"))
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(whole.Body.Bytes())
	}
	for _, c := range []struct {
		name   string
		fault  fault
		off, n int64
		want   string
	}{
		{"cut", cutAnswer, 0, -1, "ended the connection"},
		{"a range cut", cutAnswer, 2, 6, "ended the connection"},
		{"a range shortened", shortened, 2, 6, "2 bytes as range"},
		{"no length", unmeasured, 0, -1, "no length"},
		{"stalled", stall, 0, -1, "does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, quirks{})
			s := f.open(t, func(o *s3.Options) { o.Timeout = 2 * time.Second })
			if err := s.Put(t.Context(), "a", strings.NewReader("0123456789"), 10); err != nil {
				t.Fatal(err)
			}
			f.fail(first(always, "GET", c.fault))
			if got, err := read(s, c.off, c.n); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("read %q, %v; want %s", got, err, c.want)
			}
			if record, _, err := s.Get(t.Context(), "a"); err == nil && c.off == 0 {
				t.Errorf("Get = %q", record)
			}
		})
	}
}

func TestARecordThatIsCutIsReadAgain(t *testing.T) {
	t.Parallel()
	f := newFake(t, quirks{})
	s := f.open(t)
	if _, err := s.PutIf(t.Context(), "r", []byte("record"), storage.Absent); err != nil {
		t.Fatal(err)
	}
	f.fail(first(2, "GET", cutAnswer))
	if record, _, err := s.Get(t.Context(), "r"); string(record) != "record" || err != nil {
		t.Errorf("Get = %q, %v", record, err)
	}
}

func TestAReaderMayBeSlowerThanTheTimeout(t *testing.T) {
	const timeout = 500 * time.Millisecond
	f := newFake(t, quirks{})
	s := f.open(t, func(o *s3.Options) { o.Timeout = timeout })
	f.mu.Lock()
	f.objects["a"] = &object{data: make([]byte, 16<<20), size: 16 << 20, etag: `"x"`} // more than is on the way
	f.mu.Unlock()
	r, _, err := s.Open(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(timeout + timeout/2) // what the reader does meanwhile
	if n, err := io.Copy(io.Discard, r); n != 15<<20 || err != nil {
		t.Errorf("read %d bytes more, %v", n, err)
	}
}

func TestNothingRunsOnAfterOperations(t *testing.T) {
	f := newFake(t, quirks{})
	s := f.open(t, quick)
	before := runtime.NumGoroutine()
	for _, fault := range []fault{nil, hang, first(always, "PUT part", cutBody), first(always, "GET", stall), status(403, "AccessDenied")} {
		f.fail(fault)
		operations(t.Context(), s)
	}
	_ = s.Close()
	for range 500 { // connections end on their own time
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
}

func TestLargeObjectsNeedLittleMemory(t *testing.T) {
	const size, most = 200 << 20, 24 << 20
	f := newFake(t, quirks{forgetful: true})
	s := f.open(t, func(o *s3.Options) { o.Piece = 0 })
	stop, peak := make(chan struct{}), make(chan uint64)
	var start runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&start)
	go func() { // ends when the put has
		highest := uint64(0)
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			highest = max(highest, now.HeapInuse)
			select {
			case <-stop:
				peak <- highest
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	err := s.Put(context.WithoutCancel(t.Context()), "a", io.LimitReader(zeros{}, size), size)
	close(stop)
	if highest := <-peak; highest > start.HeapInuse+most {
		t.Errorf("heap grew from %d to %d MiB", start.HeapInuse>>20, highest>>20)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := f.count("PUT part"); n != size>>24+1 {
		t.Errorf("%d pieces", n)
	}
}

// A process that is stopped waits for this.
func TestAnUploadThatIsGivenUpDoesNotWaitForASilentServer(t *testing.T) {
	f := newFake(t, quirks{})
	const timeout = 10 * time.Second
	s := f.open(t, func(o *s3.Options) { o.Timeout = timeout })
	sending := make(chan struct{}, 16)
	f.fail(func(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter)) {
		if r.URL.Query().Has("partNumber") || r.Method == http.MethodDelete {
			sending <- struct{}{}
			hang(w, r, serve)
			return
		}
		serve(w)
	})
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() { given <- s.Put(ctx, "a", bytes.NewReader(make([]byte, 12<<20)), 12<<20) }() // ends with ctx
	<-sending
	cancel()
	select {
	case err := <-given:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(timeout):
		t.Errorf("it still waits after %v", timeout)
	}
}
