package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback has the system write n bytes from off on to the disk while more are coming, so that little is left for
// the fsync. It promises nothing, so its failure is none: without a flag that waits, the call takes no write error away from
// the fsync that has to report it.
func startWriteback(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
