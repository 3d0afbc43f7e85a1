package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/proxy/upstream"
	"github.com/entrepot/entrepot/storage/hosted"
)

// mostToWarm bounds what a command may ask for, in bytes.
const mostToWarm = 16 << 20

// warmer fetches whole images.
type warmer struct {
	manifests *cache.Manifests
	blobs     *cache.Blobs
	hosted    *hosted.Registry
	names     *proxy.Names
	upstreams []*upstream.Registry
	guard     *access.Guard
}

func (a *application) warmer(c Config) *warmer {
	names := c.names()
	return &warmer{a.stored.manifests, a.stored.blobs, a.stored.hosted, &names, a.upstreams, a.guard}
}

// addWarming adds what the command warm asks of a running server.
func addWarming(mux *http.ServeMux, u *upkeep, warm *warmer) {
	mux.HandleFunc("POST /warm", func(w http.ResponseWriter, r *http.Request) {
		var q warmRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostToWarm)).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(u, w, r, warm.task(q))
	})
}

func (w *warmer) task(q warmRequest) task[warmState] {
	return func(ctx context.Context, tell func(warmState)) (warmState, error) {
		platforms, err := parsePlatforms(q.Platforms)
		if err != nil {
			return warmState{}, err
		}
		reports := make([]cache.WarmReport, len(q.Images))
		var images []cache.WarmImage
		var places []int
		for i, name := range q.Images {
			image, report := w.find(ctx, name)
			if reports[i] = report; image.From != nil {
				images, places = append(images, image), append(places, i)
			}
		}
		var last cache.WarmProgress
		fetched, err := cache.WarmImages(ctx, w.manifests, w.blobs, images, cache.WarmOptions{
			Platforms: platforms, Referrers: q.Referrers, Admit: w.admit,
			Tell: func(p cache.WarmProgress) { last = p; tell(warmState{WarmProgress: p}) },
		})
		for i, report := range fetched {
			reports[places[i]] = report
		}
		return warmState{last, reports}, err
	}
}

// find says where an image comes from, or reports what there is to say of one that comes from nowhere.
func (w *warmer) find(ctx context.Context, name string) (cache.WarmImage, cache.WarmReport) {
	home, ref, err := w.parse(name)
	if err != nil {
		return cache.WarmImage{}, missing(name, err)
	}
	if home.Hosted {
		return cache.WarmImage{}, w.pushed(ctx, home.Name, ref)
	}
	repo := cache.Repo{Registry: home.Registry, Name: home.Name}
	name = spelled(repo.String(), ref)
	if err := w.admit(repo, ref); err != nil {
		return cache.WarmImage{}, missing(name, err)
	}
	i := slices.IndexFunc(w.upstreams, func(u *upstream.Registry) bool { return u.Host() == home.Registry })
	if i < 0 {
		return cache.WarmImage{}, missing(name, fmt.Errorf("no upstream %s is configured", home.Registry))
	}
	return cache.WarmImage{Name: name, From: w.upstreams[i].Repository(home.Name), Ref: ref}, cache.WarmReport{}
}

// parse reads an image as people write it, with this server's own address in front or without.
func (w *warmer) parse(s string) (proxy.Home, string, error) {
	name, ref, err := splitReference(s)
	if err != nil {
		return proxy.Home{}, "", err
	}
	if ref == "" {
		ref = "latest"
	}
	ns := w.names.Default // "nginx" means library/nginx here
	if first, rest, ok := strings.Cut(name, "/"); ok && slices.Contains(w.names.Self, first) {
		name, ns = rest, ""
	}
	home, err := proxy.Target(w.names, name, ns, "")
	if err == nil && !proxy.ValidName(home.Name) {
		err = fmt.Errorf("%q is not the name of a repository", name)
	}
	return home, ref, err
}

// admit is what the policy says of what may come in, whoever asks.
func (w *warmer) admit(repo cache.Repo, ref string) error {
	return w.guard.Anybody().Admit(access.Repository{Upstream: repo.Registry, Name: repo.Name}, ref)
}

// pushed reports on an image that is hosted here, and so comes from nowhere.
func (w *warmer) pushed(ctx context.Context, name, ref string) cache.WarmReport {
	m, err := w.hosted.Repo(name).Manifest(ctx, ref)
	switch {
	case errors.Is(err, hosted.ErrManifestUnknown), errors.Is(err, hosted.ErrNameUnknown):
		return missing(spelled(name, ref), errors.New("that name is hosted here, and nobody has pushed it"))
	case err != nil:
		return missing(spelled(name, ref), err)
	}
	return cache.WarmReport{Image: spelled(name, ref), Digest: m.Digest, Status: cache.WarmComplete, Bytes: int64(len(m.Bytes)),
		Complete: []digest.Digest{m.Digest}, Missing: []cache.WarmPart{}, Note: "hosted here: there is nothing to fetch"}
}

func missing(image string, why error) cache.WarmReport {
	return cache.WarmReport{Image: image, Status: cache.WarmIncomplete, Complete: []digest.Digest{}, Missing: []cache.WarmPart{{What: "image", Why: why.Error()}}}
}

func spelled(repository, ref string) string {
	if strings.Contains(ref, ":") {
		return repository + "@" + ref
	}
	return repository + ":" + ref
}

// parsePlatforms reads os/architecture or os/architecture/variant.
func parsePlatforms(texts []string) ([]ocispec.Platform, error) {
	form := regexp.MustCompile(`^([a-z0-9]+)/([a-z0-9_]+)(?:/([a-z0-9.]+))?$`)
	var all []ocispec.Platform
	for _, text := range texts {
		m := form.FindStringSubmatch(text)
		if m == nil {
			return nil, fmt.Errorf("%q is not a platform: write linux/amd64 or linux/arm/v7", text)
		}
		all = append(all, ocispec.Platform{OS: m[1], Architecture: m[2], Variant: m[3]})
	}
	return all, nil
}
