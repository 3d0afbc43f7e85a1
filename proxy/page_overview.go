package proxy

import (
	"io"

	"github.com/entrepot/entrepot/proxy/ui"
)

// shownFills is how many fills a page lists.
const shownFills = 12

func (c *call) overviewPage() error {
	p := ui.Overview{Page: c.frame("Overview", "overview"), Default: c.server.names.Default}
	if c.mayKnow("") == nil {
		live := c.live()
		p.Live = &live
		empty, err := c.nothingYet(live)
		if err != nil {
			return err
		}
		p.Empty = empty
	}
	return c.show(func(w io.Writer) error { return c.server.ui.Overview(w, p) })
}

// nothingYet: nothing was pulled or pushed that the reader may see.
func (c *call) nothingYet(live ui.Live) (bool, error) {
	if live.Hits+live.Misses > 0 || live.Hosted != nil && live.Hosted.Repositories > 0 {
		return false, nil
	}
	rows, _, err := c.repositories(listing{}, 1)
	return len(rows) == 0, err
}

// livePart is what the script of the first page asks for again and again.
func (c *call) livePart() error {
	if err := c.mayKnow("how this server is"); err != nil {
		return err
	}
	live := c.live()
	return c.show(func(w io.Writer) error { return c.server.ui.Live(w, live) })
}

func (c *call) live() ui.Live {
	figures := c.server.o.Page.Figures()
	live := ui.Live{
		Since: figures.Since, Hits: figures.Hits, Misses: figures.Misses, Stale: figures.Stale,
		Tiers: c.tiers(), Hosted: c.hostedUsage(),
	}
	live.Fills, live.MoreFills = c.fills()
	traffic := map[string]RegistryFigures{}
	for _, r := range figures.Registries {
		traffic[r.Host] = r
		live.Sent += r.Sent
		live.Fetched += r.Fetched
	}
	for _, host := range c.server.names.Upstreams {
		live.Upstreams = append(live.Upstreams, c.upstreamHealth(host, traffic[host]))
	}
	return live
}

func (c *call) upstreamHealth(host string, traffic RegistryFigures) ui.Upstream {
	health := c.server.o.Registries[host].Health()
	state := "up"
	switch {
	case health.State == "open":
		state = "down"
	case health.State == "half-open", health.Failing:
		state = "trying"
	}
	u := ui.Upstream{Host: host, State: state, CredentialRefused: health.CredentialRefused, Sent: traffic.Sent, Fetched: traffic.Fetched}
	for _, l := range health.Limits {
		u.Limits = append(u.Limits, ui.Limit{Account: l.Account, Limit: l.Limit, Remaining: l.Remaining})
	}
	return u
}

// fills are those under way of repositories that the reader may see, the largest first as the cache gives them. What is hosted has no repository here: who may have it
// was asked by whoever began.
func (c *call) fills() (shown []ui.Fill, more int) {
	for _, f := range c.server.o.Page.Blobs.Fills() {
		home := Home{Registry: f.Repo.Registry, Name: f.Repo.Name}
		if home.Registry == "" || c.server.o.Registries[home.Registry].Repository == nil || !c.sees(home) {
			continue
		}
		shown = append(shown, ui.Fill{Repository: f.Repo.String(), Digest: f.Digest, Have: f.Have, Size: f.Size, Readers: f.Readers})
	}
	if n := len(shown); n > shownFills {
		return shown[:shownFills], n - shownFills
	}
	return shown, 0
}

func (c *call) tiers() []ui.Tier {
	used, limit := c.server.o.Page.Memory()
	disk := c.server.o.Page.Blobs.Usage()
	return []ui.Tier{
		{Name: "memory", Used: used, Limit: limit, Blobs: -1},
		{Name: "disk", Used: disk.All(), Limit: disk.Limit, Blobs: disk.Blobs},
	}
}

// hostedUsage is nil until it has been counted for the first time.
func (c *call) hostedUsage() *ui.Hosted {
	u := c.server.o.Hosted.Usage()
	if u.Counted.IsZero() {
		return nil
	}
	return &ui.Hosted{Repositories: len(u.Repositories), Manifests: u.Manifests, Blobs: u.Blobs, Bytes: u.Bytes, Counted: u.Counted}
}
