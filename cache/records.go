package cache

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/entrepot/entrepot/storage"
	"golang.org/x/sync/semaphore"
)

const (
	recordRoom     = 16 << 20       // bytes of records that may wait to be written
	recordBlock    = 4 << 10        // the least that a record takes, on disk and of recordRoom
	recordPatience = time.Minute    // for one record operation of the store
	usedAgain      = 24 * time.Hour // a record used after this long is written again, so that the sweep sees that it is used
	complainEvery  = time.Minute    // log lines about records that cannot be written
)

// Records keeps the small records of the cache: written behind, in the order in which they were handed over, so that no
// pull waits for the disk, and visible from the moment of handing over. A record that cannot be written is lost, which
// costs a request upstream one day and never an answer. When too much waits, handing over waits too.
type Records struct {
	store storage.Store
	o     RecordOptions
	room  *semaphore.Weighted
	queue chan []recordWrite // its capacity is never the limit, room is: a send under mu does not block
	done  chan struct{}

	lanes   []chan sharing // to the bucket, none without one; sends under mu, which do not wait
	sharers sync.WaitGroup
	ending  context.Context
	end     context.CancelFunc

	mu         sync.Mutex
	waiting    map[string]waitingRecord // guarded by mu, like all below: what is not yet in the store
	serial     uint64
	closed     bool
	sharing    int64 // bytes that wait for the bucket
	complained time.Time
}

// RecordOptions are all optional.
type RecordOptions struct {
	Log    *slog.Logger
	Now    func() time.Time
	Failed func()  // told of each record that could not be read or written; must not block
	Bucket *Bucket // where other servers find what this one has learned, and this one what they have; nil: there are none
}

type recordVerb int

const (
	verbPut    recordVerb = iota // replace whatever is there
	verbCreate                   // write unless something is there: records whose content follows from their key
	verbAdopt                    // write what the bucket has, unless something is there, or was removed meanwhile
	verbRemove
	verbTouch // write again what is there, if that has not happened for a day
	verbMark  // nothing: says that everything before it is done
)

type recordWrite struct {
	verb   recordVerb
	key    string
	record []byte
	share  bool // other servers shall know too
	serial uint64
	done   chan struct{} // of a mark
}

type waitingRecord struct {
	record []byte // nil: being removed
	serial uint64
}

// NewRecords keeps records in a store, which it does not own. Close ends the writing goroutine that it starts.
func NewRecords(store storage.Store, o RecordOptions) *Records {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Failed == nil {
		o.Failed = func() {}
	}
	r := &Records{
		store:   store,
		o:       o,
		room:    semaphore.NewWeighted(recordRoom),
		queue:   make(chan []recordWrite, recordRoom/recordBlock),
		done:    make(chan struct{}),
		waiting: make(map[string]waitingRecord),
	}
	r.ending, r.end = context.WithCancel(context.Background())
	go r.work() // until Close closes the queue
	if o.Bucket != nil {
		r.openLanes()
	}
	return r
}

// Close writes what waits. Records handed over later are lost.
func (r *Records) Close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
		for _, lane := range r.lanes {
			close(lane)
		}
	}
	r.mu.Unlock()
	<-r.done
	patience := time.AfterFunc(parting, r.end)
	r.sharers.Wait()
	patience.Stop()
	r.end()
}

