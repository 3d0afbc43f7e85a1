package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/entrepot/entrepot/cache"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// lookup gets a credential; an empty one means there is none.
type lookup func(ctx context.Context) (auth.Credential, error)

// source is where our credential for one upstream comes from, and how messages call it.
type source struct {
	name string
	get  lookup
}

// How long a looked-up credential is used, and a failed lookup believed, before its file or helper is asked again.
const (
	credentialLife = time.Minute
	failureLife    = 5 * time.Second
)

// newSource gives nil where no credential can ever be.
func newSource(o Options) *source {
	switch {
	case o.Auth == "ecr":
		return &source{"a token from AWS", newECR(o.Host, o.Now)}
	case o.Auth == "google":
		return &source{"a token from Google", newGoogle(o.Now)}
	case o.Username != "":
		return fixed("the configured user "+o.Username, auth.Credential{Username: o.Username, Password: o.Password})
	case o.IdentityToken != "":
		return fixed("the configured identity token", auth.Credential{RefreshToken: o.IdentityToken})
	case o.Credential != nil:
		get := func(ctx context.Context) (auth.Credential, error) { return o.Credential(ctx, o.Host) }
		return &source{"the credential of the Docker configuration", remember(get, o.Now, func(auth.Credential) time.Duration { return credentialLife })}
	}
	return nil
}

func fixed(name string, c auth.Credential) *source {
	return &source{name, func(context.Context) (auth.Credential, error) { return c, nil }}
}

// remember keeps what get gave for as long as life says, and a failure for a few seconds, so that a helper that fails is not run for
// every request. Callers wait for one another, for at most one get.
func remember(get lookup, now func() time.Time, life func(auth.Credential) time.Duration) lookup {
	turn := make(chan struct{}, 1) // guards what follows
	var until time.Time
	var last auth.Credential
	var failed error
	return func(ctx context.Context) (auth.Credential, error) {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return auth.EmptyCredential, ctx.Err()
		}
		defer func() { <-turn }()
		if now().Before(until) {
			return last, failed
		}
		c, err := get(ctx)
		switch {
		case err == nil:
			last, failed, until = c, nil, now().Add(life(c))
		case ctx.Err() == nil:
			last, failed, until = auth.EmptyCredential, err, now().Add(failureLife)
		}
		return c, err
	}
}

// DockerCredentials reads a Docker config.json, with its credential helpers, for Options.Credential. The file is read anew at each
// call, so that a docker login takes effect; a file that is not there has no credentials.
func DockerCredentials(path string) func(ctx context.Context, host string) (auth.Credential, error) {
	return func(ctx context.Context, host string) (auth.Credential, error) {
		store, err := credentials.NewStore(path, credentials.StoreOptions{})
		if err != nil {
			return auth.EmptyCredential, fmt.Errorf("docker configuration %s: %w", path, err)
		}
		c, err := store.Get(ctx, credentials.ServerAddressFromRegistry(host))
		if err != nil {
			return auth.EmptyCredential, fmt.Errorf("docker configuration %s, credential for %s: %w", path, host, err)
		}
		return c, nil
	}
}

// HasCredentials reports whether requests go out with a credential of ours, which means that an answer may be private. Where that
// cannot be found out, it is assumed.
func (r *Registry) HasCredentials() bool {
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	has, err := r.hasCredential(ctx)
	return has || err != nil
}

func (r *Registry) hasCredential(ctx context.Context) (bool, error) {
	if r.own == nil {
		return false, nil
	}
	c, err := r.own.source.get(ctx)
	return c != auth.EmptyCredential, err
}

// standing is what the upstream thinks of our credential. A refusal of everything is remembered for a minute, in which requests go out
// as nobody's.
type standing struct {
	now  func() time.Time
	turn chan struct{} // held by whoever tries the credential, so that one try serves all

	mu    sync.Mutex // guards what follows
	bad   bool
	until time.Time // bad is known till then
}

// known gives the verdict while there is one.
func (s *standing) known() (bad, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bad, s.now().Before(s.until)
}

func (s *standing) refused() bool {
	bad, ok := s.known()
	return ok && bad
}

// set notes a verdict and reports whether it is a new one.
func (s *standing) set(bad bool) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = bad != s.bad
	s.bad, s.until = bad, s.now().Add(credentialLife)
	return changed
}

// acceptCredential notes that a request with our credential was not refused.
func (r *Registry) acceptCredential(err error) {
	if bad, _ := r.standing.known(); bad && (err == nil || errors.Is(err, cache.ErrNotFound)) {
		r.noteStanding(false)
	}
}

func (r *Registry) noteStanding(bad bool) {
	if r.standing.set(bad) {
		r.log.Warn("the standing of our credential changed", "upstream", r.host, "credential", r.own.source.name, "refused", bad)
		r.events.CredentialRefused(r.host, bad)
	}
}

// judgeCredential decides, when we were refused or could not even get our credential, whether that is an outage of the credential, and
// then gives the error that says so.
func (r *Registry) judgeCredential(ctx context.Context, trouble error) error {
	who := r.own.source.name
	if trouble != nil && !isDenied(trouble) {
		r.log.Warn("credential cannot be had", "upstream", r.host, "credential", who, "error", trouble)
		return &failure{cause: cache.CauseCredential, err: fmt.Errorf("%s cannot be had: %w", who, trouble)}
	}
	select {
	case r.standing.turn <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-r.standing.turn }()
	if _, ok := r.standing.known(); !ok {
		r.noteStanding(r.credentialRefused(ctx))
	}
	if !r.standing.refused() {
		return nil
	}
	return &failure{cause: cache.CauseCredential, err: fmt.Errorf("it refuses %s for everything", who)}
}

// credentialRefused asks as a login does: for /v2/ and no repository, with a token fetched for the purpose. That we ourselves did not
// hand out the credential is no refusal.
func (r *Registry) credentialRefused(ctx context.Context) bool {
	fresh := r.newSession(r.own.source, r.own.basic, r.own.budget)
	a, err := r.askAs(ctx, fresh, query{kind: KindPing, method: http.MethodGet, url: r.base.JoinPath("v2/"), header: http.Header{}})
	if err == nil {
		discard(a.Response)
	}
	var withheld *refusal
	return isDenied(err) && !errors.As(err, &withheld)
}
