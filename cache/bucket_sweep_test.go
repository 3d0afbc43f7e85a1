package cache

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

func TestTheBucketIsSweptByAge(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	s := mem.New(clock)
	contents, leases := storage.Under(s, "cache"), storage.Under(s, "leases")
	put := func(in storage.Store, key string) {
		t.Helper()
		if err := in.Put(t.Context(), key, strings.NewReader("12345"), 5); err != nil {
			t.Fatal(err)
		}
	}
	keys := func() (all string) {
		for info, err := range s.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			all += info.Key + " "
		}
		return all
	}
	put(contents, "blobs/old")
	put(contents, "tags/old")
	put(leases, "forgotten")
	now = now.Add(30 * 24 * time.Hour)
	put(contents, "blobs/new")
	put(leases, "held")

	stuck := storagetest.Around(contents, func(_ context.Context, op storagetest.Op, key string, do func() error) error {
		if op == storagetest.Delete && key == "tags/old" {
			return storage.ErrUnavailable
		}
		return do()
	})
	for _, c := range []struct {
		fact  string
		store storage.Store
		age   time.Duration
		want  Swept
		err   error
		left  string
	}{
		{"age 0 leaves contents to the bucket's own rule", contents, 0, Swept{Leases: 1}, nil, "cache/blobs/new cache/blobs/old cache/tags/old leases/held "},
		{"nothing is as old as that", contents, 31 * 24 * time.Hour, Swept{Kept: 3, KeptBytes: 15}, nil, "cache/blobs/new cache/blobs/old cache/tags/old leases/held "},
		{"a failure ends the sweep, and what is done is done", stuck, time.Hour, Swept{Kept: 1, KeptBytes: 5, Removed: 1, RemovedBytes: 5}, storage.ErrUnavailable, "cache/blobs/new cache/tags/old leases/held "},
		{"the next one goes on", contents, time.Hour, Swept{Kept: 1, KeptBytes: 5, Removed: 1, RemovedBytes: 5}, nil, "cache/blobs/new leases/held "},
	} {
		b, err := NewBucket(BucketOptions{Store: c.store, Leases: leases, Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Sweep(t.Context(), c.age)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.fact, got, err, c.want, c.err)
		}
		if left := keys(); left != c.left {
			t.Errorf("%s: left %s, want %s", c.fact, left, c.left)
		}
	}
}
