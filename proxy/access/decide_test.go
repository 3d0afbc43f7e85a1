package access

import (
	"fmt"
	"strings"
	"testing"
)

func TestPatternsOfHostedRepositories(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"team", []string{"team"}, []string{"teams", "team/a", "tea"}},
		{"team/**", []string{"team", "team/a", "team/a/b"}, []string{"teams", "teams/a", "a/team"}},
		{"team/*", []string{"team/a"}, []string{"team", "team/a/b", "teams/a"}},
		{"team/*/**", []string{"team/a", "team/a/b"}, []string{"team"}},
		{"team/**/app", []string{"team/app", "team/a/app", "team/a/b/app"}, []string{"team", "team/a", "app", "team/a/app/b"}},
		{"team*", []string{"team", "teams"}, []string{"team/a", "a-team"}},
		{"team*/**", []string{"team", "teams", "teams/a/b"}, []string{"a/team"}},
		{"*", []string{"team"}, []string{"team/a"}},
		{"**", []string{"team", "team/a", "a/b/c/d"}, nil},
		{"team/**/**", []string{"team", "team/a", "team/a/b/c"}, []string{"teams"}},
		{"**/**", []string{"team", "team/a"}, nil},
		{"*/**", []string{"team", "team/a"}, nil},
		{"team/**/v*/**", []string{"team/v", "team/v1", "team/a/v/b"}, []string{"team", "team/a"}},
		{"**/app", []string{"app", "a/app", "a/b/app"}, []string{"a/b", "app/a", "myapp", "a/myapp"}},
		{"team/v?", []string{"team/v1"}, []string{"team/v", "team/v12", "team/v/"}},
		{"team?a", []string{"team-a"}, []string{"team/a"}},
		{"team/[a-c]x", []string{"team/ax", "team/cx"}, []string{"team/dx", "team/x"}},
		{"a.b", []string{"a.b"}, []string{"a-b"}},
	} {
		p := parsePolicy(t, "upstream: []\nhosted: [{repositories: ['"+c.pattern+"'], pull: [everyone]}]")
		for name, want := range either(c.yes, c.no) {
			if got := p.Decide(Anonymous, Pull, Repository{Name: name}).Allowed; got != want {
				t.Errorf("%s matches %s: %v", c.pattern, name, got)
			}
		}
		if p.Decide(Anonymous, Pull, Repository{Upstream: "gcr.io", Name: "team"}).Allowed {
			t.Errorf("%s matches what is not hosted", c.pattern)
		}
	}
}

func TestPatternsOfUpstreams(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"gcr.io/corp", []string{"gcr.io corp"}, []string{"gcr.io corp/a", "docker.io corp", "gcr.io/corp a"}},
		{"gcr.io/**", []string{"gcr.io a", "gcr.io a/b"}, []string{"docker.io a/b", "gcr.iox a"}},
		{"gcr.io/corp-*/**", []string{"gcr.io corp-a", "gcr.io corp-a/b/c"}, []string{"gcr.io corp", "gcr.io corp/a"}},
		{"gcr.io/**/app", []string{"gcr.io app", "gcr.io a/b/app"}, []string{"docker.io app", "gcr.io a"}},
		{"docker.io/*/xmrig", []string{"docker.io miner/xmrig", "docker.io library/xmrig"}, []string{"docker.io a/b/xmrig", "docker.io xmrig/a"}},
		{"[::1]:5000/a", []string{"[::1]:5000 a"}, []string{": a", "1 a"}},
		{"*/corp/**", []string{"gcr.io corp", "docker.io corp/a"}, []string{"gcr.io a/corp"}},
		{"*/corp*/**", []string{"gcr.io corp", "docker.io corps/a"}, []string{"gcr.io a/corp"}},
		{"**/corp*/**", []string{"gcr.io corp", "docker.io a/corp", "docker.io corps/a"}, []string{"gcr.io a"}},
		{"*.io/a", []string{"gcr.io a", "docker.io a"}, []string{"[::1]:5000 a", "gcr.io b"}},
		{"*:5000/a", []string{"[::1]:5000 a"}, []string{"gcr.io a"}},
		{"**", []string{"gcr.io a", "docker.io a/b"}, nil},
		{"**/**", []string{"gcr.io a", "docker.io a/b"}, nil},
		{"**/app", []string{"gcr.io app", "gcr.io a/app"}, []string{"gcr.io app/a", "app a"}},
		{"**/gcr.io/a", []string{"gcr.io a", "docker.io gcr.io/a", "docker.io b/gcr.io/a"}, []string{"docker.io a", "gcr.io b"}},
		{"**/*cr.io/**/a", []string{"gcr.io a", "gcr.io b/a", "docker.io gcr.io/b/a"}, []string{"docker.io a"}},
	} {
		p := parsePolicy(t, "hosted: []\nupstream: [{repositories: ['"+c.pattern+"'], pull: [everyone]}]")
		for name, want := range either(c.yes, c.no) {
			host, name, _ := strings.Cut(name, " ")
			if got := p.Decide(Anonymous, Pull, Repository{Upstream: host, Name: name}).Allowed; got != want {
				t.Errorf("%s matches %s of %s: %v", c.pattern, name, host, got)
			}
		}
		if p.Decide(Anonymous, Pull, Repository{Name: "a"}).Allowed {
			t.Errorf("%s matches what is hosted", c.pattern)
		}
	}
}

