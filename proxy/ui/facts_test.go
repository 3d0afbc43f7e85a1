package ui

import (
	"bytes"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// everywhere are the facts of pages and fragments alike.
var everywhere = []struct {
	name  string
	check func(document)
}{
	{"nothing is inline that the policy forbids", document.obeysPolicy},
	{"every tag is closed where it should be", document.isBalanced},
	{"ids are unique and those that are named exist", document.namesIDs},
	{"whatever can be used has a name", document.namesControls},
	{"every asset exists, and nothing is loaded from elsewhere", document.findsAssets},
	{"headers of tables say what they head", document.headsTables},
	{"times can be read by machines", document.tellsTimes},
}

// ofPages are the facts of whole pages.
var ofPages = []struct {
	name  string
	check func(document)
}{
	{"there is one h1, and no heading skips a level", document.headsInOrder},
	{"landmarks, language, title and skip link are there", document.hasLandmarks},
	{"at most one place is the current one of each navigation", document.isAtOnePlace},
}

func TestPagesKeepTheFacts(t *testing.T) {
	u := newUI(t)
	for name, render := range pages(u) {
		t.Run(name, func(t *testing.T) {
			d := parse(t, u, render)
			for _, fact := range everywhere {
				t.Run(fact.name, func(t *testing.T) { d.t = t; fact.check(d) })
			}
			if name == "live" {
				return
			}
			for _, fact := range ofPages {
				t.Run(fact.name, func(t *testing.T) { d.t = t; fact.check(d) })
			}
		})
	}
}

func (d document) obeysPolicy() {
	for _, n := range d.elements() {
		if n.Data == "style" || n.Data == "base" || n.Data == "iframe" || n.Data == "object" {
			d.t.Errorf("<%s> is there", n.Data)
		}
		if n.Data == "script" && (text(n) != "" || attribute(n, "src") == "") {
			d.t.Errorf("a script is inline: %q", text(n))
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				d.t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
			if scheme, _, ok := strings.Cut(strings.ToLower(strings.TrimSpace(a.Val)), ":"); ok && (a.Key == "href" || a.Key == "src" || a.Key == "action") && (scheme == "javascript" || scheme == "data") {
				d.t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
}

// isBalanced compares the tags as written with what a browser makes of them: it closes, opens and moves elements by itself
// where they are nested wrongly.
func (d document) isBalanced() {
	void := []string{"meta", "link", "input", "img", "br", "wbr"}
	written, open := map[string]int{}, []string{}
	z := html.NewTokenizer(bytes.NewReader(d.raw))
	for z.Next() != html.ErrorToken {
		switch token := z.Token(); token.Type {
		case html.StartTagToken:
			written[token.Data]++
			if !slices.Contains(void, token.Data) {
				open = append(open, token.Data)
			}
		case html.SelfClosingTagToken:
			written[token.Data]++
		case html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != token.Data {
				d.t.Fatalf("</%s> closes %v", token.Data, open)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) != 0 {
		d.t.Errorf("not closed: %v", open)
	}
	for _, n := range d.elements() {
		written[n.Data]--
	}
	for name, missing := range written {
		if missing != 0 && name != "html" && name != "head" && name != "body" { // a fragment has none of these
			d.t.Errorf("%d more <%s> are written than a browser sees", missing, name)
		}
	}
}

func (d document) namesIDs() {
	ids := map[string]bool{}
	for _, n := range d.elements() {
		if id := attribute(n, "id"); id != "" {
			if ids[id] {
				d.t.Errorf("id %q is there twice", id)
			}
			ids[id] = true
		}
	}
	for _, n := range d.elements() {
		for _, name := range []string{"for", "aria-labelledby", "aria-describedby"} {
			if id := attribute(n, name); id != "" && !ids[id] {
				d.t.Errorf("<%s %s=%q> names what is not there", n.Data, name, id)
			}
		}
		if id, ok := strings.CutPrefix(attribute(n, "href"), "#"); ok && !ids[id] {
			d.t.Errorf("a link leads to #%s, which is not there", id)
		}
	}
}

func (d document) namesControls() {
	labels := map[string]bool{}
	for _, n := range d.elements("label") {
		labels[attribute(n, "for")] = text(n) != ""
	}
	for _, n := range d.elements("input", "select", "textarea") {
		if attribute(n, "type") != "hidden" && !labels[attribute(n, "id")] {
			d.t.Errorf("<%s name=%q> has no label", n.Data, attribute(n, "name"))
		}
	}
	for _, n := range d.elements("a", "button", "summary", "th", "h1", "h2") {
		if text(n) == "" {
			d.t.Errorf("<%s %v> has no text", n.Data, n.Attr)
		}
	}
	for _, n := range d.elements("button") {
		if attribute(n, "type") == "" {
			d.t.Errorf("a button has no type: %q", text(n))
		}
	}
	for _, n := range d.elements("progress", "nav") {
		if attribute(n, "aria-label") == "" {
			d.t.Errorf("<%s> has no name", n.Data)
		}
	}
	for _, n := range d.elements("svg") {
		if attribute(n, "aria-hidden") != "true" {
			d.t.Errorf("an svg is not hidden from those who cannot see it")
		}
	}
	for _, n := range d.elements("img") {
		if !has(n, "alt") {
			d.t.Errorf("<img src=%q> has no alt", attribute(n, "src"))
		}
	}
	for _, n := range d.elements("form") {
		if action := attribute(n, "action"); !strings.HasPrefix(action, "/ui/") {
			d.t.Errorf("a form leads to %q", action)
		}
	}
}

func (d document) findsAssets() {
	for _, n := range d.elements("link", "script", "img") {
		address := attribute(n, "href") + attribute(n, "src")
		name, ours := strings.CutPrefix(address, "/ui/assets/")
		if body, mediaType, ok := d.u.Asset(name); !ours || !ok || len(body) == 0 || mediaType == "" {
			d.t.Errorf("<%s> loads %q, which is no asset", n.Data, address)
		}
	}
	for _, n := range d.elements("a") {
		address, err := url.Parse(attribute(n, "href"))
		if err != nil {
			d.t.Errorf("a link leads to %q: %v", attribute(n, "href"), err)
		} else if address.Host != "" && attribute(n, "rel") != "nofollow noopener noreferrer" {
			d.t.Errorf("a link leads to another host, %q, and tells it from where", address)
		}
	}
}

func (d document) headsTables() {
	for _, n := range d.elements("th") {
		want := "row"
		if within(n, "thead") {
			want = "col"
		}
		if got := attribute(n, "scope"); got != want {
			d.t.Errorf("<th scope=%q> %s, want %q", got, text(n), want)
		}
	}
}

func (d document) tellsTimes() {
	for _, n := range d.elements("time") {
		if _, err := time.Parse(time.RFC3339, attribute(n, "datetime")); err != nil || attribute(n, "title") == "" || text(n) == "" {
			d.t.Errorf("<time %v> %s: %v", n.Attr, text(n), err)
		}
	}
}

func (d document) headsInOrder() {
	if n := len(d.elements("h1")); n != 1 {
		d.t.Errorf("%d h1", n)
	}
	last := 0
	for _, n := range d.elements("h1", "h2", "h3", "h4", "h5", "h6") {
		level := int(n.Data[1] - '0')
		if level > last+1 {
			d.t.Errorf("<%s> %s follows a heading of level %d", n.Data, text(n), last)
		}
		last = level
	}
}

func (d document) hasLandmarks() {
	for _, name := range []string{"header", "nav", "main", "footer", "title"} {
		if len(d.elements(name)) == 0 {
			d.t.Errorf("no <%s>", name)
		}
	}
	if len(d.elements("main")) != 1 || attribute(d.elements("html")[0], "lang") != "en" || text(d.elements("title")[0]) == "" {
		d.t.Error("main, language or title is wrong")
	}
	if first := d.elements("a")[0]; attribute(first, "href") != "#main" {
		d.t.Errorf("the first link leads to %q, not past the navigation", attribute(first, "href"))
	}
}

func (d document) isAtOnePlace() {
	for _, nav := range d.elements("nav") {
		places := 0
		for n := range nav.Descendants() {
			if n.Type == html.ElementNode && attribute(n, "aria-current") == "page" {
				places++
			}
		}
		if places > 1 {
			d.t.Errorf("navigation %q is at %d places", attribute(nav, "aria-label"), places)
		}
	}
}

func TestTheFragmentHoldsWhatTheOverviewLetsTheScriptChange(t *testing.T) {
	u := newUI(t)
	overview := parse(t, u, func(w io.Writer) error { return u.Overview(w, overviewValues()) })
	fragment := parse(t, u, func(w io.Writer) error { return u.Live(w, liveValues()) })
	for n := range fragment.elements("body")[0].ChildNodes() {
		if n.Type != html.ElementNode {
			continue
		}
		i := slices.IndexFunc(overview.elements(), func(o *html.Node) bool { return attribute(o, "id") == attribute(n, "id") })
		if i < 0 || attribute(n, "id") == "" {
			t.Fatalf("the overview has no #%s", attribute(n, "id"))
		}
		var inPage, inFragment bytes.Buffer
		if err := html.Render(&inPage, overview.elements()[i]); err != nil {
			t.Fatal(err)
		}
		if err := html.Render(&inFragment, n); err != nil {
			t.Fatal(err)
		}
		if inPage.String() != inFragment.String() {
			t.Errorf("#%s is not the same in both", attribute(n, "id"))
		}
	}
}
