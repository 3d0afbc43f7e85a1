package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// ErrInUse says that another process owns the directory.
var ErrInUse = errors.New("in use by another process")

// maxOwner bounds what is read from a lock file, in bytes.
const maxOwner = 512

// lock takes the lock file at path for as long as the file returned stays open, and writes into it who has it. The lock
// ends with the process, however it ends; the file stays.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%w (%s); stop it, or choose another directory", ErrInUse, owner(f))
	} else if err == nil {
		err = sign(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// sign names this process. The host is named too: two containers on one volume may both be process 1.
func sign(f *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "process %d on host %s\n", os.Getpid(), host), 0)
	return err
}

func owner(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, maxOwner))
	name, _, _ := strings.Cut(string(text), "\n")
	if err != nil || name == "" {
		return "unknown process"
	}
	return name
}
