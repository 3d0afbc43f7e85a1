package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/entrepot/entrepot/storage"
)

const (
	keyFolder    = "keys/" // <number of 8 digits>: a keyRecord
	lastKey      = 99_999_999
	maxKeyRecord = 4096
	keyLife      = 30 * 24 * time.Hour // after which the next one is made
	keySettles   = time.Minute         // until it signs: by then every replica has read it, for it is announced
	keyLingers   = time.Hour           // that it verifies after the next one signs; longer than any token lives
)

// keyRecord is what is kept of a key. The nonce makes no two of them equal.
type keyRecord struct {
	Created time.Time `json:"created"`
	Key     string    `json:"key"` // PKCS #8, PEM
	Nonce   []byte    `json:"nonce"`
}

// sharedKeys gives the keys of all replicas that share a store. It makes the first one, and the next when the newest is
// keyLife old; of several that do so at once one wins, and the others read the winner's. The newest key that has settled
// signs. Those before it verify until it has signed for keyLingers; then they are deleted.
//
// The error tells of records that are damaged or cannot be read, and the others count all the same. Where nothing is known
// there are no keys, and the caller decides for how long those from before are good.
//
// Times are by now. Where that is ahead, a key is replaced too early, though once only, for its maker believes the next one
// to be young; tokens of the one before may then be refused until their clients ask for others. Where it is behind, no key
// is replaced. A key that was made in the future is as old as the store says.
func sharedKeys(ctx context.Context, store storage.Store, now time.Time, random io.Reader) (*keys, error) {
	ring, err := readRing(ctx, store, now)
	if err != nil {
		return nil, err
	}
	if ring.wantsNext() {
		failed := makeKey(ctx, store, ring.last+1, now, random)
		if ring, err = readRing(ctx, store, now); err != nil {
			return nil, errors.Join(failed, err)
		}
		switch {
		case !ring.wantsNext(): // ours stands, or another's
		case failed != nil:
			ring.wrong.add(failed)
		default:
			ring.wrong.add(fmt.Errorf("key %d was made, and is not there", ring.last))
		}
	}
	ring.forget(ctx, store)
	found, err := ring.keys()
	if err != nil {
		ring.wrong.add(err)
	}
	return found, ring.wrong.err()
}

// keyRing is what there is of keys in a store.
type keyRing struct {
	listed []storage.Info // by number
	last   int            // number of the last one listed
	good   []sharedKey    // by number
	unread int            // number of the last one that is there and could not be read
	wrong  mistakes
}

type sharedKey struct {
	*ecdsa.PrivateKey
	number int
	age    time.Duration // below zero where even the store says that it is not made yet
}

func readRing(ctx context.Context, store storage.Store, now time.Time) (*keyRing, error) {
	ring := &keyRing{}
	for info, err := range store.List(ctx, keyFolder, "") {
		if err != nil {
			return nil, fmt.Errorf("list keys of tokens: %w", err)
		}
		number, ok := keyNumber(info.Key)
		if !ok {
			ring.wrong.add(fmt.Errorf("%.100q is no key of tokens", info.Key))
			continue
		}
		ring.listed, ring.last = append(ring.listed, info), number
	}
	for _, info := range ring.listed {
		ring.read(ctx, store, info, now)
	}
	return ring, nil
}

func keyName(number int) string { return fmt.Sprintf("%s%08d", keyFolder, number) }

func keyNumber(name string) (number int, ok bool) {
	number, err := strconv.Atoi(strings.TrimPrefix(name, keyFolder))
	return number, err == nil && number > 0 && name == keyName(number)
}

func (r *keyRing) read(ctx context.Context, store storage.Store, info storage.Info, now time.Time) {
	number, _ := keyNumber(info.Key)
	var record []byte
	if info.Size <= maxKeyRecord {
		var err error
		record, _, err = store.Get(ctx, info.Key)
		switch {
		case errors.Is(err, storage.ErrNotFound): // deleted since it was listed
			return
		case err != nil:
			r.unread = number
			r.wrong.add(fmt.Errorf("read key %d of tokens: %w", number, err))
			return
		}
	}
	key, created, ok := parseKeyRecord(record)
	if !ok {
		r.wrong.add(fmt.Errorf("key %d of tokens is damaged; it is not used", number))
		return
	}
	if created.After(now) {
		created = info.Modified
	}
	r.good = append(r.good, sharedKey{key, number, now.Sub(created)})
}

// parseKeyRecord gives no error: that might tell of the key.
func parseKeyRecord(text []byte) (key *ecdsa.PrivateKey, created time.Time, ok bool) {
	var record keyRecord
	if json.Unmarshal(text, &record) != nil || record.Created.IsZero() {
		return nil, time.Time{}, false
	}
	found, err := parseKeys([]byte(record.Key))
	if err != nil {
		return nil, time.Time{}, false
	}
	return found.signer, record.Created, true
}

// wantsNext reports whether another key is to be made. It is not while the newest may be one that cannot be read.
func (r *keyRing) wantsNext() bool {
	if len(r.good) == 0 {
		return r.unread == 0
	}
	newest := r.good[len(r.good)-1]
	return newest.number > r.unread && newest.age >= keyLife
}

// makeKey writes a key unless there is one of that number.
func makeKey(ctx context.Context, store storage.Store, number int, now time.Time, random io.Reader) error {
	record, err := newKeyRecord(now, random)
	switch {
	case err != nil:
	case number > lastKey:
		err = errors.New("there are no numbers left")
	default:
		err = announced(ctx, store, func(ctx context.Context) error {
			_, err := store.PutIf(ctx, keyName(number), record, storage.Absent)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("make key %d of tokens: %w", number, err)
	}
	return nil
}

func newKeyRecord(now time.Time, random io.Reader) ([]byte, error) {
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return json.Marshal(keyRecord{Created: now.UTC(), Key: string(text), Nonce: nonce})
}

// forget deletes what comes before a key that has signed for keyLingers, damaged records too.
func (r *keyRing) forget(ctx context.Context, store storage.Store) {
	for len(r.good) > 1 && r.good[1].age >= keySettles+keyLingers {
		r.good = r.good[1:]
	}
	if len(r.good) == 0 || r.good[0].age < keySettles+keyLingers {
		return
	}
	for _, info := range r.listed {
		if number, _ := keyNumber(info.Key); number >= r.good[0].number {
			return
		}
		if err := store.Delete(ctx, info.Key); err != nil {
			r.wrong.add(fmt.Errorf("delete %s, which no token needs: %w", info.Key, err))
		}
	}
}

// keys are none where none is good. The newest that has settled signs; if none has, the one that is there for longest.
func (r *keyRing) keys() (*keys, error) {
	if len(r.good) == 0 {
		return nil, nil
	}
	signer, all := r.good[0].PrivateKey, []*ecdsa.PrivateKey{}
	for _, key := range r.good {
		all = append(all, key.PrivateKey)
		if key.age >= keySettles {
			signer = key.PrivateKey
		}
	}
	return newKeys(signer, all...)
}
