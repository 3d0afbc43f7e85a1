package proxy

type repositoryList struct {
	Repositories []string `json:"repositories"`
}

// catalog lists what was pulled of the upstream that ns or the Host header names. Without either it lists what is hosted.
// Nobody reads the name of what they may not pull, and a private registry's names are as private as its content.
func (c *call) catalog() error {
	p, err := c.page()
	if err != nil {
		return err
	}
	registry, _, err := scope(c.server.names, c.ns, view(c.ctx.Host()))
	if err != nil {
		return err
	}
	c.home.Registry, c.home.Hosted = registry, registry == ""
	c.scope(c.ns != "")
	if err := c.mayList(registry, "its catalog"); err != nil {
		return err
	}
	if p.n < 0 {
		p.n = pageSize
	}
	names, more, err := c.names(p)
	if err != nil {
		return err
	}
	if more && len(names) > 0 {
		c.next("/v2/_catalog", p.n, names[len(names)-1], "")
	}
	return c.sendJSON("application/json", repositoryList{Repositories: append([]string{}, names...)})
}

// names gives a page of the catalog. n=0 asks nobody.
func (c *call) names(p page) (names []string, more bool, err error) {
	switch {
	case p.n == 0:
		return nil, false, nil
	case !c.caller.Any(c.home.Hosted):
		return nil, false, nil
	case c.home.Hosted:
		return c.server.o.Hosted.Repositories(c.server.ctx, p.n, p.last, c.seesHosted)
	}
	listed := func(name string) bool { return c.sees(Home{Registry: c.home.Registry, Name: name}) }
	return c.server.o.Manifests.Names(c.server.ctx, c.home.Registry, p.n, p.last, listed)
}
