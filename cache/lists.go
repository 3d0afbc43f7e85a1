package cache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	mostListed    = 10_000  // entries of a list that asks for all
	mostReferrers = 4 << 20 // bytes of a referrers record
)

// Tags lists the tags of a repository as upstream does. While upstream is out it lists those that are cached, and warns;
// if there are none, the outage is the answer. n < 0 asks for as many as come at once.
func (m *Manifests) Tags(ctx context.Context, l Lister, n int, last string) (tags []string, more bool, text string, err error) {
	tags, more, err = l.ListTags(ctx, n, last)
	if !IsOutage(err) {
		return tags, more, "", err
	}
	repo := l.Repo()
	cached, more, cacheErr := m.cachedTags(ctx, repo, n, last)
	if cacheErr != nil || len(cached) == 0 && !more && last == "" {
		return nil, false, "", err
	}
	m.o.Events.Stale(repo.Registry, string(cause(err)))
	return cached, more, warning(repo.Registry, err, "only cached tags are listed"), nil
}

func (m *Manifests) cachedTags(ctx context.Context, repo Repo, n int, last string) (tags []string, more bool, err error) {
	if err := m.records.Flush(ctx); err != nil {
		return nil, false, err
	}
	if n < 0 || n > mostListed {
		n = mostListed
	}
	folder := tagKey(repo, "")
	for info, err := range m.records.list(ctx, folder, folder+last) {
		switch {
		case err != nil:
			return nil, false, err
		case len(tags) == n:
			return tags, true, nil
		}
		tags = append(tags, strings.TrimPrefix(info.Key, folder))
	}
	return tags, false, nil
}

// referrersRecord is what upstream last said refers to a manifest.
type referrersRecord struct {
	Index   ocispec.Index `json:"index"`
	Checked time.Time     `json:"checked"`
}

func (r referrersRecord) valid() bool { return !r.Checked.IsZero() }

// Referrers gives the index of what refers to a manifest, remembered as long as a tag. The text is that of a warning, empty
// unless upstream is out and the answer stale. Of a manifest that is here, an outage leaves an empty index with a warning: some
// daemons ask with every pull, and would fail all of it.
func (m *Manifests) Referrers(ctx context.Context, l Lister, d digest.Digest) (ocispec.Index, string, error) {
	repo := l.Repo()
	rec, outage, err := m.referrers(ctx, l, d)
	if !IsOutage(err) {
		return rec.Index, m.warn(repo.Registry, resolution{record: tagRecord{Checked: rec.Checked}, outage: outage}), err
	}
	if _, _, notHere := m.Kept(ctx, repo, string(d)); notHere != nil {
		return ocispec.Index{}, "", err
	}
	m.o.Events.Stale(repo.Registry, string(cause(err)))
	return ocispec.Index{}, warning(repo.Registry, err, "what refers to this is not known"), nil
}

// referrers is Referrers for those who must know. The outage is why the record is stale; nil when it is not.
func (m *Manifests) referrers(ctx context.Context, l Lister, d digest.Digest) (rec referrersRecord, outage, err error) {
	repo := l.Repo()
	d = digest.Digest(strings.Clone(string(d)))
	old, oldErr := m.knownReferrers(ctx, repo, d)
	if oldErr == nil && m.isFresh(old) {
		return old, nil, nil
	}
	rec, err = share(ctx, m.flights, flightKey("referrers", repo, string(d)), func(ctx context.Context) (referrersRecord, error) {
		if oldErr == nil {
			ctx = TryOnce(ctx)
		}
		return m.askReferrers(ctx, l, d)
	})
	if IsOutage(err) && oldErr == nil {
		return old, err, nil
	}
	return rec, nil, err
}

