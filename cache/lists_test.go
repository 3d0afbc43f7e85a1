package cache

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

type fakeLister struct {
	repo  Repo
	tags  []string
	index ocispec.Index
	err   error
	asked int
}

func (l *fakeLister) Repo() Repo { return l.repo }

func (l *fakeLister) ListTags(context.Context, int, string) ([]string, bool, error) {
	l.asked++
	return l.tags, false, l.err
}

func (l *fakeLister) FetchReferrers(context.Context, digest.Digest) (ocispec.Index, error) {
	l.asked++
	return l.index, l.err
}

func TestTagsList(t *testing.T) {
	o := newOffice(t, 1<<20)
	up := newFakeManifests(nginx)
	other := newFakeManifests(Repo{"docker.io", "library/nginx2"})
	other.push("foreign", "1")
	o.wantGet(other, "foreign", other.push("foreign", "1"))
	for _, tag := range []string{"1.2", "1.10", "latest", "1.1"} {
		o.wantGet(up, tag, up.push(tag, tag))
	}
	for _, c := range []struct {
		name string
		err  error
		n    int
		last string
		want string
		more bool
		warn bool
		fail error
	}{
		{"upstream's own list", nil, -1, "", "a z", false, false, nil},
		{"an outage: what is cached", outage(CauseFailed), -1, "", "1.1 1.10 1.2 latest", false, true, nil},
		{"an outage: a page", outage(CauseFailed), 2, "", "1.1 1.10", true, true, nil},
		{"an outage: the next page", outage(CauseFailed), 2, "1.10", "1.2 latest", false, true, nil},
		{"an outage: after a tag that is not there", outage(CauseFailed), 2, "1.11", "1.2 latest", false, true, nil},
		{"an outage: no entries asked for", outage(CauseFailed), 0, "", "", true, true, nil},
		{"an outage: after the last", outage(CauseFailed), 2, "z", "", false, true, nil},
		{"a 404 is an answer", ErrNotFound, -1, "", "", false, false, ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &fakeLister{repo: nginx, tags: []string{"a", "z"}, err: c.err}
			tags, more, text, err := o.manifests.Tags(t.Context(), l, c.n, c.last)
			if c.fail != nil {
				tags = nil
			}
			if !errors.Is(err, c.fail) || strings.Join(tags, " ") != c.want || more != c.more || (text != "") != c.warn {
				t.Errorf("%q, more %v, warning %q, %v", tags, more, text, err)
			}
		})
	}
	nothing := &fakeLister{repo: Repo{"docker.io", "library"}, err: outage(CauseLimited)}
	if tags, _, _, err := o.manifests.Tags(t.Context(), nothing, -1, ""); !IsOutage(err) {
		t.Errorf("nothing cached: %v, %v", tags, err)
	}
}

func TestReferrers(t *testing.T) {
	o := newOffice(t, 0)
	d := digest.FromString("subject")
	l := &fakeLister{repo: nginx, index: ocispec.Index{Manifests: []Descriptor{{Digest: digest.FromString("1")}}}}
	want := func(asked int, stale bool) {
		t.Helper()
		index, text, err := o.manifests.Referrers(t.Context(), l, d)
		if err != nil || len(index.Manifests) != 1 || (text != "") != stale {
			t.Errorf("%+v, %q, %v", index, text, err)
		}
		if l.asked != asked {
			t.Errorf("asked %d times, want %d", l.asked, asked)
		}
	}
	want(1, false)
	want(1, false)
	o.restart(0)
	want(1, false)
	o.clock.advance(time.Minute)
	want(2, false)
	o.clock.advance(time.Minute)
	l.err = outage(CauseTimeout)
	want(3, true)
	if got := o.events.count("docker.io", "timeout"); got != 1 {
		t.Errorf("%d stale answers counted", got)
	}
	l.err = ErrDenied
	if _, _, err := o.manifests.Referrers(t.Context(), l, d); !errors.Is(err, ErrDenied) {
		t.Errorf("a refusal is an answer: %v", err)
	}
	l.err = outage(CauseTimeout)
	if _, _, err := o.manifests.Referrers(t.Context(), l, digest.FromString("other")); !IsOutage(err) {
		t.Errorf("nothing remembered: %v", err)
	}
	if _, _, err := o.manifests.Referrers(t.Context(), l, "../../x"); err == nil {
		t.Error("a malformed digest was accepted")
	}
}

// Some daemons ask with every pull what refers to a manifest, and would fail a pull of which everything is here.
func TestAnOutageLeavesNoReferrersOfWhatIsHere(t *testing.T) {
	o := newOffice(t, 0)
	up := newFakeManifests(nginx)
	man := up.push("1", "one")
	o.wantGet(up, "1", man)
	l := &fakeLister{repo: nginx, err: outage(CauseTimeout)}
	index, text, err := o.manifests.Referrers(t.Context(), l, man.Digest)
	if err != nil || len(index.Manifests) != 0 || !strings.Contains(text, "not known") {
		t.Errorf("%+v, %q, %v", index, text, err)
	}
	if got := o.events.count("docker.io", "timeout"); got != 1 {
		t.Errorf("%d stale answers counted", got)
	}
	l.err, l.index = nil, ocispec.Index{Manifests: []Descriptor{{Digest: digest.FromString("1")}}}
	if index, text, err = o.manifests.Referrers(t.Context(), l, man.Digest); err != nil || len(index.Manifests) != 1 || text != "" {
		t.Errorf("after the outage: %+v, %q, %v", index, text, err)
	}
	l.repo, l.err = Repo{"docker.io", "library/other"}, outage(CauseTimeout)
	if _, _, err := o.manifests.Referrers(t.Context(), l, man.Digest); !IsOutage(err) {
		t.Errorf("of a repository that was not seen to have it: %v", err)
	}
}

