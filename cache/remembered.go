package cache

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// rememberedSize bounds each of the short memories, in entries.
const rememberedSize = 4096

// remembered keeps what must not be forgotten at random, as the memory tier forgets, but is not worth a record: bounded,
// and each entry for a time.
type remembered[K comparable, V any] struct {
	entries *lru.Cache[K, rememberedEntry[V]]
	now     func() time.Time
}

type rememberedEntry[V any] struct {
	value V
	until time.Time
}

func newRemembered[K comparable, V any](now func() time.Time) (*remembered[K, V], error) {
	entries, err := lru.New[K, rememberedEntry[V]](rememberedSize)
	if err != nil {
		return nil, err
	}
	return &remembered[K, V]{entries: entries, now: now}, nil
}

func (r *remembered[K, V]) get(k K) (V, bool) {
	e, ok := r.entries.Get(k)
	if !ok || !r.now().Before(e.until) {
		return *new(V), false
	}
	return e.value, true
}

func (r *remembered[K, V]) set(k K, v V, d time.Duration) {
	r.entries.Add(k, rememberedEntry[V]{v, r.now().Add(d)})
}

func (r *remembered[K, V]) drop(k K) { r.entries.Remove(k) }

func (r *remembered[K, V]) forget() { r.entries.Purge() }

// all gives everything kept, whether its time has ended or not. It looks at every entry, so it is for rare occasions.
func (r *remembered[K, V]) all(yield func(K, V) bool) {
	for _, k := range r.entries.Keys() {
		if e, ok := r.entries.Peek(k); ok && !yield(k, e.value) {
			return
		}
	}
}
