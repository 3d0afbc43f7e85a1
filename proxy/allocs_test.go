package proxy

import (
	"testing"

	"github.com/valyala/fasthttp"
)

func TestWarmAnswersAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	o := options(filled())
	var told int64
	o.Answered = func(a Answer) { told += a.Bytes }
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/v2/library/nginx/manifests/hot",
		"/v2/library/nginx/manifests/hot?ns=docker.io",
		"/v2/library/nginx/manifests/" + sha256,
		"/v2/",
	} {
		ctx := new(fasthttp.RequestCtx)
		ctx.Init(&fasthttp.Request{}, nil, nil)
		run := func() {
			ctx.Request.SetRequestURI(path)
			s.handle(ctx)
			if ctx.Response.StatusCode() != 200 {
				t.Fatalf("%s: %d", path, ctx.Response.StatusCode())
			}
			ctx.Response.Reset()
		}
		if n := testing.AllocsPerRun(1000, run); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
	if told == 0 {
		t.Error("no answer was told")
	}
}

func BenchmarkWarmManifest(b *testing.B) {
	s, err := New(options(filled()))
	if err != nil {
		b.Fatal(err)
	}
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(&fasthttp.Request{}, nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		ctx.Request.SetRequestURI("/v2/library/nginx/manifests/hot")
		s.handle(ctx)
		ctx.Response.Reset()
	}
}
