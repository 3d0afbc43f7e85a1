package proxy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/access"
)

// CVE-2025-48374, GHSA-prh4-vhfh-24mj and containerd's 7b11d6cae: passwords and tokens came into logs, audits and events.
func TestCVE_2025_48374_GHSA_prh4_vhfh_24mj_NothingThatIsWrittenHoldsASecret(t *testing.T) {
	var log, audit shared
	debug := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f := build(t, func(o *Options) {
		o.Log, o.AccessLog, o.Audit = debug, AccessLogOn, access.NewAudit(&audit, time.Now).Write
	})
	guard, err := access.Open(t.Context(), access.Options{
		Htpasswd: filepath.Join(f.secret, "htpasswd"), Policy: filepath.Join(f.secret, "policy.yaml"),
		Upstreams: []string{"docker.io", "gcr.io", "corp.example"}, Store: f.keys, Now: f.now, Log: debug,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.guard, f.Server.o.Access = guard, guard // nothing asks it yet
	f.running.cache.blobs["docker.io/library/nginx@"+sha512] = func(cache.Range) (Content, error) { panic("in a handler") }
	f.running.cache.blobs["docker.io/library/nginx@"+sha256] = func(cache.Range) (Content, error) {
		return &content{size: 5, body: []byte("12345"), tier: cache.TierDisk, writeTo: func(io.Writer, []byte) (int64, error) { panic("in a body") }}, nil
	}
	f.running.cache.blobs["gcr.io/open/app@"+sha256] = func(cache.Range) (Content, error) { return nil, errors.New("disk on fire") }

	secrets := map[string]string{"a planted word": "pl4nted"}
	var bodies strings.Builder // of answers that give no token
	all := f.identities(t)
	for _, i := range all {
		f.plant(secrets, i)
		for _, target := range []string{
			"GET /v2/", "GET /v2/library/nginx/blobs/" + sha512, "GET /v2/gcr.io/open/app/blobs/" + sha256, "GET /v2/team/app/manifests/v1", "GET /v2/vault/app/manifests/v1",
			"PUT /v2/team/app/manifests/x", "POST /v2/team/app/blobs/uploads/?digest=" + never, "DELETE /v2/team/app/manifests/none", "GET /v2/_catalog?n=abc", "GET /v2/x/../y/tags/list",
			"BREW /v2/team/app/tags/list", "GET /nothing", "GET /v1/search?q=x", "PUT /token", "GET /v2/quay.io/x/manifests/y", "GET /v2/corp.example/ours/app/manifests/v1",
		} {
			method, path, _ := strings.Cut(target, " ")
			glue := "?"
			if strings.Contains(path, "?") {
				glue = "&"
			}
			path += glue + "token=pl4nted&access_token=pl4nted&password=pl4nted&X-Amz-Signature=pl4nted&account=bob"
			header := append(i.header("x"), "Cookie", "session=pl4nted", "X-Registry-Auth", "pl4nted", "Proxy-Authorization", "Basic pl4nted", "X-Api-Key", "pl4nted")
			fmt.Fprintln(&bodies, f.ask(method, path, `{"password":"pl4nted"}`, header...).text())
		}
	}
	for _, head := range []string{
		"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer pl4nted\r\nbroken line\r\n\r\n", "GET /v2/?password=pl4nted HTTP/9\r\nAuthorization: Basic pl4nted\r\n\r\n",
		"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer pl4nted" + strings.Repeat("x", 40<<10) + "\r\n\r\n", "pl4nted\r\n\r\n",
		"POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\ngrant_type=password&password=pl4nted",
	} {
		fmt.Fprintln(&bodies, f.halfClosed(head))
	}
	fmt.Fprint(&bodies, f.refusedTokens())
	if err := f.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"the log": log.String(), "the audit log": audit.String(), "an answer": bodies.String()} {
		if len(text) < 1000 {
			t.Errorf("%s has %d bytes only", where, len(text))
		}
		for what, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s holds %s: %q", where, what, text[max(0, at-300):min(len(text), at+100)])
			}
		}
	}
	for _, want := range []string{"in a handler", "disk on fire", "token refused"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not tell of: %s", want)
		}
	}
}

// plant adds what is secret of an identity: what it sends, and what that is made of.
func (f *fortress) plant(secrets map[string]string, i identity) {
	scheme, value, _ := strings.Cut(i.authorization("x"), " ")
	if len(value) < 12 {
		return
	}
	secrets[i.fact+": what it sends"] = value
	if user, password, ok := access.ParseBasic(value); ok && scheme == "Basic" && len(password) > 4 && user != "" {
		secrets[i.fact+": its password"] = password
		secrets[i.fact+": its password in a query"] = url.QueryEscape(password)
	}
	if parts := strings.Split(value, "."); len(parts) == 3 && len(parts[2]) > 12 {
		secrets[i.fact+": its signature"] = parts[2]
		secrets[i.fact+": its claims"] = parts[1]
		if claims, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			secrets[i.fact+": its claims as text"] = string(claims)
		}
	}
}

// refusedTokens asks for tokens in all the ways that are refused, and gives the answers.
func (f *fortress) refusedTokens() string {
	var all strings.Builder
	for _, form := range []url.Values{
		{"grant_type": {"password"}, "username": {"alice"}, "password": {"pl4nted"}},
		{"grant_type": {"password"}, "username": {"alice"}, "password": {"pl4nted"}, "scope": {"nonsense"}},
		{"grant_type": {"refresh_token"}, "refresh_token": {"pl4nted"}}, {"grant_type": {"pl4nted"}}, {"password": {"pl4nted"}},
		{"grant_type": {"password"}, "username": {"alice"}, "password": {"pl4nted" + strings.Repeat("x", formLimit)}},
		{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {"pl4nted"}, "client_secret": {"pl4nted"}},
	} {
		fmt.Fprintln(&all, f.ask("POST", "/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded").text())
	}
	for _, query := range []string{"?scope=nonsense&password=pl4nted", "?scope=repository:team/app:push&password=pl4nted&refresh_token=pl4nted"} {
		fmt.Fprintln(&all, f.ask("GET", "/token"+query, "", "Authorization", basicAuth("alice", "pl4nted")).text())
		fmt.Fprintln(&all, f.ask("GET", "/token"+query, "", "Authorization", "Bearer pl4nted").text())
	}
	return all.String()
}
