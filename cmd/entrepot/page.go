package main

import (
	"github.com/entrepot/entrepot/proxy"
)

// page is what the web page looks at; nil where there is none.
func (a *application) page(c Config, figures func() proxy.Figures) *proxy.Page {
	if !c.Page {
		return nil
	}
	return &proxy.Page{
		Manifests: a.stored.manifests, Blobs: a.stored.blobs, Memory: a.stored.memory.Usage,
		Figures: figures, Version: build().Version,
	}
}
