package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

const repo = "library/app"

// BenchmarkWarm compares the servers when they have everything: each bound to one processor, the load to another, turn by
// turn so that what else the machine does meets all alike.
func BenchmarkWarm(b *testing.B) {
	need(b)
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{2500, 1<<20 - 4096, 100 << 20}})
	peers := warmPeers(b, img)
	for _, w := range []struct {
		work   string
		path   string
		load   func(*testing.B, string) load
		target float64
	}{
		{"manifest by tag, 64 connections", manifestPath(repo, "1"), requests(), 1.2},
		{"4 KiB blob, 64 connections", blobPath(repo, img.Layers[0].Digest), requests(), 1},
		{"1 MiB blob, 64 connections", blobPath(repo, img.Layers[1].Digest), transfers(64), 1},
		{"100 MiB blob, 8 connections", blobPath(repo, img.Layers[2].Digest), transfers(8), 1.25},
	} {
		b.Run(w.work, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			results.addWarm("warm "+w.work, compare(b, peers, w.path, w.load), w.target)
		})
	}
}

func warmPeers(b *testing.B, img fakehub.Image) []peer {
	b.Helper()
	hub := fakehub.New(b, fakehub.Options{NoAuth: true, NoRedirect: true})
	hub.Repo(repo).AddImage(img, "1")
	root := b.TempDir()
	layOut(b, root, "1", img)
	ours, _ := newEntrepot(b, serverCore, hub, map[string]string{"TAG_TTL": "1h"})
	host := distribution(b, serverCore, nil)
	host.push(b, "1", img)
	peers := []peer{
		ours,
		nginxStatic(b, serverCore, nginx, root, "", ""),
		nginxStatic(b, serverCore, nginxTuned, root, "reuseport", "sendfile_max_chunk 0;"),
		host,
		distribution(b, serverCore, hub),
	}
	for _, p := range peers {
		for range 2 { // the memory tier shows an object only some time after it was set
			if _, err := p.pull(b.Context(), "1", img); err != nil {
				b.Fatalf("%s: %v", p.name, err)
			}
		}
	}
	return peers
}

// load is what a server has done in one turn.
type load struct {
	requests, bytes int64
	elapsed, cpu    time.Duration
}

// compare asks each server for a path, several turns, and gives the median turn of each by its rate.
func compare(b *testing.B, peers []peer, path string, run func(*testing.B, string) load) map[string]load {
	b.Helper()
	return takeTurns(b, peers, full(7, 3), func(p peer) load { return run(b, p.url+path) })
}

// takeTurns runs each peer's work in each round, and gives the median turn of each by its rate.
func takeTurns(b *testing.B, peers []peer, rounds int, run func(peer) load) map[string]load {
	b.Helper()
	turns := map[string][]load{}
	for i := range rounds {
		first := i % len(peers) // everybody is the first once
		for _, p := range slices.Concat(peers[first:], peers[:first]) {
			var l load
			before := used(b, p.pid)
			p.profiled(b, i, turn, func() { l = run(p) })
			l.cpu = used(b, p.pid) - before
			turns[p.name] = append(turns[p.name], l)
		}
	}
	middle := map[string]load{}
	for name, all := range turns {
		slices.SortFunc(all, func(x, y load) int { return cmp.Compare(x.rate(), y.rate()) })
		middle[name] = all[len(all)/2]
	}
	return middle
}

// addWarm adds a row. The ratio is of the rates; beside it stands how much more processor time stock nginx took.
func (t *table) addWarm(work string, loads map[string]load, target float64) {
	r := row{workColumn: work}
	for name, l := range loads {
		r[name] = l.String()
	}
	r.atLeast(loads[entrepot].rate()/loads[nginx].rate(), target, "%.2f")
	r[verdict] += fmt.Sprintf(" (processor: %.2f)", loads[nginx].cost()/loads[entrepot].cost())
	t.add(r)
}

var turn = full(5*time.Second, 2*time.Second)

var (
	wrkTotal = regexp.MustCompile(`(\d+) requests in ([\d.]+)s`)
	wrkBad   = regexp.MustCompile(`Non-2xx or 3xx responses: \d+`)
)

// requests asks by wrk, which costs least for many small answers. header are lines that it sends beside its own.
func requests(header ...string) func(*testing.B, string) load {
	args := []string{"-t1", "-c64", "-d" + turn.String(), "-H", "Accept: " + ocispec.MediaTypeImageManifest}
	for _, line := range header {
		args = append(args, "-H", line)
	}
	return func(b *testing.B, url string) load {
		b.Helper()
		out := onLoadCore(b, exec.Command("wrk", append(args, url)...))
		total := wrkTotal.FindSubmatch(out)
		if total == nil || wrkBad.Match(out) {
			b.Fatalf("wrk of %s: %s", url, out)
		}
		n, _ := strconv.ParseInt(string(total[1]), 10, 64)
		s, _ := strconv.ParseFloat(string(total[2]), 64)
		return load{requests: n, elapsed: time.Duration(s * float64(time.Second))}
	}
}

// transfers asks by the load generator of this folder, which costs least for large answers.
func transfers(connections int) func(*testing.B, string) load {
	return func(b *testing.B, url string) load {
		b.Helper()
		out := onLoadCore(b, exec.Command(loadProgram(b), "-connections", strconv.Itoa(connections), "-duration", turn.String(), url))
		var total struct {
			Bytes, Whole int64
			Seconds      float64
		}
		if err := json.Unmarshal(out, &total); err != nil || total.Bytes == 0 {
			b.Fatalf("load of %s: %v: %s", url, err, out)
		}
		return load{total.Whole, total.Bytes, time.Duration(total.Seconds * float64(time.Second)), 0}
	}
}

func onLoadCore(b *testing.B, cmd *exec.Cmd) []byte {
	b.Helper()
	var out []byte
	var err error
	onCore(b, loadCore, func() { out, err = cmd.CombinedOutput() })
	if err != nil {
		b.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return out
}

// loadProgram builds the load generator.
func loadProgram(b *testing.B) string {
	b.Helper()
	program := filepath.Join(server.Root(), "e2e", "out", "load")
	if out, err := exec.Command("go", "build", "-o", program, "./load").CombinedOutput(); err != nil {
		b.Fatalf("build the load generator: %v\n%s", err, out)
	}
	return program
}

// String is "91000 req/s, 9.8 µs" for small answers and "4.10 GB/s, 0.21 s/GB" for large ones; the second is processor time.
func (l load) String() string {
	if l.bytes == 0 {
		return fmt.Sprintf("%.0f req/s, %.1f µs", l.rate(), l.cost()*1e6)
	}
	return fmt.Sprintf("%.2f GB/s, %.3f s/GB", l.rate()/1e9, l.cost()*1e9)
}

// rate is requests or bytes in a second.
func (l load) rate() float64 { return float64(l.work()) / l.elapsed.Seconds() }

// cost is the server's processor seconds for a request or a byte.
func (l load) cost() float64 { return l.cpu.Seconds() / float64(l.work()) }

func (l load) work() int64 {
	if l.bytes > 0 {
		return l.bytes
	}
	return l.requests
}
