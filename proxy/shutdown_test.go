package proxy

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/cache"
)

func TestShutdownWaitsForHandlersThatItCancelled(t *testing.T) {
	f := filled()
	begun := make(chan struct{})
	var ended atomic.Bool
	var s *running
	f.blobs["docker.io/a/b@"+sha256] = func(cache.Range) (Content, error) {
		close(begun)
		<-s.ctx.Done()
		time.Sleep(50 * time.Millisecond) // what it has to finish
		ended.Store(true)
		return nil, s.ctx.Err()
	}
	s = start(t, f, nil)
	if _, err := io.WriteString(s.dial(t), "GET /v2/a/b/blobs/"+sha256+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrRunning) {
		t.Errorf("got %v", err)
	}
	if !ended.Load() {
		t.Error("a handler still runs")
	}
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(options(filled()))
		if err != nil {
			t.Fatal(err)
		}
		s.running.Add(1)
		begun := time.Now()
		if err := s.Shutdown(t.Context()); !errors.Is(err, ErrRunning) {
			t.Errorf("got %v, want %v", err, ErrRunning)
		}
		if took := time.Since(begun); took > endTime+time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
