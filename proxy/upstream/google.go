package upstream

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"oras.land/oras-go/v2/registry/remote/auth"
)

const (
	googleScope   = "https://www.googleapis.com/auth/cloud-platform"
	googleTimeout = 10 * time.Second // of one request for a token; they know no context
)

// newGoogle gets access tokens from Google's default credentials: a key file, gcloud's own, or the metadata server. They are looked
// for when the first token is wanted, so that a machine without network starts; Google's library keeps a token until it expires.
func newGoogle(now func() time.Time) lookup {
	var tokens oauth2.TokenSource // guarded by remember, which runs one lookup at a time
	get := func(context.Context) (auth.Credential, error) {
		if tokens == nil {
			client := &http.Client{Timeout: googleTimeout}
			ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client) // the token source keeps it
			found, err := google.FindDefaultCredentials(ctx, googleScope)
			if err != nil {
				return auth.EmptyCredential, fmt.Errorf("google's default credentials: %w", err)
			}
			tokens = found.TokenSource
		}
		return googleCredential(tokens)
	}
	return remember(get, now, func(auth.Credential) time.Duration { return googleTimeout })
}

// googleCredential is how registries of Google take an access token: as the password of a user of that name.
func googleCredential(tokens oauth2.TokenSource) (auth.Credential, error) {
	t, err := tokens.Token()
	if err != nil {
		return auth.EmptyCredential, fmt.Errorf("access token from google: %w", err)
	}
	return auth.Credential{Username: "oauth2accesstoken", Password: t.AccessToken}, nil
}
