// Package bench measures entrepôt beside nginx and distribution, all on this machine and in one run, and prints the table of
// docs/benchmarks.md. E2E_LONG=1 runs it with full sizes and more rounds.
package bench

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/tools"
)

// long reports whether full sizes and counts are wanted.
var long = os.Getenv("E2E_LONG") != ""

// full is the first value in the long form, and the second in the short one.
func full[T any](inLong, inShort T) T {
	if long {
		return inLong
	}
	return inShort
}

// results is filled by the benchmarks and printed when all have run.
var results table

func TestMain(m *testing.M) {
	code := m.Run()
	results.print(os.Stdout)
	os.Exit(code)
}

// need installs what the benchmarks run beside the Go programs.
func need(b *testing.B) {
	b.Helper()
	if runtime.GOOS != "linux" || runtime.NumCPU() < 2 {
		b.Fatal("the benchmarks need Linux and two processors: one for the server, one for the load")
	}
	if err := tools.Debian(b.Context(), "nginx-light", "wrk"); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op") // one turn is no figure; the table has them
}

// percentile is the value that p of a hundred do not exceed. It sorts the values.
func percentile(values []time.Duration, p int) time.Duration {
	slices.Sort(values)
	return values[(len(values)*p+99)/100-1]
}

// seconds for the table.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
