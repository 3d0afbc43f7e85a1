package bench

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
)

// pushed is the repository that is pushed to. A name of one element is hosted.
const pushed = "app"

// BenchmarkPush compares the push of one blob with a loop that does no more than to write, hash and sync its bytes on the same
// file system. The servers and the loop are bound to one processor, the client to another.
func BenchmarkPush(b *testing.B) {
	need(b)
	size := full[int64](1<<30, 256<<20)
	ours, _ := newEntrepot(b, serverCore, fakehub.New(b, near()), smallTier)
	peers := []peer{{name: direct}, distribution(b, serverCore, nil), ours}
	dir := b.TempDir()
	for _, c := range []struct{ work, way string }{
		{fmt.Sprintf("push of %s by POST and PUT (direct: a loop that writes, hashes and syncs it)", mebibytes(size)), "-stream=false"},
		{"— by docker's stream, PATCH and PUT", "-stream"},
	} {
		b.Run(c.way, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			times, costs := map[string][]float64{}, map[string][]float64{}
			for i := range full(3, 5) {
				first := i % len(peers) // everybody is the first once: memory and disk fill up
				for _, p := range slices.Concat(peers[first:], peers[:first]) {
					unix.Sync() // nobody pays for what another one left to be written
					var took, cost float64
					p.profiled(b, i, time.Second, func() { took, cost = p.pushOne(b, size, c.way, dir) })
					times[p.name], costs[p.name] = append(times[p.name], took), append(costs[p.name], cost)
				}
			}
			r := row{workColumn: c.work}
			for name, all := range times {
				r[name] = fmt.Sprintf("%.2f s, %.3f s/GB", slices.Min(all), slices.Min(costs[name])/float64(size)*1e9)
			}
			r.atLeast(slices.Min(times[direct])/slices.Min(times[entrepot]), 0.8, "%.2f")
			r[verdict] += fmt.Sprintf(" (processor: %.2f)", slices.Min(costs[direct])/slices.Min(costs[entrepot]))
			results.add(r)
		})
	}
}

// pushOne pushes new bytes, or runs the loop over them, and gives the time and the processor time that this took, in seconds.
func (p peer) pushOne(b *testing.B, size int64, way, dir string) (took, cost float64) {
	b.Helper()
	args := []string{"-size", fmt.Sprint(size), "-seed", seed()}
	if p.name == direct {
		return pushes(b, serverCore, append(args, "-dir", dir)...)
	}
	before := used(b, p.pid)
	took, _ = pushes(b, loadCore, append(args, "-to", p.url+"/v2/"+pushed, way)...)
	return took, (used(b, p.pid) - before).Seconds()
}

// BenchmarkPushers has 16 clients push large blobs at once, as docker does.
func BenchmarkPushers(b *testing.B) {
	need(b)
	size := full[int64](1<<30, 64<<20)
	ours, _ := newEntrepot(b, serverCore, fakehub.New(b, near()), smallTier)
	r := row{workColumn: fmt.Sprintf("memory at most, 16 pushers of %s", mebibytes(size))}
	for _, p := range []peer{distribution(b, serverCore, nil), ours} {
		pushes(b, loadCore, "-to", p.url+"/v2/"+pushed, "-stream", "-size", fmt.Sprint(size), "-connections", "16", "-seed", seed())
		r[p.name] = mebibytes(peak(b, p.pid))
	}
	r.atMost(float64(peak(b, ours.pid)>>20), smallTierMiB+64, "%.0f MiB")
	results.add(r)
}

var seeds uint64

// seed makes each push one of new bytes: a registry that has a blob need not store it. It leaves room for 16.
func seed() string {
	seeds += 16
	return strconv.FormatUint(seeds, 10)
}

// pushes runs the program push, bound to a processor, and gives the seconds that it measured: of time, and of its processor.
func pushes(b *testing.B, core int, args ...string) (took, cost float64) {
	b.Helper()
	program := filepath.Join(server.Root(), "e2e", "out", "push")
	if out, err := exec.Command("go", "build", "-o", program, "./push").CombinedOutput(); err != nil {
		b.Fatalf("build the client: %v\n%s", err, out)
	}
	var out []byte
	var err error
	onCore(b, core, func() { out, err = exec.Command(program, args...).CombinedOutput() })
	var total struct{ Seconds, Processor float64 }
	if err == nil {
		err = json.Unmarshal(out, &total)
	}
	if err != nil {
		b.Fatalf("push %v: %v\n%s", args, err, out)
	}
	return total.Seconds, total.Processor
}
