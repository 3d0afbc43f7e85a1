package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Resolve says what a tag or digest means without fetching the manifest, for a client's HEAD. The size is -1 or 0 where
// upstream does not say. The text is that of a Warning header, empty unless the answer is stale.
func (m *Manifests) Resolve(ctx context.Context, up Upstream, ref string) (Descriptor, Tier, string, error) {
	repo := up.Repo()
	if man, ok := m.Hot(repo, ref); ok {
		return Descriptor{MediaType: man.MediaType, Digest: man.Digest, Size: int64(len(man.Bytes))}, TierMemory, "", nil
	}
	ref = strings.Clone(ref)
	if !isDigest(ref) {
		res, err := m.resolve(ctx, up, ref)
		if err != nil {
			return Descriptor{}, "", "", err
		}
		desc := Descriptor{MediaType: res.record.MediaType, Digest: res.record.Digest, Size: res.record.Size}
		return desc, res.tier, m.warn(repo.Registry, res), nil
	}
	d, err := digest.Parse(ref)
	if err != nil {
		return Descriptor{}, "", "", fmt.Errorf("manifest of %s: %q: %w", repo, ref, err)
	}
	desc, tier, err := m.resolveDigest(ctx, up, d)
	return desc, tier, "", err
}

// resolveDigest promises from the cache only what a GET could serve from it.
func (m *Manifests) resolveDigest(ctx context.Context, up Upstream, d digest.Digest) (Descriptor, Tier, error) {
	repo, name := up.Repo(), refName{up.Repo(), string(d)}
	size, missing := m.records.stat(ctx, manifestKey(d))
	if rec, err := m.seen.get(ctx, repo, d); err == nil && missing == nil && rec.MediaType != "" {
		return Descriptor{MediaType: rec.MediaType, Digest: d, Size: size}, TierDisk, nil
	}
	if err, ok := m.refused.get(name); ok {
		return Descriptor{}, "", err
	}
	desc, err := share(ctx, m.flights, flightKey("head", repo, string(d)), func(ctx context.Context) (Descriptor, error) {
		desc, err := up.ResolveManifest(ctx, string(d))
		if isAnswer(err) {
			m.refused.set(name, err, m.o.NegativeTTL)
		}
		return desc, err
	})
	if err != nil {
		return Descriptor{}, "", err
	}
	if missing == nil && desc.MediaType != "" && desc.Digest == d { // another repository's pull has stored it
		m.seen.Add(ctx, repo, d, desc.MediaType, size)
	}
	return Descriptor{MediaType: desc.MediaType, Digest: d, Size: desc.Size}, TierUpstream, nil
}

// warn counts a stale answer and gives the text of its warning; an answer that is not stale has none.
func (m *Manifests) warn(registry string, res resolution) string {
	if res.outage == nil {
		return ""
	}
	m.o.Events.Stale(registry, string(cause(res.outage)))
	return warning(registry, res.outage, "last checked "+res.record.Checked.UTC().Format(time.RFC3339))
}

func cause(err error) Cause {
	if u := new(UnavailableError); errors.As(err, &u) {
		return u.Cause
	}
	return CauseFailed
}

// warning is the text of `Warning: 299 - "..."`: one line of at most 200 bytes without quotes.
func warning(registry string, outage error, rest string) string {
	registry = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, registry[:min(len(registry), 80)])
	return "stale: " + registry + " " + reason(cause(outage)) + "; " + rest
}

func reason(c Cause) string {
	switch c {
	case CauseLimited:
		return "limits our requests"
	case CauseTimeout:
		return "does not answer in time"
	case CauseOpen:
		return "is known to be down"
	case CauseCredential:
		return "refuses our credential"
	}
	return "fails or cannot be reached"
}
