package hosted

import (
	"context"
	"time"
)

// CollectOptions say how to collect.
type CollectOptions struct {
	DryRun   bool
	Grace    time.Duration       // negative: the registry's
	Full     bool                // look for parts that nothing names, too, and for tags that point nowhere: it reads every record
	Progress func(CollectReport) // told now and then; may be nil
}

// CollectReport says what a collection found and did.
type CollectReport struct {
	DryRun       bool          `json:"dryRun"`
	Repositories int           `json:"repositories"`
	Manifests    int           `json:"manifests"` // kept
	Blobs        int           `json:"blobs"`     // that manifests name
	Bytes        int64         `json:"bytes"`     // of those
	Untagged     int           `json:"untagged"`  // manifests deleted because nothing keeps them
	Condemned    int           `json:"condemned"` // blobs, and tags that point nowhere, to be deleted by the next run unless something names them until then
	Freed        int           `json:"freed"`     // blobs deleted; in a dry run those that two runs would delete
	FreedBytes   int64         `json:"freedBytes"`
	Uploads      int           `json:"uploads"` // abandoned, deleted
	Orphans      int           `json:"orphans"` // parts that nothing named, deleted
	Started      time.Time     `json:"started"`
	Took         time.Duration `json:"tookNanoseconds"`
}

// VerifyOptions say how to verify.
type VerifyOptions struct {
	Wait     func(ctx context.Context, bytes int) error // called before so many bytes are read: it bounds the rate; may be nil
	Progress func(VerifyReport)                         // told now and then; may be nil
}

// VerifyReport says what a verification read and found.
type VerifyReport struct {
	Manifests int      `json:"manifests"`
	Blobs     int      `json:"blobs"`
	Bytes     int64    `json:"bytes"`
	Damaged   []string `json:"damaged"` // digests
}

// Usage is what is stored, as the last collection found it.
type Usage struct {
	Counted      time.Time // zero: not yet
	Manifests    int
	Blobs        int   // each once
	Bytes        int64 // of blobs, each once, and of manifests
	Uploads      int   // begun and not ended
	Repositories map[string]RepoUsage
}

// RepoUsage is the part of one repository. What repositories share counts in each.
type RepoUsage struct {
	Manifests int
	Bytes     int64
}
