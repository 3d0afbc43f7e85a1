package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"
)

// sideSuffix names the side file of a partial blob, which says what of it is there.
const sideSuffix = ".json"

// growBy is how many bytes are reserved at a time for a blob of unknown size.
const growBy = 64 << 20

// partial is a blob on its way to the disk: a file, the bytes it has, and the space reserved for it. While a fill has it
// open, the fill owns file and have; between fills it is idle and has no file.
type partial struct {
	disk     *disk
	digest   digest.Digest
	size     int64 // -1: unknown
	reserved int64
	path     string
	file     partialFile
	have     extents
}

// sideRecord is the side file's form. Only what it names counts after a restart.
type sideRecord struct {
	Size int64      `json:"size"`
	Have [][2]int64 `json:"have"`
}

func (p *partial) sidePath() string { return p.path + sideSuffix }

// resume takes an idle partial blob over; nil when there is none.
func (k *disk) resume(d digest.Digest) (*partial, error) {
	k.mu.Lock()
	p := k.idle[d]
	delete(k.idle, d)
	k.mu.Unlock()
	if p == nil {
		return nil, nil
	}
	f, err := k.fs.Create(p.path, p.size)
	if err != nil {
		p.discard()
		return nil, diskError("reopen partial blob", d, err)
	}
	p.file = f
	return p, nil
}

// create reserves space for a blob of size bytes (-1: unknown) and opens its file.
func (k *disk) create(d digest.Digest, size int64) (*partial, error) {
	p := &partial{disk: k, digest: d, size: size, reserved: onDisk(max(size, 0)), path: k.partialPath(d)}
	if err := k.reserve(p.reserved); err != nil {
		return nil, fmt.Errorf("keep blob %s of %d bytes: %w", d, size, err)
	}
	f, err := k.fs.Create(p.path, size)
	if err != nil {
		k.release(p.reserved)
		return nil, diskError("create partial blob", d, err)
	}
	p.file = f
	return p, nil
}

// grow makes sure that a blob of unknown size may reach the offset to.
func (p *partial) grow(to int64) error {
	for p.size < 0 && to > p.reserved {
		if err := p.disk.reserve(growBy); err != nil {
			return err
		}
		p.reserved += growBy
	}
	return nil
}

func (p *partial) sync() error { return diskError("sync partial blob", p.digest, p.file.Sync()) }

// save makes what have names survive a crash: the bytes first, then the side file that vouches for them.
func (p *partial) save(have extents) error {
	if err := p.sync(); err != nil {
		return err
	}
	rec := sideRecord{Size: p.size, Have: make([][2]int64, len(have))}
	for i, s := range have {
		rec.Have[i] = [2]int64{s.from, s.to}
	}
	b, err := json.Marshal(rec)
	if err == nil {
		err = p.disk.fs.WriteFile(p.sidePath(), b)
	}
	return diskError("save partial blob", p.digest, err)
}

// commit makes the blob complete under its digest, which the caller has verified, and whose bytes it has synced: the name,
// then the folder. The partial is gone afterwards, whatever the outcome.
func (p *partial) commit(size int64) error {
	k := p.disk
	err := p.file.Close()
	k.mu.Lock()
	if err == nil {
		err = k.fs.Rename(p.path, k.blobPath(p.digest))
	}
	if err != nil {
		k.mu.Unlock()
		p.file = nil
		p.discard()
		return diskError("commit blob", p.digest, err)
	}
	k.reserved -= p.reserved
	e := &entry{digest: p.digest, size: size, verified: true}
	k.index[p.digest] = e
	k.order.add(e)
	k.used += onDisk(size)
	k.mu.Unlock()
	err = k.fs.SyncFolder(filepath.Dir(k.blobPath(p.digest)))
	if removing := k.fs.Remove(p.sidePath()); err == nil && !errors.Is(removing, os.ErrNotExist) {
		err = removing
	}
	return diskError("commit blob", p.digest, err)
}

// park keeps the blob for a later fill to resume, durably. A blob without bytes or of unknown size is not worth it.
func (p *partial) park(have extents) error {
	if p.size < 0 || have.bytes() == 0 {
		p.discard()
		return nil
	}
	err := p.save(have)
	p.file.Close()
	p.file, p.have = nil, have
	if err != nil {
		p.discard()
		return err
	}
	p.disk.mu.Lock()
	p.disk.idle[p.digest] = p
	p.disk.mu.Unlock()
	return nil
}

// discard removes the blob and gives its space back.
func (p *partial) discard() {
	if p.file != nil {
		p.file.Close()
	}
	p.disk.mu.Lock()
	out := p.disk.forgetPartial(p)
	p.disk.mu.Unlock()
	p.disk.removeAll(out)
}

// loadPartial reads a partial blob back by its file's name, <alg>-<hex>.
func (k *disk) loadPartial(path, name string) (*partial, error) {
	d := digest.Digest(strings.Replace(name, "-", ":", 1))
	if err := d.Validate(); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path + sideSuffix)
	if err != nil {
		return nil, err
	}
	var rec sideRecord
	if err := json.Unmarshal(b, &rec); err != nil {
		return nil, err
	}
	p := &partial{disk: k, digest: d, size: rec.Size, reserved: onDisk(rec.Size), path: path}
	for _, s := range rec.Have {
		p.have = append(p.have, span{s[0], s[1]})
	}
	if rec.Size < 0 || !p.have.valid(rec.Size) {
		return nil, fmt.Errorf("side file of %s contradicts itself", filepath.Base(path))
	}
	return p, nil
}

// diskError wraps a failure of the disk; a full one is just a lack of room.
func diskError(doing string, d digest.Digest, err error) error {
	if err == nil {
		return nil
	}
	kind := errDisk
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		kind = errNoRoom
	}
	return fmt.Errorf("%w: %s %s: %w", kind, doing, d, err)
}
