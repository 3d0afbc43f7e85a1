package proxy

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"
)

// What a token can do is what the caller may do who was given it, and no more than it was asked for.
func TestTokensAreAsGoodAsWhoAsksForThem(t *testing.T) {
	f := build(t, nil)
	wide := []string{"repository:team/app:pull,push,delete", "repository:public/app:pull,push,delete", "repository:library/nginx:pull", "repository:hidden/app:pull"}
	for _, i := range f.identities(t) {
		scheme, credential, _ := strings.Cut(i.authorization("x"), " ")
		basic := scheme == "Basic"
		for _, c := range []struct {
			fact   string
			scopes []string
			pulls  bool // and nothing else
		}{{"everything", wide, false}, {"pulls", []string{"repository:team/app:pull", "repository:library/nginx:pull"}, true}, {"nothing", nil, false}} {
			r := f.ask("GET", "/token?"+url.Values{"service": {"entrepot"}, "scope": c.scopes}.Encode(), "", i.header("x")...)
			want := 200
			switch {
			case i.who == "" && !i.bad && !i.proved: // nobody asks for a token of nobody
			case !basic, i.bad && !(c.pulls && wellFormed(credential)):
				want = 401
			}
			if r.StatusCode != want || r.asked > 0 {
				t.Errorf("%s asks for %s: got %d %s, want %d", i.fact, c.fact, r.StatusCode, r.body, want)
				continue
			}
			if want == 401 {
				if strings.Contains(r.body, "token\":") {
					t.Errorf("%s asks for %s: %s", i.fact, c.fact, r.body)
				}
				continue
			}
			if r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s asks for %s: may be kept: %v", i.fact, c.fact, r.Header)
			}
			f.asGood(i, tokenOf(t, r.body).Token, c.scopes)
		}
	}
}

// wellFormed: a malformed login is nobody's, and no daemon sends one.
func wellFormed(credential string) bool {
	login, err := base64.StdEncoding.DecodeString(credential)
	return err == nil && len(login) > 1 && strings.Contains(string(login), ":")
}

// asGood compares what a token can do with the table.
func (f *fortress) asGood(i identity, token string, scopes []string) {
	f.t.Helper()
	who := i.who
	if i.bad {
		who = ""
	}
	for _, spelled := range []string{"team/app", "public/app", "library/nginx", "hidden/app", "vault/app"} {
		p := placeOf(spelled)
		for _, r := range requests(p) {
			if r.needs == 0 || r.needs != 'p' && !p.hosted() {
				continue
			}
			may := p.may(who, r.needs)
			if who != "" {
				may = may && asked(scopes, spelled, r.needs)
			}
			got := f.ask(r.method, "/v2/"+spelled+"/"+r.path, r.body, append([]string{"Authorization", "Bearer " + token}, r.headers...)...)
			if refused := got.StatusCode == 401 || got.StatusCode == 403; refused == may || refused && got.asked > 0 {
				f.t.Errorf("a token of %s for %q: %s %s/%s: %d %s", i.fact, scopes, r.method, spelled, r.path, got.StatusCode, got.body)
			}
		}
	}
}

func asked(scopes []string, spelled string, right byte) bool {
	action := map[byte]string{'p': "pull", 'u': "push", 'd': "delete"}[right]
	for _, scope := range scopes {
		if actions, ok := strings.CutPrefix(scope, "repository:"+spelled+":"); ok && strings.Contains(actions, action) {
			return true
		}
	}
	return false
}

func TestTokensAreGivenByGetAndPostOnly(t *testing.T) {
	f := build(t, nil)
	for _, verb := range verbs {
		r := f.ask(verb, "/token?scope=repository:team/app:pull", "", as("alice")...)
		want := map[string]int{"GET": 200, "HEAD": 200, "POST": 400}[verb]
		if want == 0 {
			want = 405
		}
		if r.StatusCode != want || r.asked > 0 {
			t.Errorf("%s: %d %s, want %d", verb, r.StatusCode, r.body, want)
		}
	}
	for fact, form := range map[string]url.Values{
		"no grant": {"username": {"alice"}, "password": {"password of alice"}}, "a wrong password": {"grant_type": {"password"}, "username": {"alice"}, "password": {"x"}},
		"no password": {"grant_type": {"password"}, "username": {"alice"}}, "no name": {"grant_type": {"password"}, "password": {"password of alice"}},
		"a token to refresh": {"grant_type": {"refresh_token"}, "refresh_token": {"x"}}, "an empty one": {"grant_type": {"refresh_token"}}, "a client": {"grant_type": {"client_credentials"}, "client_id": {"alice"}, "client_secret": {"x"}},
		"a code": {"grant_type": {"authorization_code"}, "code": {"x"}}, "two names": {"grant_type": {"password"}, "username": {"bob", "alice"}, "password": {"password of alice"}},
	} {
		for _, scope := range []string{"", "repository:team/app:pull,push"} {
			form.Set("scope", scope)
			if scope == "" {
				form.Del("scope")
			}
			r := f.ask("POST", "/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Authorization", basicAuth("alice", "password of alice"))
			if r.StatusCode != 400 && r.StatusCode != 401 || strings.Contains(r.body, "access_token") || r.asked > 0 {
				t.Errorf("%s: %d %s", fact, r.StatusCode, r.body)
			}
		}
	}
}

// What was looked at once is remembered, and ends all the same.
func TestWhatIsRememberedEndsInTime(t *testing.T) {
	f := build(t, nil)
	_, secret, err := f.guard.Robots().Add(t.Context(), "ci", "", f.now().Add(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	f.refresh()
	scope := "repository:team/app:pull"
	headers := map[string][]string{
		"a token": {"Authorization", "Bearer " + f.token("alice", "password of alice", scope)}, "a robot's token": {"Authorization", "Bearer " + f.token("robot+ci", secret, scope)},
		"a robot": {"Authorization", basicAuth("robot+ci", secret)}, "alice": as("alice"),
	}
	for _, c := range []struct {
		after time.Duration
		ended string
	}{{0, ""}, {time.Minute, ""}, {time.Minute + 30*time.Second, "a robot's token, a robot"}, {4 * time.Minute, "a robot's token, a robot, a token"}} {
		f.later.Add(int64(c.after))
		for fact, header := range headers {
			want := 200
			if strings.Contains(c.ended+",", fact+",") {
				want = 401
			}
			r := f.ask("GET", "/v2/team/app/manifests/v1", "", header...)
			if r.StatusCode != want || want == 401 && r.asked > 0 {
				t.Errorf("%s, after another %s: %d %s, want %d", fact, c.after, r.StatusCode, r.body, want)
			}
		}
	}
}
