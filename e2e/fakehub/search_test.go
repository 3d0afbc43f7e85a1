package fakehub

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestSearch(t *testing.T) {
	h := New(t, Options{})
	for _, name := range []string{"library/app", "team/app", "team/other"} {
		h.Repo(name).AddImage(NewImage(Spec{}), "1")
	}
	h.Repo("secret/app").Private("ann")
	c := newClient(t, h)
	for query, want := range map[string][]string{
		"?q=APP":         {"app", "team/app"},
		"?q=app&n=1":     {"app"},
		"?q=library":     nil,
		"?q=team/&n=100": {"team/app", "team/other"},
	} {
		resp, b := c.fetch(t, "GET", h.URL()+"/v1/search"+query, "")
		var list struct{ Results []found }
		if err := json.Unmarshal(b, &list); err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", query, resp.StatusCode, b)
		}
		var got []string
		for _, r := range list.Results {
			got = append(got, r.Name)
			if r.Official != (r.Name == "app") {
				t.Errorf("%s: %+v", query, r)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	if resp, _ := c.fetch(t, "GET", h.URL()+"/v1/search?q=app&n=101", ""); resp.StatusCode != 400 {
		t.Errorf("n=101: %d", resp.StatusCode)
	}
	if n := h.Count(KindSearch); n != 5 {
		t.Errorf("counted %d searches, want 5", n)
	}
}
