package main

import (
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/replica"
	"github.com/entrepot/entrepot/storage"
)

// replicas is what a server has to do with the others of its bucket.
type replicas struct {
	id     string                                      // of this process; empty: no other server is asked, or asks
	client *replica.Client                             // nil: likewise
	token  func(registry, name string) (string, error) // set before anything is served; nil: nobody needs one
}

// openShared gives the cache its own part of the bucket: through it, nothing hosted can be named. nil where there is none.
func (s *stored) openShared(c Config, events cache.Events, log *slog.Logger) (*cache.Bucket, error) {
	if s.bucket == nil || !c.S3Cache {
		return nil, nil
	}
	o := cache.BucketOptions{Store: storage.Under(s.bucket.forCache, "cache"), Events: events, Log: log, Now: time.Now}
	if c.AdvertiseURL != "" {
		s.replicas.id = rand.Text()
		s.replicas.client = replica.New(replica.Options{ID: s.replicas.id, Token: s.replicas.pull})
		s.later(quiet(s.replicas.client.Close))
		o.Leases, o.Address, o.Peer = storage.Under(s.bucket, "leases/fills"), string(c.AdvertiseURL), s.replicas.client.At
	}
	return cache.NewBucket(o)
}

// pull makes the token by which another server lets this one pull a repository.
func (r *replicas) pull(registry, name string) (string, error) {
	if r.token == nil {
		return "", nil
	}
	return r.token(registry, name)
}

// checkAddress warns where this server's address leads elsewhere: the others would only notice that it gives them nothing. Names
// may need some time after the start until they lead here.
func (u *upkeep) checkAddress(r replicas, address string) {
	if r.client == nil {
		return
	}
	u.running.Go(func() { // until stop, or the last look
		var err error
		for _, wait := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-u.work.Done():
				timer.Stop()
				return
			}
			if err = r.client.Self(u.work, address); err == nil {
				return
			}
		}
		if u.work.Err() == nil {
			u.log.Warn(prefix+"ADVERTISE_URL does not lead to this server; the others fetch for themselves what it fetches", "address", address, "err", err)
		}
	})
}
