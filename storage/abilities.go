package storage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrUnable says that a store cannot do what only some can, or not with what it was given. Nothing was changed, and
// another way has to be taken.
var ErrUnable = errors.New("this store cannot do that")

// ConditionalDeleter is a store that decides deletions as it decides writes. It is called through DeleteIf.
type ConditionalDeleter interface {
	DeleteIf(ctx context.Context, key string, was Version) error
}

// Linker is a store that takes over files of the machine without copying them. It is called through Link.
type Linker interface {
	Link(ctx context.Context, key, path string) error
}

// Presigner is a store whose objects can be read over HTTP by whoever is given a URL. It is called through Presign.
type Presigner interface {
	Presign(ctx context.Context, key string, life time.Duration) (url string, err error)
}

// DeleteIf removes a record if it is still at version was, durably when it returns. ErrConflict when it is not, which it
// never is once it is absent. Any other error leaves the record or its absence.
func DeleteIf(ctx context.Context, s Store, key string, was Version) error {
	able, ok := s.(ConditionalDeleter)
	if !ok {
		return fmt.Errorf("delete %s if unchanged: %w", key, ErrUnable)
	}
	return able.DeleteIf(ctx, key, was)
}

// Link makes the file at path the object under key too, in the place of what was there, durably when it returns. Nobody
// may write to the file any more, and its content has to be durable. Removing path afterwards leaves the object, whose
// Modified is that of the file, which may be long ago. ErrUnable also where the file system has no second name for that
// file: it is another file system's, or somebody else's, or has too many.
func Link(ctx context.Context, s Store, key, path string) error {
	able, ok := s.(Linker)
	if !ok {
		return fmt.Errorf("link %s: %w", key, ErrUnable)
	}
	return able.Link(ctx, key, path)
}

// Presign gives a URL that a plain GET, with a range or without, reads the object by, without a credential and for so long.
// The store is not asked whether it has the object. The URL is a credential itself: it belongs in no log.
func Presign(ctx context.Context, s Store, key string, life time.Duration) (url string, err error) {
	able, ok := s.(Presigner)
	if !ok {
		return "", fmt.Errorf("presign %s: %w", key, ErrUnable)
	}
	return able.Presign(ctx, key, life)
}
