package proxy

import (
	"io"
	"net/http"
	"slices"

	"github.com/entrepot/entrepot/proxy/clientconfig"
	"github.com/entrepot/entrepot/proxy/ui"
)

func (c *call) setupPage() error {
	clients := clientconfig.Clients()
	word := string(c.ctx.QueryArgs().Peek("client"))
	if !slices.ContainsFunc(clients, func(k clientconfig.Client) bool { return k.Word == word }) {
		word = clients[0].Word
	}
	server := clientconfig.Server{URL: c.base(), Upstreams: c.upstreams(), Users: c.server.o.Access.Closed()}
	if slices.Contains(server.Upstreams, c.server.names.Default) {
		server.Default = c.server.names.Default
	}
	steps, err := clientconfig.Config(word, server)
	if err != nil { // of the Host header, which is the client's to choose
		return &Error{Code: CodeUnsupported, Status: http.StatusBadRequest, Message: err.Error()}
	}
	p := ui.Setup{Page: c.frame("Set up a client", "setup"), Client: word}
	for _, k := range clients {
		p.Clients = append(p.Clients, ui.Choice{Word: k.Word, Name: k.Name})
	}
	for _, s := range steps {
		p.Steps = append(p.Steps, ui.Step{Does: s.Does, Path: s.Path, Content: s.Content})
	}
	return c.show(func(w io.Writer) error { return c.server.ui.Setup(w, p) })
}
