package access

import "testing"

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
