package proxy

type tagList struct {
	Name string   `json:"name"` // as the client spelled it
	Tags []string `json:"tags"`
}

// tags answers a tag list. n=0 asks nobody.
func (c *call) tags() error {
	p, err := c.page()
	if err != nil {
		return err
	}
	c.keep()
	list := tagList{Name: c.req.Name, Tags: []string{}}
	if p.n == 0 {
		return c.sendJSON("application/json", list)
	}
	tags, more, warning, err := c.server.o.Manifests.Tags(c.server.ctx, c.repository(), p.n, p.last)
	if err != nil {
		return err
	}
	c.warn(warning)
	if more && len(tags) > 0 {
		c.next("/v2/"+c.req.Name+"/tags/list", p.size(len(tags)), tags[len(tags)-1], "")
	}
	for _, tag := range tags {
		if c.caller.Admit(policyName(c.home), tag) == nil {
			list.Tags = append(list.Tags, tag)
		}
	}
	return c.sendJSON("application/json", list)
}
