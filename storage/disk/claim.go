package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// format is the layout of the data directory that this program writes. Older ones it reads, newer ones it refuses.
const format = 1

// DataDir is a claimed data directory:
//
//	lock    who has it, while the server runs
//	format  the layout of everything else
//	clean   there only between a clean end and the next start
type DataDir struct {
	// Clean says that the last owner ended in order, or that there was none. Otherwise what was written without fsync may
	// be damaged.
	Clean bool

	dir  string
	lock *os.File
}

// Claim makes dir if it is missing and takes it for this process: ErrInUse where another one has it, an error too where a
// newer program wrote it. Until Release is called, however the process ends, the next Claim is not Clean.
func Claim(dir string) (*DataDir, error) {
	d, err := claim(dir, osFiles{})
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return d, nil
}

func claim(dir string, files files) (*DataDir, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := makeFolder(files, dir); err != nil {
		return nil, err
	}
	lock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	d := &DataDir{dir: dir, lock: lock}
	if err := d.begin(files); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

// Release ends the claim. clean says that everything that should be on disk is there.
func (d *DataDir) Release(clean bool) error {
	var err error
	if clean {
		err = d.write(osFiles{}, "clean", "")
	}
	if err := errors.Join(err, d.lock.Close()); err != nil {
		return fmt.Errorf("release data directory %s: %w", d.dir, err)
	}
	return nil
}

// begin reads how the last owner ended and forgets it, before anything is written.
func (d *DataDir) begin(files files) error {
	fresh, err := d.checkFormat()
	if err != nil {
		return err
	}
	if fresh {
		d.Clean = true
		return d.write(files, "format", strconv.Itoa(format)+"\n")
	}
	err = files.Remove(d.path("clean"))
	if errors.Is(err, fs.ErrNotExist) {
		// The last owner may have died between a write and its sync. From here on what it wrote is believed.
		return syncAll(d.dir)
	}
	if err != nil {
		return err
	}
	d.Clean = true
	return files.Sync(d.dir)
}

func (d *DataDir) checkFormat() (fresh bool, err error) {
	text, err := os.ReadFile(d.path("format"))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	found, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || found < 1 {
		return false, fmt.Errorf("%s does not name a format; restore it, or choose another directory", d.path("format"))
	}
	if found > format {
		return false, fmt.Errorf("%s has format %d, and this version knows %d at most; run a newer version, or choose another directory",
			d.dir, found, format)
	}
	return false, nil
}

// write replaces a file of the directory, whole or not at all, durably.
func (d *DataDir) write(files files, name, content string) error {
	temp, err := spool(files, d.dir, strings.NewReader(content), nil)
	if err != nil {
		return err
	}
	if err := files.Rename(temp, d.path(name)); err != nil {
		return errors.Join(err, files.Remove(temp))
	}
	return files.Sync(d.dir)
}

func (d *DataDir) path(name string) string { return filepath.Join(d.dir, name) }
