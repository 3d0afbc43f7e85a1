package hosted

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
)

// Each operation of a store that keeps silent takes half a minute, and a client waits for all of them.
func TestAStoreThatDoesNotAnswerIsAskedOnce(t *testing.T) {
	b, d := random(1000)
	m := imageOf(b)
	for name, push := range map[string]func(context.Context, Repo) error{
		"a blob at once": func(ctx context.Context, r Repo) error { return r.PushBlob(ctx, d, bytes.NewReader(b), 1000) },
		"a blob in chunks": func(ctx context.Context, r Repo) error {
			id, err := r.StartUpload(ctx, digest.SHA256)
			if err == nil {
				_, err = r.AppendUpload(ctx, id, 0, bytes.NewReader(b), 1000)
			}
			if err == nil {
				err = r.CommitUpload(ctx, id, -1, bytes.NewReader(nil), 0, d)
			}
			return err
		},
		"a manifest": func(ctx context.Context, r Repo) error {
			_, err := r.PutManifest(ctx, ManifestPush{Bytes: m, Tags: []string{"t"}})
			return err
		},
		"the deletion of a blob": func(ctx context.Context, r Repo) error { return r.DeleteBlob(ctx, d) },
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				c := newClock()
				store, asked := mem.New(c.Now), 0
				if strings.Contains(name, "manifest") || strings.Contains(name, "deletion") {
					newSiteOver(t, c, storagetest.Bucket(store, 1, 1000)).pushBlob("a", b)
				}
				s := newSiteOver(t, c, storagetest.Slow(storagetest.Bucket(store, 1, 1000), func(_ context.Context, op storagetest.Op, key string) error {
					if asked++; asked < n {
						return nil
					}
					return fmt.Errorf("%s %s: %w", op, key, storage.ErrUnavailable)
				}))
				err := push(t.Context(), s.Repo("a"))
				if asked < n {
					if err != nil || n < 4 {
						t.Errorf("%v after %d operations", err, asked)
					}
					return
				}
				if err != nil && !errors.Is(err, storage.ErrUnavailable) || asked > n {
					t.Errorf("operation %d found the store silent, and %d more asked it: %v", n, asked-n, err)
				}
			}
		})
	}
}
