package bench

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// BenchmarkAccess compares our server with users and a policy with one without, for clients that say who they are in every
// way there is. Both are bound to one processor, the load to another; they take turns.
func BenchmarkAccess(b *testing.B) {
	need(b)
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{2500}})
	hub := fakehub.New(b, near())
	hub.Repo(repo).AddImage(img, "1")
	open, _ := newEntrepot(b, serverCore, hub, map[string]string{"TAG_TTL": "1h"})
	closed := newMembers(b, hub)
	for _, p := range []peer{open, closed.peer, open, closed.peer} { // the memory tier shows an object only some time after it was set
		if _, err := p.pull(b.Context(), "1", img); err != nil {
			b.Fatal(err)
		}
	}
	open.name = openServer
	for _, w := range []struct{ work, path string }{
		{"manifest by tag, 64 connections", manifestPath(repo, "1")},
		{"4 KiB blob, 64 connections", blobPath(repo, img.Layers[0].Digest)},
	} {
		b.Run(w.work, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			peers := append([]peer{open}, closed.as(withToken, withPassword, withNothing)...)
			loads := takeTurns(b, peers, full(15, 7), func(p peer) load { return requests(closed.header(b, p)...)(b, p.url+w.path) })
			results.addAccess("warm "+w.work+", with users: a token with each request", loads, withToken, 0.9)
			results.addAccess("— without a login", loads, withNothing, 0.9)
			results.addAccess("— a password with each request", loads, withPassword, 0)
		})
	}
	b.Run("token", func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		const path = "/token?service=entrepot&scope=repository:" + repo + ":pull"
		loads := takeTurns(b, closed.as(withSecret, withPassword, withNothing), full(7, 3), func(p peer) load { return requests(closed.header(b, p)...)(b, p.url+path) })
		for _, r := range []struct{ work, credential string }{
			{"tokens for a robot's secret, 64 connections", withSecret},
			{"— for a password that is remembered", withPassword},
			{"— for nobody in particular", withNothing},
		} {
			results.add(row{workColumn: r.work, entrepot: loads[r.credential].String()})
		}
	})
}

// The credentials of requests, which are names of peers in turns.
const (
	withNothing  = "nothing"
	withPassword = "password"
	withSecret   = "secret"
	withToken    = "token"
)

// addAccess adds a row, of which the ratio is that to the server without users. Without a target there is none to meet.
func (t *table) addAccess(work string, loads map[string]load, credential string, target float64) {
	theirs, ours := loads[openServer], loads[credential]
	r := row{workColumn: work, openServer: theirs.String(), entrepot: ours.String()}
	r.atLeast(ours.rate()/theirs.rate(), target, "%.2f")
	r[verdict] += fmt.Sprintf(" (processor: %.2f)", theirs.cost()/ours.cost())
	if target == 0 {
		delete(r, aim)
	}
	t.add(r)
}

// members is our server with a user, a robot, and a policy.
type members struct {
	peer
	user, robot, password, secret string
}

func newMembers(b *testing.B, hub *fakehub.Hub) members {
	b.Helper()
	dir := b.TempDir()
	users, policy := filepath.Join(dir, "users"), filepath.Join(dir, "policy.yaml")
	m := members{user: "alice", password: "correct horse"}
	cmd := exec.Command(server.Binary(b), "htpasswd", "--file", users, m.user)
	cmd.Env, cmd.Stdin = []string{"PATH=" + os.Getenv("PATH")}, strings.NewReader(m.password+"\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("entrepot htpasswd: %v\n%s", err, out)
	}
	if err := os.WriteFile(policy, []byte(longPolicy()), 0o600); err != nil {
		b.Fatal(err)
	}
	var s *server.Server
	m.peer, s = newEntrepot(b, serverCore, hub, map[string]string{
		"TAG_TTL": "1h", "HOSTED": "shared,team0,team1,team2,team3,team4", "HTPASSWD": users, "POLICY": policy, "AUDIT_LOG": filepath.Join(dir, "audit"),
	})
	out, code := s.Run("robot", "add", "--json", "ci")
	var added struct{ User, Secret string }
	if err := json.Unmarshal([]byte(out), &added); code != 0 || err != nil {
		b.Fatalf("entrepot robot add: %d, %v\n%s", code, err, out)
	}
	m.robot, m.secret = added.User, added.Secret
	return m
}

// longPolicy has 31 entries. The last of its section is the one for the repository of these benchmarks, and half of those
// before it are globs that begin alike.
func longPolicy() string {
	var hosted, upstream, incoming strings.Builder
	for i := range 5 {
		fmt.Fprintf(&hosted, "  - {repositories: [team%d/**], pull: [users], push: [\"@staff\"]}\n  - {repositories: [shared/*/charts-%d], pull: [everyone]}\n", i, i)
		fmt.Fprintf(&upstream, "  - {repositories: [docker.io/corp%d/**], pull: [\"@staff\"]}\n  - {repositories: [\"docker.io/lib*/*-internal%d\"], pull: [\"@staff\"]}\n", i, i)
		fmt.Fprintf(&incoming, "  - {deny: [docker.io/miners%d/**]}\n", i)
	}
	for i := range 4 {
		fmt.Fprintf(&incoming, "  - {deny: [\"docker.io/library/*\"], tags: [\"*-beta%d\"], because: it is not ready}\n", i)
	}
	return "groups:\n  staff: [alice, robot+ci]\nhosted:\n" + hosted.String() +
		"upstream:\n" + upstream.String() + "  - {repositories: [\"docker.io/library/*\"], pull: [everyone, users, robots]}\n" +
		"incoming:\n" + incoming.String() + "  - {allow: [\"docker.io/library/*\"]}\n"
}

// as are peers that are all this server, by what is sent to it.
func (m members) as(credentials ...string) []peer {
	var peers []peer
	for _, c := range credentials {
		p := m.peer
		p.name = c
		peers = append(peers, p)
	}
	return peers
}

// header is what a peer's requests say of who sends them. Tokens end soon, so that each turn has its own.
func (m members) header(b *testing.B, p peer) []string {
	b.Helper()
	switch p.name {
	case withPassword:
		return []string{"Authorization: " + basic(m.user, m.password)}
	case withSecret:
		return []string{"Authorization: " + basic(m.robot, m.secret)}
	case withToken:
		return []string{"Authorization: Bearer " + m.token(b)}
	}
	return nil
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// token logs in as the user.
func (m members) token(b *testing.B) string {
	b.Helper()
	query := url.Values{"service": {"entrepot"}, "scope": {"repository:" + repo + ":pull"}}
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, m.url+"/token?"+query.Encode(), nil)
	if err != nil {
		b.Fatal(err)
	}
	req.SetBasicAuth(m.user, m.password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		b.Fatalf("log in: %s, %v", resp.Status, err)
	}
	return answer.Token
}
