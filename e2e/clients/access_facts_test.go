package clients

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/sandbox"
)

// member is a client of the matrix, as whoever the account says. Names are those that the client is told.
type member interface {
	mirrored(name string) string // how a name of Docker Hub's is asked of the server
	login(who account) sandbox.Result
	pull(who account, name string) sandbox.Result
	push(who account, pulled, name string) sandbox.Result
	forget(t *testing.T)
}

// tells is what a client says to whoever is refused: enough to know what to do.
type tells struct {
	notLoggedIn     string // of a pull
	pushNotLoggedIn string
	wrongPassword   string // of a login
	removed         string // of a pull with a login that was good once
	stalePull       string // with a token that ends before its time; empty: the client asks for another one by itself
	stalePush       string
}

// testAccess is what every client and its user meet at a server with users. Each fact builds on those before it.
func testAccess(t *testing.T, g guarded, c member, says tells) {
	m := matrix{g, c, says, g.ref(hostedApp)}
	var removed time.Time
	facts := []struct {
		name string
		do   func(*testing.T)
	}{
		{"everybody pulls through the mirror", m.testAnonymous},
		{"who is logged in pushes", m.testPush},
		{"who is not logged in does not push", func(t *testing.T) { m.testDeniedPush(t, g.nobody, says.pushNotLoggedIn) }},
		{"who may only pull does not push", func(t *testing.T) {
			succeeds(t, c.login(g.bob))
			m.testDeniedPush(t, g.bob, "bob may not push team/other/app")
		}},
		{"who is logged in pulls", m.testPull},
		{"a user is removed", func(t *testing.T) {
			succeeds(t, c.login(g.leaver))
			succeeds(t, c.pull(g.leaver, m.private))
			htpasswd(t, "", "--delete", "--file", g.users, g.leaver.name)
			removed = time.Now()
		}},
		{"who is not logged in does not pull", m.testDeniedPull},
		{"a wrong password is no login", m.testWrongPassword},
		{"what takes our credential at its upstream takes a login here", m.testLent},
		{"a pull with a token that has expired", m.testStalePull},
		{"a push with a token that has expired", m.testStalePush},
		{"who was removed is refused", func(t *testing.T) { m.testRemoved(t, removed.Add(revocation)) }},
	}
	for _, fact := range facts {
		g.reset()
		ok := t.Run(fact.name, func(t *testing.T) {
			defer g.wantNoFailures(t)
			fact.do(t)
		})
		if !ok {
			t.FailNow()
		}
	}
}

type matrix struct {
	guarded
	client  member
	says    tells
	private string // a repository of this server
}

func (m matrix) testAnonymous(t *testing.T) {
	succeeds(t, m.client.pull(m.nobody, m.client.mirrored(publicApp)))
	m.wantCredentials(t, false)
}

func (m matrix) testPush(t *testing.T) {
	succeeds(t, m.client.login(m.alice))
	succeeds(t, m.client.push(m.alice, m.client.mirrored(publicApp), m.private))
	m.wantKept(t, hostedApp)
}

func (m matrix) testDeniedPush(t *testing.T, who account, says string) {
	fails(t, m.client.push(who, m.client.mirrored(publicApp), m.ref("team/other/app:1.0.0")), says)
	m.get(t, "/v2/team/other/app/tags/list", http.StatusNotFound, nil)
}

func (m matrix) testPull(t *testing.T) {
	m.client.forget(t)
	succeeds(t, m.client.pull(m.alice, m.private))
	m.wantCredentials(t, true)
}

func (m matrix) testDeniedPull(t *testing.T) {
	m.client.forget(t)
	fails(t, m.client.pull(m.nobody, m.private), m.says.notLoggedIn)
}

func (m matrix) testWrongPassword(t *testing.T) {
	fails(t, m.client.login(account{m.alice.name, "wrong"}), m.says.wrongPassword)
	succeeds(t, m.client.login(m.alice))
}

// testLent also asks for what is cached by then.
func (m matrix) testLent(t *testing.T) {
	succeeds(t, m.client.pull(m.nobody, m.ref(openApp)))
	fails(t, m.client.pull(m.nobody, m.ref(corpApp)), m.says.notLoggedIn)
	succeeds(t, m.client.pull(m.alice, m.ref(corpApp)))
	m.client.forget(t)
	fails(t, m.client.pull(m.nobody, m.ref(corpApp)), m.says.notLoggedIn)
}

func (m matrix) testStalePull(t *testing.T) {
	m.client.forget(t)
	pull := func() sandbox.Result { return m.client.pull(m.alice, m.private) }
	m.testStale(t, pull, m.says.stalePull)
}

func (m matrix) testStalePush(t *testing.T) {
	again := "team/again/app:1.0.0"
	push := func() sandbox.Result { return m.client.push(m.alice, m.private, m.ref(again)) }
	m.testStale(t, push, m.says.stalePush)
	m.wantKept(t, again)
}

func (m matrix) testStale(t *testing.T, do func() sandbox.Result, says string) {
	t.Helper()
	first := withStaleToken(t, m.guarded, time.Hour, do)
	if says == "" {
		succeeds(t, first)
		return
	}
	fails(t, first, says)
	succeeds(t, do())
}

// testRemoved: what everybody may pull goes on, with the login that is worth nothing any more.
func (m matrix) testRemoved(t *testing.T, deadline time.Time) {
	m.client.forget(t)
	pull := func() sandbox.Result { return m.client.pull(m.leaver, m.private) }
	untilRefused(t, deadline, pull) // in the middle of a pull, perhaps, of which clients say something else
	fails(t, pull(), m.says.removed)
	fails(t, m.client.login(m.leaver), m.says.wrongPassword)
	succeeds(t, m.client.pull(m.leaver, m.ref(publicApp)))
	succeeds(t, m.client.pull(m.alice, m.private))
}

// untilRefused tries again and again, but not for ever.
func untilRefused(t *testing.T, deadline time.Time, try func() sandbox.Result) {
	t.Helper()
	for try().Err == nil {
		if time.Now().After(deadline) {
			t.Fatalf("whoever was removed still goes on after %s", revocation)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func succeeds(t *testing.T, r sandbox.Result) {
	t.Helper()
	if r.Err != nil {
		t.Fatalf("%v\n%s", r.Err, r.All)
	}
}

// fails checks that people are told why.
func fails(t *testing.T, r sandbox.Result, says string) {
	t.Helper()
	if r.Err == nil {
		t.Fatalf("this should have been refused:\n%s", r.All)
	}
	if !strings.Contains(r.All, says) {
		t.Errorf("the client does not say %q:\n%s", says, r.All)
	}
}
