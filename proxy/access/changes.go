package access

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
)

// Servers that share a store learn from one small record that robots or keys have changed, and read them only then. The
// record is a nonce, written anew before a change and after it. Whoever finds another nonce reads everything, at each look
// until any change that the nonce was written for has come to its end: also one whose writer died before it could say that
// it is done. What changes unannounced, as a record that somebody deletes by hand, is found when everything is read anyway.
const (
	changedRecord = "changed"
	changeTime    = time.Minute     // that a change may take, from the nonce before it on
	unsettled     = 2 * time.Minute // that everything is read at each look after another nonce was found; longer than keySettles too
	wholeEvery    = 5 * time.Minute // that everything is read in any case
)

// announced makes a change that other servers are to know of. Nothing is changed where they cannot be told, unless there is
// no space for that: a full disk, which is one server's, must keep nobody from being revoked.
func announced(ctx context.Context, store storage.Store, change func(ctx context.Context) error) error {
	if err := announce(ctx, store); err != nil && !errors.Is(err, storage.ErrNoSpace) {
		return fmt.Errorf("tell other servers: %w", err)
	}
	during, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	err := change(during)
	_ = announce(ctx, store) // they look long enough without it, unless this process was stopped for a while
	return err
}

func announce(ctx context.Context, store storage.Store) error {
	nonce := rand.Text()
	return store.Put(ctx, changedRecord, strings.NewReader(nonce), int64(len(nonce)))
}

// watch is what looks at the store have found so far.
type watch struct {
	nonce []byte
	until time.Time // everything is read at each look before
	whole time.Time // when everything was read last; zero: there were errors, or it never was
}

// due reports whether everything is to be read at this look. It is asked before that, so that what changes meanwhile is found
// at the next look. A record that cannot be read may be another.
func (w *watch) due(ctx context.Context, store storage.Store, now time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, nonceTime)
	defer cancel()
	nonce, _, err := store.Get(ctx, changedRecord)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return true
	}
	if !bytes.Equal(nonce, w.nonce) {
		w.nonce, w.until = nonce, now.Add(unsettled)
	}
	return now.Before(w.until) || w.whole.IsZero() || now.Sub(w.whole) >= wholeEvery
}
