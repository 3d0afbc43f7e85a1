package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/proxy/access"
)

// told is an audit log.
type told struct {
	mu  sync.Mutex
	all []access.Entry
}

func (l *told) add(e access.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
}

// take gives what was told since, as one line each.
func (l *told) take() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.all {
		decision := "refused"
		if e.Allowed {
			decision = "allowed"
		}
		lines = append(lines, strings.Join(slices.DeleteFunc([]string{decision, e.Who.String(), e.Action, e.What, e.Ref, e.Digest, strings.Join(e.Tags, "+")}, func(s string) bool { return s == "" }), " "))
	}
	l.all = nil
	return lines
}

func TestWhatTheAuditLogTells(t *testing.T) {
	var log told
	s := startPush(t, func(o *Options) {
		o.Audit = log.add
		o.Access = openGuard(t, "", "hosted:\n  - {repositories: [team/**], pull: [alice], push: [alice]}\nupstream:\n  - {repositories: [gcr.io/**], pull: []}\n  - {repositories: [\"**\"], pull: [everyone]}\n")
	})
	alice := []string{"Authorization", basicAuth("alice", "secret")}
	blob, manifest := "x", `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	d, m := digest.FromString(blob).String(), digest.FromString(manifest).String()
	index := append(alice, "Content-Type", "application/vnd.oci.image.index.v1+json")
	for _, c := range []struct {
		fact, method, path, body string
		headers                  []string
		want                     []string
	}{
		{"a blob", "POST", "/v2/team/a/blobs/uploads/?digest=" + d, blob, alice, []string{"allowed alice push team/a " + d}},
		{"the beginning of an upload", "POST", "/v2/team/a/blobs/uploads/", "", alice, nil},
		{"a tag", "PUT", "/v2/team/a/manifests/v1", manifest, index, []string{"allowed alice push team/a v1 " + m}},
		{"several tags", "PUT", "/v2/team/a/manifests/" + m + "?tag=b&tag=c", manifest, index, []string{"allowed alice push team/a " + m + " " + m + " b+c"}},
		{"a pull", "GET", "/v2/team/a/manifests/v1", "", alice, nil},
		{"what alice may not delete", "DELETE", "/v2/team/a/manifests/v1", "", alice, []string{"refused alice delete team/a v1"}},
		{"what alice may not pull, by its home", "GET", "/v2/corp/app/manifests/v1?ns=gcr.io", "", alice, []string{"refused alice pull gcr.io/corp/app v1"}},
		{"who is asked to log in", "GET", "/v2/team/a/manifests/v1", "", nil, nil},
		{"a wrong password", "GET", "/v2/team/a/manifests/v1", "", []string{"Authorization", basicAuth("alice", "wrong")}, []string{"refused alice login team/a v1"}},
		{"a secret in the place of the name", "GET", "/v2/", "", []string{"Authorization", basicAuth("ept_planted", "x")}, []string{"refused anonymous login"}},
		{"a token", "GET", "/token?scope=repository:team/a:pull", "", alice, []string{"allowed alice login"}},
		{"a wrong login at a mirror", "GET", "/token?scope=repository:library/nginx:pull", "", []string{"Authorization", basicAuth("hub", "x")}, []string{"refused hub login"}},
		{"a token of nobody in particular", "GET", "/token?scope=repository:library/nginx:pull", "", nil, nil},
	} {
		s.send(t, c.method, c.path, strings.NewReader(c.body), c.headers...)
		if got := log.take(); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.fact, got, c.want)
		}
	}
	s.do(t, "DELETE", "/v2/team/a/manifests/v1", alice...)
	log.mu.Lock()
	defer log.mu.Unlock()
	if from := log.all[0].From; from != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("from %s", from)
	}
}
