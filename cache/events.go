package cache

// Tier says where an answer's bytes came from.
type Tier string

const (
	TierMemory   Tier = "memory"
	TierDisk     Tier = "disk"
	TierS3       Tier = "s3"       // a running fill that reads what another server has stored
	TierUpstream Tier = "upstream" // followed a running fill, or streamed past the cache
)

// Outcome is how a fill ended.
type Outcome string

const (
	FillComplete Outcome = "complete"
	FillCorrupt  Outcome = "corrupt"
	FillFailed   Outcome = "failed"
	FillPaused   Outcome = "paused" // shutdown or lack of space; resumable
)

// Events is told what happens in the cache. Its methods are called from many goroutines and must not block.
type Events interface {
	FillStarted()
	FillJoined()                      // a reader follows a fill that another one began
	FillResumed()                     // upstream's connection broke and the fill went on at the offset
	FillEnded(o Outcome, cause Cause) // the cause is of FillCorrupt and FillFailed
	Streamed(reason string)           // a blob went past the cache: "full", "disk", "busy", "foreign", "none"
	Evicted(bytes int64)
	Unverified()                  // a 206 was sent before its blob was verified
	Stale(registry, cause string) // a stale answer
	Prefetched(queued bool)       // false: the queue was full or the budget low
	RecordFailed()                // a small record could not be read or written
	BucketStored(stored bool)     // a blob went to the bucket; false: it did not
	BucketFailed()                // the bucket failed or kept silent, and rests for a while
	Borrowed(begun bool)          // a blob or manifest is read from the server that fetches it; false: that one failed
}

// NoEvents ignores everything.
type NoEvents struct{}

func (NoEvents) FillStarted()             {}
func (NoEvents) FillJoined()              {}
func (NoEvents) FillResumed()             {}
func (NoEvents) FillEnded(Outcome, Cause) {}
func (NoEvents) Streamed(string)          {}
func (NoEvents) Evicted(int64)            {}
func (NoEvents) Unverified()              {}
func (NoEvents) Stale(string, string)     {}
func (NoEvents) Prefetched(bool)          {}
func (NoEvents) RecordFailed()            {}
func (NoEvents) BucketStored(bool)        {}
func (NoEvents) BucketFailed()            {}
func (NoEvents) Borrowed(bool)            {}
