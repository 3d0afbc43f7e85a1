package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/entrepot/entrepot/proxy"
)

// beyondMemory is what the process needs beside the memory tier, in bytes.
const beyondMemory = 48 << 20

// serve runs the server until ctx ends, and then drains it.
func (in invocation) serve(ctx context.Context, c Config, _ []string) error {
	log := newLogger(c, in.errs)
	limitMemory(c)
	a, err := wire(c, in.out, log)
	if err != nil {
		return err
	}
	err = a.run(ctx, c)
	return errors.Join(err, a.close())
}

// limitMemory keeps the collector from letting garbage of the memory tier double the process. Who sets GOMEMLIMIT knows better.
func limitMemory(c Config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(c.MemorySize) + beyondMemory)
	}
}

// serveOperators makes the handlers of the admin listener and of the socket.
func (a *application) serveOperators(c Config, registry prometheus.Gatherer) {
	control := adminHandler(registry, a.ready)
	addProfiling(control)
	addControl(control, a.stored.contents(c))
	addUpkeep(control, a.upkeep)
	addWarming(control, a.upkeep, a.warmer(c))
	addRobots(control, a.guard)
	a.control = control
	if c.AdminListen.Off() {
		return
	}
	admin := adminHandler(registry, a.ready)
	if c.AdminListen.Loopback() {
		addProfiling(admin)
	}
	a.admin = admin
}

func (a *application) ready() error {
	if a.draining.Load() {
		return errors.New("draining")
	}
	return nil
}

// run listens, serves until ctx ends or a listener fails, and lets running answers finish for as long as is allowed.
func (a *application) run(ctx context.Context, c Config) error {
	front, err := net.Listen("tcp", string(c.Listen))
	if err != nil {
		return err
	}
	operators, err := a.listenOperators(c)
	if err != nil {
		return errors.Join(err, front.Close())
	}
	ended := make(chan error) // each of the goroutines below ends with one message, at the latest after stop
	go func() { ended <- a.proxy.Serve(front) }()
	for _, o := range operators {
		go func() { ended <- o.serve() }()
	}
	a.announce(c, front, operators)
	a.upkeep.start(c.schedules())
	a.upkeep.startSweep(a.stored, time.Duration(c.S3CacheAge))
	a.upkeep.checkAddress(a.stored.replicas, string(c.AdvertiseURL))

	running := 1 + len(operators)
	select {
	case <-ctx.Done():
		a.log.Info("draining", "at_most", c.DrainTimeout.String())
	case err = <-ended:
		running--
	}
	a.stop(time.Duration(c.DrainTimeout), operators)
	for range running {
		err = errors.Join(err, <-ended)
	}
	return err
}

// announce says where the server listens and what it shares, and to whom it is open.
func (a *application) announce(c Config, front net.Listener, operators []*operator) {
	log := a.log.With("address", front.Addr().String())
	for _, o := range operators {
		log = log.With(o.name, o.listener.Addr().String())
	}
	if c.S3Bucket != "" {
		log = log.With("bucket", path.Join(c.S3Bucket, c.S3Prefix))
	}
	if c.AdvertiseURL != "" {
		log = log.With("advertises", string(c.AdvertiseURL))
	}
	log.Info("serving", "data", c.Data, "version", build().Version)
	a.warn(c)
}

// stop drains the front door first: as long as it answers, operators can watch it.
func (a *application) stop(patience time.Duration, operators []*operator) {
	a.draining.Store(true)
	a.upkeep.end() // its work is waited for below
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.proxy.Shutdown(ctx); err != nil {
		a.log.Warn("some answers were cut", "err", err)
		a.stored.disturbed = errors.Is(err, proxy.ErrRunning)
	}
	a.upkeep.stop()
	for _, o := range operators {
		_ = o.server.Close() // what it could not close ends with the process
	}
}

// close gives everything back. Nothing serves any more.
func (a *application) close() error {
	err := a.stored.close()
	for _, u := range a.upstreams {
		u.Close()
	}
	return err
}

// operator is one listener for those who look after the server.
type operator struct {
	name     string
	server   *http.Server
	listener net.Listener
}

func (o *operator) serve() error {
	if err := o.server.Serve(o.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", o.listener.Addr(), err)
	}
	return nil
}

// listenOperators opens the admin listener and the socket. Without a socket the server serves all the same: not every
// kind of volume has sockets.
func (a *application) listenOperators(c Config) ([]*operator, error) {
	var all []*operator
	if a.admin != nil {
		l, err := net.Listen("tcp", string(c.AdminListen))
		if err != nil {
			return nil, fmt.Errorf("admin listener: %w", err)
		}
		all = append(all, &operator{"admin", a.server(a.admin), l})
	}
	l, err := listenSocket(c.Data)
	if err != nil {
		a.log.Warn("no control socket; ls, purge, gc, verify and robot cannot reach this server", "err", err)
		return all, nil
	}
	return append(all, &operator{"socket", a.server(a.control), l}), nil
}

func (a *application) server(h http.Handler) *http.Server {
	s := newHTTPServer(h)
	s.ErrorLog = slog.NewLogLogger(a.log.Handler(), slog.LevelDebug)
	return s
}
