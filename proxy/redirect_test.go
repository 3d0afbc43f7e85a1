package proxy

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/opencontainers/go-digest"
)

// presigning gives URLs of its objects, or fails.
type presigning struct {
	storage.Store
	err error
}

func (p *presigning) Presign(_ context.Context, key string, life time.Duration) (string, error) {
	return fmt.Sprintf("https://bucket.example/a%%20b/%s?X-Amz-Expires=%d&X-Amz-Signature=51gn3d", key, int(life.Seconds())), p.err
}

func networks(all ...string) (networks []netip.Prefix) {
	for _, one := range all {
		networks = append(networks, netip.MustParsePrefix(one))
	}
	return networks
}

// holding is a repository that has one blob.
func holding(t *testing.T, store storage.Store, repo string, blob []byte) *hosted.Registry {
	t.Helper()
	g, err := hosted.New(hosted.Options{Store: store})
	if err == nil {
		err = g.Repo(repo).PushBlob(t.Context(), digest.FromBytes(blob), bytes.NewReader(blob), int64(len(blob)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func toEverybody(o *Options) { o.Redirect = networks("0.0.0.0/0", "::/0") }

func TestWhoIsSentToTheStoreForWhat(t *testing.T) {
	near, far := networks("127.0.0.0/8"), networks("10.0.0.0/8", "2001:db8::/32")
	proxied := func(o *Options) { o.Redirect, o.TrustedProxies = far, near }
	large, least, small := bytes.Repeat([]byte("large"), 1<<20), make([]byte, 1<<20), make([]byte, 1<<20-1)
	for _, c := range []struct {
		fact   string
		change func(*Options)
		method string
		blob   []byte
		header []string
		status int
	}{
		{"everybody", toEverybody, "GET", large, nil, 307},
		{"who is in the network", func(o *Options) { o.Redirect = near }, "GET", large, nil, 307},
		{"who is in another", func(o *Options) { o.Redirect = far }, "GET", large, nil, 200},
		{"nobody", func(*Options) {}, "GET", large, nil, 200},
		{"who says that he is in the network", func(o *Options) { o.Redirect = far }, "GET", large, []string{"X-Forwarded-For", "10.0.0.1"}, 200},
		{"whom a proxy names", proxied, "GET", large, []string{"X-Forwarded-For", "10.0.0.1"}, 307},
		{"whom a proxy names in IPv6", proxied, "GET", large, []string{"X-Forwarded-For", "2001:db8::7"}, 307},
		{"whom a proxy names in a mapped form", proxied, "GET", large, []string{"X-Forwarded-For", "::ffff:10.0.0.1"}, 307},
		{"who is not whom a proxy names", proxied, "GET", large, []string{"X-Forwarded-For", "10.0.0.1, 192.0.2.7"}, 200},
		{"whom a proxy does not name", func(o *Options) { o.Redirect, o.TrustedProxies = near, near }, "GET", large, nil, 200},
		{"a range", toEverybody, "GET", large, []string{"Range", "bytes=5-9"}, 307},
		{"a head", toEverybody, "HEAD", large, nil, 200},
		{"a blob of 1 MiB", toEverybody, "GET", least, nil, 307},
		{"a blob of less", toEverybody, "GET", small, nil, 200},
		{"what the client has", toEverybody, "GET", large, []string{"If-None-Match", `"` + digest.FromBytes(large).String() + `"`}, 304},
		{"only what the client has", toEverybody, "GET", large, []string{"If-Match", `"` + digest.FromBytes(large).String() + `"`}, 200},
		{"a range of what the client has", toEverybody, "GET", large, []string{"Range", "bytes=5-9", "If-Range", `"` + digest.FromBytes(large).String() + `"`}, 206},
	} {
		s := start(t, filled(), func(o *Options) {
			o.Hosted = holding(t, &presigning{Store: mem.New(time.Now)}, "team/img", c.blob)
			c.change(o)
		})
		res, body := s.do(t, c.method, "/v2/team/img/blobs/"+digest.FromBytes(c.blob).String(), c.header...)
		if res.StatusCode != c.status {
			t.Errorf("%s: got %d, want %d", c.fact, res.StatusCode, c.status)
		}
		if location := res.Header.Get("Location"); (location != "") != (c.status == 307) || c.status == 307 && body != "" || c.status == 200 && c.method == "GET" && body != string(c.blob) {
			t.Errorf("%s: %d bytes, Location %q", c.fact, len(body), location)
		}
	}
}

func TestARedirect(t *testing.T) {
	var out, audit shared
	store := mem.New(time.Now)
	s := startOver(t, &presigning{Store: store}, func(o *Options) {
		toEverybody(o)
		o.AccessLog, o.Log = AccessLogOn, slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Audit = access.NewAudit(&audit, time.Now).Write
	})
	d := s.pushBlob(t, "team/img", "", make([]byte, 1<<20)).Digest.String()
	<-s.answered
	res, body := s.do(t, "GET", "/v2/team/img/blobs/"+d+"?ns=docker.io")
	var key string
	for info, err := range store.List(t.Context(), "parts/", "") {
		if key = info.Key; err != nil {
			t.Fatal(err)
		}
	}
	for header, want := range map[string]string{
		"Location":              "https://bucket.example/a%20b/" + key + "?X-Amz-Expires=900&X-Amz-Signature=51gn3d",
		"Docker-Content-Digest": d, "Cache-Control": "no-store", "Content-Length": "0", "Oci-Namespace": "docker.io",
		"Docker-Distribution-Api-Version": "registry/2.0", "Etag": "", "Content-Type": "", "Accept-Ranges": "", "Content-Range": "",
	} {
		if got := res.Header.Get(header); got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
	got := <-s.answered
	if got.Duration, got.FirstByte = 0, 0; got != (Answer{Kind: KindBlob, Hosted: true, Status: 307}) || body != "" {
		t.Errorf("the answer is %+v %q", got, body)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log := out.String(); !strings.Contains(log, `"status":307`) || strings.Contains(log+audit.String(), "X-Amz-Signature") {
		t.Errorf("logged: %s %s", log, audit.String())
	}
}

func TestABlobThatTheStoreGivesNoURLOfIsServedHere(t *testing.T) {
	content := randomBytes(t, 2<<20)
	for fact, store := range map[string]storage.Store{
		"a store that has no URLs": mem.New(time.Now),
		"a store that is gone":     &presigning{mem.New(time.Now), storage.ErrUnavailable},
	} {
		s := startOver(t, store, toEverybody)
		d := s.pushBlob(t, "team/img", "", content).Digest.String()
		if res, body := s.do(t, "GET", "/v2/team/img/blobs/"+d, "Range", "bytes=5-"); res.StatusCode != 206 || res.Header.Get("Location") != "" || body != string(content[5:]) {
			t.Errorf("%s: got %d, %d bytes", fact, res.StatusCode, len(body))
		}
	}
	s := startOver(t, &presigning{Store: mem.New(time.Now)}, toEverybody)
	upload := s.begin(t, "team/img")
	s.expect(t, 202, "PATCH", upload, bytes.NewReader(content[:1<<20]))
	s.expect(t, 202, "PATCH", upload, bytes.NewReader(content[1<<20:]))
	d := digest.FromBytes(content).String()
	s.expect(t, 201, "PUT", upload+"?digest="+d, nil)
	if res, body := s.do(t, "GET", "/v2/team/img/blobs/"+d); res.StatusCode != 200 || body != string(content) {
		t.Errorf("a blob of two parts: got %d, %d bytes", res.StatusCode, len(body))
	}
}

func TestWhoMayNotPullGetsNoURL(t *testing.T) {
	content := randomBytes(t, 1<<20)
	d := digest.FromBytes(content)
	f := build(t, func(o *Options) {
		o.Hosted = holding(t, &presigning{Store: mem.New(time.Now)}, "vault/app", content)
		toEverybody(o)
	})
	path := "/v2/vault/app/blobs/" + d.String()
	for _, c := range []struct {
		fact   string
		header []string
		want   int
	}{
		{"nobody in particular", nil, 401},
		{"a wrong password", []string{"Authorization", basicAuth("alice", "guess")}, 401},
		{"who may not", []string{"Authorization", basicAuth("bob", "password of bob")}, 401},
		{"a token for another repository", []string{"Authorization", "Bearer " + f.token("alice", "password of alice", "repository:team/app:pull")}, 401},
		{"who may", []string{"Authorization", basicAuth("alice", "password of alice")}, 307},
		{"a token", []string{"Authorization", "Bearer " + f.token("alice", "password of alice", "repository:vault/app:pull")}, 307},
	} {
		got := f.ask("GET", path, "", c.header...)
		if got.StatusCode != c.want || strings.Contains(got.text(), "X-Amz-Signature") != (c.want == 307) {
			t.Errorf("%s: %s", c.fact, got.text())
		}
	}
	if got := f.ask("GET", "/v2/team/app/blobs/"+d.String(), "", "Authorization", basicAuth("alice", "password of alice")); got.StatusCode != 404 {
		t.Errorf("of a repository that does not have it: %s", got.text())
	}
}
