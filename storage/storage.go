// Package storage is the object contract that everything durable is written against: small records with conditional
// writes, and large objects written whole or not at all. Implementations: storage/disk, storage/s3, storage/mem.
package storage

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// ErrNotFound is the only error that means "not there". Any other error of a read says nothing about presence.
var ErrNotFound = errors.New("object not found")

// ErrConflict says that a conditional write lost: the record is not at the version named.
var ErrConflict = errors.New("record was changed by somebody else")

// ErrRange says that a range begins before an object or beyond its end.
var ErrRange = errors.New("range outside the object")

// ErrSize says that a body did not have the size announced. Nothing was stored.
var ErrSize = errors.New("body is not of the size announced")

// ErrNoSpace says that there is no space left to store this. What the system said is in the chain too.
var ErrNoSpace = errors.New("no space left to store this")

// ErrUnavailable says that the store does not answer, or not in time: later it may. What was being written may be there.
var ErrUnavailable = errors.New("store does not answer")

// ErrInvalidKey says that no object can have the key, or begin with the prefix, that was given. See CheckKey.
var ErrInvalidKey = errors.New("invalid key")

// Version identifies one state of a record. It is opaque.
type Version string

// Absent is the version of a record that does not exist.
const Absent Version = ""

// Info describes an object. Modified is by the store's clock.
type Info struct {
	Key      string
	Size     int64
	Modified time.Time
}

// Store keeps objects under slash-separated keys. No key may be a folder of another ("a" and "a/b"). Every implementation
// passes storagetest.Conformance.
type Store interface {
	Stat(ctx context.Context, key string) (Info, error)

	// Open reads n bytes from off on, fewer where the object ends before; n < 0 reads to the end. An off beyond the end is
	// ErrRange; at the end it is an empty reader. Info is of the whole object. The caller closes the reader.
	Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, Info, error)

	// Put stores large content, whole or not at all, durable when it returns. size < 0 means unknown.
	Put(ctx context.Context, key string, body io.Reader, size int64) error

	// Get reads a small record with the version a later PutIf may name.
	Get(ctx context.Context, key string) ([]byte, Version, error)

	// PutIf writes a record if it is still at version was (Absent: if it does not exist), durable when it returns.
	// ErrConflict when it is not. Records that may return to an earlier content carry a nonce of their own.
	PutIf(ctx context.Context, key string, record []byte, was Version) (Version, error)

	// Delete is idempotent and unconditional.
	Delete(ctx context.Context, key string) error

	// List yields the objects whose keys begin with prefix and come after the key named, in byte order of the whole key.
	// Objects put or deleted meanwhile may be in it or not; all others are, once. An error ends it.
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]
}
