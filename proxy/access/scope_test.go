package access

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestScopes(t *testing.T) {
	repo := func(name string, actions ...string) Grant { return Grant{"repository", name, actions} }
	for _, c := range []struct {
		name   string
		scopes []string
		want   []Grant
	}{
		{"none", nil, nil},
		{"empty ones", []string{"", "  "}, nil},
		{"a pull", []string{"repository:library/nginx:pull"}, []Grant{repo("library/nginx", "pull")}},
		{"a push", []string{"repository:team/app:push,pull"}, []Grant{repo("team/app", "pull", "push")}},
		{"a delete", []string{"repository:team/app:delete"}, []Grant{repo("team/app", "delete")}},
		{"every action", []string{"repository:team/app:*,pull"}, []Grant{repo("team/app", "*", "pull")}},
		{"a class", []string{"repository(plugin):vieux/sshfs:pull"}, []Grant{repo("vieux/sshfs", "pull")}},
		{"the catalog", []string{"registry:catalog:*"}, []Grant{{"registry", "catalog", []string{"*"}}}},
		{"a host with a port", []string{"repository:localhost:5000/team/app:pull"}, []Grant{repo("localhost:5000/team/app", "pull")}},
		{"a host of numbers", []string{"repository:[::1]:5000/app:pull"}, []Grant{repo("[::1]:5000/app", "pull")}},
		{"a mount", []string{"repository:team/a:pull,push", "repository:team/b:pull"}, []Grant{repo("team/a", "pull", "push"), repo("team/b", "pull")}},
		{"several in one", []string{"repository:a:pull repository:b:push"}, []Grant{repo("a", "pull"), repo("b", "push")}},
		{"one twice", []string{"repository:a:pull", "repository:b:pull", "repository:a:push,pull"}, []Grant{repo("a", "pull", "push"), repo("b", "pull")}},
		{"an action twice", []string{"repository:a:pull,pull,,pull"}, []Grant{repo("a", "pull")}},
		{"no action", []string{"repository:a:"}, nil},
		{"an action of another registry", []string{"repository:a:metadata_read,pull"}, []Grant{repo("a", "pull")}},
		{"only such", []string{"repository:a:metadata_read"}, nil},
		{"administration", []string{"repository:a:admin"}, nil},
		{"a kind of another registry", []string{"artifact-repository:a:pull"}, nil},
		{"something else of the registry", []string{"registry:other:*", "registry:catalog:pull"}, nil},
		{"another case", []string{"Repository:a:pull", "repository:a:PULL"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := parseScopes(c.scopes); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestMalformedScopes(t *testing.T) {
	for _, c := range []struct{ name, scope, why string }{
		{"a word", "repository", "not type:name:actions"},
		{"no actions", "repository:team/app", "not type:name:actions"},
		{"no type", ":team/app:pull", "type"},
		{"a class without an end", "repository(plugin:team/app:pull", "type"},
		{"an empty class", "repository():team/app:pull", "type"},
		{"no name", "repository::pull", "name"},
		{"a name with a quote", `repository:a":pull`, "name"},
		{"a name that is no ASCII", "repository:für:pull", "name"},
		{"a name with a NUL", "repository:a\x00:pull", "name"},
		{"a name that is too long", "repository:" + strings.Repeat("x", 256) + ":pull", "255 bytes"},
		{"an action that is no word", "repository:a:pull;push", "actions"},
		{"an action that moves the cursor", "repository:a:\x1b[A", "actions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseScopes([]string{"repository:b:pull " + c.scope})
			var malformed *ScopeError
			if !errors.As(err, &malformed) || got != nil || !strings.Contains(err.Error(), c.why) {
				t.Fatalf("%v, %v", got, err)
			}
			wantFit(t, err)
			if strings.Count(err.Error(), `"`) != 2 {
				t.Errorf("where the scope ends is not told: %v", err)
			}
		})
	}
}

// wantFit wants an error that a client may be told.
func wantFit(t *testing.T, err error) {
	t.Helper()
	message := err.Error()
	if len(message) > 255 || strings.ContainsFunc(message, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("the message is not fit for a client: %q", message)
	}
}

func TestAsManyScopesAsOneTokenHolds(t *testing.T) {
	scopes := []string{}
	for i := range maxGrants {
		scopes = append(scopes, fmt.Sprintf("repository:%s%02d:pull,push,delete,*", strings.Repeat("x", maxScopeName-2), i))
	}
	grants, err := parseScopes(append(scopes, scopes...))
	if err != nil || len(grants) != maxGrants {
		t.Fatalf("%d, %v", len(grants), err)
	}
	k := newTestKeys(t)
	token := signed(t, k, claims{Subject: Subject(strings.Repeat("u", maxUserName)), Mark: "mark", Grants: grants, Issued: noon, Expires: noon.Add(TokenLife)})
	if _, err := k.verify(token, "entrepot", noon); err != nil || len(token) > 16<<10 {
		t.Errorf("the token has %d bytes: %v", len(token), err)
	}
	grants, err = parseScopes(append(scopes, "repository:one-more:pull"))
	if err == nil || grants != nil {
		t.Fatal("one more is accepted")
	}
	wantFit(t, err)
}

func TestCovers(t *testing.T) {
	asked := func(scope string) []Grant {
		grants, err := parseScopes([]string{scope})
		if err != nil {
			t.Fatal(err)
		}
		return grants
	}
	all := []Action{Pull, Push, Delete, Admin}
	for _, c := range []struct {
		scope, spelled string
		want           []Action
	}{
		{"repository:a:pull", "a", []Action{Pull}},
		{"repository:a:push", "a", []Action{Push}},
		{"repository:a:delete,pull", "a", []Action{Pull, Delete}},
		{"repository:a:pull,push,delete", "a", []Action{Pull, Push, Delete}},
		{"repository:a:*", "a", all},
		{"repository:a:*", "a/b", nil},
		{"repository:a:*", "docker.io/a", nil},
		{"repository:a:*", "A", nil},
		{"repository:a:*", "", nil},
		{"registry:catalog:*", "catalog", nil},
	} {
		var got []Action
		for _, a := range all {
			if covered(asked(c.scope), c.spelled, a) {
				got = append(got, a)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s covers of %q %v, want %v", c.scope, c.spelled, got, c.want)
		}
	}
	if g := (Grant{"repository", "a", []string{"admin"}}); g.covers("a", Admin) {
		t.Error("administration is covered by its name")
	}
	if !catalogCovered(asked("repository:a:pull registry:catalog:*")) {
		t.Error("the catalog was asked for, and is not covered")
	}
	for _, scope := range []string{"", "repository:catalog:*", "repository:a:*"} {
		if catalogCovered(asked(scope)) {
			t.Errorf("%q covers the catalog", scope)
		}
	}
	grants := asked("repository:a:delete,pull,push")
	if n := testing.AllocsPerRun(100, func() { _ = grants[0].covers("a", Push) && catalogCovered(grants) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzScope(f *testing.F) {
	for _, s := range []string{
		"", "repository:library/nginx:pull", "repository(plugin):localhost:5000/a:pull,push,*", "registry:catalog:*",
		"repository:a:pull repository:a:push\trepository:b:delete", "repository:a:metadata_read", "a:b", "repository::", "repository(:a:\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		grants, err := parseScopes([]string{text})
		if err != nil {
			wantFit(t, err)
			return
		}
		again := []string{}
		for _, g := range grants {
			again = append(again, g.Type+":"+g.Name+":"+strings.Join(g.Actions, ","))
			if len(g.Name) > maxScopeName || len(g.Actions) == 0 || !slices.IsSorted(g.Actions) || g.covers(g.Name, Admin) && !slices.Contains(g.Actions, "*") {
				t.Errorf("%+v", g)
			}
		}
		if back, err := parseScopes(again); err != nil || !reflect.DeepEqual(back, grants) || len(grants) > maxGrants {
			t.Errorf("%v and then %v, %v", grants, back, err)
		}
	})
}
