package proxy

import (
	"errors"
	"fmt"
	"os"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/opencontainers/go-digest"
)

// copyLimit is how large a blob of the cache may be that is copied where it cannot be linked.
const copyLimit = 64 << 20

// mount gives the repository a blob that is here already. Where that cannot be, it is not mounted and no error: the client
// then uploads it.
func (c *call) mount(d digest.Digest) (mounted bool, err error) {
	from := string(c.ctx.QueryArgs().Peek("from"))
	if from != "" && !ValidName(from) {
		return false, newError(CodeNameInvalid, "from is no repository name")
	}
	if err := c.mountFrom(from, d); err != nil {
		c.server.o.Log.Debug("not mounted", "repository", c.home.Name, "from", from, "digest", d, "err", err)
		return false, nil
	}
	c.created("blobs", d)
	return true, nil
}

// mountFrom asks whose name from is as a pull would. Without one, any hosted repository will do that
// the caller may pull.
func (c *call) mountFrom(from string, d digest.Digest) error {
	if from == "" {
		_, err := c.hostedRepo().MountAny(c.server.ctx, d, func(name string) bool {
			return c.mayPull(Home{Hosted: true, Name: name}, name, string(d)) == nil
		})
		return err
	}
	home, err := Target(c.server.names, from, c.ns, view(c.ctx.Host()))
	if err != nil {
		return err
	}
	if err := c.mayPull(home, from, string(d)); err != nil {
		return err
	}
	if home.Hosted {
		_, err := c.hostedRepo().MountBlob(c.server.ctx, d, home.Name)
		return err
	}
	return c.mountCached(cache.Repo{Registry: home.Registry, Name: home.Name}, d)
}

// mountCached takes a blob over from the cache, if that has it: nothing is fetched for it.
func (c *call) mountCached(from cache.Repo, d digest.Digest) error {
	linked, err := c.server.o.Blobs.Link(c.server.ctx, from, d, func(path string, size int64) error {
		err := c.hostedRepo().LinkBlob(c.server.ctx, d, size, path)
		if errors.Is(err, storage.ErrUnable) && size <= copyLimit {
			return c.copyFile(path, d, size)
		}
		return err
	})
	if err == nil && !linked {
		err = fmt.Errorf("%s of %s in the cache: %w", d, from, hosted.ErrBlobUnknown)
	}
	return err
}

func (c *call) copyFile(path string, d digest.Digest, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	return c.hostedRepo().PushBlob(c.server.ctx, d, f, size)
}
