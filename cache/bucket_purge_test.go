package cache

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/storage/storagetest"
)

func TestATagThatIsGoneUpstreamIsGoneFromTheBucket(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		f.alone(i.origin()).pull(i, "1")
		clear(i.up.tags)
		time.Sleep(time.Hour)
		s := f.alone(i.origin())
		if _, err := s.manifests.Get(t.Context(), i.up, "1"); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		synctest.Wait()
		if keys := f.common.keys("cache/tags/"); len(keys) > 0 {
			t.Errorf("left: %q", keys)
		}
		i.up.fail(outage(CauseTimeout), outage(CauseTimeout))
		if a, err := f.alone(i.origin()).manifests.Get(t.Context(), i.up, "1"); !IsOutage(err) {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func TestAPurgeReachesTheBucketFromAnyServer(t *testing.T) {
	for name, ref := range map[string]func(i image) string{
		"repository": func(image) string { return "" },
		"tag":        func(image) string { return "1" },
		"digest":     func(i image) string { return string(i.man.Digest) },
	} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			i, other := newImage(nginx, "1"), newImage(Repo{"docker.io", "other"}, "2")
			puller := f.alone(i.origin())
			puller.pull(i, "1")
			puller.from = other.origin()
			puller.pull(other, "2")
			before := len(f.common.keys(""))

			s := f.alone(i.origin())
			purged, err := s.manifests.Purge(t.Context(), nginx, ref(i), s.blobs.Drop)
			if err != nil || purged.Tags != 1 || purged.Digests != 2 {
				t.Errorf("%+v, %v", purged, err)
			}
			synctest.Wait()
			if left := f.common.keys(""); len(left) != 5 || before != 10 { // the other's tag, manifest, layer, and that it has them
				t.Errorf("of %d are left: %q", before, left)
			}
			i.up.asked()
			f.alone(i.origin()).pull(i, "1")
			i.up.wantAsked(t, 1, 1)
		})
	}
}

func TestAPurgeIsNotUndoneByWhatWaitsForTheBucket(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		s := f.alone(i.origin())
		f.common.fail(only(storagetest.Put, func(context.Context, storagetest.Op, string) error { time.Sleep(time.Second); return nil }))
		s.pull(i, "1")
		if _, err := s.manifests.Purge(t.Context(), nginx, "", s.blobs.Drop); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if keys := f.common.keys("cache/"); len(keys) > 0 {
			t.Errorf("left: %q", keys)
		}
	})
}

func TestWhatIsSweptHereStaysInTheBucket(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		s := f.alone(i.origin())
		s.pull(i, "1")
		before := f.common.keys("")
		time.Sleep(DefaultRecordAge + time.Hour)
		if left, err := NewSweeper(SweepOptions{Records: s.records}).Sweep(t.Context()); err != nil || left > 0 {
			t.Fatalf("%d bytes left, %v", left, err)
		}
		synctest.Wait()
		if after := f.common.keys(""); !slices.Equal(after, before) {
			t.Errorf("of %q are left %q", before, after)
		}
		i.up.asked()
		s.pull(i, "1")
		i.up.wantAsked(t, 1, 0)
	})
}
