package cache

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate claims disk blocks up front, so that a full disk is known before the first byte is promised to anybody.
func allocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
			return nil
		}
		return err
	}
}
