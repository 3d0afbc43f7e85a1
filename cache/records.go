package cache

import (
	"context"
	"errors"
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

	mu         sync.Mutex
	waiting    map[string]waitingRecord // guarded by mu, like all below: what is not yet in the store
	serial     uint64
	closed     bool
	complained time.Time
}

// RecordOptions are all optional.
type RecordOptions struct {
	Log    *slog.Logger
	Now    func() time.Time
	Failed func() // told of each record that could not be read or written; must not block
}

type recordVerb int

const (
	verbPut    recordVerb = iota // replace whatever is there
	verbCreate                   // write unless something is there: records whose content follows from their key
	verbRemove
	verbTouch // write again what is there, if that has not happened for a day
	verbMark  // nothing: says that everything before it is done
)

type recordWrite struct {
	verb   recordVerb
	key    string
	record []byte
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
	go r.work() // until Close closes the queue
	return r
}

// Close writes what waits. Records handed over later are lost.
func (r *Records) Close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
	r.mu.Unlock()
	<-r.done
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

// has reports whether there is a record, without reading it.
func (r *Records) has(ctx context.Context, key string) (bool, error) {
	r.mu.Lock()
	w, ok := r.waiting[key]
	r.mu.Unlock()
	if ok {
		return w.record != nil, nil
	}
	_, err := r.store.Stat(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// write hands over records that belong together: they are written in this order, and after the first that fails the rest
// is dropped, so that no record names another one that is not there. It reports whether they were taken.
func (r *Records) write(ctx context.Context, batch ...recordWrite) bool {
	if r.room.Acquire(ctx, weigh(batch)) != nil {
		return false
	}
	return r.enqueue(batch)
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

func (r *Records) work() {
	defer close(r.done)
	for batch := range r.queue {
		r.carryOut(batch)
		r.mu.Lock()
		for _, w := range batch {
			if r.waiting[w.key].serial == w.serial {
				delete(r.waiting, w.key)
			}
		}
		r.mu.Unlock()
		r.room.Release(weigh(batch))
	}
}

func (r *Records) carryOut(batch []recordWrite) {
	for _, w := range batch {
		ctx, cancel := context.WithTimeout(context.Background(), recordPatience)
		err := r.apply(ctx, w)
		cancel()
		if err != nil {
			r.failed("write", w.key, err)
			return
		}
	}
}

func (r *Records) apply(ctx context.Context, w recordWrite) error {
	switch w.verb {
	case verbPut:
		return r.put(ctx, w.key, w.record)
	case verbCreate:
		_, err := r.store.PutIf(ctx, w.key, w.record, storage.Absent)
		if errors.Is(err, storage.ErrConflict) {
			return nil
		}
		return err
	case verbRemove:
		return r.store.Delete(ctx, w.key)
	case verbTouch:
		return r.touch(ctx, w.key)
	}
	close(w.done)
	return nil
}

// put replaces a record. Replicas that share the store may do so at once; whoever is last wins, since each of them wrote
// something true. Losing three times in a row is as good as winning.
func (r *Records) put(ctx context.Context, key string, record []byte) error {
	for range 3 {
		_, was, err := r.store.Get(ctx, key)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		if _, err = r.store.PutIf(ctx, key, record, was); !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return nil
}

// touch renews the time of a record. Whoever changed or removed it in between has the better word.
func (r *Records) touch(ctx context.Context, key string) error {
	info, err := r.store.Stat(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil || r.o.Now().Sub(info.Modified) < usedAgain {
		return err
	}
	record, was, err := r.store.Get(ctx, key)
	if err == nil {
		_, err = r.store.PutIf(ctx, key, record, was)
	}
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrConflict) {
		return nil
	}
	return err
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
		r.o.Log.Error("cache record lost", "doing", doing, "key", key, "error", err)
	}
}
