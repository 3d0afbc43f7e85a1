package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage/hosted"
)

// fakeHosted and fakeCached are the parts that upkeep looks after, by what they shall do.
type fakeHosted struct {
	collect func(context.Context, hosted.CollectOptions) (hosted.CollectReport, error)
	verify  func(context.Context, hosted.VerifyOptions) (hosted.VerifyReport, error)
}

func (f *fakeHosted) Collect(ctx context.Context, o hosted.CollectOptions) (hosted.CollectReport, error) {
	return f.collect(ctx, o)
}

func (f *fakeHosted) Verify(ctx context.Context, o hosted.VerifyOptions) (hosted.VerifyReport, error) {
	return f.verify(ctx, o)
}

type fakeCached func(ctx context.Context, wait func(context.Context, int) error) (cache.VerifyReport, error)

func (f fakeCached) Verify(ctx context.Context, wait func(context.Context, int) error, _ func(cache.VerifyReport)) (cache.VerifyReport, error) {
	return f(ctx, wait)
}

// testUpkeep gives an upkeep whose metrics are in the registry.
func testUpkeep(h *fakeHosted, c fakeCached) (*upkeep, *prometheus.Registry) {
	r := prometheus.NewRegistry()
	u := newUpkeep(&stored{}, newCounts(r, nil), slog.New(slog.DiscardHandler))
	u.hosted, u.cached = h, c
	return u, r
}

func metric(t *testing.T, r *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (len(labels) == 0 || m.GetLabel()[0].GetValue() == labels[0]) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() // it is one of them
			}
		}
	}
	t.Fatalf("no metric %s %v", name, labels)
	return 0
}

// blocked waits for the end of its context, as what is stored does.
func blocked(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestCollectionInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var at []time.Duration
		var full []int
		fails := map[int]bool{0: true, 3: true}
		u, r := testUpkeep(&fakeHosted{collect: func(_ context.Context, o hosted.CollectOptions) (hosted.CollectReport, error) {
			n := len(at)
			at = append(at, time.Since(begun))
			if o.Full {
				full = append(full, n)
			}
			if o.DryRun || o.Grace >= 0 {
				t.Errorf("run %d is asked for %+v", n, o)
			}
			time.Sleep(10 * time.Minute) // as long as it takes
			if fails[n] {
				return hosted.CollectReport{}, errors.New("unreadable")
			}
			return hosted.CollectReport{}, nil
		}}, nil)
		u.start(schedule{time.Minute, time.Hour}, schedule{}, 0)
		time.Sleep(31 * time.Hour)
		u.stop()

		if len(at) != 27 || at[0] != time.Minute || at[1] != 71*time.Minute {
			t.Errorf("%d collections, the first at %v; want 27, after 1m, 1h11m", len(at), at[:2])
		}
		// 0 failed, so 1 is full again; 24 complete ones later comes the next.
		if len(full) != 3 || full[0] != 0 || full[1] != 1 || full[2] != 26 {
			t.Errorf("full were %v, want 0, 1 and 26", full)
		}
		if n := metric(t, r, "entrepot_hosted_collections_total", "failed"); n != 2 {
			t.Errorf("%v failures were counted, want 2", n)
		}
		time.Sleep(5 * time.Hour)
		if len(at) != 27 {
			t.Error("it collects after stop")
		}
	})
}

func TestScrubInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var at []time.Duration
		h := &fakeHosted{verify: func(ctx context.Context, o hosted.VerifyOptions) (hosted.VerifyReport, error) {
			at = append(at, time.Since(begun))
			return hosted.VerifyReport{}, o.Wait(ctx, 36<<20)
		}}
		u, r := testUpkeep(h, func(context.Context, func(context.Context, int) error) (cache.VerifyReport, error) {
			return cache.VerifyReport{Damaged: []string{"sha256:1", "sha256:2"}}, nil
		})
		c := load(t, "SCRUB_RATE=10KiB", "GC_INTERVAL=0")
		u.start(c.schedules())
		time.Sleep(27 * time.Hour)
		u.stop()
		// 36 MiB at 10 KiB a second are a little more than an hour: the second pass begins a day after the end of the first.
		if len(at) != 2 || at[0] != time.Hour || at[1] < 26*time.Hour || at[1] > 26*time.Hour+5*time.Minute {
			t.Errorf("passes began at %v", at)
		}
		if n := metric(t, r, "entrepot_cache_damaged_total"); n != 2 {
			t.Errorf("%v damaged blobs were counted, want 2", n)
		}
	})
}

func TestNothingIsDoneThatIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := testUpkeep(&fakeHosted{}, nil) // would panic
		c := load(t, "SCRUB_RATE=0", "GC_INTERVAL=0")
		u.start(c.schedules())
		time.Sleep(100 * time.Hour)
		u.stop()
	})
}

func TestStopEndsACollectionAndWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := 0
		u, r := testUpkeep(&fakeHosted{collect: func(ctx context.Context, _ hosted.CollectOptions) (hosted.CollectReport, error) {
			err := blocked(ctx)
			time.Sleep(time.Second) // what it has to finish
			ended++
			return hosted.CollectReport{}, err
		}}, nil)
		u.start(schedule{time.Minute, time.Hour}, schedule{}, 0)
		time.Sleep(2 * time.Minute)
		if _, err := u.collect(t.Context(), hosted.CollectOptions{}); !errors.As(err, new(errBusy)) {
			t.Errorf("a second collection: %v", err)
		}
		u.stop()
		if ended != 1 {
			t.Errorf("%d collections had ended when stop returned, want 1", ended)
		}
		if n := metric(t, r, "entrepot_hosted_collections_total", "failed"); n != 0 {
			t.Error("a collection that was cancelled counts as failed")
		}
		err := u.joined(t.Context(), func(context.Context) error { t.Error("something began after stop"); return nil })
		if !errors.Is(err, errStopping) {
			t.Errorf("got %v, want errStopping", err)
		}
	})
}

func TestRoundsOfTheCommand(t *testing.T) {
	first := hosted.CollectReport{Repositories: 3, Condemned: 2, Untagged: 1, Uploads: 4, Orphans: 1, Freed: 1, FreedBytes: 10, Started: time.Unix(1, 0), Took: time.Second}
	second := hosted.CollectReport{Repositories: 2, Condemned: 1, Freed: 2, FreedBytes: 300, Started: time.Unix(2, 0), Took: time.Second}
	both := hosted.CollectReport{Repositories: 2, Condemned: 1, Untagged: 1, Uploads: 4, Orphans: 1, Freed: 3, FreedBytes: 310, Started: time.Unix(1, 0), Took: 2 * time.Second}
	claimed := hosted.CollectReport{Repositories: 2}
	still := first
	still.Repositories = 2
	idle := hosted.CollectReport{Repositories: 3}
	for name, c := range map[string]struct {
		dry    bool
		finds  []hosted.CollectReport
		want   hosted.CollectReport
		rounds int
	}{
		"something was condemned": {false, []hosted.CollectReport{first, second}, both, 2},
		"what was stays":          {false, []hosted.CollectReport{first, claimed}, still, 2},
		"nothing was":             {false, []hosted.CollectReport{idle}, idle, 1},
		"a dry run":               {true, []hosted.CollectReport{first}, first, 1},
	} {
		t.Run(name, func(t *testing.T) {
			rounds := 0
			u, _ := testUpkeep(&fakeHosted{collect: func(_ context.Context, o hosted.CollectOptions) (hosted.CollectReport, error) {
				rounds++
				if o.DryRun != c.dry || o.Grace != time.Minute || !o.Full {
					t.Errorf("round %d is asked for %+v", rounds, o)
				}
				return c.finds[rounds-1], nil
			}}, nil)
			got, err := u.collectForCommand(t.Context(), hosted.CollectOptions{DryRun: c.dry, Grace: time.Minute})
			if err != nil || got != c.want || rounds != c.rounds {
				t.Errorf("%d rounds gave %+v, %v; want %d and %+v", rounds, got, err, c.rounds, c.want)
			}
		})
	}
}

func TestWhatCannotBeReadSparesNothingElse(t *testing.T) {
	unreadable := errors.New("unreadable")
	cached := 0
	h := &fakeHosted{verify: func(context.Context, hosted.VerifyOptions) (hosted.VerifyReport, error) {
		return hosted.VerifyReport{Blobs: 1}, unreadable
	}}
	u, _ := testUpkeep(h, func(context.Context, func(context.Context, int) error) (cache.VerifyReport, error) {
		cached++
		return cache.VerifyReport{Blobs: 2}, nil
	})
	got, err := u.verify(t.Context(), 0, func(verified) {})
	if !errors.Is(err, unreadable) || got.Hosted.Blobs != 1 || got.Cached.Blobs != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := u.verify(ctx, 0, func(verified) {}); err == nil || cached != 1 {
		t.Errorf("after the end of its context it went on: %v", err)
	}
}

func TestReadingKeepsToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := 0
		wait := paced(newLimit(1<<20), func(bytes int) { read += bytes })
		begun := time.Now()
		for _, bytes := range []int{0, 1, 4<<20 - 1, 7 << 20} {
			if err := wait(t.Context(), bytes); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("11 MiB at 1 MiB a second took %v, want 10s", took)
		}
		if read != 11<<20 {
			t.Errorf("%d bytes were counted", read)
		}
		begun = time.Now()
		unbound := paced(newLimit(0), func(int) {})
		if err := unbound(t.Context(), 1<<40); err != nil || time.Since(begun) != 0 {
			t.Errorf("without a limit: %v after %v", err, time.Since(begun))
		}
	})
}

func TestWhatIsReadIsCountedByKind(t *testing.T) {
	h := &fakeHosted{verify: func(ctx context.Context, o hosted.VerifyOptions) (hosted.VerifyReport, error) {
		return hosted.VerifyReport{}, o.Wait(ctx, 3)
	}}
	u, r := testUpkeep(h, func(ctx context.Context, wait func(context.Context, int) error) (cache.VerifyReport, error) {
		return cache.VerifyReport{}, wait(ctx, 5)
	})
	if _, err := u.verify(t.Context(), 0, func(verified) {}); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]float64{"hosted": 3, "cached": 5} {
		if got := metric(t, r, "entrepot_scrub_bytes_total", kind); got != want {
			t.Errorf("%s: %v bytes, want %v", kind, got, want)
		}
	}
	if n, err := testutil.GatherAndCount(r, "entrepot_scrub_bytes_total"); err != nil || n != 2 {
		t.Errorf("%d series, %v", n, err)
	}
}

func TestALargeBlobShowsLifeWhileItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHosted{verify: func(ctx context.Context, o hosted.VerifyOptions) (hosted.VerifyReport, error) {
			err := o.Wait(ctx, 30<<20)
			r := hosted.VerifyReport{Blobs: 1, Bytes: 30 << 20}
			o.Progress(r)
			return r, err
		}}
		u, _ := testUpkeep(h, func(ctx context.Context, wait func(context.Context, int) error) (cache.VerifyReport, error) {
			return cache.VerifyReport{Blobs: 1, Bytes: 20 << 20}, wait(ctx, 20<<20)
		})
		var was int64
		last := time.Now()
		got, err := u.verify(t.Context(), 1<<20, func(v verified) {
			read := v.Hosted.Bytes + v.Cached.Bytes
			if waited := time.Since(last); waited > 3*time.Second || read < was || v.Cached.Bytes > 0 && v.Hosted.Blobs != 1 {
				t.Errorf("told %+v after %v", v, waited)
			}
			was, last = read, time.Now()
		})
		if err != nil || was != 50<<20 || got.Hosted.Bytes != 30<<20 || got.Cached.Bytes != 20<<20 {
			t.Errorf("%d bytes were told of, and found %+v, %v", was, got, err)
		}
	})
}

func TestWhatIsDamagedIsKnownOnceEverythingWasRead(t *testing.T) {
	const name = "entrepot_hosted_damaged_contents"
	var failed error
	h := &fakeHosted{verify: func(context.Context, hosted.VerifyOptions) (hosted.VerifyReport, error) {
		return hosted.VerifyReport{Damaged: []string{"sha256:1", "sha256:2"}}, failed
	}}
	u, r := testUpkeep(h, func(context.Context, func(context.Context, int) error) (cache.VerifyReport, error) {
		return cache.VerifyReport{}, nil
	})
	failed = errors.New("unreadable")
	_, _ = u.verify(t.Context(), 0, func(verified) {})
	if n, err := testutil.GatherAndCount(r, name); err != nil || n != 0 {
		t.Errorf("%d series, %v, of what was not read", n, err)
	}
	failed = nil
	if _, err := u.verify(t.Context(), 0, func(verified) {}); err != nil {
		t.Fatal(err)
	}
	if n := metric(t, r, name); n != 2 {
		t.Errorf("%v, want 2", n)
	}
}