func TestNamesAreInTheOrderOfNames(t *testing.T) {
	o := newOffice(t, 0)
	all := []string{"a", "a-b", "a.b", "a/x", "a/x/y", "a0", "b"} // '-' and '.' sort before '/', in keys after '!'
	for _, name := range []string{"b", "a/x", "a.b", "a0", "a", "a/x/y", "a-b"} {
		o.seen.Add(t.Context(), Repo{"docker.io", name}, digest.FromString("x"), "", 1)
	}
	o.seen.Add(t.Context(), Repo{"gcr.io", "other"}, digest.FromString("x"), "", 1)
	for n := -1; n <= len(all)+1; n++ {
		var got []string
		last, more := "", true
		for more && n != 0 {
			names, m, err := o.manifests.Names(t.Context(), "docker.io", n, last, nil)
			if err != nil || n > 0 && len(names) > n || len(names) == 0 {
				t.Fatalf("n=%d after %q: %q, %v", n, last, names, err)
			}
			got, more, last = append(got, names...), m, names[len(names)-1]
		}
		if n != 0 && !slices.Equal(got, all) {
			t.Errorf("n=%d: %q", n, got)
		}
	}
	if names, more, err := o.manifests.Names(t.Context(), "docker.io", 0, "", nil); len(names) != 0 || !more || err != nil {
		t.Errorf("n=0: %q, %v, %v", names, more, err)
	}
	if _, _, err := o.manifests.Names(t.Context(), "", 1, "", nil); err == nil {
		t.Error("no registry, no error")
	}
}

func TestNamesKnowThatThereAreMore(t *testing.T) {
	o := newOffice(t, 0)
	for _, name := range []string{"a/x", "a-b"} { // in the order of their keys, against that of the names
		o.seen.Add(t.Context(), Repo{"docker.io", name}, digest.FromString("x"), "", 1)
	}
	names, more, err := o.manifests.Names(t.Context(), "docker.io", 1, "", nil)
	if err != nil || !more || !slices.Equal(names, []string{"a-b"}) {
		t.Errorf("%q, %v, %v", names, more, err)
	}
}

// Whoever may see some repositories gets the pages that they would get if there were no others.
func TestNamesThatMayBeSeen(t *testing.T) {
	o := newOffice(t, 0)
	all := []string{"a", "a-b", "a.b", "a/x", "a/x/y", "a0", "b", "c"}
	for _, name := range all {
		o.seen.Add(t.Context(), Repo{"docker.io", name}, digest.FromString("x"), "", 1)
	}
	for who, may := range map[string]func(string) bool{
		"everything":       func(string) bool { return true },
		"nothing":          func(string) bool { return false },
		"all but the last": func(name string) bool { return name != "c" },
		"those with a '/'": func(name string) bool { return strings.Contains(name, "/") },
		"every other one":  func(name string) bool { return slices.Index(all, name)%2 == 1 },
	} {
		for n := -1; n <= len(all)+1; n++ {
			for _, last := range append([]string{"", "zzz"}, all...) { // also such as may not be seen
				rest := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name <= last || !may(name) })
				page := rest
				if n >= 0 {
					page = rest[:min(n, len(rest))]
				}
				got, more, err := o.manifests.Names(t.Context(), "docker.io", n, last, may)
				if err != nil || !slices.Equal(got, page) || more != (len(page) < len(rest)) {
					t.Errorf("%s, %d after %q: %q, %v, %v; want %q of %q", who, n, last, got, more, err, page, rest)
				}
			}
		}
	}
}

func TestSearchOfNames(t *testing.T) {
	o := newOffice(t, 0)
	for _, repo := range []Repo{
		{"docker.io", "library/nginx"}, {"docker.io", "bitnami/nginx"}, {"docker.io", "library/redis"},
		{"gcr.io", "proj/nginx-ingress"}, {"gcr.io", "proj/other"}, {"quay.io", "proj/other"},
	} {
		o.seen.Add(t.Context(), repo, digest.FromString("x"), "", 1)
	}
	for term, want := range map[string][]string{
		"nginx":         {"docker.io/bitnami/nginx", "docker.io/library/nginx", "gcr.io/proj/nginx-ingress"},
		"NGINX-":        {"gcr.io/proj/nginx-ingress"},
		"library/":      {"docker.io/library/nginx", "docker.io/library/redis"},
		"library/re":    {"docker.io/library/redis"},
		"gcr.io/proj/o": {"gcr.io/proj/other"},
		"gcr.io":        nil, // a registry is no part of a name
		"r.io/proj":     nil,
		"proj!other":    nil,
		"*":             nil,
		"":              {"docker.io/bitnami/nginx", "docker.io/library/nginx", "docker.io/library/redis", "gcr.io/proj/nginx-ingress", "gcr.io/proj/other", "quay.io/proj/other"},
	} {
		var got []string
		for repo, err := range o.manifests.Search(t.Context(), term) {
			if err != nil {
				t.Fatalf("%q: %v", term, err)
			}
			got = append(got, repo.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", term, got, want)
		}
	}
	for range o.manifests.Search(t.Context(), "") {
		break // whoever has enough stops
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range o.manifests.Search(ctx, "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of ctx: %v", err)
		}
	}
}
