package access

import (
	"strings"
	"testing"
)

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
	twice := parsePolicy(t, "upstream: []\ngroups: {a: [alice], b: [alice]}\nhosted: [{repositories: [x], pull: [everyone, '@b', '@a', alice]}]")
	if got, want := twice.Explain("alice", Pull, Repository{Name: "x"}), "allowed: line 3, x: pull is for @b (alice)"; got != want {
		t.Errorf("of several words the first particular one is told: %q, want %q", got, want)
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
