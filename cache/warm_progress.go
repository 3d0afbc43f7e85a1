package cache

import (
	"sync"
	"time"
)

const warmTellEvery = 250 * time.Millisecond

// WarmProgress is how far it is.
type WarmProgress struct {
	Images  int       `json:"images"`
	Known   int       `json:"known"` // images that were looked through
	Have    int64     `json:"have"`  // bytes of blobs, of those images
	Bytes   int64     `json:"bytes"`
	Current []WarmNow `json:"current,omitempty"`
	Notes   []string  `json:"notes,omitempty"` // what there is to say beforehand; it only grows
}

// WarmNow is an image that is being fetched.
type WarmNow struct {
	Image string `json:"image"`
	Have  int64  `json:"have"`
	Bytes int64  `json:"bytes"`
}

// tellUntilDone tells how far it is, until the function that it gives is called.
func (r *warmRun) tellUntilDone() (done func()) {
	if r.o.Tell == nil {
		return func() {}
	}
	stop := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() { // until stop
		tick := time.NewTicker(warmTellEvery)
		defer tick.Stop()
		r.o.Tell(r.progress())
		for {
			select {
			case <-tick.C:
				r.o.Tell(r.progress())
			case <-stop:
				r.o.Tell(r.progress())
				return
			}
		}
	})
	return func() { close(stop); telling.Wait() }
}

func (r *warmRun) progress() WarmProgress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := WarmProgress{Images: len(r.plans), Known: r.known, Notes: append([]string(nil), r.notes...)}
	have := map[blobName]int64{}
	for name, w := range r.wanted {
		have[name] = w.have()
		p.Have, p.Bytes = p.Have+have[name], p.Bytes+w.size
	}
	if p.Known < p.Images {
		return p
	}
	for _, plan := range r.plans {
		now, active := WarmNow{Image: plan.image.Name}, false
		for _, b := range plan.blobs {
			w := r.wanted[blobName{plan.image.From.Repo(), b.Digest}]
			active = active || w.fill != nil
			now.Have, now.Bytes = now.Have+have[w.name], now.Bytes+w.size
		}
		if active {
			p.Current = append(p.Current, now)
		}
	}
	return p
}

// have is how many bytes of the blob are here. The caller holds warmRun.mu.
func (w *warmBlob) have() int64 {
	switch {
	case w.fill != nil:
		w.fill.mu.Lock()
		defer w.fill.mu.Unlock()
		return min(w.fill.have.bytes(), w.size)
	case w.done && w.err == nil:
		return w.size
	}
	return 0
}