func either(yes, no []string) map[string]bool {
	all := map[string]bool{}
	for _, s := range yes {
		all[s] = true
	}
	for _, s := range no {
		all[s] = false
	}
	return all
}

func TestWhoMayDoWhat(t *testing.T) {
	p := parsePolicy(t, `
groups: {staff: [bob, robot+ci]}
hosted:
  - repositories: [words]
    pull: [everyone]
    push: [users]
    delete: [robots]
  - repositories: [names]
    pull: ["@staff", alice]
    push: [robot+ci]
  - repositories: [admins]
    admin: [alice, robots]
  - repositories: [shut/**]
  - repositories: ["**"]
    pull: [everyone, users, robots]
upstream:
  - repositories: ["**"]
    pull: [everyone]
    admin: [alice]
`)
	const (
		no, yes, lent = "denied", "everyone", "in particular"
		ci, cd        = Subject("robot+ci"), Subject("robot+cd")
	)
	of := Repository{Upstream: "gcr.io", Name: "a"}
	for _, c := range []struct {
		repo                         Repository
		a                            Action
		anonymous, alice, bob, ci, x string // x: robot+cd
	}{
		{Repository{Name: "words"}, Pull, yes, yes, yes, yes, yes},
		{Repository{Name: "words"}, Push, no, lent, lent, no, no},
		{Repository{Name: "words"}, Delete, no, no, no, lent, lent},
		{Repository{Name: "words"}, Admin, no, no, no, no, no},
		{Repository{Name: "names"}, Pull, no, lent, lent, lent, no},
		{Repository{Name: "names"}, Push, no, no, no, lent, no},
		{Repository{Name: "admins"}, Pull, no, lent, no, lent, lent},
		{Repository{Name: "admins"}, Push, no, lent, no, lent, lent},
		{Repository{Name: "admins"}, Delete, no, lent, no, lent, lent},
		{Repository{Name: "admins"}, Admin, no, lent, no, lent, lent},
		{Repository{Name: "shut/a"}, Pull, no, no, no, no, no},
		{Repository{Name: "other"}, Pull, yes, lent, lent, lent, lent},
		{Repository{Name: "other"}, Push, no, no, no, no, no},
		{of, Pull, yes, lent, yes, yes, yes},
		{of, Push, no, lent, no, no, no},
		{of, actions, no, no, no, no, no},
	} {
		for who, want := range map[Subject]string{Anonymous: c.anonymous, "alice": c.alice, "bob": c.bob, ci: c.ci, cd: c.x} {
			d := p.Decide(who, c.a, c.repo)
			if got := map[Decision]string{{}: no, {Allowed: true}: yes, {Allowed: true, Lent: true}: lent}[d]; got != want {
				t.Errorf("%s, %d of %s: %s, want %s", who, c.a, c.repo, got, want)
			}
		}
	}
}

func TestNoEntryMeansNo(t *testing.T) {
	for name, p := range map[string]*Policy{"without entries": parsePolicy(t, empties), "that is nothing": {}} {
		for _, repo := range []Repository{{Name: "a"}, {Upstream: "gcr.io", Name: "a"}} {
			if got := p.Decide("alice", Pull, repo); got != (Decision{}) {
				t.Errorf("a policy %s: %+v", name, got)
			}
		}
	}
}

