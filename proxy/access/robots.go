package access

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/entrepot/entrepot/storage"
)

var (
	// ErrRobotExists says that there is a robot of that name, which may have expired.
	ErrRobotExists = errors.New("there is a robot of that name")
	// ErrRobotUnknown says that there is no robot of that name.
	ErrRobotUnknown = errors.New("there is no robot of that name")
)

// Robot is an account of a pipeline.
type Robot struct {
	Name    string    `json:"name"`
	Note    string    `json:"note,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

// Robots keeps the accounts of pipelines in a store.
type Robots struct {
	store  storage.Store
	now    func() time.Time
	random io.Reader
}

// NewRobots keeps robots in store, with times by now and secrets from random.
func NewRobots(store storage.Store, now func() time.Time, random io.Reader) *Robots {
	return &Robots{store: store, now: now, random: random}
}

// Add makes a robot. Its secret is given once, and kept nowhere. A zero expires is never.
func (r *Robots) Add(ctx context.Context, name, note string, expires time.Time) (Robot, string, error) {
	return Robot{}, "", errUnfinished
}

// List gives all robots by name, expired ones too.
func (r *Robots) List(ctx context.Context) ([]Robot, error) { return nil, errUnfinished }

// Revoke ends a robot.
func (r *Robots) Revoke(ctx context.Context, name string) error { return errUnfinished }

// load gives all robots. nil: nothing is known, and the error says why.
func (r *Robots) load(ctx context.Context) (robots, error) { return nil, errUnfinished }

// robots are those there are at one time, by name. They never change.
type robots map[string]robot

type robot struct {
	Robot
	hash [32]byte
	mark string
}

// check reports whether that is the secret of a robot that has not expired.
func (rs robots) check(name, secret string, now time.Time) bool { return false }

// mark tells one secret of a robot from the next.
func (rs robots) mark(name string, now time.Time) (mark string, expires time.Time, ok bool) {
	return "", time.Time{}, false
}

func (rs robots) equal(other robots) bool { return len(rs) == len(other) }
