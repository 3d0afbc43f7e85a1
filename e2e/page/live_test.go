package page

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// have is how much of the one blob is here that is being fetched; -1: none is.
const have = `(document.querySelector("#rest progress")?.value ?? -1)`

func figuresDuringFill(t *testing.T, s site, browser context.Context) {
	s.hub.Set(func(o *fakehub.Options) { o.Bandwidth = mib })
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{48 * mib}, Seed: 7})
	s.hub.Repo("library/large").AddImage(img, "1")
	tb := newTab(t, browser, s.URL)
	tb.scheme("light")
	tb.open("/")
	tb.until(`document.querySelector("#rest .arriving").innerText.includes("quiet")`)
	tb.do(chromedp.Focus(chromedp.CSS(`#rest a[href="/ui/space"]`)))

	s.get(t, "/v2/library/large/manifests/1")
	pulled := make(chan error, 1)
	go func() { // ends with the pull
		resp, err := http.Get(s.URL + "/v2/library/large/blobs/" + string(img.Layers[0].Digest))
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		pulled <- err
	}()
	tb.until(have + ` >= 0`)
	tb.until(`(window.first ??= ` + have + `) < ` + have)
	tb.shot("filling-light")
	tb.axe("")
	tb.until(have + ` < 0`)
	if err := <-pulled; err != nil {
		t.Fatal(err)
	}
	tb.until(`document.querySelector("#figures .rows data:last-of-type").value >= ` + "50331648")
	if at := eval[string](tb, focused); at != "What takes how much" {
		t.Errorf("the focus has gone to %q while the figures changed", at)
	}
}

// pollingRests: a tab that nobody sees asks nothing, and one whose server is gone says so, and goes on when it is back.
func pollingRests(t *testing.T, s site, browser context.Context) {
	tb := newTab(t, browser, s.URL)
	tb.do(call(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `Object.defineProperty(document, "hidden", { get: () => window.unseen === true }); window.asked = 0; new PerformanceObserver(l => { asked += l.getEntries().filter(e => e.name.endsWith("/ui/live")).length }).observe({ type: "resource" });`}))
	tb.open("/")
	tb.until(`asked > 0`)
	eval[any](tb, `window.unseen = true; document.dispatchEvent(new Event("visibilitychange"))`)
	eval[bool](tb, `new Promise(r => setTimeout(() => r(true), 500))`) // one may be under way
	before := tb.requests("/ui/live")
	eval[bool](tb, `new Promise(r => setTimeout(() => r(true), 3000))`)
	if n := tb.requests("/ui/live") - before; n > 0 {
		t.Errorf("%d requests of a tab that nobody sees", n)
	}
	eval[any](tb, `window.unseen = false; window.asked = 0; document.dispatchEvent(new Event("visibilitychange"))`)
	tb.until(`asked > 0`)
	s.Kill()
	tb.until(`document.getElementById("stalled").textContent !== ""`)
	tb.axe("")
	tb.scheme("light")
	tb.shot("stalled-light")
	s.Start()
	tb.until(`document.getElementById("stalled").textContent === ""`)
	tb.forgive("while the server was gone")
}
