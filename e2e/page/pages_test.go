package page

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/entrepot/entrepot/e2e/tools"
)

// paths are the pages of a site that is filled, by the names of their pictures.
var paths = []struct{ name, path string }{
	{"overview", "/"},
	{"repositories", "/ui/repositories"},
	{"repositories-found", "/ui/repositories?q=nginx&in=docker.io"},
	{"repositories-none", "/ui/repositories?q=nowhere"},
	{"repository", "/ui/repositories/team/app"},
	{"repository-cached", "/ui/repositories/docker.io/library/nginx"},
	{"image", "/ui/images/team/app:v2.4.1"},
	{"image-index", "/ui/images/docker.io/library/nginx:1.29"},
	{"space", "/ui/space"},
	{"setup", "/ui/setup"},
	{"setup-containerd", "/ui/setup?client=containerd"},
	{"missing", "/ui/images/team/app:nowhere"},
}

func TestFilledServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.fill(t)
	browser := newBrowser(t)
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			tb := newTab(t, browser, s.URL)
			tb.open(p.path)
			tb.looksRight(p.name)
		})
	}
	t.Run("copying", func(t *testing.T) { copying(t, s, browser) })
	t.Run("deleting by keyboard only", func(t *testing.T) { deletingByKeyboard(t, s, browser) })
	t.Run("deleting without script", func(t *testing.T) { deletingWithoutScript(t, s, browser) })
}

func TestEmptyServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	browser := newBrowser(t)
	t.Run("how to begin", func(t *testing.T) {
		tb := newTab(t, browser, s.URL)
		for _, path := range []string{"/ui/repositories", "/ui/space", "/"} {
			tb.open(path)
			tb.axe("")
		}
		tb.looksRight("empty")
		if text := eval[string](tb, `document.querySelector("main").innerText`); !strings.Contains(text, "docker pull "+s.Addr+"/library/") || !strings.Contains(text, "docker push "+s.Addr+"/") {
			t.Errorf("it does not say how to begin:\n%s", text)
		}
	})
	t.Run("figures change during a fill", func(t *testing.T) { figuresDuringFill(t, s, browser) })
	t.Run("polling rests", func(t *testing.T) { pollingRests(t, s, browser) })
}

// looksRight asks of a page what holds for all: axe finds nothing, the contrast is right in both color schemes, nothing runs over
// the edge of a small phone; and all that the tab notices by itself.
func (tb *tab) looksRight(name string) {
	tb.t.Helper()
	tb.scheme("light")
	tb.axe("")
	tb.shot(name + "-light")
	tb.scheme("dark")
	tb.axe("color-contrast")
	tb.shot(name + "-dark")
	for _, width := range []int64{wide, 1100, 900, 768, 360} {
		tb.size(width, 800)
		for _, text := range eval[[]string](tb, outgrown) {
			tb.t.Errorf("at a width of %d, %q is longer than its place", width, text)
		}
		if over := eval[int](tb, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			tb.t.Errorf("at a width of %d, %d pixels run over the edge", width, over)
		}
	}
	tb.scheme("light")
	tb.size(phone, 844)
	tb.shot(name + "-phone")
	tb.size(wide, high)
}

// outgrown are the texts that run out of the boxes that hold them, over whatever stands beside.
const outgrown = `[...document.querySelectorAll("main *, header *, footer *")].filter(e =>
	e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline" && !e.closest(".unseen, svg, thead, select") &&
	[...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim() || n.nodeName === "DATA")).map(e => e.innerText)`

// finding is what axe says is wrong.
type finding struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string `json:"html"`
		FailureSummary string `json:"failureSummary"`
	}
}

// axe checks the page as it is now, by one rule or by all. Over pictures it cannot tell a contrast: the ribs of containers are
// taken away for it, and the plain color behind them stays. Nor can it of what lies below an open form.
func (tb *tab) axe(rule string) {
	tb.t.Helper()
	dir, err := tools.Npm(tb.t.Context())
	if err != nil {
		tb.t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		tb.t.Fatal(err)
	}
	if !eval[bool](tb, `"axe" in window`) {
		tb.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
			_, err := chromedp.Evaluate[any](string(source)+"\n;true")(ctx, t)
			return chromedp.Void{}, err
		})
	}
	only := ""
	if rule != "" {
		only = fmt.Sprintf("runOnly: [%q],", rule)
	}
	found := eval[[]finding](tb, `(async () => {
		for (const e of document.querySelectorAll(".hold, .status")) e.style.backgroundImage = "none";
		const said = await axe.run(document, { `+only+` resultTypes: ["violations", "incomplete"] });
		for (const e of document.querySelectorAll(".hold, .status")) e.style.backgroundImage = "";
		const covered = n => n.any.some(c => /obscur|overlap/i.test(c.data?.messageKey ?? ""));
		for (const v of said.incomplete) v.nodes = v.nodes.filter(n => !covered(n));
		return [...said.violations, ...said.incomplete].map(v => ({ id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map(n => ({ html: n.html, failureSummary: n.failureSummary })) }));
	})()`)
	for _, f := range found {
		for _, n := range f.Nodes {
			tb.t.Errorf("%s (%s): %s: %s", f.ID, f.Impact, n.HTML, n.FailureSummary)
		}
	}
}