// Flush returns when everything handed over before is written.
func (r *Records) Flush(ctx context.Context) error {
	done := make(chan struct{})
	if !r.write(ctx, recordWrite{verb: verbMark, done: done}) {
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// get reads a record; storage.ErrNotFound is the only miss.
func (r *Records) get(ctx context.Context, key string) ([]byte, error) {
	record, err := r.here(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		return r.fromBucket(ctx, key)
	}
	return record, err
}

// here reads a record that does not have to come from the bucket.
func (r *Records) here(ctx context.Context, key string) ([]byte, error) {
	r.mu.Lock()
	w, ok := r.waiting[key]
	r.mu.Unlock()
	switch {
	case !ok:
		record, _, err := r.store.Get(ctx, key)
		return record, err
	case w.record == nil:
		return nil, storage.ErrNotFound
	}
	return w.record, nil
}

// stat gives the size of a record without reading it; storage.ErrNotFound is the only miss.
func (r *Records) stat(ctx context.Context, key string) (int64, error) {
	r.mu.Lock()
	w, ok := r.waiting[key]
	r.mu.Unlock()
	switch {
	case !ok:
		info, err := r.store.Stat(ctx, key)
		if errors.Is(err, storage.ErrNotFound) {
			record, err := r.fromBucket(ctx, key)
			return int64(len(record)), err
		}
		return info.Size, err
	case w.record == nil:
		return 0, storage.ErrNotFound
	}
	return int64(len(w.record)), nil
}

// list yields the records that are in the store; Flush first to see those that wait.
func (r *Records) list(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return r.store.List(ctx, prefix, after)
}

// remove removes a record now, in the bucket first. One that waits to be written comes after it; Flush first.
func (r *Records) remove(ctx context.Context, key string) error {
	if r.o.Bucket != nil && isShared(key) {
		if err := r.o.Bucket.o.Store.Delete(ctx, key); err != nil {
			return err
		}
	}
	return r.removeHere(ctx, key)
}

// removeHere leaves the record to other servers.
func (r *Records) removeHere(ctx context.Context, key string) error { return r.store.Delete(ctx, key) }

// write hands over records that belong together: they are written in this order, and after the first that fails the rest
// is dropped, so that no record names another one that is not there. It reports whether they were taken.
func (r *Records) write(ctx context.Context, batch ...recordWrite) bool {
	if r.room.Acquire(ctx, weigh(batch)) != nil {
		return false
	}
	r.o.Bucket.hide(batch)
	taken := r.enqueue(batch)
	if taken {
		r.share(batch)
	}
	return taken
}

// use notes that a record was used. It never waits: a note that finds no room is dropped.
func (r *Records) use(key string) {
	batch := []recordWrite{{verb: verbTouch, key: key}}
	if r.room.TryAcquire(weigh(batch)) {
		r.enqueue(batch)
	}
}

func (r *Records) enqueue(batch []recordWrite) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.room.Release(weigh(batch))
		return false
	}
	for i := range batch {
		r.serial++
		batch[i].serial = r.serial
		switch w := batch[i]; w.verb {
		case verbPut, verbCreate, verbRemove:
			r.waiting[w.key] = waitingRecord{w.record, w.serial}
		case verbAdopt:
			if _, newer := r.waiting[w.key]; !newer {
				r.waiting[w.key] = waitingRecord{w.record, w.serial}
			}
		}
	}
	r.queue <- batch
	return true
}

func weigh(batch []recordWrite) int64 {
	var n int64
	for _, w := range batch {
		n += max(int64(len(w.record)), recordBlock)
	}
	return min(n, recordRoom)
}

// failed counts a record that could not be read or written, and logs one a minute: a broken disk breaks them all.
func (r *Records) failed(doing, key string, err error) {
	r.o.Failed()
	now := r.o.Now()
	r.mu.Lock()
	quiet := now.Sub(r.complained) < complainEvery
	if !quiet {
		r.complained = now
	}
	r.mu.Unlock()
	if !quiet {
		r.o.Log.Error("cache record lost", "doing", doing, "key", key, "err", err)
	}
}

// readRecord decodes a record. One that makes no sense is removed, and is not there.
func readRecord[T interface{ valid() bool }](ctx context.Context, r *Records, key string) (T, error) {
	var v, none T
	b, err := r.get(ctx, key)
	if err != nil {
		if !errors.Is(err, storage.ErrNotFound) && ctx.Err() == nil {
			r.failed("read", key, err)
		}
		return none, err
	}
	if err = json.Unmarshal(b, &v); err == nil && !v.valid() {
		err = errors.New("makes no sense")
	}
	if err != nil {
		r.failed("decode", key, err)
		r.write(ctx, recordWrite{verb: verbRemove, key: key})
		return none, storage.ErrNotFound
	}
	return v, nil
}

// encodeRecord is the inverse of readRecord's decoding, for this package's own record types, which always have a JSON form.
func encodeRecord(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
