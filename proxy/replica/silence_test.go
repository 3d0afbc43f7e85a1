package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// slow gives a byte after each wait.
type slow struct {
	ctx  context.Context
	wait time.Duration
	left int
}

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(s.wait):
		s.left--
		return copy(p, "x"), nil
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
}

// slowBody is a body of ten bytes, one after each wait.
func slowBody(t *testing.T, wait time.Duration) *body {
	ctx, cancel := context.WithCancelCause(t.Context())
	b := newBody(ctx, cancel, io.NopCloser(&slow{ctx, wait, 10}), patience)
	b.Left = 10
	return b
}

func TestOnlySilenceEndsABody(t *testing.T) {
	t.Run("bytes that come one by one are no silence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if b, err := io.ReadAll(slowBody(t, patience-1)); len(b) != 10 || err != nil {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		})
	})
	t.Run("a byte that comes later is too late", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			b, err := io.ReadAll(slowBody(t, patience+1))
			if len(b) != 0 || !errors.Is(err, errSilent) || time.Since(begun) != patience {
				t.Errorf("%d bytes after %v, %v", len(b), time.Since(begun), err)
			}
		})
	})
	t.Run("a reader takes the time that it takes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			body := slowBody(t, patience/2)
			for range 10 {
				time.Sleep(time.Hour)
				if _, err := io.ReadFull(body, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := body.Read(make([]byte, 1)); err != io.EOF {
				t.Error(err)
			}
		})
	})
	t.Run("closed by another, it ends at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			body := slowBody(t, time.Hour)
			time.AfterFunc(patience/2, func() { body.Close() })
			if _, err := body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	})
}

// quick waits no longer than it must for what never comes.
func (s *server) quick(t *testing.T) *Client {
	t.Helper()
	s.Start()
	c := newClient(Options{ID: id}, 300*time.Millisecond)
	t.Cleanup(c.Close)
	return c
}

func TestAServerThatIsSilentIsLeft(t *testing.T) {
	t.Run("before its headers", func(t *testing.T) {
		t.Parallel()
		gone := make(chan struct{})
		s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(gone)
		})
		if part, err := s.quick(t).At(s.URL, nginx).FetchBlob(t.Context(), d, 0, -1); err == nil {
			part.Body.Close()
			t.Error("answered")
		}
		<-gone
	})
	t.Run("in a blob", func(t *testing.T) {
		t.Parallel()
		gone := make(chan struct{})
		s := serve(t, begins(gone, 200))
		part, err := s.quick(t).At(s.URL, nginx).FetchBlob(t.Context(), d, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer part.Body.Close()
		if b, err := io.ReadAll(iotest.OneByteReader(part.Body)); len(b) != 100 || !errors.Is(err, errSilent) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		<-gone // though nobody has closed the body
	})
	t.Run("in a manifest", func(t *testing.T) {
		t.Parallel()
		gone := make(chan struct{})
		s := serve(t, begins(gone, 200))
		if _, err := s.quick(t).At(s.URL, nginx).FetchManifest(t.Context(), d); !errors.Is(err, errSilent) {
			t.Error(err)
		}
		<-gone
	})
	t.Run("in a refusal", func(t *testing.T) {
		t.Parallel()
		gone := make(chan struct{})
		s := serve(t, begins(gone, 500))
		if _, err := s.quick(t).At(s.URL, nginx).FetchManifest(t.Context(), d); err == nil {
			t.Error("no error")
		}
		<-gone
	})
}

// begins sends a hundred bytes and waits until the client is gone.
func begins(gone chan struct{}, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(status)
		fmt.Fprint(w, text[:100])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	}
}
