package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/storage"
)

const (
	// listBatch bounds how many names of one folder are in memory at once (twice that while they are sorted). A folder
	// with more is read once for each batch: its names come in no order, so each pass keeps the next ones of it.
	listBatch = 4096
	// readBatch is how many names are asked of the system at once.
	readBatch = 512
)

// List starts in the folder that prefix names and enters no folder whose keys all come before after. No file is held
// open while the caller looks at an object.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return s.list(ctx, prefix, after, listBatch)
}

func (s *Store) list(ctx context.Context, prefix, after string, batch int) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		w := walk{ctx: ctx, objects: s.objects, prefix: prefix, after: after, batch: batch, yield: yield}
		err := storage.CheckPrefix(prefix)
		if err == nil {
			err = w.folder(prefix[:strings.LastIndexByte(prefix, '/')+1])
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(storage.Info{}, fmt.Errorf("list %q: %w", prefix, err))
		}
	}
}

// errStopped says that the caller of List wants no more.
var errStopped = errors.New("listing stopped")

// walk is one listing. A folder's place in the order is that of its keys, so it is compared with the slash that follows:
// "a-b" and "a.b" come before the folder "a/", which as the bare name "a" would come first.
type walk struct {
	ctx     context.Context
	objects string
	prefix  string
	after   string
	batch   int
	yield   func(storage.Info, error) bool
}

// folder lists the keys that begin with at, which is empty or ends in a slash.
func (w *walk) folder(at string) error {
	last := ""
	for {
		names, more, err := w.next(at, last)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := w.visit(name); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		last = names[len(names)-1]
	}
}

// visit takes the key of an object, or that of a folder, which ends in a slash.
func (w *walk) visit(key string) error {
	if strings.HasSuffix(key, "/") {
		return w.folder(key)
	}
	found, err := os.Lstat(w.path(key))
	if isAbsent(err) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	if !w.yield(info(key, found), nil) {
		return errStopped
	}
	return nil
}

// next reads the folder at and gives the first names after last that the listing wants, and whether there are more.
func (w *walk) next(at, last string) (names []string, more bool, err error) {
	folder, err := os.Open(w.path(at))
	if isAbsent(err) {
		return nil, false, w.ctx.Err()
	}
	if err != nil {
		return nil, false, err
	}
	defer folder.Close()
	first := smallest{n: w.batch}
	for {
		if err := w.ctx.Err(); err != nil {
			return nil, false, err
		}
		entries, err := folder.ReadDir(readBatch)
		for _, entry := range entries {
			if name, ok := w.wants(at, entry); ok && name > last {
				first.add(name)
			}
		}
		if err == io.EOF || isAbsent(err) { // absent: removed while it was read, or a file
			first.trim()
			return first.names, first.dropped, nil
		}
		if err != nil {
			return nil, false, err
		}
	}
}

func (w *walk) wants(at string, entry fs.DirEntry) (name string, ok bool) {
	name = at + entry.Name()
	switch {
	case entry.IsDir():
		name += "/"
		ok = name > w.after || strings.HasPrefix(w.after, name)
	case entry.Type().IsRegular():
		ok = name > w.after
	}
	return name, ok && strings.HasPrefix(name, w.prefix)
}

func (w *walk) path(key string) string { return filepath.Join(w.objects, filepath.FromSlash(key)) }

// smallest keeps the n least of the names it is given, in memory for 2n.
type smallest struct {
	n       int
	names   []string
	dropped bool // there were more, none of them less than limit
	limit   string
}

func (s *smallest) add(name string) {
	if s.dropped && name >= s.limit {
		return
	}
	s.names = append(s.names, name)
	if len(s.names) >= 2*s.n {
		s.trim()
	}
}

// trim leaves the names sorted, each once: some file systems show a file twice that was replaced while its folder is read.
func (s *smallest) trim() {
	slices.Sort(s.names)
	s.names = slices.Compact(s.names)
	if len(s.names) > s.n {
		s.names = slices.Delete(s.names, s.n, len(s.names))
		s.dropped, s.limit = true, s.names[s.n-1]
	}
}
