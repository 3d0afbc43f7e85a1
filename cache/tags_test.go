package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage/storagetest"
	"github.com/opencontainers/go-digest"
)

var causes = []Cause{CauseLimited, CauseTimeout, CauseFailed, CauseOpen, CauseCredential}

func TestOutage(t *testing.T) {
	for name, memory := range memorySizes {
		for _, c := range causes {
			t.Run(name+": "+string(c), func(t *testing.T) {
				o := newOffice(t, memory)
				up := newFakeManifests(nginx)
				man := up.push("latest", "1")
				o.wantGet(up, "latest", man)
				o.clock.advance(time.Hour)
				up.fail(outage(c), outage(c))
				up.asked()

				a := o.wantGet(up, "latest", man)
				wantWarning(t, a.Warning)
				wantWarning(t, o.wantHead(up, "latest", man))
				if a := o.wantGet(up, string(man.Digest), man); a.Warning != "" {
					t.Errorf("a digest cannot be stale: %s", a.Warning)
				}
				up.wantAsked(t, 1, 0) // and then stale at once
				if got := o.events.count("docker.io", string(c)); got != 2 {
					t.Errorf("%d stale answers counted, want 2", got)
				}

				o.wantGetError(up, "other", up.headErr)
				o.wantGetError(up, "sha256:"+strings.Repeat("0", 64), up.getErr)

				o.clock.advance(10 * time.Second)
				up.fail(nil, nil)
				next := up.push("latest", "2")
				if a := o.wantGet(up, "latest", next); a.Warning != "" {
					t.Errorf("a fresh answer warns: %s", a.Warning)
				}
			})
		}
	}
}

func wantWarning(t *testing.T, text string) {
	t.Helper()
	if text == "" || len(text) > 200 || strings.ContainsAny(text, "\r\n\"\\") || !strings.Contains(text, "last checked 2026-11-21T06:0") {
		t.Errorf("warning %q", text)
	}
}

func TestWarningIsAlwaysOneShortLine(t *testing.T) {
	hostile := strings.Repeat("a\r\n\"\\ü", 100)
	for _, c := range append(causes, "unheard of") {
		text := warning(hostile, outage(c), "last checked "+time.Time{}.Format(time.RFC3339))
		if len(text) > 200 || strings.ContainsAny(text, "\r\n\"\\") {
			t.Errorf("%s: %q", c, text)
		}
	}
	if cause(errors.New("x")) != CauseFailed {
		t.Error("an unknown error is no failure")
	}
}

func TestRestartDuringOutage(t *testing.T) {
	for name, memory := range memorySizes {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, memory)
			up := newFakeManifests(nginx)
			man := up.push("latest", "1")
			o.wantGet(up, "latest", man)
			up.fail(outage(CauseFailed), outage(CauseFailed))
			up.asked()
			o.restart(memory)
			if a := o.wantGet(up, "latest", man); a.Warning != "" {
				t.Errorf("fresh, but: %s", a.Warning)
			}
			o.wantGet(up, string(man.Digest), man)
			o.wantHead(up, string(man.Digest), man)
			up.wantAsked(t, 0, 0)
			o.clock.advance(time.Hour)
			o.restart(memory)
			wantWarning(t, o.wantGet(up, "latest", man).Warning)
		})
	}
}

