package page

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

const crowd = 10_000

func crowdName(i int) string { return fmt.Sprintf("team-%02d/service-%04d", i%40, i) }

// crowd gives a stopped server ten thousand repositories that are like one that was pulled.
func (s site) crowd(t *testing.T) {
	t.Helper()
	s.hub.Repo("model/app").AddImage(fakehub.NewImage(fakehub.Spec{Layers: []int64{kib}, Seed: 9}), "1")
	s.get(t, "/v2/model/app/manifests/1")
	s.Stop()
	root := filepath.Join(s.Data, "objects", "cache")
	records := map[string][]byte{} // of the model that lists need, by their paths
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(path, "model!app") && !strings.Contains(path, "/seen/") {
			records[path], err = os.ReadFile(path)
		}
		return err
	}); err != nil || len(records) < 2 {
		t.Fatalf("the records of a pull are %d, %v", len(records), err)
	}
	for i := range crowd {
		for path, record := range records {
			copied := strings.Replace(path, "model!app", strings.ReplaceAll(crowdName(i), "/", "!"), 1)
			if err := errors.Join(os.MkdirAll(filepath.Dir(copied), 0o755), os.WriteFile(copied, record, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Start()
}

func TestTenThousandRepositories(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.crowd(t)
	tb := newTab(t, newBrowser(t), s.URL)
	seen := map[string]bool{}
	tb.open("/ui/repositories")
	tb.looksRight("crowd")
	for range 3 {
		for _, name := range eval[[]string](tb, `[...document.querySelectorAll("tbody th a")].map(a => a.textContent)`) {
			if seen[name] {
				t.Errorf("%s is listed twice", name)
			}
			seen[name] = true
		}
		tb.goes(chromedp.Click(chromedp.CSS("a[rel=next]")))
	}
	if len(seen) != 3*50 {
		t.Errorf("%d repositories on three pages", len(seen))
	}
	tb.goes(chromedp.Click(chromedp.CSS("a[rel=prev]")))
	last := crowdName(crowd - 1)
	tb.shortcut("/")
	tb.do(chromedp.KeyEvent(last[len("team-00/"):]))
	tb.goes(chromedp.KeyEvent("\r"))
	if found := eval[string](tb, `document.querySelector("tbody").innerText`); !strings.Contains(found, last) || eval[int](tb, `document.querySelectorAll("tbody tr").length`) != 1 {
		t.Errorf("searched for %s, found:\n%s", last, found)
	}
	t.Logf("the first page came after %.0f ms", eval[float64](tb, `performance.getEntriesByType("navigation")[0].responseEnd`))
}
