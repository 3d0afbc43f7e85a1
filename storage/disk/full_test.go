package disk

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/entrepot/entrepot/storage"
)

func TestAFullDiskIsNoSpaceWhereverItShows(t *testing.T) {
	for _, system := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		for name, write := range map[string]write{"put": byPut, "record": byPutIf, "link": byLink} {
			t.Run(fmt.Sprintf("%s, %s", name, system), func(t *testing.T) {
				eachFault(t, func(t *testing.T, disk *faulty) {
					s := mustOpen(t, t.TempDir())
					disk.err = system
					s.files = disk
					err := write(s, t, "a/b", "content")
					if failed := disk.count >= disk.n; failed != errors.Is(err, storage.ErrNoSpace) || failed != errors.Is(err, system) {
						t.Errorf("failed %t: %v", failed, err)
					}
				})
			})
		}
	}
}

func TestAnotherDiskThatIsFullIsNot(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	err := s.Put(t.Context(), "a", iotest.ErrReader(syscall.ENOSPC), -1)
	if errors.Is(err, storage.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a body that cannot be read: %v", err)
	}
}

// refusing is a file system without links, for one of the reasons there are.
type refusing struct {
	osFiles
	err error
}

func (r refusing) Link(string, string) (string, error) { return "", r.err }

func TestAFileSystemThatRefusesALinkIsUnable(t *testing.T) {
	for _, c := range []struct {
		err    error
		unable bool
	}{
		{syscall.EXDEV, true}, {syscall.EPERM, true}, {syscall.EMLINK, true}, {syscall.ENOTSUP, true}, {syscall.EOPNOTSUPP, true},
		{syscall.ENOSYS, true}, {syscall.EIO, false}, {syscall.ENOENT, false}, {syscall.ENOSPC, false},
	} {
		s := mustOpen(t, t.TempDir())
		s.files = refusing{err: c.err}
		err := byLink(s, t, "a", "content")
		if !errors.Is(err, c.err) || errors.Is(err, storage.ErrUnable) != c.unable {
			t.Errorf("%v: Link = %v; want unable %t", c.err, err, c.unable)
		}
	}
}
