package cache

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// reserve claims n bytes, giving up other blobs for them; errNoRoom when that cannot be enough. The caller gives them
// back by release, or turns them into an entry by commit.
func (k *disk) reserve(n int64) error {
	k.mu.Lock()
	if n > 0 && k.reserved-k.idleBytes()+k.pinned+k.records+n > k.limit { // before anything is given up in vain
		k.mu.Unlock()
		return errNoRoom
	}
	k.reserved += n
	ok := true
	var out []string
	for ok && k.used+k.reserved+k.records > k.limit {
		out, ok = k.evict(out)
	}
	k.mu.Unlock()
	k.removeAll(out)

	switch {
	case ok && n == 0:
		k.freeUp(0)
	case ok:
		ok = k.giveUp(n, k.minFree)
	}
	if !ok {
		k.release(n)
		return errNoRoom
	}
	return nil
}

// pin counts the readers of a blob, which cannot be given up while it has any. The caller holds mu.
func (k *disk) pin(e *entry, n int) {
	k.pinned -= e.pinnedBytes()
	e.pins += n
	k.pinned += e.pinnedBytes()
}

// idleBytes is what is reserved for blobs that no fill has open. The caller holds mu.
func (k *disk) idleBytes() (n int64) {
	for _, p := range k.idle {
		n += p.reserved
	}
	return n
}

func (k *disk) release(n int64) {
	k.mu.Lock()
	k.reserved -= n
	k.mu.Unlock()
}

// Room gives up blobs until the file system has n bytes and the reserve that belongs to others, and reports false when
// nothing is left to give. What could not hold n bytes without any blob costs none.
func (c *Blobs) Room(n int64) bool { return c.disk == nil || c.disk.freeUp(n) }

// Givable is how many bytes Room could give up.
func (c *Blobs) Givable() int64 {
	if c.disk == nil {
		return 0
	}
	c.disk.recheckShared()
	c.disk.mu.Lock()
	defer c.disk.mu.Unlock()
	return c.disk.givable()
}

// givable is what evicting everything would free. The caller holds mu.
func (k *disk) givable() int64 {
	n := k.used - k.pinned + k.idleBytes()
	for _, e := range k.shared {
		n -= onDisk(e.size) - e.pinnedBytes()
	}
	return n
}

// freeUp gives up blobs until the file system has n bytes and the reserve that belongs to others. It reports false when
// there is nothing left to give.
func (k *disk) freeUp(n int64) bool { return k.giveUp(n, 0) }

// giveUp is freeUp for what is not worth it when less than least bytes would be free beside the n.
func (k *disk) giveUp(n, least int64) bool {
	for checked := false; ; checked = true {
		free, err := k.fs.FreeBytes(k.dir)
		if err != nil {
			k.log.Error("free space is unknown", "dir", k.dir, "err", err)
			return true // the write will tell
		}
		if free-n >= k.minFree {
			return true
		}
		if !checked {
			k.recheckShared()
		}
		var out []string
		k.mu.Lock()
		ok := free-n+k.givable() >= least // else it would be in vain
		if ok {
			out, ok = k.evict(nil)
		}
		k.mu.Unlock()
		k.removeAll(out)
		if !ok {
			return false
		}
	}
}

// evict gives up one blob: first what an earlier fill left unfinished, then what the order names. The caller holds mu and
// removes the files.
func (k *disk) evict(out []string) ([]string, bool) {
	for _, p := range k.idle {
		k.evicted(p.reserved)
		return append(out, k.forgetPartial(p)...), true
	}
	e := k.order.victim()
	if e == nil {
		return out, false
	}
	k.evicted(e.size)
	return append(out, k.forget(e)...), true
}

// setRecords says how many bytes others keep within the tier's bound, and makes room for them.
func (k *disk) setRecords(n int64) {
	k.mu.Lock()
	k.records = n
	k.mu.Unlock()
	// errNoRoom here means that what is left is being read or filled; the next call tries again.
	_ = k.reserve(0)
}

// FreeBytes is what an ordinary user may still write to the file system of a directory.
func FreeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // the types differ between systems
}
