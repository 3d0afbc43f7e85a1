package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// Options describe one upstream. Only Host is needed.
type Options struct {
	Host string // the registry's name in image references: "docker.io"
	URL  string // its base URL; default https://<Host> (docker.io: https://registry-1.docker.io). Plain http only where it says so

	// At most one of: Username and Password, IdentityToken, Auth "ecr" or "google". Without any of them Credential is asked.
	Username, Password string
	IdentityToken      string // an OAuth2 refresh token
	Credential         func(ctx context.Context, host string) (auth.Credential, error)

	// Auth is how the credential is used: "" as the registry's challenge says, "basic" sent with each request,
	// "ecr" a token of the AWS SDK's credential chain, "google" one of Google's default credentials.
	Auth string

	// TokenHosts are hosts ("auth.corp", "auth.corp:8443") beside the registry's own that may have the credential when a challenge
	// names them. They may have private addresses.
	TokenHosts []string

	CA, ClientCert, ClientKey string            // PEM files; CA is trusted beside the system's
	Proxy                     *httpproxy.Config // nil: HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment

	MaxRequests int           // in parallel, the bodies of blobs included; default 64
	RateFloor   int           // below this many requests left in the rate limit, Spare is false
	Patience    time.Duration // for one operation with all its retries, up to its headers; default 10 s
	Stall       time.Duration // a blob's body without a byte for so long is broken off; default 10 s

	Events Events           // nil: nobody is told
	Log    *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // nil: time.Now
	Random func() float64   // in [0,1), safe for concurrent use; nil: math/rand/v2
}

const dockerHub = "docker.io"

// knownURL, searchBase and knownTokenHosts say what everybody knows of registries whose parts live on several hosts.
func knownURL(host string) string {
	if host == dockerHub {
		return "https://registry-1.docker.io"
	}
	return "https://" + host
}

// searchBase is the base URL of the registry itself, but for Docker Hub where it is reached as everybody reaches it.
func searchBase(host string, base *url.URL) *url.URL {
	if host == dockerHub && base.String() == knownURL(host) {
		return &url.URL{Scheme: "https", Host: "index.docker.io"}
	}
	return base
}

func knownTokenHosts(host string) []string {
	switch host {
	case dockerHub:
		return []string{"auth.docker.io"}
	case "registry.gitlab.com":
		return []string{"gitlab.com"}
	}
	return nil
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if o.URL == "" {
		o.URL = knownURL(o.Host)
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = 64
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.Stall == 0 {
		o.Stall = 10 * time.Second
	}
	if o.Events == nil {
		o.Events = NoEvents{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Proxy == nil {
		o.Proxy = httpproxy.FromEnvironment()
	}
	return o
}

// check gives the base URL and all mistakes.
func (o Options) check() (*url.URL, error) {
	base, err := parseBase(o.URL)
	faults := []error{err}
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(o.Host == "" || strings.ContainsAny(o.Host, "/@ "), "host %q is not a registry's name", o.Host)
	fault((o.Username == "") != (o.Password == ""), "a username needs a password, and the other way round")
	fault(o.Username != "" && o.IdentityToken != "", "both a password and an identity token")
	fault((o.ClientCert == "") != (o.ClientKey == ""), "a client certificate needs its key, and the other way round")
	fault(o.MaxRequests < 0 || o.RateFloor < 0 || o.Patience < 0 || o.Stall < 0, "a limit below zero")
	switch o.Auth {
	case "":
	case "basic":
		fault(o.Username == "", "auth basic needs a username and a password")
	case "ecr", "google":
		fault(o.Username != "" || o.IdentityToken != "", "auth %s brings its own credential", o.Auth)
	default:
		fault(true, "auth %q is none of basic, ecr, google", o.Auth)
	}
	return base, errors.Join(faults...)
}

// parseBase does not quote the URL in its errors: people put passwords there.
func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("the URL cannot be read")
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		return nil, errors.New("the URL is not http:// or https:// and a host")
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("the URL has more than a scheme, a host and a path; credentials go elsewhere")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}