func (m *Manifests) askReferrers(ctx context.Context, l Lister, d digest.Digest) (referrersRecord, error) {
	if rec, err := m.knownReferrers(ctx, l.Repo(), d); err == nil && m.isFresh(rec) {
		return rec, nil
	}
	index, err := l.FetchReferrers(ctx, d)
	if err != nil {
		return referrersRecord{}, err
	}
	rec := referrersRecord{Index: index, Checked: m.o.Now()}
	if b := encodeRecord(rec); len(b) <= mostReferrers {
		m.records.write(ctx, recordWrite{verb: verbPut, key: referrerKey(l.Repo(), d), record: b})
	}
	return rec, nil
}

func (m *Manifests) knownReferrers(ctx context.Context, repo Repo, d digest.Digest) (referrersRecord, error) {
	if err := d.Validate(); err != nil {
		return referrersRecord{}, err
	}
	return readRecord[referrersRecord](ctx, m.records, referrerKey(repo, d))
}

func (m *Manifests) isFresh(rec referrersRecord) bool {
	age := m.o.Now().Sub(rec.Checked)
	return age >= 0 && age < m.o.TTLs.usual
}

// Names lists the repositories of a registry of which something was pulled, in byte order, and whether there are more.
// n < 0 asks for all. Those that may does not allow are as if they were not there; nil: it allows all. The records are in the
// order of their keys, where a '/' sorts as '!', so each page looks at more than it gives, and keeps the least names in memory,
// never more than one page.
func (m *Manifests) Names(ctx context.Context, registry string, n int, last string, may func(name string) bool) (names []string, more bool, err error) {
	if registry == "" {
		return nil, false, errors.New("names: no registry")
	}
	if n < 0 || n > mostListed {
		n = mostListed
	}
	if err := m.records.Flush(ctx); err != nil {
		return nil, false, err
	}
	folder := nameFolder + registry + "/"
	for info, err := range m.records.list(ctx, folder, folder+keyBefore(last)) {
		if err != nil {
			return nil, false, err
		}
		repo, _, err := parseKey(nameFolder, info.Key)
		if err != nil || repo.Name <= last {
			continue
		}
		at, _ := slices.BinarySearch(names, repo.Name)
		if at == n && more && n > 0 && isPast(repo.Name, names[n-1]) {
			break
		}
		if at == n && more || may != nil && !may(repo.Name) { // what changes nothing is not asked about
			continue
		}
		if at == n {
			more = true
			continue
		}
		names = slices.Insert(names, at, repo.Name)
		if len(names) > n {
			names, more = names[:n], true
		}
	}
	return names, more, nil
}

// keyBefore gives the last element of a key before those of all names that come after last: the part of it in which both orders
// are one.
func keyBefore(last string) string {
	i := strings.IndexFunc(last, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '/'
	})
	if i >= 0 {
		last = last[:i]
	}
	return nameInKey(last)
}

// isPast reports, of a name that comes after another one, and its key too, whether the names of all keys that follow do.
func isPast(name, other string) bool {
	head, _, slash := strings.Cut(other, "/")
	rest, below := strings.CutPrefix(name, head)
	return !slash || !below || rest[0] > '/' // else there may be such as begin with head and a '-' or a '.'
}

// Search yields the repositories of all registries of which something was pulled and whose name contains the term, in
// whichever case, by registry. A term with a '/' also finds the names that begin with it where their registry stands in front.
// An error ends it.
func (m *Manifests) Search(ctx context.Context, term string) iter.Seq2[Repo, error] {
	term = strings.ToLower(term)
	return func(yield func(Repo, error) bool) {
		if err := m.records.Flush(ctx); err != nil {
			yield(Repo{}, fmt.Errorf("search cached repositories: %w", err))
			return
		}
		for info, err := range m.records.list(ctx, nameFolder, "") {
			if err != nil {
				yield(Repo{}, fmt.Errorf("search cached repositories: %w", err))
				return
			}
			repo, _, err := parseKey(nameFolder, info.Key)
			if err == nil && found(repo, term) && !yield(repo, nil) {
				return
			}
		}
	}
}

func found(repo Repo, term string) bool {
	return strings.Contains(repo.Name, term) || strings.Contains(term, "/") && strings.HasPrefix(repo.String(), term)
}
