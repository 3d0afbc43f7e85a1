package storage

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Why Lease.Do did not do it, or not to its end.
var (
	ErrHeld = errors.New("somebody else is doing it")
	ErrDone = errors.New("somebody else has done it in the meantime")
	ErrLost = errors.New("somebody else has taken it over")
)

const (
	renewals  = 4                // in the life of a lease, so that some may fail
	returning = 10 * time.Second // that a lease takes to give back, also where ctx has ended
)

// Lease lets several processes that share a store leave a piece of work to one of them at a time. It saves work, and no
// more: a process that was stopped for a while may go on with what another has begun.
//
// Clocks are not compared. A record that changes is somebody's who lives. One that has not changed while this process
// watched it for the life of a lease, by its own clock, is taken over.
type Lease struct {
	store  Store
	key    string
	holder string
	life   time.Duration

	found string  // who held it when it was last looked at
	seen  Version // of the record when it was last looked at; Absent: never
	since time.Time
}

// leaseRecord is held while it names a holder. The nonce makes no two of them equal.
type leaseRecord struct {
	Holder string `json:"holder,omitempty"`
	Done   bool   `json:"done,omitempty"` // the last one who held it came to the end
	Last   string `json:"last,omitempty"` // who that was
	Nonce  string `json:"nonce"`
}

// NewLease gives the lease at key. All who share it give it the same life; holder is for whoever reads the record.
func NewLease(s Store, key, holder string, life time.Duration) *Lease {
	return &Lease{store: s, key: key, holder: holder, life: life}
}

// Life is how long a lease is left alone that nobody renews.
func (l *Lease) Life() time.Duration { return l.life }

// Do does the work if nobody else holds the lease (ErrHeld), and nobody has done it since this Lease was last asked
// (ErrDone). The context of the work ends, with ErrLost as its cause, where the lease cannot be renewed in time. Do is for
// one goroutine at a time.
func (l *Lease) Do(ctx context.Context, work func(context.Context) error) error {
	at, err := l.take(ctx, false)
	if err != nil {
		return fmt.Errorf("lease %s: %w", l.key, err)
	}
	h := l.hold(ctx, at)
	err = work(h.ctx)
	lost := h.lost()
	h.Rest()
	if lost {
		return fmt.Errorf("lease %s: %w", l.key, ErrLost)
	}
	l.giveBack(ctx, h.at, err == nil)
	return err
}

// take gives the version of the record that says that the lease is held here. inherit takes what is held in this holder's
// own name, too.
func (l *Lease) take(ctx context.Context, inherit bool) (Version, error) {
	record, at, err := l.store.Get(ctx, l.key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Absent, err
	}
	if err == nil {
		if err := l.free(record, at); err != nil && !(inherit && l.found == l.holder) {
			return Absent, err
		}
	} else {
		at = Absent
	}
	return l.claim(ctx, at)
}

// claim puts the holder's name into the record, if that is as it was.
func (l *Lease) claim(ctx context.Context, was Version) (Version, error) {
	held, err := l.store.PutIf(ctx, l.key, l.record(leaseRecord{Holder: l.holder}), was)
	if errors.Is(err, ErrConflict) {
		return Absent, ErrHeld
	}
	return held, err
}

// free says whether the lease may be taken. A record that cannot be read may be anything, so it is held.
func (l *Lease) free(record []byte, at Version) error {
	var r leaseRecord
	damaged := json.Unmarshal(record, &r) != nil
	l.found = r.Holder
	before := l.seen
	if at != before {
		l.seen, l.since = at, time.Now()
	}
	switch {
	case damaged || r.Holder != "":
		if time.Since(l.since) < l.life {
			return fmt.Errorf("%w: %.100q", ErrHeld, r.Holder)
		}
	case r.Done && before != Absent && at != before:
		return ErrDone
	}
	return nil
}

// renew keeps the lease until ctx ends, or ends it itself: once another has the lease, or may have it. It gives the version
// of its last record.
func (l *Lease) renew(ctx context.Context, held Version, lose context.CancelCauseFunc) Version {
	every := l.life / renewals
	timer := time.NewTimer(every)
	defer timer.Stop()
	for until := time.Now().Add(l.life - every); ; timer.Reset(every) {
		select {
		case <-ctx.Done():
			return held
		case <-timer.C:
		}
		began := time.Now()
		next, err := l.extend(ctx, held, until)
		switch {
		case err == nil:
			held, until = next, began.Add(l.life-every)
		case errors.Is(err, ErrConflict), !time.Now().Before(until):
			lose(ErrLost)
			return held
		}
	}
}

func (l *Lease) extend(ctx context.Context, held Version, until time.Time) (Version, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return l.store.PutIf(ctx, l.key, l.record(leaseRecord{Holder: l.holder}), held)
}

// giveBack lets others take the lease at once. Where that fails they wait for its life.
func (l *Lease) giveBack(ctx context.Context, held Version, done bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), returning)
	defer cancel()
	if at, err := l.store.PutIf(ctx, l.key, l.record(leaseRecord{Done: done, Last: l.holder}), held); err == nil {
		l.seen, l.since = at, time.Now()
	}
}

func (l *Lease) record(r leaseRecord) []byte {
	r.Nonce = rand.Text()
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and a bool
	}
	return text
}
