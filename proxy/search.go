package proxy

// searchPing tells docker search that this is a registry of its own, where it would otherwise look for a token.
func (c *call) searchPing() error {
	c.set("X-Docker-Registry-Standalone", "true")
	c.ctx.SetContentType("application/json")
	c.send(viewBytes(`{"standalone":true}`))
	return nil
}

type searchResult struct {
	Name string `json:"name"`
}

type searchAnswer struct {
	Results []searchResult `json:"results"`
}

func (c *call) search() error {
	return c.sendJSON("application/json", searchAnswer{Results: []searchResult{}})
}
