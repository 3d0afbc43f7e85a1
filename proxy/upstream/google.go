package upstream

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"oras.land/oras-go/v2/registry/remote/auth"
)

const googleScope = "https://www.googleapis.com/auth/cloud-platform"

// newGoogle gets access tokens from Google's default credentials: a key file, gcloud's own, or the metadata server. They are looked
// for when the first token is wanted, so that a machine without network starts.
func newGoogle() lookup {
	find := sync.OnceValues(func() (oauth2.TokenSource, error) {
		c, err := google.FindDefaultCredentials(context.Background(), googleScope)
		if err != nil {
			return nil, fmt.Errorf("google's default credentials: %w", err)
		}
		return c.TokenSource, nil
	})
	return func(context.Context) (auth.Credential, error) {
		tokens, err := find()
		if err != nil {
			return auth.EmptyCredential, err
		}
		return googleCredential(tokens)
	}
}

// googleCredential is how registries of Google take an access token: as the password of a user of that name.
func googleCredential(tokens oauth2.TokenSource) (auth.Credential, error) {
	t, err := tokens.Token()
	if err != nil {
		return auth.EmptyCredential, fmt.Errorf("access token from google: %w", err)
	}
	return auth.Credential{Username: "oauth2accesstoken", Password: t.AccessToken}, nil
}
