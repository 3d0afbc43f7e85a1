package proxy

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/storage/mem"
)

// identity is a way to ask.
type identity struct {
	fact   string
	who    string // whom the server may take it for; empty: nobody in particular
	bad    bool   // the credential is good for nothing
	proved bool   // there is a credential, and it is good
	narrow bool   // it is a token that was asked for something else

	// authorization gives the header of a request for a repository as it is spelled; empty is none.
	authorization func(spelled string) string
}

func always(header string) func(string) string { return func(string) string { return header } }

// identities are everybody who may come to the door. It changes the time, the users and the robots.
func (f *fortress) identities(t *testing.T) []identity {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	robot := func(name string, expires time.Time) string {
		_, secret, err := f.guard.Robots().Add(ctx, name, "", expires)
		must(err)
		return secret
	}
	of := func(user, password string) func(string) string {
		return func(spelled string) string {
			return "Bearer " + f.token(user, password, "repository:"+spelled+":pull,push,delete registry:catalog:*")
		}
	}
	everything := "repository:team/app:pull,push,delete repository:hidden/app:pull,push registry:catalog:*"
	ci, old, fired := robot("ci", time.Time{}), robot("old", f.now().Add(time.Minute)), robot("fired", time.Time{})
	f.refresh()

	// What is good once and not any more.
	expired := f.token("alice", "password of alice", everything)
	ofGone, ofFired := f.token("gone", "password of gone", everything), f.token("robot+fired", fired, everything)
	ofOld := f.token("robot+old", old, everything)
	ofChanged := f.token("carol", "password of carol", everything)
	expiredReplica, err := f.guard.ReplicaToken("docker.io", "hidden/app")
	must(err)
	f.later.Add(int64(time.Hour))
	stillGone, stillFired := f.token("gone", "password of gone", everything), f.token("robot+fired", fired, everything)
	stillChanged := f.token("carol", "password of carol", everything)
	f.writeUsers("alice", "bob", "carol", "pusher", "deleter") // new hashes: every token of a user ends
	must(f.guard.Robots().Revoke(ctx, "fired"))
	f.refresh()

	alice := f.token("alice", "password of alice", everything)
	foreign := f.open("", mem.New(time.Now))
	theirs := tokenFrom(t, foreign, "alice", "password of alice", everything)
	parts := strings.Split(alice, ".")
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."

	all := []identity{
		{fact: "nobody", authorization: always("")},
		{fact: "an anonymous token", proved: true, authorization: of("", "")},
		{fact: "alice by her password", who: "alice", proved: true, authorization: always(basicAuth("alice", "password of alice"))},
		{fact: "alice by a token", who: "alice", proved: true, authorization: of("alice", "password of alice")},
		{fact: "bob by a token", who: "bob", proved: true, authorization: of("bob", "password of bob")},
		{fact: "carol by a token", who: "carol", proved: true, authorization: of("carol", "password of carol")},
		{fact: "who may only push", who: "pusher", proved: true, authorization: of("pusher", "password of pusher")},
		{fact: "who may only delete", who: "deleter", proved: true, authorization: of("deleter", "password of deleter")},
		{fact: "a robot by its secret", who: "robot+ci", proved: true, authorization: always(basicAuth("robot+ci", ci))},
		{fact: "a robot by a token", who: "robot+ci", proved: true, authorization: of("robot+ci", ci)},
		{fact: "alice by a token of another scope", who: "alice", proved: true, narrow: true, authorization: always("Bearer " + f.token("alice", "password of alice", "repository:other/thing:pull,push,delete"))},
		{fact: "alice by a token of no scope", who: "alice", proved: true, narrow: true, authorization: always("Bearer " + f.token("alice", "password of alice"))},
		{fact: "a token of a login that failed", proved: true, authorization: func(spelled string) string {
			return "Bearer " + f.token("alice", "wrong", "repository:"+spelled+":pull")
		}},
	}
	for _, spelled := range []string{"hidden/app", "corp.example/ours/app", "team2/xmrig", "docker.io/gcr.io/corp/chain", "team/app"} {
		registry, name, _ := strings.Cut(placeOf(spelled).home, "/")
		if placeOf(spelled).hosted() {
			registry, name = "", spelled
		}
		all = append(all, identity{fact: "a replica that copies " + spelled, who: replicaOf(spelled), proved: true, narrow: true, authorization: func(string) string {
			token, err := f.guard.ReplicaToken(registry, name) // each time: it does not live for as long as a test may take
			must(err)
			return "Bearer " + token
		}})
	}
	replicas, err := f.open("", mem.New(time.Now)).ReplicaToken("docker.io", "hidden/app")
	must(err)
	noGood := map[string]string{
		"a replica of another installation": "Bearer " + replicas, "a replica's expired token": "Bearer " + expiredReplica,
		"a wrong password": basicAuth("alice", "password of bob"), "no password": basicAuth("alice", ""), "nobody's password": basicAuth("", "password of alice"),
		"no name and no password": basicAuth("", ""), "an unknown user": basicAuth("eve", "eve"), "a name of another case": basicAuth("Alice", "password of alice"),
		"a group": basicAuth("@staff", ""), "the word users": basicAuth("users", ""), "a robot without its prefix": basicAuth("ci", ci),
		"a user with a robot's prefix": basicAuth("robot+alice", "password of alice"), "a user with a robot's secret": basicAuth("alice", ci),
		"a revoked user": basicAuth("gone", "password of gone"), "a revoked robot": basicAuth("robot+fired", fired), "an expired robot": basicAuth("robot+old", old),
		"a robot's secret as a token": "Bearer " + ci, "a robot's secret alone": "Basic " + base64.StdEncoding.EncodeToString([]byte(ci)),
		"a robot's secret alone, as a token": "Bearer " + base64.StdEncoding.EncodeToString([]byte(ci)), "a robot's secret for a name": basicAuth(ci, "x"), "a name with NUL": basicAuth("alice\x00", "password of alice"),
		"an expired token": "Bearer " + expired, "an expired token of a revoked user": "Bearer " + ofGone, "a token of a revoked user": "Bearer " + stillGone,
		"an expired token of a revoked robot": "Bearer " + ofFired, "a token of a revoked robot": "Bearer " + stillFired, "a token of an expired robot": "Bearer " + ofOld,
		"a token from before a new password": "Bearer " + stillChanged, "an older one": "Bearer " + ofChanged,
		"a token of another installation": "Bearer " + theirs, "a token without signature": "Bearer " + unsigned, "no signature at all": "Bearer " + parts[0] + "." + parts[1],
		"a token's parts of two": "Bearer " + parts[0] + "." + strings.Split(theirs, ".")[1] + "." + parts[2], "a longer signature": "Bearer " + alice + "AA",
		"a token as a password": basicAuth("alice", alice), "a token under Basic": "Basic " + alice, "two tokens": "Bearer " + alice + " " + alice,
		"a token of another service": "Bearer " + tokenFrom(t, f.open("another", f.keys), "alice", "password of alice", everything),
		"Bearer and nothing":         "Bearer", "Bearer and a blank": "Bearer ", "Basic and nothing": "Basic", "Basic of no base64": "Basic !!!", "Basic without a colon": "Basic YWxpY2U=",
		"another scheme": "Digest username=alice", "no scheme": alice, "a comma list": "Basic x, " + basicAuth("alice", "password of alice"), "one letter": "x",
	}
	for _, fact := range slices.Sorted(maps.Keys(noGood)) {
		all = append(all, identity{fact: fact, bad: true, authorization: always(noGood[fact])})
	}
	return all
}

// header gives the request headers of an identity.
func (i identity) header(spelled string) []string {
	if value := i.authorization(spelled); value != "" {
		return []string{"Authorization", value}
	}
	return nil
}

// tokenFrom asks a guard for a token.
func tokenFrom(t *testing.T, guard *access.Guard, user, password string, scopes ...string) string {
	t.Helper()
	token, err := guard.Login(access.LoginRequest{User: user, Password: password, Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	return token.Text
}
