package page

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// focused says what has the focus, as a screen reader would begin.
const focused = `(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim().replace(/\s+/g, " ")`

// walk presses Tab until the focus comes to what is named so. Whatever it comes by must show that it has the focus.
func (tb *tab) walk(to string) (passed []string) {
	tb.t.Helper()
	for range 200 {
		tb.press(kb.Tab)
		at := eval[string](tb, focused)
		passed = append(passed, at)
		if !eval[bool](tb, `getComputedStyle(document.activeElement).outlineStyle !== "none" && parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 1`) {
			tb.t.Errorf("%q does not show that it has the focus", at)
		}
		if at == to {
			return passed
		}
	}
	tb.t.Fatalf("the focus never comes to %q, but to %q", to, passed)
	return nil
}

func deletingByKeyboard(t *testing.T, s site, browser context.Context) {
	tb := newTab(t, browser, s.URL)
	tb.open("/")
	tb.walk("Skip to content")
	tb.press(kb.Enter)
	if at := eval[string](tb, "document.activeElement.id"); at != "main" {
		t.Errorf("skipping to the content leads to %q", at)
	}
	tb.open("/")
	if passed := tb.walk("Repositories"); passed[0] != "Skip to content" {
		t.Errorf("the first stop is %q", passed[0])
	}
	tb.goes(chromedp.KeyEvent(kb.Enter))
	tb.shortcut("/")
	tb.do(chromedp.KeyEvent("team/app"))
	tb.goes(chromedp.KeyEvent(kb.Enter))
	tb.walk("team/app")
	tb.goes(chromedp.KeyEvent(kb.Enter))
	tb.walk("Delete tag doomed")
	tb.press(kb.Enter)
	tb.scheme("light")
	tb.axe("")
	tb.shot("delete-light")
	tb.size(phone, 844) // there the form covers nothing
	tb.axe("color-contrast")
	tb.size(wide, high)
	tb.walk("Delete tag doomed") // the button behind the words that warn
	tb.goes(chromedp.KeyEvent(kb.Enter))
	text := eval[string](tb, `document.querySelector("main").innerText`)
	if !strings.Contains(eval[string](tb, `document.querySelector("main [role=status]").innerText`), "doomed") || strings.Contains(text, "pull doomed") || !strings.Contains(text, "v2.4.1") {
		t.Errorf("after the deletion:\n%s", text)
	}
	tb.shot("deleted-light")
	for ref, want := range map[string]int{"doomed": http.StatusNotFound, "v2.4.1": http.StatusOK} {
		resp, err := http.Head(s.URL + "/v2/team/app/manifests/" + ref)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", ref, resp.Status)
		}
	}
}

func deletingWithoutScript(t *testing.T, s site, browser context.Context) {
	tb := newTab(t, browser, s.URL)
	tb.do(call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	tb.open("/ui/repositories")
	tb.do(chromedp.SendKeys(chromedp.ID("q"), "team/app"))
	tb.goes(chromedp.Click(chromedp.CSS(".filter button")))
	tb.goes(chromedp.Click(chromedp.CSS(`tbody a`)))
	if n := eval[int](tb, `[...document.querySelectorAll("button.copy")].filter(b => b.offsetParent).length`); n > 0 {
		t.Errorf("%d buttons are there that do nothing", n)
	}
	tb.do(chromedp.Click(chromedp.CSS("details summary")))
	tb.goes(chromedp.Click(chromedp.CSS("details[open] button")))
	if text := eval[string](tb, `document.querySelector("main").innerText`); !strings.Contains(text, "Deleted: ") {
		t.Errorf("after the deletion:\n%s", text)
	}
}

func copying(t *testing.T, s site, browser context.Context) {
	// Browsers have the clipboard's interface for pages from loopback, and not for pages without TLS from elsewhere.
	for _, host := range []string{"127.0.0.1", corp} {
		t.Run(host, func(t *testing.T) {
			base := strings.Replace(s.URL, "127.0.0.1", host, 1)
			tb := newTab(t, browser, base)
			tb.allowClipboard()
			tb.open("/ui/images/team/app:v2.4.1")
			if got, want := eval[bool](tb, "isSecureContext"), host != corp; got != want {
				t.Fatalf("a secure context: %v", got)
			}
			tb.do(chromedp.Click(chromedp.CSS(".pulls button.copy")))
			tb.until(`document.getElementById("said").textContent === "Copied"`)
			if at := eval[string](tb, focused); !strings.HasPrefix(at, "Copied") {
				t.Errorf("the focus went from the button to %q", at)
			}
			tb.shot("copied-" + host)
			tb.until(`document.querySelector(".pulls button.copy").innerText.startsWith("Copy") && document.getElementById("said").textContent === ""`)
			reader := newTab(t, browser, s.URL)
			reader.allowClipboard()
			reader.open("/")
			want := "docker pull " + strings.TrimPrefix(base, "http://") + "/team/app:v2.4.1"
			if got := eval[string](reader, "navigator.clipboard.readText()"); got != want {
				t.Errorf("copied %q, want %q", got, want)
			}
		})
	}
}
