package hosted

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
)

// Each request about the record of an upload is sent twice, and the first of those that were sent first come when all is over.
func TestRequestsThatComeLateDoNotBeginAnUploadAgain(t *testing.T) {
	for n := 1; ; n++ {
		c := newClock()
		bucket := storagetest.Bucket(mem.New(c.Now), time.Second, 1000)
		var late []func()
		again := false
		fate := func() storagetest.Fate {
			if again = !again; again {
				return storagetest.Late
			}
			return storagetest.Answered
		}
		s := newSiteOver(t, c, storagetest.Client(bucket, direct, fate, func(_ storagetest.Op, key string, land func()) {
			if strings.HasPrefix(key, uploadFolder) {
				late = append(late, land)
			}
		}))
		s.store = bucket
		b, d := random(1000)
		if err := s.Repo("a").PushBlob(t.Context(), d, bytes.NewReader(b), 1000); err != nil {
			t.Fatal(err)
		}
		s.pushManifest("a", imageOf(b), "t")
		if n > len(late) {
			if n < 5 {
				t.Errorf("%d requests came late", len(late))
			}
			return
		}
		for _, land := range late[:n] {
			land()
		}
		for range 3 {
			c.pass(2 * time.Hour)
			s.collect()
		}
		if s.wantBlob("a", d); t.Failed() {
			t.Fatalf("%d requests came late", n)
		}
		if found := listed(t, bucket, uploadFolder); len(found) > 0 {
			t.Errorf("%d requests came late, and hours later there is %q", n, found)
		}
	}
}

func direct(_ context.Context, _ storagetest.Op, _ string, do func() error) error { return do() }

// What is over stays so for as long as a request to the store may be on its way, whatever the grace.
func TestAnUploadThatIsOverIsRememberedForAWhile(t *testing.T) {
	c := newClock()
	bucket := storagetest.Bucket(mem.New(c.Now), time.Second, 1000)
	s := newSiteOver(t, c, bucket)
	b, _ := random(1000)
	s.pushBlob("a", b)
	collect := func() {
		if _, err := s.Collect(t.Context(), CollectOptions{Full: true}); err != nil {
			t.Fatal(err)
		}
	}
	for range 59 {
		c.pass(time.Minute)
		collect()
		if found := listed(t, bucket, uploadFolder); len(found) != 1 {
			t.Fatalf("there is %q", found)
		}
	}
	c.pass(time.Minute)
	collect()
	if found := listed(t, bucket, uploadFolder); len(found) != 0 {
		t.Fatalf("there is %q", found)
	}
}

func TestAnUploadThatIsCollectedAsItBeginsIsAConflict(t *testing.T) {
	c := newClock()
	store := mem.New(c.Now)
	ended := false
	hook := func(ctx context.Context, op storagetest.Op, key string, do func() error) error {
		err := do()
		if op == storagetest.PutIf && !ended {
			ended = true
			if _, v, err := store.Get(ctx, key); err != nil {
				t.Error(err)
			} else if _, err := store.PutIf(ctx, key, tombstone(), v); err != nil {
				t.Error(err)
			}
		}
		return err
	}
	lost := func() storagetest.Fate { return storagetest.Lost }
	s := newSiteOver(t, c, storagetest.Client(storagetest.Bucket(store, time.Second, 1000), hook, lost, nil))
	_, err := s.Repo("a").StartUpload(t.Context(), digest.SHA256)
	s.wantError("begin an upload", err, ErrConflict)
}

func listed(t *testing.T, s storage.Store, prefix string) (keys []string) {
	t.Helper()
	for info, err := range s.List(t.Context(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}
