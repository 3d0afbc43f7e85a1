package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/entrepot/entrepot/storage"
)

const (
	proofTime  = 15 * time.Second // that a probe may take
	proofPause = 5 * time.Second  // after one that failed
)

// proven is a store that takes writes only once it is known to decide conditional ones. The first write finds that out, if
// nobody has before. Reads need no such proof.
type proven struct {
	storage.Store
	log    *slog.Logger
	flight singleflight.Group // of probes

	mu    sync.Mutex // guards the rest
	holds bool
	err   error     // of the last probe
	until time.Time // err is not asked anew before
	told  time.Time // when err was last logged
}

func newProven(s storage.Store, log *slog.Logger) *proven { return &proven{Store: s, log: log} }

// prove fails with storage.ErrUnavailable while it is not known that the store decides, and with storage.ErrUnconditional
// beside that where it is known that it does not.
func (p *proven) prove(ctx context.Context) error {
	if known, err := p.known(); known {
		return err
	}
	found := p.flight.DoChan("", func() (any, error) { return nil, p.look(context.WithoutCancel(ctx)) })
	select {
	case r := <-found:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *proven) known() (known bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holds {
		return true, nil
	}
	return time.Now().Before(p.until), p.err
}

// look is for one goroutine at a time.
func (p *proven) look(ctx context.Context) error {
	if known, err := p.known(); known {
		return err // somebody has looked since
	}
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	store := storage.Under(p.Store, "hosted")
	err := forgetProbes(ctx, store, time.Now().Add(-probeLife))
	if err == nil {
		err = storage.Probe(ctx, store)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil && p.err != nil:
		p.log.Info("the bucket takes writes")
	case err != nil:
		p.tell(err)
		err = fmt.Errorf("%w, or not as it has to: %w", storage.ErrUnavailable, err)
	}
	p.holds, p.err, p.until = err == nil, err, time.Now().Add(proofPause)
	return err
}

// tell says once a minute what is wrong: somebody tries every few seconds. The caller holds mu.
func (p *proven) tell(err error) {
	if time.Since(p.told) < time.Minute {
		return
	}
	p.told = time.Now()
	p.log.Error("nothing can be pushed to the bucket, nor deleted", "err", err, "remedy",
		"see that the S3 server answers, and check "+prefix+"S3_BUCKET, S3_ENDPOINT, S3_REGION and S3_PATH_STYLE, the credentials "+
			"(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role), and what they may do")
}

func (p *proven) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	if err := p.prove(ctx); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return p.Store.Put(ctx, key, body, size)
}

func (p *proven) PutIf(ctx context.Context, key string, record []byte, was storage.Version) (storage.Version, error) {
	if err := p.prove(ctx); err != nil {
		return storage.Absent, fmt.Errorf("put %s: %w", key, err)
	}
	return p.Store.PutIf(ctx, key, record, was)
}

func (p *proven) Delete(ctx context.Context, key string) error {
	if err := p.prove(ctx); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return p.Store.Delete(ctx, key)
}

func (p *proven) Presign(ctx context.Context, key string, life time.Duration) (string, error) {
	return storage.Presign(ctx, p.Store, key, life)
}
