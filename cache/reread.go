package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/opencontainers/go-digest"
)

// pieceBytes is how much of a kept file is read again at a time.
const pieceBytes = 256 << 10

// errGone says that a blob left the disk tier while it was looked at.
var errGone = errors.New("no longer in the disk tier")

// VerifyReport is what reading kept blobs again has found.
type VerifyReport struct {
	Blobs   int      `json:"blobs"` // read, damaged ones included
	Bytes   int64    `json:"bytes"`
	Damaged []string `json:"damaged"` // digests of what was dropped
}

// Verify reads every complete blob of the disk tier again and drops what does not match its digest, so that it is fetched
// anew when it is next asked for. What leaves the tier meanwhile is skipped: reading keeps nothing from being given up and
// does not count as use. wait is called before each piece of up to 256 KiB and bounds the rate; progress is told after each
// blob; both may be nil. An error of wait, or the end of ctx, ends it with what was found so far. A file that cannot be
// opened, for lack of descriptors for example, says nothing about its bytes: it stays, and Verify goes on and returns the error.
func (c *Blobs) Verify(ctx context.Context, wait func(ctx context.Context, bytes int) error, progress func(VerifyReport)) (VerifyReport, error) {
	var report VerifyReport
	if c.disk == nil {
		return report, nil
	}
	if wait == nil {
		wait = func(context.Context, int) error { return nil }
	}
	buf := make([]byte, pieceBytes)
	var unopened error
	for _, d := range c.disk.digests() {
		size, err := c.disk.reread(ctx, d, buf, wait)
		switch {
		case errors.Is(err, errGone):
			continue
		case errors.Is(err, errDisk):
			unopened = err
			continue
		case errors.Is(err, ErrCorrupt):
			c.memory.DropBlob(d)
			report.Damaged = append(report.Damaged, d.String())
		case err != nil:
			return report, fmt.Errorf("verify cached blob %s: %w", d, err)
		}
		report.Blobs++
		report.Bytes += size
		if progress != nil {
			progress(report)
		}
	}
	return report, unopened
}

// digests lists the complete blobs, in no order: a run that never gets to the end does not leave out the same ones each time.
func (k *disk) digests() []digest.Digest {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]digest.Digest, 0, len(k.index))
	for d := range k.index {
		all = append(all, d)
	}
	return all
}

// reread reads a blob without pinning it, and drops it where its bytes are wrong or cannot be read (ErrCorrupt).
func (k *disk) reread(ctx context.Context, d digest.Digest, buf []byte, wait func(ctx context.Context, bytes int) error) (int64, error) {
	k.mu.Lock()
	e := k.index[d]
	k.mu.Unlock()
	if e == nil {
		return 0, errGone
	}
	err := k.matches(e, buf, func(n int) error {
		if err := wait(ctx, n); err != nil {
			return err
		}
		if !k.holds(e) { // its space is wanted, and free only once it is closed
			return errGone
		}
		return ctx.Err()
	})
	switch {
	case err == nil:
		k.setVerified(d)
	case errors.Is(err, ErrCorrupt):
		if !k.dropEntry(e) {
			return 0, errGone
		}
		k.log.Error("a cached blob is damaged; it will be fetched again", "digest", d, "err", err)
	}
	return e.size, err
}

// matches compares the file of an entry with its digest: nil, ErrCorrupt, errDisk for a file that cannot be opened, or the
// error of step.
func (k *disk) matches(e *entry, buf []byte, step func(bytes int) error) error {
	f, err := k.fs.Open(k.blobPath(e.digest))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EIO):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case err != nil:
		return diskError("open blob", e.digest, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if info.Size() != e.size {
		return fmt.Errorf("%w: its file has %d bytes and not %d", ErrCorrupt, info.Size(), e.size)
	}
	return rehash(f, e.size, e.digest, buf, step)
}

// rehash reads a blob of size bytes in pieces as large as buf, each after step, whose error ends it. ErrCorrupt says that
// the bytes are wrong or cannot be read.
func rehash(r io.ReaderAt, size int64, d digest.Digest, buf []byte, step func(bytes int) error) error {
	hash := d.Algorithm().Hash()
	for at := int64(0); at < size; {
		piece := buf[:min(int64(len(buf)), size-at)]
		if err := step(len(piece)); err != nil {
			return err
		}
		if n, err := r.ReadAt(piece, at); n < len(piece) {
			return fmt.Errorf("%w: byte %d: %w", ErrCorrupt, at+int64(n), noEOF(err))
		}
		hash.Write(piece)
		at += int64(len(piece))
	}
	if digest.NewDigest(d.Algorithm(), hash) != d {
		return ErrCorrupt
	}
	return nil
}

func (k *disk) holds(e *entry) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.index[e.digest] == e
}

// dropEntry removes a blob, unless it has left the tier already: then its name may be that of a better file.
func (k *disk) dropEntry(e *entry) bool {
	k.mu.Lock()
	held := k.index[e.digest] == e
	var out []string
	if held {
		k.order.remove(e)
		out = k.forget(e)
	}
	k.mu.Unlock()
	k.removeAll(out)
	return held
}
