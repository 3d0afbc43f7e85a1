package cache

import (
	"container/list"

	"github.com/opencontainers/go-digest"
)

// entry is a complete blob of the disk tier.
type entry struct {
	digest   digest.Digest
	size     int64 // bytes of the blob
	verified bool  // its digest was checked since the last unclean stop

	pins  int  // readers that have it open; never evicted while > 0
	hits  int8 // since it last moved in its queue, up to 3
	main  bool // in which queue it is
	place *list.Element
}

func (e *entry) pinnedBytes() int64 {
	if e.pins == 0 {
		return 0
	}
	return onDisk(e.size)
}

// s3fifo decides what the disk tier gives up: S3-FIFO (Yang et al., SOSP 2023) counted in bytes. Newcomers pass a small
// queue and reach the main one only when they are asked for again, so that a scan cannot empty the cache. It is a plain
// data structure: the disk's lock guards it.
type s3fifo struct {
	small, main           list.List // of *entry, oldest in front
	smallBytes, mainBytes int64
	ghosts                map[digest.Digest]*list.Element
	ghostOrder            list.List // of digest.Digest: what left the small queue lately
}

// minGhosts keeps a memory of departed blobs even when few blobs are large enough to fill the disk.
const minGhosts = 1024

func newS3FIFO() *s3fifo { return &s3fifo{ghosts: map[digest.Digest]*list.Element{}} }

// add admits a new blob: to the main queue if it was thrown out too early before.
func (q *s3fifo) add(e *entry) {
	ghost, back := q.ghosts[e.digest]
	if back {
		q.ghostOrder.Remove(ghost)
		delete(q.ghosts, e.digest)
	}
	q.push(e, back)
}

func (q *s3fifo) push(e *entry, main bool) {
	e.main, e.hits = main, 0
	if main {
		e.place = q.main.PushBack(e)
		q.mainBytes += onDisk(e.size)
		return
	}
	e.place = q.small.PushBack(e)
	q.smallBytes += onDisk(e.size)
}

func (q *s3fifo) remove(e *entry) {
	if e.main {
		q.main.Remove(e.place)
		q.mainBytes -= onDisk(e.size)
		return
	}
	q.small.Remove(e.place)
	q.smallBytes -= onDisk(e.size)
}

// touch notes that a blob was asked for.
func (q *s3fifo) touch(e *entry) { e.hits = min(e.hits+1, 3) }

// victim removes and returns the blob to give up next; nil when everything is being read.
func (q *s3fifo) victim() *entry {
	// Each entry moves at most four times before it must go, unless it is pinned.
	for range 5 * (q.small.Len() + q.main.Len()) {
		fromSmall := q.small.Len() > 0 && (q.main.Len() == 0 || q.smallBytes > (q.smallBytes+q.mainBytes)/10)
		queue := &q.main
		if fromSmall {
			queue = &q.small
		}
		e := queue.Front().Value.(*entry)
		hits := e.hits
		q.remove(e)
		switch {
		case e.pins > 0:
			q.push(e, true)
			e.hits = hits
		case hits > 0 && fromSmall:
			q.push(e, true)
		case hits > 0:
			q.push(e, true)
			e.hits = hits - 1
		default:
			if fromSmall {
				q.remember(e.digest)
			}
			return e
		}
	}
	return nil
}

func (q *s3fifo) remember(d digest.Digest) {
	q.ghosts[d] = q.ghostOrder.PushBack(d)
	for q.ghostOrder.Len() > max(minGhosts, q.small.Len()+q.main.Len()) {
		delete(q.ghosts, q.ghostOrder.Remove(q.ghostOrder.Front()).(digest.Digest))
	}
}

// onDisk is what a disk charges for a file of n bytes.
func onDisk(n int64) int64 { return (n + 4095) &^ 4095 }
