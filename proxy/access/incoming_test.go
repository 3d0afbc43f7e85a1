package access

import (
	"strings"
	"testing"
)

func TestWhatComesIn(t *testing.T) {
	p := parsePolicy(t, empties+`
incoming:
  - deny: ["docker.io/*/xmrig"]
    because: miners
  - deny: ["docker.io/**"]
    tags: [latest, "*-beta*", "[!0-9]*-rc", 1.10]
    because: pin a version
  - allow: [gcr.io/old/**]
    tags: [v1]
  - deny: [gcr.io/old/**]
    tags: [v2]
  - allow: [docker.io/library/**, gcr.io/distroless/**, gcr.io/old/kept]
  - deny: ["**"]
`)
	const (
		digest = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
		hub    = "docker.io"
		miners = "line 5 of the policy: miners"
		pin    = "line 7 of the policy: pin a version"
		last   = "line 15 of the policy"
	)
	for _, c := range []struct{ name, host, repo, ref, want string }{
		{"denied by name", hub, "evil/xmrig", "1", miners},
		{"by digest too", hub, "evil/xmrig", digest, miners},
		{"and as a list", hub, "evil/xmrig", "", miners},
		{"a tag", hub, "library/nginx", "latest", pin},
		{"a tag like it", hub, "library/nginx", "latest-alpine", ""},
		{"a glob of tags", hub, "library/nginx", "2-beta.1", pin},
		{"a class of tags that does not match", hub, "library/nginx", "1-rc", ""},
		{"a class of tags that matches", hub, "library/nginx", "x-rc", pin},
		{"a tag that YAML takes for a number", hub, "library/nginx", "1.10", pin},
		{"another tag", hub, "library/nginx", "1.27", ""},
		{"the digest of whatever tag", hub, "library/nginx", digest, ""},
		{"the list of tags", hub, "library/nginx", "", ""},
		{"an allowed repository of another upstream", "gcr.io", "distroless/static", "latest", ""},
		{"an allowed tag", "gcr.io", "old/app", "v1", ""},
		{"a denied tag", "gcr.io", "old/app", "v2", "line 12 of the policy"},
		{"a tag of which nothing is said", "gcr.io", "old/app", "v3", last},
		{"a digest passes what is allowed for tags", "gcr.io", "old/app", digest, ""},
		{"and so does a list", "gcr.io", "old/app", "", ""},
		{"everything else", "gcr.io", "corp/app", "v1", last},
		{"everything else by digest", "gcr.io", "corp/app", digest, last},
		{"a repository of the same name that is allowed elsewhere", hub, "distroless/static", "1", last},
		{"what is hosted here", "", "evil/xmrig", "latest", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := p.Refuses(Repository{Upstream: c.host, Name: c.repo}, c.ref); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestWithoutAWordEverythingComesIn(t *testing.T) {
	for name, text := range map[string]string{"no section": empties, "an empty one": empties + "incoming: []",
		"no entry that matches": empties + "incoming: [{deny: [docker.io/bad/**]}]"} {
		if why := parsePolicy(t, text).Refuses(Repository{Upstream: "gcr.io", Name: "a"}, "latest"); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

func TestExplanations(t *testing.T) {
	p := parsePolicy(t, wholePolicy)
	team, corp, nginx := Repository{Name: "team/a"}, Repository{Upstream: "gcr.io", Name: "corp-x/a"}, Repository{Upstream: "docker.io", Name: "library/nginx"}
	for _, c := range []struct {
		who  Subject
		a    Action
		repo Repository
		want string
	}{
		{"alice", Push, team, "allowed: line 6, team/**: push is for @staff (alice)"},
		{"robot+ci", Push, team, "allowed: line 6, team/**: push is for @staff (robot+ci)"},
		{Anonymous, Pull, team, "allowed: line 6, team/**: pull is for everyone (anonymous)"},
		{"alice", Delete, team, "allowed: line 6, team/**: delete is for alice"},
		{"carol", Push, team, "allowed: line 6, team/**: admin includes push, and is for carol"},
		{"carol", Admin, team, "allowed: line 6, team/**: admin is for carol"},
		{"dave", Push, team, "denied: line 6, team/**: push is for @staff, admin for carol"},
		{"dave", Admin, team, "denied: line 6, team/**: admin is for carol"},
		{Anonymous, Delete, Repository{Name: "my-image"}, "denied: line 6, my-image: delete is for alice, admin for carol"},
		{"alice", Push, Repository{Name: "other"}, "denied: line 11, **: push is for nobody"},
		{"bob", Pull, Repository{Name: "other"}, "allowed: line 11, **: pull is for users (bob)"},
		{"dave", Pull, corp, "denied: line 14, gcr.io/corp-*/**: pull is for @staff, @nobody"},
		{"robot+cd", Pull, nginx, "allowed: line 18, **: pull is for robots (robot+cd)"},
		{"dave", actions, nginx, "denied: line 18, **: there is no such action"},
	} {
		if got := p.Explain(c.who, c.a, c.repo); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	none := parsePolicy(t, empties)
	for section, repo := range map[string]Repository{"hosted": team, "upstream": nginx} {
		if got, want := none.Explain("alice", Pull, repo), "denied: no entry of "+section+" matches"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := DefaultPolicy(false).Explain(Anonymous, Push, team); !strings.HasPrefix(got, "allowed: there are no users") {
		t.Errorf("without users: %q", got)
	}
}
