package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/entrepot/entrepot/storage"
)

// Link is storage.Link, by a hard link.
func (s *Store) Link(ctx context.Context, key, path string) error {
	to, err := s.path(ctx, key)
	if err != nil {
		return fmt.Errorf("link %s: %w", key, err)
	}
	defer s.hold(key)()
	if err := s.link(path, to); err != nil {
		return fmt.Errorf("link %s: %w", key, err)
	}
	return nil
}

// link goes through the folder of files being written, as everything does: a link is not put in the place of another file.
// The caller holds the key's stripe.
func (s *Store) link(path, to string) error {
	from, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !from.Mode().IsRegular() { // a symbolic link would be linked itself
		return fmt.Errorf("%w: %s is not a regular file", storage.ErrUnable, path)
	}
	if there, err := os.Lstat(to); err == nil && os.SameFile(from, there) {
		return full(s.syncAbove(to)) // a rename of one name of a file to another does nothing, and leaves both
	}
	temp, err := s.files.Link(path, s.temp)
	if err != nil {
		return unlinkable(full(err))
	}
	return s.publish(temp, to)
}

// unlinkable says in the contract's words that the file system has no second name for a file.
func unlinkable(err error) error {
	for _, refusal := range []error{syscall.EXDEV, syscall.EPERM, syscall.EMLINK, errors.ErrUnsupported} {
		if errors.Is(err, refusal) {
			return fmt.Errorf("%w: %w", storage.ErrUnable, err)
		}
	}
	return err
}

var (
	_ storage.ConditionalDeleter = (*Store)(nil)
	_ storage.Linker             = (*Store)(nil)
)
