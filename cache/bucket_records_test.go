package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage/storagetest"
)

func TestWhatServersKnowIsWrittenOnce(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		s := f.alone(i.origin())
		wantPuts := func(when string, tags, others int) {
			t.Helper()
			all := f.common.count("put cache/") - f.common.count("put cache/blobs/")
			if n := f.common.count("put cache/tags/"); n != tags || all-n != others {
				t.Errorf("%s: %d PUTs of tags and %d of others, want %d and %d: %q", when, n, all-n, tags, others, f.common.asked)
			}
			f.common.forget()
		}
		for range 3 {
			s.pull(i, "1")
		}
		wantPuts("pulled", 1, 3) // manifest, that the repository has it and its layer
		for range 3 {
			time.Sleep(2 * time.Minute)
			s.pull(i, "1")
		}
		i.up.wantAsked(t, 4, 1)
		wantPuts("checked again", 0, 0)
		i.man = i.up.push("1", "moved")
		time.Sleep(2 * time.Minute)
		s.pull(i, "1")
		wantPuts("moved", 1, 2)

		other := f.alone(i.origin())
		other.pull(i, "1")
		i.up.wantAsked(t, 1, 1) // by the first one: it has just been checked
		wantPuts("another server", 0, 0)
	})
}

func TestAPublicRepositoryIsKnownToAllServers(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		ask := &readable{}
		for range 2 {
			public, err := NewPublic(f.alone(newOrigin("library/x")).records, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if ok, err := public.Readable(t.Context(), nginx, ask, "1"); !ok || err != nil {
					t.Errorf("%v, %v", ok, err)
				}
			}
			synctest.Wait()
			public.Close()
		}
		if n := f.common.count("put cache/public/"); n != 1 || ask.n != 1 {
			t.Errorf("%d PUTs, %d requests upstream, want one of each", n, ask.n)
		}
	})
}

// readable is an upstream that lets everybody read.
type readable struct{ n int }

func (r *readable) ReadableAnonymously(context.Context, string) (bool, error) {
	r.n++
	return true, nil
}

func TestANewServerServesWhatOthersPulledWhileUpstreamIsOut(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		f.alone(i.origin()).pull(i, "1")
		i.up.fail(outage(CauseTimeout), outage(CauseTimeout))
		from := i.origin()
		from.fail = func(int64, int64) error { return outage(CauseTimeout) }
		from.stat = func() (int64, error) { return 0, outage(CauseTimeout) }
		time.Sleep(time.Hour)
		s := f.alone(from)
		if warning := s.wantManifest(i, "1"); !strings.Contains(warning, "stale") {
			t.Errorf("warning %q", warning)
		}
		s.wantManifest(i, string(i.man.Digest))
		s.want(i.layer, Whole)
		synctest.Wait()
		names, _, err := s.manifests.Names(t.Context(), nginx.Registry, -1, "", nil)
		if err != nil || !slices.Equal(names, []string{nginx.Name}) {
			t.Errorf("names %q, %v", names, err)
		}
		for e, err := range s.manifests.List(t.Context(), Repo{}) {
			if err != nil || e.Repo != nginx || e.Tag != "1" || e.Digest != i.man.Digest {
				t.Errorf("%+v, %v", e, err)
			}
		}
		if _, err := s.manifests.Get(t.Context(), newFakeManifests(Repo{"docker.io", "other"}), string(i.man.Digest)); !errors.Is(err, ErrNotFound) {
			t.Errorf("another repository: %v", err)
		}
	})
}

func TestAManifestOfAnotherRepositoryCostsOneHead(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		f.alone(i.origin()).pull(i, "1")
		other := newImage(Repo{"docker.io", "other"}, "1")
		s := f.alone(other.origin())
		s.wantManifest(other, string(other.man.Digest))
		other.up.wantAsked(t, 1, 0)
	})
}

func TestWarmPullsAskTheBucketNothing(t *testing.T) {
	inFleet(t, "", func(t *testing.T, f *fleet) {
		i := newImage(nginx, "1")
		f.named("other", i.origin()).pull(i, "1")
		s := f.named("s", i.origin())
		s.pull(i, "1")
		f.common.forget()
		for range 3 {
			s.pull(i, "1")
			if _, _, _, err := s.manifests.Resolve(t.Context(), i.up, "1"); err != nil {
				t.Error(err)
			}
			if _, _, err := s.blobs.Stat(t.Context(), s.from, digest.FromBytes(i.layer)); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Minute) // the tag is checked then
		}
		if len(f.common.asked) > 0 {
			t.Errorf("asked: %q", f.common.asked)
		}
	})
}

func TestARecordThatIsWrongInTheBucketIsReplaced(t *testing.T) {
	i := newImage(nginx, "1")
	for name, key := range map[string]string{
		"tag":                       tagKey(nginx, "1"),
		"manifest":                  manifestKey(i.man.Digest),
		"the repository's manifest": seenKey(nginx, i.man.Digest),
		"the repository's layer":    seenKey(nginx, digest.FromBytes(i.layer)),
	} {
		for _, wrong := range []string{"", "<html>502</html>", "{}", "[]", `{"size":-7}`} {
			if wrong == "{}" && strings.HasPrefix(name, "the repository") {
				continue // says little, and nothing wrong
			}
			inFleet(t, name+" "+wrong, func(t *testing.T, f *fleet) {
				f.alone(i.origin()).pull(i, "1")
				content := func() string {
					b, _, _ := f.common.whole.Get(t.Context(), "cache/"+key)
					lasting, _, _ := strings.Cut(string(b), `"checked"`)
					return lasting
				}
				right := content()
				f.common.put(t, "cache/"+key, []byte(wrong))
				f.alone(i.origin()).pull(i, "1")
				if got := content(); got != right || got == "" {
					t.Errorf("the bucket has %q, want %q", got, right)
				}
			})
		}
	}
}

func TestABucketThatFailsOverRecordsCostsNoPull(t *testing.T) {
	for name, fault := range map[string]func(context.Context, storagetest.Op, string) error{"refused": refusal, "silent": silentFor(time.Minute)} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			i := newImage(nginx, "1")
			s := f.named("s", i.origin())
			f.common.fail(fault)
			s.pull(i, "1")
			if n := f.common.count("get cache/"); n != 1 {
				t.Errorf("it was asked for %d records, want one", n)
			}
			time.Sleep(persistence / 2)
			s.pull(i, "1")
			f.common.fail(nil)
			time.Sleep(2 * time.Minute)
			keys := f.common.keys("")
			for _, folder := range []string{"blobs/", manifestFolder, seenFolder, tagFolder} {
				if !slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, "cache/"+folder) }) {
					t.Errorf("once it was back, nothing came to %s: %q", folder, keys)
				}
			}
			f.wantNoLease()
		})
	}
}

func TestABucketThatTakesNoRecordsHoldsUpNothing(t *testing.T) {
	for name, fault := range map[string]func(context.Context, storagetest.Op, string) error{"refused": refusal, "silent": silence} {
		inFleet(t, name, func(t *testing.T, f *fleet) {
			s := f.alone(newOrigin("library/x"))
			f.common.fail(fault)
			for n := range 2 * mostSharing {
				s.seen.Add(t.Context(), nginx, digest.FromString(fmt.Sprint(n)), "", int64(n))
			}
			began := time.Now()
			s.close()
			if took := time.Since(began); took > parting { // by the clock of the bubble
				t.Errorf("closing took %v", took)
			}
		})
	}
}