func TestPatience(t *testing.T) {
	for _, c := range []struct {
		name       string
		negative   time.Duration
		retryAfter time.Duration
		want       time.Duration
	}{
		{"at least two seconds", 0, 0, 2 * time.Second},
		{"the negative lifetime", 10 * time.Second, 0, 10 * time.Second},
		{"what upstream wishes", 10 * time.Second, 30 * time.Second, 30 * time.Second},
		{"but not more than a minute", 10 * time.Second, time.Hour, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &Manifests{o: ManifestOptions{NegativeTTL: c.negative}}
			err := fmt.Errorf("get: %w", &UnavailableError{Cause: CauseLimited, RetryAfter: c.retryAfter})
			if got := m.patience(err); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestAnswersRemoveTheTag(t *testing.T) {
	for _, answer := range []error{ErrNotFound, ErrDenied} {
		for name, memory := range memorySizes {
			t.Run(name+": "+answer.Error(), func(t *testing.T) {
				o := newOffice(t, memory)
				up := newFakeManifests(nginx)
				man := up.push("latest", "1")
				o.wantGet(up, "latest", man)
				o.clock.advance(time.Minute)
				up.fail(answer, answer)
				up.asked()

				o.wantGetError(up, "latest", answer)
				if got := o.tagOnDisk(nginx, "latest"); got != "" {
					t.Errorf("the tag record still names %s", got)
				}
				up.fail(nil, nil)
				o.wantGetError(up, "latest", answer) // remembered
				up.wantAsked(t, 1, 0)
				o.wantGet(up, string(man.Digest), man) // what was seen stays

				o.clock.advance(10 * time.Second)
				o.wantGet(up, "latest", man)
				up.wantAsked(t, 1, 0)
			})
		}
	}
}

func TestMissingDigestIsRemembered(t *testing.T) {
	o := newOffice(t, 1<<20)
	up := newFakeManifests(nginx)
	man := newFakeManifests(nginx).push("", "1")
	o.wantGetError(up, string(man.Digest), ErrNotFound)
	o.wantGetError(up, string(man.Digest), ErrNotFound)
	if _, _, _, err := o.manifests.Resolve(t.Context(), up, string(man.Digest)); !errors.Is(err, ErrNotFound) {
		t.Errorf("head: %v", err)
	}
	up.wantAsked(t, 0, 1)
	up.push("", "1")
	o.clock.advance(10 * time.Second)
	o.wantHead(up, string(man.Digest), man)
	o.wantGet(up, string(man.Digest), man)
	up.wantAsked(t, 1, 1)
}

func TestOutageAfterAnAnswerServesNothing(t *testing.T) {
	o := newOffice(t, 1<<20)
	up := newFakeManifests(nginx)
	o.wantGet(up, "latest", up.push("latest", "1"))
	o.clock.advance(time.Minute)
	up.fail(ErrNotFound, nil)
	o.wantGetError(up, "latest", ErrNotFound)
	up.fail(outage(CauseFailed), nil)
	o.clock.advance(time.Minute)
	o.wantGetError(up, "latest", up.headErr)
}

// A client's HEAD finds that the tag has moved. Nothing is fetched for it, and until somebody asks for the new manifest
// the tag's record names the old one.
func TestHeadOfMovedTag(t *testing.T) {
	for name, memory := range memorySizes {
		moved := func(t *testing.T) (*office, *fakeManifests, Manifest, Manifest) {
			o := newOffice(t, memory)
			up := newFakeManifests(nginx)
			old := up.push("latest", "1")
			o.wantGet(up, "latest", old)
			o.clock.advance(time.Minute)
			next := up.push("latest", "2")
			up.asked()
			o.wantHead(up, "latest", next)
			o.wantHead(up, "latest", next)
			up.wantAsked(t, 1, 0)
			if got := o.tagOnDisk(nginx, "latest"); got != old.Digest {
				t.Fatalf("the record names %s before the manifest is stored", got)
			}
			return o, up, old, next
		}
		t.Run(name+": a GET by digest completes it", func(t *testing.T) {
			o, up, _, next := moved(t)
			o.wantGet(up, string(next.Digest), next)
			o.wantGet(up, "latest", next)
			up.wantAsked(t, 0, 1)
			up.fail(outage(CauseFailed), outage(CauseFailed))
			o.restart(memory)
			o.wantGet(up, "latest", next)
			up.wantAsked(t, 0, 0)
		})
		t.Run(name+": a GET by tag completes it", func(t *testing.T) {
			o, up, _, next := moved(t)
			o.wantGet(up, "latest", next)
			up.wantAsked(t, 0, 1)
			if got := o.tagOnDisk(nginx, "latest"); got != next.Digest {
				t.Errorf("the record names %s", got)
			}
		})
		t.Run(name+": an outage of the GET by digest takes it back", func(t *testing.T) {
			o, up, old, next := moved(t)
			up.fail(nil, outage(CauseLimited)) // as Docker Hub does: GETs are limited, HEADs are not
			o.wantGetError(up, string(next.Digest), up.getErr)
			wantWarning(t, o.wantHead(up, "latest", old))
			wantWarning(t, o.wantGet(up, "latest", old).Warning)
			up.wantAsked(t, 0, 1)
			o.clock.advance(10 * time.Second)
			up.fail(nil, nil)
			o.wantGet(up, "latest", next)
		})
		t.Run(name+": an outage of the GET by tag serves the old manifest", func(t *testing.T) {
			o, up, old, _ := moved(t)
			up.fail(nil, outage(CauseLimited))
			wantWarning(t, o.wantGet(up, "latest", old).Warning)
			wantWarning(t, o.wantHead(up, "latest", old))
			up.wantAsked(t, 0, 1)
		})
		t.Run(name+": a restart forgets it", func(t *testing.T) {
			o, up, old, _ := moved(t)
			up.fail(outage(CauseFailed), outage(CauseFailed))
			o.restart(memory)
			wantWarning(t, o.wantGet(up, "latest", old).Warning)
		})
		t.Run(name+": two tags move together", func(t *testing.T) {
			o, up, _, next := moved(t)
			up.push("2", "2")
			o.wantHead(up, "2", next)
			o.wantGet(up, string(next.Digest), next)
			up.asked()
			o.wantGet(up, "2", next)
			o.wantGet(up, "latest", next)
			up.wantAsked(t, 0, 0)
		})
	}
}

func TestDisagreeingReplicasAreAskedPlainly(t *testing.T) {
	o := newOffice(t, 1<<20)
	up := newFakeManifests(nginx)
	man := up.push("latest", "1")
	gone := newFakeManifests(nginx).push("", "gone")
	lying := &lyingHead{fakeManifests: up, digest: gone}
	a, err := o.get(lying, "latest")
	if err != nil || a.Manifest.Digest != man.Digest {
		t.Fatalf("%+v, %v", a, err)
	}
	up.wantAsked(t, 1, 2)
	o.wantGet(up, "latest", man)
	up.wantAsked(t, 0, 0)
}

func TestTagWithoutItsManifest(t *testing.T) {
	o := newOffice(t, 0)
	up := newFakeManifests(nginx)
	man := up.push("latest", "1")
	o.wantGet(up, "latest", man)
	drop := func() {
		if err := o.store.Delete(t.Context(), manifestKey(man.Digest)); err != nil {
			t.Fatal(err)
		}
		up.asked()
	}
	drop()
	o.wantGet(up, "latest", man)
	up.wantAsked(t, 1, 1)
	drop()
	up.fail(outage(CauseFailed), outage(CauseFailed))
	o.wantGetError(up, "latest", up.headErr) // fresh or stale, it promises nothing that cannot be served
	if _, _, _, err := o.manifests.Resolve(t.Context(), up, "latest"); !IsOutage(err) {
		t.Errorf("head: %v", err)
	}
}

func TestRecordFromTheFutureIsNotFresh(t *testing.T) {
	o := newOffice(t, 0)
	up := newFakeManifests(nginx)
	man := up.push("latest", "1")
	o.wantGet(up, "latest", man)
	up.asked()
	o.clock.advance(-time.Hour)
	o.wantGet(up, "latest", man)
	up.wantAsked(t, 1, 0)
}

func TestLifetimeOfZeroAsksEveryTime(t *testing.T) {
	for name, memory := range memorySizes {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, memory, func(o *office) { o.options.TTLs = TTLs{} })
			up := newFakeManifests(nginx)
			man := up.push("latest", "1")
			o.wantGet(up, "latest", man)
			up.wantAsked(t, 1, 1)
			o.wantGet(up, "latest", man)
			up.wantAsked(t, 1, 0)
			next := up.push("latest", "2")
			o.wantHead(up, "latest", next)
			o.wantGet(up, string(next.Digest), next)
			if got := o.tagOnDisk(nginx, "latest"); got != next.Digest {
				t.Errorf("the record names %s", got)
			}
		})
	}
}

