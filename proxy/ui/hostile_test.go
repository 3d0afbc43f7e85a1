package ui

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// poison replaces every text of a value.
func poison(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Pointer:
		if !v.IsNil() {
			poison(v.Elem(), text)
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i), text)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			poison(v.Field(i), text)
		}
	}
}

func poisoned[T any](page T, text string) T {
	poison(reflect.ValueOf(&page).Elem(), text)
	return page
}

func TestHostileTextStaysText(t *testing.T) {
	u := newUI(t)
	for _, text := range []string{
		`<script>alert(1)</script>`,
		`"><img src=x onerror=alert(1)>`,
		`' autofocus onfocus=alert(1) x='`,
		`" style="display:none" x="`,
		`javascript:alert(1)`,
		`JaVaScRiPt:alert(1)//https://corp`,
		"java\nscript:alert(1)",
		`data:text/html,<script>alert(1)</script>`,
		`//elsewhere.example/x`,
		`</title></pre></code><base href="https://elsewhere.example">`,
		`{{.Server}}`,
		`<!--`,
		"\x00\xff\u202e",
	} {
		for name, render := range map[string]func(io.Writer) error{
			"overview":     func(w io.Writer) error { return u.Overview(w, poisoned(overviewValues(), text)) },
			"empty":        func(w io.Writer) error { return u.Overview(w, poisoned(emptyOverview(), text)) },
			"repositories": func(w io.Writer) error { return u.Repositories(w, poisoned(repositoriesValues(), text)) },
			"repository":   func(w io.Writer) error { return u.Repository(w, poisoned(repositoryValues(), text)) },
			"image":        func(w io.Writer) error { return u.Image(w, poisoned(imageValues(), text)) },
			"index":        func(w io.Writer) error { return u.Image(w, poisoned(indexValues(), text)) },
			"space":        func(w io.Writer) error { return u.Space(w, poisoned(spaceValues(), text)) },
			"setup":        func(w io.Writer) error { return u.Setup(w, poisoned(setupValues(), text)) },
			"failure":      func(w io.Writer) error { return u.Failure(w, poisoned(failureValues(), text)) },
		} {
			t.Run(fmt.Sprintf("%s/%q", name, text), func(t *testing.T) {
				d := parse(t, u, render)
				d.obeysPolicy()
				d.isBalanced()
				if n := len(d.elements("script")); n != 1 {
					t.Errorf("%d scripts", n)
				}
				for _, img := range d.elements("img") {
					if !strings.HasPrefix(attribute(img, "src"), "/ui/assets/") {
						t.Errorf("an image is loaded from %q", attribute(img, "src"))
					}
				}
				for n := range d.root.Descendants() {
					if n.Type == html.CommentNode {
						t.Errorf("a comment: %q", n.Data)
					}
				}
			})
		}
	}
}

func TestAnnotationsLinkToWebPagesOnly(t *testing.T) {
	for text, want := range map[string]string{
		"https://git.corp/team/app":       "https://git.corp/team/app",
		"http://git.corp/a?b=c#d":         "http://git.corp/a?b=c#d",
		"https://ann:secret@git.corp/app": "", // reads like ann's own page
		"javascript:alert(1)":             "",
		"javascript://git.corp/%0aalert":  "",
		"data:text/html,x":                "",
		"//git.corp/app":                  "",
		"/ui/delete":                      "",
		"https://":                        "",
		"https:git.corp":                  "",
		" https://git.corp":               "",
		"see https://git.corp":            "",
		"Apache-2.0":                      "",
		"":                                "",
	} {
		if got := webLink(text); got != want {
			t.Errorf("%q links to %q, want %q", text, got, want)
		}
	}
}
