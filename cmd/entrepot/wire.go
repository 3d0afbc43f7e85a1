package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/entrepot/entrepot/metrics"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/proxy/upstream"
)

// application is a server put together, before anything listens.
type application struct {
	proxy   *proxy.Server
	guard   *access.Guard
	admin   http.Handler // nil: no admin listener
	control http.Handler // of the socket
	stored  *stored
	upkeep  *upkeep
	log     *slog.Logger

	upstreams []*upstream.Registry
	draining  atomic.Bool
}

// wire puts the server together. Its parts know each other by small interfaces only; this is the place that knows them all.
// out is where an audit log on stdout goes.
func wire(c Config, out io.Writer, log *slog.Logger) (*application, error) {
	registry := prometheus.NewRegistry()
	hosts := c.names().Upstreams
	n := newCounts(registry, hosts)
	upstreams, err := openUpstreams(c, n.upstream, log)
	if err != nil {
		return nil, err
	}
	store, err := openStored(c, n, log)
	if err != nil {
		return nil, err
	}
	a := &application{stored: store, upkeep: newUpkeep(store, n, log), log: log, upstreams: upstreams}
	if err := a.open(c, registry, n, out); err != nil {
		return nil, errors.Join(err, a.close())
	}
	registerProcess(registry, c, store)
	a.serveOperators(c, registry)
	return a, nil
}

// open makes the front door, and who guards it.
func (a *application) open(c Config, registry prometheus.Registerer, n *counts, out io.Writer) error {
	err := a.stored.probe(context.Background(), a.log)
	if err != nil {
		return err
	}
	a.guard, err = a.stored.openAccess(c, metrics.NewAccess(registry), a.log)
	audit, auditErr := a.stored.openAudit(c, out, a.log)
	if err := errors.Join(err, auditErr); err != nil { // the mistakes of all files at once
		return err
	}
	answers := metrics.NewHTTP(registry, c.names().Upstreams)
	options := proxyOptions(c, a, answers)
	options.Page = a.page(c, metrics.NewFigures(answers, n.cache, n.upstream, time.Now()))
	options.Access, options.Audit = a.guard, audit
	options.TrustedProxies, options.PublicURL, options.Redirect = c.TrustedProxies, string(c.PublicURL), c.S3Redirect
	options.Copies = a.stored.bucket != nil
	options.ReplicaID, a.stored.replicas.token = a.stored.replicas.id, a.guard.ReplicaToken
	if a.proxy, err = proxy.New(options); err != nil {
		return usageError{err}
	}
	return nil
}

func proxyOptions(c Config, a *application, answers *metrics.HTTP) proxy.Options {
	o := proxy.Options{
		Names:          c.names(),
		Registries:     map[string]proxy.Registry{},
		Manifests:      a.stored.manifests,
		Blobs:          proxy.CachedBlobs{Blobs: a.stored.blobs},
		Public:         a.readable,
		Hosted:         a.stored.hosted,
		ReadOnly:       c.ReadOnly,
		NoDelete:       proxy.NoDelete{Tags: !c.Delete.Tags, Manifests: !c.Delete.Manifests, Blobs: !c.Delete.Blobs},
		MaxConnections: c.MaxConnections,
		AccessLog:      c.AccessLog.mode(),
		Answered:       answers.Answered,
		Log:            a.log,
	}
	if c.TLSCert != "" {
		o.TLS = &proxy.TLS{CertFile: c.TLSCert, KeyFile: c.TLSKey, ClientCA: c.TLSClientCA}
	}
	for i, block := range c.upstreams() {
		up := a.upstreams[i]
		o.Registries[up.Host()] = proxy.Registry{
			Repository: func(name string) proxy.Repository { return up.Repository(name) },
			Private:    block.guarded(c.DockerConfig),
			Search:     up.Search,
			Health:     up.Health,
		}
	}
	return o
}

// guarded: the upstream may be asked with credentials, and what they open is not for everybody. A Docker config.json may
// get a credential at any time, so its presence is enough.
func (b UpstreamBlock) guarded(dockerConfig string) bool {
	credentials := b.Username != "" || b.Auth != "" || b.ClientCert != "" || dockerConfig != ""
	return credentials && b.Private != "allow"
}

func (a *application) readable(ctx context.Context, repo proxy.Repository, ref string) (bool, error) {
	return a.stored.public.Readable(ctx, repo.Repo(), repo, ref)
}

// names is the part of the configuration that decides whose name a name is.
func (c Config) names() proxy.Names {
	n := proxy.Names{Hosted: c.Hosted, Hosts: map[string]string{}, Self: c.self()}
	if c.DefaultUpstream != "none" {
		n.Default = canonical(c.DefaultUpstream)
	}
	for _, u := range c.upstreams() {
		n.Upstreams = append(n.Upstreams, canonical(u.Host))
	}
	for _, alias := range c.Hosts {
		n.Hosts[alias.Host] = canonical(alias.Upstream)
	}
	return n
}

// self lists the addresses by which a client knows this server: the public one, and those of this machine.
func (c Config) self() []string {
	var all []string
	if public := c.PublicURL.host(); public != "" {
		all = append(all, public)
	}
	host, port, err := net.SplitHostPort(string(c.Listen))
	if err != nil {
		return all
	}
	all = append(all, net.JoinHostPort(host, port), net.JoinHostPort("localhost", port), net.JoinHostPort("127.0.0.1", port))
	if name, err := os.Hostname(); err == nil {
		all = append(all, net.JoinHostPort(name, port))
	}
	return all
}

func registerProcess(r *prometheus.Registry, c Config, s *stored) {
	b := build()
	metrics.RegisterBuild(r, b.Version, b.Commit, b.Go)
	metrics.RegisterTiers(r, s.memory.Usage, s.blobs.Usage)
	metrics.RegisterHosted(r, s.hosted.Usage)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}
