package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/entrepot/entrepot/storage"
	"golang.org/x/sync/errgroup"
)

var (
	// ErrRobotExists says that there is a robot of that name, though it may have expired.
	ErrRobotExists = errors.New("there is a robot of that name")
	// ErrRobotUnknown says that there is no robot of that name.
	ErrRobotUnknown = errors.New("there is no robot of that name")
)

const (
	robotFolder    = "robots/" // <name>: a robotRecord
	maxRobots      = 10_000
	maxRobotName   = 64
	maxRobotNote   = 200
	maxRobotRecord = 4096
	robotReads     = 8 // at once
	secretPrefix   = "ept_"
	secretSize     = 32
)

// Robot is an account of a pipeline. It logs in as RobotSubject of its name, with the secret that Add gave.
type Robot struct {
	Name    string    `json:"name"`
	Note    string    `json:"note,omitempty"` // for people
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

// robotRecord is what is kept. The secret is random and of 256 bits: nobody finds it by trying, so that its hash need not be
// a slow one. As nobody draws a secret twice either, no two records are equal, and the hash is a nonce at the same time.
type robotRecord struct {
	Robot
	Hash []byte `json:"sha256"` // of the secret
}

// Robots are the accounts of pipelines in a store. Its methods may be called from many goroutines, and processes.
type Robots struct {
	store  storage.Store
	now    func() time.Time
	random io.Reader

	mu    sync.Mutex
	known robots // as load has given them last; nil: it has not
}

// NewRobots keeps robots in the store, with times by now and secrets from random.
func NewRobots(store storage.Store, now func() time.Time, random io.Reader) *Robots {
	return &Robots{store: store, now: now, random: random}
}

// Add makes a robot. Its secret is in what Add returns and nowhere else. A zero expires is never. One that has expired is in
// the way of its name until it is revoked.
func (r *Robots) Add(ctx context.Context, name, note string, expires time.Time) (added Robot, secret string, err error) {
	now := r.now()
	added = Robot{Name: name, Note: note, Created: now.UTC(), Expires: expires.UTC()}
	if err := added.check(now); err != nil {
		return Robot{}, "", fmt.Errorf("add robot %.100q: %w", name, err)
	}
	random := make([]byte, secretSize)
	if _, err := io.ReadFull(r.random, random); err != nil {
		return Robot{}, "", fmt.Errorf("add robot %s: make its secret: %w", name, err)
	}
	secret = secretPrefix + base64.RawURLEncoding.EncodeToString(random)
	hash := sha256.Sum256([]byte(secret))
	record, err := json.Marshal(robotRecord{Robot: added, Hash: hash[:]})
	if err != nil {
		return Robot{}, "", fmt.Errorf("add robot %s: encode its record: %w", name, err)
	}
	err = announced(ctx, r.store, func(ctx context.Context) error { return r.put(ctx, robotFolder+name, record) })
	if err != nil {
		return Robot{}, "", fmt.Errorf("add robot %s: %w", name, err)
	}
	return added, secret, nil
}

func (b Robot) check(now time.Time) error {
	switch {
	case !isRobotName(b.Name):
		return fmt.Errorf("a robot's name is at most %d lower-case letters, digits, '-', '_' and '.', and begins with a letter or a digit", maxRobotName)
	case len(b.Note) > maxRobotNote || !utf8.ValidString(b.Note) || strings.ContainsFunc(b.Note, unicode.IsControl):
		return fmt.Errorf("a robot's note is one line of at most %d bytes", maxRobotNote)
	case b.expired(now):
		return errors.New("it would have expired before it is there")
	}
	return nil
}

// IsSecret reports whether that looks like a robot's secret, wherever it stands.
func IsSecret(s string) bool { return strings.HasPrefix(s, secretPrefix) }

func isRobotName(name string) bool {
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return name != "" && len(name) <= maxRobotName
}

func (b Robot) expired(now time.Time) bool { return !b.Expires.IsZero() && !now.Before(b.Expires) }

// put writes a record where there is none. Where the answer was lost, or a repeated request lost against itself, the nonce
// tells whether ours is the record that stands. It is then written again: it can be read, and may still not be durable.
func (r *Robots) put(ctx context.Context, key string, record []byte) error {
	listed, err := r.listed(ctx)
	if err != nil {
		return err
	}
	if len(listed) >= maxRobots {
		return fmt.Errorf("there are %d robots, and there cannot be more", maxRobots)
	}
	_, err = r.store.PutIf(ctx, key, record, storage.Absent)
	if err == nil {
		return nil
	}
	stands, v, readErr := r.store.Get(ctx, key)
	switch {
	case readErr == nil && bytes.Equal(stands, record):
		_, err = r.store.PutIf(ctx, key, record, v)
	case readErr != nil && !errors.Is(readErr, storage.ErrNotFound) && errors.Is(err, storage.ErrConflict):
		return fmt.Errorf("whether it was made is not known: %w", readErr)
	}
	if errors.Is(err, storage.ErrConflict) {
		return ErrRobotExists
	}
	return err
}

// Revoke ends a robot, also one whose record cannot be read. The record goes whatever it is: a delete that comes late may hit
// a robot that was added since, which cannot log in then. That is the safe side.
func (r *Robots) Revoke(ctx context.Context, name string) error {
	if !isRobotName(name) {
		return fmt.Errorf("revoke robot %.100q: %w", name, ErrRobotUnknown)
	}
	_, err := r.store.Stat(ctx, robotFolder+name)
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("revoke robot %s: %w", name, ErrRobotUnknown)
	}
	err = announced(ctx, r.store, func(ctx context.Context) error { return r.store.Delete(ctx, robotFolder+name) })
	if err != nil {
		return fmt.Errorf("revoke robot %s: %w", name, err)
	}
	return nil
}

