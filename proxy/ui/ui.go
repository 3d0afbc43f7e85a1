package ui

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"time"
)

// Policy is the Content-Security-Policy of every answer: all that a page loads is its own assets, and nothing is inline.
const Policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

//go:embed templates/*.html
var templates embed.FS

// pages are the templates that fill the layout; live is a fragment.
const (
	overviewPage     = "overview.html"
	repositoriesPage = "repositories.html"
	repositoryPage   = "repository.html"
	imagePage        = "image.html"
	spacePage        = "space.html"
	setupPage        = "setup.html"
	failurePage      = "failure.html"
)

// UI renders pages. Its methods are safe for concurrent use. After an error the writer may have got a part.
type UI struct {
	pages  map[string]*template.Template
	assets map[string]asset
}

// New reads the templates and assets. Ages of things are told by the clock.
func New(now func() time.Time) (*UI, error) {
	assets, names, err := loadAssets()
	if err != nil {
		return nil, fmt.Errorf("assets of the page: %w", err)
	}
	common, err := template.New("").Funcs(functions(now, names)).ParseFS(templates, "templates/layout.html", "templates/parts.html", "templates/live.html")
	if err != nil {
		return nil, fmt.Errorf("templates of the page: %w", err)
	}
	u := &UI{pages: map[string]*template.Template{}, assets: assets}
	for _, name := range []string{overviewPage, repositoriesPage, repositoryPage, imagePage, spacePage, setupPage, failurePage} {
		page, err := common.Clone()
		if err != nil {
			return nil, fmt.Errorf("templates of the page: %w", err)
		}
		if u.pages[name], err = page.ParseFS(templates, "templates/"+name); err != nil {
			return nil, fmt.Errorf("templates of the page: %w", err)
		}
	}
	return u, nil
}

func (u *UI) render(w io.Writer, page, part string, values any) error {
	if err := u.pages[page].ExecuteTemplate(w, part, values); err != nil {
		return fmt.Errorf("render %s: %w", page, err)
	}
	return nil
}

// Overview renders the first page.
func (u *UI) Overview(w io.Writer, p Overview) error { return u.render(w, overviewPage, "layout", p) }

// Live renders what the script of the overview asks for again and again: the parts of that page that change.
func (u *UI) Live(w io.Writer, l Live) error { return u.render(w, overviewPage, "live", l) }

// Repositories renders a page of the list.
func (u *UI) Repositories(w io.Writer, p Repositories) error {
	return u.render(w, repositoriesPage, "layout", p)
}

// Repository renders a page of the tags of one.
func (u *UI) Repository(w io.Writer, p RepositoryPage) error {
	return u.render(w, repositoryPage, "layout", p)
}

// Image renders one manifest.
func (u *UI) Image(w io.Writer, p Image) error { return u.render(w, imagePage, "layout", p) }

// Space renders what takes how much.
func (u *UI) Space(w io.Writer, p Space) error { return u.render(w, spacePage, "layout", p) }

// Setup renders how a client is made to use the server.
func (u *UI) Setup(w io.Writer, p Setup) error { return u.render(w, setupPage, "layout", p) }

// Failure renders why a page is not shown, and what can be done.
func (u *UI) Failure(w io.Writer, p Failure) error { return u.render(w, failurePage, "layout", p) }
