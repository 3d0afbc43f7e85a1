package upstream

import (
	"net/http"
	"testing"
	"time"
)

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"60": time.Minute, " 2 \n": 2 * time.Second, "0": 0, "1.5": 1500 * time.Millisecond,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
		"99999999999999999999":                        maxRetryAfter,
		"":                                            -1, "soon": -1, "-1": -1, "NaN": -1,
	} {
		got, ok := parseRetryAfter(in, now)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: got %v %v, want %v", in, got, ok, want)
		}
	}
}

func TestParseRate(t *testing.T) {
	for in, want := range map[string]struct {
		n      int64
		window time.Duration
		ok     bool
	}{
		"100;w=21600": {100, 6 * time.Hour, true}, " 0 ; w=60": {0, time.Minute, true}, "57": {57, 0, true},
		"100, 100;w=60": {100, time.Minute, true}, "7;x=1;w=2": {7, 2 * time.Second, true}, "9;w=-1": {9, 0, true},
		"": {}, "many": {}, "-1;w=60": {}, ";w=60": {},
	} {
		n, window, ok := parseRate(in)
		if n != want.n || window != want.window || ok != want.ok {
			t.Errorf("%q: got %d %v %v, want %+v", in, n, window, ok, want)
		}
	}
}

func TestParseContentRange(t *testing.T) {
	for in, want := range map[string]contentRange{
		"bytes 0-9/100": {0, 9, 100, true}, "bytes 5-5/*": {5, 5, -1, true}, "Bytes 0-0/1": {0, 0, 1, true},
		"bytes */100": {0, 0, 100, false},
	} {
		if got, ok := parseContentRange(in); !ok || got != want {
			t.Errorf("%q: got %+v %v, want %+v", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "bytes", "bytes 9-0/100", "bytes 0-100/100", "bytes */*", "bytes -1-2/3", "bytes 0-9", "items 0-9/100", "bytes 0-9/1e3", "bytes 0-9223372036854775807/*"} {
		if got, ok := parseContentRange(in); ok {
			t.Errorf("%q: got %+v, want nothing", in, got)
		}
	}
}

func TestParseNext(t *testing.T) {
	for in, want := range map[string]string{
		`</v2/a/tags/list?n=2&last=b>; rel="next"`:                               "b",
		`<http://inner:5000/v2/a/tags/list?last=c>;rel=next`:                     "c",
		`</first?last=x>; rel="prev", </v2/a/tags/list?last=d>; foo=1; REL=NEXT`: "d",
	} {
		got, ok := parseNext([]string{in})
		if !ok || got.Get("last") != want {
			t.Errorf("%q: got %v %v, want last=%s", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "nothing", "<unclosed", `</a?last=b>; rel="last"`, `</a?last=b>`} {
		if got, ok := parseNext([]string{in}); ok {
			t.Errorf("%q: got %v, want nothing", in, got)
		}
	}
}

func TestChooseChallenge(t *testing.T) {
	hub := challenge{"bearer", "https://auth.docker.io/token", "registry.docker.io", "repository:a/b:pull"}
	for name, c := range map[string]struct {
		headers []string
		want    challenge
		ok      bool
	}{
		"as Docker Hub says it": {[]string{`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"`}, hub, true},
		"bearer is preferred":   {[]string{`Basic realm="x"`, `bearer Realm="https://auth.docker.io/token" , service="registry.docker.io", scope="repository:a/b:pull"`}, hub, true},
		"two in one header":     {[]string{`Basic realm="x", Bearer realm="https://a/t"`}, challenge{scheme: "bearer", realm: "https://a/t"}, true},
		"unquoted":              {[]string{`Bearer realm=https://a/t,service=s`}, challenge{scheme: "bearer", realm: "https://a/t", service: "s"}, true},
		"escaped quotes":        {[]string{`Basic realm="a \"b\""`}, challenge{scheme: "basic", realm: `a "b"`}, true},
		"the first realm wins":  {[]string{`Bearer realm="https://a",realm="https://b"`}, challenge{scheme: "bearer", realm: "https://a"}, true},
		"scheme alone":          {[]string{`Basic`}, challenge{scheme: "basic"}, true},
		"unknown scheme":        {[]string{`Negotiate abc==`}, challenge{}, false},
		"parameters first":      {[]string{`realm="https://a"`}, challenge{}, false},
		"unclosed quote":        {[]string{`Bearer realm="https://a`}, challenge{scheme: "bearer"}, true},
		"nothing":               {nil, challenge{}, false},
	} {
		got, ok := chooseChallenge(c.headers)
		if got != c.want || ok != c.ok {
			t.Errorf("%s: got %+v %v, want %+v", name, got, ok, c.want)
		}
	}
}

func FuzzChooseChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://a/t",service="s",scope="repository:a/b:pull"`)
	f.Add(`Basic realm="a \"b\"", Bearer x=`)
	f.Fuzz(func(t *testing.T, header string) {
		c, ok := chooseChallenge([]string{header})
		if ok && c.scheme != "bearer" && c.scheme != "basic" {
			t.Errorf("%q: scheme %q", header, c.scheme)
		}
		if len(c.realm)+len(c.service)+len(c.scope) > len(header) {
			t.Errorf("%q: more came out than went in: %+v", header, c)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	for _, s := range []string{"60", "Sun, 06 Nov 1994 08:49:37 GMT", "100;w=21600", "bytes 0-9/100", `</v2/a/tags/list?last=b>; rel="next"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if d, ok := parseRetryAfter(v, time.Unix(0, 0)); ok && (d < 0 || d > maxRetryAfter) {
			t.Errorf("Retry-After %q: %v", v, d)
		}
		if n, w, ok := parseRate(v); ok && (n < 0 || w < 0) {
			t.Errorf("ratelimit %q: %d %v", v, n, w)
		}
		if r, ok := parseContentRange(v); ok && r.satisfied && (r.first < 0 || r.last < r.first || r.last-r.first+1 <= 0 || r.size >= 0 && r.last >= r.size) {
			t.Errorf("Content-Range %q: %+v", v, r)
		}
		parseNext([]string{v, v})
	})
}
