package main

import (
	"context"
	"fmt"
	"math"

	"github.com/dustin/go-humanize"

	"github.com/entrepot/entrepot/storage"
)

// keptFree stays free whatever is pushed: deleting and collecting write records too.
const keptFree = 16 << 20

// room makes room for what is pushed.
type room struct {
	giveUp  func(bytes int64) bool // the cache gives up blobs until that and MIN_FREE are free; false: it has nothing left to give
	givable func() int64           // bytes that the cache could give up
	free    func() (int64, error)  // bytes of the file system
}

// fits says whether so many bytes could be pushed, or why not (storage.ErrNoSpace).
func (r room) fits(_ context.Context, bytes int64) error {
	free, err := r.free()
	if err != nil {
		return err
	}
	return enough(bytes, free, r.givable())
}

func enough(bytes, free, givable int64) error {
	if free+givable-keptFree >= bytes {
		return nil
	}
	return fmt.Errorf("%s more are needed, %s are free, of which %s stay so, and the cache could give up %s: %w",
		humanize.IBytes(uint64(bytes)), humanize.IBytes(uint64(free)), humanize.IBytes(keptFree), humanize.IBytes(uint64(givable)), storage.ErrNoSpace)
}

// forPush makes sure that so many bytes can be written, or says why not (storage.ErrNoSpace). What is pushed may use the
// space that the cache leaves to others, but only once the cache has given up everything.
func (r room) forPush(_ context.Context, bytes int64) error {
	r.giveUp(min(bytes, math.MaxInt64-keptFree) + keptFree)
	free, err := r.free()
	if err != nil {
		return err
	}
	return enough(bytes, free, 0)
}
