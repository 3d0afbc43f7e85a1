package hosted

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/entrepot/entrepot/storage"
)

// tombstoneSize is the length of every tombstone. A living record is longer, so that a listing tells them apart.
const tombstoneSize = len(`{"gone":""}`) + nonceLength

// tombstone is what a record becomes that ends. To remove it instead would not be safe where a store deletes whatever is
// there: a delete that comes late would hit what somebody else has written since.
func tombstone() []byte { return []byte(`{"gone":"` + nonce() + `"}`) }

// hasEnded tells a tombstone in a listing.
func hasEnded(info storage.Info) bool { return info.Size == int64(tombstoneSize) }

// encode gives a record with a nonce of its own: equal facts written twice must not look like one state.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	head := []byte(`{"nonce":"` + nonce() + `"`)
	if len(b) > len("{}") {
		head = append(head, ',')
	}
	return append(head, b[1:]...), nil
}

// errDamagedRecord says that a record cannot be read. Whoever knows what it should say replaces it at the version that comes
// with the error, so that one bad sector does not stand in the way of everybody for ever.
var errDamagedRecord = errors.New("record is damaged")

func decode[T any](key string, record []byte) (v T, err error) {
	if err := json.Unmarshal(record, &v); err != nil {
		var none T
		return none, fmt.Errorf("%s: %w: %w", key, errDamagedRecord, err)
	}
	return v, nil
}

// lacking: there is no record, or none that can be read.
func lacking(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || errors.Is(err, errDamagedRecord)
}

// read gives a record and the version to replace it at. A tombstone is storage.ErrNotFound too, with its version.
func (g *Registry) read(ctx context.Context, key string) ([]byte, storage.Version, error) {
	record, v, err := g.store.Get(ctx, key)
	if err == nil && len(record) == tombstoneSize {
		return nil, v, fmt.Errorf("get %s: it has ended: %w", key, storage.ErrNotFound)
	}
	if errors.Is(err, storage.ErrNotFound) {
		v = storage.Absent
	}
	return record, v, err
}

// readAs is read for records of one type.
func readAs[T any](ctx context.Context, g *Registry, key string) (v T, version storage.Version, err error) {
	record, version, err := g.read(ctx, key)
	if err != nil {
		return v, version, err
	}
	v, err = decode[T](key, record)
	return v, version, err
}

// write replaces a record that is at version was. Where the outcome is not known, or a repeated request lost against
// itself, the nonce tells whether ours is the record that stands. It is then written again: it can be read, and may still
// not be durable. A store that does not answer is not asked once more: it may take as long again to say so.
func (g *Registry) write(ctx context.Context, key string, record []byte, was storage.Version) (storage.Version, error) {
	v, err := g.store.PutIf(ctx, key, record, was)
	if err == nil || errors.Is(err, storage.ErrUnavailable) {
		return v, err
	}
	stands, v, readErr := g.store.Get(ctx, key)
	switch {
	case readErr == nil && bytes.Equal(stands, record):
		return g.store.PutIf(ctx, key, record, v)
	case readErr != nil && !errors.Is(readErr, storage.ErrNotFound) && errors.Is(err, storage.ErrConflict):
		return storage.Absent, fmt.Errorf("put %s: who won is not known: %w", key, readErr)
	}
	return storage.Absent, err
}

// writeAs is write for a value.
func (g *Registry) writeAs(ctx context.Context, key string, value any, was storage.Version) (storage.Version, error) {
	record, err := encode(value)
	if err != nil {
		return storage.Absent, err
	}
	return g.write(ctx, key, record, was)
}

// replace writes a record whatever is there. The last writer wins.
func (g *Registry) replace(ctx context.Context, key string, record []byte) (v storage.Version, err error) {
	err = contend(ctx, func() error {
		_, was, err := g.read(ctx, key)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		v, err = g.write(ctx, key, record, was)
		return err
	})
	return v, err
}

// end makes a record that is at version was a tombstone, and removes that where the store can do so safely.
func (g *Registry) end(ctx context.Context, key string, was storage.Version) error {
	v, err := g.write(ctx, key, tombstone(), was)
	if err != nil {
		return err
	}
	g.bury(ctx, key, v)
	return nil
}

// bury removes a tombstone. One that stays does no harm.
func (g *Registry) bury(ctx context.Context, key string, v storage.Version) {
	err := storage.DeleteIf(ctx, g.store, key, v)
	if err != nil && !errors.Is(err, storage.ErrUnable) && !errors.Is(err, storage.ErrConflict) {
		g.log.Debug("tombstone stays", "key", key, "err", err)
	}
}

const (
	patience  = 30 * time.Second
	eagerly   = 5                     // attempts before the first pause
	mostPause = 20 * time.Millisecond // the mean is half of it
)

// contend does what may lose against others until it does not: each loss is somebody else's win. ErrConflict after so long
// that clients begin to give up.
func contend(ctx context.Context, do func() error) error {
	enough := time.After(patience)
	for attempt := 0; ; attempt++ {
		err := do()
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
		if attempt < eagerly {
			continue
		}
		select {
		case <-time.After(rand.N(mostPause)):
		case <-enough:
			return ErrConflict
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// afterwards is a context for cleaning up, whether ctx has ended or not, but not for ever.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
}
