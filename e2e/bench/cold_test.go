package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// far is an upstream as one meets it: so much for each connection, and so long until each answer begins.
func far() fakehub.Options {
	return fakehub.Options{Bandwidth: 25e6, Latency: 30 * time.Millisecond, NoAuth: true, NoRedirect: true}
}

// near is an upstream that is as fast as this machine.
func near() fakehub.Options { return fakehub.Options{NoAuth: true, NoRedirect: true} }

// smallTier makes the memory tier small, so that it does not hide what else takes memory.
const smallTierMiB = 32

var smallTier = map[string]string{"MEMORY_SIZE": fmt.Sprintf("%dMiB", smallTierMiB)}

// caches are the servers that pull through, each with nothing cached, on all processors.
func caches(b *testing.B, hub *fakehub.Hub) []peer {
	b.Helper()
	ours, _ := newEntrepot(b, anyCore, hub, smallTier)
	return []peer{upstream(b, hub), nginxProxy(b, hub), distribution(b, anyCore, hub), ours}
}

// BenchmarkCold compares the first pull of an image of three layers of 100 MiB.
func BenchmarkCold(b *testing.B) {
	need(b)
	tls, hubLike := far(), fakehub.Options{Bandwidth: 25e6, Latency: 30 * time.Millisecond}
	tls.TLS = true
	for _, c := range []struct {
		work    string
		options fakehub.Options
		peers   func(*testing.B, *fakehub.Hub) []peer
		turns   int
		target  func(times map[string]pulled, took, first row)
	}{
		{"25 MB/s a connection, 30 ms", far(), caches, full(5, 2), againstDirect},
		{"the same over TLS", tls, caches, full(5, 2), againstDirect},
		{"the same with tokens and redirects", hubLike, onlyOurs, full(5, 2), nil},
		{"uncapped", near(), caches, full(15, 7), againstNginx},
	} {
		b.Run(c.work, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			hub := fakehub.New(b, c.options)
			times, peaks := coldPulls(b, hub, c.peers(b, hub), c.turns)
			took, first := row{workColumn: "cold 300 MiB image, " + c.work}, row{workColumn: "— its first layer byte"}
			memory := row{workColumn: "— memory at most"}
			for name, t := range times {
				took[name], first[name] = seconds(t.took), seconds(t.firstLayer)
				if bytes, ok := peaks[name]; ok {
					memory[name] = mebibytes(bytes)
				}
			}
			if c.target != nil {
				c.target(times, took, first)
			}
			memory.atMost(float64(peaks[entrepot]>>20), smallTierMiB+64, "%.0f MiB")
			results.add(took)
			results.add(first)
			results.add(memory)
		})
	}
}

// onlyOurs is for where nobody else can: nginx gets no tokens, nor does distribution from another port of an IP address, and
// the client of these benchmarks wants none either.
func onlyOurs(b *testing.B, hub *fakehub.Hub) []peer {
	b.Helper()
	ours, _ := newEntrepot(b, anyCore, hub, smallTier)
	return []peer{ours}
}

func againstDirect(times map[string]pulled, took, first row) {
	took.atMost(times[entrepot].took.Seconds()/times[direct].took.Seconds(), 0.5, "%.2f")
	first.atMost(times[entrepot].firstLayer.Seconds()/times[direct].firstLayer.Seconds(), 1.1, "%.2f")
}

func againstNginx(times map[string]pulled, took, _ row) {
	took.atMost(times[entrepot].took.Seconds()/times[nginx].took.Seconds(), 1, "%.2f")
	took[verdict] += " of nginx"
}

// coldPulls pulls a new image through each peer, several turns. It gives each peer's fastest, which what else the machine did
// has disturbed least, and the memory that each took.
func coldPulls(b *testing.B, hub *fakehub.Hub, peers []peer, turns int) (map[string]pulled, map[string]int64) {
	b.Helper()
	took, first := map[string][]time.Duration{}, map[string][]time.Duration{}
	for turn := range turns {
		img := fakehub.NewImage(fakehub.Spec{Seed: uint64(turn), Layers: []int64{100 << 20, 100 << 20, 100 << 20}})
		tag := fmt.Sprint(turn)
		hub.Repo(repo).AddImage(img, tag)
		for _, p := range peers {
			unix.Sync() // nobody pays for what another one left to be written
			var t pulled
			var err error
			p.profiled(b, turn, time.Second, func() { t, err = p.pull(b.Context(), tag, img) })
			if err != nil {
				b.Fatalf("%s: %v", p.name, err)
			}
			took[p.name], first[p.name] = append(took[p.name], t.took), append(first[p.name], t.firstLayer)
		}
	}
	times, peaks := map[string]pulled{}, map[string]int64{}
	for _, p := range peers {
		times[p.name] = pulled{slices.Min(first[p.name]), slices.Min(took[p.name])}
		if p.pid != 0 {
			peaks[p.name] = peak(b, p.pid)
		}
	}
	return times, peaks
}
