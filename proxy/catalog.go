package proxy

type repositoryList struct {
	Repositories []string `json:"repositories"`
}

// catalog lists what was pulled of the upstream that ns or the Host header names. Without either it lists what is hosted:
// nothing. A private registry's names are as private as its content.
func (c *call) catalog() error {
	p, err := c.page()
	if err != nil {
		return err
	}
	registry, _, err := scope(c.server.names, c.ns, view(c.ctx.Host()))
	if err != nil {
		return err
	}
	c.home.Registry = registry
	c.scope(c.ns != "")
	list := repositoryList{Repositories: []string{}}
	switch {
	case registry == "" || p.n == 0:
		return c.sendJSON("application/json", list)
	case c.server.o.Registries[registry].Private:
		return newError(CodeDenied, registry+" is read with a credential, and its catalog is not for everybody")
	case p.n < 0:
		p.n = pageSize
	}
	names, more, err := c.server.o.Manifests.Names(c.server.ctx, registry, p.n, p.last)
	if err != nil {
		return err
	}
	if more && len(names) > 0 {
		c.next("/v2/_catalog", p.n, names[len(names)-1])
	}
	list.Repositories = append(list.Repositories, names...)
	return c.sendJSON("application/json", list)
}
