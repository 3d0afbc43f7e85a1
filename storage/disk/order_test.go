package disk

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// order records the changes of the file system by what they did and to what.
type order struct {
	files
	done []string
}

func (o *order) note(op, path string) { o.done = append(o.done, op+" "+filepath.Base(path)) }

func (o *order) Create(folder string) (file, error) {
	f, err := o.files.Create(folder)
	o.note("create in", folder)
	return &orderedFile{f, o}, err
}

func (o *order) Link(path, folder string) (string, error) {
	o.note("link in", folder)
	return o.files.Link(path, folder)
}

func (o *order) Rename(from, to string) error {
	err := o.files.Rename(from, to)
	if !errors.Is(err, fs.ErrNotExist) {
		o.note("rename to", to)
	}
	return err
}
func (o *order) Remove(path string) error { o.note("remove", path); return o.files.Remove(path) }
func (o *order) Mkdir(path string) error {
	err := o.files.Mkdir(path)
	if err == nil {
		o.note("mkdir", path)
	}
	return err
}
func (o *order) Rmdir(path string) error {
	err := o.files.Rmdir(path)
	if err == nil {
		o.note("rmdir", path)
	}
	return err
}
func (o *order) Sync(folder string) error {
	err := o.files.Sync(folder)
	if err == nil {
		o.note("sync", folder)
	}
	return err
}

type orderedFile struct {
	file
	to *order
}

func (f *orderedFile) Write(p []byte) (int, error) {
	f.to.done = append(f.to.done, "write")
	return f.file.Write(p)
}

func (f *orderedFile) Sync() error {
	f.to.done = append(f.to.done, "fsync")
	return f.file.Sync()
}

func TestWhatIsAcknowledgedIsDurable(t *testing.T) {
	for _, c := range []struct {
		name  string
		key   string
		write write
		want  string
	}{
		{"put in new folders", "new/er/a", byPut,
			"create in objects.temp, write, fsync, mkdir new, sync objects, mkdir er, sync new, rename to a, sync er"},
		{"put in a folder that exists", "old/b", byPut, "create in objects.temp, write, fsync, rename to b, sync old"},
		{"write a record", "old/a", byPutIf, "create in objects.temp, write, fsync, rename to a, sync old"},
		{"delete one of several", "old/a", byDelete, "remove a, sync old"},
		{"delete the last of its folders", "one/two/a", byDelete, "remove a, rmdir two, rmdir one, sync objects"},
		{"delete what is not there", "old/none", byDelete, "remove none, sync old"},
		{"delete a record", "old/a", byDeleteIf, "remove a, sync old"},
		{"delete a record, the last of its folders", "one/two/a", byDeleteIf, "remove a, rmdir two, rmdir one, sync objects"},
		{"link in new folders", "new/er/a", byLink,
			"link in objects.temp, mkdir new, sync objects, mkdir er, sync new, rename to a, sync er"},
		{"link in a folder that exists", "old/b", byLink, "link in objects.temp, rename to b, sync old"},
		{"link over", "old/a", byLink, "link in objects.temp, rename to a, sync old"},
		{"link again", "old/a", byLinkTwice, "link in objects.temp, rename to a, sync old, sync old"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mustOpen(t, t.TempDir())
			for _, key := range []string{"old/a", "old/c", "one/two/a"} {
				mustWrite(t, s, key, "before")
			}
			o := &order{files: osFiles{}}
			s.files = o
			if err := c.write(s, t, c.key, "after"); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(o.done, ", "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func byLinkTwice(s *Store, t *testing.T, key, content string) error {
	return errors.Join(byLink(s, t, key, content), byLink(s, t, key, content))
}

func TestTheMarkOfACleanEndIsDurableAndSoIsItsRemoval(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	endClaim(t, dir, true)
	o := &order{files: osFiles{}}
	d, err := claim(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Release(false)
	if err := d.write(o, "clean", ""); err != nil {
		t.Fatal(err)
	}
	const want = "remove clean, sync data, create in data, fsync, rename to clean, sync data"
	if got := strings.Join(o.done, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
