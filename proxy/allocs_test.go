package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/entrepot/entrepot/proxy/access"
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
		if n := allocations(t, s, path); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
	if told == 0 {
		t.Error("no answer was told")
	}
}

// allocations of one answer, which is 200. header are names and values.
func allocations(t *testing.T, s *Server, path string, header ...string) float64 {
	t.Helper()
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(&fasthttp.Request{}, nil, nil)
	for i := 0; i+1 < len(header); i += 2 {
		ctx.Request.Header.Set(header[i], header[i+1])
	}
	return testing.AllocsPerRun(1000, func() {
		ctx.Request.SetRequestURI(path)
		s.handle(ctx)
		if ctx.Response.StatusCode() != 200 {
			t.Fatalf("%s: %d", path, ctx.Response.StatusCode())
		}
		ctx.Response.Reset()
	})
}

// manyEntries is a policy of which the last entry of each section is the one for Docker Hub's own images.
func manyEntries() string {
	var hosted, upstream, incoming strings.Builder
	for i := range 10 {
		fmt.Fprintf(&hosted, "  - {repositories: [team/p%d/**], pull: [users]}\n", i)
		fmt.Fprintf(&upstream, "  - {repositories: [docker.io/lib*/n*-%d, docker.io/corp%d/**], pull: [alice]}\n", i, i)
		fmt.Fprintf(&incoming, "  - {deny: [docker.io/library/n*], tags: ['*-beta%d'], because: it is not ready}\n", i)
	}
	return "hosted:\n" + hosted.String() +
		"upstream:\n" + upstream.String() + "  - {repositories: [docker.io/library/*], pull: [everyone, users, robots]}\n" +
		"incoming:\n" + incoming.String() + "  - {allow: [docker.io/library/*]}\n  - {deny: ['**']}\n"
}

func TestWarmAnswersToUsersAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	o := options(filled())
	o.Access = openGuard(t, "", manyEntries())
	o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/8")} // the address of a call without a connection
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	token, err := o.Access.Login(access.LoginRequest{User: "alice", Password: "secret", Scopes: []string{"repository:library/nginx:pull"}})
	if err != nil {
		t.Fatal(err)
	}
	nobody, err := o.Access.Login(access.LoginRequest{Scopes: []string{"repository:library/nginx:pull"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fact   string
		header []string
		most   float64
	}{
		{"nobody in particular", nil, 0},
		{"a token", []string{"Authorization", "Bearer " + token.Text}, 0},
		{"a token of nobody in particular", []string{"Authorization", "Bearer " + nobody.Text}, 0},
		{"a token by a proxy", []string{"Authorization", "Bearer " + token.Text, "X-Forwarded-For", "203.0.113.7, 0.0.0.1"}, 0},
		{"a password, which is decoded and hashed", []string{"Authorization", basicAuth("alice", "secret")}, 12},
	} {
		for _, path := range []string{
			"/v2/library/nginx/manifests/hot",
			"/v2/library/nginx/manifests/hot?ns=docker.io",
			"/v2/library/nginx/manifests/" + sha256,
		} {
			if n := allocations(t, s, path, c.header...); n > c.most {
				t.Errorf("%s, %s: %v allocations, want %v at most", c.fact, path, n, c.most)
			}
		}
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
