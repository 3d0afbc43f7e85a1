package cache

import (
	"testing"
	"time"
)

func TestStaleWhileRevalidate(t *testing.T) {
	window := func(o *office) { o.options.StaleWhileRevalidate = time.Hour }
	prepare := func(t *testing.T) (*office, *fakeManifests, Manifest, Manifest) {
		o := newOffice(t, 1<<20, window)
		up := newFakeManifests(nginx)
		old := up.push("latest", "1")
		o.wantGet(up, "latest", old)
		next := up.push("latest", "2")
		o.clock.advance(time.Minute)
		up.asked()
		return o, up, old, next
	}
	t.Run("the old answer comes at once, the new one next", func(t *testing.T) {
		o, up, old, next := prepare(t)
		up.wait = make(chan struct{})
		if a := o.wantGet(up, "latest", old); a.Warning != "" {
			t.Errorf("warns: %s", a.Warning)
		}
		o.wantHead(up, "latest", old)
		close(up.wait)
		o.manifests.flights.running.Wait()
		o.settle()
		up.wantAsked(t, 1, 1)
		o.wantGet(up, "latest", next)
		up.wantAsked(t, 0, 0)
	})
	t.Run("without budget somebody has to wait", func(t *testing.T) {
		o, up, _, next := prepare(t)
		up.notSpare = true
		o.wantGet(up, "latest", next)
	})
	t.Run("after the window somebody has to wait", func(t *testing.T) {
		o, up, _, next := prepare(t)
		o.clock.advance(time.Hour)
		o.wantGet(up, "latest", next)
	})
	t.Run("an outage is told once it is known", func(t *testing.T) {
		o, up, old, _ := prepare(t)
		up.fail(outage(CauseFailed), nil)
		o.wantGet(up, "latest", old)
		o.manifests.flights.running.Wait()
		wantWarning(t, o.wantGet(up, "latest", old).Warning)
	})
	t.Run("closing ends a check under way", func(t *testing.T) {
		o, up, old, _ := prepare(t)
		up.wait = make(chan struct{})
		o.wantGet(up, "latest", old)
		o.manifests.Close()
	})
}
