package cache

import (
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/opencontainers/go-digest"
)

// shared reports whether a file has more than one name. Removing one of them frees nothing.
func shared(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}

// share notes that a blob's file has another name.
func (k *disk) share(d digest.Digest) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.index[d]; e != nil {
		k.shared[d] = e
	}
}

// recheckShared forgets those whose other name is gone: nobody tells when that happens.
func (k *disk) recheckShared() {
	k.mu.Lock()
	all := slices.Collect(maps.Values(k.shared))
	k.mu.Unlock()
	for _, e := range all {
		if info, err := os.Lstat(k.blobPath(e.digest)); err != nil || shared(info) {
			continue
		}
		k.mu.Lock()
		if k.shared[e.digest] == e {
			delete(k.shared, e.digest)
		}
		k.mu.Unlock()
	}
}