// List gives all robots by name, expired ones too. Where records cannot be read it gives the others, and an error that names
// those.
func (r *Robots) List(ctx context.Context) ([]Robot, error) {
	listed, err := r.listed(ctx)
	if err != nil {
		return nil, fmt.Errorf("list robots: %w", err)
	}
	var all []Robot
	var wrong mistakes
	for _, read := range r.read(ctx, listed) {
		switch {
		case read.err == nil:
			all = append(all, read.robot.Robot)
		case !errors.Is(read.err, storage.ErrNotFound):
			wrong.add(read.err)
		}
	}
	return all, wrong.err()
}

// load gives all robots. One that is not listed is never among them: revocations count, whatever else fails. One that is
// listed, and cannot be read this time, stays as it was read before if the listing says that it is the same record; if it
// does not, or if what is read is damaged, that one cannot log in, and the others can. The error tells of all of these. Only
// where the store does not list is nothing known: then robots are nil, and the caller decides for how long those from before
// are good.
func (r *Robots) load(ctx context.Context) (robots, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	listed, err := r.listed(ctx)
	if err != nil {
		return nil, fmt.Errorf("load robots: %w", err)
	}
	var wrong mistakes
	if len(listed) > maxRobots {
		wrong.add(fmt.Errorf("there are more than %d robots, and those from %s on cannot log in", maxRobots, listed[maxRobots].Key))
		listed = listed[:maxRobots]
	}
	found := make(robots, len(listed))
	for _, read := range r.read(ctx, listed) {
		was, known := r.known[read.name]
		switch {
		case read.err == nil:
			found[read.name] = read.robot
		case errors.Is(read.err, storage.ErrNotFound):
			continue // revoked since it was listed
		case known && !errors.Is(read.err, errDamagedRobot) && sameRecord(was.info, read.info):
			found[read.name] = was
		}
		if read.err != nil {
			wrong.add(read.err)
		}
	}
	r.known = found
	return found, wrong.err()
}

func sameRecord(a, b storage.Info) bool { return a.Size == b.Size && a.Modified.Equal(b.Modified) }

// listed gives what is there by name: one more than there may be, at most.
func (r *Robots) listed(ctx context.Context) (all []storage.Info, err error) {
	for info, err := range r.store.List(ctx, robotFolder, "") {
		if err != nil {
			return nil, err
		}
		if all = append(all, info); len(all) > maxRobots {
			break
		}
	}
	return all, nil
}

var errDamagedRobot = errors.New("record is damaged")

// robotRead is what became of reading one record.
type robotRead struct {
	robot
	name string
	err  error // storage.ErrNotFound: it is gone; errDamagedRobot: this is no robot's record
}

// read reads what is listed, several at once.
func (r *Robots) read(ctx context.Context, listed []storage.Info) []robotRead {
	reads := make([]robotRead, len(listed))
	var g errgroup.Group // its goroutines end with their read, which ends with ctx
	g.SetLimit(robotReads)
	for i, info := range listed {
		g.Go(func() error {
			reads[i] = r.readOne(ctx, info)
			return nil
		})
	}
	_ = g.Wait() // each read has its own error
	return reads
}

func (r *Robots) readOne(ctx context.Context, info storage.Info) (read robotRead) {
	read.name, read.info = strings.TrimPrefix(info.Key, robotFolder), info
	record := []byte{}
	if info.Size <= maxRobotRecord {
		record, _, read.err = r.store.Get(ctx, info.Key)
	}
	if read.err != nil {
		read.err = fmt.Errorf("robot %q: %w", read.name, read.err)
		return read
	}
	var parsed robotRecord
	err := json.Unmarshal(record, &parsed)
	if err != nil || parsed.Name != read.name || !isRobotName(read.name) || len(parsed.Hash) != sha256.Size {
		read.err = fmt.Errorf("robot %q: %w", read.name, errDamagedRobot)
		return read
	}
	read.Robot, read.hash = parsed.Robot, [sha256.Size]byte(parsed.Hash)
	read.mark = markOf(string(RobotSubject(read.name)) + ":" + string(parsed.Hash))
	return read
}

// robots are those there are at one time, by name. They never change.
type robots map[string]robot

type robot struct {
	Robot
	info storage.Info // of its record
	hash [sha256.Size]byte
	mark string
}

// check reports whether that is the secret of a robot that has not expired.
func (rs robots) check(name, secret string, now time.Time) bool {
	found, known := rs[name] // of an unknown one the hash is zero, which is that of no known secret
	sum := sha256.Sum256([]byte(secret))
	right := subtle.ConstantTimeCompare(sum[:], found.hash[:]) == 1
	return right && known && !found.expired(now)
}

// mark tells one secret of a robot from the next. ok=false: there is none of that name that has not expired.
func (rs robots) mark(name string, now time.Time) (mark string, expires time.Time, ok bool) {
	found, known := rs[name]
	if !known || found.expired(now) {
		return "", time.Time{}, false
	}
	return found.mark, found.Expires, true
}

// equal reports whether the same secrets of the same robots are good for as long.
func (rs robots) equal(other robots) bool {
	return maps.EqualFunc(rs, other, func(a, b robot) bool { return a.hash == b.hash && a.Expires.Equal(b.Expires) })
}
