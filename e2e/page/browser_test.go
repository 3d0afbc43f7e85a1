// Package page looks at the web page in a real Chromium, as people do: by mouse, by keyboard, in both color schemes, wide and
// narrow. E2E_SHOTS=FOLDER writes what it looks like.
package page

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/entrepot/entrepot/e2e/tools"
)

const (
	wide, high = 1440, 900
	phone      = 390
)

// corp is a name that leads here, and a site that browsers trust less than loopback.
const corp = "cache.corp"

// newBrowser runs a Chromium with a profile of its own until the test ends. Tabs come of its context.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	if err := tools.Debian(t.Context(), tools.ClientPackages()...); err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("host-resolver-rules", "MAP "+corp+" 127.0.0.1"),
		chromedp.Flag("no-proxy-server", true))
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, end = chromedp.NewContext(ctx)
	t.Cleanup(end)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return ctx
}

// tab is what pages are looked at in. Whatever is wrong with it fails the test at its end: messages in the console, requests to
// others, answers without the policy.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string // http://host:port

	mu     sync.Mutex // guards what the browser's events write
	asked  []string   // paths
	wrong  []string
	status int64 // of the last document
}

// newTab opens a tab that shares nothing with others.
func newTab(t *testing.T, ctx context.Context, base string) *tab {
	t.Helper()
	tb := &tab{t: t, base: base}
	ctx, end := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(tb.hear))
	t.Cleanup(end)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	tb.ctx = ctx
	t.Cleanup(func() { tb.report(t) })
	tb.do(call(network.Enable, network.EnableParams{}), call(log.Enable, cdp.Empty{}))
	tb.size(wide, high)
	return tb
}

// report fails a test for what was wrong so far.
func (tb *tab) report(t *testing.T) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, w := range tb.wrong {
		t.Error(w)
	}
}

// call is a command of the browser as a step.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

// hear is told what the browser does.
func (tb *tab) hear(event any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme+"://"+u.Host != tb.base {
			tb.wrong = append(tb.wrong, "the page asks "+e.Request.URL)
			return
		}
		tb.asked = append(tb.asked, u.RequestURI())
	case *network.EventResponseReceived:
		if e.Type == network.ResourceTypeDocument {
			tb.status = e.Response.Status
		}
		policy, _ := header(e.Response.Headers, "Content-Security-Policy").(string)
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			tb.wrong = append(tb.wrong, fmt.Sprintf("%s is sent with the policy %q", e.Response.URL, policy))
		}
	case *log.EventEntryAdded:
		if expected := fmt.Sprintf("status of %d", tb.status); tb.status >= 400 && strings.Contains(e.Entry.Text, expected) {
			return // of the document itself, which the test asked for
		}
		tb.wrong = append(tb.wrong, fmt.Sprintf("the browser logs: %s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
	case *runtime.EventConsoleAPICalled:
		tb.wrong = append(tb.wrong, fmt.Sprintf("the page writes to the console: %s", e.Type))
	case *runtime.EventExceptionThrown:
		tb.wrong = append(tb.wrong, "the script fails: "+e.ExceptionDetails.Text)
	}
}

func header(all network.Headers, name string) any {
	for key, value := range all {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return nil
}

// forgive forgets what was wrong so far and says: because is why it had to be.
func (tb *tab) forgive(because string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, w := range tb.wrong {
		tb.t.Logf("%s: %s", because, w)
	}
	tb.wrong = nil
}

// requests is how often a path was asked for.
func (tb *tab) requests(path string) int {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	n := 0
	for _, p := range tb.asked {
		if p == path {
			n++
		}
	}
	return n
}

func (tb *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	if err := chromedp.Do(tb.ctx, steps...); err != nil {
		tb.t.Fatal(err)
	}
}

// open shows a page and gives its status.
func (tb *tab) open(path string) int64 {
	tb.t.Helper()
	tb.do(chromedp.Navigate(tb.base + path))
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return tb.status
}

// eval gives the value of an expression, or of what it promises.
func eval[T any](tb *tab, expression string) T {
	tb.t.Helper()
	v, err := chromedp.Run(tb.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tb.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression to be true.
func (tb *tab) until(expression string) {
	tb.t.Helper()
	if _, err := chromedp.Run(tb.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		tb.t.Fatalf("wait for %s: %v\n%s", expression, err, eval[string](tb, "document.body.innerText"))
	}
}

// press types keys into whatever has the focus.
func (tb *tab) press(keys string) {
	tb.t.Helper()
	tb.do(chromedp.KeyEvent(keys))
}

// shortcut presses a key that the page may take for itself.
func (tb *tab) shortcut(key string) {
	tb.t.Helper()
	tb.do(call(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: key, Text: key}))
}

// goes does steps that lead to another page, and waits for it.
func (tb *tab) goes(steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	if _, err := chromedp.RunResponse(tb.ctx, steps...); err != nil {
		tb.t.Fatal(err)
	}
}

func (tb *tab) size(width, height int64) {
	tb.t.Helper()
	tb.do(chromedp.EmulateViewport(width, height))
}

// scheme is light or dark.
func (tb *tab) scheme(name string) {
	tb.t.Helper()
	tb.do(call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}}))
}

// allowClipboard lets the page write to the clipboard, and read it, as the browser would after a click.
func (tb *tab) allowClipboard() {
	tb.t.Helper()
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		if _, err := chromedp.CallBrowser(tb.ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted,
			BrowserContextID: chromedp.FromContext(tb.ctx).BrowserContextID,
		}); err != nil {
			tb.t.Fatal(err)
		}
	}
}

// shot writes what the page looks like, whole.
func (tb *tab) shot(name string) {
	tb.t.Helper()
	dir := os.Getenv("E2E_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(tb.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		tb.t.Fatal(err)
	}
}