func TestTheDefaultPolicy(t *testing.T) {
	hosted, through := Repository{Name: "team/a"}, Repository{Upstream: "gcr.io", Name: "corp/a"}
	const ci = Subject("robot+ci")
	for _, c := range []struct {
		who  Subject
		a    Action
		repo Repository
		want Decision
	}{
		{Anonymous, Pull, through, Decision{Allowed: true}},
		{"alice", Pull, through, Decision{true, true}},
		{ci, Pull, through, Decision{true, true}},
		{"alice", Admin, through, Decision{}},
		{Anonymous, Pull, hosted, Decision{}},
		{"alice", Pull, hosted, Decision{true, true}},
		{"alice", Push, hosted, Decision{true, true}},
		{"alice", Delete, hosted, Decision{true, true}},
		{"alice", Admin, hosted, Decision{}},
		{ci, Pull, hosted, Decision{true, true}},
		{ci, Push, hosted, Decision{true, true}},
		{ci, Delete, hosted, Decision{}},
	} {
		if got := DefaultPolicy(true).Decide(c.who, c.a, c.repo); got != c.want {
			t.Errorf("%s, %s of %s: %+v, want %+v", c.who, c.a, c.repo, got, c.want)
		}
		if got := DefaultPolicy(false).Decide(c.who, c.a, c.repo); got != (Decision{Allowed: true}) {
			t.Errorf("without users: %s, %s of %s: %+v", c.who, c.a, c.repo, got)
		}
		if why := DefaultPolicy(true).Refuses(c.repo, "latest") + DefaultPolicy(false).Refuses(c.repo, "latest"); why != "" {
			t.Errorf("%s does not come in: %s", c.repo, why)
		}
	}
}

func TestWhoMayPullAnything(t *testing.T) {
	p := parsePolicy(t, `
hosted:
  - repositories: [a]
    push: [everyone]
  - repositories: [b]
    pull: [alice]
    admin: [bob]
upstream:
  - repositories: [gcr.io/**]
    pull: [robots]
`)
	for _, c := range []struct {
		who              Subject
		hosted, upstream bool
	}{{Anonymous, false, false}, {"alice", true, false}, {"bob", true, false}, {"carol", false, false}, {"robot+ci", false, true}} {
		if got := p.Any(c.who, true); got != c.hosted {
			t.Errorf("%s: hosted %v", c.who, got)
		}
		if got := p.Any(c.who, false); got != c.upstream {
			t.Errorf("%s: upstream %v", c.who, got)
		}
	}
	if open := DefaultPolicy(false); !open.Any(Anonymous, true) || !open.Any(Anonymous, false) {
		t.Error("nobody may pull anything where there are no users")
	}
}

// longPolicy has 100 entries in each section, of which the last one matches what is asked.
func longPolicy(t testing.TB) *Policy {
	var hosted, through, incoming strings.Builder
	for i := range 99 {
		fmt.Fprintf(&hosted, "  - repositories: [team-%d/**]\n    pull: ['@staff']\n", i)
		fmt.Fprintf(&through, "  - repositories: [gcr.io/corp-%d/**]\n    pull: ['@staff']\n", i)
		fmt.Fprintf(&incoming, "  - deny: [docker.io/bad-%d/**]\n", i)
	}
	return parsePolicy(t, "groups: {staff: [alice, bob]}\n"+
		"hosted:\n"+hosted.String()+"  - repositories: ['**']\n    pull: [everyone, '@staff']\n"+
		"upstream:\n"+through.String()+"  - repositories: ['**/n*x']\n    pull: [everyone, robots]\n"+
		"incoming:\n"+incoming.String()+"  - deny: ['*.io/**']\n    tags: ['*-beta*']\n")
}

var longAsked = []Repository{{Name: "team/app"}, {Upstream: "docker.io", Name: "library/nginx"}}

func TestDecidingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := longPolicy(t)
	for _, repo := range longAsked {
		n := testing.AllocsPerRun(1000, func() {
			for _, who := range []Subject{Anonymous, "alice", "robot+ci"} {
				if !p.Decide(who, Pull, repo).Allowed || !p.Any(who, repo.Upstream == "") || p.Refuses(repo, "1.27") != "" {
					t.Fatalf("%s may not pull %s", who, repo)
				}
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", repo, n)
		}
	}
	n := testing.AllocsPerRun(1000, func() {
		if p.Refuses(longAsked[1], "1-beta1") == "" {
			t.Fatal("it came in")
		}
	})
	if n != 0 {
		t.Errorf("a refusal: %v allocations", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	p := longPolicy(b)
	for _, repo := range longAsked {
		b.Run(repo.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Decide("alice", Pull, repo)
				p.Refuses(repo, "1.27")
			}
		})
	}
}
