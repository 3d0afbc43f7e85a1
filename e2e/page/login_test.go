package page

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"

	"github.com/entrepot/entrepot/e2e/server"
)

const policy = `
hosted:
  - repositories: ["**"]
    delete: [users]
upstream:
  - repositories: ["**"]
    pull: [everyone, users]
`

// guarded are the settings of a server that knows ann.
func guarded(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	users, rules := filepath.Join(dir, "users"), filepath.Join(dir, "policy.yaml")
	cmd := exec.Command(server.Binary(t), "htpasswd", "--file", users, "ann")
	cmd.Env, cmd.Stdin = []string{"PATH=" + os.Getenv("PATH")}, strings.NewReader("secret of ann\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("entrepot htpasswd: %v\n%s", err, out)
	}
	if err := os.WriteFile(rules, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"HTPASSWD": users, "POLICY": rules}
}

// credentials answers when the browser would ask for a name and a password. Empty ones are the button Cancel.
func (tb *tab) credentials(user, password string) {
	tb.t.Helper()
	on := true
	tb.do(call(fetch.Enable, fetch.EnableParams{HandleAuthRequests: &on}))
	asked := chromedp.Events(tb.ctx, fetch.AuthRequired)
	paused := chromedp.Events(tb.ctx, fetch.RequestPaused)
	answer := fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseProvideCredentials, Username: user, Password: password}
	if user == "" {
		answer = fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseCancelAuth}
	}
	session := chromedp.FromContext(tb.ctx).Target
	go func() { // ends with the tab
		for e, err := range asked {
			if err != nil {
				return
			}
			cdp.Call(tb.ctx, session, fetch.ContinueWithAuth, fetch.ContinueWithAuthParams{RequestID: e.RequestID, AuthChallengeResponse: &answer})
		}
	}()
	go func() { // ends with the tab
		for e, err := range paused {
			if err != nil {
				return
			}
			cdp.Call(tb.ctx, session, fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID})
		}
	}()
}

func TestLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t, guarded(t))
	browser := newBrowser(t)

	tb := newTab(t, browser, s.URL)
	tb.credentials("", "")
	tb.open("/")
	tb.looksRight("stranger")
	if n := eval[int](tb, `document.querySelectorAll("[data-live], .upstreams").length`); n > 0 {
		t.Error("a stranger sees how the server is")
	}
	if status := tb.open("/login"); status != http.StatusUnauthorized {
		t.Errorf("status %d for those who do not log in", status)
	}
	tb.looksRight("login")

	tb = newTab(t, browser, s.URL)
	tb.credentials("ann", "secret of ann")
	tb.open("/ui/repositories")
	tb.goes(chromedp.Click(chromedp.CSS(".who a")))
	if who := eval[string](tb, `document.querySelector(".who").innerText`); !strings.Contains(who, "ann") {
		t.Errorf("logged in as %q", who)
	}
	tb.open("/")
	if n := eval[int](tb, `document.querySelectorAll("[data-live]").length`); n != 1 {
		t.Error("who has logged in does not see how the server is")
	}
	tb.axe("")
}