func TestOutageThatIsOverIsForgotten(t *testing.T) {
	o := newOffice(t, 0, func(o *office) { o.options.TTLs = TTLs{} })
	up := newFakeManifests(nginx)
	man := up.push("latest", "1")
	up.fail(nil, outage(CauseLimited))
	o.wantGetError(up, "latest", up.getErr)
	up.fail(nil, nil)
	for range 2 {
		if a := o.wantGet(up, "latest", man); a.Warning != "" {
			t.Errorf("warns: %s", a.Warning)
		}
	}
}

// A full disk takes no records, and memory serves what it has.
func TestFullDisk(t *testing.T) {
	o := newOffice(t, 1<<20, func(o *office) {
		o.store = storagetest.Slow(o.store, func(_ context.Context, op storagetest.Op, _ string) error {
			if op == storagetest.Put {
				return syscall.ENOSPC
			}
			return nil
		})
	})
	up := newFakeManifests(nginx)
	man := up.push("latest", "1")
	o.wantGet(up, "latest", man)
	up.wantAsked(t, 1, 1)
	o.clock.advance(time.Minute)
	o.wantGet(up, "latest", man)
	up.wantAsked(t, 1, 0)
	up.fail(outage(CauseFailed), outage(CauseFailed))
	o.clock.advance(2 * usedAgain)
	wantWarning(t, o.wantGet(up, "latest", man).Warning)
	o.wantGet(up, string(man.Digest), man)
}

