package cache

import "github.com/opencontainers/go-digest"

// largest is the size of the largest blob that can be kept.
func (c *Blobs) largest() int64 {
	if c.disk == nil {
		return c.memory.Ceiling()
	}
	return c.capacity()
}

// capacity is how many bytes of blobs can be kept.
func (c *Blobs) capacity() int64 {
	if c.disk == nil {
		_, limit := c.memory.Usage()
		return limit
	}
	u := c.Usage()
	return u.Limit - u.Records
}

// catchUp waits until what was set is to be found.
func (m *Memory) catchUp() {
	if m == nil || m.cache == nil {
		return
	}
	m.closing.RLock()
	defer m.closing.RUnlock()
	if !m.closed {
		m.cache.Wait()
	}
}

// verified reports whether a blob is complete here and known to be right.
func (c *Blobs) verified(d digest.Digest) bool {
	if c.disk == nil {
		_, ok := c.memory.Blob(d)
		return ok
	}
	c.disk.mu.Lock()
	defer c.disk.mu.Unlock()
	e := c.disk.index[d]
	return e != nil && e.verified
}

// use looks whether a blob is here in the end. That counts as use: somebody has asked for it.
func (c *Blobs) use(d digest.Digest) (size int64, ok bool) {
	if c.disk == nil {
		c.memory.catchUp()
		b, ok := c.memory.Blob(d)
		return int64(len(b)), ok
	}
	f, err := c.disk.open(d)
	if f == nil || err != nil {
		return 0, false
	}
	defer f.Close()
	return f.size, f.verified
}
