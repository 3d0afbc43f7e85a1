package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain lets parallel tests be more than the processors: they wait for time-outs, mostly.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
