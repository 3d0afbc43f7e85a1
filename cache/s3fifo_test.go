package cache

import (
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
)

func blobEntry(i int) *entry {
	return &entry{digest: digest.FromString(fmt.Sprint("blob", i)), size: 1 << 20}
}

func TestS3FIFOKeepsWhatIsAskedForAgainThroughAScan(t *testing.T) {
	q := newS3FIFO()
	hot := map[*entry]bool{}
	for i := range 50 {
		e := blobEntry(i)
		q.add(e)
		q.touch(e)
		hot[e] = true
	}
	for i := range 1000 { // a scan of one-timers through a cache of 100 blobs
		q.add(blobEntry(1000 + i))
		if i >= 50 {
			if e := q.victim(); hot[e] {
				t.Fatalf("scan step %d evicted a blob that was asked for again", i)
			}
		}
	}
}

func TestS3FIFOReadmitsToTheMainQueueWhatItThrewOutTooEarly(t *testing.T) {
	q := newS3FIFO()
	e := blobEntry(1)
	q.add(e)
	if got := q.victim(); got != e || e.main {
		t.Fatalf("victim = %v, main %v; want the newcomer from the small queue", got, e.main)
	}
	back := blobEntry(1)
	q.add(back)
	if !back.main {
		t.Error("a blob that came back soon is in the small queue")
	}
	if len(q.ghosts) != 0 || q.ghostOrder.Len() != 0 {
		t.Errorf("its ghost stayed: %d, %d", len(q.ghosts), q.ghostOrder.Len())
	}
}

func TestS3FIFONeverGivesUpWhatIsRead(t *testing.T) {
	q := newS3FIFO()
	read, free := blobEntry(1), blobEntry(2)
	read.pins = 1
	q.add(read)
	q.add(free)
	if got := q.victim(); got != free {
		t.Fatalf("victim = %v, want the one that nobody reads", got)
	}
	if got := q.victim(); got != nil {
		t.Fatalf("victim = %v, want none", got)
	}
	read.pins = 0
	if got := q.victim(); got != read {
		t.Fatal("a blob that is no longer read cannot be evicted")
	}
	if q.smallBytes != 0 || q.mainBytes != 0 {
		t.Errorf("bytes left over: %d, %d", q.smallBytes, q.mainBytes)
	}
}

func TestS3FIFOGhostsAreBounded(t *testing.T) {
	q := newS3FIFO()
	for i := range 3 * minGhosts {
		q.add(blobEntry(i))
		q.victim()
	}
	if len(q.ghosts) > minGhosts || q.ghostOrder.Len() != len(q.ghosts) {
		t.Errorf("%d ghosts, %d in order; want at most %d", len(q.ghosts), q.ghostOrder.Len(), minGhosts)
	}
}