func TestASilentUpstreamDoesNotKeepAStaleAnswerWaiting(t *testing.T) {
	o := newOffice(t, 1<<20)
	up := newFakeManifests(Repo{"docker.io", "library/x"})
	old := up.push("latest", "old")
	o.wantGet(up, "latest", old)
	up.asked()

	o.clock.advance(time.Hour)
	moved := up.push("latest", "moved")
	up.mu.Lock()
	up.wait = make(chan struct{}) // from now on it says nothing
	up.mu.Unlock()
	for range 3 {
		if a := o.wantGet(up, "latest", old); a.Warning == "" {
			t.Error("the stale answer carries no warning")
		}
	}
	if got := o.events.count("docker.io", string(CauseTimeout)); got != 3 {
		t.Errorf("%d stale answers were counted, want 3", got)
	}
	close(up.wait) // the one question that is still open is answered
	for {
		if a, err := o.get(up, "latest"); err == nil && a.Manifest.Digest == moved.Digest {
			break
		}
	}
	up.wantAsked(t, 1, 1)
}

func TestPurgeOfADigestThatATagNeeds(t *testing.T) {
	o := newOffice(t, 1<<20)
	up := newFakeManifests(Repo{"docker.io", "library/x"})
	layer := digest.FromString("layer")
	up.pushBytes("latest", fmt.Appendf(nil, `{"layers":[{"digest":%q}]}`, layer))
	if _, err := o.get(up, "latest"); err != nil {
		t.Fatal(err)
	}
	o.seen.Add(t.Context(), up.repo, layer, "", 5)
	var dropped []digest.Digest
	if _, err := o.manifests.Purge(t.Context(), up.repo, layer.String(), func(_ context.Context, d digest.Digest) error { dropped = append(dropped, d); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(dropped) != 1 || dropped[0] != layer {
		t.Errorf("dropped %v, want the layer that was named", dropped)
	}
}
