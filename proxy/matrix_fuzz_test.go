package proxy

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// FuzzNoTargetGetsAroundThePolicy looks for a request line and a host by which nobody in particular gets what is not for everybody.
func FuzzNoTargetGetsAroundThePolicy(f *testing.F) {
	for _, host := range []string{"x.test", "gcr.mirror.test", "hub.mirror.test:5000", "registry.test"} {
		for _, spelled := range []string{"team/app", "hidden/app", "docker.io/hidden", "corp/app", "gcr.io/corp/app", "single", "public/app", "library/nginx"} {
			for _, rest := range []string{"/manifests/v1", "/tags/list?ns=docker.io", "/referrers/" + placeOf("hidden/app").manifest, "/blobs/" + placeOf("team/app").blob + "?ns=gcr.io&ns=docker.io"} {
				f.Add("GET", "/v2/"+spelled+rest, host)
			}
		}
		f.Add("HEAD", "/v2/_catalog?n=1&last=a&ns=gcr.io", host)
		f.Add("GET", "/v1/search?q=a&n=100&page=1", host)
		f.Add("POST", "/v2/team/app/blobs/uploads/?mount="+never+"&from=vault/app", host)
		f.Add("GET", "//v2/..%2f%2e%2e\\public/app/manifests/v1#/?", host)
	}
	site, cached, set := found(f)
	o := options(cached)
	set(&o)
	server, err := New(o)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, target, host string) {
		if strings.ContainsAny(method+target+host, "\r\n \x00") || target == "" || method == "" {
			t.Skip()
		}
		before := site.asked.Load()
		status, text := direct(server, method, target, host)
		if asked := site.asked.Load() - before; status == 401 && asked > 0 && !strings.Contains(text, "corp.example") {
			t.Errorf("%s %q of %q: 401 after %d questions", method, target, host, asked)
		}
		for _, p := range places {
			if (!p.may("", 'p') || p.lent || p.refused == "all") && strings.Contains(text, p.marker) {
				t.Errorf("%s %q of %q shows what is in %s: %s", method, target, host, p.home, text)
			}
		}
	})
}

// direct hands a request to the server without a connection.
func direct(s *Server, method, target, host string) (status int, text string) {
	var ctx fasthttp.RequestCtx
	ctx.Init(&fasthttp.Request{}, nil, nil)
	ctx.Request.Header.SetMethod(method)
	ctx.Request.Header.SetHost(host)
	ctx.Request.SetRequestURI(target)
	s.handle(&ctx)
	out := httptest.NewRecorder()
	if stream := ctx.Response.BodyStream(); stream != nil {
		_, _ = io.Copy(out.Body, stream) // to memory
		_ = ctx.Response.CloseBodyStream()
	}
	return ctx.Response.StatusCode(), ctx.Response.Header.String() + string(ctx.Response.Body()) + out.Body.String()
}
