package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// BenchmarkTags lists the tags of one repository page by page.
func BenchmarkTags(b *testing.B) {
	need(b)
	tags := full(100_000, 10_000)
	ours, s := newEntrepot(b, serverCore, fakehub.New(b, near()), smallTier)
	tagMany(b, ours, tags)
	client, end := ours.client()
	defer end()
	for range 2 { // what the first listing makes the process keep is not growth
		listTags(b, client, ours, tags)
	}
	forgetPeak(b, ours.pid)
	before := s.RSS()
	var times []time.Duration
	for range full(5, 3) {
		times = append(times, listTags(b, client, ours, tags))
	}
	results.add(row{workColumn: fmt.Sprintf("%d tags listed in pages of 1000", tags), entrepot: seconds(slices.Min(times))})
	r := row{workColumn: "— memory at most, beyond what it was before", entrepot: mebibytes(s.PeakRSS() - before)}
	r.atMost(float64(s.PeakRSS()-before)/(1<<20), 8, "%.0f MiB")
	results.add(r)
}

// tagMany points so many tags to one manifest, fifty with each push.
func tagMany(b *testing.B, p peer, tags int) {
	b.Helper()
	m := fakehub.NewManifest(ocispec.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"mediaType":"`+ocispec.MediaTypeImageIndex+`","manifests":[]}`))
	var group errgroup.Group
	group.SetLimit(8)
	const batch = 50
	for first := 0; first < tags; first += batch {
		query := url.Values{}
		for i := range batch {
			query.Add("tag", fmt.Sprintf("build-%06d", first+i))
		}
		group.Go(func() error {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPut, p.url+manifestPath(pushed, m.Digest.String())+"?"+query.Encode(), strings.NewReader(string(m.Bytes)))
			if err != nil {
				return err
			}
			req.Header.Set("Content-Type", m.MediaType)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusCreated {
				return fmt.Errorf("push with tags: %s, %v: %s", resp.Status, err, text)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

// listTags follows the links from page to page.
func listTags(b *testing.B, client *http.Client, p peer, want int) time.Duration {
	b.Helper()
	began, n := time.Now(), 0
	for next := "/v2/" + pushed + "/tags/list?n=1000"; next != ""; {
		resp, err := client.Get(p.url + next)
		if err != nil {
			b.Fatal(err)
		}
		var page struct{ Tags []string }
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil || len(page.Tags) == 0 || len(page.Tags) > 1000 {
			b.Fatalf("a page of %d tags: %s, %v", len(page.Tags), resp.Status, err)
		}
		n += len(page.Tags)
		next, _, _ = strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	}
	if n != want {
		b.Fatalf("%d tags are listed, want %d", n, want)
	}
	return time.Since(began)
}

// forgetPeak makes VmHWM begin anew, from what is resident now (clear_refs of proc(5)).
func forgetPeak(b *testing.B, pid int) {
	b.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}
