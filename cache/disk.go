package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
)

// errNoRoom says that a blob cannot be kept: it is larger than the tier, or everything else is being read. It is streamed
// past the cache instead.
var errNoRoom = errors.New("no room in the disk tier")

// errDisk marks a failure of the disk itself. What cannot be kept is streamed past the cache.
var errDisk = errors.New("disk tier failed")

// disk is the disk tier: complete blobs below blobs/, files that grow below partial/, both within one bound of bytes. A
// complete blob is one file whose name is its digest, so the index is rebuilt from the directory at start.
type disk struct {
	dir     string
	fs      fileSystem
	limit   int64 // bytes of everything, records included
	minFree int64 // bytes of the file system that stay free
	log     *slog.Logger
	evicted func(bytes int64)

	mu       sync.Mutex // guards all below; held over renames, never over reads, writes or syncs
	index    map[digest.Digest]*entry
	order    *s3fifo
	used     int64                      // by complete blobs
	reserved int64                      // by partial blobs, idle ones included
	pinned   int64                      // by complete blobs that are being read
	shared   map[digest.Digest]*entry   // complete blobs whose files had another name when that was last looked at
	records  int64                      // by what others keep within the same bound
	idle     map[digest.Digest]*partial // partial blobs that no fill has open
	trash    int                        // numbers the names of files on their way out
}

type diskOptions struct {
	dir     string
	size    int64
	minFree int64
	clean   bool // the last run ended in order: what it left need not be verified again
	fs      fileSystem
	log     *slog.Logger
	evicted func(bytes int64)
}

// openDisk takes the directory, which nobody else uses, and finds what is in it.
func openDisk(o diskOptions) (*disk, error) {
	k := &disk{dir: o.dir, fs: o.fs, limit: o.size, minFree: o.minFree, log: o.log, evicted: o.evicted,
		index: map[digest.Digest]*entry{}, order: newS3FIFO(), idle: map[digest.Digest]*partial{}, shared: map[digest.Digest]*entry{}}
	if err := k.load(o.clean); err != nil {
		return nil, fmt.Errorf("open disk tier %s: %w", o.dir, err)
	}
	k.setRecords(0) // the bound may be lower than it was
	return k, nil
}

func (k *disk) blobPath(d digest.Digest) string {
	hex := d.Encoded()
	return filepath.Join(k.dir, "blobs", d.Algorithm().String(), hex[:2], hex)
}

func (k *disk) partialPath(d digest.Digest) string {
	return filepath.Join(k.dir, "partial", d.Algorithm().String()+"-"+d.Encoded())
}

// blobFile is a complete blob opened for one reader, with a position of its own. It is not evicted before Close.
type blobFile struct {
	*os.File
	size     int64
	verified bool
	unpin    func()
}

func (f *blobFile) Close() error {
	f.unpin()
	return f.File.Close()
}

// matches reads the whole blob, wherever its position is.
func (f *blobFile) matches(d digest.Digest) bool {
	return rehash(f, f.size, d, make([]byte, pieceBytes), func(int) error { return nil }) == nil
}

// open gives a complete blob; nil when the tier does not have it. A file that is gone or has another size is forgotten.
func (k *disk) open(d digest.Digest) (*blobFile, error) {
	k.mu.Lock()
	e := k.index[d]
	if e == nil {
		k.mu.Unlock()
		return nil, nil
	}
	k.pin(e, 1)
	k.order.touch(e)
	verified := e.verified
	k.mu.Unlock()

	unpin := sync.OnceFunc(func() {
		k.mu.Lock()
		k.pin(e, -1)
		k.mu.Unlock()
	})
	f, err := k.fs.Open(k.blobPath(d))
	if err == nil {
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && info.Size() == e.size {
			return &blobFile{File: f, size: e.size, verified: verified, unpin: unpin}, nil
		}
		f.Close()
		if err == nil {
			err = fs.ErrNotExist
			k.log.Warn("cached blob has the wrong size; it is dropped", "digest", d, "size", info.Size(), "want", e.size)
		}
	}
	unpin()
	if errors.Is(err, fs.ErrNotExist) {
		k.drop(d)
		return nil, nil
	}
	return nil, fmt.Errorf("%w: open blob %s: %w", errDisk, d, err)
}

// has gives the size of a complete blob.
func (k *disk) has(d digest.Digest) (size int64, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.index[d]; e != nil {
		return e.size, true
	}
	return 0, false
}

// setVerified notes that a blob's bytes are known to match its digest.
func (k *disk) setVerified(d digest.Digest) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.index[d]; e != nil {
		e.verified = true
	}
}

// drop removes a blob, complete or idle, even while it is read: readers keep their descriptors.
func (k *disk) drop(d digest.Digest) {
	k.mu.Lock()
	var out []string
	if e := k.index[d]; e != nil {
		k.order.remove(e)
		out = append(out, k.forget(e)...)
	}
	if p := k.idle[d]; p != nil {
		out = append(out, k.forgetPartial(p)...)
	}
	k.mu.Unlock()
	k.removeAll(out)
}

// forget takes an entry that has left the eviction order out of the index and its file out of the way, so that a new
// file of that name is safe from the removal that follows. The caller holds mu and removes the files it gets.
func (k *disk) forget(e *entry) []string {
	delete(k.index, e.digest)
	delete(k.shared, e.digest)
	k.used -= onDisk(e.size)
	return k.outOfTheWay(k.blobPath(e.digest))
}

func (k *disk) forgetPartial(p *partial) []string {
	delete(k.idle, p.digest)
	k.reserved -= p.reserved
	return append(k.outOfTheWay(p.path), k.outOfTheWay(p.sidePath())...)
}

func (k *disk) outOfTheWay(path string) []string {
	k.trash++
	out := filepath.Join(k.dir, "trash", fmt.Sprint(k.trash))
	if err := k.fs.Rename(path, out); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			k.log.Error("cached file cannot be removed", "path", path, "err", err)
		}
		return nil
	}
	return []string{out}
}

func (k *disk) removeAll(paths []string) {
	for _, p := range paths {
		if err := k.fs.Remove(p); err != nil {
			k.log.Error("cached file cannot be removed", "path", p, "err", err)
		}
	}
}

// Usage is how full the disk tier is, in bytes as the disk charges them.
type Usage struct {
	Blobs    int   // complete ones
	Used     int64 // by complete blobs
	Reserved int64 // by blobs that are being fetched or may be resumed
	Records  int64 // by manifests, tags and the like
	Limit    int64
}

// All is what counts against the limit.
func (u Usage) All() int64 { return u.Used + u.Reserved + u.Records }

func (k *disk) usage() Usage {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Usage{Blobs: len(k.index), Used: k.used, Reserved: k.reserved, Records: k.records, Limit: k.limit}
}

// fileSystem is what the disk tier asks of the operating system.
type fileSystem interface {
	// Create makes or reopens a file for reading and writing and claims size bytes of disk for it.
	Create(path string, size int64) (partialFile, error)
	Open(path string) (*os.File, error)
	Rename(from, to string) error // and makes the folder of to
	SyncFolder(path string) error // makes the names in it survive a power cut
	Remove(path string) error
	// WriteFile replaces a small file, whole or not at all, durably.
	WriteFile(path string, b []byte) error
	FreeBytes(dir string) (int64, error) // what may still be written there
}

// partialFile is a file that grows at several places at once.
type partialFile interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Close() error
}
