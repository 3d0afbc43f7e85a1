package metrics

import (
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/entrepot/entrepot/storage/hosted"
)

func TestCollectionsAndDamage(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	h := NewHosted(r)
	began := time.UnixMilli(1_700_000_000_500)
	h.Collected(hosted.CollectReport{Started: began.Add(-time.Hour), Took: time.Hour, Freed: 1, FreedBytes: 5})
	h.Collected(hosted.CollectReport{Started: began, Took: 1500 * time.Millisecond, Freed: 2, FreedBytes: 100})
	h.Collected(hosted.CollectReport{DryRun: true, Started: began.Add(time.Minute), Took: time.Minute, Freed: 7, FreedBytes: 700})
	h.CollectionFailed()
	h.Damaged(digest.FromString("rotten"))
	if n, err := testutil.GatherAndCount(r, "entrepot_hosted_damaged_contents"); err != nil || n != 0 {
		t.Errorf("%d series, %v, before anything was verified", n, err)
	}
	h.DamagedLeft(3)
	h.DamagedLeft(2)
	expect(t, r, `
		# HELP entrepot_hosted_collections_total Collections of what nothing names any more, by result: complete, dry, failed.
		# TYPE entrepot_hosted_collections_total counter
		entrepot_hosted_collections_total{result="complete"} 2
		entrepot_hosted_collections_total{result="dry"} 1
		entrepot_hosted_collections_total{result="failed"} 1
		# HELP entrepot_hosted_last_collection_timestamp_seconds When the last complete collection began.
		# TYPE entrepot_hosted_last_collection_timestamp_seconds gauge
		entrepot_hosted_last_collection_timestamp_seconds 1.7000000005e+09
		# HELP entrepot_hosted_last_collection_duration_seconds How long the last complete collection took.
		# TYPE entrepot_hosted_last_collection_duration_seconds gauge
		entrepot_hosted_last_collection_duration_seconds 1.5
		# HELP entrepot_hosted_freed_blobs_total Blobs that collections deleted.
		# TYPE entrepot_hosted_freed_blobs_total counter
		entrepot_hosted_freed_blobs_total 3
		# HELP entrepot_hosted_freed_bytes_total Bytes of the blobs that collections deleted.
		# TYPE entrepot_hosted_freed_bytes_total counter
		entrepot_hosted_freed_bytes_total 105
		# HELP entrepot_hosted_damaged_total Hosted contents found not to match their digest. They are not served until they are pushed again.
		# TYPE entrepot_hosted_damaged_total counter
		entrepot_hosted_damaged_total 1
		# HELP entrepot_hosted_damaged_contents Hosted contents that the last complete verification found damaged, known ones included.
		# TYPE entrepot_hosted_damaged_contents gauge
		entrepot_hosted_damaged_contents 2
	`)
}

func TestWhatIsHostedIsExportedOnceItWasCounted(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	var usage hosted.Usage
	RegisterHosted(r, func() hosted.Usage { return usage })
	if n, err := testutil.GatherAndCount(r); err != nil || n != 0 {
		t.Errorf("%d series, %v, before anything was counted", n, err)
	}
	usage = hosted.Usage{
		Counted: time.Now(), Manifests: 7, Blobs: 3, Bytes: 4200, Uploads: 2,
		Repositories: map[string]hosted.RepoUsage{"team/app": {Manifests: 5, Bytes: 4000}, "app": {Manifests: 2, Bytes: 4100}},
	}
	expect(t, r, `
		# HELP entrepot_hosted_repositories Hosted repositories, as the last collection counted.
		# TYPE entrepot_hosted_repositories gauge
		entrepot_hosted_repositories 2
		# HELP entrepot_hosted_manifests Manifests in hosted repositories, those without a tag included, as the last collection counted.
		# TYPE entrepot_hosted_manifests gauge
		entrepot_hosted_manifests 7
		# HELP entrepot_hosted_blobs Different blobs that hosted manifests name, as the last collection counted.
		# TYPE entrepot_hosted_blobs gauge
		entrepot_hosted_blobs 3
		# HELP entrepot_hosted_bytes Bytes of hosted manifests and blobs, each blob once, as the last collection counted.
		# TYPE entrepot_hosted_bytes gauge
		entrepot_hosted_bytes 4200
		# HELP entrepot_hosted_uploads_open Uploads that were begun and have not ended, as the last collection counted.
		# TYPE entrepot_hosted_uploads_open gauge
		entrepot_hosted_uploads_open 2
	`)
}

func TestScrub(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	s := NewScrub(r)
	s.ReadCached(10)
	s.ReadHosted(300)
	s.ReadHosted(1)
	s.CachedDamaged(2)
	if n, err := testutil.GatherAndCount(r, "entrepot_scrub_last_timestamp_seconds"); err != nil || n != 0 {
		t.Errorf("%d series, %v, before everything was read", n, err)
	}
	s.AllCachedRead(time.UnixMilli(1_700_000_000_500))
	s.AllHostedRead(time.UnixMilli(1_700_000_100_000))
	expect(t, r, `
		# HELP entrepot_scrub_bytes_total Bytes read again and compared with their digests, by kind: cached, hosted.
		# TYPE entrepot_scrub_bytes_total counter
		entrepot_scrub_bytes_total{kind="cached"} 10
		entrepot_scrub_bytes_total{kind="hosted"} 301
		# HELP entrepot_scrub_last_timestamp_seconds When everything had last been read again, by kind: cached, hosted. It has no series before the first time.
		# TYPE entrepot_scrub_last_timestamp_seconds gauge
		entrepot_scrub_last_timestamp_seconds{kind="cached"} 1.7000000005e+09
		entrepot_scrub_last_timestamp_seconds{kind="hosted"} 1.7000001e+09
		# HELP entrepot_cache_damaged_total Cached blobs found not to match their digest. They are fetched again when they are asked for.
		# TYPE entrepot_cache_damaged_total counter
		entrepot_cache_damaged_total 2
	`)
}
