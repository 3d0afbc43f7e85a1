package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entrepot/entrepot/proxy/ui"
	"github.com/valyala/fasthttp"
	"golang.org/x/sync/semaphore"
)

const (
	headerLimit = 32 << 10 // cloud registries' bearer tokens are long
	writeBuffer = 16 << 10 // most manifests leave in one write
	bodyPrefix  = 1        // of a request body, read before the handler runs. Everything else is left unread

	endTime = 5 * time.Second // for handlers whose connections are cut and whose calls are cancelled
	endPoll = 5 * time.Millisecond
)

// ErrRunning says that handlers still run after Shutdown: they may use what was given to the server.
var ErrRunning = errors.New("handlers do not end")

// Server answers the distribution specification over HTTP/1.1.
type Server struct {
	o     Options
	names *Names
	http  fasthttp.Server
	tls   *tls.Config // nil: plain
	ui    *ui.UI      // nil: there is no page
	space spaceCount
	log   accessLog
	calls sync.Pool

	manifests *semaphore.Weighted // places for large manifests that are being pushed
	uploads   *semaphore.Weighted // places for blobs' bytes that are being read
	pages     *semaphore.Weighted // places for web pages that are being made

	ctx      context.Context // of calls into the cache; it ends when Shutdown has
	cancel   context.CancelFunc
	stopping atomic.Bool
	running  atomic.Int64 // requests between begin and the end of their answer

	mu        sync.Mutex
	listeners []*listener // guarded by mu
}

// New fails when options are missing or disagree, or when a certificate cannot be read.
func New(o Options) (*Server, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Server{
		o: o, log: accessLog{mode: o.AccessLog, log: o.Log},
		manifests: semaphore.NewWeighted(mostLarge), uploads: semaphore.NewWeighted(int64(o.MaxUploads)),
		pages: semaphore.NewWeighted(mostPages),
	}
	s.names = &s.o.Names
	if o.TLS != nil {
		cfg, err := o.TLS.config(o.Log)
		if err != nil {
			return nil, err
		}
		s.tls = cfg
	}
	if o.Page != nil {
		pages, err := ui.New(o.Now)
		if err != nil {
			return nil, err
		}
		s.ui = pages
	}
	s.calls.New = func() any { return &call{server: s} }
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.http = fasthttp.Server{
		Handler:       s.handle,
		ExpectHandler: s.expect,
		ErrorHandler:  s.unreadable,
		Logger:        printf{o.Log},

		ReadBufferSize:  headerLimit,
		WriteBufferSize: writeBuffer,
		ReadTimeout:     o.ReadTimeout,
		WriteTimeout:    o.WriteTimeout, // never zero: a deadline that an answer extended would outlive it
		IdleTimeout:     o.IdleTimeout,
		Concurrency:     o.MaxConnections + 1, // the listener counts; it never gives more

		StreamRequestBody:            true,
		MaxRequestBodySize:           bodyPrefix,
		DisablePreParseMultipartForm: true, // it reads whole bodies, whatever the limit
		SecureErrorLogMessage:        true, // or tokens of malformed requests are logged
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		CloseOnShutdown:              true,
	}
	return s, nil
}

// Serve accepts connections of a TCP listener until Shutdown, and returns nil then. It closes the listener. Any other end
// is an error: a server without a listener is down, however well it looks.
func (s *Server) Serve(l net.Listener) error {
	ours := newListener(l, s.o.MaxConnections, s.o.WriteTimeout, s.o.Log)
	defer ours.Close()
	if !s.register(ours) {
		return nil
	}
	var outer net.Listener = ours
	if s.tls != nil {
		outer = securedListener{ours, s.tls}
	}
	err := s.http.Serve(outer)
	if s.stopping.Load() {
		return nil
	}
	if err == nil {
		err = errors.New("the listener was closed")
	}
	return fmt.Errorf("serve %s: %w", l.Addr(), err)
}

// register is false once the server is stopping.
func (s *Server) register(l *listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return false
	}
	s.listeners = append(s.listeners, l)
	return true
}

// Shutdown refuses new connections at once and lets running answers finish until ctx ends; then it cuts them and returns
// the context's error. Calls into the cache that still wait are cancelled, and the handlers waited for: ErrRunning where that
// takes too long. The server cannot be used again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping.Store(true)
	listeners := s.listeners
	s.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
	}
	err := s.http.ShutdownWithContext(ctx)
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	s.cancel()
	for _, l := range listeners {
		l.abort()
	}
	return errors.Join(err, s.awaitHandlers())
}

// awaitHandlers is no sync.WaitGroup: requests that were read before their connection was cut may begin while it waits.
func (s *Server) awaitHandlers() error {
	for deadline := time.Now().Add(endTime); s.running.Load() > 0; time.Sleep(endPoll) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %d of them", ErrRunning, s.running.Load())
		}
	}
	return nil
}

// printf lets the HTTP library log: clients that broke off, mostly.
type printf struct{ log *slog.Logger }

func (p printf) Printf(format string, args ...any) {
	p.log.Debug("http", "event", fmt.Sprintf(format, args...))
}
