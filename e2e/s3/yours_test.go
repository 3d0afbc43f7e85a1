package s3

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/s3"
)

// yours is a server that whoever runs the tests has. They leave nothing in its bucket, and touch nothing else there.
var yours = foreign{
	endpoint: os.Getenv("E2E_S3_ENDPOINT"),
	bucket:   cmp.Or(os.Getenv("E2E_S3_BUCKET"), bucket),
	region:   os.Getenv("E2E_S3_REGION"),
	sse:      os.Getenv("E2E_S3_SSE"),
	hosts:    os.Getenv("E2E_S3_VIRTUAL_HOSTS") != "",
}

type foreign struct {
	endpoint, bucket, region, sse string
	hosts                         bool // the bucket is named in the host name
}

// folder is that of this run of the tests.
var folder = "entrepot-e2e/" + rand.Text()

// change puts what a test stores below a folder of its own, which goes away with the test.
func (f foreign) change(t *testing.T, o *s3.Options) {
	t.Helper()
	mine := fmt.Sprintf("%s/%x", folder, sha256.Sum256([]byte(t.Name())))
	o.Bucket, o.Region, o.SSE, o.PathStyle = f.bucket, f.region, f.sse, !f.hosts
	o.Prefix = path.Join(mine, o.Prefix)
	whole := *o
	whole.Prefix, whole.Endpoint, whole.Now = mine, f.endpoint, time.Now
	t.Cleanup(func() { clean(t, whole) })
}

func clean(t *testing.T, o s3.Options) {
	ctx := context.WithoutCancel(t.Context())
	s, err := s3.New(ctx, o)
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	if _, err := s.AbortUploads(ctx, "", -time.Hour); err != nil {
		t.Logf("uploads may be left in the bucket: %v", err)
	}
	for left, err := range s.List(ctx, "", "") {
		if err == nil {
			err = s.Delete(ctx, left.Key)
		}
		if err != nil {
			t.Errorf("clean the bucket: %v", err)
			return
		}
	}
}

// notYours skips a test that is about a server of the machine.
func notYours(t *testing.T) {
	t.Helper()
	if yours.endpoint != "" {
		t.Skip("it is about another server")
	}
}

func TestAHundredWritersLoseNothing(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			const writers = 100
			s := open(t, start(t), "")
			var all sync.WaitGroup
			for range writers {
				all.Go(func() {
					if err := add(t.Context(), s, "counter"); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if record, _, err := s.Get(t.Context(), "counter"); string(record) != strconv.Itoa(writers) || err != nil {
				t.Errorf("%d writers have counted to %s, %v", writers, record, err)
			}
		})
	}
}

// add adds one to a record, and tries again whenever somebody else was first.
func add(ctx context.Context, s storage.Store, key string) error {
	for {
		record, version, err := s.Get(ctx, key)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		n, _ := strconv.Atoi(string(record)) // 0 where there is none
		if _, err = s.PutIf(ctx, key, []byte(strconv.Itoa(n+1)), version); err == nil || !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
}
