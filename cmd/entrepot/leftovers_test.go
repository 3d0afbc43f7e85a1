package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/storage/hosted"
)

// fakeLeftovers answers as a bucket does.
type fakeLeftovers func(age time.Duration) (int, error)

func (f fakeLeftovers) abortUploads(_ context.Context, age time.Duration) (int, error) { return f(age) }

// collectorOf is a server that collects once an hour, and whose log is given.
func collectorOf(in fakeLeftovers, log *strings.Builder) (u *upkeep, collections *int) {
	collections = new(int)
	u, _ = testUpkeep(&fakeHosted{collect: func(context.Context, hosted.CollectOptions) (hosted.CollectReport, error) {
		*collections++
		return hosted.CollectReport{}, nil
	}}, nil)
	u.leftovers.in = in
	u.log = slog.New(slog.NewTextHandler(log, nil))
	u.start(schedule{time.Minute, time.Hour}, schedule{}, 0)
	return u, collections
}

func TestWhoCollectsEndsUploadsOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		asked := 0
		u, _ := collectorOf(func(age time.Duration) (int, error) {
			if asked++; age != 7*24*time.Hour {
				t.Errorf("those older than %s are ended", age)
			}
			return asked, nil
		}, &log)
		time.Sleep(72 * time.Hour)
		u.stop()
		if asked != 3 {
			t.Errorf("looked for %d times in three days", asked)
		}
		if n := strings.Count(log.String(), "never completed"); n != 3 || !strings.Contains(log.String(), "uploads=3") {
			t.Errorf("told %d times in %s", n, &log)
		}
	})
}

func TestWhoMayNotEndUploadsCollectsAndTellsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		u, collections := collectorOf(func(time.Duration) (int, error) { return 0, errors.New("status 403, AccessDenied") }, &log)
		time.Sleep(72 * time.Hour)
		u.stop()
		if *collections != 72 || strings.Count(log.String(), "AccessDenied") != 1 || !strings.Contains(log.String(), "s3:ListBucketMultipartUploads") {
			t.Errorf("%d collections, %s", *collections, &log)
		}
	})
}

func TestOnlyOurUploadsOfTheBucketAreEnded(t *testing.T) {
	f := newFakeS3(t)
	b, err := openBucket(load(t, append(f.environment(), "DATA="+t.TempDir())...), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.s3.Close()
	var listed, ended []string
	f.fails(func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		switch {
		case r.Method == http.MethodGet && q.Has("uploads"):
			listed = append(listed, q.Get("prefix"))
			fmt.Fprint(w, "<ListMultipartUploadsResult>")
			for id, age := range map[string]time.Duration{"old": 8 * 24 * time.Hour, "young": 6 * 24 * time.Hour} {
				fmt.Fprintf(w, "<Upload><Key>%sa</Key><UploadId>%s</UploadId><Initiated>%s</Initiated></Upload>", q.Get("prefix"), id, time.Now().Add(-age).UTC().Format(time.RFC3339))
			}
			fmt.Fprint(w, "</ListMultipartUploadsResult>")
		case r.Method == http.MethodDelete && q.Has("uploadId"):
			ended = append(ended, r.URL.Path+" "+q.Get("uploadId"))
			w.WriteHeader(http.StatusNoContent)
		}
		return true
	})
	if n, err := b.abortUploads(t.Context(), leftoverAge); n != 2 || err != nil {
		t.Errorf("ended %d, %v", n, err)
	}
	if want := []string{"entrepot/one/hosted/", "entrepot/one/cache/"}; !slices.Equal(listed, want) {
		t.Errorf("listed %q", listed)
	}
	if want := []string{"/warehouse/entrepot/one/hosted/a old", "/warehouse/entrepot/one/cache/a old"}; !slices.Equal(ended, want) {
		t.Errorf("ended %q", ended)
	}
	f.fails(func(w http.ResponseWriter, _ *http.Request) bool {
		refuseS3(w, http.StatusForbidden, "AccessDenied")
		return true
	})
	if n, err := b.abortUploads(t.Context(), leftoverAge); n != 0 || err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("without permission: %d, %v", n, err)
	}
}
