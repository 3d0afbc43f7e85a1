package s3_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/s3"
)

func TestWhatMayHelpToAskAgainLater(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault fault
		want  bool
	}{
		{"no bucket", status(404, "NoSuchBucket"), false},
		{"forbidden", status(403, "AccessDenied"), false},
		{"full", status(507, "InsufficientStorage"), false},
		{"an error of its own", status(500, "InternalError"), true},
		{"always busy", status(503, "SlowDown"), true},
		{"too many requests", status(429, "TooManyRequests"), true},
		{"silence", hang, true},
		{"broken connections", func(http.ResponseWriter, *http.Request, func(http.ResponseWriter)) { panic(http.ErrAbortHandler) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, quirks{})
			s := f.open(t)
			if c.name == "silence" {
				s = f.open(t, quick)
			}
			f.fail(c.fault)
			for op, err := range operations(t.Context(), s) {
				if errors.Is(err, storage.ErrUnavailable) != c.want {
					t.Errorf("%s: %v", op, err)
				}
			}
		})
	}
	t.Run("refused connections", func(t *testing.T) {
		t.Parallel()
		s := newFake(t, quirks{}).open(t, func(o *s3.Options) { o.Endpoint = "http://127.0.0.1:1" })
		for op, err := range operations(t.Context(), s) {
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s: %v", op, err)
			}
		}
	})
}

// Whoever takes a broken connection for an object that has become shorter counts it as damaged.
func TestABrokenAnswerDoesNotSayThatAnObjectIsShorter(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]fault{"broken": cutAnswer, "stalled": stall} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, quirks{})
			s := f.open(t, func(o *s3.Options) { o.Timeout = 2 * time.Second })
			if err := s.Put(t.Context(), "a", strings.NewReader("0123456789"), 10); err != nil {
				t.Fatal(err)
			}
			f.fail(bad)
			r, _, err := s.Open(t.Context(), "a", 0, -1)
			if err == nil {
				_, err = io.ReadAll(r)
				r.Close()
			}
			if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestACallerWhoLeavesIsNoOutage(t *testing.T) {
	t.Parallel()
	f := newFake(t, quirks{})
	s := f.open(t)
	if err := s.Put(t.Context(), "a", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	f.fail(stall)
	ctx, cancel := context.WithCancel(t.Context())
	r, _, err := s.Open(ctx, "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := r.Read(make([]byte, 5)); !errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
