package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/hosted"
)

// openHosted gives the hosted repositories their own part of what is kept. Without a bucket they are on disk, whatever the
// cache may use of it.
func (s *stored) openHosted(c Config, kept storage.Store, events hosted.Events, log *slog.Logger) (err error) {
	s.hostedStore = storage.Under(kept, "hosted")
	o := hosted.Options{
		Store: s.hostedStore, Events: events, Log: log,
		Grace: time.Duration(c.GCGrace), Untagged: time.Duration(c.GCUntagged),
	}
	if s.bucket != nil {
		o.Ahead = recordsAhead
	} else {
		space := room{giveUp: s.blobs.Room, givable: s.blobs.Givable, free: func() (int64, error) { return cache.FreeBytes(c.Data) }}
		o.Fits, o.Room = space.fits, space.forPush
	}
	s.hosted, err = hosted.New(o)
	return err
}

// recordsAhead: one after the other, at some 15 ms each, a million manifests take hours.
const recordsAhead = 16

const (
	probeTime = time.Minute    // enough for a handful of small writes on a slow disk
	probeLife = 24 * time.Hour // by then whoever left a probe in a store that several use has died over it
)

// probe refuses a store where two writers of one record may both win: pushes would be lost. A store that fails is another
// matter: a full disk must not keep the server from serving what it has.
func probe(ctx context.Context, s storage.Store, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	err := errors.Join(forgetProbes(ctx, s, time.Now().Add(probeLife)), storage.Probe(ctx, s)) // nobody else uses the store
	if errors.Is(err, storage.ErrUnconditional) {
		return fmt.Errorf("hosted repositories cannot be kept here, since pushes could be lost: %w", err)
	}
	if err != nil {
		log.Error("hosted repositories may not be writable", "err", err)
	}
	return nil
}

// forgetProbes removes what a process left before that was killed while it probed.
func forgetProbes(ctx context.Context, s storage.Store, before time.Time) error {
	for left, err := range s.List(ctx, "probe/", "") {
		if err == nil && left.Modified.Before(before) {
			err = s.Delete(ctx, left.Key)
		}
		if err != nil {
			return fmt.Errorf("remove earlier probes: %w", err)
		}
	}
	return nil
}

// repository is what a command was told to look at, wherever it is.
type repository struct {
	all    bool
	cached cache.Repo
	hosted string
}

// parseRepository reads a name as people write it. "nginx" may be Docker Hub's or one that was pushed here; both are meant.
func parseRepository(names *proxy.Names, s string) (repository, error) {
	if s == "" {
		return repository{all: true}, nil
	}
	name, ref, err := splitReference(s)
	if err == nil && ref != "" {
		err = fmt.Errorf("%q names more than a repository", s)
	}
	if err != nil {
		return repository{}, err
	}
	if home, err := proxy.Target(names, name, "", ""); err == nil && home.Hosted && proxy.ValidName(name) {
		r := repository{hosted: name}
		r.cached, _, _ = parseReference(names, s) // none where all of that name is hosted
		return r, nil
	}
	var r repository
	r.cached, _, err = parseReference(names, s)
	return r, err
}

// pageSize is how much of a listing is asked for at once.
const pageSize = 1000

// hostedTags yields the tags of hosted repositories.
func hostedTags(ctx context.Context, g *hosted.Registry, only repository) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for name, err := range hostedNames(ctx, g, only) {
			if err != nil {
				yield(entry{}, err)
				return
			}
			repo := g.Repo(name)
			tags := pages(func(last string) ([]string, bool, error) { return repo.Tags(ctx, pageSize, last) })
			for tag, err := range tags {
				if errors.Is(err, hosted.ErrNameUnknown) {
					break // nothing was pushed there, or all of it is gone
				}
				var m hosted.Manifest
				if err == nil {
					m, err = repo.Manifest(ctx, tag)
				}
				if errors.Is(err, hosted.ErrManifestUnknown) {
					continue // deleted meanwhile
				}
				if !yield(entry{Repository: name, Tag: tag, Digest: m.Digest, MediaType: m.MediaType, Size: int64(len(m.Bytes)), Hosted: true}, err) || err != nil {
					return
				}
			}
		}
	}
}

func hostedNames(ctx context.Context, g *hosted.Registry, only repository) iter.Seq2[string, error] {
	if only.all {
		return pages(func(last string) ([]string, bool, error) { return g.Repositories(ctx, pageSize, last, nil) })
	}
	return func(yield func(string, error) bool) {
		if only.hosted != "" {
			yield(only.hosted, nil)
		}
	}
}

// pages yields the items of a listing that comes in pages.
func pages(next func(last string) (items []string, more bool, err error)) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for last, more := "", true; more; {
			var items []string
			var err error
			if items, more, err = next(last); err != nil {
				yield("", err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
				last = item
			}
			more = more && len(items) > 0
		}
	}
}
