package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// diary is a log that several goroutines write to.
type diary struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.Write(p)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.String()
}

// startTold is start with all that the server prints.
func startTold(t *testing.T, told *diary, pairs ...string) *running {
	t.Helper()
	env := environment(append([]string{"LISTEN=127.0.0.1:0", "ADMIN_LISTEN=127.0.0.1:0", "LOG_FORMAT=json", "DISK_SIZE=64MiB", "MIN_FREE=0", "MEMORY_SIZE=8MiB"}, pairs...)...)
	log, writer := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	go func() { // until stop
		code <- run(ctx, invocation{environment: env, out: told, errs: io.MultiWriter(writer, told)})
		writer.Close()
	}()
	r := &running{t: t, environment: env, stop: func() int { cancel(); c := <-code; code <- c; return c }}
	t.Cleanup(func() { r.stop() })
	r.awaitAddresses(log)
	return r
}

// lockedRegistry gives its token to whoever knows the password, and repeats secrets in what it says is wrong.
func lockedRegistry(t *testing.T, password, token string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	registry := httptest.NewServer(mux)
	t.Cleanup(registry.Close)
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if _, given, _ := r.BasicAuth(); given != password {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"details":"wrong password: %s"}`, given)
			return
		}
		fmt.Fprintf(w, `{"token":%q}`, token)
	})
	mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+registry.URL+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(r.URL.Path, "signed"):
			http.Redirect(w, r, registry.URL+"/expired?X-Amz-Signature=pl4nted-signature", http.StatusTemporaryRedirect)
		default:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"errors":[{"message":"you sent %s"}]}`, r.Header.Get("Authorization"))
		}
	})
	mux.HandleFunc("/expired", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "expired: "+r.URL.RawQuery, http.StatusForbidden)
	})
	return registry
}

// CVE-2025-48374, GHSA-prh4-vhfh-24mj: whatever a whole server writes down, of its users' secrets and its own, holds none.
func TestCVE_2025_48374_GHSA_prh4_vhfh_24mj_AServerTellsNoSecret(t *testing.T) {
	const password, wrong, ofUpstream, upstreamToken = "pl4nted-user", "pl4nted-wrong", "pl4nted-upstream", "pl4nted-upstream-token"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	files := t.TempDir()
	users, audit := filepath.Join(files, "users"), filepath.Join(files, "audit.log")
	if err := os.WriteFile(users, fmt.Appendf(nil, "alice:%s\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	upstream := lockedRegistry(t, ofUpstream, upstreamToken)
	var told diary
	r := startTold(t, &told, "DATA="+filepath.Join(files, "data"), "HTPASSWD="+users, "AUDIT_LOG="+audit, "LOG_LEVEL=DEBUG", "ACCESS_LOG=on",
		"UPSTREAMS=corp.example="+upstream.URL+",bad.example="+upstream.URL, "DEFAULT_UPSTREAM=none", "UPSTREAM_0_HOST=corp.example", "UPSTREAM_0_USERNAME=bob",
		"UPSTREAM_0_PASSWORD="+ofUpstream, "UPSTREAM_0_PRIVATE=allow", "UPSTREAM_1_HOST=bad.example", "UPSTREAM_1_USERNAME=bob", "UPSTREAM_1_PASSWORD=pl4nted-refused")
	secrets := map[string]string{
		"what is planted": "pl4nted", "the user's hash": string(hash), "Basic of the user": base64.StdEncoding.EncodeToString([]byte("alice:" + password)),
		"Basic of the wrong password": base64.StdEncoding.EncodeToString([]byte("alice:" + wrong)), "Basic of the upstream": base64.StdEncoding.EncodeToString([]byte("bob:" + ofUpstream)),
	}
	robot := r.addRobot("ci")
	secrets["the robot's secret"] = robot.Secret
	secrets["Basic of the robot"] = base64.StdEncoding.EncodeToString([]byte("robot+ci:" + robot.Secret))

	var answers strings.Builder
	ask := func(method, path, body, authorization string) string {
		t.Helper()
		request, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", authorization)
		request.Header.Set("Cookie", "session=pl4nted")
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		var token struct{ Token string }
		if json.Unmarshal(text, &token) == nil && token.Token != "" {
			secrets["a token of "+method+" "+path] = token.Token
			secrets["its signature, of "+method+" "+path] = token.Token[strings.LastIndexByte(token.Token, '.')+1:]
			return token.Token
		}
		_ = response.Header.Write(&answers) // to a string
		answers.Write(text)
		return ""
	}
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	scope := "/token?scope=repository:corp.example/a:pull&scope=repository:team/a:pull,push&password=pl4nted"
	bearer := "Bearer " + ask("GET", scope, "", basic("alice", password))
	for _, path := range []string{"corp.example/a/manifests/v1", "corp.example/signed/blobs/sha256:" + strings.Repeat("a", 64), "bad.example/a/manifests/v1"} {
		ask("GET", "/v2/"+path, "", basic("alice", password)) // each takes the time that failures of an upstream take
	}
	for _, authorization := range []string{"", "Bearer " + "pl4nted", basic("alice", password), basic("alice", wrong), basic("robot+ci", robot.Secret), bearer, bearer + "x", "Bearer " + ask("GET", scope, "", basic("robot+ci", robot.Secret))} {
		for _, target := range []string{
			"GET /v2/", "PUT /v2/team/a/manifests/x", "POST /v2/team/a/blobs/uploads/", "DELETE /v2/team/a/manifests/x", "GET /token", "GET /v2/team/../x",
		} {
			method, path, _ := strings.Cut(target, " ")
			ask(method, path+"?token=pl4nted&X-Amz-Signature=pl4nted", "password=pl4nted", authorization)
		}
	}
	for _, form := range []url.Values{
		{"grant_type": {"password"}, "username": {"alice"}, "password": {password}, "scope": {"repository:team/a:push"}}, {"grant_type": {"password"}, "username": {"alice"}, "password": {wrong}},
		{"grant_type": {"refresh_token"}, "refresh_token": {"pl4nted"}},
	} {
		ask("POST", "/token", form.Encode(), "")
	}
	var commands strings.Builder
	for _, args := range [][]string{{"config"}, {"robot", "list"}, {"robot", "list", "--json"}, {"ls"}, {"policy", "check", "alice", "pull", "corp.example/a"}, {"gc"}, {"verify"}, {"version"}, {"robot", "revoke", "ci"}} {
		code, out, errs := r.command(args...)
		fmt.Fprintln(&commands, args, code, out, errs)
	}
	_, metrics := r.get(r.admin + "/metrics")
	if code := r.stop(); code != exitOK {
		t.Errorf("the server ended with %d", code)
	}
	audited, err := os.ReadFile(audit)
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"the log": told.String(), "the audit log": string(audited), "metrics": string(metrics), "a command": commands.String(), "an answer": answers.String()} {
		if len(text) < 500 {
			t.Errorf("%s has %d bytes only: %s", where, len(text), text)
		}
		for what, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s holds %s: %q", where, what, text[max(0, at-300):min(len(text), at+100)])
			}
		}
	}
	for path, text := range filesBelow(t, filepath.Join(files, "data")) {
		for what, secret := range secrets {
			if what != "the user's hash" && strings.Contains(text, secret) {
				t.Errorf("%s holds %s", path, what)
			}
		}
	}
}

