package hosted

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/entrepot/entrepot/storage"
)

// ahead reads the objects of a listing, n at a time, and yields what read gives in the order of the listing. What is gone by
// then, and tombstones, are left out. It ends after the first error.
func ahead[T any](ctx context.Context, s storage.Store, prefix string, n int, read func(storage.Info) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		batch := make([]storage.Info, 0, n)
		deliver := func() bool {
			for _, r := range readAll(batch, read) {
				if !errors.Is(r.err, storage.ErrNotFound) && (!yield(r.value, r.err) || r.err != nil) {
					return false
				}
			}
			batch = batch[:0]
			return true
		}
		for info, err := range s.List(ctx, prefix, "") {
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			if hasEnded(info) {
				continue
			}
			if batch = append(batch, info); len(batch) == n && !deliver() {
				return
			}
		}
		deliver()
	}
}

type result[T any] struct {
	value T
	err   error
}

func readAll[T any](batch []storage.Info, read func(storage.Info) (T, error)) []result[T] {
	all := make([]result[T], len(batch))
	var reading sync.WaitGroup
	for i, info := range batch[min(1, len(batch)):] {
		reading.Go(func() { all[i+1].value, all[i+1].err = read(info) }) // ends with its request
	}
	if len(batch) > 0 { // one at a time needs no goroutine
		all[0].value, all[0].err = read(batch[0])
	}
	reading.Wait()
	return all
}
