package upstream

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"
)

// hub counts pulls by account, and may refuse a credential.
type hub struct{ anonymous, credential string } // what is left; empty: refused

func (h *hub) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	left, limit := h.anonymous, "100"
	if req.Header.Get("Authorization") != "" {
		left, limit = h.credential, "200"
	}
	if left == "" {
		w.Header().Set("Ratelimit-Remaining", "0;w=21600") // of nobody in particular
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Ratelimit-Limit", limit+";w=21600")
	w.Header().Set("Ratelimit-Remaining", left+";w=21600")
	serveManifest(w, req)
}

func TestTheBudgetIsThatOfTheAccountThatAsks(t *testing.T) {
	f, h := newFake(t), &hub{anonymous: "3", credential: "150"}
	f.mux.Handle("/", h)
	now := time.Unix(1e9, 0)
	r := newRegistry(t, f, func(o *Options) {
		password(o)
		o.Auth, o.RateFloor, o.Now = "basic", 10, func() time.Time { return now }
	})
	repo := r.Repository("a/b")
	fetch := func() {
		t.Helper()
		if _, err := repo.FetchManifest(context.Background(), "v1"); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(fact string, spare, refused bool, want ...Limit) {
		t.Helper()
		if got := repo.Spare(); got != spare {
			t.Errorf("%s: spare is %v", fact, got)
		}
		got := r.Health()
		if got.State != "closed" || got.CredentialRefused != refused || !slices.Equal(got.Limits, want) {
			t.Errorf("%s: %+v, want refused %v, limits %v", fact, got, refused, want)
		}
	}
	expect("nothing was asked", true, false)
	if ok, err := repo.ReadableAnonymously(context.Background(), "v1"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	poor := Limit{"anonymous", 100, 3}
	expect("nobody's budget is low, and not ours", true, false, poor)
	fetch()
	expect("both were said", true, false, poor, Limit{"credential", 200, 150})
	h.anonymous, h.credential = "90", "2"
	fetch()
	expect("ours is low", false, false, poor, Limit{"credential", 200, 2})
	h.credential = ""
	fetch() // as nobody
	fetch() // the refusal is known
	expect("as nobody there is enough", true, true, Limit{"anonymous", 100, 90}, Limit{"credential", 200, 2})
	h.credential, now = "1", now.Add(credentialLife)
	fetch()
	expect("ours is low again", false, false, Limit{"anonymous", 100, 90}, Limit{"credential", 200, 1})
	now = now.Add(6 * time.Hour)
	expect("what was said is out of date", true, false)
}

func TestHealthTellsOfTheBreaker(t *testing.T) {
	f := newFake(t)
	f.mux.HandleFunc("/", status(http.StatusInternalServerError))
	r := newRegistry(t, f, func(o *Options) { o.Patience = time.Millisecond })
	if got := r.Health(); got.State != "closed" || got.Failing {
		t.Errorf("before it was asked: %+v", got)
	}
	_, _ = r.Repository("a/b").FetchManifest(context.Background(), "v1")
	if got := r.Health(); got.State != "closed" || !got.Failing {
		t.Errorf("after a failure: %+v", got)
	}
	for range maxFailures {
		_, _ = r.Repository("a/b").FetchManifest(context.Background(), "v1")
	}
	if got := r.Health(); got.State != "open" {
		t.Errorf("%+v", got)
	}
}
