package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// load makes the folders and rebuilds the index from the names and sizes of files.
func (k *disk) load(clean bool) error {
	if err := os.RemoveAll(filepath.Join(k.dir, "trash")); err != nil {
		return err
	}
	for _, folder := range []string{"blobs", "partial", "trash"} {
		if err := os.MkdirAll(filepath.Join(k.dir, folder), 0o755); err != nil {
			return err
		}
	}
	found, err := k.scan()
	if err != nil {
		return err
	}
	unverified := map[digest.Digest]bool{}
	for _, d := range k.readList(unverifiedList) {
		unverified[d] = true
	}
	for _, b := range found {
		e := &entry{digest: b.digest, size: b.size, verified: clean && !unverified[b.digest]}
		k.index[b.digest] = e
		k.order.push(e, true)
		k.used += onDisk(b.size)
		if b.shared {
			k.shared[b.digest] = e
		}
	}
	return k.loadPartials()
}

type foundBlob struct {
	digest  digest.Digest
	size    int64
	changed time.Time
	shared  bool // its file has another name
}

// scan lists all blobs, oldest first.
func (k *disk) scan() ([]foundBlob, error) {
	folders, err := filepath.Glob(filepath.Join(k.dir, "blobs", "*", "??"))
	if err != nil {
		return nil, err
	}
	found := make([][]foundBlob, len(folders))
	var g errgroup.Group
	g.SetLimit(4)
	for i, folder := range folders {
		g.Go(func() (err error) {
			found[i], err = scanFolder(folder)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(found...)
	slices.SortFunc(all, func(a, b foundBlob) int { return a.changed.Compare(b.changed) })
	return all, nil
}

// scanFolder lists one folder; files that are not named for a digest are not ours and stay.
func scanFolder(folder string) ([]foundBlob, error) {
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	algorithm := filepath.Base(filepath.Dir(folder))
	blobs := make([]foundBlob, 0, len(files))
	for _, f := range files {
		d := digest.Digest(algorithm + ":" + f.Name())
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || d.Validate() != nil) {
			continue
		}
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, foundBlob{digest: d, size: info.Size(), changed: info.ModTime(), shared: shared(info)})
	}
	return blobs, nil
}

// loadPartials finds the files that earlier fills left to be resumed. What no side file vouches for is removed.
func (k *disk) loadPartials() error {
	files, err := os.ReadDir(filepath.Join(k.dir, "partial"))
	if err != nil {
		return err
	}
	for _, f := range files {
		name, path := f.Name(), filepath.Join(k.dir, "partial", f.Name())
		if strings.HasSuffix(name, sideSuffix) {
			if _, err := os.Stat(strings.TrimSuffix(path, sideSuffix)); err == nil {
				continue
			}
		} else if p, err := k.loadPartial(path, name); err == nil {
			k.idle[p.digest] = p
			k.reserved += p.reserved
			continue
		}
		if err := k.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Lists of blobs that outlive a run.
const (
	unverifiedList = "unverified" // that an unclean stop put in doubt and that nobody has asked for since
	unstoredList   = "unstored"   // that are not in the bucket yet
)

// close writes down what a later start must know. All fills have ended.
func (k *disk) close() error {
	k.mu.Lock()
	var doubt []digest.Digest
	for d, e := range k.index {
		if !e.verified {
			doubt = append(doubt, d)
		}
	}
	k.mu.Unlock()
	return k.writeList(unverifiedList, doubt)
}

func (k *disk) writeList(name string, all []digest.Digest) error {
	var lines []string
	for _, d := range all {
		lines = append(lines, d.String())
	}
	slices.Sort(lines)
	return k.fs.WriteFile(filepath.Join(k.dir, name), []byte(strings.Join(lines, "\n")))
}

// readList is empty where there is none, or it cannot be read: then the run that wrote it did not end cleanly either.
func (k *disk) readList(name string) []digest.Digest {
	b, err := os.ReadFile(filepath.Join(k.dir, name))
	if err != nil {
		return nil
	}
	var all []digest.Digest
	for line := range strings.Lines(string(b)) {
		all = append(all, digest.Digest(strings.TrimSpace(line)))
	}
	return all
}
