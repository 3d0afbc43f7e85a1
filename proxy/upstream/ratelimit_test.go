package upstream

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestSpare(t *testing.T) {
	answer := func(code int, pairs ...string) *http.Response {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return &http.Response{StatusCode: code, Header: h}
	}
	hub := func(left string) *http.Response {
		return answer(200, "ratelimit-limit", "100;w=21600", "ratelimit-remaining", left+";w=21600")
	}
	for name, c := range map[string]struct {
		floor   int64
		answers []*http.Response
		later   time.Duration
		want    bool
	}{
		"nothing known":             {10, nil, 0, true},
		"no such headers":           {10, []*http.Response{answer(200)}, 0, true},
		"enough":                    {10, []*http.Response{hub("10")}, 0, true},
		"below the floor":           {10, []*http.Response{hub("9")}, 0, false},
		"none left, no floor":       {0, []*http.Response{hub("0")}, 0, false},
		"an answer without it":      {10, []*http.Response{hub("9"), answer(200)}, 0, false},
		"a newer reading":           {10, []*http.Response{hub("9"), hub("90")}, 0, true},
		"a reading out of date":     {10, []*http.Response{hub("9")}, 6 * time.Hour, true},
		"nonsense":                  {10, []*http.Response{answer(200, "ratelimit-remaining", "few")}, 0, true},
		"limited":                   {0, []*http.Response{answer(429)}, 0, false},
		"limited, a minute ago":     {0, []*http.Response{answer(429)}, time.Minute, true},
		"limited for longer":        {0, []*http.Response{answer(429, "Retry-After", "600")}, time.Minute, false},
		"limited for longer, later": {0, []*http.Response{answer(429, "Retry-After", "600")}, 10 * time.Minute, true},
	} {
		now := time.Unix(0, 0)
		b := &budget{floor: c.floor, now: func() time.Time { return now }, update: func(int64, int64) {}}
		for _, a := range c.answers {
			b.read(a)
		}
		now = now.Add(c.later)
		if got := b.spare(); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// recorder keeps everything that it is told.
type recorder struct {
	mu        sync.Mutex
	requested []string
	received  int64
	retried   int
	limit     string
	NoEvents
}

func (r *recorder) Requested(host string, kind Kind, outcome string, _ time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requested = append(r.requested, host+" "+string(kind)+" "+outcome)
}

func (r *recorder) Received(_ string, _ Kind, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received += n
}

func (r *recorder) Retried(string, Kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retried++
}

func (r *recorder) RateLimit(host, account string, limit, remaining int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limit = fmt.Sprint(host, " ", account, " ", remaining, "/", limit)
}

func TestEvents(t *testing.T) {
	cdn, f := newFake(t), newFake(t)
	cdn.mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("ratelimit-remaining", "1;w=60") // not the registry's word
		serveBlob(w, req)
	})
	f.mux.HandleFunc("/token", text(`{"token":"t"}`))
	f.mux.HandleFunc(blobPath, scripted(status(503), guarded(f.URL+"/token", "t", func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("ratelimit-limit", "100;w=21600")
		w.Header().Set("ratelimit-remaining", "57;w=21600")
		http.Redirect(w, req, cdn.URL+"/x", http.StatusFound)
	})))
	var seen recorder
	r := newRegistry(t, f, func(o *Options) { o.Events = &seen })
	p, err := r.Repository("a/b").FetchBlob(context.Background(), blobDigest, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := p.Body.Read(make([]byte, 7))
	p.Body.Close()
	p.Body.Close()
	want := []string{
		"test.example blob 503", "test.example blob 401", "test.example token 200", "test.example blob 302", "test.example blob 206",
	}
	if !slices.Equal(seen.requested, want) || seen.retried != 1 || seen.received != int64(n) || seen.limit != "test.example anonymous 57/100" {
		t.Errorf("%v, %d retries, %d bytes, limit %v", seen.requested, seen.retried, seen.received, seen.limit)
	}
}
