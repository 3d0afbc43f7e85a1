package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// ErrUnconditional says that a store takes conditional writes and does not honour the condition. Nothing whose safety
// rests on PutIf may be kept there.
var ErrUnconditional = errors.New("store does not honour conditional writes")

const (
	probeRacers  = 8
	probeCleanup = 10 * time.Second
)

// Probe finds out whether s decides conditional writes: some object stores accept the condition and ignore it, or let
// several racers win. Its records lie under "probe/" and are removed. The error is ErrUnconditional, or that of an
// operation that failed, which says nothing about the store's promises.
func Probe(ctx context.Context, s Store) error {
	key := "probe/" + rand.Text()
	defer func() {
		// Also after ctx ended: what was written is removed all the same.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeCleanup)
		defer cancel()
		_ = s.Delete(ctx, key) // a record left behind is never read again
	}()
	if err := probe(ctx, s, key); err != nil {
		return fmt.Errorf("probing conditional writes: %w", err)
	}
	return nil
}

func probe(ctx context.Context, s Store, key string) error {
	first, err := race(ctx, s, key, Absent)
	if err != nil {
		return err
	}
	if err := mustLose(ctx, s, key, Absent, "created twice"); err != nil {
		return err
	}
	second, err := s.PutIf(ctx, key, nonce(), first)
	if err != nil {
		return fmt.Errorf("write at the current version: %w", err)
	}
	if err := mustLose(ctx, s, key, first, "written at an old version"); err != nil {
		return err
	}
	_, err = race(ctx, s, key, second)
	return err
}

// mustLose writes at a version that is not the record's.
func mustLose(ctx context.Context, s Store, key string, was Version, what string) error {
	_, err := s.PutIf(ctx, key, nonce(), was)
	if errors.Is(err, ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: a record was %s", ErrUnconditional, what)
}

type attempt struct {
	record  string
	version Version
	err     error
}

// race lets several writers replace the record at version was. Exactly one may win, and its record must be the one that
// is read. It gives the version that won.
func race(ctx context.Context, s Store, key string, was Version) (Version, error) {
	attempts := make(chan attempt, probeRacers)
	for range probeRacers { // each ends with its write; all are waited for below
		go func() {
			record := nonce()
			version, err := s.PutIf(ctx, key, record, was)
			attempts <- attempt{string(record), version, err}
		}()
	}
	var won []attempt
	var failed error
	for range probeRacers {
		switch a := <-attempts; {
		case a.err == nil:
			won = append(won, a)
		case !errors.Is(a.err, ErrConflict):
			failed = a.err
		}
	}
	if failed != nil {
		return Absent, failed
	}
	if len(won) != 1 {
		return Absent, fmt.Errorf("%w: %d of %d racers won", ErrUnconditional, len(won), probeRacers)
	}
	return won[0].version, readsBack(ctx, s, key, won[0])
}

func readsBack(ctx context.Context, s Store, key string, won attempt) error {
	record, version, err := s.Get(ctx, key)
	if err != nil {
		return err
	}
	if string(record) != won.record || version != won.version {
		return fmt.Errorf("%w: the record read is not the one that won", ErrUnconditional)
	}
	return nil
}

func nonce() []byte { return []byte(rand.Text()) }