func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d files, %v", len(all), err)
	}
	return all
}

// CVE-2025-59345, CVE-2026-24124, CVE-2026-49254: metrics, profiles and commands are on the admin's port and on the socket only,
// and neither is where clients are.
func TestCVE_2025_59345_CVE_2026_24124_CVE_2026_49254_ClientsReachNothingOfTheAdmin(t *testing.T) {
	data := t.TempDir()
	r := start(t, "DATA="+data, "HTPASSWD="+usersFile(t, "alice"))
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/debug/pprof/heap", "/cached", "/gc", "/verify", "/robots", "/robots/ci", "/policy", "/metrics/"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodPut} {
			request, err := http.NewRequest(method, r.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.SetBasicAuth("alice", "alice")
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, path, response.StatusCode)
			}
		}
	}
	for _, path := range []string{"/cached", "/gc", "/verify", "/robots", "/v2/", "/token"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			request, err := http.NewRequest(method, r.admin+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusNotFound {
				t.Errorf("the admin's port, %s %s: %d", method, path, response.StatusCode)
			}
		}
	}
	info, err := os.Stat(filepath.Join(data, "entrepot.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
}

// CVE-2026-4404, CVE-2023-27584: no installation comes with a user, a robot or a key of another one.
func TestCVE_2026_4404_CVE_2023_27584_AnInstallationBeginsWithNobody(t *testing.T) {
	keys := map[string]bool{}
	for range 2 {
		data := t.TempDir()
		r := start(t, "DATA="+data, "HTPASSWD="+emptyFile(t))
		for user, password := range map[string]string{"admin": "admin", "robot+ci": "", "": ""} {
			if code := r.login(user, password); code != http.StatusUnauthorized {
				t.Errorf("%q: %d", user, code)
			}
		}
		r.want("USER  CREATED  EXPIRES  NOTE\n", "robot", "list")
		found := 0
		for path, text := range filesBelow(t, data) {
			if !strings.Contains(path, "/keys/") {
				continue
			}
			found++
			if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s is open to others: %v, %v", path, info.Mode(), err)
			}
			if keys[text] {
				t.Errorf("%s is in two installations", path)
			}
			keys[text] = true
		}
		if found == 0 {
			t.Error("no key was made")
		}
		r.stop()
	}
}

// CVE-2026-4404 again: what is copied from a page or an example must not be a password or a key.
func TestCVE_2026_4404_NoExampleIsASecret(t *testing.T) {
	secret := regexp.MustCompile(`\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}|PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}|ept_[A-Za-z0-9_-]{20}`)
	files := 0
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() && (d.Name() == "e2e" || d.Name() == ".git" || d.Name() == "data") {
			return filepath.SkipDir
		}
		if err != nil || d.IsDir() || !slices.Contains([]string{".md", ".yml", ".yaml", ".env", ".service", ".toml", ".json", ".txt", ""}, filepath.Ext(path)) {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() > 1<<20 || !info.Mode().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if found := secret.Find(text); found != nil {
			t.Errorf("%s: %.20q", path, found)
		}
		return err
	})
	if err != nil || files < 10 {
		t.Errorf("%d files were read, %v", files, err)
	}
}
