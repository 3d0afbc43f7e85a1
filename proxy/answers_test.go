package proxy

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/proxy/replica"
)

// ticker is a clock that others move.
type ticker struct{ seconds atomic.Int64 }

func (c *ticker) now() time.Time { return time.Unix(1e9+c.seconds.Load(), 0) }
func (c *ticker) pass(s int64)   { c.seconds.Add(s) }

// late gives its bytes after two seconds.
type late struct {
	io.Reader
	clock *ticker
}

func (l late) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if n > 0 {
		l.clock.pass(2)
	}
	return n, err
}

func TestWhenTheFirstByteIsSent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fact        string
		size        int64
		send        func(*ticker, io.Writer) (int64, error)
		first, last int64
	}{
		{"written after a wait", 5, func(clock *ticker, w io.Writer) (int64, error) {
			clock.pass(2)
			n, err := w.Write([]byte("12"))
			clock.pass(3)
			m, rest := w.Write([]byte("345"))
			return int64(n + m), errors.Join(err, rest)
		}, 2, 5},
		{"in chunks", -1, func(clock *ticker, w io.Writer) (int64, error) {
			clock.pass(2)
			n, err := w.Write([]byte("12345"))
			clock.pass(3)
			return int64(n), err
		}, 2, 5},
		{"a file", 5, func(clock *ticker, w io.Writer) (int64, error) {
			f, err := os.Open(path)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			clock.pass(2)
			n, err := w.(io.ReaderFrom).ReadFrom(io.LimitReader(f, 5))
			clock.pass(3)
			return n, err
		}, 2, 5},
		{"a reader that has to wait", 5, func(clock *ticker, w io.Writer) (int64, error) {
			n, err := w.(io.ReaderFrom).ReadFrom(late{strings.NewReader("12345"), clock})
			clock.pass(3)
			return n, err
		}, 2, 5},
		{"nothing came", 5, func(clock *ticker, _ io.Writer) (int64, error) {
			clock.pass(4)
			return 0, cache.ErrCorrupt
		}, -1, 4},
		{"there is nothing", 0, func(clock *ticker, _ io.Writer) (int64, error) {
			clock.pass(1)
			return 0, nil
		}, 1, 1},
	} {
		f, clock := filled(), new(ticker)
		f.blobs["docker.io/a/b@"+sha256] = func(cache.Range) (Content, error) {
			return &content{size: c.size, body: make([]byte, max(c.size, 0)), tier: cache.TierUpstream, writeTo: func(w io.Writer, _ []byte) (int64, error) {
				return c.send(clock, w)
			}}, nil
		}
		s := start(t, f, func(o *Options) { o.Now = clock.now })
		s.ask(t, "GET /v2/a/b/blobs/"+sha256+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		first, last := time.Duration(c.first), time.Duration(c.last)*time.Second
		if first > 0 {
			first *= time.Second
		}
		if a := <-s.answered; a.FirstByte != first || a.Duration != last {
			t.Errorf("%s: the first byte after %v, the last after %v; want %v, %v", c.fact, a.FirstByte, a.Duration, first, last)
		}
	}
}

func TestAnAnswerFromMemoryIsItsFirstByte(t *testing.T) {
	clock := new(ticker)
	s := start(t, filled(), func(o *Options) {
		o.Now = func() time.Time { clock.pass(1); return clock.now() }
	})
	for _, path := range []string{"/v2/", "/v2/library/nginx/manifests/hot", "/v2/library/nginx/manifests/none"} {
		s.do(t, "GET", path)
		if a := <-s.answered; a.FirstByte != a.Duration || a.Duration <= 0 {
			t.Errorf("%s: %+v", path, a)
		}
	}
}

func TestAnswersTellWhoWasLet(t *testing.T) {
	s := start(t, filled(), func(o *Options) {
		o.Access = openGuard(t, "", "hosted:\n  - {repositories: [app], pull: [everyone], push: [alice], delete: [alice]}\nupstream:\n  - {repositories: ['**'], pull: [everyone]}\n")
		o.ReplicaID = "a"
	})
	alice := []string{"Authorization", basicAuth("alice", "secret")}
	for _, c := range []struct {
		fact, method, path string
		header             []string
		allowed            bool
		action             access.Action
		replica            bool
	}{
		{"nobody in particular", "GET", "/v2/library/nginx/manifests/hot", nil, false, 0, false},
		{"a user pulls", "GET", "/v2/library/nginx/manifests/hot", alice, true, access.Pull, false},
		{"a user asks for what is not there", "GET", "/v2/library/nginx/manifests/none", alice, true, access.Pull, false},
		{"a user pushes", "POST", "/v2/app/blobs/uploads/", alice, true, access.Push, false},
		{"a user deletes", "DELETE", "/v2/app/manifests/v1", alice, true, access.Delete, false},
		{"a user who may not push there", "POST", "/v2/other/blobs/uploads/", alice, false, 0, false},
		{"a wrong password", "GET", "/v2/library/nginx/manifests/hot", []string{"Authorization", basicAuth("alice", "wrong")}, false, 0, false},
		{"no repository", "GET", "/v2/", alice, false, 0, false},
		{"another server", "GET", "/v2/library/nginx/manifests/hot", []string{replica.Header, "b"}, false, 0, true},
	} {
		s.do(t, c.method, c.path, c.header...)
		if a := <-s.answered; a.Allowed != c.allowed || a.Action != c.action || a.Replica != c.replica {
			t.Errorf("%s: %+v", c.fact, a)
		}
	}
}
